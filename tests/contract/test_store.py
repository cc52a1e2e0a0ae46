"""The store's contract, held by each implementation alike (cluster/store.py)."""

import asyncio

import pytest

from cluster.errors import Compacted, LeaseLost
from cluster.store import (
    MAX_OPS,
    ChangeKind,
    Changes,
    Compare,
    Delete,
    Entry,
    Get,
    Put,
    Target,
    Txn,
    TxnResult,
)
from tests.contract.conftest import Bench, put

HANG_S = 60.0
"""No test measures time; this only ends one that hangs."""
TTL_S = 5.0
"""Of a lease that is to run out: longer than a busy etcd takes for a few writes."""


def absent(key: bytes) -> Compare:
    return Compare(key, Target.VERSION, 0)


async def take(bench: Bench, prefix: bytes, from_revision: int, count: int) -> list[Changes]:
    """Batches of a watch until `count` changes have come."""
    batches: list[Changes] = []
    watch = bench.store.watch(prefix, from_revision)
    async with asyncio.timeout(HANG_S):
        async for changes in watch:
            batches.append(changes)
            if sum(len(batch.changes) for batch in batches) >= count:
                break
    await watch.aclose()
    return batches


# -- get, scan, revisions and versions


async def test_an_absent_key_is_none(bench: Bench) -> None:
    assert await bench.store.get(bench.root + b"nobody") is None


async def test_a_key_counts_its_versions_and_remembers_when_it_was_made(bench: Bench) -> None:
    first = await put(bench, b"k", b"1")
    second = await put(bench, b"k", b"2")
    assert second > first
    assert await bench.store.get(bench.root + b"k") == Entry(
        bench.root + b"k", b"2", first, second, 2
    )


async def test_a_key_made_again_starts_at_version_1(bench: Bench) -> None:
    first = await put(bench, b"k")
    await bench.store.commit(Txn(success=(Delete(bench.root + b"k"),)))
    again = await put(bench, b"k")
    entry = await bench.store.get(bench.root + b"k")
    assert entry is not None
    assert (entry.version, entry.create_revision) == (1, again)
    assert again == first + 2


async def test_a_transaction_that_changes_nothing_takes_no_revision(bench: Bench) -> None:
    revision = await put(bench, b"k")
    result = await bench.store.commit(
        Txn(success=(Delete(bench.root + b"nobody"), Get(bench.root + b"k")))
    )
    assert result.revision == revision
    assert await put(bench, b"l") == revision + 1


async def test_a_scan_is_in_key_order_and_holds_only_the_prefix(bench: Bench) -> None:
    for name in (b"a/2", b"b/1", b"a/\xff", b"a/1", b"a"):
        await put(bench, name, name)
    scan = await bench.store.scan(bench.root + b"a/")
    assert [entry.value for entry in scan.entries] == [b"a/1", b"a/2", b"a/\xff"]


async def test_a_scan_tells_the_revision_a_watch_goes_on_from(bench: Bench) -> None:
    await put(bench, b"old")
    scan = await bench.store.scan(bench.root)
    await put(bench, b"new")
    batches = await take(bench, bench.root, scan.revision + 1, 1)
    assert [c.entry.key for batch in batches for c in batch.changes] == [bench.root + b"new"]


async def test_a_scan_of_more_than_a_page_is_whole(bench: Bench) -> None:
    names = [b"%05d" % i for i in range(1200)]
    for i in range(0, len(names), 100):
        await bench.store.commit(
            Txn(success=tuple(Put(bench.root + name, name) for name in names[i : i + 100]))
        )
    scan = await bench.store.scan(bench.root)
    assert [entry.value for entry in scan.entries] == names


# -- transactions


async def test_a_transaction_that_does_nothing_is_refused(bench: Bench) -> None:
    """etcd would answer it from whichever member was asked, however far behind that one is."""
    with pytest.raises(ValueError, match="without operations"):
        await bench.store.commit(Txn((Compare(bench.root + b"nobody", Target.VERSION, 0),)))


async def test_one_compare_that_fails_keeps_everything_out(bench: Bench) -> None:
    key = bench.root + b"k"
    await put(bench, b"k", b"old")
    txn = Txn((absent(bench.root + b"x"), absent(key)), (Put(key, b"new"),), (Get(key),))
    result = await bench.store.commit(txn)
    assert not result.succeeded
    assert (await bench.store.get(key)).value == b"old"


