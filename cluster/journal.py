"""Group commit: what handlers want durable in the same milliseconds goes to the store at once.

Rules: nothing is lost silently. Every operation accepted ends in exactly one call of its `done`:
COMMITTED, SUPERSEDED or FENCED; while the store is away it waits. Operations on one chain are
carried out in the order submitted, one at a time. An operation is void, and FENCED, once its shard
has another revision than when it was submitted; so is one that nobody waits for any more
(`cluster.patience`). `done` callbacks don't raise. Hot path: no task, no future and no lock per
operation. What a batch looks like: `cluster.batch`.
"""

import asyncio
import enum
from collections import deque
from collections.abc import Callable

from cluster.batch import (
    BATCH_OCTETS_MAX,
    BATCH_OPS_MAX,
    BEGINS,
    ENDS,
    MOVES,
    OP_ID_LEN,
    OP_OVERHEAD_OCTETS,
    RECORD_OCTETS_MAX,
    Installed,
    Lane,
    Op,
    Outcome,
    Pending,
    batch_txn,
    committed_at,
    entry,
    nested,
    number_after,
    op_txn,
    outcome_of,
)
from cluster.errors import ClusterError, LeaseLost, Unknown
from cluster.expiry import ExpiryBuckets
from cluster.journal_hooks import InstalledState, JournalHooks, JournalState
from cluster.layout import NORMAL, Keys
from cluster.link import MirrorEntry
from cluster.patience import HELD_LOOK_S, STALE_S, Wait, look
from cluster.records import RecordVault
from cluster.seams import Clock, Rng, Spawn
from cluster.store import Entry, Store, TxnResult

QUEUE_MAX = 16_384
"""Operations accepted and not ended; beyond it `submit` refuses."""
LANES = 1
"""Batches in flight. One makes the largest batches: what arrives meanwhile shares the next."""
PAUSE_FIRST_S = 0.05
"""The pause before a failed batch is sent again; it doubles up to the longest."""
PAUSE_MAX_S = 1.0
LANE_KEPT_S = 86_400.0
"""How long after its last batch a lane's key stays."""


