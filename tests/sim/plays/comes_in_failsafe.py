"""A member starts while the others go on without the store, by pledges that it never gave."""

import asyncio

from tests.sim.machine import SimClient, SimGateway
from tests.sim.outage import all_normal, in_failsafe, set_reachable
from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.storm import boot
from tests.sim.world import Size, World

FORGOTTEN_S = 25.0
"""After that nobody talks to a member any more that has died."""


async def comes_in_failsafe(world: World) -> None:
    """One is dead, and forgotten, as the store leaves the others; it starts, and the store answers
    it alone. By the store the others are gone. It hears that they live, leaves their shards alone
    and commits nothing that they could have done already, until they are back through it."""
    late, others = await left_alone(world)
    fences = {shard: o.fence for g in others for shard, o in g.node.ownership.owned.items()}
    client = world.clients[0]
    before = client.tickets.load()
    await walks(world, client)  # its ticket is used, and the store doesn't know
    boot(world, late)
    await world.until(lambda: late.ready, 10, "it did not come back")
    await asyncio.sleep(0.05)
    copy = world.client(100, identity=0)
    if before is None:
        world.findings.append("no ticket was issued")
        return
    copy.tickets.save_copy(before)
    copy.session.start(world.gateways.index(late))
    await world.until(
        lambda: all(g.node.standby.settled() for g in world.live()), 20, "it is not over"
    )
    for shard, fence in fences.items():
        if world.ledger.fences[shard].fence != fence:
            world.findings.append(f"shard {shard} was taken from a member in failsafe")
    set_reachable(others, True)
    await world.until(lambda: bool(copy.all("established")), 20, "the copy is not served")
    if [up["how"] for up in copy.all("established")][:1] != ["full"]:
        world.findings.append("a ticket that was used without the store was taken again")
    await world.until(world.all_served, RECOVER_S, "not every client was served again")
    await all_normal(world)


async def left_alone(world: World) -> tuple[SimGateway, list[SimGateway]]:
    """Who is dead, and the others, in failsafe; the store has forgotten them."""
    await world.begin()
    late, *others = world.gateways
    await late.kill()
    await asyncio.sleep(FORGOTTEN_S)
    await world.connect_all()
    await in_failsafe(world, others)
    await asyncio.sleep(4)  # the store has forgotten them
    return late, others


async def walks(world: World, client: SimClient) -> None:
    """The client loses its gateway from sight, and goes on at the other one."""
    before = len(client.all("established"))
    for name in world.holders(client):
        world.net.cut(client.local[0], world.gateway(name).host)
    await world.until(
        lambda: len(client.all("established")) > before, RECOVER_S, "no resumption in failsafe"
    )
    world.net.heal()


SCENARIO = Scenario(comes_in_failsafe, size=Size(clients=3))
