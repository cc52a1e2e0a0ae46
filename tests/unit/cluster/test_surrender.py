"""Shards that a member gave up without the store, and what it may not claim."""

import asyncio

from cluster.claims import decode_shard
from tests.unit.cluster.members import KEYS, Cluster, simulated
from tests.unit.cluster.owners import Owner

ALL = list(range(64))


@simulated
async def test_what_was_surrendered_comes_back_under_a_higher_fence(cluster: Cluster) -> None:
    one = await Owner(cluster, "gw1").begin()
    await asyncio.sleep(1)
    before = {shard: owned.fence for shard, owned in one.ownership.owned.items()}
    one.way.away = True
    assert one.ownership.surrender() == len(ALL)
    assert one.lost == ALL
    assert (one.owned, one.ownership.choose_shard(one.rng)) == ([], None)
    await asyncio.sleep(1)
    assert one.owned == []
    one.way.away = False
    await asyncio.sleep(3)
    assert one.owned == ALL
    for shard in ALL:
        assert one.ownership.fence_of(shard) == before[shard] + 1


@simulated
async def test_what_was_surrendered_is_released_at_the_end(cluster: Cluster) -> None:
    one = await Owner(cluster, "gw1").begin()
    await asyncio.sleep(1)
    one.way.away = True
    one.ownership.surrender()
    one.way.away = False
    await one.ownership.release_all()
    for entry in (await cluster.store.scan(KEYS.shards)).entries:
        record = decode_shard(entry.value)
        assert record is not None
        assert record.owner == ""


@simulated
async def test_what_was_promised_to_a_member_is_not_claimed_from_it(cluster: Cluster) -> None:
    one = await Owner(cluster, "gw1").begin()
    two = await Owner(cluster, "gw2").begin()
    await asyncio.sleep(3)
    two.ownership.may_claim_from = lambda owner: owner != "gw1"
    kept = one.owned
    one.kill()
    await asyncio.sleep(20)
    assert sorted([*two.owned, *kept]) == ALL
    two.ownership.may_claim_from = lambda _owner: True
    await asyncio.sleep(1)
    assert two.owned == ALL