async def test_two_who_claim_the_same_key_get_one_winner(bench: Bench) -> None:
    key = bench.root + b"k"
    results = await asyncio.gather(
        *(
            bench.store.commit(Txn((absent(key),), (Put(key, b"%d" % i),), (Get(key),)))
            for i in range(20)
        )
    )
    winners = [i for i, result in enumerate(results) if result.succeeded]
    assert len(winners) == 1
    entry = await bench.store.get(key)
    assert entry.value == b"%d" % winners[0]
    assert all(r.responses == (entry,) for r in results if not r.succeeded)


async def test_a_read_in_a_transaction_sees_the_writes_before_it(bench: Bench) -> None:
    key = bench.root + b"k"
    await put(bench, b"k", b"old")
    result = await bench.store.commit(Txn(success=(Get(key), Put(key, b"new"), Get(key))))
    before, none, after = result.responses
    assert (before.value, none, after.value) == (b"old", None, b"new")
    assert (after.version, after.mod_revision) == (2, result.revision)


async def test_nested_transactions_have_their_own_outcomes(bench: Bench) -> None:
    taken = bench.root + b"taken"
    await put(bench, b"taken", b"theirs")
    names = [b"free1", b"taken", b"free2"]

    def claim(name: bytes) -> Txn:
        key = bench.root + name
        return Txn((absent(key),), (Put(key, b"ours"), Get(key)), (Get(key),))

    result = await bench.store.commit(Txn(success=tuple(claim(name) for name in names)))
    nested = result.responses
    assert [n.succeeded for n in nested] == [True, False, True]
    assert {n.revision for n in nested} == {result.revision}
    assert nested[1] == TxnResult(False, result.revision, (await bench.store.get(taken),))
    assert nested[1].responses[0].value == b"theirs"
    written = [await bench.store.get(bench.root + name) for name in (b"free1", b"free2")]
    assert [(e.value, e.mod_revision) for e in written] == [(b"ours", result.revision)] * 2


async def test_nested_transactions_are_kept_out_by_the_outer_compare(bench: Bench) -> None:
    key = bench.root + b"k"
    inner = Txn((), (Put(key, b"v"),))
    result = await bench.store.commit(Txn((Compare(bench.root, Target.VERSION, 7),), (inner,)))
    assert (result.succeeded, result.responses) == (False, ())
    assert await bench.store.get(key) is None


async def test_compares_look_at_the_state_before_the_whole_transaction(bench: Bench) -> None:
    key = bench.root + b"k"
    inner = Txn((absent(key),), (Put(bench.root + b"inner", b"v"),))
    result = await bench.store.commit(Txn(success=(Put(key, b"v"), inner)))
    assert result.responses[1].succeeded


async def test_a_key_written_twice_is_refused(bench: Bench) -> None:
    key = bench.root + b"k"
    twice = (Put(key, b"1"), Put(key, b"2"))
    apart = (Txn((absent(key),), (Put(key, b"1"),)), Txn((absent(key),), (Put(key, b"2"),)))
    for ops in (twice, apart):
        with pytest.raises(ValueError, match=r"duplicate key|written twice"):
            await bench.store.commit(Txn(success=ops))
    assert await bench.store.get(key) is None


async def test_a_key_may_be_written_in_either_branch(bench: Bench) -> None:
    key = bench.root + b"k"
    inner = Txn((absent(key),), (Put(key, b"then"),), (Put(key, b"else"),))
    for wanted in (b"then", b"else"):
        await bench.store.commit(Txn(success=(inner,)))
        assert (await bench.store.get(key)).value == wanted


async def test_128_operations_pass_and_129_are_refused(bench: Bench) -> None:
    def puts(count: int) -> tuple[Put, ...]:
        return tuple(Put(bench.root + b"%d" % i, b"v") for i in range(count))

    assert (await bench.store.commit(Txn(success=puts(MAX_OPS)))).succeeded
    with pytest.raises(ValueError, match=r"too many operations|129 operations"):
        await bench.store.commit(Txn(success=puts(MAX_OPS + 1)))


async def test_operations_are_counted_over_the_levels(bench: Bench) -> None:
    """Nested transactions, plus the operations of the largest of them."""

    def batch(count: int) -> Txn:
        claims = []
        for i in range(count):
            keys = [bench.root + b"%d/%d" % (i, j) for j in range(4)]
            claims.append(Txn((absent(keys[0]),), tuple(Put(key, b"v") for key in keys)))
        return Txn(success=tuple(claims))

    assert (await bench.store.commit(batch(MAX_OPS - 4))).succeeded
    with pytest.raises(ValueError, match=r"too many operations|129 operations"):
        await bench.store.commit(batch(MAX_OPS - 3))


