"""Operations carried out without the store: who is asked, what is waited for, how it ends."""

from collections.abc import Mapping

import msgspec
import pytest

from cluster.batch import Op, OpKind, Outcome, Pending
from cluster.dispatch import Dispatch
from cluster.failsafe.frames import Claim, Held
from cluster.failsafe.gate import OWED_AT_ONCE, OWED_MAX, Gate, Me, home_order
from cluster.failsafe.ledger import Live
from cluster.link import Frame
from tests.sim.loop import SimLoop
from tests.sim.seams import SimClock

ROSTER = ("a", "b", "c")
CHAIN = bytes(15) + b"h"
HOME = home_order(CHAIN, ROSTER)[0]
NEXT, LAST = (name for name in home_order(CHAIN, ROSTER)[1:])


class Net:
    """Members with gates; frames wait until they are let through."""

    def __init__(self, hosts: Mapping[str, str] | None = None, *, refuse: bool = False) -> None:
        self.hosts = hosts or {name: f"host-{name}" for name in ROSTER}
        self.lost: set[str] = set()
        self.flight: list[tuple[str, str, Frame]] = []
        self.members = {name: Member(self, name, refuse) for name in ROSTER}

    def run(self) -> None:
        while self.flight:
            sender, receiver, frame = self.flight.pop(0)
            if receiver not in self.lost:
                self.members[receiver].hear(sender, frame)

    def repeat(self) -> None:
        for member in self.members.values():
            for work in list(member.gate._works.values()):
                member.gate._push(work)
            member.gate._pay()
        self.run()


class Member:
    """One gate, and what it asks; it is its own link."""

    def __init__(self, net: Net, name: str, refuse: bool) -> None:
        self.net, self.name = net, name
        self.known: dict[bytes, Live] = {}
        self.over: set[tuple[bytes, int]] = set()
        self.since_wall_s = 0.0
        self.wanted = True
        """Whether whoever asked for anything still waits."""
        self.ended: list[Outcome | None] = []
        self.gate = Gate(self, SimClock(SimLoop()), Me(name, f"{name}1", refuse), self)
        self.gate.listen(Dispatch(self))
        self.gate.begin(ROSTER)

    def send(self, member: str, frame: Frame) -> bool:
        self.net.flight.append((self.name, member, frame))
        return True

    def on_frame(self, handler) -> None:
        self.hear = handler

    def set_peers(self, addresses: dict[str, str]) -> None:
        """Everybody is a peer."""

    async def close(self) -> None:
        """Nothing is open."""

    def heard(self, name: str) -> bool:
        return name not in self.net.lost

    def elsewhere(self, name: str) -> bool:
        return self.net.hosts[name] != self.net.hosts[self.name]

    def live(self) -> dict[bytes, Live]:
        return self.known

    def may_be_over(self, chain: bytes, generation: int, issued_wall_s: float) -> bool:
        return (chain, generation) in self.over or issued_wall_s < self.since_wall_s

    def take(
        self,
        kind: OpKind,
        generation: int,
        sa: int,
        number: int = 1,
        *,
        rekey: bool = False,
        doubtful: bool = False,
        only_asks: bool = False,
    ) -> None:
        spi = b"%08d" % sa
        issued_wall_s = 1.0 if kind is OpKind.REDEEM and not rekey else None
        op = Op(
            kind, CHAIN, generation, 3, spi, b"record", None, 1e9, issued_wall_s=issued_wall_s
        )  # fmt: skip
        pending = Pending(
            op, lambda _outcome: None, number=number, op_id=self.name.encode() * 16,
            shard_revision=1, epoch=0, submitted_s=0.0, doubtful=doubtful, only_asks=only_asks,
        )  # fmt: skip
        pending.sealed = b"sealed"
        self.gate.take(
            pending, lambda _pending, outcome: self.ended.append(outcome), lambda _p: self.wanted
        )


def test_nothing_is_answered_before_another_host_keeps_it():
    net = Net()
    net.members[HOME].take(OpKind.CREATE, 0, 1)
    assert net.members[HOME].ended == []
    net.run()
    assert net.members[HOME].ended == [Outcome.COMMITTED]
    assert all(CHAIN in member.gate.ledger.rows for member in net.members.values())


def test_members_on_the_same_host_are_not_enough():
    net = Net(dict.fromkeys(ROSTER, "host"))
    net.members[HOME].take(OpKind.CREATE, 0, 1)
    net.run()
    net.repeat()
    assert net.members[HOME].ended == []
    assert not net.members[HOME].gate.can_answer()


