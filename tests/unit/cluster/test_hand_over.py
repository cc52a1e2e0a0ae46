"""A live shard goes from its owner to a member in one step, or not at all."""

import asyncio

import pytest

from cluster.errors import Conflict, Unknown
from cluster.layout import ShardRecord
from cluster.moves import move
from tests.unit.cluster.members import KEYS, Cluster, simulated
from tests.unit.cluster.owners import SHARDS, Owner, assign, shard_records, write_shard

ALL = list(range(SHARDS))


async def three(cluster: Cluster) -> tuple[Owner, Owner, Owner]:
    """Three members that have shared the shards."""
    one, two, other = [await Owner(cluster, name).begin() for name in ("gw1", "gw2", "gw3")]
    await asyncio.sleep(3)
    return one, two, other


async def moved(one: Owner, shard: int, heir: str, at_most_s: float = 5.0) -> None:
    await move(one.ownership, one.member.members, shard, heir, at_most_s)


@simulated
async def test_a_shard_has_an_owner_at_every_revision(cluster: Cluster) -> None:
    await Owner(cluster, "gw1").begin()
    await asyncio.sleep(0.5)
    since = (await cluster.store.scan(KEYS.shards)).revision
    two = await Owner(cluster, "gw2").begin()
    await asyncio.sleep(3)
    assert two.owned
    seen = 0

    async def follow() -> None:
        nonlocal seen
        async for changes in cluster.store.watch(KEYS.shards, since + 1):
            for change in changes.changes:
                assert b'"owner":""' not in change.entry.value
                seen += 1

    task = cluster.loop.create_task(follow())
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait((task,))
    assert task.cancelled()
    assert seen == len(two.owned), "each shard moves once"


@simulated
async def test_so_many_shards_a_round_and_no_more(cluster: Cluster) -> None:
    one = await Owner(cluster, "gw1").begin()
    await asyncio.sleep(0.5)
    before = 0
    two = await Owner(cluster, "gw2").begin()
    most = 0
    for _ in range(40):
        await asyncio.sleep(0.25)
        most, before = max(most, len(two.owned) - before), len(two.owned)
    assert one.ownership.handed_over == len(two.owned) == before
    assert 0 < most <= 16


@simulated
async def test_a_shard_isnt_handed_to_who_has_just_been_replaced(cluster: Cluster) -> None:
    """The plan is made from an old view: only the compare of the heir's key stands in the way."""
    one, _two, _ = await three(cluster)
    shard = one.owned[0]
    one.ownership._prefer()
    step = one.ownership._to_heir(shard, "gw2")
    assert step is not None
    await Owner(cluster, "gw2", life=2).member.join()
    before = (await shard_records(cluster))[shard]
    assert await one.ownership._commit((step,))
    assert (await shard_records(cluster))[shard] == before
    assert one.ownership.fence_of(shard) == before.fence


@simulated
async def test_a_shard_that_was_lost_isnt_handed_on(cluster: Cluster) -> None:
    one, _two, _ = await three(cluster)
    shard = one.owned[0]
    step = one.ownership._to_heir(shard, "gw2")
    assert step is not None
    fence = step.record.fence
    theirs = ShardRecord("gw3", "33" * 16, fence)
    await write_shard(cluster, shard, theirs)
    await one.ownership._commit((step,))
    assert (await shard_records(cluster))[shard].owner != "gw2"


@simulated
async def test_nothing_is_taken_for_a_shard_while_it_is_handed_over(cluster: Cluster) -> None:
    one, _two, _ = await three(cluster)
    shard = one.owned[0]
    seen: list[bool] = []
    one.way.on_commit = lambda: seen.append(shard in one.ownership.leaving)
    await moved(one, shard, "gw2")
    assert seen == [True]
    assert shard not in one.ownership.leaving


@simulated
async def test_what_begins_in_a_shard_keeps_it_until_that_shows(cluster: Cluster) -> None:
    """A rekey that a gateway begins by itself: the shard's sessions were counted just before."""
    one, _two, _ = await three(cluster)
    shard = one.owned[0]
    one.ownership.wanted[shard] = "gw2"
    for _ in range(10):
        await asyncio.sleep(0.3)
        assert one.ownership.begins_in(shard)
    assert one.ownership.fence_of(shard) is not None
    refused: list[bool] = []
    one.way.on_commit = lambda: refused.append(not one.ownership.begins_in(shard))
    await asyncio.sleep(2)
    assert refused == [True]
    assert one.ownership.fence_of(shard) is None


