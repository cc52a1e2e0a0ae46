"""The store's room is used up."""

import asyncio

from node.view import View
from tests.sim.machine import SimClient, SimGateway
from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.world import Size, World

FULL_S = 50.0
"""Ten lease times: a lease that wasn't kept would be over."""
BEGINS_S = 5.0


async def store_full(world: World) -> None:
    """For ten lease times the store reads and refuses writes. No gateway is away from it for that:
    each keeps its shards, answers its clients, and says what is wrong. Who comes, and who shows a
    ticket, is served as soon as there is room again, and not before; the ticket is good then."""
    await world.begin()
    late = world.clients.pop()
    await world.connect_all()
    await asyncio.sleep(2)
    wanders = world.clients.pop()
    owned = [dict(gateway.node.ownership.owned) for gateway in world.gateways]
    set_full(world, True)
    late.session.start(0)
    for name in world.holders(wanders):
        world.net.cut(wanders.local[0], world.gateway(name).host)
    await asyncio.sleep(BEGINS_S)
    for _ in range(int((FULL_S - BEGINS_S) / BEGINS_S)):
        answered = [len(client.all("answered")) for client in world.clients]
        await asyncio.sleep(BEGINS_S)
        for gateway in world.gateways:
            _check(world, gateway)
        for client, before in zip(world.clients, answered, strict=True):
            if len(client.all("answered")) == before or client.all("unanswered"):
                world.findings.unanswered(client.name, "full")
    if (_served(late), _served(wanders)) != ([], ["full"]):
        world.findings.append("somebody began or resumed, and the store was full")
    if [gateway.node.ownership.owned for gateway in world.gateways] != owned:
        world.findings.append("shards have moved, though every lease was kept")
    set_full(world, False)
    world.clients += (late, wanders)
    await world.until(world.all_served, RECOVER_S, "not every client was served afterwards")
    if _served(wanders) != ["full", "resumed"]:
        world.findings.append(f"{wanders.name} got on by {_served(wanders)}")
    if any(_served(client) != ["full"] for client in world.clients if client is not wanders):
        world.findings.append("a client had to connect again")
    await world.until(lambda: not _said(world.gateways[0]), BEGINS_S, "it still says no-space")
    await world.until(world.one_sa_each, RECOVER_S, "somebody has an SA that nobody uses")
    await world.check_records()


def _served(client: SimClient) -> list[str]:
    """How it came to its sessions."""
    return [str(up["how"]) for up in client.all("established")]


def set_full(world: World, full: bool) -> None:
    world.trace.event("store full" if full else "store has room")
    for gateway in world.gateways:
        gateway.store.full = full


def _check(world: World, gateway: SimGateway) -> None:
    if gateway.node.membership.state != "normal" or _said(gateway) != ["no-space"]:
        state = gateway.node.membership.state
        world.findings.append(f"the store is full: {gateway.name} is {state}, {_said(gateway)}")


def _said(gateway: SimGateway) -> list[str]:
    """The lines of its status."""
    return [each.name for each in View(gateway.node, "etcd").status().store_conditions]


SCENARIO = Scenario(store_full, size=Size(clients=6))
