"""One member's way to the shared store: slow, cut off, or leaving it in doubt.

Rules: the store itself (`MemoryStore`) never fails; what fails is the way there or the way back. A
commit whose answer is lost raises `Unknown` and may have happened, or may happen later; one that
never got there raises `Unavailable` and hasn't.
"""

import asyncio
import contextlib
import contextvars
import copy
from collections.abc import AsyncIterator, Callable

from cluster.errors import ClusterError, LeaseLost, Trouble, Unavailable, Unknown
from cluster.store import Changes, Entry, Lease, Mark, Put, Scan, Store, Txn, TxnResult
from cluster.store_memory import MemoryStore
from tests.sim.loop import SimLoop
from tests.sim.seams import SeededRng, SimClock

DEADLINE_S = 0.5
"""When a call that gets no answer gives up."""
LATE_S_MAX = 8.0
"""How long after its caller gave up a late commit may still arrive."""


class StoreClock(SimClock):
    """The clock by which the store's leases run: it stands still while the store is down, because
    a leader that takes office gives every lease its time anew.
    """

    def __init__(self, loop: SimLoop) -> None:
        super().__init__(loop)
        self._down_since_s: float | None = None
        self._behind_s = 0.0

    @property
    def stopped(self) -> bool:
        """Whether the store is down."""
        return self._down_since_s is not None

    def stop(self) -> None:
        """The store goes down."""
        if self._down_since_s is None:
            self._down_since_s = self.true_s()

    def go_on(self) -> None:
        """It is back."""
        if self._down_since_s is not None:
            self._behind_s += self.true_s() - self._down_since_s
            self._down_since_s = None

    def boot_s(self) -> float:
        """Seconds that the store was up."""
        since_s = self.true_s() if self._down_since_s is None else self._down_since_s
        return since_s - self._behind_s


