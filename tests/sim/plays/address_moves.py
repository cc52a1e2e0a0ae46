"""The highest rung of the ladder: shard and address move, and the client notices nothing."""

import asyncio

from tests.sim.net import Weather
from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.world import Size, World

PATIENCE_S = 12.0
"""A client gives its gateway up after 14.8 s; adopted must be before."""


async def address_moves(world: World) -> None:
    """A gateway is killed, and a survivor takes its address over. Whoever owns its shards now goes
    on with its sessions: the clients' next requests are answered, nobody connects again."""
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(2)
    victim = world.random.choice(world.gateways)
    affected = [client for client in world.clients if victim.name in world.holders(client)]
    if not affected:
        world.findings.append(f"{victim.name} held no session: nothing was tried")
    await victim.kill()
    world.random.choice(world.live()).take_over(victim.host)
    answered = [len(client.all("answered")) for client in affected]
    await world.until(world.all_served, PATIENCE_S, "not every session was adopted")
    await asyncio.sleep(8)
    for client, before in zip(affected, answered, strict=True):
        if len(client.all("answered")) < before + 4:
            world.findings.append(f"{client.name} was not answered by an adopter")
    for client in world.clients:
        if [up["how"] for up in client.all("established")] != ["full"]:
            world.findings.append(f"{client.name} connected again: {client.all('established')}")
    world.check_one_sa_each()
    await world.check_records()
    # an adopted session's ticket is as good as any: the next failover may be without the address
    adopter = world.gateway(world.holders(affected[0])[0])
    for client in affected:
        client.ask_for_a_ticket()
    await asyncio.sleep(2)
    await adopter.kill()
    await world.until(world.all_served, RECOVER_S, "not every client was served again")
    await asyncio.sleep(2)
    world.check_one_sa_each()


# calm: a client repeats its request twice between the adoption and its patience's end, and both may
# be lost where the weather is rough
SCENARIO = Scenario(address_moves, size=Size(clients=12), weather=Weather())
