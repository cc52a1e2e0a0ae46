"""Somebody else's write comes just before one's own: whoever was second sees so and gives way."""

import asyncio

import msgspec
import pytest

from cluster.errors import Conflict, NameTaken
from cluster.layout import ClusterState, MemberRecord
from cluster.member import Membership
from cluster.ring_keeper import PUT_BACK_PAUSE_S
from cluster.state import StateKeeper
from cluster.store import Delete, Put, Txn
from cluster.store_memory import MemoryStore
from tests.sim.seams import SeededRng
from tests.unit.cluster.fakes import FaultyStore
from tests.unit.cluster.members import KEYS, Cluster, simulated
from tests.unit.cluster.rings import KEYS as RING_KEYS
from tests.unit.cluster.rings import World, play


@simulated
async def test_of_two_first_members_the_second_takes_the_state_that_it_finds(
    cluster: Cluster,
) -> None:
    store = FaultyStore(cluster.clock)
    first = ClusterState(format=1, mode="normal", epoch=0, shards=64, created_wall_s=0.0)
    store.rival = Txn(success=(Put(KEYS.state, msgspec.json.encode(first)),))
    assert await StateKeeper(store, KEYS, cluster.clock).load_or_create(128) == first


@simulated
async def test_a_change_of_the_state_does_not_undo_one_that_the_watch_has_not_told_of_yet(
    cluster: Cluster,
) -> None:
    one, two = (StateKeeper(cluster.store, KEYS, cluster.clock) for _ in range(2))
    await one.load_or_create(64)
    before = await two.load_or_create(64)
    lost = msgspec.structs.replace(one.state, lost={"z": "z1"})
    await one.change(one.state, lost)
    with pytest.raises(Conflict, match="made from"):
        await two.change(before, msgspec.structs.replace(before, through={"a": 1}))
    assert two.state is before
    assert await StateKeeper(cluster.store, KEYS, cluster.clock).load_or_create(64) == lost


@simulated
async def test_a_name_that_was_taken_just_now_is_taken(cluster: Cluster) -> None:
    store = FaultyStore(cluster.clock)
    other = MemberRecord("gw1", "aa" * 16, "bb" * 16, "there", "", (), 0, 0.0, "0.1")
    store.rival = Txn(success=(Put(KEYS.member("gw1"), msgspec.json.encode(other)),))
    rng = SeededRng(1, "gw1")
    me = cluster.settings("gw1")
    member = Membership(store, KEYS, cluster.clock, rng=rng, spawn=cluster.spawn, me=me)
    with pytest.raises(NameTaken, match="there"):
        await member.join()


def test_a_lost_ring_that_another_has_put_back_is_left_as_it_is() -> None:
    async def story(world: World) -> None:
        await world.join("gw1")
        await world.settle()
        before = await world.store.get(RING_KEYS.ring)
        assert before is not None
        world.store.rival = Txn(success=(Put(RING_KEYS.ring, before.value),))
        await MemoryStore.commit(world.store, Txn(success=(Delete(RING_KEYS.ring),)))
        await asyncio.sleep(3 * PUT_BACK_PAUSE_S)
        after = await world.store.get(RING_KEYS.ring)
        assert after is not None
        assert after.value == before.value  # sealed anew it would be other octets

    play(story)
