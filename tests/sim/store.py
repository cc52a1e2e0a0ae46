"""One member's way to the shared store: slow, cut off, or leaving it in doubt.

Rules: the store itself (`MemoryStore`) never fails; what fails is the way there or the way back. A
commit whose answer is lost raises `Unknown` and may have happened; one that never got there raises
`Unavailable` and hasn't.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

from cluster.errors import Unavailable, Unknown
from cluster.store import Changes, Entry, Lease, Scan, Store, Txn, TxnResult
from tests.sim.seams import SeededRng

DEADLINE_S = 0.5
"""When a call that gets no answer gives up."""


class FaultyStore:
    """A `Store` over another one; set the attributes at any time."""

    def __init__(self, inner: Store, rng: SeededRng, latency_s: float = 0.002) -> None:
        self._inner = inner
        self._random = rng.random
        self.latency_s = latency_s
        self.reachable = True
        self.doubt = 0.0
        """Share of commits that are carried out without an answer coming back."""
        self.twist: Callable[[Txn], Txn] | None = None
        """Changes what reaches the store: for tests that must see a broken store found out."""
        self._dead = False
        self._changed = asyncio.Event()

    def kill(self) -> None:
        """The process at this end is gone: no call of it has an effect or an end any more."""
        self._dead = True

    def set_reachable(self, reachable: bool) -> None:
        """Cut this member off from the store, or let it back."""
        self.reachable = reachable
        self._changed.set()
        self._changed = asyncio.Event()

    async def get(self, key: bytes) -> Entry | None:
        """See `Store.get`."""
        await self.reach()
        return await self._inner.get(key)

    async def scan(self, prefix: bytes) -> Scan:
        """See `Store.scan`."""
        await self.reach()
        return await self._inner.scan(prefix)

    async def commit(self, txn: Txn) -> TxnResult:
        """See `Store.commit`."""
        await self.reach()
        result = await self._inner.commit(self.twist(txn) if self.twist else txn)
        if self._random.random() < self.doubt:
            await asyncio.sleep(DEADLINE_S)
            raise Unknown("the store's answer was lost")
        await asyncio.sleep(self.latency_s / 2)
        if not self.reachable:
            raise Unknown("the way back from the store is cut")
        return result

    async def watch(self, prefix: bytes, from_revision: int) -> AsyncIterator[Changes]:
        """See `Store.watch`: while cut off it is silent, afterwards it misses nothing."""
        changes = self._inner.watch(prefix, from_revision)
        try:
            async for batch in changes:
                await asyncio.sleep(self.latency_s / 2)
                while not self.reachable:
                    await self._changed.wait()
                yield batch
        finally:
            await changes.aclose()  # type: ignore[attr-defined]

    async def lease(self, ttl_s: float, lease_id: int = 0) -> Lease:
        """See `Store.lease`."""
        await self.reach()
        return _FaultyLease(self, await self._inner.lease(ttl_s, lease_id))

    async def close(self) -> None:
        """This member's end only; the others go on."""
        self.set_reachable(False)

    async def reach(self) -> None:
        """One way to the store. Raises Unavailable."""
        if self._dead:
            await asyncio.Event().wait()
        if not self.reachable:
            await asyncio.sleep(DEADLINE_S)
            raise Unavailable("the way to the store is cut")
        await asyncio.sleep(self.latency_s / 2)
        if self._dead:
            await asyncio.Event().wait()


class _FaultyLease:
    def __init__(self, store: FaultyStore, inner: Lease) -> None:
        self._store = store
        self._inner = inner
        self.lease_id = inner.lease_id
        self.ttl_s = inner.ttl_s

    async def keep_alive(self) -> float:
        await self._store.reach()
        return await self._inner.keep_alive()

    async def revoke(self) -> None:
        await self._store.reach()
        await self._inner.revoke()
