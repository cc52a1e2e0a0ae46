"""An orderly end takes bounded time, whatever the store does."""

import asyncio

from node.ending import DRAIN_S
from tests.sim.scenarios import Scenario, run_scenario
from tests.sim.world import Size, World

STOP_S_MAX = DRAIN_S + 6.0
"""Writes under way, then shards, then the lease: each gives up on its own."""


async def stop_without_an_answer(world: World) -> None:
    """The store takes calls and never answers, while a write is under way; then SIGTERM. There is
    nobody to relay the write or to pledge.
    """
    await world.begin()
    await world.connect_all()
    gateway = world.gateways[0]
    (spi, *_) = gateway.established()
    gateway.store.kill()
    gateway.node.gateway.terminate(spi)
    await asyncio.sleep(1)
    if not gateway.node.journal.pending:
        world.findings.append("no write was under way")
    began_s = world.loop.time()
    await gateway.node.stop()
    await gateway.supervisor.stop()
    gateway.alive = False
    took_s = world.loop.time() - began_s
    if not DRAIN_S <= took_s <= STOP_S_MAX:
        world.findings.append(f"the end took {took_s:g} s")


def test_a_store_that_never_answers_does_not_hold_up_the_end() -> None:
    played = Scenario(stop_without_an_answer, size=Size(gateways=1, clients=6))
    assert run_scenario(played, 1).findings == ()
