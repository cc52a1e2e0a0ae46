"""How long a change of the key ring takes until every member has installed it.

Rules: the time runs from just before the change is sent to the store, so it includes the commit;
the members say themselves when they had it, on CLOCK_BOOTTIME, which the processes of one machine
share. A change that a member never told of makes the run void.
"""

import asyncio

from bench.cluster import Cluster
from bench.piped import Broken
from cluster.keyring import KeyRing, RingPolicy, announce, cancel
from cluster.layout import Keys
from cluster.ring_keeper import RingKeeper
from node.drill.lab import CLUSTER
from node.seams import OsClock, OsRng

PAUSE_S = 0.03
"""Between one change and the next."""
TOLD_TIMEOUT_S = 10.0
POLL_S = 0.1


async def changes(cluster: Cluster, count: int) -> list[float]:
    """Announce a key and cancel it again, `count` changes in all; seconds until the last member
    had each. Raises Broken, ClusterError.
    """
    clock, rng, policy = OsClock(), OsRng(), RingPolicy()
    keeper = RingKeeper(
        store=cluster.store, keys=Keys(CLUSTER), keks=cluster.keks, clock=clock, rng=rng,
        policy=policy,
    )  # fmt: skip
    begun_s: dict[int, float] = {}
    sent_s = 0.0

    def make(ring: KeyRing, wall_s: float) -> KeyRing:
        nonlocal sent_s
        announced = ring.tickets.announced
        changed = cancel(ring) if announced is not None else announce(ring, rng, wall_s, policy)
        sent_s = clock.boot_s()
        return changed

    for _ in range(count):
        revision = (await keeper.change(make)).revision
        begun_s[revision] = sent_s
        await asyncio.sleep(PAUSE_S)
    try:
        async with asyncio.timeout(TOLD_TIMEOUT_S):
            while True:
                told = cluster.installed()
                if all(len(told.get(revision, ())) == cluster.gateways for revision in begun_s):
                    break
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise Broken("a change of the key ring was not told by every member") from None
    return [max(told[revision]) - begun_s[revision] for revision in begun_s]


def p99_ms(taken_s: list[float]) -> float:
    """What 99 of 100 don't exceed."""
    return round(sorted(taken_s)[len(taken_s) * 99 // 100] * 1000, 2)
