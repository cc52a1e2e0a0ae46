"""Clients that walk all the time, while the store goes and comes back."""

import asyncio

from tests.sim.machine import SimClient
from tests.sim.net import Weather
from tests.sim.outage import all_normal
from tests.sim.scenario import Scenario
from tests.sim.world import Size, World

STEP_S = 0.05
AWAY_S = (9.0, 15.0)
SETTLE_S = 12.0


async def walking(world: World) -> None:
    """Every few milliseconds a client is somewhere else, and shows its ticket to some gateway; it
    gives a silent one up long before any state of the cluster has changed. The store goes, and
    comes back: no ticket is refused, and nobody does anything in full again."""
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(2)
    walked = list(world.clients)
    walk = world.loop.create_task(_walk(world, walked))
    await asyncio.sleep(1 + world.random.random())
    world.kill_store()
    await asyncio.sleep(world.random.uniform(*AWAY_S))
    world.start_store()
    await all_normal(world)
    await asyncio.sleep(2)
    walk.cancel()
    await world.until(world.all_served, SETTLE_S, "not every client was served again")
    for client in walked:
        for up in client.all("established")[1:]:
            if up["how"] == "full":
                world.findings.append(f"{client.name} had to begin in full")


async def _walk(world: World, walked: list[SimClient]) -> None:
    """`walked`: every client that ever was."""
    number, clients = len(world.clients), world.clients
    while True:
        await asyncio.sleep(world.random.expovariate(1 / STEP_S))
        at = world.random.randrange(len(clients))
        if clients[at].session.established:
            number += 1
            clients[at] = _elsewhere(world, clients[at], number)
            walked.append(clients[at])
            clients[at].session.start(world.random.randrange(len(world.gateways)))


def _elsewhere(world: World, before: SimClient, number: int) -> SimClient:
    """The same client at another address, as its ticket tells; nothing is said to anybody."""
    ticket = before.tickets.load()
    before.session.stop()
    before.vanish()
    identity = int(before.name.removeprefix("rfc822:c").partition("@")[0])
    after = world.client(number, identity)
    after.reports.append(("established", dict(before.all("established")[-1])))
    if ticket is not None:
        after.tickets.save_copy(ticket)
    return after


SCENARIO = Scenario(walking, size=Size(clients=30, retransmit_tries=3), weather=Weather())
