"""The store goes away and comes back: what scenarios of life without it begin and end with."""

from collections.abc import Iterable

from tests.sim.machine import SimGateway
from tests.sim.world import World

FAILSAFE_S = 8
"""Longer than a lease and a round of pledges."""
NORMAL_S = 20


def set_reachable(gateways: Iterable[SimGateway], reachable: bool) -> None:
    """Whether the store answers these."""
    for gateway in gateways:
        gateway.store.set_reachable(reachable)


async def in_failsafe(world: World, among: Iterable[SimGateway] | None = None) -> None:
    """The store is away from `among` (by default all that run), until they are in failsafe."""
    gateways = list(world.live() if among is None else among)
    set_reachable(gateways, False)
    await all_in_failsafe(world, gateways)


async def all_in_failsafe(world: World, gateways: list[SimGateway]) -> None:
    """Wait until they are."""
    await world.until(
        lambda: all(g.node.outage.failsafe for g in gateways),
        FAILSAFE_S,
        "no failsafe without store",
    )


async def normal_again(world: World) -> None:
    """The store is back for all that run, until it has everything."""
    set_reachable(world.live(), True)
    await all_normal(world)


async def all_normal(world: World) -> None:
    """Wait until nobody is without the store, and it has everything."""
    await world.until(lambda: normal(world), NORMAL_S, "the cluster is not normal again")


def normal(world: World) -> bool:
    """Nobody is without the store, and it has everything."""
    return all(
        g.node.standby.settled() and g.node.membership.state == "normal" for g in world.live()
    )
