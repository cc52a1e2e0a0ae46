"""What operators, clients and thieves of tickets do."""

import asyncio

from cluster.errors import ClusterError
from node.admin_view import Revoke
from node.view import View
from tests.sim.storm import Storm

TWINS_MAX = 6
"""Clients that present somebody else's ticket, in one run."""


async def rotate(storm: Storm) -> None:
    """An operator has a gateway rotate the keys."""
    gateway = storm.some()
    if gateway is None or not gateway.ready:
        return
    world, node = storm.world, gateway.node
    world.trace.event("rotate", gateway.name)

    async def carry_out() -> None:
        try:
            await View(node, "memory").rotate(
                lambda line: world.trace.event("rotation", line), force=False
            )
        except ClusterError as error:
            world.trace.event("rotation", str(error))

    def begin() -> None:
        gateway.supervisor.spawn(carry_out(), "rotate keys")

    gateway.process.context.run(begin)
    for _ in range(30):  # tickets are sealed all the while
        storm.random.choice(world.clients).ask_for_a_ticket()
        await asyncio.sleep(storm.random.random() * 0.05)


async def end_a_session(storm: Storm) -> None:
    """An operator ends somebody's session."""
    gateway = storm.some()
    if gateway is None or not gateway.established() or gateway.process.paused:
        return
    spi = storm.random.choice(gateway.established())
    storm.world.trace.event("terminate", gateway.name, spi)
    gateway.process.context.run(gateway.node.gateway.terminate, spi)


async def revoke(storm: Storm) -> None:
    """An operator revokes a session, a person's sessions, or every ticket that is older."""
    gateway = storm.some()
    if gateway is None or not gateway.established() or gateway.process.paused:
        return
    world, node = storm.world, gateway.node
    core = node.gateway.endpoint.find(storm.random.choice(gateway.established()))
    if core is None:
        return
    now_s = gateway.clock.wall_s()
    kind = storm.random.choice(("session", "session", "identity", "issued-before"))
    what = Revoke(kind, core.chain, core.identity, now_s - storm.between(0, 60))
    world.trace.event("revoke", kind, core.chain, core.identity)
    if kind == "identity":
        world.ledger.revoked_identities[core.identity] = now_s

    async def carry_out() -> None:
        try:
            world.trace.event("revoked", await View(node, "memory").revoke(what))
        except ClusterError as error:
            world.trace.event("revoked", str(error))

    def begin() -> None:
        gateway.supervisor.spawn(carry_out(), "revoke")

    gateway.process.context.run(begin)
    await asyncio.sleep(0)


async def ticket_twice(storm: Storm) -> None:
    """A ticket that was copied is presented at two gateways at once, and the owner lives on."""
    client = storm.random.choice(storm.world.clients)
    ticket = client.tickets.load()
    if ticket is None or len(storm.twins) >= TWINS_MAX:
        return
    number = int(client.name.removeprefix("rfc822:c").partition("@")[0])
    storm.world.trace.event("ticket twice", client.name)
    for at in range(2):
        twin = storm.new_client(number)
        storm.twins.append(twin)
        twin.tickets.save_copy(ticket)
        twin.session.start(at)
    await asyncio.sleep(0)


async def come_and_go(storm: Storm) -> None:
    """A client closes its session, and another comes in its place."""
    clients = storm.world.clients
    at = storm.random.randrange(len(clients))
    leaver, clients[at] = clients[at], storm.new_client()
    storm.world.trace.event("leaves", leaver.name)
    storm.leavers.append(leaver)
    leaver.session.close()
    clients[at].session.start(storm.random.randrange(len(storm.world.gateways)))


FAULTS = (rotate, end_a_session, revoke, ticket_twice, come_and_go)
