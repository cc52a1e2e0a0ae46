"""Clients behind a NAT that forgets them: the gateways follow, and so does who adopts."""

import asyncio

from tests.sim.nat import Nat
from tests.sim.scenario import Scenario
from tests.sim.world import Size, World

PATIENCE_S = 12.0
"""A client gives its gateway up after 14.8 s."""
OUTER = "198.51.100.1"


async def nat_rebinds(world: World) -> None:
    """Half of the clients are behind a NAT, and go on at port 4500. It restarts twice; the second
    time a gateway dies a moment later, and a survivor takes its address over. Nobody connects
    again, for each request from a new port moves the gateway's end."""
    await world.begin()
    nat = Nat(OUTER)
    behind = world.clients[::2]
    for client in behind:
        world.net.put_behind(nat, client.local[0])
    await world.connect_all()
    await asyncio.sleep(2)
    before = where(world)
    for client in world.clients:
        here = before[client.spi_r]
        if (here[0] == OUTER) != (client in behind):
            world.findings.append(f"{client.name} is seen at {here}")
    nat.forget()
    await asyncio.sleep(5)
    after = where(world)
    for client in behind:
        if after[client.spi_r] == before[client.spi_r]:
            world.findings.append(f"{client.name} is still looked for at {before[client.spi_r]}")
    nat.forget()
    await asyncio.sleep(1)
    victim = world.random.choice(world.gateways)
    await victim.kill()
    world.random.choice(world.live()).take_over(victim.host)
    await world.until(world.all_served, PATIENCE_S, "not every session was adopted")
    await asyncio.sleep(8)
    for client in world.clients:
        if [up["how"] for up in client.all("established")] != ["full"]:
            world.findings.append(f"{client.name} connected again: {client.all('established')}")
    world.check_one_sa_each()
    await world.check_records()


def where(world: World) -> dict[bytes, tuple[str, int]]:
    """Where the gateways see the other end of each of their SAs."""
    return {
        core.spi: path.remote
        for gateway in world.live()
        for core, path in gateway.node.gateway.endpoint.established()
    }


SCENARIO = Scenario(nat_rebinds, size=Size(clients=12, mobike="off"))
