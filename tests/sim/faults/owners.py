"""Shards that change hands while everything else goes wrong."""

import asyncio

from cluster.errors import ClusterError
from node.view import View
from tests.sim.machine import SimGateway
from tests.sim.storm import Storm


async def move_shards(storm: Storm) -> None:
    """An operator moves some shards of a gateway to others, dead ones too."""
    gateway = storm.some()
    if gateway is None or not gateway.ready or gateway.process.paused:
        return
    owned = sorted(gateway.node.ownership.owned)
    for shard in storm.random.sample(owned, min(len(owned), 4)):
        heir = storm.random.choice(storm.world.gateways).name
        storm.world.trace.event("move", shard, gateway.name, heir)
        gateway.process.context.run(_begin, storm, gateway, shard, heir)
        await asyncio.sleep(storm.between(0, 2))
        if not gateway.ready or gateway.process.paused:
            return


def _begin(storm: Storm, gateway: SimGateway, shard: int, heir: str) -> None:
    node = gateway.node

    async def carry_out() -> None:
        try:
            await View(node, "memory").move_shard(shard, heir)
        except ClusterError as error:
            storm.world.trace.event("not moved", shard, str(error))

    gateway.supervisor.spawn(carry_out(), "move a shard")


FAULTS = (move_shards,)
