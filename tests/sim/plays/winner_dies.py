"""A copied ticket, and nobody left to tell the first SA's owner of it."""

import asyncio

from node.audit import CYCLE_S
from proto.ike.adopt import SILENT_S
from tests.sim.machine import SimClient
from tests.sim.net import Weather
from tests.sim.plays.void_in_failsafe import kept
from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.world import Size, World


async def winner_dies(world: World) -> None:
    """A ticket was copied, and the gateway that takes the copy dies between its commit and its
    answer: nobody tells the first SA's owner, who finds out by itself that the chain left it.
    """
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(1)
    thief, former, at = copied(world)
    winner = world.gateways[at]
    winner.store.after_commit = winner.cut_down
    thief.session.start(at)
    await world.until(lambda: not winner.alive, 10, "the copy was not taken")
    thief.vanish()
    await world.until(
        lambda: all(former not in gateway.established() for gateway in world.live()),
        2 * CYCLE_S,
        "an SA that its chain doesn't name is held",
    )
    await world.until(world.all_served, RECOVER_S, "not every client was served again")
    await asyncio.sleep(SILENT_S)  # the copy's SA was adopted, and nobody is behind it
    world.check_one_sa_each()
    await world.check_records()


def copied(world: World) -> tuple[SimClient, bytes, int]:
    """Somebody with a copy of the first client's ticket; the SPI of that one's SA at its gateway,
    and the index of another gateway.
    """
    original = world.clients[0]
    at = (world.gateways.index(world.gateway(world.holders(original)[0])) + 1) % len(world.gateways)
    thief = world.client(len(world.clients), identity=0)
    thief.tickets.save_copy(kept(world, original))
    return thief, original.spi_r, at


SCENARIO = Scenario(winner_dies, size=Size(clients=4), weather=Weather())
