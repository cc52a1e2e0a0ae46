"""From one key-encryption key to the next: together, only when all hold it, as often as one
likes."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from cluster.errors import ClusterError, Conflict, Unknown, WrongKek
from cluster.rewrap import HeldBy, Rewrap
from cluster.ring_keeper import CONFLICTS_MAX, RingKeeper
from cluster.store import Delete, Put, Txn
from cluster.vault import Kek, Keks, sealing_kek_id
from proto.secret import Secret
from tests.unit.cluster.fakes import Fault, SeededRng
from tests.unit.cluster.rings import KEK, KEYS, World, play

NEW = Kek(Secret(b"\x77" * 32))
BOTH = (KEK, NEW)


def held(**ids: Sequence[bytes]) -> HeldBy:
    async def answer() -> Mapping[str, Sequence[bytes]]:
        return ids

    return answer


EVERYBODY = held(gw1=Keks(BOTH).ids, gw2=Keks(BOTH).ids)


async def join(world: World, name: str, *keks: Kek, watching: bool = True) -> RingKeeper:
    keeper = world.keeper(name, *keks)
    await world.register(name)
    await keeper.load_or_create()
    await keeper.load_or_create_spi_key()
    if watching:
        keeper.start(world.spawn)
    return keeper


def rewrap(world: World, keeper: RingKeeper) -> Rewrap:
    return Rewrap(
        keeper=keeper,
        rotations=world.rotations(keeper),
        store=world.store,
        keys=KEYS,
        rng=SeededRng(3, "rewrap"),
    )


async def sealed_under(world: World) -> dict[bytes, bytes]:
    found = {}
    for key in (KEYS.ring, KEYS.spi_key):
        entry = await world.store.get(key)
        assert entry is not None
        found[key] = sealing_kek_id(entry.value, key)
    return found


def test_ring_and_spi_key_move_together_and_nothing_else_changes() -> None:
    async def story(world: World) -> None:
        one = await join(world, "gw1", *BOTH)
        two = await join(world, "gw2", *BOTH)
        ring, spi_key = one.ring, await one.load_or_create_spi_key()
        lines: list[str] = []
        await rewrap(world, one).run(NEW.kek_id, EVERYBODY, 5, lines.append)
        assert set((await sealed_under(world)).values()) == {NEW.kek_id}
        steps = [line.split(":")[0] for line in lines if not line.startswith("waiting")]
        assert steps == ["held", "rewrapped", "opened"]
        assert lines[-1].endswith("; the former key is needed for older backups of etcd alone")
        assert one.ring == two.ring == ring
        alone = world.keeper("gw9", NEW)
        await alone.load_or_create()
        assert alone.ring == ring
        assert await alone.load_or_create_spi_key() == spi_key
        late = world.keeper("gw8", KEK)
        with pytest.raises(WrongKek, match=NEW.kek_id.hex()):
            await late.load_or_create()

    play(story)


def test_again_it_does_nothing_and_says_so() -> None:
    async def story(world: World) -> None:
        one = await join(world, "gw1", *BOTH)
        await join(world, "gw2", *BOTH)
        await rewrap(world, one).run(NEW.kek_id, EVERYBODY, 5, lambda _line: None)
        revision = one.revision
        lines: list[str] = []
        await rewrap(world, one).run(NEW.kek_id, EVERYBODY, 5, lines.append)
        assert one.revision == revision
        assert any("nothing to do" in line for line in lines)

    play(story)


def test_it_is_taken_back_in_the_same_way() -> None:
    async def story(world: World) -> None:
        one = await join(world, "gw1", *BOTH)
        await join(world, "gw2", *BOTH)
        for kek in (NEW, KEK):
            await rewrap(world, one).run(kek.kek_id, EVERYBODY, 5, lambda _line: None)
            assert set((await sealed_under(world)).values()) == {kek.kek_id}

    play(story)


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (held(gw1=Keks(BOTH).ids, gw2=(KEK.kek_id,)), "gw2: without"),
        (held(gw1=Keks(BOTH).ids), "gw2: no answer"),
    ],
    ids=["without", "silent"],
)
def test_a_live_member_without_the_new_key_stops_it(answers: HeldBy, why: str) -> None:
    async def story(world: World) -> None:
        one = await join(world, "gw1", *BOTH)
        await join(world, "gw2")
        with pytest.raises(ClusterError, match=f"nothing was changed: {why}"):
            await rewrap(world, one).run(NEW.kek_id, answers, 5, lambda _line: None)
        assert set((await sealed_under(world)).values()) == {KEK.kek_id}
        await world.store.commit(Txn((), (Delete(KEYS.member("gw2")),)))  # it no longer counts
        await rewrap(world, one).run(NEW.kek_id, answers, 5, lambda _line: None)
        assert set((await sealed_under(world)).values()) == {NEW.kek_id}

    play(story)


def test_a_key_in_the_store_that_names_nobody_stops_nothing() -> None:
    async def story(world: World) -> None:
        one = await join(world, "gw1", *BOTH)
        await world.store.commit(Txn((), (Put(KEYS.members + b"\xff", b"{}"),)))
        await rewrap(world, one).run(NEW.kek_id, EVERYBODY, 5, lambda _line: None)
        assert set((await sealed_under(world)).values()) == {NEW.kek_id}
        assert (await world.rotations(one).rotate(5)).waiting_for == ()

    play(story)


def test_a_key_that_only_others_hold_changes_nothing() -> None:
    async def story(world: World) -> None:
        one = await join(world, "gw1")
        with pytest.raises(WrongKek, match="this member does not hold"):
            await rewrap(world, one).run(NEW.kek_id, EVERYBODY, 5, lambda _line: None)
        assert set((await sealed_under(world)).values()) == {KEK.kek_id}

    play(story)


def test_whoever_did_not_open_it_is_named() -> None:
    async def story(world: World) -> None:
        one = await join(world, "gw1", *BOTH)
        await join(world, "gw2", *BOTH, watching=False)
        with pytest.raises(ClusterError, match=r"gw2 did not report.*keep the former key"):
            await rewrap(world, one).run(NEW.kek_id, EVERYBODY, 1, lambda _line: None)

    play(story)


def test_a_rotation_never_changes_the_key_encryption_key() -> None:
    """Members that list the same two keys in another order don't undo each other's work."""

    async def story(world: World) -> None:
        one = await join(world, "gw1", KEK, NEW)
        two = await join(world, "gw2", NEW, KEK)
        await world.rotations(two).rotate(5)
        assert set((await sealed_under(world)).values()) == {KEK.kek_id}
        await rewrap(world, two).run(NEW.kek_id, EVERYBODY, 5, lambda _line: None)
        await world.rotations(one).rotate(5)
        assert set((await sealed_under(world)).values()) == {NEW.kek_id}
        await world.settle()
        assert one.ring == two.ring

    play(story)


def test_a_rewrap_in_the_middle_of_a_rotation() -> None:
    async def story(world: World) -> None:
        one = await join(world, "gw1", *BOTH)
        late = await join(world, "gw2", *BOTH, watching=False)
        rotation = asyncio.ensure_future(world.rotations(one).rotate(30))
        await asyncio.sleep(1)
        change = asyncio.ensure_future(
            rewrap(world, one).run(NEW.kek_id, EVERYBODY, 30, lambda _line: None)
        )
        await asyncio.sleep(1)
        late.start(world.spawn)
        done = await rotation
        await change
        await world.settle()
        sealing = late.ring.sealing(world.clock.wall_s())
        assert sealing is not None
        assert sealing.key_id == done.key_id
        assert set((await sealed_under(world)).values()) == {NEW.kek_id}

    play(story)


def test_a_lost_ring_is_put_back_under_the_key_that_it_was_sealed_under() -> None:
    async def story(world: World) -> None:
        one = await join(world, "gw1", *BOTH)
        await rewrap(world, one).run(NEW.kek_id, held(gw1=one.keks.ids), 5, lambda _line: None)
        await world.store.commit(Txn((), (Delete(KEYS.ring),)))
        await asyncio.sleep(1)
        assert set((await sealed_under(world)).values()) == {NEW.kek_id}

    play(story)


def test_the_key_that_the_ring_needs_is_not_dropped_with_others() -> None:
    async def story(world: World) -> None:
        one = await join(world, "gw1")
        one.keks = Keks((NEW,))
        assert one.keks.ids == (NEW.kek_id, KEK.kek_id)
        await world.rotations(one).rotate(5)
        assert (await sealed_under(world))[KEYS.ring] == KEK.kek_id

    play(story)


@pytest.mark.parametrize("fault", [Fault.UNKNOWN_DONE, Fault.UNKNOWN_LOST])
def test_a_rewrap_with_unknown_outcome_is_read_back(fault: Fault) -> None:
    async def story(world: World) -> None:
        one = await join(world, "gw1", *BOTH)
        world.store.faults.append(fault)
        await rewrap(world, one).run(NEW.kek_id, EVERYBODY, 5, lambda _line: None)
        assert set((await sealed_under(world)).values()) == {NEW.kek_id}

    play(story)


def test_a_store_that_goes_away_after_an_unknown_outcome_leaves_it_unknown() -> None:
    async def story(world: World) -> None:
        one = await join(world, "gw1", *BOTH)
        world.store.faults.append(Fault.UNKNOWN_DONE)
        world.store.down_next = True
        with pytest.raises(Unknown, match="the store is down"):
            await rewrap(world, one).run(NEW.kek_id, EVERYBODY, 5, lambda _line: None)
        world.store.down = False
        assert set((await sealed_under(world)).values()) == {NEW.kek_id}

    play(story)


def test_others_are_not_blamed_for_answers_that_are_lost() -> None:
    async def story(world: World) -> None:
        one = await join(world, "gw1", *BOTH, watching=False)
        world.store.faults.extend([Fault.UNKNOWN_LOST] * CONFLICTS_MAX)
        with pytest.raises(Unknown):
            await rewrap(world, one).run(NEW.kek_id, EVERYBODY, 5, lambda _line: None)

    play(story)


def test_a_ring_that_others_keep_changing_ends_it_without_a_change() -> None:
    async def story(world: World) -> None:
        one = await join(world, "gw1", *BOTH, watching=False)
        entry = await world.store.get(KEYS.ring)
        assert entry is not None
        world.store.rival = Txn((), (Put(KEYS.ring, entry.value),))
        world.store.sent.clear()
        with pytest.raises(Conflict, match="in a row"):
            await rewrap(world, one).run(NEW.kek_id, EVERYBODY, 5, lambda _line: None)
        assert len(world.store.sent) == CONFLICTS_MAX
        world.store.rival = None
        await world.store.commit(Txn((), (Delete(KEYS.spi_key),)))
        with pytest.raises(ClusterError, match="spi-key is gone"):
            await rewrap(world, one).run(NEW.kek_id, EVERYBODY, 5, lambda _line: None)

    play(story)
