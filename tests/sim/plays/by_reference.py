"""Tickets are pointers to what the store keeps: the member that issued them is killed."""

import asyncio

from proto.ike.reference import is_reference
from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.world import Size, World


async def by_reference(world: World) -> None:
    """One gateway is killed, then another: each client of it resumes, by a pointer that the dead
    one gave out, and what is kept in the store is one state per session.
    """
    await world.begin()
    await world.connect_all()
    for victim in world.random.sample(world.gateways, 2):
        await asyncio.sleep(1)
        held = [client for client in world.clients if victim.name in world.holders(client)]
        before = {client.name: len(client.all("established")) for client in world.clients}
        for client in held:
            ticket = client.tickets.load()
            if ticket is None or not is_reference(ticket.ticket):
                world.findings.append(f"{client.name} holds no ticket by reference")
        await victim.kill()
        await world.until(world.all_served, RECOVER_S, "not every client was served again")
        for client in world.clients:
            ways = [up["how"] for up in client.all("established")[before[client.name] :]]
            if ways != (["resumed"] if client in held else []):
                world.findings.append(f"{client.name} after the loss of {victim.name}: {ways}")
    await asyncio.sleep(1)
    world.check_one_sa_each()
    await world.check_records()


SCENARIO = Scenario(
    by_reference, size=Size(clients=10, settings={"ike": {"tickets": "by-reference"}})
)