async def test_big_values_pass_and_too_big_ones_are_refused(bench: Bench) -> None:
    key = bench.root + b"k"
    value = bytes(1_400_000)
    await put(bench, b"k", value)
    assert (await bench.store.get(key)).value == value
    with pytest.raises(ValueError, match=r"too large|octets"):
        await put(bench, b"k", bytes(1_600_000))


async def test_any_octets_come_back_as_they_were(bench: Bench) -> None:
    octets = bytes(range(256))
    await put(bench, octets, octets)
    await put(bench, b"empty", b"")
    assert (await bench.store.get(bench.root + octets)).value == octets
    assert (await bench.store.get(bench.root + b"empty")).value == b""


async def test_the_empty_key_is_refused(bench: Bench) -> None:
    with pytest.raises(ValueError, match="key"):
        await bench.store.commit(Txn(success=(Put(b"", b"v"),)))


# -- watch


async def test_a_watch_tells_the_past_and_then_what_comes(bench: Bench) -> None:
    first = await put(bench, b"a", b"1")
    await put(bench, b"b", b"2")

    async def later() -> None:
        await asyncio.sleep(0.1)
        await bench.store.commit(Txn(success=(Delete(bench.root + b"a"),)))

    task = asyncio.create_task(later())
    batches = await take(bench, bench.root, first, 3)
    await task
    changes = [change for batch in batches for change in batch.changes]
    assert [(c.kind, c.entry.key, c.entry.value) for c in changes] == [
        (ChangeKind.PUT, bench.root + b"a", b"1"),
        (ChangeKind.PUT, bench.root + b"b", b"2"),
        (ChangeKind.DELETE, bench.root + b"a", b""),
    ]
    assert [c.entry.mod_revision for c in changes] == [first, first + 1, first + 2]


async def test_a_watch_goes_on_where_another_ended(bench: Bench) -> None:
    first = await put(bench, b"0")
    for i in range(1, 10):
        await put(bench, b"%d" % i)
    seen: list[bytes] = []
    revision = first - 1
    while len(seen) < 10:
        batches = await take(bench, bench.root, revision + 1, 1)
        revision = batches[-1].revision
        seen += [c.entry.key for batch in batches for c in batch.changes]
    assert seen == [bench.root + b"%d" % i for i in range(10)]


async def test_a_watch_never_parts_a_revision(bench: Bench) -> None:
    first = await put(bench, b"start")
    for i in range(15):
        ops = tuple(Put(bench.root + b"%d/%03d" % (i, j), bytes(2000)) for j in range(100))
        await bench.store.commit(Txn(success=ops))
    batches = await take(bench, bench.root, first, 1501)
    last = 0
    for batch in batches:
        revisions = [change.entry.mod_revision for change in batch.changes]
        assert revisions == sorted(revisions)
        assert revisions[0] > last
        last = revisions[-1]
        assert batch.revision >= last
        keys = [c.entry.key for c in batch.changes if c.entry.key != bench.root + b"start"]
        assert len(keys) % 100 == 0
    assert sum(len(batch.changes) for batch in batches) == 1501


async def test_a_watch_tells_only_its_prefix(bench: Bench) -> None:
    first = await put(bench, b"x/1")
    await put(bench, b"y/1")
    await put(bench, b"x/2")
    batches = await take(bench, bench.root + b"x/", first, 2)
    keys = [c.entry.key for batch in batches for c in batch.changes]
    assert keys == [bench.root + b"x/1", bench.root + b"x/2"]


async def test_a_compacted_past_is_said_so(bench: Bench) -> None:
    first = await put(bench, b"k", b"0")
    for i in range(5):
        last = await put(bench, b"k", b"%d" % i)
    await bench.store.compact(last)
    for lost in (first, last):
        with pytest.raises(Compacted) as caught:
            await take(bench, bench.root, lost, 1)
        assert caught.value.compact_revision == last
    await put(bench, b"k", b"after")
    batches = await take(bench, bench.root, last + 1, 1)
    assert batches[0].changes[0].entry.value == b"after"


async def test_a_watch_from_nowhere_is_refused(bench: Bench) -> None:
    with pytest.raises(ValueError, match="revision 0"):
        await anext(bench.store.watch(bench.root, 0))


# -- leases


