"""The store's answers get lost after the deed."""

import asyncio

from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.world import Size, World


async def answers_lost(world: World) -> None:
    """Every fifth answer of the store is lost after the deed. Nothing is done twice, nothing is
    believed undone; one gateway is killed on top."""
    await world.begin()
    for gateway in world.gateways:
        gateway.store.doubt = 0.2
    await world.connect_all()
    await world.random.choice(world.gateways).kill()
    await world.until(world.all_served, RECOVER_S, "not every client was served again")
    await asyncio.sleep(5)
    world.check_one_sa_each()
    await world.check_records()
    for client in world.clients:
        if client.all("ticket_refused"):
            world.findings.append(f"{client.name}: a valid ticket was refused")
        if any(failed["why"] != "no answer" for failed in client.all("failed")):
            world.findings.append(f"{client.name}: {client.all('failed')}")


SCENARIO = Scenario(answers_lost, size=Size(clients=10))
