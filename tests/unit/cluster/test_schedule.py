"""Rotation by schedule on virtual time: days of it, with members that come, go and are cut off."""

import asyncio
import random

import msgspec
import pytest

from cluster.keyring import KEYS_MAX, KeyRing, RingPolicy, new_ring
from cluster.layout import Keys, MemberRecord
from cluster.ring_keeper import REFRESH_INTERVAL_S, RingHooks, RingKeeper
from cluster.rotation import Rotations
from cluster.schedule import (
    DUE_SHARE,
    JITTER_SHARE,
    TAKE_UP_S,
    WARN_SHARE,
    Schedule,
    ScheduleHooks,
    check_policy,
    due_wall_s,
    seals_for_s,
)
from cluster.store import Delete, Put, Txn
from cluster.store_memory import MemoryStore
from cluster.vault import Kek, Keks
from proto.ike import ticket
from proto.secret import Secret
from tests.sim.loop import SimLoop, run
from tests.sim.seams import SeededRng, SimClock
from tests.sim.store import FaultyStore
from tests.unit.proto.test_ticket import BODY

KEYS = Keys("sample")
KEK = Kek(Secret(bytes(range(32))))
HOUR_S = 3600.0
POLICY = RingPolicy(
    ticket_lifetime_s=HOUR_S, sealing_period_s=4 * HOUR_S, opening_period_s=1.5 * HOUR_S
)
REALM = b"sample"


class Member:
    """A keeper and a schedule with a way to the store and clocks of their own."""

    def __init__(self, world: "World", name: str) -> None:
        self.name = name
        self.world = world
        rng = SeededRng(world.seed, name)
        choices = rng.random
        self.clock = SimClock(
            world.loop,
            boot_offset_s=choices.uniform(0, 1e5),
            wall_offset_s=choices.uniform(-1, 1),
            drift=choices.uniform(-5e-6, 5e-6),  # disciplined: days are long
        )
        self.store = FaultyStore(world.store, SeededRng(world.seed, f"way of {name}"), 0.004)
        self.rng = rng
        self.rotated = 0
        self.troubles: list[str] = []
        self.tasks: list[asyncio.Task[object]] = []
        self.keeper = RingKeeper(
            store=self.store, keys=KEYS, keks=Keks((KEK,)), clock=self.clock, rng=rng,
            policy=POLICY, hooks=RingHooks(on_installed=lambda _revision: self._report()),
        )  # fmt: skip
        rotations = Rotations(
            keeper=self.keeper, store=self.store, keys=KEYS, clock=self.clock, rng=rng,
            policy=POLICY, live_revisions=lambda: dict(world.reported),
        )  # fmt: skip
        self.rotations = rotations
        self.schedule = Schedule(
            keeper=self.keeper, rotations=rotations, clock=self.clock, rng=rng, policy=POLICY,
            hooks=ScheduleHooks(self._progress, self.troubles.append),
        )  # fmt: skip

    def _report(self) -> None:
        self.world.reported[self.name] = self.keeper.revision
        self.world.look()

    def _progress(self, line: str) -> None:
        self.rotated += line.startswith("activated")

    def _spawn(self, coro: object, _name: str) -> asyncio.Task[object]:
        self.tasks.append(asyncio.ensure_future(coro))  # type: ignore[call-overload]
        return self.tasks[-1]

    async def join(self) -> None:
        record = MemberRecord(self.name, "00" * 16, "00" * 16, "host", "", (), 0, 0.0, "0.1")
        put = Put(KEYS.member(self.name), msgspec.json.encode(record))
        await self.world.store.commit(Txn((), (put,)))
        await self.keeper.load_or_create()
        self.world.members[self.name] = self
        self.keeper.start(self._spawn)
        self._spawn(self.schedule.run(), "schedule")

    async def leave(self) -> None:
        """As a killed process: its lease ends later."""
        del self.world.members[self.name]
        self.store.kill()
        for task in self.tasks:
            task.cancel()
        await asyncio.sleep(5)
        await self.world.store.commit(Txn((), (Delete(KEYS.member(self.name)),)))
        self.world.reported.pop(self.name, None)


