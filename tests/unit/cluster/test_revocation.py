"""An operator's word about the ring: force, cancel, revoke."""

import asyncio

import pytest

from cluster.errors import ClusterError, Conflict, Unavailable, Unknown
from cluster.keyring import KeyRing, KeyState, encode, find_ticket_key
from cluster.rotation import FORCED_WAIT_S
from cluster.store import Delete, Put, Txn
from tests.unit.cluster.fakes import Fault
from tests.unit.cluster.rings import KEYS, POLICY, World, play


def states(ring: KeyRing) -> list[KeyState]:
    return [key.state for key in ring.tickets.keys]


def test_force_activates_without_the_laggard_and_names_it() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1")
        await world.join("gw2", watching=False)
        lines: list[str] = []
        began_s = world.clock.boot_s()
        done = await world.rotations(one).rotate(30, lines.append, force=True)
        assert world.clock.boot_s() - began_s < 3 * FORCED_WAIT_S
        assert done.waiting_for == ("gw2",)
        assert "forced: not waiting for gw2" in lines
        sealing = one.ring.sealing(world.clock.wall_s())
        assert sealing is not None
        assert sealing.key_id == done.key_id

    play(story)


def test_progress_tells_who_has_installed_the_ring_and_who_has_not() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1")
        late = [await world.join(name, watching=False) for name in ("gw2", "gw3")]
        lines: list[str] = []
        rotation = asyncio.ensure_future(world.rotations(one).rotate(30, lines.append))
        for keeper in late:
            await asyncio.sleep(1)
            keeper.start(world.spawn)
        await rotation
        waiting = [line for line in lines if line.startswith("waiting")]
        assert waiting[:2] == [
            "waiting for gw2, gw3 (installed by gw1)",
            "waiting for gw3 (installed by gw1, gw2)",
        ]
        (activated,) = [line for line in lines if line.startswith("activated")]
        assert activated.endswith("installed before by gw1, gw2, gw3")

    play(story)


def test_a_cancelled_rotation_leaves_the_ring_as_before() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1")
        before = one.ring
        await world.join("gw2", watching=False)
        rotation = asyncio.ensure_future(world.rotations(one).rotate(30))
        await world.settle()
        announced = one.ring.tickets.announced
        assert announced is not None
        assert await world.rotations(one).cancel() == announced.key_id
        with pytest.raises(Conflict, match=r"cancelled or revoked meanwhile"):
            await rotation
        assert encode(one.ring) == encode(before)
        with pytest.raises(Conflict, match="nothing to cancel"):
            await world.rotations(one).cancel()

    play(story)


@pytest.mark.parametrize("fault", [Fault.UNKNOWN_DONE, Fault.UNKNOWN_LOST])
def test_a_cancellation_with_unknown_outcome_is_read_back(fault: Fault) -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1", watching=False)
        await world.register("gw9")
        with pytest.raises(ClusterError):
            await world.rotations(one).rotate(0.1)
        announced = one.ring.tickets.announced
        assert announced is not None
        world.store.faults.append(fault)
        assert await world.rotations(one).cancel() == announced.key_id
        assert one.ring.tickets.announced is None

    play(story)


def test_a_store_that_goes_away_after_an_unknown_outcome_leaves_the_ring_in_doubt() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1", watching=False)
        rotations = world.rotations(one)
        world.store.faults.append(Fault.UNKNOWN_DONE)
        world.store.down_next = True
        with pytest.raises(Unknown, match="the store is down"):
            await rotations.announce(lambda _ring, _wall_s: True)
        world.store.down = False
        announced = await rotations.announce(lambda _ring, _wall_s: True)
        assert announced is not None
        world.store.faults.append(Fault.UNKNOWN_DONE)
        world.store.down_next = True
        with pytest.raises(Unknown, match="is announced, and perhaps activated: the store is down"):
            await rotations.complete(announced, 0.0, force=True)

    play(story)


def test_an_activated_key_is_not_cancelled() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1")
        done = await world.rotations(one).rotate(10)
        with pytest.raises(Conflict, match="nothing to cancel"):
            await world.rotations(one).cancel()
        assert done.key_id in one.ring.tickets.index

    play(story)