@pytest.mark.parametrize("alone", ["nobody else is heard", "nobody is elsewhere"])
def test_what_nobody_could_keep_is_not_begun_and_goes_back_to_the_journal(alone: str):
    net = Net(dict.fromkeys(ROSTER, "host") if alone == "nobody is elsewhere" else None)
    net.lost = {NEXT, LAST} if alone == "nobody else is heard" else set()
    member = net.members[HOME]
    member.take(OpKind.REDEEM, 1, 1)
    net.run()
    net.repeat()
    member.gate.stop()
    assert member.ended == [None]
    assert all(CHAIN not in each.gate.ledger.rows for each in net.members.values())


def test_what_was_begun_waits_when_the_only_other_host_is_lost():
    net = Net({HOME: "one", NEXT: "one", LAST: "two"})
    member = net.members[HOME]
    member.take(OpKind.CREATE, 0, 1)
    op_id = next(iter(member.gate._works))
    net.flight.clear()
    net.lost = {LAST}
    member.hear(NEXT, Held(op_id, kept=True))
    assert member.ended == []


def test_every_member_that_is_heard_keeps_it_before_it_is_answered():
    net = Net()
    member = net.members[HOME]
    member.take(OpKind.CREATE, 0, 1)
    op_id = next(iter(member.gate._works))
    net.flight.clear()
    member.hear(NEXT, Held(op_id, kept=True))
    assert member.ended == []
    member.hear(LAST, Held(op_id, kept=True))
    assert member.ended == [Outcome.COMMITTED]


@pytest.mark.parametrize("first", ROSTER)
@pytest.mark.parametrize("second", ROSTER)
def test_one_ticket_at_two_members_is_used_once(first: str, second: str):
    net = Net()
    net.members[first].take(OpKind.REDEEM, 1, 1)
    net.members[second].take(OpKind.REDEEM, 1, 2, number=2)
    net.run()
    ended = net.members[first].ended + (net.members[second].ended if first != second else [])
    assert sorted(o.value for o in ended if o) == ["committed", "superseded"]


def test_a_home_that_is_not_asked_grants_nothing_and_the_home_decides():
    net = Net()
    net.members[NEXT].take(OpKind.REDEEM, 1, 1)
    assert [(receiver, type(frame).__name__) for _, receiver, frame in net.flight] == [
        (HOME, "ClaimAsk")
    ]


def test_who_knows_better_says_no():
    net = Net()
    net.members[LAST].known = {CHAIN: Live(2, b"another!")}
    net.members[NEXT].take(OpKind.REDEEM, 1, 1)
    net.run()
    assert net.members[NEXT].ended == [Outcome.SUPERSEDED]


def test_no_ticket_of_a_generation_that_may_be_over_is_taken_and_an_sa_is_rekeyed_all_the_same():
    net = Net()
    member = net.members[NEXT]
    member.over = {(CHAIN, 1)}  # spent for an SA that has ended in the store: no ledger knows it
    member.take(OpKind.REDEEM, 1, 1)
    assert (member.ended, net.flight) == ([Outcome.SUPERSEDED], [])
    member.take(OpKind.REDEEM, 1, 2, rekey=True)
    net.run()
    assert member.ended == [Outcome.SUPERSEDED, Outcome.COMMITTED]


def test_no_ticket_is_taken_that_is_older_than_what_is_heard_of_here():
    net = Net()
    member = net.members[NEXT]
    member.since_wall_s = 2.0
    member.take(OpKind.REDEEM, 1, 1)
    assert (member.ended, net.flight) == ([Outcome.SUPERSEDED], [])


@pytest.mark.parametrize("refused", ["used", "from before", "by policy"])
def test_what_the_store_may_have_carried_out_waits_for_it_though_its_ticket_is_refused(
    refused: str,
):
    """Else its client is told that it failed, and who adopts its record says something else."""
    net = Net(refuse=refused == "by policy")
    member = net.members[NEXT]
    if refused == "used":
        member.over = {(CHAIN, 1)}
    elif refused == "from before":
        member.since_wall_s = 2.0
    else:
        net.lost.add(HOME)
    member.take(OpKind.REDEEM, 1, 1, doubtful=True)
    net.run()
    assert member.ended == []
    member.gate.stop()
    assert member.ended == [None]
    member.gate.begin(ROSTER)
    member.take(OpKind.REDEEM, 1, 1)
    assert member.ended == [None, Outcome.SUPERSEDED]


