"""A copied ticket at two gateways in one instant."""

import asyncio

from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.world import Size, World


async def one_ticket_twice(world: World) -> None:
    """The same ticket at two gateways in the same instant: one resumption, one full handshake."""
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(2)
    original = world.clients[0]
    ticket = original.tickets.load()
    if ticket is None:
        world.findings.append("no ticket was issued")
        return
    original.stop()
    original.session.close()
    world.net.cut(original.local[0], "10.0.0.1")
    pair = [world.client(len(world.clients) + n, identity=0) for n in range(2)]
    for at, client in enumerate(pair):
        client.tickets.save(ticket)
        client.session.start(at)
    world.clients[0:1] = pair
    await world.until(world.all_served, RECOVER_S, "not every client was served")
    ways = sorted(str(client.all("established")[0]["how"]) for client in pair)
    if ways != ["full", "resumed"]:
        world.findings.append(f"one ticket gave {ways}")
    await asyncio.sleep(1)
    world.check_one_sa_each()


SCENARIO = Scenario(one_ticket_twice, size=Size(clients=4))
