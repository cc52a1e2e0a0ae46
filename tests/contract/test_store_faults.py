"""The etcd store while members of a real three-member etcd are killed, stopped and brought back.

Rules: no test asserts a duration; HANG_S only ends one that hangs. Each load counts its operations
with a compare on the version, so that one lost or done twice shows in the numbers.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import msgspec
import pytest
import pytest_asyncio

from cluster.errors import Unavailable, Unknown
from cluster.store import Compare, Get, Put, Target, Txn
from cluster.store_etcd import EtcdOptions, EtcdStore
from node.etcd_child import LOOPBACK, EtcdChild
from node.seams import OsClock

HANG_S = 90.0
KEYS = 4
OPS_BEFORE = 50
OPS_AFTER = 50
T = TypeVar("T")


class Load(msgspec.Struct):
    """Writers that raise each key's version one by one, and what became of their commits."""

    store: EtcdStore
    done: dict[bytes, int] = {}
    unknown: int = 0
    unavailable: int = 0
    ended: bool = False

    async def write(self, key: bytes) -> None:
        while not self.ended:
            version = self.done.setdefault(key, 0)
            operation_id = b"%s#%d" % (key, version + 1)
            while not await self.done_once(key, version, operation_id):
                pass
            self.done[key] = version + 1

    async def done_once(self, key: bytes, version: int, operation_id: bytes) -> bool:
        """One attempt; whether the operation is done. A doubtful one is resolved by reading."""
        txn = Txn((Compare(key, Target.VERSION, version),), (Put(key, operation_id),), (Get(key),))
        try:
            result = await self.store.commit(txn)
            if result.succeeded:
                return True
            (entry,) = result.responses
        except Unavailable:
            self.unavailable += 1
            return False
        except Unknown:
            self.unknown += 1
            try:
                entry = await self.store.get(key)
            except Unavailable:
                return False
        if entry is not None and entry.version == version + 1:
            assert entry.value == operation_id
            return True
        assert (0 if entry is None else entry.version) == version
        return False

    async def at_least(self, count: int) -> None:
        """Until each key has `count` more operations than now."""
        wanted = {key: self.done.get(key, 0) + count for key in keys()}
        await until(lambda: all(self.done.get(key, 0) >= n for key, n in wanted.items()))


class Seen(msgspec.Struct):
    """What a watch told."""

    versions: dict[bytes, list[int]] = {}
    revision: int = 0

    async def follow(self, store: EtcdStore) -> None:
        async for changes in store.watch(b"/load/", 1):
            for change in changes.changes:
                entry = change.entry
                assert entry.mod_revision > self.revision
                self.revision = entry.mod_revision
                self.versions.setdefault(entry.key, []).append(entry.version)

    async def until(self, done: dict[bytes, int]) -> None:
        await until(lambda: all(len(self.versions.get(key, [])) >= n for key, n in done.items()))


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - whoever makes it true doesn't know of us
        await asyncio.sleep(0.01)


async def in_the_end(call: Callable[[], Awaitable[T]]) -> T:
    """What an impatient store answers when it is asked again and again: what is done twice here
    is as if done once."""
    async with asyncio.timeout(HANG_S):
        while True:
            try:
                return await call()
            except (Unavailable, Unknown):
                await asyncio.sleep(0.01)


async def first_put(store: EtcdStore, key: bytes, value: bytes) -> None:
    """`key` at version 1, whatever becomes of one attempt."""
    load = Load(store)
    async with asyncio.timeout(HANG_S):
        while not await load.done_once(key, 0, value):
            pass


def keys() -> list[bytes]:
    return [b"/load/%d" % i for i in range(KEYS)]


async def leader_of(child: EtcdChild) -> int:
    """The number of the member that leads."""
    async with asyncio.timeout(HANG_S):
        while True:
            for i in sorted(child.pids):
                reader, writer = await asyncio.open_connection(LOOPBACK, child.ports[i].metrics)
                writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                answer = await reader.read()
                writer.close()
                if b"\netcd_server_is_leader 1" in answer:
                    return i
            await asyncio.sleep(0.05)


@pytest_asyncio.fixture
async def store(three_etcds: EtcdChild) -> AsyncIterator[EtcdStore]:
    """The product's half a second an attempt; in all, what an election on a busy machine takes."""
    made = EtcdStore(EtcdOptions(three_etcds.endpoints, total_timeout_s=30.0), OsClock())
    yield made
    await made.close()


async def under_load(store: EtcdStore, fault: "Fault") -> Load:
    """Runs `fault` while four keys are written and one watch looks on; checks what both saw."""
    load, seen = Load(store), Seen()
    async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(seen.follow(store))
        writers = [tasks.create_task(load.write(key)) for key in keys()]
        await load.at_least(OPS_BEFORE)
        await fault(load)
        await load.at_least(OPS_AFTER)
        load.ended = True
        for writer in writers:
            await writer
        await seen.until(load.done)
        watch.cancel()
    for key in keys():
        entry = await in_the_end(lambda key=key: store.get(key))
        assert entry is not None
        assert entry.version == load.done[key]
        assert seen.versions[key] == list(range(1, load.done[key] + 1))
    return load


