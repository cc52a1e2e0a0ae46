"""A disk that is full as the store goes away: nothing is promised or kept, nothing ends of it."""

import asyncio

from cluster.batch import Op, OpKind, Outcome, Pending
from cluster.failsafe.frames import PledgeAnswer, PledgeAsk, PledgeWord
from cluster.failsafe.outage import MemoryBook, read_pledges
from cluster.layout import FLUSHING, NORMAL
from cluster.link import Frame
from tests.unit.cluster.goers import Goer, in_failsafe
from tests.unit.cluster.members import Cluster, simulated
from tests.unit.cluster.test_failsafe_gate import HOME, LAST, NEXT, Net
from tests.unit.cluster.test_failsafe_ledger import BIG, CHAIN, claim, spi


class FullBook(MemoryBook):
    """A book on a disk that is full for a while."""

    full = False

    def write(self, octets: bytes) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        super().write(octets)


def full_book(goer: Goer) -> FullBook:
    """Its book from now on, which isn't full yet."""
    book = FullBook()
    book.write(goer.book.read())
    goer.book = goer.outage._book = book
    return book


async def goers_in_failsafe(cluster: Cluster) -> tuple[Goer, FullBook]:
    """The first of them, with its book."""
    a, *_ = await in_failsafe(cluster)
    return a, full_book(a)


@simulated
async def test_no_pledge_is_given_that_is_not_on_the_disk(cluster: Cluster) -> None:
    a, book = await goers_in_failsafe(cluster)
    answers: list[Frame] = []
    cluster.net.observers.append(lambda _sender, frame: answers.append(frame))
    given = dict(a.outage.given)
    ask = PledgeAsk(given["b"].incarnation, given["b"].round + 1)
    book.full = True
    told: list[str] = []
    a.outage.on_unwritable = told.append
    for _ in range(2):
        a.outage._asked("b", ask)
    assert a.outage.given == given == read_pledges(book)
    assert len(told) == 1
    book.full = False
    a.outage._asked("b", ask)
    given_of = [frame.given for frame in answers if isinstance(frame, PledgeAnswer)]
    assert given_of == [False, False, True]
    assert read_pledges(book)["b"].round == ask.round


@simulated
async def test_what_could_not_be_taken_back_is_taken_back_when_there_is_room(
    cluster: Cluster,
) -> None:
    a, book = await goers_in_failsafe(cluster)
    assert a.outage.set_alone(True)
    book.full = True
    assert not a.outage.set_alone(False)
    pledge = a.outage.given["b"]
    a.outage._word("b", PledgeWord(pledge.incarnation, pledge.round, needed=False))
    await asyncio.sleep(1)
    assert {"b", f"/{a.member.incarnation}"} < read_pledges(book).keys()
    book.full = False
    await asyncio.sleep(1)
    assert a.outage.unwritable == ""
    assert read_pledges(book).keys() == {"c"}


@simulated
async def test_nothing_is_kept_before_that_can_be_noted(cluster: Cluster) -> None:
    a, book = await goers_in_failsafe(cluster)
    book.full = True
    assert not a.outage.set_alone(True)
    assert not a.outage.alone
    book.full = False
    assert not a.outage.set_alone(True)  # a look finds that it can be written
    await asyncio.sleep(1)
    assert a.outage.set_alone(True)
    assert f"/{a.member.incarnation}" in read_pledges(book)


@simulated
async def test_who_can_keep_nothing_says_so_and_is_there_all_the_same(cluster: Cluster) -> None:
    a, b, _ = await in_failsafe(cluster)
    book = full_book(a)
    book.full = True
    assert not a.outage.set_alone(True)
    await asyncio.sleep(2)
    assert not b.heard("a")
    assert a.heard("b")
    assert b.beats.in_failsafe().keys() == {"a", "c"}  # whoever may claim or commit knows by that
    book.full = False
    await asyncio.sleep(1)
    assert b.heard("a")


async def written_at(goer: Goer) -> list[Outcome | None]:
    """How a write ended there."""
    op = Op(OpKind.WRITE, CHAIN, 1, 3, spi(2), b"record", None, 1e9)
    pending = Pending(
        op, lambda _outcome: None, number=1, op_id=bytes(16), shard_revision=1, epoch=0,
        submitted_s=0.0, sealed=b"sealed",
    )  # fmt: skip
    ended: list[Outcome | None] = []
    goer.gate.take(pending, lambda _pending, outcome: ended.append(outcome), lambda _p: True)
    await asyncio.sleep(2)
    return ended


async def one_is_full_and_one_dies(cluster: Cluster, *, back: bool) -> list[Outcome | None]:
    """How a write ends at another, with the store `back` or not."""
    a, b, c, d = await in_failsafe(cluster, "abcd")
    full_book(a).full = True
    assert not a.outage.set_alone(True)
    c.kill()
    for goer in (a, b, d):
        goer.way.away = not back
    await asyncio.sleep(10)
    assert (b.state.state.mode == FLUSHING) is back
    assert b.gate.open
    return await written_at(b)


@simulated
async def test_nobody_waits_for_it_while_the_store_is_away(cluster: Cluster) -> None:
    assert await one_is_full_and_one_dies(cluster, back=False) == [Outcome.COMMITTED]


