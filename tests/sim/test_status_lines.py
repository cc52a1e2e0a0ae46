"""What `status` says while a cluster does without its store, and on the way back."""

import asyncio
from collections.abc import Awaitable, Callable

from cluster.failsafe.outage import MemoryBook
from node.admin_view import StoreConditionInfo
from node.view import View
from tests.sim.machine import SimGateway
from tests.sim.outage import all_in_failsafe
from tests.sim.scenario import Scenario, run_scenario
from tests.sim.world import Size, World


def lines(gateway: SimGateway) -> dict[str, StoreConditionInfo]:
    """Name → line, as `status` has them."""
    return {each.name: each for each in View(gateway.node, "memory").status().store_conditions}


async def in_failsafe(world: World) -> None:
    """All gateways have lost the store, and go on."""
    await world.begin()
    await asyncio.sleep(1)
    world.kill_store()
    await all_in_failsafe(world, world.live())


async def one_is_missing(world: World) -> None:
    """gw3 dies in failsafe; the store is back, and the others wait."""
    await in_failsafe(world)
    gw1, _, gw3 = world.gateways
    await gw3.kill()
    world.start_store()
    await world.until(lambda: "flushing" in lines(gw1), 10, "nobody waits")
    await asyncio.sleep(10)
    flushing = lines(gw1)["flushing"]
    assert flushing.detail.startswith("waits for gw3, "), flushing.detail
    assert flushing.detail.index("gw3") < flushing.detail.index("; gw1, gw2: ")
    assert "write-off" in flushing.fix


async def etcd_is_back(world: World) -> None:
    """The same, and what is to be done: bring etcd back, as long as it is away only."""
    await in_failsafe(world)
    gw1, _, gw3 = world.gateways
    assert lines(gw1)["failsafe"].fix.startswith("bring etcd back")
    await gw3.kill()
    world.start_store()
    await world.until(lambda: "flushing" in lines(gw1), 10, "nobody waits")
    await asyncio.sleep(1)
    assert "etcd is back" in lines(gw1)["failsafe"].fix


async def long_away(world: World) -> None:
    """Ten seconds of failsafe, then a way back that waits for one."""
    await in_failsafe(world)
    gw1, _, gw3 = world.gateways
    await asyncio.sleep(10)
    await gw3.kill()
    world.start_store()
    await world.until(lambda: gw1.node.state.state.mode == "flushing", 10, "nobody waits")
    await asyncio.sleep(3)
    found = lines(gw1)
    assert found["failsafe"].since_s > 10
    assert 2.5 < found["flushing"].since_s < 3.5


class FullBook(MemoryBook):
    """A book on a disk that is full for a while."""

    full = True

    def write(self, octets: bytes) -> None:
        """See `PledgeBook.write`."""
        if self.full:
            raise OSError(28, "No space left on device")
        super().write(octets)


async def a_disk_is_full(world: World) -> None:
    """The others take a gateway for lost that can keep nothing, until it can."""
    await in_failsafe(world)
    gw1, gw2, _ = world.gateways
    book = FullBook()
    gw1.node.outage._book = book
    assert not gw1.node.standby.gate.on_first()
    assert "No space left on device" in lines(gw1)["failsafe"].detail
    assert lines(gw1)["failsafe"].fix.startswith("make room")
    await world.until(lambda: not gw2.node.standby.heard("gw1"), 5, "it is heard")
    assert gw1.node.standby.heard("gw2")
    book.full = False
    await world.until(lambda: gw2.node.standby.heard("gw1"), 5, "it isn't heard")
    assert "No space" not in lines(gw1)["failsafe"].detail


async def a_clock_is_wrong(world: World) -> None:
    """For how long is said from when it began, whenever somebody asks first."""
    await world.begin()
    await asyncio.sleep(2)
    world.gateways[0].clock.wall_offset_s += 60
    await asyncio.sleep(30)
    assert lines(world.gateways[0])["clock-off"].since_s > 20
    assert lines(world.gateways[1])["clocks-differ"].since_s > 20


async def on_one_host(world: World) -> None:
    """Nobody has said that the gateways are on different machines."""
    await world.begin()
    gw1 = world.gateways[0]
    one_host = lines(gw1)["one-host"]
    assert "host-1; without etcd no session begins and no ticket" in one_host.detail
    assert "member.host" in one_host.fix
    world.kill_store()
    await all_in_failsafe(world, [gw1])
    assert "(member.host) is heard: no session begins" in lines(gw1)["failsafe"].detail
    assert gw1.node.standby.closed()


async def on_two_hosts(world: World) -> None:
    """Two of three gateways share one: each hears one on another."""
    await in_failsafe(world)
    for gateway in world.gateways:
        assert lines(gateway).keys() == {"failsafe", "no-answer"}
        assert "host" not in lines(gateway)["failsafe"].detail


async def through_another(world: World) -> None:
    """Etcd answers gw1 through another gateway."""
    await world.begin()
    await asyncio.sleep(1)
    gw1 = world.gateways[0]
    gw1.store.set_reachable(False)
    await world.until(lambda: gw1.node.membership.state == "relayed", 8, "it isn't relayed")
    await asyncio.sleep(2)
    assert "no-answer" in lines(gw1)
    assert gw1.node.store_state() == "ok"


def played(play: Callable[[World], Awaitable[None]], **size: object) -> tuple[str, ...]:
    return run_scenario(Scenario(play, size=Size(clients=0, **size)), 1).findings  # type: ignore[arg-type]


def test_who_is_missing_is_who_is_waited_for() -> None:
    assert played(one_is_missing) == ()


def test_what_was_wrong_before_somebody_asked_is_said_from_when_it_began() -> None:
    assert played(a_clock_is_wrong) == ()


def test_who_goes_on_while_etcd_is_back_is_not_told_to_bring_it_back() -> None:
    assert played(etcd_is_back) == ()


def test_each_line_has_its_own_age() -> None:
    assert played(long_away) == ()


def test_a_cluster_that_cannot_go_on_without_etcd_says_so_before() -> None:
    assert played(on_one_host, hosts=1) == ()


def test_two_hosts_are_enough_to_say_nothing() -> None:
    assert played(on_two_hosts, hosts=2) == ()


def test_a_full_disk_is_told_and_the_others_go_on_without_that_gateway() -> None:
    assert played(a_disk_is_full) == ()


def test_one_gateway_alone_says_nothing_of_hosts() -> None:
    async def alone(world: World) -> None:
        await world.begin()
        assert lines(world.gateways[0]) == {}

    assert played(alone, gateways=1) == ()


def test_who_reaches_the_store_through_another_says_that_it_is_there() -> None:
    assert played(through_another) == ()
