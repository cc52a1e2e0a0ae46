"""Gateways are started anew, and then the store is away."""

import asyncio

from proto.ike.ticket import ClientTicket
from tests.sim.machine import SimClient
from tests.sim.outage import in_failsafe
from tests.sim.plays.failsafe_goes_on import resumes
from tests.sim.plays.void_in_failsafe import kept
from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.world import Size, World


async def all_restarted(world: World) -> None:
    """A ticket is used, and all gateways that heard of it end. Without the store one that was
    issued before gets a full handshake, for it may be that one; one that was issued since is taken.
    Where a gateway stayed it has told the others all: of those from before only the used one isn't
    taken."""
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(2)
    used, unused = world.clients
    shown = [kept(world, used), kept(world, unused)]
    await resumes(world, used)
    await asyncio.sleep(2)
    stays = world.random.choice((None, *world.gateways))
    for client in (used, unused):
        client.vanish()
    world.clients = []
    for gateway in world.gateways:
        if gateway is not stays:
            await gateway.kill()
    await asyncio.sleep(7)
    for gateway in world.gateways:
        if gateway is not stays:
            await world.start(gateway)
    await world.until(world.all_owned, RECOVER_S, "not every shard has an owner again")
    since = world.client(300)
    world.clients = [since]
    await world.connect_all()
    await asyncio.sleep(2)
    await in_failsafe(world)
    world.clients += [_thief(world, number, ticket) for number, ticket in enumerate(shown)]
    await world.until(world.all_served, RECOVER_S, "not every client was served without the store")
    await resumes(world, since)
    ways = [[up["how"] for up in thief.all("established")] for thief in world.clients[1:]]
    if ways != [["full"], ["full" if stays is None else "resumed"]]:
        stayed = "none" if stays is None else stays.name
        world.findings.append(f"{stayed} stayed, and tickets from before gave {ways}")


def _thief(world: World, number: int, ticket: ClientTicket) -> SimClient:
    client = world.client(200 + number, identity=number)
    client.tickets.save_copy(ticket)
    client.session.start(number)
    return client


SCENARIO = Scenario(all_restarted, size=Size(clients=2))
