"""A store through another member, in one process: two ends whose frames are encoded."""

import asyncio
from collections.abc import Callable, Coroutine

from cluster.conditions import Conditions
from cluster.frames import decode_frame, encode_frame
from cluster.guard import Guard
from cluster.layout import Keys
from cluster.link import Frame, Relay
from cluster.relay import RelayedStore
from cluster.relay_server import RelayServer
from cluster.seams import Clock, Rng
from cluster.store import Store
from cluster.store_memory import MemoryStore

KEYS = Keys("relayed")


class PairLink:
    """One end of a link between two members."""

    def __init__(self, me: str) -> None:
        self.me = me
        self.other: PairLink
        self.handler: Callable[[str, Relay], None] = lambda _sender, _frame: None
        self.full = False
        self.lose: Callable[[Relay], bool] = lambda _frame: False
        """Which frames don't arrive."""
        self.sent = 0

    def send(self, _member: str, frame: Frame) -> bool:
        """See `PeerLink.send`."""
        if self.full:
            return False
        self.sent += 1
        got = decode_frame(encode_frame(frame))
        assert isinstance(got, Relay)
        if not self.lose(got):
            asyncio.get_running_loop().call_soon(self.other.handler, self.me, got)
        return True

    def on_frame(self, _handler: Callable[[str, Frame], None]) -> None:
        """See `PeerLink.on_frame`."""

    def set_peers(self, _addresses: dict[str, str]) -> None:
        """See `PeerLink.set_peers`."""

    async def close(self) -> None:
        """See `PeerLink.close`."""


class CompactableStore(RelayedStore):
    """With what the contract's suite needs beside the verbs."""

    shared: MemoryStore

    async def compact(self, revision: int) -> None:
        """Forget the history up to `revision`, where the store is."""
        await self.shared.compact(revision)


class RelayPair:
    """`store` is gw1's, which goes through gw2; `direct` is gw1's own way, `theirs` gw2's."""

    def __init__(self, own: Store, theirs: Store, clock: Clock, rng: Rng) -> None:
        self.asks, self.serves = PairLink("gw1"), PairLink("gw2")
        self.asks.other, self.serves.other = self.serves, self.asks
        self.direct = Guard(own, KEYS, clock, Conditions(clock))
        self.theirs = Guard(theirs, KEYS, clock, Conditions(clock))
        self.willing = ["gw2"]
        self.store = CompactableStore(self.direct, clock, rng, link=self.asks, me="gw1")
        self.store.candidates = lambda: self.willing
        self.server = RelayServer(self.theirs, KEYS, clock, link=self.serves, spawn=self.spawn)
        self.asks.handler = self.store.receive
        self.serves.handler = self.server.receive
        self.tasks: list[asyncio.Task[None]] = []

    def spawn(self, coro: Coroutine[object, object, object], name: str) -> "asyncio.Task[None]":
        """Makes a task that the pair holds."""

        async def guarded() -> None:
            await coro

        task = asyncio.get_running_loop().create_task(guarded(), name=name)
        self.tasks.append(task)
        return task

    async def close(self) -> None:
        """Everything ends."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.store.close()
