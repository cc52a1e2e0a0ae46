"""How soon a dead member's sessions are answered at a survivor, and that every one of them is.

Rules: the time runs from when the store says that the dead member's key is gone, until the survivor
has recorded that the last session is adopted and one of them has had its next request answered. It
is told by the store's watch and the survivor's own record, both on CLOCK_BOOTTIME. A session that
isn't adopted, or whose next request isn't answered, makes the run void.
"""

import asyncio
import os
import signal

import msgspec

from bench.cluster import MEASURED, Cluster
from bench.load import Order, Report
from bench.piped import Broken, Piped
from cluster.layout import Keys
from cluster.store import ChangeKind
from node.drill.lab import CLUSTER
from node.seams import OsClock

SURVIVOR = "gw2"
POLL_S = 0.01
TAKEN_TIMEOUT_S = 60.0


class Adopted(msgspec.Struct, frozen=True):
    """What is read of a survivor's record."""

    t: float
    kind: str
    sessions: int = 0


class Takeover(msgspec.Struct, frozen=True):
    """Seconds from the end of the dead member's key."""

    loaded_s: float
    answered_s: float


async def takeover(cluster: Cluster, load: Piped, sessions: int) -> Takeover:
    """Kill gw1, which holds `sessions`; when they were gw2's. Raises Broken, ClusterError."""
    clock, keys = OsClock(), Keys(CLUSTER)
    found = await cluster.store.scan(keys.members)
    taken = 0
    gone = asyncio.create_task(_gone(cluster, keys.member(MEASURED), found.revision))
    os.kill(cluster.pid(), signal.SIGKILL)
    try:
        async with asyncio.timeout(TAKEN_TIMEOUT_S):
            gone_s = await gone
            while True:
                taken = sum(one.sessions for one in _adopted(cluster))
                if taken >= sessions:
                    break
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise Broken(f"only {taken} of {sessions} sessions were adopted") from None
    await _answered(load, Order("probe", 1, 1, cluster.address_of(SURVIVOR)))
    answered_s = clock.boot_s()
    await _answered(load, Order("probe", sessions, 64, cluster.address_of(SURVIVOR)))
    loaded_s = max(one.t for one in _adopted(cluster))
    return Takeover(loaded_s - gone_s, answered_s - gone_s)


async def _gone(cluster: Cluster, key: bytes, revision: int) -> float:
    async for changes in cluster.store.watch(key, revision + 1):
        for change in changes.changes:
            if change.kind is ChangeKind.DELETE and change.entry.key == key:
                return OsClock().boot_s()
    raise Broken("the watch of the dead member's key ended")


def _adopted(cluster: Cluster) -> list[Adopted]:
    lines = cluster.recorded(SURVIVOR)
    events = [msgspec.json.decode(line, type=Adopted) for line in lines]
    return [event for event in events if event.kind == "shard_adopted"]


async def _answered(load: Piped, order: Order) -> None:
    report = await load.ask(order, Report)
    if report.failed:
        raise Broken(f"{report.failed} of {order.count} adopted sessions were not answered")