class World:
    """Members, tickets that were issued, and what must hold of them."""

    def __init__(self, loop: SimLoop, seed: int) -> None:
        self.loop = loop
        self.seed = seed
        self.random = random.Random(seed)
        self.store = MemoryStore(SimClock(loop))
        self.members: dict[str, Member] = {}
        self.reported: dict[str, int] = {}
        self.sealed_with: list[bytes] = []
        """Every key that sealed, in order."""
        self.issued: list[tuple[bytes, float]] = []
        """(ticket, when it expires)."""
        self.refused: list[str] = []
        self.opened = 0
        self.none_issued = 0
        self.early: list[str] = []
        """Members that would seal with a key that a reachable member hasn't got."""

    async def start(self, count: int) -> None:
        for number in range(1, count + 1):
            await Member(self, f"gw{number}").join()

    def look(self) -> None:
        """After each installation: nobody seals with what a live member can't open."""
        reachable = [member for member in self.members.values() if member.store.reachable]
        for member in reachable:
            wall_s = member.clock.wall_s()
            key = member.keeper.ring.sealing(wall_s)
            if key is None:
                continue
            if key.key_id not in self.sealed_with:
                self.sealed_with.append(key.key_id)
            for other in reachable:
                if other.keeper.ring.opening(key.key_id, other.clock.wall_s()) is None:
                    self.early.append(f"{member.name} seals, {other.name} can't open")

    def issue(self) -> None:
        """A ticket sealed by anybody."""
        member = self.random.choice(list(self.members.values()))
        now_s = member.clock.wall_s()
        key = member.keeper.ring.sealing(now_s)
        if key is None:
            self.none_issued += 1
            return
        expires_s = now_s + POLICY.ticket_lifetime_s
        body = msgspec.structs.replace(
            BODY, issued_wall_s=now_s, expires_wall_s=expires_s, auth_deadline_wall_s=expires_s
        )
        self.issued.append((ticket.seal(body, key, REALM, member.rng), expires_s))

    async def present(self) -> None:
        """A ticket that is still valid, to anybody, who may look at the ring once."""
        valid = [pair for pair in self.issued if pair[1] > self.members_wall_s() + 2]
        self.issued = valid
        if not valid:
            return
        octets, _ = self.random.choice(valid)
        member = self.random.choice(list(self.members.values()))
        for look in (True, False):
            try:
                ticket.open_ticket(octets, member.keeper.ring, REALM, member.clock.wall_s(), 5.0)
            except ticket.TicketRejected as error:
                if look and error.reason is ticket.TicketReason.UNKNOWN_KEY:
                    await member.keeper.refresh()
                    continue
                self.refused.append(f"{member.name} at {member.clock.wall_s()}: {error}")
            else:
                self.opened += 1
            return

    def members_wall_s(self) -> float:
        return SimClock(self.loop).wall_s()


def play(story: object, seed: int = 1) -> World:
    worlds: list[World] = []

    async def main(loop: SimLoop) -> None:
        world = World(loop, seed)
        worlds.append(world)
        await story(world)  # type: ignore[operator]
        for member in world.members.values():
            for task in member.tasks:
                assert not task.done(), f"a task of {member.name} ended"

    run(main)
    return worlds[0]


async def traffic(world: World, for_s: float, step_s: float = 150.0) -> None:
    end_s = world.loop.time() + for_s
    while world.loop.time() < end_s:
        world.issue()
        await world.present()
        await asyncio.sleep(world.random.uniform(0.2, 2) * step_s)


@pytest.mark.parametrize("seed", range(3))
def test_days_of_rotations_with_members_coming_and_going_refuse_no_valid_ticket(seed: int) -> None:
    """Traps i.5 and i.6, and RFC 5723 6.2 and 9.5 (R59, R72)."""

    async def story(world: World) -> None:
        await world.start(3)
        for number in range(4, 16):
            await traffic(world, world.random.uniform(2, 6) * HOUR_S)
            await Member(world, f"gw{number}").join()
            await traffic(world, world.random.uniform(0, 2) * HOUR_S)
            await world.random.choice(list(world.members.values())).leave()

    world = play(story, seed)
    assert world.refused == []
    assert world.early == []
    assert world.none_issued == 0
    assert world.opened > 400
    assert len(world.sealed_with) > 12
    for member in world.members.values():
        assert len(member.keeper.ring.tickets.keys) <= 4  # what is past its end is gone


def test_each_rotation_has_one_winner() -> None:
    async def story(world: World) -> None:
        await world.start(5)
        began_s = world.loop.time()
        await asyncio.sleep(24 * HOUR_S)
        rotated = sum(member.rotated for member in world.members.values())
        keys = len(world.sealed_with) - 1
        assert rotated == keys  # nobody rotated what another had rotated just before
        assert sum(member.rotated > 0 for member in world.members.values()) > 1
        period_s = (world.loop.time() - began_s) / keys
        window_s = POLICY.sealing_period_s
        assert (DUE_SHARE - JITTER_SHARE) * window_s <= period_s <= DUE_SHARE * window_s * 1.2

    play(story)


