"""The ring in the store: made once, installed everywhere, rotated without refusing a ticket."""

import asyncio
from collections.abc import Callable

import pytest

from cluster.errors import ClusterError, Conflict, Incompatible, Unavailable, WrongKek
from cluster.keyring import KeyState
from cluster.ring_keeper import CONFLICTS_MAX, REFRESH_INTERVAL_S, REFRESH_TIMEOUT_S
from cluster.store import Delete, Put, Txn
from cluster.vault import Kek
from proto.secret import Secret
from tests.unit.cluster.fakes import Fault
from tests.unit.cluster.rings import KEYS, POLICY, World, play, registration


def test_two_first_members_agree_on_one_ring_and_one_spi_key() -> None:
    async def story(world: World) -> None:
        one, two = world.keeper("gw1"), world.keeper("gw2")
        await asyncio.gather(one.load_or_create(), two.load_or_create())
        assert one.ring == two.ring
        assert one.revision == two.revision
        assert await one.load_or_create_spi_key() == await two.load_or_create_spi_key()

    play(story)


def test_the_loser_of_the_creation_reads_the_winners_ring() -> None:
    async def story(world: World) -> None:
        one, two = world.keeper("gw1"), world.keeper("gw2")
        world.store.gate = asyncio.Event()
        both = asyncio.gather(one.load_or_create(), two.load_or_create())
        await world.settle()
        assert world.store.in_flight == 2  # both saw none and are about to create one
        world.store.gate.set()
        await both
        assert one.ring == two.ring
        entry = await world.store.get(KEYS.ring)
        assert entry is not None
        assert entry.version == 1

    play(story)


@pytest.mark.parametrize("fault", [Fault.UNKNOWN_DONE, Fault.UNKNOWN_LOST])
def test_a_creation_with_unknown_outcome_is_read_back(fault: Fault) -> None:
    async def story(world: World) -> None:
        world.store.faults.append(fault)
        keeper = world.keeper("gw1")
        await keeper.load_or_create()
        entry = await world.store.get(KEYS.ring)
        assert entry is not None
        assert (entry.version, entry.mod_revision) == (1, keeper.revision)

    play(story)


def test_a_wrong_kek_is_refused_and_overwrites_nothing() -> None:
    async def story(world: World) -> None:
        await world.keeper("gw1").load_or_create()
        await world.keepers["gw1"].load_or_create_spi_key()
        before = (await world.store.scan(b"")).entries
        other = world.keeper("gw2", Kek(Secret(bytes(32))))
        with pytest.raises(WrongKek, match="ring"):
            await other.load_or_create()
        with pytest.raises(WrongKek, match="spi-key"):
            await other.load_or_create_spi_key()
        assert (await world.store.scan(b"")).entries == before
        with pytest.raises(Incompatible):
            _ = other.ring

    play(story)


def test_nothing_in_the_store_is_readable() -> None:
    async def story(world: World) -> None:
        keeper = world.keeper("gw1")
        await keeper.load_or_create()
        spi_key = await keeper.load_or_create_spi_key()
        secrets = [key.secret for key in keeper.ring.tickets.keys] + [spi_key]
        for entry in (await world.store.scan(b"")).entries:
            for secret in secrets:
                assert secret.octets not in entry.value

    play(story)


def test_a_store_away_at_the_start_is_said() -> None:
    async def story(world: World) -> None:
        world.store.down = True
        with pytest.raises(Unavailable):
            await world.keeper("gw1").load_or_create()

    play(story)


def test_rotation_announces_activates_and_retires_everywhere() -> None:
    async def story(world: World) -> None:
        one, two = await world.join("gw1"), await world.join("gw2")
        former = one.ring.tickets.keys[0]
        lines: list[str] = []
        done = await world.rotations(one).rotate(10, lines.append)
        await world.settle()
        wall_s = world.clock.wall_s()
        for keeper in (one, two):
            sealing = keeper.ring.sealing(wall_s)
            assert sealing is not None
            assert sealing.key_id == done.key_id != former.key_id
            kept = keeper.ring.opening(former.key_id, wall_s + POLICY.ticket_lifetime_s)
            assert kept is not None
            assert kept.opens_until_wall_s < wall_s + 2 * POLICY.opening_period_s
        assert done.waiting_for == ()
        steps = [line.split(":")[0] for line in lines if not line.startswith("waiting")]
        assert steps == ["announced", "activated", "retired"]

    play(story)


