"""An owner that doesn't know yet that it was replaced, and goes on, as its policy says."""

import asyncio

from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.world import Size, World


async def owner_cut_off(world: World) -> None:
    """A gateway loses store and peers for longer than its lease, but not its clients. It is
    replaced while it lives; once it learns so, it passes its clients' datagrams on to those who
    adopted their SAs. No client has to connect again, and nothing was said twice."""
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(2)
    victim = world.random.choice(world.gateways)
    others = [gateway for gateway in world.gateways if gateway is not victim]
    affected = [client for client in world.clients if victim.name in world.holders(client)]
    victim.store.set_reachable(False)
    for other in others:
        world.links.cut(victim.name, other.name)
    await asyncio.sleep(5)
    await world.until(
        lambda: sum(len(g.node.ownership.owned) for g in others) == world.size.shards,
        30,
        "the others did not claim the shards of a member that is gone from the store",
    )
    if any(client.all("unanswered") for client in affected):
        world.findings.append("a gateway without the store stopped answering its clients")
    victim.store.set_reachable(True)
    world.links.heal()
    await asyncio.sleep(2)
    await world.until(world.all_served, RECOVER_S, "not every client was served again")
    await asyncio.sleep(2)
    world.check_one_sa_each()
    await world.check_records()
    for client in affected:
        if [up["how"] for up in client.all("established")] != ["full"]:
            world.findings.append(f"{client.name} connected again: {client.all('established')}")


SCENARIO = Scenario(
    owner_cut_off, size=Size(clients=10, settings={"cluster": {"when_isolated": "keep"}})
)
