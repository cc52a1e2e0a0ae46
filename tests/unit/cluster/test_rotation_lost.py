"""A ring that somebody deleted: put back by those who have it, made anew by nobody."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from cluster.errors import ClusterError, Incompatible
from cluster.ring_keeper import PUT_BACK_PAUSE_S, RingKeeper
from cluster.store import Delete, Txn
from cluster.store_memory import MemoryStore
from tests.unit.cluster.fakes import Fault
from tests.unit.cluster.rings import KEYS, World, play


def test_a_deleted_ring_is_put_back_by_those_who_have_it_and_reported() -> None:
    """Else the next member to start would make another, and every ticket would be refused."""

    async def story(world: World) -> None:
        one, two = await world.join("gw1"), await world.join("gw2")
        ring = one.ring
        await world.settle()
        await world.store.commit(Txn((), (Delete(KEYS.ring),)))
        await world.settle()
        assert ["gone from the store" in line for line in world.troubles] == [True, True]
        newcomer = await world.join("gw3")
        assert one.ring == two.ring == newcomer.ring == ring
        assert one.revision == two.revision == newcomer.revision
        assert (await world.rotations(one).rotate(5)).waiting_for == ()

    play(story)


def test_a_ring_deleted_while_the_store_is_away_is_put_back_afterwards() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1")
        await world.settle()
        world.store.faults.extend([Fault.UNAVAILABLE, Fault.UNKNOWN_LOST])
        await MemoryStore.commit(world.store, Txn((), (Delete(KEYS.ring),)))
        await asyncio.sleep(3 * PUT_BACK_PAUSE_S)
        assert not world.store.faults
        assert (await world.join("gw2")).ring == one.ring

    play(story)


def test_a_ring_that_was_gone_before_the_watch_began_is_put_back() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1", watching=False)
        await world.store.commit(Txn((), (Delete(KEYS.ring),)))
        one.start(world.spawn)
        await world.settle()
        assert (await world.join("gw2")).ring == one.ring

    play(story)


def test_a_rotation_without_a_ring_in_the_store_changes_nothing() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1", watching=False)
        ring = one.ring
        await world.store.commit(Txn((), (Delete(KEYS.ring),)))
        with pytest.raises(ClusterError, match="gone from the store"):
            await world.rotations(one).rotate(1)
        assert one.ring is ring

    play(story)


@pytest.mark.parametrize(
    ("lost", "load"),
    [
        (KEYS.ring, RingKeeper.load_or_create),
        (KEYS.spi_key, RingKeeper.load_or_create_spi_key),
    ],
)
def test_a_member_that_starts_makes_no_secret_anew_that_the_cluster_had(
    lost: bytes, load: Callable[[RingKeeper], Awaitable[object]]
) -> None:
    async def story(world: World) -> None:
        await world.keeper("gw1").load_or_create()
        await world.store.commit(Txn((), (Delete(lost),)))
        with pytest.raises(Incompatible, match="gone from the store"):
            await load(world.keeper("gw2"))
        assert await world.store.get(lost) is None

    play(story)


def test_a_laggard_does_not_put_back_the_ring_of_before_a_revocation() -> None:
    """Else the revoked key would open tickets again, at every member."""

    async def story(world: World) -> None:
        one = await world.join("gw1", watching=False)
        lag = await world.join("gw2", watching=False)
        key = one.ring.tickets.keys[0].key_id
        with pytest.raises(ClusterError, match="not yet at gw2"):
            await world.rotations(one).revoke(key.hex(), 0.1)
        await world.store.commit(Txn((), (Delete(KEYS.ring),)))
        lag.start(world.spawn)
        await world.settle()
        assert await world.store.get(KEYS.ring) is None
        assert "newer than this member's" in world.troubles[-1]
        with pytest.raises(ClusterError, match="newer than this member's"):
            await lag.catch_up()
        one.start(world.spawn)  # who has it puts it back, and the laggard takes it
        await world.settle()
        assert one.ring == lag.ring
        assert lag.ring.opening(key, world.clock.wall_s()) is None
        await lag.catch_up()

    play(story)
