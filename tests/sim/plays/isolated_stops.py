"""A gateway that reaches nobody gives up its shards; its clients resume elsewhere meanwhile."""

import asyncio

from node.kernel import NullKernel
from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.world import Size, World


async def isolated_stops(world: World) -> None:
    """A gateway loses store and peers, but not its clients. At its lease's deadline it falls silent
    and lets go of everything; its clients resume at the others while it is still cut off. When it
    is back it owns shards again, under fences that it never had."""
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(2)
    victim = world.random.choice(world.gateways)
    before = {shard: owned.fence for shard, owned in victim.node.ownership.owned.items()}
    affected = [client for client in world.clients if victim.name in world.holders(client)]
    victim.store.set_reachable(False)
    for other in world.gateways:
        if other is not victim:
            world.links.cut(victim.name, other.name)
    await asyncio.sleep(6)
    state = victim.node.membership.state
    if state != "isolated":
        world.findings.append(f"{victim.name} is {state}, not isolated")
    kernel = victim.node.seams.kernel
    if victim.established() or not isinstance(kernel, NullKernel) or kernel.spis:
        world.findings.append(f"{victim.name} is isolated and still holds SAs")
    await world.until(
        lambda: all(len(client.all("established")) > 1 for client in affected),
        RECOVER_S, "not every client went on elsewhere",
    )  # fmt: skip
    for client in affected:
        if [up["how"] for up in client.all("established")] != ["full", "resumed"]:
            world.findings.append(f"{client.name} did not resume: {client.all('established')}")
    victim.store.set_reachable(True)
    world.links.heal()
    await world.until(world.all_owned, 30, "not every shard got an owner again")
    for shard, owned in victim.node.ownership.owned.items():
        if owned.fence <= before.get(shard, 0):
            world.findings.append(f"{victim.name} owns shard {shard} under a fence it gave up")
    await world.until(world.all_served, RECOVER_S, "not every client was served in the end")
    await asyncio.sleep(2)
    world.check_one_sa_each()
    await world.check_records()


SCENARIO = Scenario(isolated_stops, size=Size(clients=4))
