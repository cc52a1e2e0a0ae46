"""The way back: what was done without the store is written to it, and only then is all normal.

```
normal ──the first that sees the store──► flushing ──every one of the roster has written──► normal
```

Rules:
- The cluster's state is `flushing` before anything else is committed: every batch of a journal
  compares it. So a chain that went on without the store can't be claimed by a way around it.
- A member goes on carrying operations out without the store until all others of the roster are back
  too; then it stops, writes the rest, and says so in the state (`through`). If one of them is lost
  before it is through, it takes that back and goes on.
- Its word is about what it did until then. Who loses the store once more, and goes into failsafe by
  new pledges, may have answered since: these pledges are of a later round than its word, which
  counts no more, neither for itself nor for who has pledged. So who has stopped for a store that
  goes away again asks for new pledges, and carries operations out once more.
- Only who could have been asked for such pledges can tell. Whose own lease has ended wasn't, so on
  joining anew it takes all words back, and all who have given theirs look again.
- Who restarted says so (`lost`), and an operator says it of who won't come back. Then everybody
  writes the chains that he knows the lost one to have answered for, and says anew that he has.
- Who pledged begins no new way back for `SETTLE_S` after the state has changed: the pledgee must
  see that all is normal, and say that it needs the pledge no more. Else it would begin for ever.
- A chain that was claimed twice is found here: the newer claim stands, the older SA is dropped,
  whoever has it.
- An internal address that is another chain's in the store stays that: the row's SA is dropped.
- What was answered without the store is let go of once the store has it, and not before: by who
  answered, and by those that keep it for him. The rest begins a way back of its own.
- Nothing is written past a revocation that isn't obeyed here; a session that it forbids is written
  as ended. One that was written before stands, for whoever has its SA to end it.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from cluster.batch import OP_OVERHEAD_OCTETS
from cluster.errors import ClusterError, Conflict, LeaseLost
from cluster.expiry import ExpiryBuckets
from cluster.failsafe.bury import bury
from cluster.failsafe.gate import Gate
from cluster.failsafe.ledger import Row
from cluster.failsafe.outage import Outage
from cluster.failsafe.write import Fate, Step, next_step
from cluster.layout import FLUSHING, NORMAL, ClusterState, Keys
from cluster.member import Membership
from cluster.seams import Clock
from cluster.state import StateKeeper
from cluster.store import Compare, Entry, Get, Store, Target, Txn, TxnResult

LOOK_S = 0.1
"""Between two looks, as long as there is something to do."""
AT_ONCE_S = 5.0
"""The longest that one go may take; what is written by then is, the rest follows. A call that never
ends is given up by it: every step may be repeated."""
SETTLE_S = 2.0
"""From a change of the cluster's state to the earliest beginning: the pledgee's watch, its look and
its word take much less. Nothing is committed meanwhile by whoever stands by a pledge."""
ROWS_PER_TXN = 20
"""Rows read or written in one transaction: each has few keys, a store takes 128 operations."""
OCTETS_PER_TXN = 1 << 19
"""Records, tickets and keys written in one transaction. A row alone has little more at most, by the
limit of the operations that it comes of; etcd's default limit of a request is three times this."""
RESUMED = "resumed elsewhere"
TAKEN = "its internal address is another session's"
"""Why SAs are dropped."""

Found = tuple[Entry | None, tuple[Entry | None, ...]]
"""What the store has of a row's chain, and of each of its internal addresses."""


class Told(Protocol):
    """Who is told what the flush finds. Implementer: `node.outage.Standby`."""

    def used_twice(self, row: Row) -> None:
        """The chain was claimed by two SAs; `row` is the claim of this member's ledger."""
        ...

    def void(self, chain: bytes, spi: bytes, why: str) -> None:
        """That SA isn't the chain's, or its newest state is lost: drop it, wherever it is."""
        ...

    def buried(self, records: int) -> None:
        """So many SAs of former lives of this member were declared dead."""
        ...


