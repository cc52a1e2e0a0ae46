"""What the kept runs do is what they did: `python -m tests.sim --golden` takes a change over."""

import pytest

from tests.sim.golden import FOLDER, RUNS, golden, path_of


@pytest.mark.parametrize(("name", "seed"), RUNS)
def test_a_golden_trace_is_as_it_was(name: str, seed: int):
    assert golden(name, seed).splitlines() == path_of(name, seed).read_text().splitlines()


def test_no_golden_trace_is_left_over():
    kept = sorted(path.name for path in FOLDER.glob("*.txt"))
    assert kept == sorted(path_of(name, seed).name for name, seed in RUNS)


def test_a_golden_trace_can_be_read():
    lines = path_of("kill-one", 1).read_text().splitlines()
    assert any("kill         gw" in line for line in lines)
    assert any("declared" in line or "is gone from the store" in line for line in lines)
    assert len(lines) < 400
