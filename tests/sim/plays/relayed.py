"""One gateway loses the store, and only that: everything goes on through another member."""

import asyncio

from cluster.standing import State
from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.world import Size, World


async def relayed(world: World) -> None:
    """For five lease times a gateway reaches the store through others only; the member it goes
    through is killed on the way. It keeps its name and its shards, its clients are answered, a new
    one connects to it, and a ring made meanwhile is installed there.
    """
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(2)
    cut = world.random.choice(world.gateways)
    owned = dict(cut.node.ownership.owned)
    cut.store.set_reachable(False)
    await world.until(lambda: _via(world, cut) != "", 10, "no other way to the store was found")
    await asyncio.sleep(5)
    await _newcomer(world, cut)
    through = _via(world, cut)
    if cut.node.membership.standing.state is not State.RELAYED or not through:
        world.findings.append(f"{cut.name} is {cut.node.membership.state}")
        return
    await world.gateway(through).kill()
    await world.until(lambda: _via(world, cut) not in ("", through), 10, "no third way was found")
    await world.until(world.all_served, RECOVER_S, "not every client was served again")
    await asyncio.sleep(10)
    other = next(g for g in world.live() if g is not cut)
    await other.node.key_parts.rotations.rotate(20.0, lambda _line: None, force=False)
    await world.until(
        lambda: cut.node.rings.revision == other.node.rings.revision, 5, "a ring didn't get there"
    )
    if any(cut.node.ownership.owned.get(shard) != held for shard, held in owned.items()):
        world.findings.append(f"{cut.name} lost shards, though it had a way to the store")
    cut.store.set_reachable(True)
    await world.until(lambda: _via(world, cut) == "", 20, "its own way was not taken again")
    await _newcomer(world, cut)
    await asyncio.sleep(3)
    if cut.node.membership.standing.state is not State.NORMAL:
        world.findings.append(f"{cut.name} is {cut.node.membership.state} in the end")
    world.check_one_sa_each()
    await world.check_records()


def _via(world: World, cut: object) -> str:
    return next(g.node.way.relay.via for g in world.gateways if g is cut)


async def _newcomer(world: World, at: object) -> None:
    client = world.client(len(world.clients) + 1)
    world.clients.append(client)
    client.session.start(next(n for n, g in enumerate(world.gateways) if g is at))
    await world.until(world.all_served, RECOVER_S, "a newcomer was not served")


SCENARIO = Scenario(relayed, size=Size(clients=6))
