"""Members on virtual time, over one in-process store and an in-memory link that encodes: what the
tests of membership, ownership, heartbeats and mirrors stand on."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine

from cluster.errors import Unavailable, Unknown
from cluster.layout import Keys
from cluster.member import MemberSettings, Membership
from cluster.store import Changes, Entry, Lease, Mark, Scan, Txn, TxnResult
from cluster.store_memory import MemoryStore
from tests.sim.link import LinkNet
from tests.sim.loop import SimLoop, run
from tests.sim.seams import SeededRng, SimClock
from tests.sim.trace import Trace

KEYS = Keys("sample")


class OwnStore:
    """One member's way to the shared store; it can be cut, and it can lose an answer."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._reachable = asyncio.Event()
        self._reachable.set()
        self.lose_answers = 0
        """How many commits will be carried out and not acknowledged."""
        self.news_delay_s = 0.0
        """How long what it watches is under way."""
        self.on_commit: Callable[[], None] = lambda: None
        """Called as a commit begins."""

    @property
    def away(self) -> bool:
        """Whether the store is out of this member's reach; what it watches waits meanwhile."""
        return not self._reachable.is_set()

    @away.setter
    def away(self, away: bool) -> None:
        if away:
            self._reachable.clear()
        else:
            self._reachable.set()

    def _reach(self) -> None:
        if self.away:
            raise Unavailable("cut by the test")

    async def get(self, key: bytes) -> Entry | None:
        self._reach()
        return await self._store.get(key)

    async def scan(self, prefix: bytes) -> Scan:
        self._reach()
        return await self._store.scan(prefix)

    async def commit(self, txn: Txn) -> TxnResult:
        self._reach()
        self.on_commit()
        result = await self._store.commit(txn)
        if self.lose_answers:
            self.lose_answers -= 1
            raise Unknown("the answer was lost by the test")
        return result

    async def watch(self, prefix: bytes, from_revision: int) -> AsyncIterator[Changes]:
        async for changes in self._store.watch(prefix, from_revision):
            await asyncio.sleep(self.news_delay_s)
            await self._reachable.wait()
            yield changes

    async def lease(self, ttl_s: float, lease_id: int = 0) -> Lease:
        self._reach()
        return OwnLease(self, await self._store.lease(ttl_s, lease_id))

    def held(self, lease_id: int, ttl_s: float) -> Lease:
        return OwnLease(self, self._store.held(lease_id, ttl_s))

    async def mark(self, key: bytes) -> Mark:
        self._reach()
        return await self._store.mark(key)

    async def close(self) -> None:
        """The shared store stays open."""


class OwnLease:
    """A lease that is renewed over an `OwnStore`."""

    def __init__(self, way: OwnStore, lease: Lease) -> None:
        self._way = way
        self._lease = lease
        self.lease_id = lease.lease_id
        self.ttl_s = lease.ttl_s
        self.answer_delay_s = 0.0

    async def keep_alive(self) -> float:
        self._way._reach()
        ttl_s = await self._lease.keep_alive()
        await asyncio.sleep(self.answer_delay_s)
        return ttl_s

    async def revoke(self) -> None:
        self._way._reach()
        await self._lease.revoke()


class Cluster:
    """The shared parts of one test's cluster."""

    def __init__(self, loop: SimLoop) -> None:
        self.loop = loop
        self.clock = SimClock(loop)
        self.clocks: dict[str, SimClock] = {}
        self.store = MemoryStore(self.clock)
        self.net = LinkNet(loop, SeededRng(1, "link"), Trace(loop))
        self.tasks: list[asyncio.Task[None]] = []
        self.spawn(self.store.run(), "store")

    def spawn(self, coro: Coroutine[object, object, object], name: str) -> "asyncio.Task[None]":
        async def guarded() -> None:
            await coro

        task = self.loop.create_task(guarded(), name=name)
        self.tasks.append(task)
        return task

    def settings(self, name: str, **changed: object) -> MemberSettings:
        values: dict[str, object] = {
            "name": name,
            "data_dir_id": name.encode().hex(),
            "host": f"host-of-{name}",
            "rpc_address": f"{name}:7401",
            "ike_addresses": ("127.0.0.1:500",),
            "release": "test",
        }
        values.update(changed)
        return MemberSettings(**values)  # type: ignore[arg-type]

    def clock_of(self, name: str) -> SimClock:
        """The clock of one member's machine."""
        return self.clocks.setdefault(name, SimClock(self.loop))

    def member(self, name: str, life: int = 1, **changed: object) -> tuple[Membership, OwnStore]:
        """A member that has not joined yet, and its way to the store."""
        way = OwnStore(self.store)
        membership = Membership(
            way,
            KEYS,
            self.clock_of(name),
            rng=SeededRng(life, name),
            spawn=self.spawn,
            me=self.settings(name, **changed),
        )
        return membership, way


def simulated(test: Callable[[Cluster], Coroutine[object, object, None]]) -> Callable[[], None]:
    """Runs an async test on virtual time."""

    async def main(loop: SimLoop) -> None:
        await test(Cluster(loop))

    def wrapper() -> None:
        run(main)

    wrapper.__name__ = test.__name__
    wrapper.__doc__ = inspect.getdoc(test)
    return wrapper