def test_what_waits_for_the_store_ends_once_its_chain_went_on_without_it():
    """Else it holds up what its chain's later SAs want here for as long as the store is away: what
    uses the next ticket waits behind it. If the store has it, the later use stands all the same.
    """
    net = Net()
    member = net.members[NEXT]
    member.over = {(CHAIN, 1)}
    member.take(OpKind.REDEEM, 1, 1, doubtful=True)
    net.repeat()
    assert member.ended == []
    net.members[LAST].take(OpKind.REDEEM, 1, 2)
    net.run()
    net.repeat()
    assert net.members[LAST].ended == [Outcome.COMMITTED]
    assert member.ended == [Outcome.SUPERSEDED]
    member.take(OpKind.REDEEM, 2, 3)
    net.run()
    assert member.ended == [Outcome.SUPERSEDED, Outcome.COMMITTED]


def test_what_is_revoked_and_in_doubt_waits_for_the_store_and_an_sa_is_rekeyed_all_the_same():
    """An SA that stands is ended, and not before its rekey has."""
    net = Net()
    member = net.members[NEXT]
    for kind, generation in ((OpKind.CREATE, 0), (OpKind.REDEEM, 1)):
        member.take(kind, generation, 1, doubtful=True, only_asks=True)
        net.repeat()
        assert (member.ended, net.members[LAST].gate.begun_ledger) == ([], None)
        member.gate.stop()
        assert member.ended == [None]
        member.ended.clear()
        member.gate.begin(ROSTER)
    member.take(OpKind.REDEEM, 1, 2, rekey=True, doubtful=True, only_asks=True)
    net.run()
    assert member.ended == [Outcome.COMMITTED]


def test_what_waits_for_the_store_as_a_member_is_lost_waits_no_longer_once_that_is_heard():
    net = Net(refuse=True)
    member = net.members[NEXT]
    net.lost = {HOME}
    member.take(OpKind.REDEEM, 1, 1, doubtful=True)
    net.repeat()
    assert member.ended == []
    net.lost = set()
    net.repeat()
    assert member.ended == [Outcome.COMMITTED]


@pytest.mark.parametrize("waited", ["nobody was heard", "the home's answer came late"])
def test_what_has_waited_is_not_begun_for_a_client_that_is_elsewhere_with_its_ticket(waited: str):
    net = Net()
    member = net.members[NEXT]
    if waited == "nobody was heard":
        net.lost = {HOME, LAST}
    member.take(OpKind.REDEEM, 1, 1)
    member.wanted = False
    net.lost = set()
    net.run()
    net.repeat()
    assert (member.ended, member.gate.waiting) == ([None], 0)
    assert all(CHAIN not in each.gate.ledger.rows for each in net.members.values())
    member.wanted = True
    member.take(OpKind.REDEEM, 1, 1)  # the client has come back, with one try or another
    net.run()
    assert member.ended == [None, Outcome.COMMITTED]


def test_a_ticket_that_nobody_has_begun_to_use_is_taken_elsewhere():
    net = Net()
    member = net.members[HOME]
    net.lost = {NEXT, LAST}
    member.take(OpKind.REDEEM, 1, 1)
    member.wanted = False
    net.lost = set()
    net.repeat()
    assert member.ended == [None]
    net.members[NEXT].take(OpKind.REDEEM, 1, 2)
    net.run()
    assert net.members[NEXT].ended == [Outcome.COMMITTED]


def test_what_the_store_ended_late_leaves_its_internal_addresses():
    net = Net()
    member = net.members[HOME]
    ledger, end = member.gate.ledger, OpKind.REVOKE
    op = Op(end, CHAIN, 1, 3, b"ended SA", b"", None, 1e9, addresses=(b"address",))
    pending = Pending(
        op, lambda _outcome: None, number=1, op_id=bytes(16), shard_revision=1, epoch=0,
        submitted_s=0.0,
    )  # fmt: skip
    assert member.gate.committed(2, pending)
    other = Claim(
        op_id=bytes(16), chain=bytes(16), generation=1, spi=b"other SA", shard=3, owner=HOME,
        incarnation="1", expires_wall_s=1e9, record=b"sealed", ticket=None, gone=(), void=False,
        addresses=(b"address",),
    )  # fmt: skip
    assert ledger.keep(other)


def test_what_is_begun_is_carried_on_whoever_wants_it():
    """Others may keep it by now."""
    net = Net()
    member = net.members[HOME]
    member.take(OpKind.REDEEM, 1, 1)
    net.flight.clear()
    member.wanted = False
    net.repeat()
    assert member.ended == [Outcome.COMMITTED]


def test_an_sa_whose_session_went_on_elsewhere_changes_nothing_any_more():
    net = Net()
    net.members[NEXT].take(OpKind.REDEEM, 1, 2)
    net.run()
    net.members[LAST].take(OpKind.WRITE, 1, 1)
    net.run()
    assert net.members[LAST].ended == [Outcome.SUPERSEDED]


