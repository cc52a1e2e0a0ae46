"""A storm under way: what its faults know, and what they have in common."""

import asyncio
import copy
import itertools
from collections.abc import Coroutine

from proto.ike.effects import Address, Path
from tests.sim.machine import SimClient, SimGateway
from tests.sim.world import World

PAST_MAX = 512
"""Datagrams kept to be replayed."""


class Storm:
    """The state of one storm, as one of its faults sees it: `random` is its own."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.rng("storm").random
        self.past: list[tuple[bytes, Path]] = []
        self.twins: list[SimClient] = []
        self.leavers: list[SimClient] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._numbers = itertools.count(world.size.clients + 1)
        world.net.observers.append(self._remember)

    def seen_by(self, fault: str) -> "Storm":
        """The same storm with a source of randomness for that fault alone: how often others strike
        doesn't change what it does.
        """
        seen = copy.copy(self)
        seen.random = self.world.rng(f"storm {fault}").random
        return seen

    def _remember(self, data: bytes, path: Path) -> None:
        if len(self.past) < PAST_MAX:
            self.past.append((data, path))
        else:
            self.past[self.random.randrange(PAST_MAX)] = (data, path)

    def spawn(self, coro: Coroutine[object, object, None]) -> None:
        """Let a fault go on beside the others."""
        self._tasks.append(self.world.loop.create_task(coro))

    async def stop(self) -> None:
        """No fault goes on; what it would have undone is undone by `calm`."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for task in self._tasks:
            if not task.cancelled() and task.exception() is not None:
                raise RuntimeError("a fault failed") from task.exception()

    def some(self) -> SimGateway | None:
        """A gateway that runs, if one does."""
        live = self.world.live()
        return self.random.choice(live) if live else None

    def between(self, shortest_s: float, longest_s: float) -> float:
        """A time, shorter ones more often."""
        return shortest_s + (longest_s - shortest_s) * self.random.random() ** 2

    def new_client(self, identity: int | None = None) -> SimClient:
        """One more client, at an address of its own."""
        return self.world.client(next(self._numbers), identity)

    def address(self) -> Address:
        """Where a gateway listens."""
        gateway = self.random.choice(self.world.gateways)
        return gateway.host, 500


def boot(world: World, gateway: SimGateway) -> None:
    """A new life, not waited for."""
    gateway.boot(*world.next_life(gateway))