def test_a_revoked_opening_key_opens_nothing_anywhere_and_nothing_else_changes() -> None:
    async def story(world: World) -> None:
        one, two = await world.join("gw1"), await world.join("gw2")
        former = one.ring.tickets.keys[0].key_id
        done = await world.rotations(one).rotate(10)
        lines: list[str] = []
        await world.rotations(two).revoke(former.hex()[:8], 10, lines.append)
        await world.settle()
        wall_s = world.clock.wall_s()
        for keeper in (one, two):
            assert keeper.ring.opening(former, wall_s) is None
            sealing = keeper.ring.sealing(wall_s)
            assert sealing is not None
            assert sealing.key_id == done.key_id
            assert states(keeper.ring) == [KeyState.SEALING]
        steps = [line.split(":")[0] for line in lines if not line.startswith("waiting")]
        assert steps == ["revoked", "useless"]
        assert lines[-1].endswith("at gw1, gw2")

    play(story)


def test_the_sealing_key_revoked_is_useless_at_once_and_replaced_when_all_have_the_next() -> None:
    async def story(world: World) -> None:
        one, two = await world.join("gw1"), await world.join("gw2")
        former = one.ring.tickets.keys[0].key_id
        looks = 0

        def look() -> None:
            nonlocal looks
            wall_s = world.clock.wall_s()
            for keeper in (one, two):
                sealing = keeper.ring.sealing(wall_s)
                for other in (one, two):
                    gone = other.ring.opening(former, wall_s) is None
                    opens = sealing is None or other.ring.opening(sealing.key_id, wall_s)
                    # only the revoked key may be unknown to one and sealed with by the other
                    assert opens or (gone and sealing is not None and sealing.key_id == former)
            looks += 1

        world.on_installed = look
        await world.rotations(one).revoke(former.hex(), 10)
        await world.settle()
        wall_s = world.clock.wall_s()
        for keeper in (one, two):
            assert keeper.ring.opening(former, wall_s) is None
            assert states(keeper.ring) == [KeyState.SEALING]
            assert [key.key_id for key in keeper.ring.revoked] == [former]
        assert looks >= 2 * 2

    play(story)


def test_a_laggard_is_named_and_revoking_again_goes_on_from_there() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1")
        lag = await world.join("gw2", watching=False)
        key = one.ring.tickets.keys[0].key_id.hex()
        with pytest.raises(ClusterError, match=r"is revoked, but not yet at gw2.*no ticket is iss"):
            await world.rotations(one).revoke(key, 2)
        wall_s = world.clock.wall_s()
        assert one.ring.sealing(wall_s) is None  # none but the announced one is left
        assert states(one.ring) == [KeyState.ANNOUNCED]
        with pytest.raises(Conflict, match="cancelling would leave none"):
            await world.rotations(one).cancel()
        lag.start(world.spawn)
        await world.rotations(one).revoke(key, 2)
        assert one.ring.sealing(wall_s) is not None
        assert states(one.ring) == [KeyState.SEALING]

    play(story)


def test_revoking_what_is_announced_takes_back_the_rotation() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1")
        await world.join("gw2", watching=False)
        before = one.ring
        with pytest.raises(ClusterError):
            await world.rotations(one).rotate(0.1)
        announced = one.ring.tickets.announced
        assert announced is not None
        with pytest.raises(ClusterError, match="not yet at gw2"):
            await world.rotations(one).revoke(announced.key_id.hex(), 0.1)
        for name in ("tickets", "records", "cookie_keys", "qcd"):
            assert getattr(one.ring, name) == getattr(before, name)
        assert one.ring.opening(announced.key_id, world.clock.wall_s()) is None

    play(story)