@simulated
async def test_a_shard_that_could_not_be_handed_over_is_open_again(cluster: Cluster) -> None:
    one, _two, _ = await three(cluster)
    shard = one.owned[0]
    one.ownership.wanted[shard] = "gw2"
    await asyncio.sleep(0.3)
    one.way.away = True
    await asyncio.sleep(2)
    assert not one.ownership.leaving
    assert one.ownership.fence_of(shard) is not None


@simulated
async def test_where_an_operator_wants_a_shard_it_stays(cluster: Cluster) -> None:
    one, two, other = await three(cluster)
    shard = one.owned[0]
    await moved(one, shard, "gw2")
    assert (await shard_records(cluster))[shard].home == "gw2"
    await asyncio.sleep(10)
    assert shard in two.owned
    two.kill()
    await asyncio.sleep(15)
    assert shard in one.owned, "it is the first of those that live"
    again = await Owner(cluster, "gw2", life=2).begin()
    await asyncio.sleep(10)
    assert shard in again.owned, "back where it is wanted"
    await moved(again, shard, "gw1")
    assert (await shard_records(cluster))[shard].home == "", "that is where it belongs anyway"
    await asyncio.sleep(10)
    assert shard in one.owned
    wanted = assign(SHARDS, ("gw1", "gw2", "gw3"))
    for owner in (one, again, other):
        assert owner.owned == [s for s in ALL if wanted[s] == owner.name]


@simulated
async def test_a_shard_is_moved_by_one_word_at_a_time(cluster: Cluster) -> None:
    one, two, _ = await three(cluster)
    shard = one.owned[0]
    one.sessions[shard] = 1
    first = cluster.loop.create_task(moved(one, shard, "gw2", at_most_s=2.0))
    await asyncio.sleep(1)
    for heir in ("gw2", "gw3"):
        with pytest.raises(Conflict, match="is being moved to 'gw2' already"):
            await moved(one, shard, heir)
    with pytest.raises(Unknown, match="not handed over within 2 s"):
        await first
    again = cluster.loop.create_task(moved(one, shard, "gw2"))
    await asyncio.sleep(1)
    one.sessions.clear()
    await again
    assert shard in two.owned


@simulated
async def test_a_move_that_cant_be_says_why(cluster: Cluster) -> None:
    one, two, _ = await three(cluster)
    shard = one.owned[0]
    with pytest.raises(Conflict, match="no live member 'gw9'"):
        await moved(one, shard, "gw9")
    with pytest.raises(Conflict, match="isn't this member's"):
        await moved(one, two.owned[0], "gw3")
    one.sessions[shard] = 1
    with pytest.raises(Unknown, match="not handed over within 2 s"):
        await moved(one, shard, "gw2", at_most_s=2.0)
    assert one.ownership.wanted == {}
    one.sessions.clear()
    await asyncio.sleep(3)
    assert shard in one.owned
    await moved(one, two.owned[0], "gw2")  # it is there already


@simulated
async def test_an_heir_that_isnt_heard_gets_nothing(cluster: Cluster) -> None:
    one = await Owner(cluster, "gw1").begin()
    await asyncio.sleep(0.5)
    mute, _ = cluster.member("gw2")
    await mute.join()
    await asyncio.sleep(0.9)  # not suspected yet
    assert one.heartbeats.suspected == {}
    assert one.owned == ALL


@simulated
async def test_who_ends_in_order_gains_nothing_and_gives_up_what_others_hand_to_it(
    cluster: Cluster,
) -> None:
    """All end at once: each hands its shards to those that it still takes for live."""
    members = await three(cluster)
    owned, gained = [len(one.owned) for one in members], [len(one.gained) for one in members]
    ended = [cluster.loop.create_task(one.ownership.release_all()) for one in members]
    await asyncio.sleep(0.5)
    assert [await task for task in ended] == owned
    assert [len(one.gained) for one in members] == gained
    assert [one.owned for one in members] == [[], [], []]
    late = members[0]
    shard, fence = 5, (await shard_records(cluster))[5].fence
    await write_shard(cluster, shard, ShardRecord("gw1", late.member.incarnation, fence + 1))
    await asyncio.sleep(0.5)
    assert (late.owned, len(late.gained)) == ([], gained[0])
    assert await late.ownership.release_all() == 0
    assert (await shard_records(cluster))[shard].owner == ""