class FaultyStore:
    """A `Store` over another one; set the attributes at any time."""

    def __init__(self, inner: Store, rng: SeededRng, latency_s: float = 0.002) -> None:
        self._inner = inner
        self._random = rng.random
        self._outside = contextvars.copy_context()
        self.latency_s = latency_s
        self.jitter_s = 0.0
        self.watch_lag_s = 0.0
        """How much later than other answers this member's watches tell what happened."""
        self.reachable = True
        self.doubt = 0.0
        """Share of commits that are carried out without an answer coming back."""
        self.late = 0.0
        """Share of commits that are carried out only after their caller gave up."""
        self.refused = 0.0
        """Share of calls that are answered `Unavailable`."""
        self.wrong: ClusterError | None = None
        """What every call is answered, but for those of watches that stand."""
        self.full = False
        """Whether the store's room is used up: it reads, deletes and keeps leases, and refuses what
        would need room. As etcd does, it looks for that at what a transaction holds itself, not at
        those nested in it: a batch of the journal is refused for its lane."""
        self.twist: Callable[[Txn], Txn] | None = None
        """Changes what reaches the store: for tests that must see a broken store found out."""
        self.before_commit: Callable[[], None] | None = None
        """Called once as the next commit reaches the store; a kill here leaves it undone."""
        self.after_commit: Callable[[], None] | None = None
        """Called once when the next commit is done and not answered."""
        self._dead = False
        self._changed = asyncio.Event()
        self._breaks = 0
        self._late: list[asyncio.Task[None]] = []

    def kill(self) -> None:
        """The process at this end is gone: no call of it has an effect or an end any more."""
        self._dead = True

    def set_reachable(self, reachable: bool) -> None:
        """Cut this member off from the store, or let it back."""
        self.reachable = reachable
        self._wake()

    def break_watches(self) -> None:
        """Every watch of this member ends as if its stream had broken."""
        self._breaks += 1
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def get(self, key: bytes) -> Entry | None:
        """See `Store.get`."""
        await self.reach()
        return await self._answered(await self._inner.get(key))

    async def scan(self, prefix: bytes) -> Scan:
        """See `Store.scan`."""
        await self.reach()
        return await self._answered(await self._inner.scan(prefix))

    async def commit(self, txn: Txn) -> TxnResult:
        """See `Store.commit`."""
        await self.reach()
        if any(isinstance(op, Put) for op in (*txn.success, *txn.failure)):
            self._room()
        if self.before_commit is not None:
            call, self.before_commit = self.before_commit, None
            call()
            await self._alive()
        if self._random.random() < self.late:
            loop, delay_s = asyncio.get_running_loop(), self._random.random() * LATE_S_MAX
            later = self._later(txn, DEADLINE_S + delay_s)
            self._late.append(loop.create_task(later, context=self._outside.copy()))
            await asyncio.sleep(DEADLINE_S)
            raise Unknown("the store's answer was lost")
        result = await self._inner.commit(self.twist(txn) if self.twist else txn)
        if self.after_commit is not None:
            call, self.after_commit = self.after_commit, None
            call()
        if self._random.random() < self.doubt:
            await asyncio.sleep(DEADLINE_S)
            raise Unknown("the store's answer was lost")
        await asyncio.sleep(self._way_s())
        await self._alive()
        if not self.reachable:
            raise Unknown("the way back from the store is cut")
        return result

    async def _later(self, txn: Txn, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        with contextlib.suppress(LeaseLost):  # nobody waits for the answer any more
            await self._inner.commit(txn)

    async def watch(self, prefix: bytes, from_revision: int) -> AsyncIterator[Changes]:
        """See `Store.watch`: while cut off it is silent, afterwards it misses nothing."""
        changes = self._inner.watch(prefix, from_revision)
        breaks = self._breaks
        try:
            async for batch in changes:
                await asyncio.sleep(self._way_s() + self.watch_lag_s)
                while not self.reachable and breaks == self._breaks:
                    await self._changed.wait()
                await self._alive()
                if breaks != self._breaks:
                    raise Unavailable("the stream from the store broke")
                yield batch
        finally:
            await changes.aclose()  # type: ignore[attr-defined]

    async def lease(self, ttl_s: float, lease_id: int = 0) -> Lease:
        """See `Store.lease`."""
        await self.reach()
        self._room()
        return _FaultyLease(self, await self._answered(await self._inner.lease(ttl_s, lease_id)))

    def held(self, lease_id: int, ttl_s: float) -> Lease:
        """See `Store.held`."""
        return _FaultyLease(self, self._inner.held(lease_id, ttl_s))

    async def mark(self, key: bytes) -> Mark:
        """See `Store.mark`."""
        await self.reach()
        return await self._answered(await self._inner.mark(key))

    async def close(self) -> None:
        """This member's end only; the others go on."""
        self.set_reachable(False)

    async def reach(self) -> None:
        """One way to the store. Raises Unavailable."""
        await self._alive()
        if not self.reachable or self._random.random() < self.refused:
            await asyncio.sleep(DEADLINE_S)
            raise Unavailable("the way to the store is cut")
        await asyncio.sleep(self._way_s())
        await self._alive()
        if self.wrong is not None:
            raise self.wrong

    def _room(self) -> None:
        if self.full:
            raise Unavailable("etcd refuses: database space exceeded", Trouble.NO_SPACE)

    async def _answered(self, answer):
        """The way back of a call that changed nothing."""
        if self.jitter_s:
            await asyncio.sleep(self._way_s())
        if not self.reachable:
            raise Unavailable("the way back from the store is cut")
        return answer

    async def _alive(self) -> None:
        if self._dead:
            await asyncio.Event().wait()

    def _way_s(self) -> float:
        return self.latency_s / 2 + self.jitter_s * self._random.random()


class _FaultyLease:
    def __init__(self, store: FaultyStore, inner: Lease) -> None:
        self._store = store
        self._inner = inner
        self.lease_id = inner.lease_id
        self.ttl_s = inner.ttl_s

    async def keep_alive(self) -> float:
        await self._store.reach()
        return await self._store._answered(await self._inner.keep_alive())

    async def revoke(self) -> None:
        await self._store.reach()
        await self._inner.revoke()


class Snapshot:
    """A copy of a store, to be put back later: in its place, as etcd's data directory would be."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._held = {name: copy.deepcopy(getattr(store, name)) for name in _STATE}

    def put_back(self) -> None:
        """The store is what it was; what watches it is as far as it was, and told nothing."""
        for name, value in self._held.items():
            setattr(self._store, name, copy.deepcopy(value))
        now_s = self._store._clock.boot_s()
        for held in self._store._leases.values():
            held.deadline_s = now_s + held.ttl_s  # etcd starts all leases anew
        self._store._next_expiry_s = now_s
        self._store._lease_granted.set()


_STATE = (
    "_entries",
    "_order",
    "_revision",
    "_compacted",
    "_history",
    "_history_start",
    "_history_changes",
    "_leases",
)
"""Everything of a `MemoryStore` that etcd keeps on its disk. Ids of leases come from the time."""
