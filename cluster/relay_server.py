"""Carries out other members' calls to the store, when it answers this one.

Rules: a call is carried out at this member's own way to the store and never handed on, so relays
make no chain. It touches the cluster's own keys alone. What is under way for others is bounded; a
watch ends when its asker is silent. An asker that has seen more of the store than it shows here is
refused: this store may be an old one that nobody has told this member about.
"""

import asyncio

import msgspec

from cluster import relay_wire as wire
from cluster.errors import ClusterError, Trouble, Unavailable
from cluster.guard import Guard
from cluster.layout import Keys
from cluster.link import PeerLink, Relay
from cluster.relay_wire import Answer, Assembly, Call
from cluster.seams import Clock, Spawn

CALLS_MAX = 256
"""Calls under way for all others together."""
WATCHES_MAX = 128
"""Watches held for all others together."""
WATCH_KEPT_S = 5.0
"""How long a watch is kept for an asker that doesn't say that it still wants it."""
SEND_PAUSE_S = 0.01
SEND_TRIES = 100
"""A full queue is waited for so often; then the answer is lost, and the asker repeats."""


class _Watch(msgspec.Struct):
    """One held for another member."""

    task: "asyncio.Task[None]"
    until_s: float
    next_revision: int


class RelayServer:
    """See the module."""

    def __init__(
        self, direct: Guard, keys: Keys, clock: Clock, *, link: PeerLink, spawn: Spawn
    ) -> None:
        self._direct = direct
        self._keys = keys
        self._root = keys.root
        self._clock = clock
        self._link = link
        self._spawn = spawn
        self._assemblies: dict[str, Assembly] = {}
        self._watches: dict[tuple[str, int], _Watch] = {}
        self.calls = 0
        """Under way."""
        direct.on_look.append(self.sweep)

    def receive(self, sender: str, frame: Relay) -> None:
        """A piece of a call has come."""
        octets = self._assemblies.setdefault(sender, Assembly()).take(frame)
        if octets is None:
            return
        call = wire.decode_call(octets)
        if call is None:
            self._say(sender, frame.call, wire.Failed("Unavailable", "not a call this one knows"))
        elif isinstance(call, wire.StillCall):
            self._still(sender, frame.call, call.watch)
        elif self.calls >= CALLS_MAX:
            self._say(sender, frame.call, wire.Failed("Unavailable", "too many calls under way"))
        elif isinstance(call, wire.WatchCall):
            self._begin_watch(sender, frame.call, call)
        else:
            self.calls += 1
            self._spawn(self._serve(sender, frame.call, call), "relayed call")

    def sweep(self) -> None:
        """End the watches that nobody wants any more."""
        now_s = self._clock.boot_s()
        for key in [key for key, watch in self._watches.items() if watch.until_s < now_s]:
            self._watches.pop(key).task.cancel()

    @property
    def watches(self) -> int:
        """Held for others."""
        return len(self._watches)

    # -- calls

    async def _serve(self, sender: str, number: int, call: Call) -> None:
        try:
            answer = await self._carry_out(call)
        except (ClusterError, ValueError) as error:
            answer = wire.failed(error)
        finally:
            self.calls -= 1
        try:
            await self._send(sender, number, answer)
        except ValueError as error:  # too long to be carried
            await self._send(sender, number, wire.failed(error))

    async def _carry_out(self, call: Call) -> Answer:
        """Raises ClusterError, ValueError."""
        store = self._direct
        await self._check_floor(call.floor)
        if isinstance(call, wire.GetCall):
            self._check_key(call.key)
            return wire.Got(await store.get(call.key))
        if isinstance(call, wire.ScanCall):
            self._check_key(call.prefix)
            return wire.Scanned(await store.scan(call.prefix))
        if isinstance(call, wire.CommitCall):
            if not wire.within(call.txn, self._root):
                raise ValueError("a transaction outside of the cluster's keys")
            return wire.Done(await store.commit(call.txn))
        if isinstance(call, wire.LeaseCall):
            lease = await store.lease(call.ttl_s, call.lease_id)
            return wire.Leased(lease.lease_id, lease.ttl_s)
        if isinstance(call, wire.KeepAliveCall):
            ttl_s = await store.held(call.lease_id, 0.0).keep_alive()
            return wire.Leased(call.lease_id, ttl_s)
        if isinstance(call, wire.RevokeCall):
            await store.held(call.lease_id, 0.0).revoke()
            return wire.Leased(call.lease_id, 0.0)
        raise ValueError("a call that is served elsewhere")

    async def _check_floor(self, floor: int) -> None:
        """Raises Unavailable where the store here is behind what the asker has seen."""
        if self._direct.failures or self._direct.rewound:  # one that is in doubt may answer
            raise Unavailable("the store doesn't answer here either")
        if floor <= self._direct.floor:
            return
        mark = await self._direct.mark(self._keys.state)
        if mark.revision < floor:
            raise Unavailable(
                f"the store here is at revision {mark.revision}, after {floor}", Trouble.REWOUND
            )

    def _check_key(self, key: bytes) -> None:
        if not key.startswith(self._root):
            raise ValueError("a key outside of the cluster's")

    # -- watches

    def _begin_watch(self, sender: str, number: int, call: wire.WatchCall) -> None:
        if len(self._watches) >= WATCHES_MAX:
            self._say(sender, number, wire.Failed("Unavailable", "too many watches"))
            return
        task = self._spawn(self._watch(sender, number, call), "relayed watch")
        until_s = self._clock.boot_s() + WATCH_KEPT_S
        self._watches[sender, number] = _Watch(task, until_s, call.from_revision)

    async def _watch(self, sender: str, number: int, call: wire.WatchCall) -> None:
        try:
            await self._check_floor(call.floor)
            self._check_key(call.prefix)
            changes = self._direct.watch(call.prefix, call.from_revision)
            try:
                async for batch in changes:
                    watch = self._watches.get((sender, number))
                    if watch is None:
                        return
                    await self._send(sender, number, wire.Changed(watch.next_revision, batch))
                    watch.next_revision = batch.revision + 1
            finally:
                await changes.aclose()  # type: ignore[attr-defined]
        except (ClusterError, ValueError) as error:
            await self._send(sender, number, wire.failed(error))
        finally:
            self._watches.pop((sender, number), None)

    def _still(self, sender: str, number: int, wanted: int) -> None:
        watch = self._watches.get((sender, wanted))
        if watch is None:
            self._say(sender, number, wire.Failed("Unavailable", "no such watch"))
            return
        watch.until_s = self._clock.boot_s() + WATCH_KEPT_S
        self._say(sender, number, wire.Upto(watch.next_revision))

    # -- answers

    def _say(self, to: str, number: int, answer: Answer) -> None:
        """A short answer, at once or not at all."""
        for frame in wire.pieces(number, answer, back=True):
            self._link.send(to, frame)

    async def _send(self, to: str, number: int, answer: Answer) -> None:
        """An answer of any length; a full queue is waited for."""
        for frame in wire.pieces(number, answer, back=True):
            for _ in range(SEND_TRIES):
                if self._link.send(to, frame):
                    break
                await asyncio.sleep(SEND_PAUSE_S)
            else:
                return
