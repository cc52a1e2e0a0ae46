"""A ticket key is revoked, and one gateway hears of it late."""

import asyncio

from cluster.errors import ClusterError
from node.view import View
from tests.sim.net import Weather
from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.world import Size, World

LAG_S = 4.0
"""How late the laggard's watches are; it still reaches the store."""


async def key_revoked(world: World) -> None:
    """The laggard opens a ticket of the revoked key and answers; what it commits then comes after
    the revocation, so it has to look first. The client gets no SA of it, and makes a new one.
    """
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(1)
    operator, laggard = world.random.sample(world.gateways, 2)
    bearer = world.clients[0]
    ticket = bearer.tickets.load()
    if ticket is None:
        world.findings.append("no ticket was issued")
        return
    key = ticket.ticket[1:9]
    bearer.session.close()
    laggard.store.watch_lag_s = LAG_S
    await asyncio.sleep(0.5)

    async def revoke() -> None:
        try:
            await View(operator.node, "memory").revoke_key(key.hex(), lambda line: None)
        except ClusterError as error:
            world.trace.event("revocation", str(error))

    operator.process.context.run(lambda: operator.supervisor.spawn(revoke(), "revoke a key"))
    await world.until(
        lambda: key not in operator.node.rings.ring.tickets.index, 1, "the key was not revoked"
    )
    thief = world.client(len(world.clients), identity=0)
    thief.tickets.save_copy(ticket)
    thief.session.start(world.gateways.index(laggard))
    world.clients[0] = thief
    if key not in laggard.node.rings.ring.tickets.index:
        world.findings.append("the laggard knew before it was tried")
    await world.until(world.all_served, RECOVER_S, "not every client was served")
    ways = [up["how"] for up in thief.all("established")]
    if ways != ["full"]:
        world.findings.append(f"a ticket of a revoked key gave {ways}")
    laggard.store.watch_lag_s = 0.0
    await world.until(
        lambda: all(g.node.rings.ring.tickets.current is not None for g in world.gateways),
        RECOVER_S,
        "no key took the place of the revoked one",
    )
    world.check_one_sa_each()


SCENARIO = Scenario(key_revoked, size=Size(clients=4), weather=Weather())
