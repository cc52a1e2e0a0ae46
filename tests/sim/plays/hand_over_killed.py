"""A hand-over, and one of its two sides dies in the midst of it."""

import asyncio

from tests.sim.plays.hand_over import move_one
from tests.sim.scenario import FOUND_SILENT_S, RECOVER_S, Scenario
from tests.sim.world import Size, World

ROUNDS = 4


async def hand_over_killed(world: World) -> None:
    """While shards are moved about a gateway is killed: as a commit of its reaches the store, as
    the answer comes, or at any instant. It comes back, its clients go on or resume, and no session
    is held twice."""
    await world.begin()
    await world.connect_all()
    for _ in range(ROUNDS):
        victim = world.random.choice(world.gateways)
        when = world.random.randrange(3)
        if when == 0:
            victim.store.before_commit = victim.cut_down
        elif when == 1:
            victim.store.after_commit = victim.cut_down
        else:
            world.loop.call_later(world.random.random(), victim.cut_down)
        for _ in range(4):
            await move_one(world)
        await asyncio.sleep(world.random.random() * 8)
        victim.cut_down()
        await asyncio.sleep(world.random.random() * 8)
        await world.start(victim)
        await world.until(world.all_served, RECOVER_S, "not every client was served again")
    # who was killed between a resumption's commit and its answer leaves an SA that nobody knows of
    await world.until(world.one_sa_each, FOUND_SILENT_S, "somebody has an SA that nobody uses")
    await world.check_records()


SCENARIO = Scenario(hand_over_killed, size=Size(clients=10))
