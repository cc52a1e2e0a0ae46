"""Heartbeats suspect, clear, and decide nothing."""

import asyncio

import pytest

from cluster.dispatch import Dispatch
from cluster.heartbeat import LINGERING_MAX, Heartbeats, HeartbeatSettings, Vitals
from cluster.link import Heartbeat, Hello, MirrorAck
from cluster.member import Membership
from cluster.standing import State
from tests.sim.link import SimLink
from tests.unit.cluster.members import Cluster, OwnStore, simulated


class Beater(Heartbeats):
    """Heartbeats that note whom they suspect, with what they stand on at hand."""

    def __init__(self, cluster: Cluster, name: str, life: int = 1) -> None:
        self.member: Membership
        self.way: OwnStore
        self.member, self.way = cluster.member(name, life)
        self.link: SimLink = cluster.net.join(name)
        self.told: list[str] = []
        self._spawn = cluster.spawn
        super().__init__(
            self.link,
            cluster.clock_of(name),
            self.member,
            vitals=lambda: Vitals(sessions=3, ring_revision=9, state=self.member.state),
            settings=HeartbeatSettings(),
        )
        self.dispatch = Dispatch(self.link)
        self.dispatch.on(Heartbeat, self.receive)
        self.dispatch.on(Hello, self.greeted)
        self.on_suspected.append(lambda who: self.told.append(f"suspect {who}"))
        self.on_unsuspected.append(lambda who: self.told.append(f"clear {who}"))

    async def begin(self) -> None:
        await self.member.join()
        self.beating = self._spawn(self.run(), "heartbeats")


async def pair(cluster: Cluster) -> tuple[Beater, Beater]:
    one, two = Beater(cluster, "gw1"), Beater(cluster, "gw2")
    await one.begin()
    await two.begin()
    return one, two


