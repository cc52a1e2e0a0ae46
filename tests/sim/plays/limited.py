"""Clients of one identity come to all gateways at once, and may have two sessions in all."""

import asyncio

from tests.sim.scenario import Scenario
from tests.sim.world import Size, World

MOST = 2
IDENTITY = 700


async def limited(world: World) -> None:
    """Exactly two of them get in, wherever they ask; the others are refused until one leaves. A
    gateway dies: what was there comes back by its ticket, for it is one session as before."""
    await world.begin()
    many = [
        world.client(700 + n, identity=IDENTITY, gateways=(world.gateways[n % 3].address,))
        for n in range(6)
    ]
    world.clients = []
    for client in many:
        client.session.start(0)
    watching = asyncio.create_task(_watch(world))
    await world.until(lambda: _live(world) == MOST, 20, "the seats weren't taken")
    await asyncio.sleep(10)
    inside = [client for client in many if world.holders(client)]
    outside = [client for client in many if client not in inside]
    if len(inside) != MOST or not all(client.all("failed") for client in outside):
        world.findings.append(f"{len(inside)} are in, {len(outside)} out")
    inside[0].session.close()
    await world.until(
        lambda: any(world.holders(client) for client in outside), 60, "nobody got the free seat"
    )
    watching.cancel()
    world.clients = [client for client in many if world.holders(client)]
    for client in many:
        if client not in world.clients:
            client.vanish()
    await asyncio.sleep(1)  # what they had begun is refused by now: who is dead isn't counted
    await world.gateway(world.holders(world.clients[0])[0]).kill()
    await asyncio.sleep(40)
    if _live(world) > MOST:
        world.findings.append(f"{_live(world)} sessions after a gateway's death")


def _live(world: World) -> int:
    return sum(len(gateway.established()) for gateway in world.live())


async def _watch(world: World) -> None:
    while True:
        if _live(world) > MOST:
            world.findings.append(f"{_live(world)} sessions at a time")
            return
        await asyncio.sleep(0.01)


SCENARIO = Scenario(limited, size=Size(clients=0, settings={"ike": {"sessions_max": MOST}}))
