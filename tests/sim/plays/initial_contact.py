"""A client begins anew without its state, and says so: its older session ends, wherever it is."""

import asyncio

from tests.sim.scenario import Scenario
from tests.sim.world import Size, World


async def initial_contact(world: World) -> None:
    """Some clients vanish, ticket and all, and begin anew at another gateway. What they had ends
    within a moment, at whichever member it was, with its record; the new session stays, and so do
    everybody else's."""
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(1)
    lost = world.clients[:4]
    former = [client.spi_r for client in lost]
    for number, client in enumerate(lost):
        client.vanish()
        again = world.client(100 + number, identity=number)
        world.clients[number] = again
        again.session.start(number + 1)
    await world.until(world.all_served, 20, "not everybody was served again")
    await asyncio.sleep(3)
    for gateway in world.live():
        for spi in former:
            if spi in gateway.established():
                world.findings.append(f"{gateway.name} still has {spi.hex()}")
    world.check_one_sa_each()
    await world.check_records()


SCENARIO = Scenario(initial_contact, size=Size(clients=12, initial_contact=True))