class Journal:
    """One member's durable writes."""

    def __init__(
        self,
        *,
        store: Store,
        keys: Keys,
        vault: RecordVault,
        cluster: InstalledState,
        shard_revision: Callable[[int], int | None],
        clock: Clock,
        rng: Rng,
        hooks: JournalHooks | None = None,
        queue_max: int = QUEUE_MAX,
        lanes: int = LANES,
    ) -> None:
        """`shard_revision`: the store's revision of a shard's key while this member owns it."""
        self._store = store
        self._keys = keys
        self._vault = vault
        self._cluster = cluster
        self._shard_revision = shard_revision
        self._clock = clock
        self._hooks = hooks or JournalHooks()
        self._queue_max = queue_max
        self._buckets = ExpiryBuckets(store, keys.root, clock)
        journal = rng.bytes(8)
        self._op_id_head = journal
        self._lanes = tuple(Lane(keys.lane(f"{journal.hex()}-{n}")) for n in range(lanes))
        self.watermark = 0
        """The store's revision of the revocation watermark up to which every rule is obeyed."""
        self._number = 0
        """Of the operation that was accepted last."""
        self._accepted: dict[int, Pending] = {}
        self._ready: deque[Pending] = deque()
        """At most one per chain; the next of a chain comes here when the one before has ended."""
        self._chains: dict[bytes, deque[Pending] | None] = {}
        """Chains with an operation ready or in flight → those that wait for it."""
        self._held: list[Pending] = []
        """Not carried out before somebody asks for it again."""
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.state = JournalState.OK
        self.batches = 0
        """Transactions that took effect."""
        self.ended = 0
        """Operations that ended, whatever their outcome."""

    def start(self, spawn: Spawn) -> None:
        """Begin to send."""
        for number, lane in enumerate(self._lanes):
            spawn(self._run(lane), f"journal-{number}")

    def submit(self, op: Op, done: Callable[[Outcome], None]) -> bool:
        """Have `op` made durable; `done` is called once, later. False, and no call: the queue is
        full. Raises ValueError for a record too large to be stored.
        """
        size = len(op.record) + len(op.ticket or b"")
        if size > RECORD_OCTETS_MAX:
            raise ValueError(f"a record of {size} octets, at most {RECORD_OCTETS_MAX}")
        if len(self._accepted) >= self._queue_max:
            return False
        revision = self._shard_revision(op.shard)
        if revision is None:
            asyncio.get_running_loop().call_soon(done, Outcome.FENCED)
            return True
        self._number = number = number_after(self._number, self._clock.wall_s())
        pending = Pending(
            op,
            done,
            number=number,
            op_id=op.op_id or self._op_id_head + number.to_bytes(OP_ID_LEN - 8, "big"),
            shard_revision=revision,
            epoch=self._cluster.state.epoch,
            submitted_s=self._clock.boot_s(),
        )
        self._accepted[number] = pending
        if op.chain in self._chains:
            waiting = self._chains[op.chain]
            if waiting is None:
                self._chains[op.chain] = waiting = deque()
            waiting.append(pending)
        else:
            self._chains[op.chain] = None
            self._ready.append(pending)
            self._wake.set()
        self._idle.clear()
        return True

    @property
    def pending(self) -> int:
        """Operations accepted and not ended."""
        return len(self._accepted)

    @property
    def waiting(self) -> int:
        """Operations that are to be carried out: those pending, but for what nobody may want."""
        return len(self._accepted) - len(self._held)

    async def drained(self) -> None:
        """Wait until nothing is pending."""
        await self._idle.wait()

    # -- a lane

    async def _run(self, lane: Lane) -> None:
        while True:
            while not self._ready:
                self._wake.clear()
                await self._woken()
            batch = self._take()
            if batch:
                await self._carry_out(lane, batch)

    async def _woken(self) -> None:
        """Until there is something to do, or to be looked at again."""
        try:
            async with asyncio.timeout(HELD_LOOK_S if self._held else None):
                await self._wake.wait()
        except TimeoutError:
            self._sift()

    def _look(self, pending: Pending) -> Wait:
        """See `cluster.patience`."""
        behind = bool(self._chains[pending.op.chain])
        return look(pending, self._hooks.asked, behind, self._clock.boot_s())

    def _is_wanted(self, pending: Pending) -> bool:
        """Whether the gate may begin `pending` now."""
        return self._look(pending) is Wait.GO and self._void(pending) is None

    def _wanted(self, pendings: list[Pending]) -> list[Pending]:
        """Those that are to be carried out now."""
        wanted = []
        for pending in pendings:
            wait = self._look(pending)
            if wait is Wait.GO:
                wanted.append(pending)
            elif wait is Wait.HOLD:
                self._held.append(pending)
            else:
                self._doubt(pending)
                self._end(pending, Outcome.FENCED)
        return wanted

    def _take(self) -> list[Pending]:
        """As many ready operations as fit one transaction, sealed."""
        if self._held or self._clock.boot_s() - self._ready[0].submitted_s >= STALE_S:
            self._sift()
        batch: list[Pending] = []
        written: dict[bytes, None] = {}
        octets = 0
        ready = self._ready
        while ready and len(batch) < BATCH_OPS_MAX:
            pending = ready[0]
            void = self._void(pending)
            if void is not None:
                self._end(ready.popleft(), void)
                continue
            if pending.sealed is None:
                self._seal(pending)
            octets += len(pending.sealed or b"") + len(pending.sealed_ticket) + OP_OVERHEAD_OCTETS
            record, replaced = pending.record_key, pending.replaced_key
            # the store takes a key once per transaction
            twice = record in written or (replaced and replaced in written)
            leased = pending.op.addresses
            if leased and any(key in written for key in leased):
                twice = True
            if batch and (octets > BATCH_OCTETS_MAX or twice):
                break
            written[record] = None
            if replaced:
                written[replaced] = None
            if leased:
                written.update(dict.fromkeys(leased))
            batch.append(ready.popleft())
        return batch

    async def _carry_out(self, lane: Lane, batch: list[Pending]) -> None:
        """Send `batch` until the store has decided on each of its operations."""
        pause_s = PAUSE_FIRST_S
        lane.batches += 1
        while batch:  # each of it was looked at just now
            attempt = await self._attempt(lane, batch)
            if attempt is not _Attempt.AGAIN:
                self._say(_STATES[attempt])
                if attempt is _Attempt.DECIDED:
                    return
                held = attempt is _Attempt.HELD  # the store isn't asked: no need to go easy on it
                await asyncio.sleep(PAUSE_FIRST_S if held else pause_s)
                pause_s = min(2 * pause_s, PAUSE_MAX_S)
                self._sift()
                batch = self._wanted(batch)
            batch = self._still_owned(batch)
        if not self._ready:
            self._say(JournalState.OK)  # nothing waits for the store

    async def _attempt(self, lane: Lane, batch: list[Pending]) -> "_Attempt":
        """Send `batch` once."""
        gate, restrained = self._hooks.gate, self._hooks.restrained
        if gate is not None and gate.open:
            for pending in batch:
                gate.take(pending, self._without_store, self._is_wanted)
            return _Attempt.DECIDED
        if self._cluster.state.mode != NORMAL or (restrained is not None and restrained()):
            return _Attempt.HELD
        try:
            granted = self._buckets.granted
            ops = [
                op_txn(
                    self._keys,
                    pending,
                    granted(pending.op.expires_wall_s) or await self._grant(pending),
                )
                for pending in batch
            ]
            lane.lease_id = await self._buckets.grant(self._clock.wall_s() + LANE_KEPT_S)
            installed = Installed(self._cluster.revision, self.watermark)
            result = await self._store.commit(batch_txn(self._keys, installed, lane, tuple(ops)))
            if not result.succeeded:
                return await self._reread(lane, result)
        except ClusterError as error:
            if isinstance(error, LeaseLost):
                self._buckets.forget()
            if isinstance(error, Unknown):
                for pending in batch:
                    pending.doubtful = True
            return _Attempt.UNAVAILABLE
        lane.revision = result.revision
        self.batches += 1
        self._settle(batch, result)
        return _Attempt.DECIDED

    async def _grant(self, pending: Pending) -> int:
        """The lease that what `pending` puts hangs on."""
        if pending.op.kind in ENDS:
            return 0
        return await self._buckets.grant(pending.op.expires_wall_s)

    async def _reread(self, lane: Lane, result: TxnResult) -> "_Attempt":
        """Take in what the batch's compares found: nothing of the batch was carried out."""
        state, watermark, own = entry(result, 0), entry(result, 1), entry(result, 2)
        lane.revision = own.mod_revision if own is not None else 0
        await self.obey(watermark)
        if state is None or state.mod_revision != self._cluster.revision:
            return _Attempt.HELD
        return _Attempt.AGAIN

    async def obey(self, watermark: Entry | None) -> None:
        """The watermark was found to be this. Raises ClusterError."""
        revision = watermark.mod_revision if watermark is not None else 0
        if revision != self.watermark:
            if self._hooks.obey is not None:
                await self._hooks.obey(watermark)
            self.watermark = revision  # not before: nothing may be committed past a rule unread

    def _settle(self, batch: list[Pending], result: TxnResult) -> None:
        now_s = self._clock.boot_s()
        on_latency, gate = self._hooks.on_latency, self._hooks.gate
        watches = gate is not None and gate.watches
        for index, pending in enumerate(batch, start=1):  # 0 is the lane's put
            if on_latency is not None:
                on_latency(now_s - pending.submitted_s)
            told = nested(result, index)
            outcome = outcome_of(pending, told)
            if outcome is Outcome.COMMITTED:
                self._mirror(pending, committed_at(told))
                if watches and self._overtaken(pending):
                    outcome = Outcome.SUPERSEDED
            elif outcome is Outcome.SUPERSEDED:
                self._doubt(pending)
            self._end(pending, outcome)

    def _overtaken(self, pending: Pending) -> bool:
        """Whether the chain went on without the store before the store's answer was here."""
        gate, op = self._hooks.gate, pending.op
        if gate is None:
            return False
        return not gate.committed(op.generation + (op.kind in MOVES), pending)

    def _without_store(self, pending: Pending, outcome: Outcome | None) -> None:
        """The gate has ended `pending`, or gives it back."""
        if outcome is None:
            self._turn_of(pending)
            return
        # who gets to know of a rule by now ends what was carried out before
        self._end(pending, Outcome.FENCED if self._fenced(pending) else outcome)

    # -- one operation

    def _seal(self, pending: Pending) -> None:
        """Seal the record, once whatever happens to the batch."""
        op = pending.op
        pending.record_key = self._keys.record(op.shard, op.spi)
        if op.replaces is not None:
            pending.replaced_key = self._keys.record(*op.replaces)
        empty = op.kind in ENDS
        pending.sealed = b"" if empty else self._vault.seal_record(op.record, pending.record_key)
        if op.ticket:
            pending.sealed_ticket = self._vault.seal_record(op.ticket, self._keys.ticket(op.chain))

    def _mirror(self, pending: Pending, revision: int) -> None:
        """Offer the mirrors what the store has committed."""
        mirror, op = self._hooks.mirror, pending.op
        if mirror is None:
            return
        mirror(op.shard, MirrorEntry(op.spi, pending.sealed or b"", revision))
        if op.replaces is not None:
            shard, spi = op.replaces
            mirror(shard, MirrorEntry(spi, b"", revision))

    def _doubt(self, pending: Pending) -> None:
        """Its session went on elsewhere, or may have: the record that it had, if any, is gone."""
        op = pending.op
        if self._hooks.doubt is not None and (op.kind not in BEGINS or op.is_rekey):
            self._hooks.doubt(op.shard)

    def _fenced(self, pending: Pending) -> bool:
        """Whether its shard, or the epoch, is another one by now."""
        return (
            self._shard_revision(pending.op.shard) != pending.shard_revision
            or self._cluster.state.epoch != pending.epoch
        )

    def _void(self, pending: Pending) -> Outcome | None:
        """How it must end unsent; None: it may be sent."""
        if self._fenced(pending):
            return Outcome.FENCED
        revoked, gate = self._hooks.revoked, self._hooks.gate
        if revoked is None or pending.op.kind not in BEGINS or not revoked(pending.op):
            return None
        behind = bool(self._chains[pending.op.chain])
        if not pending.doubtful or (behind and gate is not None and gate.open):
            return Outcome.SUPERSEDED  # the end of the SA before may be what waits behind it
        pending.only_asks = True  # what the store has must end here as COMMITTED, to be ended
        return None

    def _still_owned(self, batch: list[Pending]) -> list[Pending]:
        """`batch` without what became void since; those are ended."""
        kept = []
        for pending in batch:
            void = self._void(pending)
            if void is None:
                kept.append(pending)
                continue
            if pending.sealed is not None:
                self._doubt(pending)
            self._end(pending, void)
        return kept

    def _sift(self) -> None:
        """End what became void while it waited; what is held back and asked for again is ready,
        what is ready and may not be wanted any more is held back."""
        waited = [*self._held, *self._ready]
        self._held = []
        self._ready.clear()
        # what `_end` lets follow comes behind
        self._ready.extendleft(reversed(self._wanted(self._still_owned(waited))))

    def _turn_of(self, pending: Pending) -> None:
        """Nothing of its chain is before it any more. If it has waited, whoever asked for it may
        have given up: it is looked at first.
        """
        stale = self._clock.boot_s() - pending.submitted_s >= STALE_S
        (self._held if stale else self._ready).append(pending)
        self._wake.set()

    def _end(self, pending: Pending, outcome: Outcome) -> None:
        chain = pending.op.chain
        del self._accepted[pending.number]
        self.ended += 1
        waiting = self._chains[chain]
        if waiting:
            self._turn_of(waiting.popleft())
        else:
            del self._chains[chain]
        if not self._accepted:
            self._idle.set()
        pending.done(outcome)

    def _say(self, state: JournalState) -> None:
        if state is not self.state:
            self.state = state
            if self._hooks.on_state is not None:
                self._hooks.on_state(state)


class _Attempt(enum.Enum):
    """What came of sending a batch once."""

    DECIDED = "decided"
    AGAIN = "again"
    UNAVAILABLE = "unavailable"
    HELD = "held"


_STATES = {
    _Attempt.DECIDED: JournalState.OK,
    _Attempt.UNAVAILABLE: JournalState.UNAVAILABLE,
    _Attempt.HELD: JournalState.HELD,
}