@simulated
async def test_what_a_member_says_of_itself_arrives(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    await asyncio.sleep(1)
    seen = one.seen("gw2")
    assert seen is not None
    assert seen.beat.incarnation == two.member.incarnation
    assert (seen.beat.sessions, seen.beat.ring_revision, seen.beat.state) == (3, 9, "normal")
    assert seen.beat.sequence > 1
    age_s = one.age_s("gw2")
    assert age_s is not None
    assert age_s <= 0.21
    assert one.seen("gw1") is None
    assert one.told == two.told == []


@simulated
async def test_silence_suspects_once_and_a_heartbeat_clears(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    await asyncio.sleep(1)
    cluster.net.cut("gw2", "gw1", both=False)
    await asyncio.sleep(0.9)
    assert one.told == []
    await asyncio.sleep(2)
    assert one.told == ["suspect gw2"]
    assert list(one.suspected) == ["gw2"]
    assert not one.hears("gw2", two.member.incarnation)
    assert "gw2" in one.member.members  # suspicion takes nothing away
    assert two.told == []  # it goes on hearing us
    cluster.net.heal()
    await asyncio.sleep(0.3)
    assert one.told == ["suspect gw2", "clear gw2"]
    assert not one.suspected
    assert one.version == 2


@simulated
async def test_a_newcomer_that_never_speaks_is_suspected_in_its_turn(cluster: Cluster) -> None:
    one = Beater(cluster, "gw1")
    await one.begin()
    await asyncio.sleep(5)
    silent, _ = cluster.member("gw2")
    await silent.join()
    await asyncio.sleep(0.9)
    assert one.told == []
    await asyncio.sleep(0.5)
    assert one.told == ["suspect gw2"]


@simulated
async def test_an_old_incarnations_heartbeats_do_not_count_for_the_new_one(
    cluster: Cluster,
) -> None:
    one, two = await pair(cluster)
    await asyncio.sleep(1)
    again, _ = cluster.member("gw2", life=2)
    await again.join()  # only the old process beats
    await asyncio.sleep(1.5)
    assert one.told == ["suspect gw2"]
    assert one.hears("gw2", two.member.incarnation)
    assert not one.hears("gw2", again.incarnation)


@simulated
async def test_who_slept_itself_suspects_nobody_for_it(cluster: Cluster) -> None:
    one, _ = await pair(cluster)
    await asyncio.sleep(1)
    cluster.net.cut("gw2", "gw1")  # what came in its sleep is lost
    await asyncio.sleep(0.5)
    cluster.clock_of("gw1").boot_offset_s += 30  # a suspend: the clock went on, nothing else
    await asyncio.sleep(0.9)
    assert one.told == []
    await asyncio.sleep(1)
    assert one.told == ["suspect gw2"]


@simulated
async def test_silence_counts_from_where_one_woke_also_before_the_next_beat(
    cluster: Cluster,
) -> None:
    one, _ = await pair(cluster)
    await asyncio.sleep(1)
    assert one.heard("gw2")
    cluster.net.cut("gw2", "gw1")
    cluster.clock_of("gw1").boot_offset_s += 30
    assert one.silent_s("gw2") == 0
    assert not one.heard("gw2")
    await asyncio.sleep(1.5)
    assert one.silent_s("gw2") == pytest.approx(1.5)
    assert not one.heard("gw2")


@simulated
async def test_a_member_that_left_the_store_but_lives_is_still_heard(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    await asyncio.sleep(1)
    two.way.away = True
    await asyncio.sleep(10)
    assert "gw2" not in one.member.members
    assert one.hears("gw2", two.member.incarnation)
    assert two.hears("gw1", one.member.incarnation)
    assert not one.suspected


@simulated
async def test_a_member_gone_for_long_is_forgotten(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    await asyncio.sleep(1)
    two.way.away = True
    two.beating.cancel()
    await asyncio.sleep(6)
    assert one.link.send("gw2", MirrorAck(0, 0, 0, 0))  # still a peer
    await asyncio.sleep(20)
    assert not one.link.send("gw2", MirrorAck(0, 0, 0, 0))
    assert one.seen("gw2") is None
    assert one.told == ["suspect gw2"]  # gone is not "cleared"
    assert not one.suspected


@simulated
async def test_strangers_leave_no_trace(cluster: Cluster) -> None:
    one, _ = await pair(cluster)
    one.receive("nobody", Heartbeat("ab", 1, 0, 0, "normal"))
    assert one.seen("nobody") is None


@simulated
async def test_frames_that_nobody_asked_for_are_dropped(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    await asyncio.sleep(1)
    two.link.send("gw1", MirrorAck(1, 1, 1, 1))
    await asyncio.sleep(0.1)
    assert one.seen("gw2") is not None
    assert not one.suspected


@simulated
async def test_who_is_known_to_nobody_says_where_it_is_and_is_heard_from_then_on(
    cluster: Cluster,
) -> None:
    one = Beater(cluster, "gw1")
    await one.begin()
    two = Beater(cluster, "gw2")  # it never joins: the store has nothing of it
    two.also = lambda: {"gw1": "gw1:7401"}
    cluster.spawn(two.run(), "gw2")
    assert two.silent_s("gw1") == 0
    await asyncio.sleep(1)
    assert two.seen("gw1") is not None
    assert two.silent_s("gw1") <= one._settings.interval_s
    await asyncio.sleep(40)  # as long as it is heard, in the roster or not
    assert two.silent_s("gw1") <= one._settings.interval_s
    two.also = dict
    await asyncio.sleep(3)
    cluster.net.leave(two.link)
    await asyncio.sleep(one._settings.linger_s + 2)
    assert one._lingering == {}


@simulated
async def test_greetings_of_more_than_so_many_are_not_heeded(cluster: Cluster) -> None:
    one = Beater(cluster, "gw1")
    await one.begin()
    for number in range(LINGERING_MAX + 1):
        one.greeted(f"other{number}", Hello("somewhere:1"))
    assert len(one._lingering) == LINGERING_MAX


@simulated
async def test_who_goes_on_without_the_store_is_known_while_it_is_heard(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    await asyncio.sleep(1)
    assert one.in_failsafe() == {}
    two._membership.standing.enter(State.FAILSAFE, "by all")
    await asyncio.sleep(0.5)
    assert one.in_failsafe() == {"gw2": two._membership.incarnation}
    cluster.net.cut("gw2", "gw1")
    await asyncio.sleep(2)
    assert one.in_failsafe() == {}
    cluster.net.heal()
    await asyncio.sleep(0.5)
    assert one.in_failsafe() != {}
    two._membership.standing.leave(State.FAILSAFE)
    await asyncio.sleep(0.5)
    assert one.in_failsafe() == {}


def test_a_patience_of_one_heartbeat_is_refused() -> None:
    with pytest.raises(ValueError, match="at least twice"):
        HeartbeatSettings(interval_s=0.6, suspect_after_s=1.0)
    with pytest.raises(ValueError, match="above 0"):
        HeartbeatSettings(interval_s=0.0, suspect_after_s=1.0)
