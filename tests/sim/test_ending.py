"""A session on its way when its gateway is told to end is finished, or stays good for the heir."""

import asyncio
from collections.abc import Callable

from node.ending import FINISH_S
from proto.ike.effects import Path
from proto.ike.enums import ExchangeType
from tests.sim.machine import SimClient, SimGateway
from tests.sim.net import Weather
from tests.sim.scenario import Scenario, run_scenario
from tests.sim.world import Size, World

EXCHANGE = 18
"""Where a message names its exchange."""


def once_sent(world: World, host: str, exchange: ExchangeType, call: Callable[[], None]) -> None:
    """Call once, as `host` has sent its first message of `exchange`."""
    told = False

    def see(data: bytes, path: Path) -> None:
        nonlocal told
        if not told and path.local[0] == host and data[EXCHANGE] == exchange:
            told = True
            call()

    world.net.observers.append(see)


async def begin(world: World) -> tuple[SimGateway, SimGateway, SimClient]:
    """A gateway that will end, its heir, and somebody whose ticket is good."""
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(1)
    (client,) = world.clients
    client.vanish()
    back = world.client(1, identity=0)
    ticket = client.tickets.load()
    assert ticket is not None
    back.tickets.save_copy(ticket)
    world.clients[:] = [back]
    first, heir = world.gateways
    return first, heir, back


async def finished(world: World) -> None:
    """IKE_AUTH is on its way when the gateway is told to end: it is answered, and the session goes
    to the heir with the shard.
    """
    first, heir, back = await begin(world)
    once_sent(world, back.local[0], ExchangeType.IKE_AUTH, first.end)
    back.session.start(0)
    await world.until(lambda: not first.alive, 10, "the gateway did not end")
    if [up["how"] for up in back.all("established")] != ["resumed"] or not back.all("ticket"):
        world.findings.append(f"what was begun was not finished: {back.reports}")
    spi = back.spi_r
    await world.until(lambda: spi in heir.established(), 5, "the heir has not got the session")
    await world.until(lambda: world.holders(back) == [heir.name], 60, "it did not come back")
    if [up["how"] for up in back.all("established")] != ["resumed", "resumed"]:
        world.findings.append(f"its ticket was not taken: {back.reports}")


async def nothing_taken(world: World) -> None:
    """IKE_AUTH comes after its time, while the shards are being handed over: it isn't taken, and
    its ticket is good at the heir.
    """
    first, heir, back = await begin(world)

    def end() -> None:
        slow = Weather(latency_s=FINISH_S + 0.25, jitter_s=0.0)
        world.net.set_weather(back.local[0], first.host, slow)
        first.store.latency_s = 0.5
        first.end()

    once_sent(world, first.host, ExchangeType.IKE_SESSION_RESUME, end)
    back.session.start(0)
    await world.until(lambda: not first.alive, 10, "the gateway did not end")
    dropped = first.node.metrics.dropped.by
    if not dropped.get("handing_over", 0):
        world.findings.append(f"IKE_AUTH was taken: {dropped}")
    await world.until(lambda: world.holders(back) == [heir.name], 60, "it found no other gateway")
    if [up["how"] for up in back.all("established")] != ["resumed"]:
        world.findings.append(f"its ticket was spent: {back.reports}")


def test_a_session_that_has_begun_is_finished_and_goes_to_the_heir() -> None:
    played = Scenario(finished, size=Size(gateways=2, clients=1), weather=Weather())
    for seed in range(1, 6):
        assert run_scenario(played, seed).findings == ()


def test_nothing_is_taken_while_the_shards_are_handed_over() -> None:
    played = Scenario(nothing_taken, size=Size(gateways=2, clients=1), weather=Weather())
    assert run_scenario(played, 1).findings == ()
