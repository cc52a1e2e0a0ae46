"""Shards with live sessions go from hand to hand, and no client notices."""

import asyncio

from cluster.errors import ClusterError
from cluster.moves import move
from tests.sim.machine import SimGateway
from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.world import Size, World

MOVES = 25
MOVE_S = 5.0


async def hand_over(world: World) -> None:
    """On a lossy network with every client asking twice a second an operator moves shards about;
    then a gateway ends in order and comes back, and gets its shards with all that lives in them."""
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(1)
    moved = [await move_one(world) for _ in range(MOVES)]
    if sum(moved) < MOVES / 2:
        world.findings.append(f"only {sum(moved)} of {MOVES} shards were moved")
    await world.until(world.all_served, 10, "not every client is served after the moves")
    for client in world.clients:
        if [up["how"] for up in client.all("established")] != ["full"] or client.all("unanswered"):
            world.findings.append(f"{client.name} noticed a move: {client.reports[-3:]}")
    for gateway in world.gateways:
        for spi in gateway.established():
            if gateway.node.gateway.endpoint.is_asking(spi):
                world.findings.append(f"{gateway.name} doesn't know what {spi.hex()} expects next")
    await _ask_everybody(world)
    await _leave_and_return(world)
    world.check_one_sa_each()
    await world.check_records()


async def _ask_everybody(world: World) -> None:
    """Each owner asks its clients for life, under the message IDs that former owners came to."""
    ended = sum(line.startswith("session ended") for g in world.gateways for line in g.log.lines)
    for gateway in world.gateways:
        gateway.process.context.run(_probe_all, gateway)
    await asyncio.sleep(20)
    now = sum(line.startswith("session ended") for g in world.gateways for line in g.log.lines)
    if now > ended:
        world.findings.append(f"{now - ended} clients did not answer the owner of their session")


def _probe_all(gateway: SimGateway) -> None:
    shell = gateway.node.gateway
    for spi in gateway.established():
        outcome = shell.endpoint.probe(spi, shell.now())
        if outcome is not None:
            shell.lane.carry_out(outcome)
    shell.rearm()


async def _leave_and_return(world: World) -> None:
    gateway = world.random.choice(world.gateways)
    gateway.end()
    await world.until(lambda: not gateway.alive, 10, "a gateway did not end")
    await world.until(world.all_served, RECOVER_S, "not every client was served again")
    up = [len(client.all("established")) for client in world.clients]
    await world.start(gateway)
    await world.until(lambda: _has_its_own(world, gateway), 10, "no shard came back with all in it")
    await world.until(world.all_owned, 10, "not every shard got an owner again")
    answered = [len(client.all("answered")) for client in world.clients]
    await asyncio.sleep(8)
    for client, ups, before in zip(world.clients, up, answered, strict=True):
        if len(client.all("established")) != ups:
            world.findings.append(f"{client.name} noticed that shards were balanced")
        if len(client.all("answered")) < before + 4:
            world.findings.append(f"{client.name} was not answered after the balancing")


def _has_its_own(world: World, gateway: SimGateway) -> bool:
    """Does it own a shard again, and have every session that lives in what it owns? There may be
    none: the operator's moves have left it few shards."""
    owned, shard_of = gateway.node.ownership.owned, gateway.node.codec.shard_of
    there = {client.spi_r for client in world.clients if shard_of(client.spi_r) in owned}
    return bool(owned) and there <= set(gateway.established())


async def move_one(world: World) -> bool:
    """An operator moves some shard with sessions in it to another live gateway; whether it went."""
    source = world.random.choice([g for g in world.live() if g.established()] or world.live())
    heir = world.random.choice([gateway for gateway in world.gateways if gateway is not source])
    spis = source.established()
    if not spis or not source.ready:
        return False
    shard = source.node.codec.shard_of(world.random.choice(spis))
    world.trace.event("move", shard, source.name, heir.name)
    done: asyncio.Future[bool] = world.loop.create_future()
    source.process.context.run(_spawn, source, shard, heir.name, done)
    await asyncio.wait((done,), timeout=2 * MOVE_S)
    return done.done() and done.result()


def _spawn(source: SimGateway, shard: int, heir: str, done: "asyncio.Future[bool]") -> None:
    async def carry_out() -> None:
        node = source.node
        try:
            await move(node.ownership, node.membership.members, shard, heir, MOVE_S)
        except ClusterError:
            done.set_result(False)
        else:
            done.set_result(True)

    source.supervisor.spawn(carry_out(), "move a shard")


SCENARIO = Scenario(hand_over, size=Size(clients=12))