def test_nobody_seals_with_a_key_before_every_live_member_opens_it() -> None:
    """Promise 4, looked at after every ring that anybody installs."""

    async def story(world: World) -> None:
        for name in ("gw1", "gw2", "gw3"):
            await world.join(name)
        looks = 0

        def look() -> None:
            nonlocal looks
            looks += 1
            wall_s = world.clock.wall_s()
            for keeper in world.keepers.values():
                sealing = keeper.ring.sealing(wall_s)
                assert sealing is not None
                for other in world.keepers.values():
                    assert other.ring.opening(sealing.key_id, wall_s) is not None

        world.on_installed = look
        for _ in range(3):
            await world.rotations(world.keepers["gw2"]).rotate(10)
            await world.settle()
        assert looks == 3 * 3 * 3  # rotations × steps × members

    play(story)


def test_rotation_waits_for_the_laggard_and_names_it() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1")
        lag = await world.join("gw2", watching=False)
        former = one.ring.tickets.keys[0].key_id
        with pytest.raises(ClusterError, match=r"announced but not activated.* gw2 to install"):
            await world.rotations(one).rotate(5)
        wall_s = world.clock.wall_s()
        sealing = one.ring.sealing(wall_s)
        assert sealing is not None
        assert sealing.key_id == former  # the former goes on
        announced = one.ring.tickets.announced
        assert announced is not None
        lag.start(world.spawn)
        done = await world.rotations(one).rotate(5)
        assert done.key_id == announced.key_id  # taken up where it stopped

    play(story)


def test_a_member_whose_lease_lapsed_does_not_count() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1")
        await world.join("gw2", watching=False)
        await world.store.commit(Txn((), (Delete(KEYS.member("gw2")),)))
        assert (await world.rotations(one).rotate(5)).waiting_for == ()

    play(story)


def comes_back(world: World, name: str, before: str) -> Callable[[str], None]:
    """Once a line that begins with `before` was told, `name` registers just before each write."""

    def listen(line: str) -> None:
        if line.startswith(before):
            world.store.rival = registration(name)

    return listen


def test_who_comes_back_between_the_last_look_and_the_switch_is_waited_for() -> None:
    """It had left with an older ring, and goes on with that until its watch has told it."""

    async def story(world: World) -> None:
        one = await world.join("gw1")
        two = await world.join("gw2", watching=False)
        former = one.ring.tickets.keys[0].key_id
        await world.store.commit(Txn((), (Delete(KEYS.member("gw2")),)))
        with pytest.raises(ClusterError, match=r"announced but not activated.* gw2 to install"):
            await world.rotations(one).rotate(5, comes_back(world, "gw2", "announced"))
        assert one.ring.tickets.current is not None
        assert one.ring.tickets.current.key_id == former
        world.store.rival = None
        two.start(world.spawn)
        assert (await world.rotations(one).rotate(5)).waiting_for == ()

    play(story)


def test_who_comes_back_before_the_former_keys_get_their_end_is_waited_for() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1")
        await world.join("gw2", watching=False)
        ends_s = one.ring.tickets.keys[0].opens_until_wall_s
        await world.store.commit(Txn((), (Delete(KEYS.member("gw2")),)))
        done = await world.rotations(one).rotate(5, comes_back(world, "gw2", "activated"))
        assert done.waiting_for == ("gw2",)
        assert one.ring.tickets.keys[0].opens_until_wall_s == ends_s

    play(story)


