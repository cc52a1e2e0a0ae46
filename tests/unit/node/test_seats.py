"""Counting a peer's sessions: what other members say, what is about to begin, and the bounds."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.link import Frame, Seat, SeatsAsk, SeatsTold
from node.errands import Errands
from node.metrics import Metrics
from node.observe import SparseLog
from node.seats import BEGINS_MAX, BEGINS_S, COUNTS_MAX, SEATS_MAX, Seats
from node.supervisor import Supervisor
from proto.ike.core import SaCore, State
from proto.ike.events import Limited, OverLimit
from proto.ike.limits import Counted, CountSessions
from tests.sim.seams import AtOnce

ALICE, OURS = "rfc822:alice@example.com", b"vpn.example.com"


class Clock:
    """One that a test moves."""

    def __init__(self) -> None:
        self.at_s = 100.0

    def boot_s(self) -> float:
        return self.at_s

    def wall_s(self) -> float:
        return self.at_s


class Member:
    """As much of gw1 as it takes; gw2 answers what a test has given it."""

    def __init__(self, here: tuple[SaCore, ...] = ()) -> None:
        self.clock, self.receivers = Clock(), {}
        self.asked: list[SeatsAsk] = []
        self.told: list[SeatsTold] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.theirs: tuple[tuple[Seat, ...], tuple[bytes, ...]] | None = ((), ())
        self.errands = Errands(Supervisor().contain, AtOnce())
        log: Any = SimpleNamespace(info=lambda *_args, **_fields: None)
        node: Any = SimpleNamespace(
            config=SimpleNamespace(member=SimpleNamespace(name="gw1")),
            membership=SimpleNamespace(members={"gw1": None, "gw2": None}),
            heartbeats=SimpleNamespace(suspected={}),
            dispatch=SimpleNamespace(on=self.receivers.__setitem__),
            metrics=Metrics(),
            seams=SimpleNamespace(
                errands=self.errands,
                spawn=lambda coroutine, _name: self.tasks.append(asyncio.create_task(coroutine)),
                clock=self.clock,
                link=SimpleNamespace(send=self._send),
            ),
        )
        self.node = node
        contacts: Any = SimpleNamespace(obeyed=True)
        whose: Any = SimpleNamespace(sessions=lambda _pair: list(here))
        self.seats = Seats(node, whose, contacts, SparseLog(log, self.clock))

    def _send(self, _name: str, frame: Frame) -> bool:
        if isinstance(frame, SeatsTold):
            self.told.append(frame)
        if isinstance(frame, SeatsAsk):
            self.asked.append(frame)
            if self.theirs is not None:
                told = SeatsTold(frame.call, *self.theirs)
                asyncio.get_running_loop().call_soon(self.receivers[SeatsTold], "gw2", told)
        return True

    def hears_of(self, spi: bytes) -> None:
        """gw2 asks, for a session of its own."""
        self.receivers[SeatsAsk]("gw2", SeatsAsk(1, ALICE, OURS, spi))

    async def counts(
        self, spi: bytes = b"spi-gw1m", chain: bytes = b"", *, anew: bool = False
    ) -> int:
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.errands.begin(CountSessions(spi, chain, ALICE, OURS, anew), done.set_result)
        result = await done
        assert isinstance(result, Counted)
        return result.others


async def test_sessions_elsewhere_count_but_for_the_one_that_is_resumed() -> None:
    member = Member()
    member.theirs = ((Seat(b"a" * 16, b"spi-of-a", 1.0), Seat(b"b" * 16, b"spi-of-b", 2.0)), ())
    assert await member.counts() == 2
    assert await member.counts(chain=b"a" * 16) == 1
    assert await member.counts(anew=True) == 0
    assert [(ask.identity, ask.local_id) for ask in member.asked] == [(ALICE, OURS)] * 2


@pytest.mark.parametrize(("rival", "heard_before", "counted"), [
    (b"spi-gw1a", False, 1),
    (b"spi-gw1z", False, 0),
    (b"spi-gw1z", True, 1),
])  # fmt: skip
async def test_of_two_that_begin_at_once_one_counts(
    rival: bytes, heard_before: bool, counted: int
) -> None:
    member = Member()
    if heard_before:
        member.hears_of(rival)
    member.theirs = ((), (rival,))
    assert await member.counts() == counted


async def test_what_began_or_was_refused_is_not_about_to_begin_any_more() -> None:
    member = Member()
    spis = [b"spi-gw1%d" % number for number in range(3)]
    assert [await member.counts(spi) for spi in spis] == [0, 1, 2]
    member.seats.begun(Limited(spis[0], ALICE, OURS, 2, False))
    member.seats.refused(OverLimit(spis[1], ALICE, OURS, 2, 2))
    assert member.node.metrics.over_limit.by == {"refused": 1}
    assert await member.counts() == 1
    member.clock.at_s += BEGINS_S + 1
    assert await member.counts(b"spi-late") == 0


async def test_who_does_not_answer_has_none() -> None:
    member = Member()
    member.theirs = None
    assert await member.counts() == 0


async def test_pairs_of_which_something_is_about_to_begin_are_bounded() -> None:
    member = Member()
    for number in range(BEGINS_MAX + 3):
        member.receivers[SeatsAsk]("gw2", SeatsAsk(1, f"fqdn:{number}", OURS, b"spi-gw2a"))
    assert len(member.seats._begins) == BEGINS_MAX


async def test_counts_under_way_are_bounded() -> None:
    member = Member()
    member.theirs = None
    came: list[object] = []
    for number in range(COUNTS_MAX + 1):
        asked = CountSessions(number.to_bytes(8, "big"), b"", ALICE, OURS, False)
        member.errands.begin(asked, came.append)
    (refused,) = came
    assert "under way already" in str(refused)


async def test_oldest_ones_that_are_to_end_are_asked_for_so_many_at_a_time() -> None:
    member = Member()
    for number in range(COUNTS_MAX + 5):
        member.seats.begun(Limited(number.to_bytes(8, "big"), ALICE, OURS, 2, True))
    await asyncio.wait(member.tasks)
    assert len(member.asked) == COUNTS_MAX
    member.seats.begun(Limited(b"spi-gw1m", ALICE, OURS, 2, True))
    await asyncio.wait(member.tasks)
    assert len(member.asked) == COUNTS_MAX + 1


def sa(number: int, lives_s: float) -> SaCore:
    """An established session."""
    octets = number.to_bytes(8, "big")
    return SaCore(
        State.ESTABLISHED, False, octets, octets, chain=2 * octets, expires_wall_s=lives_s
    )


async def test_an_answer_tells_so_many_at_most_and_none_that_was_sent_away() -> None:
    member = Member((sa(0, 30.0), *[sa(number, 900.0) for number in range(1, SEATS_MAX + 9)]))
    member.hears_of(b"spi-gw2a")
    (told,) = member.told
    assert len(told.seats) == SEATS_MAX - 1
    assert told.seats[0] == Seat(2 * (1).to_bytes(8, "big"), (1).to_bytes(8, "big"), 0.0)
