"""A disk that is full as the store goes away: nothing is promised or kept, nothing ends of it."""

import asyncio

from cluster.batch import OpKind, Outcome
from cluster.failsafe.frames import PledgeAnswer, PledgeAsk, PledgeWord
from cluster.failsafe.outage import MemoryBook, read_pledges
from cluster.link import Frame
from tests.unit.cluster.goers import Goer, in_failsafe
from tests.unit.cluster.members import Cluster, simulated
from tests.unit.cluster.test_failsafe_gate import HOME, LAST, NEXT, Net


class FullBook(MemoryBook):
    """A book on a disk that is full for a while."""

    full = False

    def write(self, octets: bytes) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        super().write(octets)


async def goers_in_failsafe(cluster: Cluster) -> tuple[Goer, FullBook]:
    """The first of them, with its book."""
    a, *_ = await in_failsafe(cluster)
    book = FullBook()
    book.write(a.book.read())
    a.book = a.outage._book = book
    return a, book


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
async def test_who_is_mute_is_not_heard_and_hears(cluster: Cluster) -> None:
    a, b, _ = await in_failsafe(cluster)
    a.beats.mute = lambda: True
    await asyncio.sleep(2)
    assert not b.heard("a")
    assert a.heard("b")
    a.beats.mute = lambda: False
    await asyncio.sleep(1)
    assert b.heard("a")


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
    net.lost = {LAST}  # it is mute
    net.repeat()
    assert member.ended == [Outcome.COMMITTED]
    net.lost = set()
    full.on_first = lambda: True
    net.repeat()
    assert len(full.ledger.rows) == 1