async def test_keys_vanish_with_their_lease_in_one_revision(bench: Bench) -> None:
    lease = await bench.store.lease(TTL_S)
    first = await put(bench, b"a", b"v", lease.lease_id)
    await put(bench, b"b", b"v", lease.lease_id)
    await put(bench, b"c", b"v")
    assert (await bench.store.get(bench.root + b"a")).lease_id == lease.lease_id
    batches = await take(bench, bench.root, first, 5)
    deletes = [c for batch in batches for c in batch.changes if c.kind is ChangeKind.DELETE]
    assert {c.entry.key for c in deletes} == {bench.root + b"a", bench.root + b"b"}
    assert len({c.entry.mod_revision for c in deletes}) == 1
    assert await bench.store.get(bench.root + b"c") is not None
    with pytest.raises(LeaseLost):
        await lease.keep_alive()


async def test_a_kept_lease_outlives_its_ttl(bench: Bench) -> None:
    lease = await bench.store.lease(TTL_S)
    doomed = await bench.store.lease(TTL_S)
    await put(bench, b"kept", b"v", lease.lease_id)
    await put(bench, b"doomed", b"v", doomed.lease_id)
    async with asyncio.timeout(HANG_S):
        while await bench.store.get(bench.root + b"doomed") is not None:
            assert await lease.keep_alive() == lease.ttl_s
            await asyncio.sleep(0.1)
    assert await bench.store.get(bench.root + b"kept") is not None
    await lease.revoke()  # and doesn't end during another test, which may count revisions


async def test_a_revoked_lease_takes_its_keys_at_once(bench: Bench) -> None:
    lease = await bench.store.lease(600.0)
    await put(bench, b"k", b"v", lease.lease_id)
    await lease.revoke()
    assert await bench.store.get(bench.root + b"k") is None
    with pytest.raises(LeaseLost):
        await lease.keep_alive()
    await lease.revoke()


async def test_a_key_put_again_without_its_lease_stays(bench: Bench) -> None:
    lease = await bench.store.lease(600.0)
    await put(bench, b"k", b"v", lease.lease_id)
    await put(bench, b"k", b"w")
    await lease.revoke()
    assert (await bench.store.get(bench.root + b"k")).value == b"w"


async def test_a_lease_with_an_id_of_ones_own_is_granted_once(bench: Bench) -> None:
    lease_id = int.from_bytes(bench.root[-7:-1])
    first = await bench.store.lease(600.0, lease_id)
    second = await bench.store.lease(900.0, lease_id)
    assert (first.lease_id, second.lease_id) == (lease_id, lease_id)
    assert second.ttl_s == first.ttl_s == 600.0
    await put(bench, b"k", b"v", lease_id)
    await second.revoke()
    assert await bench.store.get(bench.root + b"k") is None
    with pytest.raises(LeaseLost):
        await first.keep_alive()


async def test_an_id_of_a_lease_that_has_ended_is_not_given_out_again(bench: Bench) -> None:
    ended = await bench.store.lease(600.0)
    await ended.revoke()
    later = await bench.store.lease(600.0)
    with pytest.raises(LeaseLost):
        await ended.keep_alive()
    await put(bench, b"k", b"v", later.lease_id)
    await ended.revoke()
    assert await bench.store.get(bench.root + b"k") is not None


async def test_a_put_under_a_lost_lease_changes_nothing(bench: Bench) -> None:
    lease = await bench.store.lease(600.0)
    await lease.revoke()
    ops = (Put(bench.root + b"a", b"v"), Put(bench.root + b"b", b"v", lease.lease_id))
    with pytest.raises(LeaseLost):
        await bench.store.commit(Txn(success=(Txn(success=ops),)))
    assert (await bench.store.scan(bench.root)).entries == ()


async def test_leases_without_an_id_are_different(bench: Bench) -> None:
    leases = [await bench.store.lease(600.0) for _ in range(3)]
    assert len({lease.lease_id for lease in leases}) == 3
    for lease in leases:
        await lease.revoke()


# -- close


async def test_close_ends_a_watch_and_refuses_calls(bench: Bench) -> None:
    revision = await put(bench, b"k")
    started = asyncio.Event()

    async def follow() -> int:
        count = 0
        async for changes in bench.store.watch(bench.root, revision):
            count += len(changes.changes)
            started.set()
        return count

    task = asyncio.create_task(follow())
    async with asyncio.timeout(HANG_S):
        await started.wait()
        await bench.store.close()
        assert await task == 1
    with pytest.raises(ValueError, match="closed"):
        await bench.store.get(bench.root)
