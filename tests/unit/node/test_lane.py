"""What is still done when a write ends whose SA was dropped while it was under way."""

from typing import cast

import pytest

from node.lane import Lane
from node.seams import OsClock
from proto.ike.effects import Datagram, KernelOp, Now, Outcome, RemoveChild, Settlement
from proto.ike.endpoint import Endpoint
from proto.ike.events import Ended, Event
from tests.unit.node.test_shell import PERSIST, WAY, Slow

ANSWER = Datagram(b"answer", WAY)


class Core:
    """An endpoint with or without the one SA."""

    def __init__(self) -> None:
        self.sa: object | None = object()
        self.settled: list[Settlement] = []

    def holder(self, spi: bytes) -> object | None:
        """The SA, while there is one."""
        return self.sa

    def settle(self, spi: bytes, settlement: Settlement, now: Now) -> Outcome | None:
        """Note it; nothing more to do."""
        self.settled.append(settlement)
        return None


class Seen:
    """Kernel, sockets and observer in one: what was done, in order."""

    def __init__(self) -> None:
        self.done: list[object] = []

    def apply(self, operation: KernelOp) -> None:
        """Note it."""
        self.done.append(operation)

    def send(self, datagram: Datagram) -> None:
        """Note it."""
        self.done.append(datagram)

    def observe(self, event: Event) -> None:
        """Note it."""
        self.done.append(event)

    def close(self) -> None:
        """Nothing was opened."""


@pytest.mark.parametrize("there", [True, False], ids=["held", "dropped meanwhile"])
def test_a_dropped_sa_ends_once_and_its_peer_still_gets_the_durable_answer(there: bool) -> None:
    core, commits, seen = Core(), Slow(), Seen()
    lane = Lane(cast(Endpoint, core), commits, seen, seen, OsClock(), seen.observe)
    kernel, ended = RemoveChild(b"c" * 4), Ended(b"s" * 8, b"c" * 16, "deleted")
    lane.carry_out(Outcome(b"s" * 8, PERSIST, (kernel,), (ANSWER,), (ended,)))
    if not there:
        core.sa = None  # `drop` has cleared the kernel and told of the end
    (done,) = commits.waiting
    done(Settlement.DURABLE)
    assert seen.done == ([kernel, ANSWER, ended] if there else [ANSWER])
    assert core.settled == ([Settlement.DURABLE] if there else [])


def test_a_write_ends_for_the_sa_that_wanted_it_and_not_for_one_adopted_since() -> None:
    """Its shard was lost and gained again while the write was under way: one SPI, another SA."""
    core, commits, seen = Core(), Slow(), Seen()
    lane = Lane(cast(Endpoint, core), commits, seen, seen, OsClock(), seen.observe)
    lane.carry_out(Outcome(b"s" * 8, PERSIST))
    core.sa = object()
    (done,) = commits.waiting
    done(Settlement.FENCED)
    assert core.settled == []
    assert seen.done == []
