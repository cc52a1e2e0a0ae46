"""The storm: the seed chooses who is there, what goes wrong and how often; then all has to be well.

Rules: the safety phase has faults, and only what must *never* happen is looked for. The liveness
phase has none: within `RECOVER_S` every client has one working session, and `FOUND_SILENT_S` after
the last shard can move nobody holds any other (I9).
"""

import asyncio

from cluster.patience import GIVE_UP_S
from tests.sim.faults import FAULTS, Fault, calm
from tests.sim.mirrors import check_mirrors
from tests.sim.net import Weather
from tests.sim.scenario import FOUND_SILENT_S, Scenario
from tests.sim.storm import Storm, boot
from tests.sim.swarm import size_of
from tests.sim.world import World

RECOVER_S = 150.0
"""From the end of the faults until every client is served. Leases, dead peer detection and the
grace of an owner that comes back add up to less than half of it."""
ANSWERED_S = 15.0
REKEYING_S = 5.0
"""How long two ends may differ about which SA is in use: as one of them is rekeyed."""
PRESENT = 0.6
"""Share of the faults that a seed has in its storm: with all of them at once some hide others."""
EVERY_S = (5.0, 20.0, 80.0)
"""Mean time from one strike of a fault to its next, in a short storm."""
LONG_FACTOR = 5


async def storm(world: World) -> None:
    """See the module."""
    await world.begin()
    for number, client in enumerate(world.clients):
        client.session.start(number)
        await asyncio.sleep(world.random.random() * 0.05)
    await asyncio.sleep(2)
    play = Storm(world)
    await _safety(play)
    await play.stop()
    world.trace.event("calm")
    calm(world)
    await _liveness(play)


async def _safety(play: Storm) -> None:
    """Faults of the kinds that the seed has chosen, each as often as it has chosen."""
    choose = play.random
    long = choose.random() < 0.1
    length_s = choose.uniform(900, 1800) if long else choose.uniform(20, 90)
    for fault in FAULTS:
        seen = play.seen_by(fault.__name__)
        if seen.random.random() < PRESENT:
            every_s = seen.random.choice(EVERY_S) * (LONG_FACTOR if long else 1)
            play.spawn(_now_and_then(seen, fault, every_s))
    await asyncio.sleep(length_s)


async def _now_and_then(seen: Storm, fault: Fault, every_s: float) -> None:
    while True:
        await asyncio.sleep(seen.random.expovariate(1 / every_s))
        seen.world.trace.event("fault", fault.__name__)
        seen.spawn(fault(seen))


async def _liveness(play: Storm) -> None:
    world = play.world
    for client in play.twins:
        client.session.close()
    for gateway in world.gateways:
        if gateway.alive and gateway.deposed:
            gateway.cut_down()
    await asyncio.sleep(10)  # those told to end have ended, late commits have come
    for gateway in world.gateways:
        if not gateway.alive:
            boot(world, gateway)
    for client in (*play.twins, *play.leavers):
        client.vanish()
    await asyncio.sleep(10)
    world.invariants.calm = True
    if not await world.until(world.all_served, RECOVER_S, "not every client was served again"):
        return
    # until then a shard may stay where it is, and whoever gets it asks its silent SAs anew
    await world.until(lambda: _none_held(world), GIVE_UP_S, "what nobody asks for was held on to")
    await asyncio.sleep(FOUND_SILENT_S)
    before = [len(client.all("answered")) for client in world.clients]
    served = [client.all("established")[-1] for client in world.clients]
    await asyncio.sleep(ANSWERED_S)
    for client, count, sa in zip(world.clients, before, served, strict=True):
        if len(client.all("answered")) <= count or client.all("established")[-1] is not sa:
            world.findings.append(f"{client.name} was not answered all the time in the end")
    await world.until(world.one_sa_each, REKEYING_S, "each client's one SA was not in use")
    world.check_one_sa_each()
    world.check_addresses()
    await world.check_records()
    await check_mirrors(world)
    if sum(len(gateway.node.ownership.owned) for gateway in world.live()) != world.size.shards:
        world.findings.append("in the end not every shard had exactly one owner")


def _none_held(world: World) -> bool:
    """Whether no gateway holds an operation back for a client who may have given up."""
    return all(g.node.journal.waiting == g.node.journal.pending for g in world.live())


SCENARIO = Scenario(storm, size=size_of, weather=Weather())
