"""Tickets whose sessions ended in the store are shown when the store can't be asked."""

import asyncio

from proto.ike.ticket import ClientTicket
from tests.sim.machine import SimClient
from tests.sim.outage import all_in_failsafe, set_reachable
from tests.sim.plays.failsafe_goes_on import resumes
from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.world import Size, World


async def void_in_failsafe(world: World) -> None:
    """Two sessions end: one whose ticket was used, one that was rekeyed since its ticket. Then the
    store is away. The first ticket is shown before anybody knows that, the other one without the
    store: both get a full handshake.
    """
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(2)
    used, rekeyed = world.clients[:2]
    tickets = [kept(world, used), kept(world, rekeyed)]
    await resumes(world, used)
    rekeyed.rekey()
    await asyncio.sleep(2)
    for client in (used, rekeyed):
        client.session.close()
    await asyncio.sleep(2)
    for client in (used, rekeyed):
        client.vanish()
    thieves = [world.client(200 + number, identity=number) for number in range(2)]
    for thief, ticket in zip(thieves, tickets, strict=True):
        thief.tickets.save_copy(ticket)
    world.clients[:2] = thieves
    set_reachable(world.gateways, False)
    thieves[0].session.start(0)
    await all_in_failsafe(world, world.gateways)
    thieves[1].session.start(1)
    await world.until(world.all_served, RECOVER_S, "not every client was served without the store")
    for thief in thieves:
        ways = [up["how"] for up in thief.all("established")]
        if ways != ["full"]:
            world.findings.append(f"{thief.name}: a void ticket gave {ways} without the store")


def kept(world: World, client: SimClient) -> ClientTicket:
    """The client's ticket."""
    ticket = client.tickets.load()
    if ticket is None:
        raise AssertionError("no ticket was issued")
    return ticket


SCENARIO = Scenario(void_in_failsafe, size=Size(clients=4))
