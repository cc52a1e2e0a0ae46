"""A gateway is killed under load: the plainest failover."""

import asyncio

from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.world import World


async def kill_one(world: World) -> None:
    """Three gateways, lossy network; one is killed. Every client of it resumes at a survivor."""
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(2)
    victim = world.random.choice(world.gateways)
    affected = [client for client in world.clients if victim.name in world.holders(client)]
    if not affected:
        world.findings.append(f"{victim.name} held no session: nothing was tried")
    await victim.kill()
    await world.until(world.all_served, RECOVER_S, "not every client was served again")
    await asyncio.sleep(2)
    world.check_one_sa_each()
    await world.check_records()
    for client in world.clients:
        ways = [up["how"] for up in client.all("established")]
        wanted = ["full", "resumed"] if client in affected else ["full"]
        if ways != wanted:
            world.findings.append(f"{client.name}: {ways} instead of {wanted}")


SCENARIO = Scenario(kill_one)
