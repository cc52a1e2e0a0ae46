"""What was begun is finished or left alone before a gateway that ends gives its shards away.

Rules: no session begins any more, and no rekey of ours. What has begun may be finished, if its peer
is quick: of a rekey that it has answered, and we haven't heard of, no heir would know. Then
nothing is taken at all, so nothing is under way in a shard when it goes: what its heir reads is all
there is, and whoever was answered finds that there. Who keeps what the store doesn't have gives
none of them away: as if he had died, they wait for those who know more.
"""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node.wiring import Node

FINISH_S = 1.0
"""How long half-open sessions and rekeys may take to be finished; a peer answers within a round
trip."""
LOOK_S = 0.05
DRAIN_S = 3.0
"""How long the writes under way may take then."""


async def drain(node: "Node") -> None:
    """Returns when all is finished, or its time is over."""
    node.gateway.draining = node.spis.ending = True
    for _ in range(round(FINISH_S / LOOK_S)):
        if not node.gateway.endpoint.has_begun():
            break
        await asyncio.sleep(LOOK_S)
    node.ownership.close()
    try:
        async with asyncio.timeout(DRAIN_S):
            await node.journal.drained()
    except TimeoutError:
        node.seams.log.warning("writes left undone", pending=node.journal.pending)


async def leave_shards(node: "Node") -> int:
    """Give the shards away; how many went. Of a node that has not started wholly, too."""
    if not node.built:
        return 0
    alone = node.outage.alone
    if alone:
        node.seams.log.warning("ended before etcd had all that was done without it")
    return await node.ownership.release_all(keep=alone)
