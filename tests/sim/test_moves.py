"""Shards that an operator moves, whatever their clients do meanwhile."""

import asyncio

from cluster.errors import Unknown
from cluster.moves import move
from tests.sim.machine import SimClient
from tests.sim.net import Weather
from tests.sim.scenarios import Scenario, run_scenario
from tests.sim.world import Size, World

TELLS_S = 0.4
"""More often than a shard is looked at before it goes (`OwnershipSettings.closed_s`)."""
MOVED_S = 60.0


async def moved_with_a_restless_client(world: World) -> None:
    """A client says over and over where it is (RFC 4555), and is asked each time to prove it."""
    await world.begin()
    await world.connect_all()
    (client,) = world.clients
    await asyncio.sleep(2)
    (name,) = world.holders(client)
    gateway = world.gateway(name)
    node = gateway.node
    (heir,) = [other.name for other in world.gateways if other is not gateway]
    shard = node.codec.shard_of(client.spi_r)
    restless = world.loop.create_task(_tell(client))
    moving = move(node.ownership, node.membership.members, shard, heir, MOVED_S)
    try:
        await gateway.process.context.run(world.loop.create_task, moving)
    except Unknown as error:
        world.findings.append(f"it stays: {error}")
    restless.cancel()


async def _tell(client: SimClient) -> None:
    shell = client.shell
    while True:
        progress = shell.endpoint.progress(client.session.spi)
        if progress is not None:
            outcome = shell.endpoint.move(client.session.spi, progress.path, shell.now())
            if outcome is not None:
                shell.lane.carry_out(outcome)
            shell.rearm()
        await asyncio.sleep(TELLS_S)


def test_a_client_that_moves_without_end_keeps_no_shard() -> None:
    played = Scenario(
        moved_with_a_restless_client, size=Size(gateways=2, clients=1), weather=Weather()
    )
    assert run_scenario(played, 1).findings == ()
