"""Clients change their addresses, and a NAT forgets them; they keep their sessions (RFC 4555)."""

import asyncio

from tests.sim.nat import Nat
from tests.sim.plays.nat_rebinds import OUTER, PATIENCE_S, where
from tests.sim.scenario import Scenario
from tests.sim.world import Size, World


async def mobike_moves(world: World) -> None:
    """A third of the clients are behind a NAT that forgets, a third move to another address, some
    of them twice. A moment later a gateway dies and a survivor takes its address over: it knows
    where they are. Nobody connects again."""
    await world.begin()
    nat = Nat(OUTER)
    behind, moving = world.clients[::3], world.clients[1::3]
    for client in behind:
        world.net.put_behind(nat, client.local[0])
    await world.connect_all()
    await asyncio.sleep(2)
    before = where(world)
    nat.forget()
    for number, client in enumerate(moving):
        client.roam(f"10.9.0.{number + 1}")
    await asyncio.sleep(1.2 * world.random.random())
    for number, client in enumerate(moving[::2]):
        client.roam(f"10.9.1.{number + 1}")
    await asyncio.sleep(6)
    after = where(world)
    for client in (*behind, *moving):
        if after[client.spi_r] == before[client.spi_r]:
            world.findings.append(f"{client.name} is still looked for at {before[client.spi_r]}")
    for client in moving:
        if after[client.spi_r][0] != client.local[0]:
            world.findings.append(f"{client.name} is looked for at {after[client.spi_r]}")
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


SCENARIO = Scenario(mobike_moves, size=Size(clients=12))
