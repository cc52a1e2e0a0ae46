"""Carries the journal's operations out without the store: claimed at home, kept by all, answered.

```
REDEEM, REKEY, REVOKE   ask the chain's home, which serialises; then as the others
all                     every member that is heard keeps it, one of them on another host
```

Rules:
- Nothing is answered before a member on another host keeps it (promise 6), and before every member
  that is heard has kept it: whoever knows better of the chain says no, and the operation is void.
- The home is the first of the frozen roster by rank that is heard. While one of the roster isn't
  heard, tickets are refused or accepted by policy: with it lost, two members may take another for
  the home. What it missed is told to it as soon as it is heard again.
- A ledger knows the chains that live here, and none whose SA ended in the store. So no ticket is
  taken of a generation that the filters of spent ones may have, shown when it may have been: who
  asked the store about it then, and heard nothing, has left that to this gate.
- What is revoked, and in doubt, isn't begun, for the store's word of it is wanted: but an SA that
  stands is rekeyed, and ends after that.
- What isn't begun yet is begun only while whoever asked for it waits, and goes back to the journal
  if not: as with the store, a ticket isn't spent for a client that has gone elsewhere with it
  (`cluster.patience`).
- Who can note nothing on its disk keeps nothing, and says so with its heartbeats: the others go on
  as if it weren't heard. It begins nothing, and asks no home: what that grants is spent.
- An operation ends here. When the gate closes before it was decided, it goes back to the journal;
  but one that others may keep by then is written with all that was done (`cluster.failsafe.flush`)
  and ends with that: the chain it moves on may be one that only its former owner's row tells of,
  and that row is overtaken.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from cluster.batch import ENDS, MOVES, Op, OpKind, Outcome, Pending, number_after
from cluster.dispatch import Dispatch
from cluster.failsafe.frames import Claim, ClaimAnswer, ClaimAsk, Held, Hold
from cluster.failsafe.ledger import Ledger, Live, Row
from cluster.link import Frame, PeerLink
from cluster.seams import Clock

REPEAT_S = 0.1
"""How often what isn't answered is sent again."""
OWED_MAX = 200_000
"""Operations that members which aren't heard have missed; beyond it the oldest are forgotten, and a
double use is found when the store is back."""
OWED_AT_ONCE = 200
"""Of them, how many are told in one round."""


class Others(Protocol):
    """The other members, as far as this one can tell. Implementer: `node.outage.Standby`."""

    def heard(self, name: str) -> bool:
        """Whether the process of that name in the frozen roster has been heard lately, and can
        keep something."""
        ...

    def elsewhere(self, name: str) -> bool:
        """Whether it runs on another host than this member."""
        ...

    def live(self) -> Mapping[bytes, Live]:
        """The chains of the SAs that are established here."""
        ...

    def may_be_over(self, chain: bytes, generation: int, issued_wall_s: float) -> bool:
        """Whether that generation of the chain, of which a ticket was issued then, may be over, by
        what is told of spent tickets."""
        ...


class Me(msgspec.Struct, frozen=True):
    """Who this member is, and its policy."""

    name: str
    incarnation: str
    refuse_tickets: bool
    """While a member of the roster is lost."""


class _Work(msgspec.Struct):
    """An operation on its way."""

    pending: Pending
    claim: Claim
    end: Callable[[Pending, Outcome | None], None]
    wanted: Callable[[Pending], bool]
    granted: bool
    begun: bool = False
    """The others are being told."""
    kept_by: dict[str, None] = {}


def home_order(chain: bytes, roster: Iterable[str]) -> list[str]:
    """`roster` in the order in which its members are home to `chain` (rendezvous hashing)."""

    def score(name: str) -> tuple[bytes, str]:
        return hashlib.blake2s(chain + name.encode(), digest_size=8).digest(), name

    return sorted(roster, key=score)


