"""The store is away, and what comes back is an old copy of it."""

import asyncio

from cluster.standing import State
from tests.sim.outage import in_failsafe, set_reachable
from tests.sim.plays.store_rewound import accept, all_are
from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.store import Snapshot
from tests.sim.world import Size, World


async def failsafe_rewound(world: World) -> None:
    """Who goes on without the store and finds it behind begins no session any more, neither by
    ticket nor by handshake: all of it would be void once the restore is accepted. What runs is
    answered meanwhile, and everybody is served afterwards.
    """
    await world.begin()
    late, later = world.clients.pop(), world.clients.pop()
    await world.connect_all()
    await asyncio.sleep(1)
    copy = Snapshot(world.store)
    later.session.start(0)
    world.clients.append(later)
    await world.until(world.all_served, RECOVER_S, "not every client was served")
    await in_failsafe(world)
    copy.put_back()
    await world.ledger.put_back()
    set_reachable(world.gateways, True)
    await world.until(lambda: all_are(world, State.STORE_REWOUND), 10, "not all have noticed")
    await _nothing_begins(world)
    late.session.start(0)
    await asyncio.sleep(8)
    if late.all("established"):
        world.findings.append("a session began while the store was behind")
    world.clients.append(late)
    await accept(world, world.gateways[0])
    await world.until(world.all_served, 3 * RECOVER_S, "not every client was served again")


async def _nothing_begins(world: World) -> None:
    mover, *others = world.clients
    before, answered = len(mover.all("established")), [len(c.all("answered")) for c in others]
    for name in world.holders(mover):
        world.net.cut(mover.local[0], world.gateway(name).host)
    await asyncio.sleep(RECOVER_S)
    if len(mover.all("established")) > before:
        world.findings.append("a ticket was taken while the store was behind")
    for client, count in zip(others, answered, strict=True):
        if len(client.all("answered")) < count + 10:
            world.findings.unanswered(client.name, "behind")
    world.net.heal()


SCENARIO = Scenario(failsafe_rewound, size=Size(clients=6))
