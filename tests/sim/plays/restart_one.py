"""A gateway comes back from its own data directory."""

import asyncio

from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.world import Size, World


async def restart_one(world: World) -> None:
    """A gateway is killed and comes back from its own data directory at once, twice."""
    await world.begin()
    await world.connect_all()
    gateway = world.random.choice(world.gateways)
    for _ in range(2):
        await gateway.kill()
        await asyncio.sleep(world.random.random() * 2)
        await world.start(gateway)
        await world.until(world.all_served, RECOVER_S, "not every client was served again")
    await asyncio.sleep(2)
    world.check_one_sa_each()
    await world.check_records()


SCENARIO = Scenario(restart_one, size=Size(clients=10))
