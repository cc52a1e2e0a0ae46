"""Revocation rules: what each covers, when others learn of it, and what is readable at rest."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from cluster.errors import Conflict, Unavailable, Unknown
from cluster.layout import Keys
from cluster.revocation import ATTEMPTS_MAX, RULES_MAX, SKEW_S, Revocations, Session
from cluster.store import Changes, Delete, Put, Scan, Txn
from proto.secret import Secret
from tests.sim.loop import run
from tests.unit.cluster.fakes import T0, Fault, FaultyStore, LoopClock, SeededRng

KEYS = Keys("sample")
HOUR_S = 3600.0
CHAIN, OTHER = b"c" * 16, b"d" * 16
ALICE, BOB = "rfc822:alice@example.com", "rfc822:bob@example.com"


class SlowStore(FaultyStore):
    """What a scan has found arrives when the test says so."""

    held: asyncio.Event | None = None
    cut: asyncio.Event | None = None
    """The watch breaks then."""

    async def scan(self, prefix: bytes) -> Scan:
        held, found = self.held, await super().scan(prefix)
        if held is not None:
            await held.wait()
        return found

    async def watch(self, prefix: bytes, from_revision: int) -> AsyncIterator[Changes]:
        if self.cut is not None:
            cut, self.cut = self.cut, None
            await cut.wait()
            raise Unavailable("cut by the test")
        async for changes in super().watch(prefix, from_revision):
            yield changes


class World:
    """One store, and members that know its rules."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.store = SlowStore(self.clock)
        self.tasks: list[asyncio.Task[None]] = []

    def member(
        self, name: str, *, following: bool = True, key: bytes = bytes(range(32))
    ) -> Revocations:
        rules = Revocations(self.store, KEYS, self.clock, SeededRng(1, name), Secret(key))
        if following:
            self.tasks.append(asyncio.ensure_future(rules.run()))
        return rules

    def ticket(
        self, chain: bytes = CHAIN, identity: str = ALICE, began_s: float = T0, issued_s: float = T0
    ) -> Session:
        return Session(chain, identity, began_s, issued_s)


def play(story: Callable[[World], Awaitable[None]]) -> None:
    async def whole(_loop: object) -> None:
        world = World()
        await asyncio.sleep(100)
        await story(world)
        for task in world.tasks:
            task.cancel()

    run(whole)


def test_a_rule_about_a_session_reaches_every_member_within_a_second() -> None:
    async def story(world: World) -> None:
        one, two = world.member("gw1"), world.member("gw2")
        told: list[bool] = []
        two.on_rules.append(lambda: told.append(two.covers(world.ticket())))
        await asyncio.sleep(1)
        await one.revoke_session(CHAIN, HOUR_S)
        assert one.covers(world.ticket())
        await asyncio.sleep(1)
        assert two.covers(world.ticket())
        assert told == [True]
        assert two.covers(Session(CHAIN, BOB, T0 + 10**6))
        assert not two.covers(world.ticket(OTHER))

    play(story)


def test_a_rule_about_an_identity_spares_whoever_proves_it_anew() -> None:
    async def story(world: World) -> None:
        rules = world.member("gw1")
        now_s = world.clock.wall_s()
        await rules.revoke_identity(ALICE, HOUR_S)
        assert rules.covers(world.ticket(began_s=now_s - 1, issued_s=now_s + 10**6))
        assert rules.covers(world.ticket(began_s=now_s + SKEW_S))
        assert not rules.covers(world.ticket(began_s=now_s + SKEW_S + 1))
        assert not rules.covers(Session(CHAIN, ALICE, now_s + 1, skew_s=0.0))
        assert not rules.covers(world.ticket(identity=BOB, began_s=now_s - 1))

    play(story)


def test_a_rule_by_issue_time_is_about_tickets_alone() -> None:
    async def story(world: World) -> None:
        rules = world.member("gw1")
        before_s = world.clock.wall_s() - 10
        await rules.revoke_issued_before(before_s, HOUR_S)
        assert rules.covers(world.ticket(issued_s=before_s - 0.1))
        assert not rules.covers(world.ticket(issued_s=before_s))
        assert not rules.covers(Session(CHAIN, ALICE, T0))
        with pytest.raises(Conflict, match="a time that has passed"):
            await rules.revoke_issued_before(world.clock.wall_s() + 60, HOUR_S)

    play(story)


