"""Every drill file ends in the simulator as its table says it ends with real processes."""

import re
from pathlib import Path

import msgspec
import pytest

from cluster.drill.plan import Action
from cluster.drill.verdict import Result
from tests.sim.drills import load, play_file, run_drill

FOLDER = Path(__file__).parents[2] / "deploy" / "drills"
ROW = re.compile(r"^\| `(\S+\.toml)` \|.*\| \**(\w+)\**[^|]* \|$", re.MULTILINE)
ENDS = dict(ROW.findall((FOLDER / "README.md").read_text()))
"""What `deploy/drills/README.md` says of each file."""


def test_the_table_has_every_drill_file():
    assert sorted(ENDS) == sorted(path.name for path in FOLDER.glob("*.toml"))
    assert set(ENDS.values()) <= {result.value for result in Result}


@pytest.mark.parametrize("name", sorted(ENDS))
def test_a_drill_ends_in_the_simulator_as_with_real_processes(name: str):
    verdict, result = run_drill(load(FOLDER / name), 1)
    assert verdict is not None, result.findings
    assert verdict.result is Result(ENDS[name]), verdict.reasons
    # what breaks a promise breaks an invariant, and nothing else does
    assert bool(result.findings) is (verdict.result is Result.BROKEN)


def test_a_drill_that_breaks_a_promise_is_a_finding():
    first, *others = play_file(str(FOLDER / "ring-replaced.toml"), 2).findings
    assert first.startswith("BROKEN: promise 1 is broken")
    assert any("I5, promise 4" in other for other in others)


def test_a_drill_that_cannot_be_carried_out_has_no_verdict():
    drill = load(FOLDER / "kill-one.toml")
    start = msgspec.structs.replace(drill.fault[0], action=Action.START, target="gw1")
    verdict, result = run_drill(msgspec.structs.replace(drill, fault=(start,)), 1)
    assert verdict is None
    assert "gw1 was to be started, and runs" in result.findings[0]
