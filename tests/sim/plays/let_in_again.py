"""Somebody is revoked, and lets himself be authenticated anew while the store is away."""

import asyncio

from node.admin_view import Revoke
from node.view import View
from tests.sim.net import Weather
from tests.sim.outage import in_failsafe, normal_again
from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.world import Size, World

AHEAD_S = 10.0
"""The revocation is dated so far ahead: its end is when the store is away."""


async def let_in_again(world: World) -> None:
    """A person's sessions are revoked, and the store goes. His client comes back as soon as it is
    let in, a moment after the revocation's date. That session is one like any other: the store gets
    it when it is back, and it goes on."""
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(1)
    person, operator = world.clients[0], world.gateways[0]
    operator.clock.wall_offset_s += AHEAD_S
    await View(operator.node, "memory").revoke(Revoke("identity", identity=person.name))
    operator.clock.wall_offset_s -= AHEAD_S
    await world.until(lambda: not world.holders(person), 5, "the revoked session did not end")
    await in_failsafe(world)
    if world.holders(person):
        world.findings.append(f"{person.name} was let in at once")
    await world.until(world.all_served, RECOVER_S, "who was revoked did not come back")
    await normal_again(world)
    await asyncio.sleep(2)
    world.check_one_sa_each()
    await world.check_records()


SCENARIO = Scenario(let_in_again, size=Size(clients=3), weather=Weather())
