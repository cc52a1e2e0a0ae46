"""Prints values as a table for people or as JSON for programs.

Rules: JSON has the fields of the value, octets as hex; tables go to a terminal's width, and are not
cut where there is no terminal.
"""

import datetime
import enum
import sys
from collections.abc import Iterable, Sequence

import msgspec

WIDTH_OF_NO_TERMINAL = 400


class Output(enum.StrEnum):
    """How to print."""

    TABLE = "table"
    JSON = "json"


def print_json(value: object) -> None:
    """One JSON document, indented, on stdout."""
    octets = msgspec.json.format(msgspec.json.encode(_plain(value)), indent=2)
    print(octets.decode())


def print_json_line(value: object) -> None:
    """One JSON document on a line of its own, at once."""
    print(msgspec.json.encode(_plain(value)).decode(), flush=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """A table with a line per row; numbers to the right."""
    from rich.console import Console  # noqa: PLC0415  only tables pay for it
    from rich.table import Table  # noqa: PLC0415

    listed = [list(row) for row in rows]
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for index, name in enumerate(columns):
        numbers = bool(listed) and all(isinstance(row[index], int | float) for row in listed)
        table.add_column(name, justify="right" if numbers else "left", no_wrap=True)
    for row in listed:
        table.add_row(*map(_cell, row))
    width = None if sys.stdout.isatty() else WIDTH_OF_NO_TERMINAL
    Console(width=width, highlight=False, markup=False).print(table)


def when(wall_s: float) -> str:
    """Seconds since 1970 as a date and time (UTC), or nothing for 0."""
    if not wall_s:
        return ""
    at = datetime.datetime.fromtimestamp(wall_s, datetime.UTC)
    return at.strftime("%Y-%m-%d %H:%M:%SZ")


def visible(text: str) -> str:
    """`text` with what could move a terminal's cursor spelled out: peers choose identities."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float):
        return f"{value:.1f}"
    return visible(str(value))


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
