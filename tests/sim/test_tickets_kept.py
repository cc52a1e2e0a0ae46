"""A ticket outlives the store's absence: no gateway spends it for a client it can't serve."""

import asyncio

from tests.sim.outage import set_reachable
from tests.sim.scenarios import Scenario, run_scenario
from tests.sim.world import Size, World

AWAY_S = 60.0
"""Longer than a client asks one gateway: it comes back to each of them with its one ticket."""


async def store_and_gateway_lost(world: World) -> None:
    """A gateway dies while nobody reaches the store; once it is back, its clients resume."""
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(2)
    victim = world.gateways[0]
    affected = [client for client in world.clients if victim.name in world.holders(client)]
    set_reachable(world.gateways, False)
    await victim.kill()
    await asyncio.sleep(AWAY_S)
    set_reachable(world.live(), True)
    await world.until(world.all_served, AWAY_S, "not every client was served afterwards")
    ways = [[up["how"] for up in client.all("established")] for client in affected]
    if not ways or any(way != ["full", "resumed"] for way in ways):
        world.findings.append(f"{ways} instead of a resumption each")


def test_a_gateway_lost_while_the_store_is_away_costs_no_ticket() -> None:
    played = Scenario(store_and_gateway_lost, size=Size(clients=6))
    assert run_scenario(played, 1).findings == ()