@pytest.mark.parametrize("before_s", ["nan", "inf", "-inf"])
def test_what_is_no_time_makes_no_rule_that_nobody_can_read(before_s: str) -> None:
    async def story(world: World) -> None:
        rules = world.member("gw1")
        with pytest.raises(Conflict, match=f"tickets issued before {before_s}: give a time"):
            await rules.revoke_issued_before(float(before_s), HOUR_S)
        assert (await world.store.scan(KEYS.revocations)).entries == ()
        assert not rules.covers(world.ticket())

    play(story)


def test_nothing_at_rest_names_a_person() -> None:
    async def story(world: World) -> None:
        one, two = world.member("gw1"), world.member("gw2")
        await one.revoke_identity(ALICE, HOUR_S)
        entries = (await world.store.scan(b"")).entries
        stored = b"".join(entry.key + entry.value for entry in entries)
        assert KEYS.revocations in stored
        assert b"alice" not in stored
        assert one.identity_hash(ALICE) == two.identity_hash(ALICE)
        stranger = world.member("gw3", key=bytes(32))
        assert stranger.identity_hash(ALICE) != one.identity_hash(ALICE)

    play(story)


def test_the_watermark_moves_with_each_rule_and_obeying_reads_it() -> None:
    async def story(world: World) -> None:
        one, two = world.member("gw1"), world.member("gw2", following=False)
        marks = []
        for chain in (CHAIN, OTHER):
            await one.revoke_session(chain, HOUR_S)
            mark = await world.store.get(KEYS.watermark)
            assert mark is not None
            marks.append(mark.mod_revision)
            rule = await world.store.get(KEYS.revocation(mark.value.decode()))
            assert rule is not None
            assert rule.mod_revision == mark.mod_revision  # one transaction
        assert marks[0] < marks[1]
        assert not two.covers(world.ticket())
        await two.obey(None)
        assert two.covers(world.ticket())
        assert two.covers(world.ticket(OTHER))

    play(story)


def test_a_rule_goes_with_the_last_ticket_it_could_concern() -> None:
    async def story(world: World) -> None:
        rules = world.member("gw1")
        await rules.revoke_session(CHAIN, HOUR_S)
        (found,) = (await world.store.scan(KEYS.revocations)).entries
        assert found.lease_id
        await asyncio.sleep(HOUR_S)
        assert rules.covers(world.ticket())
        await asyncio.sleep(2 * HOUR_S)
        assert (await world.store.scan(KEYS.revocations)).entries == ()
        await asyncio.sleep(1)
        assert not rules.covers(world.ticket())
        assert not rules.active

    play(story)


@pytest.mark.parametrize("fault", [Fault.UNKNOWN_DONE, Fault.UNKNOWN_LOST, Fault.LEASE_LOST])
def test_an_unknown_outcome_ends_in_exactly_one_rule(fault: Fault) -> None:
    async def story(world: World) -> None:
        rules = world.member("gw1")
        world.store.faults.append(fault)
        rule_id = await rules.revoke_session(CHAIN, HOUR_S)
        (found,) = (await world.store.scan(KEYS.revocations)).entries
        assert found.key == KEYS.revocation(rule_id)
        assert [known for known, _ in rules.rules()] == [rule_id]

    play(story)


@pytest.mark.parametrize("fault", [Fault.UNKNOWN_DONE, Fault.UNKNOWN_LATE])
def test_a_rule_whose_answer_was_lost_holds_nobody_up_twice(fault: Fault) -> None:
    """Who finds the watermark moved commits nothing until it has read all rules once more."""

    async def story(world: World) -> None:
        rules = world.member("gw1")
        world.store.faults.append(fault)
        rule_id = await rules.revoke_session(CHAIN, HOUR_S)
        await world.store.deliver_late()
        for key in (KEYS.revocation(rule_id), KEYS.watermark):
            entry = await world.store.get(key)
            assert entry is not None
            assert entry.version == 1

    play(story)


def test_an_operator_is_told_when_nobody_knows() -> None:
    async def story(world: World) -> None:
        rules = world.member("gw1")
        world.store.faults.extend([Fault.UNKNOWN_LOST] * ATTEMPTS_MAX)
        with pytest.raises(Unknown, match="as the test says"):
            await rules.revoke_session(CHAIN, HOUR_S)

    play(story)


def test_a_store_that_goes_away_after_an_unknown_outcome_leaves_it_unknown() -> None:
    async def story(world: World) -> None:
        rules = world.member("gw1", following=False)
        world.store.down = True
        with pytest.raises(Unavailable, match="the store is down"):
            await rules.revoke_session(CHAIN, HOUR_S)
        world.store.down = False
        world.store.faults.append(Fault.UNKNOWN_DONE)
        world.store.down_next = True
        with pytest.raises(Unknown, match="the store is down"):
            await rules.revoke_session(CHAIN, HOUR_S)

    play(story)


