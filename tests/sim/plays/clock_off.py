"""Somebody sets the date of one gateway's machine wrong."""

import asyncio

from node.view import View
from tests.sim.machine import SimGateway
from tests.sim.scenario import Scenario
from tests.sim.world import Size, World

SEEN_S = 10.0


async def clock_off(world: World) -> None:
    """Whose clock is off issues no tickets, and says so, until it is right again; the others say
    who differs. Its clients are served, and go on elsewhere by a full handshake. Of two gateways
    that differ nobody can tell who is right: both go on issuing."""
    await world.begin()
    late, *others = world.clients
    world.clients = others
    await world.connect_all()
    wrong = world.random.choice(world.gateways)
    right_s = wrong.clock.wall_offset_s
    wrong.clock.wall_offset_s = right_s + world.random.choice((-60.0, 60.0))
    for gateway in world.gateways:
        line = "clock-off" if gateway is wrong else "clocks-differ"
        await _until_it_says(world, gateway, line)
    world.clients.append(late)
    late.session.start(world.gateways.index(wrong))
    await world.until(world.all_served, SEEN_S, "who came to it is not served")
    if late.tickets.load() is not None:
        world.findings.append(f"{wrong.name} issued a ticket, and its clock is off")
    wrong.clock.wall_offset_s = right_s
    await _until_it_says(world, wrong)
    await wrong.kill()
    await world.until(world.all_served, 60, "not every client was served afterwards")
    if [up["how"] for up in late.all("established")] != ["full", "full"]:
        world.findings.append(f"{late.name} went on without a ticket: {late.reports[-3:]}")
    await _of_two(world, wrong)


async def _of_two(world: World, dead: SimGateway) -> None:
    one, other = (gateway for gateway in world.gateways if gateway is not dead)
    one.clock.wall_offset_s += 60.0
    for gateway in (one, other):
        await _until_it_says(world, gateway, "clocks-differ")
    newcomer = world.client(len(world.clients) + 1)
    world.clients.append(newcomer)
    newcomer.session.start(world.gateways.index(one))
    await world.until(world.all_served, SEEN_S, "who came to one of two is not served")
    if newcomer.tickets.load() is None:
        world.findings.append("one of two issued no ticket")
    one.clock.wall_offset_s -= 60.0
    await asyncio.sleep(SEEN_S)


async def _until_it_says(world: World, gateway: SimGateway, *lines: str) -> None:
    said = f"{gateway.name} doesn't say {list(lines)} of clocks"
    await world.until(lambda: _lines(gateway) == list(lines), SEEN_S, said)


def _lines(gateway: SimGateway) -> list[str]:
    """What its status says of clocks."""
    names = [each.name for each in View(gateway.node, "etcd").status().store_conditions]
    return [name for name in names if name.startswith("clock")]


SCENARIO = Scenario(clock_off, size=Size(clients=4))
