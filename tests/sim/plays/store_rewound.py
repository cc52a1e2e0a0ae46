"""The store is put back to what it was a while ago, and an operator accepts that."""

import asyncio

from cluster.errors import ClusterError
from cluster.keyring import KeyRing
from cluster.standing import State
from cluster.store import Put, Txn
from node.view import View
from tests.sim.machine import SimGateway, SimNotebook
from tests.sim.mirrors import check_mirrors
from tests.sim.outage import set_reachable
from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.store import Snapshot
from tests.sim.world import Size, World


async def store_rewound(world: World) -> None:
    """Keys, owners and sessions have moved on since the copy was made. While nobody says a word,
    what runs is answered and nothing is claimed, though the copy's revision goes on past every one
    that was seen, and though one gateway starts that has seen nothing. Then every member begins
    anew under a higher epoch, every client does a full handshake, and nothing of before comes back.
    """
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(1)
    copy = Snapshot(world.store)
    await _move_on(world)
    former = _secrets(world.ledger.rings)
    set_reachable(world.gateways, False)
    await asyncio.sleep(1.5)
    copy.put_back()
    await world.ledger.put_back()
    set_reachable(world.gateways, True)
    if await world.until(lambda: all_are(world, State.STORE_REWOUND), 10, "not all have noticed"):
        await _while_rewound(world)
        await _accepted(world)
        if former & _secrets([gateway.node.rings.ring for gateway in world.gateways]):
            world.findings.append("a key of a former epoch is in the ring")


async def _move_on(world: World) -> None:
    victim = world.random.choice(world.gateways)
    await victim.kill()
    await world.until(world.all_served, RECOVER_S, "not every client was served again")
    await world.start(victim)
    await world.until(world.all_owned, 30, "not every shard got an owner")
    await victim.node.key_parts.rotations.rotate(20.0, lambda _line: None, force=False)
    await asyncio.sleep(2)


async def _while_rewound(world: World) -> None:
    owned = [dict(gateway.node.ownership.owned) for gateway in world.gateways]
    answered = [len(client.all("answered")) for client in world.clients]
    reborn = world.random.choice(world.gateways)  # a start finds the same
    others = [g for g in world.gateways if g is not reborn]
    kept = [client for client in world.clients if reborn.name not in world.holders(client)]
    kept = [client for client in kept if not client.session.gateway.startswith(f"{reborn.host}:")]
    await reborn.kill()
    if world.random.random() < 0.5:
        reborn.notebook = SimNotebook()  # a data directory that has seen nothing
    for _ in range(1000):
        await world.store.commit(Txn((), (Put(b"/elsewhere", b""),)))
    reborn.boot(*world.next_life(reborn))
    await asyncio.sleep(10)
    for client, before in zip(world.clients, answered, strict=True):
        if client in kept and len(client.all("answered")) < before + 5:
            world.findings.unanswered(client.name, "behind")
    for gateway, before in zip(world.gateways, owned, strict=True):
        if gateway in others and dict(gateway.node.ownership.owned) != before:
            world.findings.append(f"{gateway.name} has other shards than before")
    if reborn.ready:
        world.findings.append(f"{reborn.name} joined a store that is behind")


async def _accepted(world: World) -> None:
    await accept(world, world.random.choice(world.gateways))
    await world.until(
        lambda: all(g.ready and g.node.state.state.epoch == 1 for g in world.gateways),
        30,
        "not every member has begun anew",
    )
    await world.until(world.all_owned, 30, "not every shard got an owner")
    await world.until(world.all_served, 2 * RECOVER_S, "not every client was served again")
    await asyncio.sleep(3)
    world.check_one_sa_each()
    await world.check_records()
    for client in world.clients:
        if client.all("established")[-1]["how"] != "full":
            world.findings.append(f"{client.name} resumed with a ticket of a former epoch")
        if not client.all("ticket_refused"):
            world.findings.append(f"{client.name} was not told that its ticket is void")
    if not all_are(world, State.NORMAL):
        world.findings.append("not all are back to normal")
    await asyncio.sleep(10)
    await check_mirrors(world)  # the restored store's revisions are lower than those seen before


async def accept(world: World, gateway: SimGateway) -> None:
    """An operator accepts the restored store, at `gateway`."""

    async def accept() -> None:
        try:
            await View(gateway.node, "memory").accept_restore("sim", lambda _line: None)
        except ClusterError as error:
            world.findings.append(f"it could not be accepted: {error}")

    gateway.process.context.run(gateway.supervisor.spawn, accept(), "accept")
    await asyncio.sleep(2)


def _secrets(rings: list[KeyRing]) -> set[bytes]:
    return {
        key.secret.octets
        for ring in rings
        for keys in (ring.tickets, ring.records, ring.cookie_keys, ring.qcd)
        for key in keys.keys
    }


def all_are(world: World, state: State) -> bool:
    """Whether every gateway stands so."""
    return all(g.node.membership.standing.state is state for g in world.gateways)


SCENARIO = Scenario(store_rewound, size=Size(clients=6))
