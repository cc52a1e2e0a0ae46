"""What happens between members and the store."""

import asyncio

from cluster.errors import Compacted
from cluster.layout import Keys
from tests.sim.machine import CLUSTER
from tests.sim.outage import set_reachable
from tests.sim.storm import Storm
from tests.sim.world import World


async def store_away(storm: Storm) -> None:
    """One member's way to the store is cut, or everybody's."""
    gateway = storm.some()
    away = storm.world.live() if storm.random.random() < 0.3 or gateway is None else [gateway]
    for each in away:
        storm.world.trace.event("store cut", each.name)
        each.store.set_reachable(False)
    await asyncio.sleep(storm.between(0.5, 20))
    set_reachable(away, True)


async def store_down(storm: Storm) -> None:
    """The store answers nobody, for longer than a lease: those that run go on without it, and come
    back to it one after the other."""
    away = storm.world.live()
    storm.world.trace.event("store down", len(away))
    set_reachable(away, False)
    await asyncio.sleep(storm.between(4, 30))
    for each in away:
        each.store.set_reachable(True)
        await asyncio.sleep(storm.between(0, 2))


async def store_flaky(storm: Storm) -> None:
    """A member's store answers slowly, not at all, too late, or is carried out too late."""
    gateway = storm.some()
    if gateway is None:
        return
    store = gateway.store
    store.jitter_s = storm.random.choice((0.0, 0.02, 0.2))
    store.doubt = storm.random.choice((0.0, 0.2, 1.0))
    store.late = storm.random.choice((0.0, 0.2, 0.6))
    store.refused = storm.random.choice((0.0, 0.2))
    storm.world.trace.event("store flaky", gateway.name)
    await asyncio.sleep(storm.between(1, 15))
    store.jitter_s = store.doubt = store.late = store.refused = 0.0


async def lease_lost(storm: Storm) -> None:
    """The store forgets a member's lease."""
    gateway = storm.random.choice(storm.world.gateways)
    entry = await storm.world.store.get(Keys(CLUSTER).member(gateway.name))
    if entry is not None:
        storm.world.trace.event("lease lost", gateway.name)
        storm.world.store.revoke(entry.lease_id)


async def compact(storm: Storm) -> None:
    """The store's history goes, also what a watch still wanted."""
    revision = (await storm.world.store.scan(b"\xff")).revision
    storm.world.trace.event("compaction", revision)
    try:
        await storm.world.store.compact(revision)
    except Compacted:
        return


async def watches_break(storm: Storm) -> None:
    """Every watch of a member ends."""
    gateway = storm.some()
    if gateway is not None:
        storm.world.trace.event("watches break", gateway.name)
        gateway.store.break_watches()


def calm(world: World) -> None:
    """Everybody reaches the store, and it answers at once."""
    for gateway in world.live():
        store = gateway.store
        store.jitter_s = store.doubt = store.late = store.refused = 0.0
        store.before_commit = store.after_commit = None
        store.set_reachable(True)


FAULTS = (store_away, store_down, store_flaky, lease_lost, compact, watches_break)