def test_the_announced_successor_of_a_revoked_key_is_revoked_too() -> None:
    """A ring is never left without a key that will seal."""

    async def story(world: World) -> None:
        one = await world.join("gw1")
        await world.join("gw2", watching=False)
        for _ in range(2):
            with pytest.raises(ClusterError):
                await world.rotations(one).revoke(one.ring.tickets.keys[0].key_id.hex(), 0.1)
            assert states(one.ring) == [KeyState.ANNOUNCED]
        assert len(one.ring.revoked) == 2
        await world.store.commit(Txn((), (Delete(KEYS.member("gw2")),)))
        await world.rotations(one).rotate(5)
        assert states(one.ring) == [KeyState.SEALING]

    play(story)


@pytest.mark.parametrize("fault", [Fault.UNKNOWN_DONE, Fault.UNKNOWN_LOST])
def test_a_revocation_with_unknown_outcome_is_read_back(fault: Fault) -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1")
        key = one.ring.tickets.keys[0].key_id
        world.store.faults.append(fault)
        await world.rotations(one).revoke(key.hex(), 5)
        assert key not in one.ring.tickets.index
        assert len(one.ring.tickets.keys) == 1

    play(story)


def test_keys_are_named_unmistakably() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1")
        ring = one.ring
        ticket, record = ring.tickets.keys[0].key_id, ring.records.keys[0].key_id
        assert find_ticket_key(ring, ticket.hex()[:8]) == ticket
        before = one.revision
        for prefix, why in (
            ("ffffffff", "there is no ticket key 'ffffffff'"),
            ("", "there is no ticket key ''"),
            (record.hex()[:8], "rotating replaces the other kinds"),
        ):
            with pytest.raises(Conflict, match=why):
                await world.rotations(one).revoke(prefix, 1)
        assert one.revision == before

    play(story)


def test_a_revocation_is_forgotten_when_its_last_ticket_would_have_ended() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1")
        key = one.ring.tickets.keys[0].key_id
        await world.rotations(one).revoke(key.hex(), 5)
        (revoked,) = one.ring.revoked
        assert revoked.until_wall_s > world.clock.wall_s() + POLICY.ticket_lifetime_s
        await asyncio.sleep(revoked.until_wall_s - world.clock.wall_s())
        await world.rotations(one).rotate(5)
        assert one.ring.revoked == ()
        with pytest.raises(Conflict, match="there is no ticket key"):
            await world.rotations(one).revoke(key.hex(), 5)

    play(story)


@pytest.mark.parametrize("others", [0, 1])
def test_the_watermark_moves_in_the_step_in_which_a_key_is_revoked(others: int) -> None:
    """A member that has not heard of it compares the watermark, and commits nothing past it."""

    async def story(world: World) -> None:
        one = await world.join("gw1")
        await world.rotations(one).rotate(10)
        assert await world.store.get(KEYS.watermark) is None
        key = one.ring.tickets.keys[0].key_id
        if others:
            world.store.faults.append(Fault.UNKNOWN_DONE)
        await world.rotations(one).revoke(key.hex(), 10)
        watermark, ring = [await world.store.get(k) for k in (KEYS.watermark, KEYS.ring_mark)]
        assert watermark is not None
        assert ring is not None
        assert watermark.version == 1
        assert watermark.value == b"key " + key.hex().encode()
        written = [
            txn for txn in world.store.sent if Put(KEYS.watermark, watermark.value) in txn.success
        ]
        assert [put.key for put in written[0].success] == [
            KEYS.ring,
            KEYS.ring_mark,
            KEYS.watermark,
        ]

    play(story)


def test_who_catches_up_knows_of_it_without_its_watch_or_is_told_that_it_cant() -> None:
    async def story(world: World) -> None:
        one, lag = await world.join("gw1"), await world.join("gw2", watching=False)
        key = one.ring.tickets.keys[0].key_id
        with pytest.raises(ClusterError, match="not yet at gw2"):
            await world.rotations(one).revoke(key.hex(), 0.1)
        assert lag.ring.opening(key, world.clock.wall_s()) is not None
        world.store.down = True
        with pytest.raises(Unavailable):
            await lag.catch_up()
        world.store.down = False
        await lag.catch_up()
        assert [revoked.key_id for revoked in lag.ring.revoked] == [key]

    play(story)
