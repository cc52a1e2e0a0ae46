"""The table of requirements finds what proves a row, and says when it isn't true any more."""

from pathlib import Path

import pytest

from tools import rfc_rows
from tools.rfc_rows import PAGES, Page, Row, Rows

TEXT = '''
def test_r14_r15_one() -> None:
    """Says more."""


async def test_two(case: str) -> None:
    """As RFC 5723 6.2 has it (R59)."""
    pair = "R1"  # R14, B2


def helper_r16_() -> None:
    """R17 isn't a test's."""


def test_three_r160() -> None:
    """R100 and XR18 are no rows."""
'''
PAGE = Page("R", Path("tools/rfc5723.toml"), Path("docs/rfc5723.md"))
ROW = Row("R14", "4.3.1", "SHOULD", "G", "refuses")
OTHER = Row("R59", "6.2", "MUST", "G", "lives")


def test_a_tests_name_docstring_and_comments_say_what_it_proves() -> None:
    assert list(rfc_rows.tests_in(TEXT)) == [
        ("test_r14_r15_one", ["R14", "R15"]),
        ("test_two", ["R59", "R14", "B2"]),
        ("test_three_r160", []),
    ]


def test_only_the_named_folders_are_scanned_and_every_test_is_known(tmp_path: Path) -> None:
    for folder in ("rfc", "sim"):
        (tmp_path / "tests" / folder).mkdir(parents=True)
        (tmp_path / "tests" / folder / "test_a.py").write_text(TEXT)
    by_row, known = rfc_rows.scan(tmp_path)
    assert by_row == {
        "R14": ["tests/rfc/test_a.py::test_r14_r15_one", "tests/rfc/test_a.py::test_two"],
        "R15": ["tests/rfc/test_a.py::test_r14_r15_one"],
        "R59": ["tests/rfc/test_a.py::test_two"],
        "B2": ["tests/rfc/test_a.py::test_two"],
    }
    assert len(known) == 6


@pytest.mark.parametrize(
    ("rows", "by_row", "finding"),
    [
        (Rows([ROW], {}, {}), {}, "no test says"),
        (Rows([ROW], {"R14": ["tests/gone"]}, {}), {}, "tests/gone doesn't exist"),
        (Rows([ROW], {}, {"R14": "why", "R15": "why"}), {}, "R15: there is no such row"),
        (Rows([ROW], {}, {}), {"R14": ["t"], "R99": ["tests/b"]}, "no such row (tests/b)"),
        (Rows([ROW, ROW], {}, {"R14": "why"}), {}, "stands there twice"),
    ],
)
def test_what_is_untrue_is_said(rows: Rows, by_row: dict[str, list[str]], finding: str) -> None:
    (found,) = rfc_rows.problems(PAGE, rows, by_row, {"t", "tests/b"})
    assert finding in found


def test_a_row_has_its_tests_or_its_reason_or_both() -> None:
    rows = Rows([ROW, OTHER], {"R14": ["tests/b", "t"]}, {"R14": "half of it", "R59": "later"})
    assert rfc_rows.problems(PAGE, rows, {"R14": ["t"]}, {"t", "tests/b"}) == []
    text = rfc_rows.text_of(PAGE, rows, {"R14": ["t"]})
    assert "1 of 2 rows are tested, 1 of them not wholly" in text
    assert "| refuses | `t`<br>`b`<br>**Not wholly:** half of it |" in text
    assert "| lives | **Not:** later |" in text


@pytest.mark.parametrize(("page", "count"), list(zip(PAGES, (80, 25, 42), strict=True)))
def test_no_row_is_left_out_and_the_projects_tables_are_true(page: Page, count: int) -> None:
    rows = rfc_rows.load((rfc_rows.ROOT / page.source).read_text("utf-8"))
    assert [row.name for row in rows.rows] == [f"{page.letter}{n}" for n in range(1, count + 1)]
    by_row, known = rfc_rows.scan(rfc_rows.ROOT)
    assert rfc_rows.problems(page, rows, by_row, known) == []