def test_with_one_lost_tickets_are_accepted_and_it_is_told_afterwards():
    net = Net()
    net.lost.add(HOME)
    net.members[NEXT].take(OpKind.REDEEM, 1, 1)
    net.run()
    assert net.members[NEXT].ended == [Outcome.COMMITTED]
    net.lost.clear()
    net.repeat()
    assert net.members[HOME].gate.ledger.rows[CHAIN].claim.owner == NEXT
    net.members[HOME].take(OpKind.REDEEM, 1, 2)
    net.run()
    assert net.members[HOME].ended == [Outcome.SUPERSEDED]
    net.repeat()
    assert net.flight == []


def test_with_one_lost_tickets_are_refused_by_policy_and_sessions_begin():
    net = Net(refuse=True)
    member = net.members[NEXT]
    assert not member.gate.refuses(CHAIN, 1, 1.0)
    net.lost.add(HOME)
    assert member.gate.refuses(CHAIN, 1, 1.0)
    member.take(OpKind.REDEEM, 1, 1)
    member.take(OpKind.CREATE, 0, 2)
    net.run()
    assert member.ended == [Outcome.SUPERSEDED, Outcome.COMMITTED]


def test_what_was_lost_on_the_way_is_sent_again():
    net = Net()
    net.members[NEXT].take(OpKind.REDEEM, 1, 1)
    for _ in range(3):
        net.flight.clear()
        for work in net.members[NEXT].gate._works.values():
            net.members[NEXT].gate._push(work)
    net.run()
    net.repeat()
    assert net.members[NEXT].ended == [Outcome.COMMITTED]


def test_who_is_bound_by_nothing_serialises_and_keeps_nothing():
    net = Net()
    free = net.members[LAST].gate
    free.over()
    net.members[HOME].take(OpKind.CREATE, 0, 1)
    net.run()
    assert free.begun_ledger is None
    free.bound = lambda name: name == HOME
    net.repeat()
    assert net.members[HOME].ended == [Outcome.COMMITTED]


def test_what_is_not_decided_goes_back_to_the_journal():
    net = Net()
    net.members[NEXT].take(OpKind.REDEEM, 1, 1)
    net.members[NEXT].gate.stop()
    assert net.members[NEXT].ended == [None]
    net.run()
    assert net.members[NEXT].gate.rows() == []


def test_what_a_lost_member_has_missed_is_bounded_and_told_in_portions():
    net = Net()
    member = net.members[HOME]
    member.take(OpKind.CREATE, 0, 1)
    (work,) = member.gate._works.values()
    net.flight.clear()
    for number in range(OWED_MAX + 1):
        claim = msgspec.structs.replace(work.claim, op_id=number.to_bytes(16, "big"))
        member.gate._owe(LAST, claim)
    assert len(member.gate._owed[LAST]) == OWED_MAX
    assert bytes(16) not in member.gate._owed[LAST]  # the oldest is forgotten
    member.gate._pay()
    assert len(net.flight) == OWED_AT_ONCE


def test_what_others_were_told_of_is_written_as_the_gate_closes_and_ends_with_that():
    net = Net()
    net.members[LAST].take(OpKind.CREATE, 0, 1)
    net.run()
    member = net.members[HOME]
    member.take(OpKind.REDEEM, 1, 2)
    assert member.gate.rows() == []
    while net.flight:  # the former owner's row is overtaken: it writes nothing of that chain
        sender, receiver, frame = net.flight.pop(0)
        if receiver != HOME:  # and the answers are lost
            net.members[receiver].hear(sender, frame)
    member.gate.stop()
    assert net.members[LAST].gate.rows() == []
    assert (member.ended, member.gate.waiting) == ([], 1)
    (row,) = member.gate.rows()
    member.gate.written(row, True)
    assert (member.ended, member.gate.waiting) == ([Outcome.COMMITTED], 0)
    assert member.gate.rows() == []


def test_what_the_store_has_something_newer_for_is_void():
    net = Net()
    member = net.members[HOME]
    member.take(OpKind.CREATE, 0, 1)
    member.gate.stop()
    (row,) = member.gate.rows()
    member.gate.written(row, False)
    assert member.ended == [Outcome.SUPERSEDED]


def test_a_gate_that_opens_again_goes_on_with_what_was_to_be_written():
    net = Net()
    member = net.members[HOME]
    member.take(OpKind.CREATE, 0, 1)
    member.gate.stop()
    member.gate.begin(ROSTER)
    net.repeat()
    assert (member.ended, member.gate.waiting) == ([Outcome.COMMITTED], 0)


def test_what_the_store_will_never_have_goes_back():
    net = Net()
    member = net.members[HOME]
    member.take(OpKind.CREATE, 0, 1)
    member.gate.over()
    assert (member.ended, member.gate.waiting) == ([None], 0)
