"""Filters of spent tickets: no false negative among members that talk, merged in any order,
forgotten in time, bounded."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from cluster.layout import Keys
from cluster.link import Frame, Spent, SpentFilter, SpentSince
from cluster.spent import (
    CONFIRMED_MAX,
    LIFETIME_S_MAX,
    RETRY_S,
    SKEW_S,
    TELL_MAX,
    WINDOW_S,
    WINDOWS_MAX,
    SpentTickets,
)
from cluster.store import Put, Txn
from tests.sim.loop import run
from tests.unit.cluster.fakes import T0, FaultyStore, LoopClock, SeededRng

KEYS = Keys("sample")
SOON_S = T0 + 1000.0


class Wire:
    """A member's way to the others, that a test can cut; frames cross their encoding."""

    def __init__(self, world: "World", name: str) -> None:
        self.world, self.name = world, name
        self.cut = False
        self.sent: list[Frame] = []

    def send(self, member: str, frame: Frame) -> bool:
        if self.cut:
            return False
        self.sent.append(frame)
        arrived = msgspec.msgpack.decode(msgspec.msgpack.encode(frame), type=Frame)
        to = self.world.members[member]
        if isinstance(arrived, Spent):
            to.receive(self.name, arrived)
        elif isinstance(arrived, SpentFilter):
            to.receive_filter(self.name, arrived)
        elif isinstance(arrived, SpentSince):
            to.receive_since(self.name, arrived)
        return True

    def on_frame(self, handler: Callable[[str, Frame], None]) -> None:
        raise AssertionError("frames are handed over in `send`")

    def set_peers(self, addresses: dict[str, str]) -> None:
        raise AssertionError("nobody is dialled")

    async def close(self) -> None:
        """Nothing to end."""


