"""The shell calls the core when the core wants it, whatever made it want that."""

import asyncio
from collections.abc import Callable
from typing import cast

from node.kernel import NullKernel
from node.lane import Lane
from node.seams import OsClock
from node.shell import Shell
from proto.ike.effects import (
    Datagram,
    Now,
    Outcome,
    Path,
    Persist,
    PersistKind,
    Settlement,
)
from proto.ike.endpoint import Endpoint

PERSIST = Persist(PersistKind.REVOKE, b"c" * 16, 1, b"s" * 8, b"", b"", 0.0)
HOUR_S = 3600.0
WAY = Path(("192.0.2.1", 500), ("192.0.2.2", 500))


class Core:
    """An endpoint whose write, once it is durable, makes something due at once."""

    def __init__(self) -> None:
        self.due_s = float("inf")
        self.called = asyncio.Event()

    def receive(self, data: bytes, path: Path, now: Now) -> Outcome:
        """Every datagram wants a write."""
        return Outcome(b"s" * 8, PERSIST)

    def holder(self, spi: bytes) -> object | None:
        """The SA is there."""
        return self

    def settle(self, spi: bytes, settlement: Settlement, now: Now) -> Outcome | None:
        """The write has ended."""
        self.due_s = now.boot_s
        return None

    def next_deadline_s(self) -> float:
        """When it wants to be called."""
        return self.due_s

    def on_timer(self, now: Now) -> list[Outcome]:
        """It was called."""
        self.due_s = float("inf")
        self.called.set()
        return []


class Slept(OsClock):
    """The boot clock of a host that has slept for so long."""

    __slots__ = ("slept_s",)

    def __init__(self) -> None:
        super().__init__()
        self.slept_s = 0.0
        awake_s = self.boot_s
        self.boot_s = lambda: awake_s() + self.slept_s


class Slow:
    """Writes that end when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[Settlement], None]] = []

    def submit(self, persist: Persist, done: Callable[[Settlement], None]) -> None:
        """Wait."""
        self.waiting.append(done)


class Nowhere:
    """Sockets that send nothing."""

    def send(self, datagram: Datagram) -> None:
        """Dropped."""

    def close(self) -> None:
        """Nothing was opened."""


async def test_what_became_due_when_a_write_ended_is_done_without_another_event() -> None:
    core, commits, clock = Core(), Slow(), OsClock()
    endpoint = cast(Endpoint, core)
    lane = Lane(endpoint, commits, NullKernel(), Nowhere(), clock, lambda event: None)
    shell = Shell(endpoint, lane, clock)
    shell.on_datagram(b"", WAY)
    (done,) = commits.waiting
    done(Settlement.DURABLE)
    await asyncio.wait_for(core.called.wait(), 60)
    shell.close()


async def test_what_fell_due_while_the_host_slept_is_done_when_it_is_awake() -> None:
    """The loop's clock stands still meanwhile: a timer set by it alone would be as much too late.
    Seed 8841111 of the storm."""
    core, clock = Core(), Slept()
    endpoint = cast(Endpoint, core)
    lane = Lane(endpoint, Slow(), NullKernel(), Nowhere(), clock, lambda event: None)
    shell = Shell(endpoint, lane, clock)
    core.due_s = clock.boot_s() + HOUR_S
    shell.rearm()
    clock.slept_s = HOUR_S
    shell.on_datagram(b"", WAY)  # and whatever comes next doesn't hide it
    await asyncio.wait_for(core.called.wait(), 60)
    shell.close()
