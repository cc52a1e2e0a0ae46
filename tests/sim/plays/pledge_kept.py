"""A member restarts while the others are in failsafe by its pledge."""

import asyncio

from tests.sim.outage import set_reachable
from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.storm import boot
from tests.sim.world import Size, World


async def pledge_kept(world: World) -> None:
    """The store is away from all; all are in failsafe; one restarts, and the store comes back
    for that one alone, which reaches nobody else. They are gone from the store, but it has pledged:
    their shards stay theirs. Released, it is a member like the others again."""
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(2)
    restarted, *others = world.gateways
    set_reachable(world.gateways, False)
    await asyncio.sleep(8)
    fences = {shard: o.fence for g in others for shard, o in g.node.ownership.owned.items()}
    await restarted.kill()
    for other in others:
        world.links.cut(restarted.name, other.name)
    boot(world, restarted)
    await world.until(lambda: restarted.ready, 30, "it did not come back")
    await asyncio.sleep(15)
    for shard, fence in fences.items():
        if world.ledger.fences[shard].fence != fence:
            world.findings.append(f"shard {shard} was claimed from one that holds a pledge")
    if any(g.node.membership.state != "failsafe" for g in others):
        world.findings.append("the others left failsafe")
    world.links.heal()
    set_reachable(others, True)
    await world.until(world.all_served, RECOVER_S, "not every client was served again")
    await world.until(
        lambda: not restarted.node.outage.given and not restarted.node.outage.failsafe,
        30, "it was not released",
    )  # fmt: skip
    await asyncio.sleep(2)
    world.check_one_sa_each()
    await world.check_records()


SCENARIO = Scenario(pledge_kept, size=Size(clients=4))
