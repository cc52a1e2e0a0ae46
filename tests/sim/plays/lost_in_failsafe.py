"""A member is lost while the store is away: tickets go on by policy, and an operator decides."""

import asyncio

from cluster.errors import ClusterError
from node.view import View
from tests.sim.outage import in_failsafe, normal, set_reachable
from tests.sim.plays.failsafe_goes_on import check_chains
from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.world import Size, World


async def lost_in_failsafe(world: World) -> None:
    """In failsafe a gateway dies for good. Its clients resume at the others where that is policy,
    and do a full handshake where it isn't; nobody is left out. The store is back: the cluster waits
    for the dead one, and goes on as it was, until an operator has written it off."""
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(2)
    await in_failsafe(world)
    victim = world.gateways[-1]
    affected = [client for client in world.clients if victim.name in world.holders(client)]
    refuse = victim.config.cluster.failsafe_tickets == "refuse"
    await victim.kill()
    await world.until(world.all_served, RECOVER_S, "not every client was served without the store")
    for client in affected:
        ways = [up["how"] for up in client.all("established")]
        if ways != ["full", "full" if refuse else "resumed"]:
            world.findings.append(f"{client.name}: {ways}")
    set_reachable(world.live(), True)
    await asyncio.sleep(15)
    if any(g.node.state.state.mode != "flushing" for g in world.live()):
        world.findings.append("the cluster is normal without what the dead member did")
    newcomer = world.client(50)
    world.clients.append(newcomer)
    newcomer.session.start(0)
    await world.until(world.all_served, 20, "no session begins while a dead member is waited for")
    survivor = world.live()[0]
    await written_off(world, survivor.node, victim.name)
    await world.until(lambda: normal(world), 20, "not normal after the writing off")
    await world.until(world.all_owned, 20, "the dead member's shards were not claimed")
    await world.until(world.all_served, RECOVER_S, "not every client was served in the end")
    await asyncio.sleep(2)
    await check_chains(world)
    await world.check_records()


async def written_off(world: World, node, name: str) -> None:
    """An operator says that the gateway won't come back."""
    for _ in range(20):
        try:
            await View(node, "memory").write_off(name, "an operator", lambda _line: None)
        except ClusterError:
            await asyncio.sleep(0.5)  # it is still in the roster, or the state has just changed
        else:
            return
    world.findings.append(f"{name} could not be written off")


def policy(seed: int) -> Size:
    """Both policies, in turn."""
    chosen = "refuse" if seed % 2 else "accept"
    return Size(clients=6, settings={"cluster": {"failsafe_tickets": chosen}})


SCENARIO = Scenario(lost_in_failsafe, size=policy)
