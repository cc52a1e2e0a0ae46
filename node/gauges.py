"""What the metrics show of the parts, looked at every second."""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node.wiring import Node

GAUGES_S = 1.0


async def gauges(node: "Node") -> None:
    """Look, for ever."""
    metrics = node.metrics
    while True:
        metrics.half_open = node.gateway.endpoint.half_open
        metrics.ring_revision = node.rings.revision
        metrics.ticket_key_seals_for_s = node.key_parts.seals_for_s()
        metrics.unwritten = node.standby.flush.unwritten
        metrics.pledges = len(node.outage.given)
        metrics.shards_owned = len(node.ownership.owned)
        metrics.shards_handed_over = node.ownership.handed_over
        metrics.peers_suspected = len(node.heartbeats.suspected)
        metrics.clock_off = node.clocks.off
        metrics.datagrams_out = node.gateway.lane.sent
        metrics.datagrams_unsent = node.sockets.unsent
        metrics.store_state = node.store_state()
        node.way.measure(metrics, node.membership.state)
        metrics.mirrors = node.mirrors.counts()
        metrics.pools = {use.pool.name: (use.used, use.pool.size) for use in node.addresses.usage()}
        await asyncio.sleep(GAUGES_S)