def test_who_comes_back_is_not_waited_for_by_force() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1")
        await world.join("gw2", watching=False)
        await world.store.commit(Txn((), (Delete(KEYS.member("gw2")),)))
        lines: list[str] = []
        back = comes_back(world, "gw2", "announced")

        def listen(line: str) -> None:
            lines.append(line)
            back(line)

        done = await world.rotations(one).rotate(30, listen, force=True)
        assert one.ring.tickets.current is not None
        assert one.ring.tickets.current.key_id == done.key_id
        assert "forced: not waiting for gw2" in lines

    play(story)


def test_a_roster_that_never_rests_ends_a_rotation_in_time() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1")
        await world.join("gw2")
        began_s = world.clock.boot_s()
        with pytest.raises(ClusterError, match="waited 5 s for who has come just now"):
            await world.rotations(one).rotate(5, comes_back(world, "gw2", "announced"))
        assert world.clock.boot_s() - began_s == pytest.approx(5, abs=0.5)

    play(story)


def test_a_member_that_lives_without_the_store_counts_until_it_is_back() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1")
        rotations = world.rotations(one)
        rotations.apart = lambda: ("gw1", "gw2")
        with pytest.raises(ClusterError, match="waited 1 s for gw2"):
            await rotations.rotate(1.0)
        assert one.ring.tickets.announced is not None
        await world.join("gw2")
        await world.settle()
        rotation = await rotations.rotate(1.0)
        assert rotation.waiting_for == ()

    play(story)


def test_a_member_that_reports_nothing_counts_all_the_same() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1")
        await world.register("stranger")
        with pytest.raises(ClusterError, match="stranger"):
            await world.rotations(one).rotate(1)

    play(story)


def test_without_any_registered_member_nothing_is_activated() -> None:
    async def story(world: World) -> None:
        one = world.keeper("gw1")
        await one.load_or_create()
        with pytest.raises(ClusterError, match="any member"):
            await world.rotations(one).rotate(1)
        assert one.ring.tickets.announced is not None

    play(story)


def test_a_laggard_after_the_activation_keeps_the_former_key_open_for_its_own_seals() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1")
        two = await world.join("gw2", watching=False)
        former = one.ring.tickets.keys[0]

        looks: list[asyncio.Future[bool]] = []

        def install_the_announcement(line: str) -> None:
            if line.startswith("announced"):
                looks.append(asyncio.ensure_future(two.refresh()))

        done = await world.rotations(one).rotate(5, install_the_announcement)
        assert await looks[0]
        assert done.waiting_for == ("gw2",)
        late_seal_s = former.seals_until_wall_s - 1
        assert two.ring.sealing(late_seal_s) is not None
        opened = one.ring.opening(former.key_id, late_seal_s + POLICY.ticket_lifetime_s)
        assert opened is not None

    play(story)


def test_two_rotations_at_once_make_one_key() -> None:
    async def story(world: World) -> None:
        one, two = await world.join("gw1"), await world.join("gw2")
        results = await asyncio.gather(
            world.rotations(one).rotate(10), world.rotations(two).rotate(10), return_exceptions=True
        )
        await world.settle()
        assert not [result for result in results if not hasattr(result, "key_id")]
        assert one.ring == two.ring
        assert len(one.ring.tickets.keys) == 2
        states = [key.state for key in one.ring.tickets.keys]
        assert states == [KeyState.OPENING, KeyState.SEALING]

    play(story)


@pytest.mark.parametrize("fault", [Fault.UNKNOWN_DONE, Fault.UNKNOWN_LOST])
def test_a_rotation_with_unknown_outcomes_is_read_back(fault: Fault) -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1")
        world.store.faults.extend([fault] * 1)
        done = await world.rotations(one).rotate(10)
        sealing = one.ring.sealing(world.clock.wall_s())
        assert sealing is not None
        assert sealing.key_id == done.key_id
        assert len(one.ring.tickets.keys) == 2

    play(story)


def test_a_store_lost_between_announcement_and_activation_is_said() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1")

        def lose(line: str) -> None:
            world.store.down |= line.startswith("announced")

        with pytest.raises(ClusterError, match=r"announced but not activated.*store"):
            await world.rotations(one).rotate(2, lose)
        world.store.down = False
        assert (await world.rotations(one).rotate(2)).waiting_for == ()

    play(story)


