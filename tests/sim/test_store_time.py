"""The store on virtual time: leases end when their time has come, faults do what they say."""

import asyncio

import pytest

from cluster.errors import LeaseLost, Unavailable, Unknown
from cluster.store import ChangeKind, Compare, Put, Target, Txn
from cluster.store_memory import MemoryStore
from tests.sim.loop import SimLoop, run
from tests.sim.seams import SeededRng, SimClock
from tests.sim.store import FaultyStore


def _store(loop: SimLoop) -> tuple[MemoryStore, asyncio.Task[None]]:
    store = MemoryStore(SimClock(loop))
    return store, asyncio.create_task(store.run())


def test_a_key_vanishes_with_its_lease_and_a_watcher_sees_it_at_that_time():
    async def main(loop: SimLoop):
        store, _ = _store(loop)
        lease = await store.lease(5)
        await store.commit(Txn(success=(Put(b"member/gw1", b"here", lease.lease_id),)))
        seen = []

        async def watch() -> None:
            async for batch in store.watch(b"member/", 1):
                seen.extend((loop.time() - 1000, change.kind) for change in batch.changes)

        watcher = asyncio.create_task(watch())
        await asyncio.sleep(3)
        await lease.keep_alive()
        await asyncio.sleep(60)
        watcher.cancel()
        with pytest.raises(LeaseLost):
            await lease.keep_alive()
        return seen

    put, deleted = run(main)
    assert put == (0, ChangeKind.PUT)
    assert deleted == (pytest.approx(8, abs=0.01), ChangeKind.DELETE)


def test_a_member_that_is_cut_off_gets_unavailable_and_the_others_go_on():
    async def main(loop: SimLoop):
        store, _ = _store(loop)
        one = FaultyStore(store, SeededRng(1, "gw1"))
        two = FaultyStore(store, SeededRng(1, "gw2"))
        one.set_reachable(False)
        with pytest.raises(Unavailable):
            await one.commit(Txn(success=(Put(b"k", b"one"),)))
        await two.commit(Txn(success=(Put(b"k", b"two"),)))
        one.set_reachable(True)
        return await one.get(b"k")

    entry = run(main)
    assert (entry.value, entry.version) == (b"two", 1)


def test_a_commit_in_doubt_may_have_happened_and_a_read_tells():
    async def main(loop: SimLoop):
        store, _ = _store(loop)
        member = FaultyStore(store, SeededRng(1, "gw1"))
        member.doubt = 1.0
        absent = Compare(b"k", Target.VERSION, 0)
        with pytest.raises(Unknown):
            await member.commit(Txn((absent,), (Put(b"k", b"mine"),)))
        member.doubt = 0.0
        again = await member.commit(Txn((absent,), (Put(b"k", b"mine"),)))
        return again.succeeded, await member.get(b"k")

    succeeded, entry = run(main)
    assert not succeeded
    assert (entry.value, entry.version) == (b"mine", 1)


def test_a_watch_is_silent_while_cut_off_and_misses_nothing_afterwards():
    async def main(loop: SimLoop):
        store, _ = _store(loop)
        member = FaultyStore(store, SeededRng(1, "gw1"))
        seen = []

        async def watch() -> None:
            async for batch in member.watch(b"k", 1):
                seen.extend(change.entry.value for change in batch.changes)

        watcher = asyncio.create_task(watch())
        await asyncio.sleep(1)
        member.set_reachable(False)
        for i in range(5):
            await store.commit(Txn(success=(Put(b"k", b"%d" % i),)))
        await asyncio.sleep(10)
        while_cut_off = list(seen)
        member.set_reachable(True)
        await asyncio.sleep(1)
        watcher.cancel()
        return while_cut_off, seen

    while_cut_off, seen = run(main)
    assert while_cut_off == []
    assert seen == [b"0", b"1", b"2", b"3", b"4"]
