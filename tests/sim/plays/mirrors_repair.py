"""Mirrors under loss, with a member that comes late and copies that somebody has bent."""

import asyncio

from cluster.link import MirrorEntry
from tests.sim.machine import SimGateway
from tests.sim.mirrors import WHOLE_S, check_counters, check_mirrors
from tests.sim.net import Weather
from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.world import Size, World


async def mirrors_repair(world: World) -> None:
    """A third of all frames between members are lost while clients come and a gateway dies; it
    comes back late. All copies become whole. Then a record is taken out of one, another is altered
    and a third is put in: each is found within two comparisons, put right and counted.
    """
    await world.begin()
    world.links.loss = 0.3
    await world.connect_all()
    victim = world.random.choice(world.gateways)
    await victim.kill()
    await world.until(world.all_served, RECOVER_S, "not every client was served again")
    await asyncio.sleep(10)
    await world.start(victim)
    late = world.client(len(world.clients) + 1)
    world.clients.append(late)
    late.session.start(world.gateways.index(victim))
    await world.until(world.all_served, RECOVER_S, "not every client was served again")
    await asyncio.sleep(10)
    world.links.loss = 0.0
    await asyncio.sleep(WHOLE_S)
    await check_mirrors(world)
    await _plant(world)
    await asyncio.sleep(11)
    await check_mirrors(world)
    for client in world.clients:
        client.vanish()
    await asyncio.sleep(1)
    check_counters(world)


async def _plant(world: World) -> None:
    for kind in ("lost", "altered", "extra"):
        held = [
            (g, s) for g in world.live() for s in g.node.mirrors.copies() if g.node.mirrors.held(s)
        ]
        if not held:
            world.findings.append("nobody holds a copy: nothing was tried")
            return
        gateway, shard = world.random.choice(held)
        before = gateway.node.mirrors.counts().differences
        _bend(gateway, shard, kind)
        await asyncio.sleep(11)
        if gateway.node.mirrors.counts().differences <= before:
            world.findings.append(f"a record {kind} in {gateway.name}'s copy wasn't found")
    repaired = [e for g in world.gateways for e in g.recorded() if e.kind == "mirror_repaired"]
    if len(repaired) < 3:
        world.findings.append(f"{len(repaired)} repairs were recorded")


def _bend(gateway: SimGateway, shard: int, kind: str) -> None:
    entries = gateway.node.mirrors._in._tables[shard].replica.entries
    spi, entry = next(iter(entries.items()))
    if kind == "lost":
        del entries[spi]
    elif kind == "altered":
        entries[spi] = MirrorEntry(spi, entry.sealed[::-1], entry.revision)
    else:
        spi = bytes(8)
        entries[spi] = MirrorEntry(spi, entry.sealed, entry.revision)


SCENARIO = Scenario(mirrors_repair, size=Size(clients=9), weather=Weather())
