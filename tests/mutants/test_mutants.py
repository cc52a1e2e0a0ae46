"""The runner tells a mutant that is killed from one that lives, is stale, or breaks the tree."""

import difflib
from pathlib import Path

import pytest

from tests.mutants.__main__ import ROOT, apply, command, main, mutants

SOURCE = "def answer() -> int:\n    return 42\n"
TEST = "from cluster.answer import answer\n\n\ndef test_it():\n    assert answer() == 42\n"
LOOSE = "from cluster.answer import answer\n\n\ndef test_it():\n    assert answer()\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "cluster").mkdir(parents=True)
    (tmp_path / "root" / "tests").mkdir()
    for package in ("cluster", "tests"):  # else the installed ones of these names come first
        (tmp_path / "root" / package / "__init__.py").touch()
    (tmp_path / "root" / "cluster" / "answer.py").write_text(SOURCE)
    (tmp_path / "root" / "tests" / "test_strict.py").write_text(TEST)
    (tmp_path / "root" / "tests" / "test_loose.py").write_text(LOOSE)
    (tmp_path / "patches").mkdir()
    return tmp_path / "root"


def _patch(root: Path, mutated: str, killer: str, was: str = SOURCE, live: str = "") -> Path:
    names = ("a/cluster/answer.py", "b/cluster/answer.py")
    diff = difflib.unified_diff(was.splitlines(True), mutated.splitlines(True), *names)
    folder = root.parent / "patches"
    killers = f"Killed by: {killer}\n" + (f"Killed live by: {live}\n" if live else "")
    (folder / "one.patch").write_text(f"It breaks.\n{killers}\n{''.join(diff)}")
    return folder


def _verdict(root: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    code = main([], folder, root)
    line, last = capsys.readouterr().out.splitlines()
    assert last == ("0 passed, 1 failed" if code else "1 passed, 0 failed")
    return line, last


def test_a_mutant_that_its_test_finds_is_killed(root: Path, capsys: pytest.CaptureFixture[str]):
    folder = _patch(root, SOURCE.replace("42", "43"), "pytest tests/test_strict.py")
    line, last = _verdict(root, folder, capsys)
    assert line.split()[:2] == ["one", "killed"]
    assert last == "1 passed, 0 failed"
    assert (root / "cluster" / "answer.py").read_text() == SOURCE


@pytest.mark.parametrize(
    ("mutated", "killer", "was", "why"),
    [
        (SOURCE.replace("42", "43"), "pytest tests/test_loose.py", SOURCE, "survived"),
        (SOURCE.replace("42", "4 2"), "pytest tests/test_strict.py", SOURCE, "can't run"),
        ("return 43\n", "pytest tests/test_strict.py", "return 41\n", "doesn't apply"),
        (SOURCE.replace("42", "43"), "pytest tests/none.py", SOURCE, "fails without it"),
    ],
)
def test_a_mutant_that_is_not_killed_by_its_test_fails(
    root: Path,
    capsys: pytest.CaptureFixture[str],
    mutated: str,
    killer: str,
    was: str,
    why: str,
):
    line, last = _verdict(root, _patch(root, mutated, killer, was), capsys)
    assert "ALIVE" in line
    assert why in line
    assert last == "0 passed, 1 failed"


def test_a_name_that_nobody_has_is_refused(root: Path, capsys: pytest.CaptureFixture[str]):
    folder = _patch(root, SOURCE.replace("42", "43"), "pytest tests/test_strict.py")
    with pytest.raises(SystemExit) as ended:
        main(["one", "oen"], folder, root)
    assert ended.value.code == 2
    assert "no mutant oen → the name of a *.patch in" in capsys.readouterr().err


def test_one_killer_can_be_tried_on_all(root: Path, capsys: pytest.CaptureFixture[str]):
    folder = _patch(root, SOURCE.replace("42", "43"), "pytest tests/none.py")
    assert main(["--killer", "pytest tests/test_strict.py"], folder, root) == 0
    assert "killed" in capsys.readouterr().out
    assert command("sim all 1-3")[-3:] == ["--seeds", "1-3", "--first"]


@pytest.mark.parametrize("live", ["pytest tests/test_strict.py", ""])
def test_only_those_with_a_test_of_real_processes_are_tried_live(
    root: Path, capsys: pytest.CaptureFixture[str], live: str
):
    folder = _patch(root, SOURCE.replace("42", "43"), "pytest tests/none.py", live=live)
    assert main(["--live"], folder, root) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{1 if live else 0} passed, 0 failed"


def test_each_promise_has_a_mutant_that_a_test_of_real_processes_kills():
    """As docs/promises.md says: the first seven, promise 4 by halves."""
    page = (ROOT / "docs" / "promises.md").read_text().partition("fault under which both fail |")[2]
    live = {mutant.name: mutant.live for mutant in mutants(Path(__file__).parent) if mutant.live}
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| ")]
    assert len(rows) == len(live) == 8
    for _, _, _, _, test, fault, _ in rows:
        file = test.split("`")[1]
        assert live[fault.split("`")[1]].startswith(f"pytest {file} -k ")


def test_every_mutant_kept_here_applies_says_what_it_breaks_and_names_its_killer():
    kept = mutants(Path(__file__).parent)
    assert len(kept) >= 20
    for mutant in kept:
        assert command(mutant.killer)
        assert mutant.what.endswith(".")
        assert apply(ROOT, mutant.patch, "--check"), f"{mutant.name} doesn't apply any more"


def test_a_patch_without_a_sentence_is_refused(tmp_path: Path):
    (tmp_path / "bare.patch").write_text("--- a/x\n+++ b/x\n")
    with pytest.raises(ValueError, match=r"bare\.patch"):
        mutants(tmp_path)