def test_what_another_has_just_announced_is_left_to_it() -> None:
    async def story(world: World) -> None:
        await world.start(2)
        one, two = world.members["gw1"], world.members["gw2"]
        announced = await one.rotations.announce(lambda _ring, _wall_s: True)
        assert announced is not None
        assert await two.rotations.announce(lambda _ring, _wall_s: False) is None
        taken = await two.rotations.announce(lambda _ring, _wall_s: True)
        assert taken is not None
        assert taken.ring.tickets.announced == announced.ring.tickets.announced

    play(story)


def test_a_rotation_left_half_way_is_taken_up_by_another() -> None:
    async def story(world: World) -> None:
        await world.start(3)
        one = world.members["gw1"]
        announced = await one.rotations.announce(lambda _ring, _wall_s: True)
        assert announced is not None
        key = announced.ring.tickets.announced
        assert key is not None
        await one.leave()
        await asyncio.sleep(3 * TAKE_UP_S)
        for member in world.members.values():
            sealing = member.keeper.ring.sealing(member.clock.wall_s())
            assert sealing is not None
            assert sealing.key_id == key.key_id
        assert sum(member.rotated for member in world.members.values()) == 1

    play(story)


def test_a_member_that_cannot_agree_keeps_the_old_key_to_its_end_and_says_so() -> None:
    async def story(world: World) -> None:
        await world.start(2)
        one, two = world.members["gw1"], world.members["gw2"]
        two.store.set_reachable(False)  # it lives, and never installs what is announced
        former = one.keeper.ring.tickets.keys[0]
        await asyncio.sleep((1 - WARN_SHARE / 2) * POLICY.sealing_period_s)
        wall_s = one.clock.wall_s()
        assert one.keeper.ring.sealing(wall_s) == former
        assert 0 < seals_for_s(one.keeper.ring, wall_s) < WARN_SHARE * POLICY.sealing_period_s
        assert any("did not succeed" in line and "gw2" in line for line in one.troubles)
        warnings = [line for line in one.troubles if "stops sealing in" in line]
        assert len(warnings) == 1
        await asyncio.sleep(WARN_SHARE * POLICY.sealing_period_s)
        assert one.keeper.ring.sealing(one.clock.wall_s()) is None
        assert [line for line in one.troubles if "no ticket is issued" in line]
        assert seals_for_s(one.keeper.ring, one.clock.wall_s()) == 0
        two.store.set_reachable(True)
        await asyncio.sleep(5 * TAKE_UP_S)
        assert seals_for_s(one.keeper.ring, one.clock.wall_s()) > 0
        world.issue()
        await world.present()
        assert (world.opened, world.refused) == (1, [])

    play(story)


def test_a_store_that_was_away_when_it_was_due_delays_it_only() -> None:
    async def story(world: World) -> None:
        await world.start(2)
        for member in world.members.values():
            member.store.set_reachable(False)
        await asyncio.sleep(0.7 * POLICY.sealing_period_s)
        assert len(world.sealed_with) == 1
        for member in world.members.values():
            member.store.set_reachable(True)
        await asyncio.sleep(3 * TAKE_UP_S + REFRESH_INTERVAL_S)
        assert len(world.sealed_with) == 2

    play(story)


def test_a_ring_without_a_sealing_key_is_due_at_once_and_an_announced_one_after_a_while() -> None:
    rng = SeededRng(1, "x")
    ring = new_ring(rng, 1000.0, POLICY)
    early, late = due_wall_s(ring, POLICY, 1.0), due_wall_s(ring, POLICY, 0.0)
    assert 1000.0 + 0.4 * POLICY.sealing_period_s == early
    assert 1000.0 + 0.5 * POLICY.sealing_period_s == late
    shorter = msgspec.structs.replace(POLICY, sealing_period_s=HOUR_S)
    assert due_wall_s(ring, shorter, 0.0) == 1000.0 + HOUR_S / 2  # a shorter policy counts at once
    empty = msgspec.structs.replace(ring, tickets=msgspec.structs.replace(ring.tickets, keys=()))
    assert isinstance(empty, KeyRing)
    assert due_wall_s(empty, POLICY, 0.5) == 0.0


def test_windows_that_would_fill_the_ring_are_refused() -> None:
    check_policy(POLICY)
    check_policy(RingPolicy())
    with pytest.raises(ValueError, match=f"more than the {KEYS_MAX} keys"):
        check_policy(RingPolicy(sealing_period_s=300.0))