class World:
    """Members and their wires."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.store = FaultyStore(self.clock)
        self.rng = SeededRng(1)
        self.members: dict[str, SpentTickets] = {}
        self.wires: dict[str, Wire] = {}
        self.tasks: list[asyncio.Task[None]] = []

    def member(self, name: str) -> SpentTickets:
        wire = self.wires[name] = Wire(self, name)
        others = lambda: [other for other in self.members if other != name]  # noqa: E731
        made = SpentTickets(self.store, KEYS, self.clock, wire, others)
        self.members[name] = made
        self.tasks.append(asyncio.ensure_future(made.run()))
        return made

    def chain(self) -> bytes:
        return self.rng.bytes(16)


def play(story: Callable[[World], Awaitable[None]]) -> None:
    async def whole(_loop: object) -> None:
        world = World()
        await story(world)
        for task in world.tasks:
            task.cancel()

    run(whole)


def test_what_is_spent_here_is_known_there_at_once_by_chain_and_generation() -> None:
    async def story(world: World) -> None:
        one, two = world.member("gw1"), world.member("gw2")
        chain = world.chain()
        one.add(chain, 3, SOON_S)
        assert one.used(chain, 3, SOON_S)
        assert not two.used(chain, 3, SOON_S)
        await asyncio.sleep(0.1)
        assert two.used(chain, 3, SOON_S)
        assert not two.used(chain, 4, SOON_S)
        assert not two.used(world.chain(), 3, SOON_S)
        assert not two.used(chain, 3, SOON_S + WINDOW_S)

    play(story)


def test_a_member_that_comes_late_gets_every_window_and_keeps_its_own() -> None:
    async def story(world: World) -> None:
        one = world.member("gw1")
        chains = [world.chain() for _ in range(200)]
        for n, chain in enumerate(chains):
            one.add(chain, 1, SOON_S + n % 3 * WINDOW_S)
        await asyncio.sleep(1)
        two, own = world.member("gw2"), world.chain()
        two.add(own, 1, SOON_S)
        one.owe("gw2")
        await asyncio.sleep(1)
        assert all(two.used(c, 1, SOON_S + n % 3 * WINDOW_S) for n, c in enumerate(chains))
        assert two.used(own, 1, SOON_S)
        assert [type(frame) for frame in world.wires["gw1"].sent].count(SpentFilter) == 3

    play(story)


def test_what_could_not_be_told_is_told_by_whole_filters_later() -> None:
    async def story(world: World) -> None:
        one, two = world.member("gw1"), world.member("gw2")
        world.wires["gw1"].cut = True
        chain = world.chain()
        one.add(chain, 1, SOON_S)
        await asyncio.sleep(10)
        assert not two.used(chain, 1, SOON_S)
        world.wires["gw1"].cut = False
        await asyncio.sleep(2 * RETRY_S)
        assert two.used(chain, 1, SOON_S)

    play(story)


def test_the_order_of_merging_does_not_matter() -> None:
    async def story(world: World) -> None:
        one, two = world.member("gw1"), world.member("gw2")
        for wire in world.wires.values():
            wire.cut = True
        for spent in (one, two):
            for _ in range(50):
                spent.add(world.chain(), 1, SOON_S)
        for wire in world.wires.values():
            wire.cut = False
        one.owe("gw2")
        two.owe("gw1")
        await asyncio.sleep(2)
        last = [
            [f for f in world.wires[name].sent if isinstance(f, SpentFilter)][-1]
            for name in ("gw1", "gw2")
        ]
        one.owe("gw2")
        two.owe("gw1")
        await asyncio.sleep(2)
        after = [
            [f for f in world.wires[name].sent if isinstance(f, SpentFilter)][-1]
            for name in ("gw1", "gw2")
        ]
        assert after[0] == after[1]
        assert last[0] != last[1] or last == after

    play(story)


def test_a_window_is_forgotten_once_its_last_ticket_has_expired_everywhere() -> None:
    async def story(world: World) -> None:
        one = world.member("gw1")
        chain = world.chain()
        one.add(chain, 1, SOON_S)
        end_s = (SOON_S // WINDOW_S + 1) * WINDOW_S
        await asyncio.sleep(end_s + SKEW_S - world.clock.wall_s() - 1)
        one.forget()
        assert one.used(chain, 1, SOON_S)
        await asyncio.sleep(2)
        one.add(world.chain(), 1, world.clock.wall_s())
        assert not one.used(chain, 1, SOON_S)
        assert len(one.windows) == 1

    play(story)


def test_windows_are_bounded_whatever_a_member_says() -> None:
    async def story(world: World) -> None:
        one = world.member("gw1")
        now = int(T0 // WINDOW_S)
        for window in range(now - 50, now + 2 * WINDOWS_MAX):
            one.receive("gw2", Spent(1, window, (world.chain(),)))
        assert len(one.windows) <= WINDOWS_MAX
        assert min(one.windows) >= now - 1

    play(story)


def test_frames_of_another_form_or_shape_are_left_alone() -> None:
    async def story(world: World) -> None:
        one, two = world.member("gw1"), world.member("gw2")
        chain, window = world.chain(), int(SOON_S // WINDOW_S)
        one.add(chain, 1, SOON_S)
        one.owe("gw2")
        await asyncio.sleep(1)
        whole = next(f for f in world.wires["gw1"].sent if isinstance(f, SpentFilter))
        three = world.member("gw3")
        bad = (whole.octets[:7], whole.octets + b"x", b"\xff" * len(whole.octets))
        for octets in bad:
            three.receive_filter("gw1", SpentFilter(1, window, octets))
        three.receive_filter("gw1", SpentFilter(2, window, whole.octets))
        three.receive("gw1", Spent(2, window, (chain,)))
        assert three.windows == ()
        three.receive_filter("gw1", whole)
        assert three.used(chain, 1, SOON_S)
        assert two.used(chain, 1, SOON_S)

    play(story)


def test_a_filter_with_every_bit_set_is_a_full_one() -> None:
    async def story(world: World) -> None:
        one, _ = world.member("gw1"), world.member("gw2")
        window = int(SOON_S // WINDOW_S)
        one.add(world.chain(), 1, SOON_S)
        one.owe("gw2")
        await asyncio.sleep(1)
        whole = next(f for f in world.wires["gw1"].sent if isinstance(f, SpentFilter))
        head = 8  # how many bits an item sets
        full = whole.octets[:head] + b"\xff" * (len(whole.octets) - head)
        three, chain = world.member("gw3"), world.chain()
        three.receive_filter("gw1", SpentFilter(1, window, full))
        three.add(chain, 1, SOON_S)
        assert three.used(chain, 1, SOON_S)

    play(story)


def test_a_storm_is_told_in_frames_of_bounded_size() -> None:
    async def story(world: World) -> None:
        one, two = world.member("gw1"), world.member("gw2")
        chains = [world.chain() for _ in range(TELL_MAX + 10)]
        for chain in chains:
            one.add(chain, 1, SOON_S)
        await asyncio.sleep(1)
        sizes = [len(f.tickets) for f in world.wires["gw1"].sent if isinstance(f, Spent)]
        assert sizes == [TELL_MAX, 10]
        assert all(two.used(chain, 1, SOON_S) for chain in chains)

    play(story)


def test_a_hit_is_confirmed_by_the_chain_and_only_a_confirmed_one_is_sure() -> None:
    async def story(world: World) -> None:
        one = world.member("gw1")
        chain = world.chain()
        for _ in range(2):
            await world.store.commit(Txn((), (Put(KEYS.session(chain), b"s"),)))
        assert not await one.confirm(chain, 2)
        assert not one.surely_used(chain, 2)
        assert await one.confirm(chain, 1)
        assert one.surely_used(chain, 1)
        assert await one.confirm(world.chain(), 1)  # no chain: ended, or expired
        world.store.down = True
        assert not await one.confirm(world.chain(), 1)  # nobody knows: served
        world.store.down = False
        for _ in range(CONFIRMED_MAX):
            await one.confirm(world.chain(), 1)
        assert not one.surely_used(chain, 1)

    play(story)


def test_an_ended_session_s_tickets_are_spent_whenever_they_expire() -> None:
    async def story(world: World) -> None:
        one = world.member("gw1")
        chain = world.chain()
        one.add_until(chain, 2, 3600.0)
        for left_s in (0.0, 900.0, 3600.0):
            assert one.used(chain, 2, world.clock.wall_s() + left_s)
        assert not one.used(chain, 2, world.clock.wall_s() + 2 * 3600.0)

    play(story)


def test_a_generation_may_be_over_by_the_use_of_a_ticket_that_expires_at_another_time() -> None:
    async def story(world: World) -> None:
        one = world.member("gw1")
        chain = world.chain()
        assert not one.may_be_over(chain, 3, SOON_S)
        one.add(chain, 3, SOON_S)
        assert not one.used(chain, 3, SOON_S + WINDOW_S)
        assert one.may_be_over(chain, 3, SOON_S)
        assert not one.may_be_over(chain, 4, SOON_S)
        one.add_until(chain, 4, 3600.0)
        assert one.may_be_over(chain, 4, SOON_S)
        assert not one.may_be_over(world.chain(), 3, SOON_S)

    play(story)


@pytest.mark.parametrize("later_s", range(0, WINDOW_S, 100))
def test_the_use_of_any_valid_ticket_is_remembered_until_it_has_expired(later_s: int) -> None:
    """Without the store nothing else tells that it was used once its SA has ended."""

    async def story(world: World) -> None:
        await asyncio.sleep(later_s)
        one, used, rekeyed = world.member("gw1"), world.chain(), world.chain()
        issued_wall_s = world.clock.wall_s()
        expires_wall_s = issued_wall_s + LIFETIME_S_MAX
        one.add(used, 1, expires_wall_s + SKEW_S)  # its issuer's clock was ahead
        one.add_until(rekeyed, 1, LIFETIME_S_MAX)
        for _ in range(4):
            for chain in (used, rekeyed):
                assert one.may_be_over(chain, 1, issued_wall_s)
            await asyncio.sleep(LIFETIME_S_MAX / 3 - 1)
            one.forget()

    play(story)


def test_of_a_ticket_from_before_nothing_is_known_until_somebody_tells_all_that_it_heard() -> None:
    async def story(world: World) -> None:
        one = world.member("gw1")
        one.add(world.chain(), 1, world.clock.wall_s() + 1000.0)
        began_wall_s = world.clock.wall_s()
        await asyncio.sleep(10)
        two, chain, issued_wall_s = world.member("gw2"), world.chain(), began_wall_s + 5
        assert two.may_be_over(chain, 1, issued_wall_s)
        assert not two.may_be_over(chain, 1, world.clock.wall_s())
        world.wires["gw1"].cut = True
        one.owe("gw2")
        await asyncio.sleep(1)
        assert two.may_be_over(chain, 1, issued_wall_s)
        world.wires["gw1"].cut = False
        await asyncio.sleep(RETRY_S + 1)
        assert not two.may_be_over(chain, 1, issued_wall_s)
        assert two.may_be_over(chain, 1, began_wall_s - 1)
        three = world.member("gw3")  # by one that was told itself
        assert three.may_be_over(chain, 1, issued_wall_s)
        two.owe("gw3")
        await asyncio.sleep(1)
        assert not three.may_be_over(chain, 1, issued_wall_s)
        assert isinstance(world.wires["gw2"].sent[-1], SpentSince)
        assert isinstance(world.wires["gw2"].sent[-2], SpentFilter)

    play(story)