def test_a_store_found_behind_between_announcement_and_activation_is_waited_for() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1")
        lines: list[str] = []

        def go_back(line: str) -> None:
            lines.append(line)
            world.store.behind = line.startswith("announced")  # until the next line is said

        assert (await world.rotations(one).rotate(2, go_back)).waiting_for == ()
        assert any("the store to answer" in line for line in lines)

    play(story)


@pytest.mark.parametrize("value", [b"", b"\x01" * 80, b"\x02" + bytes(100)])
def test_a_ring_that_cannot_be_read_leaves_the_installed_one_and_is_reported(value: bytes) -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1")
        ring = one.ring
        await world.settle()
        await world.store.commit(Txn((), (Put(KEYS.ring, value),)))
        await world.settle()
        assert one.ring is ring
        assert len(world.troubles) == 1
        assert not await one.refresh()
        assert one.ring is ring

    play(story)


def test_a_key_beside_the_ring_is_not_the_ring() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1")
        before = one.revision
        await world.store.commit(Txn((), (Put(KEYS.ring + b"-old", b"x"),)))
        await world.settle()
        assert one.revision == before
        assert world.troubles == []

    play(story)


def test_a_watch_that_missed_its_history_reads_the_ring_again() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1")
        two = await world.join("gw2", watching=False)
        await world.settle()
        with pytest.raises(ClusterError):
            await world.rotations(one).rotate(0.5)
        entry = await world.store.get(KEYS.ring)
        assert entry is not None
        await world.store.compact(entry.mod_revision)
        two.start(world.spawn)
        await world.settle()
        assert two.revision == one.revision

    play(story)


def test_a_look_at_a_store_that_hangs_is_short() -> None:
    """A ticket under an unknown key waits for it, and is refused at once all the same."""

    async def story(world: World) -> None:
        one = await world.join("gw1", watching=False)
        world.store.read_gate = asyncio.Event()
        began_s = world.clock.boot_s()
        assert not await one.refresh()
        assert world.clock.boot_s() - began_s == pytest.approx(REFRESH_TIMEOUT_S)
        assert "did not show" in world.troubles[-1]

    play(story)


def test_an_unknown_key_id_costs_one_look_in_the_interval_however_often_it_comes() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1", watching=False)
        reads = world.store.reads
        await asyncio.gather(*(one.refresh() for _ in range(50)))
        assert world.store.reads == reads + 1
        assert not await one.refresh()
        assert world.store.reads == reads + 1
        await asyncio.sleep(REFRESH_INTERVAL_S)
        await one.refresh()
        assert world.store.reads == reads + 2

    play(story)


def test_whoever_comes_while_a_look_is_under_way_waits_for_it() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1")
        two = await world.join("gw2", watching=False)
        with pytest.raises(ClusterError):
            await world.rotations(one).rotate(0.5)
        world.store.read_gate = asyncio.Event()
        looks = asyncio.gather(*(two.refresh() for _ in range(3)))
        await world.settle()
        world.store.read_gate.set()
        assert await looks == [True, True, True]

    play(story)


def test_a_look_finds_the_newer_ring_and_says_so() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1")
        two = await world.join("gw2", watching=False)
        with pytest.raises(ClusterError):
            await world.rotations(one).rotate(0.5)
        assert await two.refresh()
        assert two.revision == one.revision
        world.store.down = True
        await asyncio.sleep(REFRESH_INTERVAL_S)
        assert not await two.refresh()
        assert "down" in world.troubles[-1]

    play(story)


def test_a_change_that_always_comes_second_gives_up() -> None:
    async def story(world: World) -> None:
        one = await world.join("gw1", watching=False)
        entry = await world.store.get(KEYS.ring)
        assert entry is not None

        world.store.rival = Txn((), (Put(KEYS.ring, entry.value),))
        world.store.sent.clear()
        with pytest.raises(Conflict, match="in a row"):
            await world.rotations(one).rotate(1)
        assert len(world.store.sent) == CONFLICTS_MAX

    play(story)
