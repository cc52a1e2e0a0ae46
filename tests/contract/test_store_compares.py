"""What a transaction may compare, by each implementation of the store alike."""

import pytest

from cluster.store import Compare, Delete, Get, Target, Txn
from tests.contract.conftest import Bench, put


@pytest.mark.parametrize(
    ("target", "value"),
    [
        (Target.VERSION, lambda entry: entry.version),
        (Target.MOD_REVISION, lambda entry: entry.mod_revision),
        (Target.VERSION_ABOVE, lambda entry: entry.version - 1),
    ],
)
async def test_each_compare_holds_and_fails(bench: Bench, target: Target, value: object) -> None:
    key = bench.root + b"k"
    await put(bench, b"other")
    await put(bench, b"k")
    await put(bench, b"k")
    entry = await bench.store.get(key)
    right = value(entry)
    read = (Get(key),)
    holds = await bench.store.commit(Txn((Compare(key, target, right),), read))
    fails = await bench.store.commit(Txn((Compare(key, target, right + 1),), (), read))
    assert (holds.succeeded, holds.responses) == (True, (entry,))
    assert (fails.succeeded, fails.responses) == (False, (entry,))


@pytest.mark.parametrize("target", [Target.VERSION, Target.VERSION_ABOVE, Target.MOD_REVISION])
async def test_an_absent_key_compares_as_0(bench: Bench, target: Target) -> None:
    key = bench.root + b"nobody"
    read = (Get(key),)
    done = await bench.store.commit(Txn((Compare(key, target, 0),), read, read))
    assert done.succeeded is (target is not Target.VERSION_ABOVE)


async def test_a_version_above_is_any_that_is_higher(bench: Bench) -> None:
    key = bench.root + b"k"
    for _ in range(3):
        await put(bench, b"k")
    read = (Get(key),)
    for value in range(5):
        txn = Txn((Compare(key, Target.VERSION_ABOVE, value),), read, read)
        assert (await bench.store.commit(txn)).succeeded is (value < 3)


@pytest.mark.parametrize("stored", [None, b"", b"a", b"b", b"b\x00", b"b\xff", b"c", b"bb" * 40])
async def test_a_value_is_above_and_below_in_order_of_octets(
    bench: Bench, stored: bytes | None
) -> None:
    """An absent key's is neither."""
    key = bench.root + b"k"
    if stored is not None:
        await put(bench, b"k", stored)
    read = (Get(key),)
    for value in (b"", b"a", b"b", b"b\x00", b"b\xff", b"c"):
        above = Txn((Compare(key, Target.VALUE_ABOVE, value),), read, read)
        below = Txn((Compare(key, Target.VALUE_BELOW, value),), read, read)
        found = [(await bench.store.commit(txn)).succeeded for txn in (above, below)]
        there = stored is not None
        assert found == [there and stored > value, there and stored < value]


async def test_none_after_is_of_every_key_under_a_prefix(bench: Bench) -> None:
    under, read = bench.root + b"k/", (Get(bench.root + b"k"),)

    async def holds(revision: int) -> bool:
        txn = Txn((Compare(under, Target.NONE_AFTER, revision),), read, read)
        return (await bench.store.commit(txn)).succeeded

    assert await holds(0)  # of none at all
    await put(bench, b"k/1")
    await put(bench, b"k/2")
    seen = (await bench.store.scan(under)).revision
    assert await holds(seen)
    assert not await holds(seen - 1)
    await put(bench, b"k")
    await put(bench, b"k0")
    assert await holds(seen)  # those stand beside it
    await put(bench, b"k/1")
    assert not await holds(seen)
    await bench.store.commit(Txn(success=(Delete(under + b"1"),)))
    assert await holds(seen)
    await put(bench, b"k/3")
    assert not await holds(seen)