def test_a_rule_that_stands_is_made_though_it_can_t_be_read_back() -> None:
    async def story(world: World) -> None:
        rules = world.member("gw1")
        await asyncio.sleep(1)
        world.store.down_next = True
        rule_id = await rules.revoke_session(CHAIN, HOUR_S)
        world.store.down = False
        assert (await world.store.get(KEYS.revocation(rule_id))) is not None
        await asyncio.sleep(1)
        assert rules.covers(world.ticket())

    play(story)


@pytest.mark.parametrize(
    "value",
    [b"\xff", b"{}", b'{"kind":"colour","about":"","before_wall_s":0,'
     b'"created_wall_s":0,"expires_wall_s":0}',
     b'{"kind":"session","about":"xyz","before_wall_s":0,"created_wall_s":0,"expires_wall_s":0}'],
)  # fmt: skip
def test_a_rule_of_another_release_refuses_every_ticket_and_ends_no_sa(value: bytes) -> None:
    async def story(world: World) -> None:
        rules = world.member("gw1")
        key = KEYS.revocation("00")
        await world.store.commit(Txn((), (Put(key, value),)))
        await asyncio.sleep(1)
        assert rules.covers(world.ticket())
        assert not rules.covers(Session(CHAIN, ALICE, T0))
        await world.store.commit(Txn((), (Delete(key),)))
        await asyncio.sleep(1)
        assert not rules.covers(world.ticket())

    play(story)


NEWER = Txn((), (Put(KEYS.revocation("00"), b"of a later release"),))
GONE = Txn((), (Delete(KEYS.revocation("00")),))


def test_a_rule_that_ended_while_its_scan_was_under_way_stays_ended() -> None:
    async def story(world: World) -> None:
        rules = world.member("gw1")
        await world.store.commit(NEWER)
        await asyncio.sleep(1)
        world.store.held = asyncio.Event()
        obeying = asyncio.ensure_future(rules.obey(None))
        await asyncio.sleep(1)
        await world.store.commit(GONE)
        await asyncio.sleep(1)
        assert not rules.active
        world.store.held.set()
        await obeying
        assert not rules.active

    play(story)


@pytest.mark.parametrize("how", ["run", "refresh"])
def test_a_rule_that_ended_before_anybody_followed_it_has_ended(how: str) -> None:
    async def story(world: World) -> None:
        rules = world.member("gw1", following=False)
        await world.store.commit(NEWER)
        await rules.refresh()
        assert rules.covers(world.ticket())
        await world.store.commit(GONE)
        if how == "run":
            world.tasks.append(asyncio.ensure_future(rules.run()))
            await asyncio.sleep(1)
        else:
            await rules.refresh()
        assert not rules.active

    play(story)


def test_a_scan_that_was_long_on_its_way_takes_no_rule_back() -> None:
    async def story(world: World) -> None:
        held = world.store.held = asyncio.Event()
        rules = world.member("gw1")
        await asyncio.sleep(1)
        world.store.held = None
        await world.store.commit(NEWER)
        await rules.refresh()
        rules.on_rules.append(lambda: seen.append(rules.covers(world.ticket(OTHER))))
        seen: list[bool] = []
        held.set()
        await rules.revoke_session(CHAIN, HOUR_S)
        assert seen
        assert all(seen)
        await asyncio.sleep(1)
        assert rules.covers(world.ticket(OTHER))
        await world.store.commit(GONE)
        await asyncio.sleep(1)
        assert not rules.covers(world.ticket(OTHER))
        assert rules.covers(world.ticket())

    play(story)


def test_a_rule_that_only_a_look_has_seen_ends_though_the_watch_breaks() -> None:
    async def story(world: World) -> None:
        held, cut = asyncio.Event(), asyncio.Event()
        world.store.held, world.store.cut = held, cut
        rules = world.member("gw1")
        await asyncio.sleep(1)
        world.store.held = None
        await world.store.commit(NEWER)
        await rules.refresh()
        held.set()
        await asyncio.sleep(1)
        assert rules.active
        await world.store.commit(GONE)
        cut.set()
        await asyncio.sleep(5)
        assert not rules.active

    play(story)


def test_the_number_of_rules_is_bounded() -> None:
    async def story(world: World) -> None:
        rules = world.member("gw1", following=False)
        for n in range(RULES_MAX // 100 + 1):
            puts = tuple(Put(KEYS.revocation(f"{n}-{m}"), b"") for m in range(100))
            await world.store.commit(Txn((), puts))
        await rules.refresh()
        with pytest.raises(Conflict, match="in force"):
            await rules.revoke_session(CHAIN, HOUR_S)

    play(story)
