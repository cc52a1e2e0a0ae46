"""The store in memory, where it differs from etcd: its clock, its bounds, its own refusals."""

import asyncio

import pytest

from cluster.errors import Compacted
from cluster.store import ChangeKind, Changes, Compare, Delete, Put, Target, Txn
from cluster.store_memory import WATCH_CHANGES_MAX, MemoryStore
from cluster.txn_rules import MAX_REQUEST_OCTETS, check_txn
from tests.unit.cluster.fakes import HandClock

HANG_S = 30.0


async def put(store: MemoryStore, key: bytes, value: bytes = b"v", lease_id: int = 0) -> int:
    return (await store.commit(Txn(success=(Put(key, value, lease_id),)))).revision


async def test_leases_end_by_the_clock_passed_in() -> None:
    clock = HandClock()
    store = MemoryStore(clock)
    lease = await store.lease(1.2)
    assert lease.ttl_s == 2.0
    await put(store, b"/k", lease_id=lease.lease_id)
    clock.advance(1.9)
    assert await store.get(b"/k") is not None
    clock.advance(0.1)
    assert await store.get(b"/k") is None


async def test_a_renewed_lease_has_its_whole_time_again() -> None:
    clock = HandClock()
    store = MemoryStore(clock)
    lease = await store.lease(5)
    await put(store, b"/k", lease_id=lease.lease_id)
    for _ in range(4):
        clock.advance(4)
        assert await lease.keep_alive() == 5.0
    assert await store.get(b"/k") is not None


async def test_leases_that_ended_meanwhile_end_in_the_order_of_their_deadlines() -> None:
    clock = HandClock()
    store = MemoryStore(clock)
    for ttl_s, key in ((3, b"/late"), (1, b"/early"), (2, b"/middle")):
        await put(store, key, lease_id=(await store.lease(ttl_s)).lease_id)
    revision = (await store.scan(b"/")).revision
    clock.advance(60)
    changes = await anext(store.watch(b"/", revision + 1))
    assert [c.entry.key for c in changes.changes] == [b"/early", b"/middle", b"/late"]
    assert [c.entry.mod_revision - revision for c in changes.changes] == [1, 2, 3]
    assert {c.kind for c in changes.changes} == {ChangeKind.DELETE}


async def test_run_ends_leases_while_nobody_calls_and_close_ends_it() -> None:
    clock = HandClock()
    store = MemoryStore(clock)
    lease = await store.lease(600)
    revision = await put(store, b"/k", lease_id=lease.lease_id)
    watch = store.watch(b"/", revision + 1)
    change = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    clock.advance(600)
    timer = asyncio.create_task(store.run())
    async with asyncio.timeout(HANG_S):
        assert (await change).changes[0].kind is ChangeKind.DELETE
        await store.close()
        await timer


async def test_a_revision_is_never_parted_by_the_bound_of_a_batch() -> None:
    store = MemoryStore(HandClock())
    size = 128
    for i in range(WATCH_CHANGES_MAX // size + 2):
        ops = tuple(Put(b"/%d/%d" % (i, j), b"v") for j in range(size))
        await store.commit(Txn(success=ops))
    first: Changes = await anext(store.watch(b"/", 1))
    assert WATCH_CHANGES_MAX <= len(first.changes) < WATCH_CHANGES_MAX + size
    assert len(first.changes) % size == 0
    rest = await anext(store.watch(b"/", first.revision + 1))
    assert rest.changes[0].entry.mod_revision == first.revision + 1


async def test_a_watcher_that_falls_behind_the_history_is_told() -> None:
    store = MemoryStore(HandClock(), history_max=10)
    slow = store.watch(b"/", 1)
    await put(store, b"/k")
    assert len((await anext(slow)).changes) == 1
    for _ in range(10):
        await put(store, b"/k")
    assert len((await anext(slow)).changes) == 10
    for _ in range(25):
        await put(store, b"/k")
    with pytest.raises(Compacted):
        await anext(slow)


async def test_an_idle_watcher_doesn_t_fall_behind_by_what_others_change() -> None:
    store = MemoryStore(HandClock(), history_max=10)
    revision = await put(store, b"/mine")
    watch = store.watch(b"/mine", revision + 1)
    change = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    for _ in range(50):
        await put(store, b"/theirs")
    last = await put(store, b"/mine", b"w")
    async with asyncio.timeout(HANG_S):
        assert (await change).changes[0].entry.mod_revision == last


async def test_a_compaction_that_can_t_be_is_refused() -> None:
    store = MemoryStore(HandClock())
    revision = await put(store, b"/k")
    with pytest.raises(ValueError, match="the store is at"):
        await store.compact(revision + 1)
    await store.compact(revision)
    with pytest.raises(Compacted):
        await store.compact(revision)


@pytest.mark.parametrize(
    ("txn", "why"),
    [
        (Txn(success=(Txn(success=(Txn(success=(Txn(),)),)),)), "nested twice"),
        (Txn(success=(Delete(b"k"), Delete(b"k"))), "written twice"),
        (Txn(success=(Put(b"k", b""), Txn(failure=(Delete(b"k"),)))), "written twice"),
        (Txn((Compare(b"", Target.VERSION, 0),)), "empty key"),
        (Txn(tuple(Compare(b"k", Target.VERSION, 0) for _ in range(129))), "129 operations"),
        (Txn(success=(Put(b"k", bytes(MAX_REQUEST_OCTETS)),)), "octets"),
        (Txn((Compare(b"k", Target.VERSION, 0),)), "without operations"),
    ],
)
def test_what_breaks_the_rules_is_refused(txn: Txn, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_txn(txn)
