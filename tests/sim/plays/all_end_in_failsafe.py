"""All members that live without the store end, and what only they knew ends with them."""

import asyncio

from tests.sim.outage import all_normal, in_failsafe
from tests.sim.plays.failsafe_goes_on import resumes
from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.storm import boot
from tests.sim.world import Size, World


async def all_end_in_failsafe(world: World) -> None:
    """In failsafe sessions go on, and their records in the store become old ones. One gateway is
    told to end, or dies; then the other one is, perhaps as it comes back to the store. Who starts
    first adopts nothing of what both had left: the newest state of these SAs may be lost. Every
    client gets a session again."""
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(2)
    first, last = world.gateways
    await in_failsafe(world)
    held = [client.spi_r for client in world.clients]
    for client in world.clients[::2]:
        await resumes(world, client)
    held += [client.spi_r for client in world.clients]
    if world.random.random() < 0.5:
        first.end()
        await asyncio.sleep(8)
    first.cut_down()
    last.store.set_reachable(world.random.random() < 0.5)
    await asyncio.sleep(world.random.random())
    last.end()
    await asyncio.sleep(8)
    for gateway in world.random.sample(world.gateways, 2):
        gateway.store.set_reachable(True)
        boot(world, gateway)
        await asyncio.sleep(8)
        stale = [spi.hex() for spi in gateway.established() if spi in held]
        if stale:
            world.findings.append(f"{gateway.name} adopted {stale}, whose newest state is lost")
    await world.until(world.all_served, RECOVER_S, "not every client was served again")
    await all_normal(world)
    await world.until(world.all_owned, 20, "not every shard has an owner")
    await asyncio.sleep(2)
    world.check_one_sa_each()
    await world.check_records()


SCENARIO = Scenario(all_end_in_failsafe, size=Size(gateways=2, clients=4))
