"""What became of each row of the matrix: kept, printed for people, written for machines.

Rules: a row is ok, failed, or could not be run, and only ok is good. What was announced and not
reported in the end could not be run.
"""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

OK, FAILED, COULD_NOT_RUN = "ok", "FAILED", "COULD NOT RUN"
NAME_WIDTH = 66
REASON_MAX = 900


class Row(NamedTuple):
    """One cell of the matrix. `part`: who is whose client; `peer`: program and version."""

    part: str
    name: str
    peer: str
    outcome: str
    why: str = ""
    seconds: float = 0.0


class Results:
    """Rows as they come, in one order whatever ran first."""

    def __init__(self) -> None:
        self._announced: dict[tuple[str, str, str], Row] = {}
        self.began_s = time.monotonic()

    def announce(self, part: str, names: Iterable[str], peer: str) -> None:
        """These rows are to come. Raises ValueError for one that was announced already."""
        for name in names:
            if (part, name, peer) in self._announced:
                raise ValueError(f"two rows are called {name!r}: {part}, {peer}")
            row = Row(part, name, peer, COULD_NOT_RUN, "nothing was heard of it")
            self._announced[part, name, peer] = row

    def report(self, row: Row) -> None:
        """One of them; what failed isn't made good again."""
        key = (row.part, row.name, row.peer)
        known = self._announced.get(key)
        if known is None or known.outcome != FAILED or row.outcome == FAILED:
            self._announced[key] = row._replace(why=row.why[:REASON_MAX])

    def could_not_run(self, part: str, names: Iterable[str], peer: str, why: str) -> None:
        """What of these wasn't reported is not to come any more."""
        for name in names:
            known = self._announced[part, name, peer]
            if known.outcome == COULD_NOT_RUN:
                self._announced[part, name, peer] = known._replace(why=why[:REASON_MAX])

    @property
    def rows(self) -> list[Row]:
        """All rows."""
        return list(self._announced.values())

    @property
    def good(self) -> bool:
        """Every row is ok, and there are some."""
        return bool(self.rows) and all(row.outcome == OK for row in self.rows)

    def matrix(self) -> str:
        """The rows as tables, one for each part: names down, peers across; then what went wrong."""
        lines: list[str] = []
        for part in dict.fromkeys(row.part for row in self.rows):
            rows = [row for row in self.rows if row.part == part]
            peers = list(dict.fromkeys(row.peer for row in rows))
            lines += ["", part.ljust(NAME_WIDTH) + "  ".join(peer.ljust(18) for peer in peers)]
            for name in dict.fromkeys(row.name for row in rows):
                cells = {row.peer: row.outcome for row in rows if row.name == name}
                shown = "  ".join(cells.get(peer, "").ljust(18) for peer in peers)
                lines.append(f"  {name}".ljust(NAME_WIDTH) + shown.rstrip())
        lines.append("")
        for row in self.rows:
            if row.outcome != OK:
                lines.append(f"{row.outcome}: {row.part}, {row.name}, {row.peer}: {row.why}")
        good = sum(row.outcome == OK for row in self.rows)
        spent_s = time.monotonic() - self.began_s
        lines.append(f"{good} ok, {len(self.rows) - good} not ok, {spent_s:.0f} s")
        return "\n".join(lines)

    def write(self, file: Path) -> None:
        """The same as JSON."""
        spent_s = round(time.monotonic() - self.began_s, 1)
        rows = [row._asdict() for row in self.rows]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(
            msgspec.json.format(msgspec.json.encode({"seconds": spent_s, "rows": rows}))
        )
