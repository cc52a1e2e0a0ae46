"""Tickets are pointers into a store that answers nobody."""

import asyncio

from tests.sim.machine import SimClient
from tests.sim.outage import in_failsafe, normal_again
from tests.sim.plays.failsafe_goes_on import check_chains
from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.world import Size, World

SILENT_S = 180.0


async def failsafe_by_reference(world: World) -> None:
    """A ticket from before points to what nobody can read: refused at once, and a full handshake
    follows. One that was issued since points to what every member keeps: it is taken, once, and
    again when the store is back.
    """
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(2)
    await in_failsafe(world)
    bearer = world.clients[0]
    for way in ("full", "resumed", "resumed"):
        await goes_on(world, bearer, way)
    await normal_again(world)
    await asyncio.sleep(2)
    for client in (bearer, world.clients[1]):
        await goes_on(world, client, "resumed")
    await world.until(  # the SA that the full handshake left behind is asked for life
        lambda: sum(len(g.established()) for g in world.gateways) == len(world.clients),
        SILENT_S,
        "an SA that nobody uses lives on",
    )
    world.check_one_sa_each()
    await world.check_records()
    await check_chains(world)


async def goes_on(world: World, client: SimClient, way: str) -> None:
    """The client loses its gateway from sight, and gets on at another one in this way."""
    before = len(client.all("established"))
    for name in world.holders(client):
        world.net.cut(client.local[0], world.gateway(name).host)
    await world.until(
        lambda: len(client.all("established")) > before and bool(world.holders(client)),
        RECOVER_S, f"{client.name} did not get on elsewhere",
    )  # fmt: skip
    world.net.heal()
    ways = [up["how"] for up in client.all("established")[before:]]
    if ways != [way]:
        world.findings.append(f"{client.name}: {ways}, not {way}")
    await asyncio.sleep(1)


SCENARIO = Scenario(
    failsafe_by_reference, size=Size(clients=4, settings={"ike": {"tickets": "by-reference"}})
)