class Rules(Protocol):
    """What is revoked. Implementer: `node.outage.Standby`."""

    @property
    def watermark(self) -> int:
        """The store's revision of the watermark up to which every rule is obeyed."""
        ...

    async def obey(self, watermark: Entry | None) -> None:
        """Obey what stands in the store. Raises ClusterError."""
        ...

    def revoked(self, row: Row) -> bool:
        """Whether a rule is about the session of that row, of this member's."""
        ...

    def answers(self, row: Row) -> bool:
        """Whether the SA of that row, of this member's, is here, or about to be."""
        ...


class FlushParts(msgspec.Struct, frozen=True):
    """What the flush works on."""

    store: Store
    keys: Keys
    clock: Clock
    membership: Membership
    state: StateKeeper
    outage: Outage
    gate: Gate
    shard_revision: Callable[[int], int | None]
    shard_of: Callable[[bytes], int]
    told: Told
    rules: Rules


class Flush:
    """See the module; `run` never returns."""

    def __init__(self, parts: FlushParts) -> None:
        self._parts = parts
        self._me = parts.membership.me.name
        self._incarnation = parts.membership.incarnation
        self._buckets = ExpiryBuckets(parts.store, parts.keys.root, parts.clock)
        self._marked = False
        """This member has said that it is through, perhaps unheard, and nothing ended that."""
        self._joined_revision = 0
        """Of my member key: it has stood there ever since the words in the state were given."""
        self._decided_by = 0
        """The revision of the state by which it is written now: the next one may say otherwise."""
        self._way_back: ClusterState | None = None
        """The last state of the latest way back, as far as it was seen here."""
        self._changed_boot_s = float("-inf")
        """When the cluster's state changed last, as far as this life knows."""
        parts.state.on_changed.append(self._changed)
        parts.outage.on_failsafe.append(self._failsafe)
        parts.outage.stopped = lambda: not parts.gate.open
        self._wake = asyncio.Event()
        parts.outage.on_look.append(self._looked)
        self._written_of_lost: dict[tuple[bytes, bytes], None] = {}
        self.written = 0
        """Rows written, in this life."""

    async def run(self) -> None:
        """Look for ever."""
        while True:
            if self._nothing_to_do():
                self._wake.clear()
                await self._wake.wait()
            else:
                await asyncio.sleep(LOOK_S)
            try:
                async with asyncio.timeout(AT_ONCE_S):
                    await self._look()
            except LeaseLost:
                self._buckets.forget()
            except (ClusterError, TimeoutError):
                continue  # the store is away again, or somebody else was quicker

    def _looked(self) -> None:
        """The outage looks as often as is needed here."""
        if not self._nothing_to_do():
            self._wake.set()

    def _nothing_to_do(self) -> bool:
        """As it is nearly always: all is normal, and was."""
        parts = self._parts
        state, pledges = parts.state.state, parts.outage.pledges
        quiet = state.mode == NORMAL and not state.lost and not self._marked
        rest = pledges.at_rest and not parts.outage.lives
        return quiet and rest and parts.gate.begun_ledger is None

    @property
    def unwritten(self) -> int:
        """Chains that the store doesn't have yet."""
        return len(self._parts.gate.rows())

    def _changed(self, state: ClusterState) -> None:
        self._changed_boot_s = self._parts.clock.boot_s()
        if state.mode == FLUSHING:
            self._way_back = state

    def _failsafe(self, begins: bool) -> None:
        if begins:
            self._marked = False

    async def _look(self) -> None:
        parts = self._parts
        state, self._decided_by = parts.state.state, parts.state.revision
        if parts.outage.lives and parts.outage.store_answers():
            records = await bury(parts.store, parts.keys, parts.outage.lives)
            parts.outage.buried()
            parts.told.buried(records)
        for name, incarnation in state.lost.items():
            parts.outage.write_off(name, incarnation)
        if state.mode == FLUSHING:
            await self._flush(state)
        elif self._marked:
            self._marked = False
            self._written_of_lost.clear()
            parts.gate.over(self._covered())
            parts.outage.over(alone=parts.gate.begun_ledger is not None)
        elif parts.outage.store_answers() and self._settled():
            await self._perhaps_begin(state)

    def _settled(self) -> bool:
        return self._parts.clock.boot_s() - self._changed_boot_s >= SETTLE_S

    async def _perhaps_begin(self, state: ClusterState) -> None:
        parts = self._parts
        roster = parts.outage.episode()
        ledger = parts.gate.begun_ledger
        if not roster and ledger is not None and not parts.outage.restrained():
            if not ledger.rows:
                parts.gate.over()  # nothing came of it
                parts.outage.set_alone(False)
                return
            given = parts.outage.given.items()  # they are silent, and may be gone
            given_to = {name: pledge.incarnation for name, pledge in given}
            roster = {self._me: self._incarnation, **given_to, **ledger.owners()}
        if not roster:
            return
        new = msgspec.structs.replace(state, mode=FLUSHING, roster=roster, through={}, lost={})
        await parts.state.change(state, new)

    async def _flush(self, state: ClusterState) -> None:
        mine = state.roster.get(self._me)
        if mine is None or not self._parts.outage.store_answers():
            return
        if self._joined_revision != self._parts.membership.key_revision:
            await self._take_back_all(state)
        elif mine not in ("", self._incarnation):
            if self._me not in state.lost:
                await self._lose(state, state, self._me)
        elif self._me in state.lost:  # written off while it lives: others may have its shards
            self._parts.gate.over()
            self._parts.outage.over()
        elif not self._all_there(state):
            if self._marked or self._me in state.through:
                await self._mark(state, None)  # and one that is still under way comes too late
                self._go_on()
                return
            await self._write_all(state)
            if not self._parts.gate.open:
                self._go_on()
        elif self._me in self.waited_for(state):
            await self._write_all(state)
            await self._stop_and_mark(state)
        await self._perhaps_end()

    async def _take_back_all(self, state: ClusterState) -> None:
        revision = self._parts.membership.key_revision
        if state.through:
            await self._parts.state.change(state, msgspec.structs.replace(state, through={}))
        self._joined_revision = revision

    async def _stop_and_mark(self, state: ClusterState) -> None:
        parts = self._parts
        parts.gate.stop()
        until = parts.outage.pledges.round_over
        await self._write_all(state)
        if not parts.gate.open:  # else failsafe has begun once more
            self._marked = True
            await self._mark(state, until)
            if not parts.gate.noted:
                parts.outage.set_alone(False)

    async def _mark(self, state: ClusterState, until: int | None) -> None:
        """Say up to which round this member is through; None: not at all."""
        marks = {name: number for name, number in state.through.items() if name != self._me}
        if until is not None:
            marks[self._me] = until
        through = dict(sorted(marks.items()))
        await self._parts.state.change(state, msgspec.structs.replace(state, through=through))

    def waited_for(self, state: ClusterState) -> list[str]:
        """Who has something to write, or may have."""
        return [
            name
            for name in state.roster
            if name not in state.lost
            and (name not in state.through or self._overtaken_mark(state, name))
        ]

    def _overtaken_mark(self, state: ClusterState, name: str) -> bool:
        """Whether `name` may have answered something since it said that it is through."""
        until, pledges = state.through[name], self._parts.outage.pledges
        if name == self._me:
            return not self._marked or until != pledges.round
        pledge = pledges.given.get(name)
        about = pledge is not None and pledge.incarnation == state.roster.get(name)
        return pledge is not None and about and pledge.round > until

    def _covered(self) -> dict[str, str]:
        """The processes whose answers the store has, now that the way back is over; this one is
        through."""
        found = {self._me: self._incarnation}
        state = self._way_back
        if state is not None:
            others = {name: life for name, life in state.roster.items() if name != self._me}
            doubtful = [name for name in state.through if self._overtaken_mark(state, name)]
            found.update({n: life for n, life in others.items() if n not in doubtful})
        return found

    def _go_on(self) -> None:
        """Somebody was lost before he was through: carry operations out again meanwhile."""
        self._marked = False
        if self._parts.outage.failsafe:
            self._parts.gate.begin(tuple(self._parts.outage.pledges.roster))

    async def _perhaps_end(self) -> None:
        state = self._parts.state.state
        if state.mode == FLUSHING and not self.waited_for(state):
            normal = msgspec.structs.replace(state, mode=NORMAL, roster={}, through={}, lost={})
            key = self._parts.membership.key
            mine = Compare(key, Target.MOD_REVISION, self._joined_revision)
            await self._parts.state.change(state, normal, mine)

    async def _lose(self, before: ClusterState, state: ClusterState, name: str) -> None:
        lost = {**state.lost, name: state.roster[name]}
        changed = msgspec.structs.replace(state, lost=lost, through={})
        await self._parts.state.change(before, changed)

    def _all_there(self, state: ClusterState) -> bool:
        """Whether everybody who is to write something can."""
        return all(name in self._parts.membership.members for name in self.waited_for(state))

    async def write_off(self, name: str) -> None:
        """An operator says that `name` won't come back. Raises ClusterError."""
        parts = self._parts
        state, members, given = parts.state.state, parts.membership.members, parts.outage.given
        waited_for = name in state.roster and name not in state.lost
        gone = state.roster[name] if waited_for else ""
        gone = gone or (given[name].incarnation if name in given else "")
        if name in members and gone in ("", members[name].incarnation):
            if not (parts.membership.store_ok and parts.outage.store_answers()):
                last = f"{name} was a member when the store last answered, or was believed"
                raise Conflict(f"{last}: once it is again, write off who isn't one any more")
            raise Conflict(f"{name} lives: the store has it among the members")
        if parts.outage.hears(name, gone):  # its lease is over, and it is about to join anew
            raise Conflict(f"{name} lives: it is heard, and the store will have it again soon")
        if not waited_for and name not in given:
            raise Conflict(f"nothing waits for {name}")
        roster = dict(state.roster)
        if state.mode != FLUSHING:
            roster = {each: record.incarnation for each, record in members.items()}
        if name in given and not waited_for:
            roster[name] = given[name].incarnation
        changed = msgspec.structs.replace(state, mode=FLUSHING, roster=dict(sorted(roster.items())))
        await self._lose(state, changed, name)

    # -- writing

    async def _write_all(self, state: ClusterState) -> None:
        """Write everything that the store doesn't have. Raises ClusterError if that can't be."""
        parts = self._parts
        ledger = parts.gate.begun_ledger
        if ledger is None:
            return
        mine = [(row, False) for row in parts.gate.rows()]
        of_lost = [
            (row, True)
            for row in ledger.of_lost(state.lost)
            if (row.claim.chain, row.claim.op_id) not in self._written_of_lost
        ]
        rows = mine + of_lost
        while rows:
            rows = await self._round(rows)

    async def _round(self, rows: list[tuple[Row, bool]]) -> list[tuple[Row, bool]]:
        """One step for each; those that need more."""
        more: list[tuple[Row, bool]] = []
        for some in _fitting(rows):
            read = await self._read([row for row, _ in some])
            steps: list[tuple[Row, bool, Step]] = []
            for (row, lost), found in zip(some, read, strict=True):
                step = await self._step(row, found, lost)
                if isinstance(step, Step):
                    steps.append((row, lost, step))
                else:
                    self._ended(row, lost, step)
            more += await self._commit(steps)
        return more

    async def _read(self, rows: Sequence[Row]) -> list[Found]:
        parts = self._parts
        keys = [(parts.keys.session(row.claim.chain), *row.claim.addresses) for row in rows]
        result = await parts.store.commit(Txn((), tuple(Get(key) for of in keys for key in of)))
        read = iter([found if isinstance(found, Entry) else None for found in result.responses])
        return [(next(read), tuple(next(read) for _ in of[1:])) for of in keys]

    async def _step(self, row: Row, found: Found, lost: bool) -> Step | Fate:
        parts = self._parts
        lease_id = await self._buckets.grant(row.claim.expires_wall_s)
        if self._overtaken(row):
            return Fate.DONE
        return next_step(
            parts.keys,
            row,
            *found,
            lease_id=lease_id,
            shard_revision=None if lost or not parts.rules.answers(row) else self._owned(row),
            shard_of=parts.shard_of,
            answered=self._answered(row, lost),
            revoked=not lost and parts.rules.revoked(row),
        )

    def _answered(self, row: Row, lost: bool) -> bool:
        """Whether somebody may have been told that `row` stands: of who is lost, nobody knows."""
        return lost or self._parts.gate.undecided(row) is None

    def _overtaken(self, row: Row) -> bool:
        """Whether the chain went on since the rows were listed. Who has taken it on writes that;
        what he wrote already must not look like a second use of the ticket before."""
        ledger = self._parts.gate.begun_ledger
        last = None if ledger is None else ledger.rows.get(row.claim.chain)
        return last is not None and last.claim.generation > row.claim.generation

    def _owned(self, row: Row) -> int | None:
        """The revision of the row's shard if it has been this member's ever since: a record that
        was made under a former fence may be older than what an owner between them has said."""
        revision = self._parts.shard_revision(row.claim.shard)
        return revision if revision == row.claim.shard_revision else None

    async def _commit(self, steps: list[tuple[Row, bool, Step]]) -> list[tuple[Row, bool]]:
        """Carry `steps` out; the rows that aren't through by that."""
        parts = self._parts
        more: list[tuple[Row, bool]] = []
        if not steps:
            return more
        installed = (
            Compare(parts.keys.state, Target.MOD_REVISION, self._decided_by),
            Compare(parts.keys.watermark, Target.MOD_REVISION, parts.rules.watermark),
        )
        txns = tuple(step.txn for _, _, step in steps)
        result = await parts.store.commit(Txn(installed, txns, (Get(parts.keys.watermark),)))
        if not result.succeeded:
            found = result.responses[0]
            await parts.rules.obey(found if isinstance(found, Entry) else None)
            raise Conflict("the cluster's state has changed, or what is revoked")
        for (row, lost, step), found in zip(steps, result.responses, strict=True):
            succeeded = isinstance(found, TxnResult) and found.succeeded
            if succeeded and step.twice:
                parts.told.used_twice(row)
            if succeeded and step.loser:
                parts.told.void(row.claim.chain, step.loser, RESUMED)
            if succeeded and step.fate is not None:
                self._ended(row, lost, step.fate)
            else:
                more.append((row, lost))
        if not any(isinstance(each, TxnResult) and each.succeeded for each in result.responses):
            raise Conflict("the store has other owners or chains than are known here by now")
        return more

    def _ended(self, row: Row, lost: bool, fate: Fate) -> None:
        self.written += 1
        if fate is Fate.LOST and self._answered(row, lost):
            self._parts.told.used_twice(row)
        if lost or fate in (Fate.LOST, Fate.TAKEN) or self._owned(row) is None:
            why = TAKEN if fate is Fate.TAKEN else RESUMED
            self._parts.told.void(row.claim.chain, row.claim.spi, why)
        if lost:
            self._written_of_lost[row.claim.chain, row.claim.op_id] = None
        else:
            self._parts.gate.written(row, fate is Fate.DONE)


def _fitting(rows: list[tuple[Row, bool]]) -> list[list[tuple[Row, bool]]]:
    """`rows` in their order, so many together as one transaction takes: one at least."""
    found: list[list[tuple[Row, bool]]] = []
    room = 0
    for row, lost in rows:
        octets = len(row.claim.record) + len(row.claim.ticket or b"") + OP_OVERHEAD_OCTETS
        if not found or octets > room or len(found[-1]) == ROWS_PER_TXN:
            found.append([])
            room = OCTETS_PER_TXN
        found[-1].append((row, lost))
        room -= octets
    return found