@simulated
async def test_nobody_waits_for_it_while_the_dead_are_waited_for(cluster: Cluster) -> None:
    assert await one_is_full_and_one_dies(cluster, back=True) == [Outcome.COMMITTED]


@simulated
async def test_nobody_waits_for_it_where_its_gate_is_closed(cluster: Cluster) -> None:
    """The store answers it, and it alone."""
    a, b, _ = await in_failsafe(cluster)
    a.gate.stop()
    full_book(a).full = True
    assert not a.outage.set_alone(True)
    a.flush_task.cancel()
    a.way.away = False
    await asyncio.sleep(2)
    assert a.outage.store_answers()
    assert await written_at(b) == [Outcome.COMMITTED]


def test_own_operations_wait_for_room_and_nobody_is_told_of_them():
    net = Net()
    member = net.members[HOME]
    member.gate.on_first = lambda: False
    member.take(OpKind.WRITE, 1, 1)
    net.run()
    net.repeat()
    assert (member.ended, member.gate.ledger.rows) == ([], {})
    assert all(not each.gate.ledger.rows for each in net.members.values())
    member.gate.on_first = lambda: True
    net.repeat()
    assert member.ended == [Outcome.COMMITTED]


def test_who_cannot_keep_anything_does_not_say_no_and_the_others_go_on_without_it():
    """A no ends an SA: it is about its chain."""
    net = Net()
    full = net.members[LAST].gate
    full.on_first = lambda: False
    member = net.members[NEXT]
    member.take(OpKind.WRITE, 1, 1)
    net.run()
    net.repeat()
    assert (member.ended, full.ledger.rows) == ([], {})
    net.lost = {LAST}  # it has said so
    net.repeat()
    assert member.ended == [Outcome.COMMITTED]
    net.lost = set()
    full.on_first = lambda: True
    net.repeat()
    assert len(full.ledger.rows) == 1


def test_a_ticket_shown_to_one_that_can_keep_nothing_works_elsewhere():
    """Its home isn't asked: what that grants is spent."""
    net = Net()
    full, member = net.members[NEXT], net.members[LAST]
    full.gate.on_first = lambda: False
    full.take(OpKind.REDEEM, 1, 1)
    net.run()
    net.repeat()
    full.wanted = False  # the client gives up, and goes elsewhere
    net.repeat()
    assert full.ended == [None]
    net.lost = {NEXT}  # it has said so
    member.take(OpKind.REDEEM, 1, 2, number=2)
    net.run()
    net.repeat()
    assert member.ended == [Outcome.COMMITTED]


@simulated
async def test_who_can_keep_nothing_can_answer_nothing(cluster: Cluster) -> None:
    """By that it begins no session (`node.outage.Standby.closed`)."""
    a, book = await goers_in_failsafe(cluster)
    book.full = True
    assert await written_at(a) == []
    assert not a.gate.can_answer()
    book.full = False
    await asyncio.sleep(1)
    assert a.gate.can_answer()
    assert len(await written_at(a)) == 1


@simulated
async def test_a_note_of_what_came_to_nothing_is_taken_back(cluster: Cluster) -> None:
    goers = a, *_ = await in_failsafe(cluster)
    assert a.gate._may_keep()
    assert f"/{a.member.incarnation}" in read_pledges(a.book)
    assert a.gate.begun_ledger is None
    for goer in goers:
        goer.way.away = False
    await asyncio.sleep(5)
    assert [goer.state.state.mode for goer in goers] == [NORMAL] * 3
    assert read_pledges(a.book) == {}


@simulated
async def test_what_is_kept_on_for_others_stays_noted(cluster: Cluster) -> None:
    """As a way back ends that one of them isn't through with."""
    a, book = await goers_in_failsafe(cluster)
    assert a.outage.set_alone(True)
    kept = claim(2, 2, BIG + 2, owner="b", incarnation=a.outage.given["b"].incarnation)
    assert a.gate.ledger.keep(kept)
    a.flush._marked = True  # and all is normal
    book.full = True
    a.go_on()
    await asyncio.sleep(1)
    assert (a.outage.failsafe, a.outage.alone) == (False, True)
    assert a.gate.begun_ledger is not None
    book.full = False
    await asyncio.sleep(1)
    assert a.outage.unwritable == ""
    assert f"/{a.member.incarnation}" in read_pledges(book)


@simulated
async def test_what_is_kept_on_and_could_not_be_noted_is_noted_when_there_is_room(
    cluster: Cluster,
) -> None:
    a, book = await goers_in_failsafe(cluster)
    book.full = True
    a.outage.over(alone=True)
    assert not a.outage.set_alone(True)  # it isn't on the disk: no more is kept
    book.full = False
    await asyncio.sleep(1)
    assert f"/{a.member.incarnation}" in read_pledges(book)
    assert a.outage.set_alone(True)


def test_what_has_begun_goes_on_though_the_disk_is_full_by_now() -> None:
    """It is noted already; the way back had begun, and the store went away once more."""
    net = Net()
    home = net.members[HOME]
    home.take(OpKind.WRITE, 1, 1)
    net.flight.clear()
    home.gate.stop()
    home.gate.begin(("a", "b", "c"))
    home.gate.writable = home.gate.on_first = lambda: False
    net.repeat()
    net.repeat()
    assert home.ended == [Outcome.COMMITTED]
