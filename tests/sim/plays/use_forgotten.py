"""A ticket is used without the store; who used it stands still, who kept that is started anew."""

import asyncio

from tests.sim.machine import SimGateway
from tests.sim.outage import all_normal, in_failsafe, set_reachable
from tests.sim.plays.lost_in_failsafe import policy
from tests.sim.plays.void_in_failsafe import kept
from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.storm import boot
from tests.sim.world import Size, World


async def use_forgotten(world: World) -> None:
    """The store is back at the one that was started anew, alone, and neither knows of the use. By
    policy the ticket's copy gets a full handshake there, or is taken, which is found when the other
    goes on."""
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(2)
    (original,) = world.clients
    (holder,) = world.holders(original)
    kept_it = world.gateway(holder)
    (used_it,) = (g for g in world.gateways if g is not kept_it)
    ticket = kept(world, original)
    await in_failsafe(world)
    original.vanish()
    copies = [world.client(200 + number, identity=0) for number in range(2)]
    for copy in copies:
        copy.tickets.save_copy(ticket)
    first, second = copies
    world.clients[:] = [first]
    first.session.start(world.gateways.index(used_it))
    await world.until(world.all_served, RECOVER_S, "the ticket wasn't taken without the store")
    used_it.process.pause()
    await started_anew(world, kept_it)
    second.session.start(world.gateways.index(kept_it))
    world.clients[:] = [second]
    await world.until(world.all_served, RECOVER_S, "the copy wasn't served")
    used_it.process.go_on()
    world.clients[:] = copies
    await all_normal(world)
    await world.until(world.all_served, RECOVER_S, "not everybody was served in the end")
    await asyncio.sleep(2)
    accept = kept_it.config.cluster.failsafe_tickets == "accept"
    ways = [up["how"] for up in second.all("established")][:1]
    if ways != ["resumed" if accept else "full"]:
        world.findings.append(f"the copy was served by {ways}")
    found = [g.name for g in world.gateways if any(e.kind == "used_twice" for e in g.recorded())]
    if bool(found) != accept:
        world.findings.append(f"a double use was found at {found}")
    world.check_one_sa_each()
    await world.check_records()


async def started_anew(world: World, gateway: SimGateway) -> None:
    """It ends, the store is back for all, and it begins anew."""
    await gateway.kill()
    set_reachable(world.gateways, True)
    boot(world, gateway)
    await world.until(lambda: gateway.ready, RECOVER_S, "it did not come back")


def two(seed: int) -> Size:
    """Either policy, two gateways."""
    settings = policy(seed).settings
    return Size(gateways=2, clients=1, settings=settings)


SCENARIO = Scenario(use_forgotten, size=two)
