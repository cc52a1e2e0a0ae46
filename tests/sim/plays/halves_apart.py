"""The store is away, and the members are in two halves that don't reach each other."""

import asyncio

from tests.sim.outage import set_reachable
from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.world import Size, World


async def halves_apart(world: World) -> None:
    """Neither half has everybody's pledge: both are isolated, nobody is in failsafe, and nothing is
    owned. With the store all is well again."""
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(2)
    set_reachable(world.gateways, False)
    for one in world.gateways[:2]:
        for other in world.gateways[2:]:
            world.links.cut(one.name, other.name)
    await asyncio.sleep(8)
    for gateway in world.gateways:
        if gateway.node.membership.state != "isolated" or gateway.node.ownership.owned:
            world.findings.append(f"{gateway.name} is {gateway.node.membership.state}")
    world.links.heal()
    set_reachable(world.gateways, True)
    await world.until(world.all_owned, 30, "not every shard got an owner again")
    await world.until(world.all_served, RECOVER_S, "not every client was served in the end")
    await asyncio.sleep(2)
    world.check_one_sa_each()
    await world.check_records()


SCENARIO = Scenario(halves_apart, size=Size(gateways=4, clients=4))
