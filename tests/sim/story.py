"""What of a run's trace a person wants to read: the last events before the first finding.

Rules: pure. Of the datagrams and frames only those are shown that mention what the finding is
about; what was done to the world, what gateways logged and what clients reported is shown whole.
"""

import re

from tests.sim.findings import MARK

LINES_MAX = 60
TRAFFIC = (
    "sent", "sent twice", "lost", "cut off", "too long", "arrived", "nobody there", "injected",
    "frame", "frame dropped",
)  # fmt: skip
"""Kinds of the lines that are too many to be read."""
NAME = re.compile(r"\b(?:[0-9a-f]{16,32}|gw\d+|c\d{4}@\S+)")
"""SPIs, chains, gateways and clients, as findings name them."""


def story(lines: tuple[str, ...]) -> tuple[str, ...]:
    """The lines to be read first, the first finding last; none if nothing was found."""
    at = next((n for n, line in enumerate(lines) if kind_of(line) == MARK), None)
    if at is None:
        return ()
    octets = [name for name in NAME.findall(lines[at]) if len(name) >= 16 and "@" not in name]
    told: list[str] = []
    for line in reversed(lines[:at]):
        traffic = kind_of(line) in TRAFFIC
        if not traffic or any(name in line for name in octets):
            told.append(line)
        if len(told) == LINES_MAX:
            break
    return (*reversed(told), lines[at])


def kind_of(line: str) -> str:
    """What happened: the trace has it after the time, in a column of its own."""
    return line[12:25].strip()
