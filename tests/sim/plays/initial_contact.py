"""A client begins anew without its state, and says so: its older session ends, wherever it is."""

import asyncio

from cluster.link import Alone
from tests.sim.scenario import Scenario
from tests.sim.world import Size, World

OTHER = bytes(16)
"""Another session's chain."""


async def initial_contact(world: World) -> None:
    """Some clients vanish, ticket and all, and begin anew at another gateway. What they had ends
    within a moment, at whichever member it was, with its record; the new session stays, and so do
    everybody else's."""
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(1)
    lost = world.clients[:4]
    former = [client.spi_r for client in lost]
    for number, client in enumerate(lost):
        client.vanish()
        again = world.client(100 + number, identity=number)
        world.clients[number] = again
        again.session.start(number + 1)
    await world.until(world.all_served, 20, "not everybody was served again")
    await asyncio.sleep(3)
    for gateway in world.live():
        for spi in former:
            if spi in gateway.established():
                world.findings.append(f"{gateway.name} still has {spi.hex()}")
    world.check_one_sa_each()
    await world.check_records()
    await _late(world)


async def _late(world: World) -> None:
    """What was said before a session began, or to another identity of ours, doesn't end it, however
    late it comes; what was said since does."""
    teller = world.gateways[0]
    client = next(one for one in world.clients if teller.name not in world.holders(one))
    holder = world.gateway(world.holders(client)[0])
    core = holder.node.gateway.endpoint.find(client.spi_r)
    if core is None or core.idr is None:
        world.findings.append(f"{client.name} has no session")
        return
    since_s, ours = core.established_wall_s, core.idr.data
    for said, ends in (
        (Alone(core.identity, ours, OTHER, since_s - 1), False),
        (Alone(core.identity, b"other.example", OTHER, since_s + 1), False),
        (Alone(core.identity, ours, core.chain, since_s + 1), False),
        (Alone(core.identity, ours, OTHER, since_s + 2), True),
    ):
        teller.node.seams.link.send(holder.name, said)
        await asyncio.sleep(0.3)
        if ends == (core.spi in holder.established()):
            world.findings.append(f"{client.name}'s session after {said}")


SCENARIO = Scenario(initial_contact, size=Size(clients=12, initial_contact=True))
