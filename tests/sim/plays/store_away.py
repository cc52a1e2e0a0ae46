"""The store is away from everybody."""

import asyncio

from tests.sim.outage import set_reachable
from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.world import Size, World


async def store_away(world: World) -> None:
    """No member reaches the store for two lease times: no session ends; then all is as before."""
    await world.begin()
    await world.connect_all()
    late = world.clients.pop()
    await asyncio.sleep(2)
    set_reachable(world.gateways, False)
    answered = [len(client.all("answered")) for client in world.clients]
    await asyncio.sleep(10)
    states = {gateway.node.membership.state for gateway in world.gateways}
    if states != {"failsafe"}:
        world.findings.append(f"without the store the gateways are {sorted(states)}")
    for client, before in zip(world.clients, answered, strict=True):
        if len(client.all("answered")) < before + 5 or client.all("unanswered"):
            world.findings.unanswered(client.name, "away")
    set_reachable(world.gateways, True)
    await asyncio.sleep(10)
    world.clients.append(late)
    await world.until(world.all_served, RECOVER_S, "not every client was served afterwards")
    if any(len(client.all("established")) != 1 for client in world.clients):
        world.findings.append("a client had to connect again")
    world.check_one_sa_each()
    newcomer = world.client(len(world.clients) + 1)
    world.clients.append(newcomer)
    newcomer.session.start(0)
    await world.until(world.all_served, RECOVER_S, "nobody can connect afterwards")


SCENARIO = Scenario(store_away, size=Size(clients=8))
