"""A copied ticket, whose session ends before the first SA's owner has heard of it."""

import asyncio

from node.audit import CYCLE_S
from tests.sim.net import Weather
from tests.sim.plays.winner_dies import copied
from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.world import Size, World


async def winner_ends(world: World) -> None:
    """A copy of a ticket is taken at a gateway that the first SA's owner can't hear, and its
    session ends with a Delete, and the chain with it: the owner finds out by itself that its SA is
    nobody's any more.
    """
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(1)
    thief, former, at = copied(world)
    (owner,) = world.holders(world.clients[0])
    world.links.cut(world.gateways[at].name, owner)
    thief.session.start(at)
    await world.until(lambda: bool(thief.all("established")), 10, "the copy was not taken")
    thief.session.close()
    await asyncio.sleep(1)
    thief.vanish()
    world.links.heal()
    await world.until(
        lambda: all(former not in gateway.established() for gateway in world.live()),
        3 * CYCLE_S,
        "an SA whose chain is over is held",
    )
    await world.until(world.all_served, RECOVER_S, "not every client was served again")
    world.check_one_sa_each()
    await world.check_records()


SCENARIO = Scenario(
    winner_ends,
    size=Size(clients=4, settings={"ike": {"revoke_on_delete": True}}),
    weather=Weather(),
)
