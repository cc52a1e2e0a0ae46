"""What a gateway finds out by comparing its SAs with the store, and what it must not conclude."""

import asyncio
from collections.abc import Awaitable, Callable

from node.audit import CYCLE_S
from tests.sim.mirrors import check_mirrors
from tests.sim.net import Weather
from tests.sim.scenario import RECOVER_S, Scenario, run_scenario
from tests.sim.world import Size, World

BEFORE_S = 0.5
"""So long before the gateway looks."""
LISTED_S = 12.0
"""Until a gateway has listed the records of a shard that it has gained, and compared them."""


async def rekeyed_in_doubt(world: World) -> None:
    """A session is rekeyed, the store's answer is lost, and just then the gateway looks: the chain
    names the heir already, which the gateway doesn't have yet."""
    began_s = world.loop.time()
    await world.begin()
    await world.connect_all()
    (client,), (gateway,) = world.clients, world.gateways
    former = client.spi_r
    await asyncio.sleep(began_s + CYCLE_S - BEFORE_S - world.loop.time())
    gateway.store.doubt = 1.0
    client.rekey()
    await asyncio.sleep(BEFORE_S / 2)
    if not gateway.node.gateway.endpoint.is_writing(former):
        world.findings.append("no rekey is in doubt as the gateway looks")
    await asyncio.sleep(2 * BEFORE_S)
    gateway.store.doubt = 0.0
    await world.until(lambda: bool(client.all("rekeyed")), 5, "the rekey was not answered")
    await asyncio.sleep(2)
    world.check_one_sa_each()
    await world.check_records()


async def deleted_and_not_held(world: World) -> None:
    """A session goes on elsewhere whose former SA its gateway doesn't hold any more, but for its
    record: that is gone, and the gateway is told."""
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(LISTED_S)
    (client,) = world.clients
    gateway = world.gateway(world.holders(client)[0])
    gateway.node.gateway.endpoint.drop(client.spi_r, "as the test says")
    world.net.cut(client.local[0], gateway.host)
    await world.until(lambda: len(client.all("established")) == 2, RECOVER_S, "it did not go on")
    await check_mirrors(world)


def played(play: Callable[[World], Awaitable[None]], gateways: int) -> tuple[str, ...]:
    size = Size(gateways=gateways, clients=1)
    return run_scenario(Scenario(play, size=size, weather=Weather()), 1).findings


def test_an_sa_whose_write_is_in_doubt_is_not_taken_for_another_s() -> None:
    """Seed 8851697 of the storm: the client got its answer, and nobody had what it speaks of."""
    assert played(rekeyed_in_doubt, 1) == ()


def test_what_another_has_deleted_is_known_to_be_gone_held_or_not() -> None:
    """The same seed: the copy of that shard was read from the store again and again."""
    assert played(deleted_and_not_held, 2) == ()
