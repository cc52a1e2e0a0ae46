"""A limit holds without the store, too: the gateways reach each other, and ask each other."""

import asyncio

from tests.sim.outage import all_in_failsafe
from tests.sim.scenario import Scenario
from tests.sim.world import Size, World

IDENTITY = 700


async def limited_in_failsafe(world: World) -> None:
    """The store dies; of two clients of one identity that come to two gateways, one gets in."""
    await world.begin()
    world.kill_store()
    await all_in_failsafe(world, world.live())
    two = [
        world.client(700 + n, identity=IDENTITY, gateways=(world.gateways[n].address,))
        for n in range(2)
    ]
    for client in two:
        client.session.start(0)
    await world.until(lambda: any(world.holders(client) for client in two), 20, "nobody got in")
    await asyncio.sleep(10)
    if [len(world.holders(client)) for client in two] not in ([1, 0], [0, 1]):
        world.findings.append("not exactly one got in")
    if not any(client.all("failed") for client in two):
        world.findings.append("nobody was refused")


SCENARIO = Scenario(
    limited_in_failsafe, size=Size(clients=0, settings={"ike": {"sessions_max": 1}})
)
