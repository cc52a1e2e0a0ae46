"""One after the other, clients of one identity come to different gateways: the oldest one ends."""

import asyncio

from tests.sim.scenario import Scenario
from tests.sim.world import Size, World

MOST = 2
IDENTITY = 700


async def limited_newest(world: World) -> None:
    """The two that came last are in, and the log of one member names who had too many."""
    await world.begin()
    many = [
        world.client(700 + n, identity=IDENTITY, gateways=(world.gateways[n % 3].address,))
        for n in range(4)
    ]
    world.clients = []
    for number, client in enumerate(many):
        client.session.start(0)
        await world.until(
            lambda it=client: len(world.holders(it)) == 1, 20, f"client {number} didn't get in"
        )
        client.session.stop()  # who was thrown out doesn't come again
        await asyncio.sleep(4)  # more than clocks differ by
    inside = [client for client in many if world.holders(client)]
    if inside != many[-MOST:]:
        world.findings.append(f"{[many.index(client) for client in inside]} are in")
    ended = [e for g in world.live() for e in g.recorded() if e.kind == "sa_ended"]
    if [event.why for event in ended].count("the peer has too many newer ones") != MOST:
        world.findings.append(f"ended: {[event.why for event in ended]}")
    over = sum(gateway.node.metrics.over_limit.by.get("ended", 0) for gateway in world.live())
    if over != MOST:
        world.findings.append(f"{over} ended by the metrics")


SCENARIO = Scenario(
    limited_newest,
    size=Size(clients=0, settings={"ike": {"sessions_max": MOST, "sessions_over": "end-oldest"}}),
)
