"""docs/traps.md names every trap's tests and a fault, each of them exists, none is left out."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.mutants.__main__ import mutants

FOLDER = Path(__file__).parent
MUTANTS = FOLDER.parent / "mutants"
PAGE = FOLDER.parents[1] / "docs" / "traps.md"
HERE = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 19, 20, 21, 22, 25)
"""The traps of a cluster's state; the others come with what they are about."""
ROW = re.compile(r"^\| (\d+) \| (.+) \| (.+) \| `([a-z0-9-]+)` \|$", re.MULTILINE)
NAMED = re.compile(r"`([a-z_/0-9]+\.py)::(test_[a-z0-9_]+)`")
KILLER = "pytest tests/traps -k trap_"
NUMBERED = re.compile(r"test_trap_(\d\d)_")


def functions_of(path: Path) -> Iterator[str]:
    """The functions of a file."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


def test_every_trap_has_a_row_with_a_test() -> None:
    rows = {int(number): how for number, _what, how, _fault in ROW.findall(PAGE.read_text("utf-8"))}
    assert tuple(sorted(rows)) == HERE
    without = [number for number, how in rows.items() if not NAMED.search(how)]
    assert without == []


def test_every_test_that_is_named_exists_and_carries_the_number_of_its_row() -> None:
    for number, _what, how, _fault in ROW.findall(PAGE.read_text("utf-8")):
        for file, name in NAMED.findall(how):
            assert name in functions_of(FOLDER.parent / file), name
            carried = NUMBERED.match(name)
            assert carried is None or int(carried[1]) == int(number), name
        if NAMED.search(how):
            assert any(NUMBERED.match(name) for _file, name in NAMED.findall(how)), number


def test_every_numbered_test_is_named() -> None:
    page = PAGE.read_text("utf-8")
    for path in sorted(FOLDER.glob("test_traps_*.py")):
        for name in functions_of(path):
            if NUMBERED.match(name):
                assert f"`traps/{path.name}::{name}`" in page, name


def test_every_fault_that_is_named_is_kept_and_those_made_for_a_trap_stand_in_its_row() -> None:
    faults = {mutant.name: mutant.killer for mutant in mutants(MUTANTS)}
    named = {fault: number for number, _what, _how, fault in ROW.findall(PAGE.read_text("utf-8"))}
    assert named.keys() <= faults.keys()
    for name, killer in faults.items():
        if killer.startswith(KILLER):
            assert int(killer.removeprefix(KILLER)) == int(named.get(name, "0")), name
