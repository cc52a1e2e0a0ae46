"""A member starts while the others go on without the store; tickets are pointers into it."""

import asyncio

from tests.sim.plays.comes_in_failsafe import left_alone, walks
from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.storm import boot
from tests.sim.world import Size, World


async def comes_in_failsafe_by_reference(world: World) -> None:
    """A ticket points to what those keep that live without the store. Shown to the one that the
    store answers, it isn't refused as used or unknown: it is silent until it can know."""
    late, _others = await left_alone(world)
    client = world.clients[0]
    await walks(world, client)  # in full: what its ticket pointed to is in the store
    ticket = client.tickets.load()
    if ticket is None:
        world.findings.append("no ticket was issued")
        return
    boot(world, late)
    await world.until(lambda: late.ready, 10, "it did not come back")
    await asyncio.sleep(0.05)
    client.stop()
    client.vanish()
    copy = world.clients[0] = world.client(100, identity=0)
    copy.tickets.save_copy(ticket)
    copy.session.start(world.gateways.index(late))
    await world.until(world.all_served, RECOVER_S, "not every client was served again")
    if [up["how"] for up in copy.all("established")] != ["resumed"]:
        world.findings.append("a ticket that was issued without the store was refused")


SCENARIO = Scenario(
    comes_in_failsafe_by_reference,
    size=Size(clients=3, settings={"ike": {"tickets": "by-reference"}}),
)
