"""Members of this release and of a made-up next one, in one cluster."""

import asyncio

from tests.sim.mirrors import WHOLE_S, check_mirrors
from tests.sim.net import Weather
from tests.sim.next_release import promote, widen_frame, widen_txn
from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.world import Size, World


async def next_release(world: World) -> None:
    """Two of four members are of the next release: what they send, write and seal has more in it
    than this release knows. Everybody serves, mirrors and resumes; then one of each kind is killed,
    and what it owned is taken over by the others. Nothing that somebody can't read is an obstacle.
    """
    next_ones = world.gateways[::2]
    for gateway in next_ones:
        world.links.dialects[gateway.name] = widen_frame
    begun = world.next_life
    world.next_life = lambda gateway: _life(world, begun(gateway), gateway in next_ones)
    await world.begin()
    vaults = [promote(gateway) for gateway in next_ones]
    await world.connect_all()
    await asyncio.sleep(WHOLE_S)
    await check_mirrors(world)
    await next_ones[0].kill()
    await world.gateways[1].kill()
    await world.until(world.all_served, RECOVER_S, "not every client was served again")
    await asyncio.sleep(WHOLE_S)
    world.check_one_sa_each()
    await world.check_records()
    await check_mirrors(world)
    if not all(vault.widened for vault in vaults):
        world.findings.append("the next release wrote no record: nothing was tried")
    for client in world.clients:
        ways = [up["how"] for up in client.all("established")]
        if "full" in ways[1:]:
            world.findings.append(f"{client.name} didn't resume: {ways}")


def _life(world, made, is_next):
    store, rng = made
    if is_next:
        store.twist = widen_txn
    return store, rng


SCENARIO = Scenario(next_release, size=Size(gateways=4, clients=10), weather=Weather())