class Fault:
    """What is done to the cluster; returns while it is still hurt."""

    def __init__(self, child: EtcdChild) -> None:
        self.child = child

    async def __call__(self, load: Load) -> None:
        raise NotImplementedError  # each kind has its own


class KillLeader(Fault):
    async def __call__(self, load: Load) -> None:
        self.child.kill(await leader_of(self.child))


class StopLeader(Fault):
    async def __call__(self, load: Load) -> None:
        self.child.pause(await leader_of(self.child))


class StopFollowerThenWake(Fault):
    async def __call__(self, load: Load) -> None:
        follower = (await leader_of(self.child) + 1) % 3
        self.child.pause(follower)
        await load.at_least(OPS_AFTER)
        self.child.resume(follower)


class StopLeaderThenWake(Fault):
    async def __call__(self, load: Load) -> None:
        leader = await leader_of(self.child)
        self.child.pause(leader)
        await load.at_least(OPS_AFTER)
        self.child.resume(leader)


class EachInTurn(Fault):
    """Every member is killed once and comes back: whichever the watch hangs on, it moves."""

    async def __call__(self, load: Load) -> None:
        for i in range(3):
            self.child.kill(i)
            await load.at_least(10)
            self.child.start_member(i)
            await self.child.wait_healthy()


class AllDownAndBack(Fault):
    async def __call__(self, load: Load) -> None:
        for i in range(3):
            self.child.kill(i)
        before = load.unavailable
        await until(lambda: load.unavailable > before)
        for i in range(3):
            self.child.start_member(i)
        await self.child.wait_healthy()


@pytest.mark.parametrize(
    "fault", [KillLeader, StopLeader, StopFollowerThenWake, StopLeaderThenWake, EachInTurn]
)
async def test_nothing_is_lost_or_done_twice(
    store: EtcdStore, three_etcds: EtcdChild, fault: type[Fault]
) -> None:
    load = await under_load(store, fault(three_etcds))
    assert load.unavailable == 0


async def test_the_whole_store_may_go_and_come_back(three_etcds: EtcdChild) -> None:
    store = EtcdStore(EtcdOptions(three_etcds.endpoints, total_timeout_s=1.0), OsClock())
    load = await under_load(store, AllDownAndBack(three_etcds))
    assert load.unavailable > 0
    await store.close()


async def test_while_all_are_down_reads_and_commits_say_that_nothing_happened(
    three_etcds: EtcdChild,
) -> None:
    options = EtcdOptions(three_etcds.endpoints, total_timeout_s=1.0)
    store = EtcdStore(options, OsClock())
    await first_put(store, b"/k", b"1")
    for i in range(3):
        three_etcds.kill(i)
    with pytest.raises(Unavailable, match="did not answer"):
        await store.get(b"/k")
    with pytest.raises(Unavailable, match="did not answer"):
        await store.commit(Txn(success=(Put(b"/k", b"2"),)))
    with pytest.raises(Unavailable, match="did not answer"):
        await store.lease(5.0)
    for i in range(3):
        three_etcds.start_member(i)
    await three_etcds.wait_healthy()
    entry = await in_the_end(lambda: store.get(b"/k"))
    assert entry is not None
    assert (entry.value, entry.version) == (b"1", 1)
    await store.close()


async def test_an_unknown_outcome_is_resolved_by_reading(three_etcds: EtcdChild) -> None:
    """Every member stops after the connection stands: nobody can say what became of the commit."""
    options = EtcdOptions(three_etcds.endpoints, attempt_timeout_s=1.0, total_timeout_s=30.0)
    store = EtcdStore(options, OsClock())
    key = b"/k"
    await first_put(store, key, b"old")
    for i in range(3):
        three_etcds.pause(i)
    txn = Txn((Compare(key, Target.VERSION, 1),), (Put(key, b"mine"),), (Get(key),))
    with pytest.raises(Unknown):
        await store.commit(txn)
    for i in range(3):
        three_etcds.resume(i)
    load = Load(store)
    async with asyncio.timeout(HANG_S):
        while not await load.done_once(key, 1, b"mine"):
            pass
    entry = await store.get(key)
    assert entry is not None
    assert (entry.value, entry.version) == (b"mine", 2)
    await store.close()


async def test_a_lease_is_kept_across_the_leaders_death(
    store: EtcdStore, three_etcds: EtcdChild
) -> None:
    lease = await store.lease(60.0)
    await in_the_end(lambda: store.commit(Txn(success=(Put(b"/k", b"v", lease.lease_id),))))
    three_etcds.kill(await leader_of(three_etcds))
    assert await lease.keep_alive() == lease.ttl_s
    assert await store.get(b"/k") is not None
    await lease.revoke()
    assert await store.get(b"/k") is None
