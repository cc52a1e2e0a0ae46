"""Recorded events: one line of JSON each, written by gateways, clients and the drill itself.

Rules: a reader ignores fields it doesn't know; a line that can't be read is counted, never
guessed at. Times are CLOCK_BOOTTIME seconds of one machine, so events of all its processes can be
put in order.
"""

from collections.abc import Iterable

import msgspec

from cluster.errors import UNREADABLE


class Event(msgspec.Struct, frozen=True, gc=False):
    """What happened, when, to whom. Which of the optional fields are set depends on `kind`."""

    t: float
    who: str
    kind: str
    member: str = ""
    """suspected, declared_dead, member_joined: whom it is about. topology: a gateway's name."""
    address: str = ""
    """topology: where the gateway speaks IKE."""
    gateway: str = ""
    """Client events: the gateway's address (or name)."""
    how: str = ""
    """`full` or `resumed`."""
    spi: str = ""
    spi_r: str = ""
    chain: str = ""
    generation: int = 0
    count: int = 0
    revision: int = 0
    lifetime_s: float = 0.0
    why: str = ""
    reason: str = ""
    name: str = ""
    """phase: which one begins."""
    action: str = ""
    target: str = ""
    found: bool = False


_DECODER = msgspec.json.Decoder(Event)

OBSERVED = "observed"
"""Name of the phase that ends the time the verdict looks at."""


def decode_line(line: bytes) -> Event | None:
    """The event in one line; None if it isn't one."""
    try:
        return _DECODER.decode(line)
    except UNREADABLE:
        return None


def decode_lines(lines: Iterable[bytes]) -> tuple[list[Event], int]:
    """The events of `lines`, and how many lines held none (blank ones aside)."""
    events: list[Event] = []
    unreadable = 0
    for line in lines:
        event = decode_line(line)
        if event is not None:
            events.append(event)
        elif line.strip():
            unreadable += 1
    return events, unreadable
