"""Every name of what is wrong, or waits, stands in what `standfast status` prints.

A simulated gateway meets each of them; what it says then is asked for over gRPC by the command.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from cluster.conditions import Condition
from cluster.errors import Trouble, Unavailable
from cluster.failsafe.pledge import Given
from cluster.layout import Keys
from cluster.store import Put, Txn
from node.admin_view import ClusterStatus
from node.pki import LEAF_DAYS, Authority
from node.view import View
from tests.sim.machine import CLUSTER
from tests.sim.scenario import Scenario, run_scenario
from tests.sim.store import Snapshot
from tests.sim.world import Size, World
from tests.unit.node.test_admin import FakeView
from tests.unit.node.test_cli import BASE_PORT, Served, run

DAY_S = 86_400.0
Play = Callable[[World], Awaitable[None]]


def every_call_meets(trouble: Trouble) -> Play:
    async def play(world: World) -> None:
        world.gateways[0].store.wrong = Unavailable("as the test says", trouble)

    return play


async def writes_are_refused(world: World) -> None:
    def refuse(_txn: Txn) -> Txn:
        raise Unavailable("as the test says", Trouble.NO_SPACE)

    world.gateways[0].store.twist = refuse


async def answers_are_lost(world: World) -> None:
    world.gateways[0].store.doubt = 1.0


async def commits_take_long(world: World) -> None:
    world.gateways[0].store.latency_s = 0.6


async def history_is_gone(world: World) -> None:
    world.gateways[0].store.break_watches()  # at the next change
    put = Put(Keys(CLUSTER).member("gw9"), b"what is no member's record")
    await world.store.compact((await world.store.commit(Txn(success=(put,)))).revision)


def certificate_ends(days_left: float) -> Play:
    async def play(world: World) -> None:
        gateway, file = world.gateways[0], world.folder / "gw1.crt"
        made_s = gateway.clock.wall_s() - (LEAF_DAYS - days_left) * DAY_S
        file.write_bytes(Authority("sample", made_s).member("gw1").certificate)
        await gateway.kill()
        member = msgspec.structs.replace(gateway.config.member, cert_file=str(file))
        gateway.config = msgspec.structs.replace(gateway.config, member=member)
        await world.start(gateway)

    return play


async def another_store(world: World) -> None:
    guard = world.gateways[0].node.way.guard
    assert guard.memory is not None
    guard._memory = msgspec.structs.replace(guard.memory, cluster_id=guard.memory.cluster_id + 1)
    guard.doubt()


async def store_put_back(world: World) -> None:
    copy = Snapshot(world.store)
    await asyncio.sleep(10)  # it is written to meanwhile
    world.kill_store()
    await asyncio.sleep(2)
    copy.put_back()
    world.start_store()


async def store_goes(world: World) -> None:
    world.kill_store()


async def one_is_lost_with_the_store(world: World) -> None:
    world.kill_store()
    await asyncio.sleep(6)
    await world.gateways[-1].kill()
    world.start_store()


async def pledged_to_one_that_is_gone(world: World) -> None:
    """And to one that is heard, and takes it back by itself."""
    given = world.gateways[0].node.outage.pledges.given
    given["gw9"] = Given("gone", 1, "10.0.0.9:7400")
    given["gw2"] = Given(world.gateways[1].node.membership.incarnation, 1, "10.0.0.2:7400")


def the_date_is_set(ahead_s: float) -> Play:
    async def play(world: World) -> None:
        world.gateways[0].clock.wall_offset_s += ahead_s

    return play


async def nothing_happens(world: World) -> None:
    """It is so from the beginning."""


ONE = Size(gateways=1, clients=0)
THREE = Size(gateways=3, clients=0)
PLAYS: dict[str, tuple[Play, Size]] = {
    Condition.NO_ANSWER.value: (store_goes, ONE),
    Condition.NO_LEADER.value: (every_call_meets(Trouble.NO_LEADER), ONE),
    Condition.DENIED.value: (every_call_meets(Trouble.DENIED), ONE),
    Condition.ETCD_CERTIFICATE.value: (every_call_meets(Trouble.CERTIFICATE), ONE),
    Condition.NO_SPACE.value: (writes_are_refused, ONE),
    Condition.UNKNOWN_OUTCOME.value: (answers_are_lost, ONE),
    Condition.SLOW.value: (commits_take_long, ONE),
    Condition.COMPACTED.value: (history_is_gone, ONE),
    Condition.CERTIFICATE.value: (certificate_ends(-1), ONE),
    Condition.CERTIFICATE_SOON.value: (certificate_ends(1), ONE),
    Condition.OTHER_CLUSTER.value: (another_store, ONE),
    Condition.REWOUND.value: (store_put_back, ONE),
    "failsafe": (store_goes, THREE),
    "flushing": (one_is_lost_with_the_store, THREE),
    "pledged": (pledged_to_one_that_is_gone, THREE),
    "clock-off": (the_date_is_set(20), THREE),
    "clocks-differ": (the_date_is_set(-20), Size(gateways=2, clients=0)),
    "one-host": (nothing_happens, Size(gateways=2, clients=0, hosts=1)),
}


UNANSWERED = ("no-answer", "no-leader", "permission-denied", "etcd-certificate-refused")


class Shown(FakeView):
    """A gateway that has come to this."""

    def __init__(self, found: ClusterStatus) -> None:
        super().__init__(found.member, ())
        self.found = found

    def status(self) -> ClusterStatus:
        return self.found


def brought_about(name: str) -> ClusterStatus:
    """What gw1 says of itself as soon as it says `name`."""
    play, size = PLAYS[name]
    found: list[ClusterStatus] = []
    already: list[bool] = []

    async def until_it_is_said(world: World) -> None:
        await world.begin()
        await asyncio.sleep(1)

        def said() -> bool:
            found.append(View(world.gateways[0].node, "etcd").status())
            return name in [each.name for each in found[-1].store_conditions]

        before = said()
        await play(world)
        already.append(before)
        await world.until(said, 60, f"{name} isn't said")

    run_scenario(Scenario(until_it_is_said, size=size), 1)
    assert already == [play is nothing_happens]
    return found[-1]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("status") / "c"
    assert run("init", folder, "--base-port", BASE_PORT) == 0
    return folder


async def printed(folder: Path, found: ClusterStatus) -> str:
    """What the command makes of it."""
    served = Served(folder)
    served.view = Shown(found)
    await served.start()
    try:
        code, out, err = await served.ask("status")
    finally:
        await served.stop()
    assert (code, err) == (0, "")
    return out


@pytest.mark.parametrize("name", PLAYS)
def test_status_prints_it_by_its_name(name: str, sample: Path) -> None:
    out = asyncio.run(printed(sample, brought_about(name)))
    (line,) = [line for line in out.splitlines() if line.split(": ")[0].strip() == name]
    assert " → " in line
    if name in UNANSWERED:  # as soon as there is a line for it
        assert "store      etcd, unavailable" in out.splitlines()


def test_who_is_heard_is_not_to_be_started() -> None:
    (found,) = [one for one in brought_about("pledged").store_conditions if one.name == "pledged"]
    assert found.detail == "pledged to gw9, not heard now"


def test_none_is_left_out() -> None:
    others = {"failsafe", "flushing", "pledged", "one-host", "clock-off", "clocks-differ"}
    assert PLAYS.keys() == {condition.value for condition in Condition} | others
