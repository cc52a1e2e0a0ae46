"""Who joins has the key ring that the others go by, however late its watches tell it."""

import asyncio

from cluster.layout import Keys
from tests.sim.machine import CLUSTER
from tests.sim.net import Weather
from tests.sim.scenario import Scenario, run_scenario
from tests.sim.world import Size, World

LEASE_OVER_S = 10.0
SLOW_S = 0.5
"""Each of its calls to the store takes that long: much happens before others see its name."""
LAG_S = 300.0
"""Of its watches: it doesn't learn of a new ring by them while anybody looks."""


def test_what_changed_between_the_first_look_at_the_ring_and_the_name_is_read_after_it() -> None:
    async def joins(world: World) -> None:
        await world.begin()
        here, _, late = world.gateways
        await late.kill()
        await asyncio.sleep(LEASE_OVER_S)
        store, rng = world.next_life(late)
        store.latency_s, store.watch_lag_s = SLOW_S, LAG_S
        late.boot(store, rng)
        await world.until(lambda: late.node.built, 30, "it never read the ring")
        await asyncio.sleep(SLOW_S)  # its watch has read the ring as well by then
        await here.node.key_parts.rotations.rotate(20.0, lambda _line: None, force=False)
        if await world.store.get(Keys(CLUSTER).member(late.name)) is not None:
            world.findings.append("it had joined before the ring changed: nothing was tried")
        await world.until(lambda: late.ready, 30, "it never joined")
        if late.node.rings.revision != here.node.rings.revision:
            world.findings.append("it joined with a ring that nobody goes by any more")

    played = Scenario(joins, size=Size(clients=0), weather=Weather())
    assert run_scenario(played, 1).findings == ()