class Gate:
    """See the module. `open` while in failsafe."""

    def __init__(self, link: PeerLink, clock: Clock, me: Me, others: Others) -> None:
        self._link = link
        self._clock = clock
        self._me = me
        self._others = others
        self._roster: tuple[str, ...] = ()
        self.open = False
        """Whether operations are carried out here."""
        self._ledger: Ledger | None = None
        self._works: dict[bytes, _Work] = {}
        self._closing: dict[bytes, _Work] = {}
        """Not decided as the gate closed; the flush ends them."""
        self._owed: dict[str, dict[bytes, Hold]] = {}
        self._number = 0
        self._wake = asyncio.Event()
        self.bound: Callable[[str], bool] = lambda _name: False
        """Whether that member may rely on me: it has my pledge."""
        self.on_first: Callable[[], bool] = lambda: True
        """Called before anything is kept that the store doesn't have; whether anything may be. Once
        it may, not again until `stop`."""
        self.writable: Callable[[], bool] = lambda: True
        """Whether that could be noted now, as far as is known."""
        self.noted = False
        """Something was kept since `stop`."""
        self.answered = 0
        """Operations that were answered without the store, in this life."""

    def listen(self, dispatch: Dispatch) -> None:
        """Have the others' frames."""
        dispatch.on(ClaimAsk, self._asked)
        dispatch.on(ClaimAnswer, self._home_answered)
        dispatch.on(Hold, self._hold)
        dispatch.on(Held, self._held)

    async def run(self) -> None:
        """Repeat what isn't answered, for ever."""
        while True:
            await asyncio.sleep(REPEAT_S)
            if not self._works and not self._owed:
                self._wake.clear()
                await self._wake.wait()
            for work in list(self._works.values()):
                self._push(work)
            self._pay()

    @property
    def ledger(self) -> Ledger:
        """What was done without the store; begun when it is first asked for."""
        if self._ledger is None:
            self._ledger = Ledger(self._others.live())
        return self._ledger

    @property
    def begun_ledger(self) -> Ledger | None:
        """The ledger, if there is one."""
        return self._ledger

    @property
    def watches(self) -> bool:
        """Whether anything may have been done without the store."""
        return self._ledger is not None

    def rows(self) -> list[Row]:
        """What this member answered for and the store doesn't have yet."""
        ledger, me = self._ledger, self._me
        if ledger is None:
            return []
        rows = [ledger.rows[chain] for chain in ledger.unwritten]
        return [row for row in rows if row.claim.incarnation == me.incarnation]

    def written(self, row: Row, stands: bool) -> None:
        """The store has `row`; or (not `stands`) something newer, and `row` is void."""
        newest = self._ledger is not None and self._ledger.rows.get(row.claim.chain) is row
        if newest:
            self.ledger.unwritten.pop(row.claim.chain, None)
        op_id = row.claim.op_id
        work = self._closing.get(op_id) or self._works.get(op_id)
        if work is not None:
            self._end(work, Outcome.COMMITTED if stands and newest else Outcome.SUPERSEDED)

    def undecided(self, row: Row) -> Op | None:
        """The operation that `row` tells of, if its answer still waits."""
        op_id = row.claim.op_id
        work = self._closing.get(op_id) or self._works.get(op_id)
        return None if work is None else work.pending.op

    @property
    def waiting(self) -> int:
        """Operations that are neither answered nor given back."""
        return len(self._works) + len(self._closing)

    def lost(self) -> tuple[str, ...]:
        """Members of the frozen roster that aren't heard."""
        me = self._me.name
        return tuple(n for n in self._roster if n != me and not self._others.heard(n))

    @property
    def full(self) -> bool:
        """Whether nothing can be kept here, for want of a disk."""
        return not (self.noted or self.writable())

    def can_answer(self) -> bool:
        """Whether anything could be answered now: it can be kept here, and somebody on another
        host is heard."""
        return self._reaches_another_host() and not self.full

    def refuses(self, chain: bytes, generation: int, issued_wall_s: float) -> bool:
        """Whether a ticket of that generation of the chain, issued then, is refused now: by policy,
        or as it may have been used.
        """
        by_policy = self.open and self._me.refuse_tickets and bool(self.lost())
        return by_policy or self._others.may_be_over(chain, generation, issued_wall_s)

    def begin(self, roster: Sequence[str]) -> None:
        """In failsafe, with the others of `roster`: carry operations out from now on."""
        self._roster = tuple(roster)
        self.open = True
        self._works.update(self._closing)
        self._wake.set()
        self._closing.clear()

    def stop(self) -> None:
        """Carry nothing out any more. What isn't decided is written by the flush if others were
        told of it, and goes back to the journal if not."""
        self.open = self.noted = False
        works, self._works = self._works, {}
        for op_id, work in works.items():
            if not work.begun:
                work.end(work.pending, None)
            elif self.ledger.answered(work.claim):
                self._closing[op_id] = work
            else:
                work.end(work.pending, Outcome.SUPERSEDED)

    def over(self, through: Mapping[str, str] | None = None) -> None:
        """The store has all that these processes (member → incarnation) had answered for, this one
        among them; what others had is kept on. None: nobody waits for what the store doesn't have.
        """
        self.stop()
        works, self._closing = self._closing, {}
        for work in works.values():
            work.end(work.pending, None)
        self._roster = ()
        self._owed.clear()
        if self._ledger is not None and through is not None:
            self._ledger.forget(through)
            if self._ledger.rows:
                return
        self._ledger = None

    # -- the journal's side

    def take(
        self,
        pending: Pending,
        end: Callable[[Pending, Outcome | None], None],
        wanted: Callable[[Pending], bool],
    ) -> None:
        """Carry `pending` out, sealed as it is, if it is `wanted` as it is begun; `end` is called
        once, with None: it is the journal's again."""
        op = pending.op
        self._number = number_after(self._number, self._clock.wall_s())
        moves = op.kind in MOVES
        ends = op.kind in ENDS
        claim = Claim(
            op_id=pending.op_id[:8] + self._number.to_bytes(8, "big"),
            chain=op.chain,
            generation=op.generation + 1 if moves else op.generation,
            spi=op.spi,
            shard=op.shard,
            owner=self._me.name,
            incarnation=self._me.incarnation,
            expires_wall_s=op.expires_wall_s,
            record=b"" if ends else pending.sealed or b"",
            ticket=None if op.ticket is None else pending.sealed_ticket,
            gone=() if op.replaces is None else (op.replaces,),
            void=op.kind is OpKind.REVOKE,
            shard_revision=pending.shard_revision,
            addresses=op.addresses,
        )
        # a chain that is made now is nobody else's: there is nothing to serialise
        granted = not moves or op.kind is OpKind.CREATE
        work = _Work(pending, claim, end, wanted, granted)
        self._works[claim.op_id] = work
        self._wake.set()
        self._push(work)

    def committed(self, op_generation: int, pending: Pending) -> bool:
        """The store has carried out `pending`, sent before the gate opened; may it be answered?"""
        if self._ledger is None:
            return True
        op = pending.op
        live = Live(op_generation, op.spi, op.addresses)
        return self._ledger.committed(op.chain, live, void=op.kind is OpKind.REVOKE)

    # -- one operation

    def _reaches_another_host(self) -> bool:
        others = self._others
        return self.open and any(others.heard(n) and others.elsewhere(n) for n in self._rest())

    def _push(self, work: _Work) -> None:
        """Ask whoever has to be asked next; nobody, while nobody could go on with it if this host
        burnt down: what isn't begun goes back to the journal as the gate closes.
        """
        claim = work.claim
        if not (work.begun or self._may_begin(work)) or not self._reaches_another_host():
            return
        if not (work.begun or self._may_keep()):
            return
        if not work.granted:
            home = next(n for n in home_order(claim.chain, self._roster) if self._reached(n))
            ask = ClaimAsk(claim.op_id, claim.chain, claim.generation - 1, claim.spi)
            if home != self._me.name:
                self._send(home, ask)
                return
            if not self.ledger.grant(ask.op_id, ask.chain, ask.generation, ask.spi):
                self._end(work, Outcome.SUPERSEDED)
                return
            work.granted = True
        if not work.begun:
            work.begun = True
            if not self.ledger.keep(claim):
                self._end(work, Outcome.SUPERSEDED)
                return
        for name in self._rest():
            if name not in work.kept_by and self._others.heard(name):
                self._send(name, Hold(claim))
        self._decide(work)

    def _may_begin(self, work: _Work) -> bool:
        """Whether `work` is wanted, and not refused; if not, it is ended or given back. What is to
        be refused or revoked, and the store may have carried out, waits for the store's word, or
        for its chain to go on without it: whatever the store did, its SA is void then.
        """
        pending, claim = work.pending, work.claim
        op = pending.op
        if not work.wanted(pending):
            self._end(work, None)
            return False
        refused = pending.only_asks and not op.is_rekey
        if op.issued_wall_s is not None:
            refused = refused or self.refuses(op.chain, op.generation, op.issued_wall_s)
        if not refused:
            return True
        ledger = self._ledger
        gone_on = ledger is not None and ledger.behind(claim.chain, claim.generation, claim.spi)
        if gone_on or not pending.doubtful:
            self._end(work, Outcome.SUPERSEDED)
        return False

    def _decide(self, work: _Work) -> None:
        others = self._others
        if any(others.heard(name) and name not in work.kept_by for name in self._rest()):
            return
        if not any(others.elsewhere(name) for name in work.kept_by):
            return  # nobody could go on with it if this host burnt down
        for name in self._rest():
            if name not in work.kept_by:
                self._owe(name, work.claim)
        self.ledger.answered(work.claim)
        self.answered += 1
        self._end(work, Outcome.COMMITTED)

    def _end(self, work: _Work, outcome: Outcome | None) -> None:
        op_id = work.claim.op_id
        if (self._works.pop(op_id, None) or self._closing.pop(op_id, None)) is not None:
            work.end(work.pending, outcome)

    def _home_answered(self, sender: str, answer: ClaimAnswer) -> None:
        work = self._works.get(answer.op_id)
        if work is None or work.granted:
            return
        if answer.granted:
            work.granted = True
            self._push(work)
        else:
            self._end(work, Outcome.SUPERSEDED)

    def _held(self, sender: str, held: Held) -> None:
        owed = self._owed.get(sender)
        if owed is not None:
            owed.pop(held.op_id, None)
        work = self._works.get(held.op_id)
        if work is None or not work.begun:
            return
        if not held.kept:
            self._end(work, Outcome.SUPERSEDED)
            return
        work.kept_by[sender] = None
        self._decide(work)

    # -- the other members' side

    def _asked(self, sender: str, ask: ClaimAsk) -> None:
        if self._may_be_relied_on(sender):
            granted = self.ledger.grant(ask.op_id, ask.chain, ask.generation, ask.spi)
            self._send(sender, ClaimAnswer(ask.op_id, granted))

    def _hold(self, sender: str, hold: Hold) -> None:
        """Who can't keep anything says nothing: a no would be about the chain, and end its SA."""
        if self._may_be_relied_on(sender) and self._may_keep():
            self._send(sender, Held(hold.claim.op_id, self.ledger.keep(hold.claim)))

    def _may_keep(self) -> bool:
        self.noted = self.noted or self.on_first()
        return self.noted

    def _may_be_relied_on(self, sender: str) -> bool:
        """Only what stands by its pledge, or is in failsafe itself, may serialise or keep."""
        return self.bound(sender) or sender in self._roster

    # -- members that missed something

    def _owe(self, name: str, claim: Claim) -> None:
        owed = self._owed.setdefault(name, {})
        if len(owed) >= OWED_MAX:
            del owed[next(iter(owed))]
        owed[claim.op_id] = Hold(claim)

    def _pay(self) -> None:
        for name, owed in self._owed.items():
            if self._others.heard(name):
                for hold in list(owed.values())[:OWED_AT_ONCE]:
                    self._send(name, hold)

    def _rest(self) -> tuple[str, ...]:
        return tuple(name for name in self._roster if name != self._me.name)

    def _reached(self, name: str) -> bool:
        return name == self._me.name or self._others.heard(name)

    def _send(self, name: str, frame: Frame) -> None:
        self._link.send(name, frame)
