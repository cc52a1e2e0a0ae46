"""The store through another member, while it doesn't answer this one: everything goes on.

Rules:
- Calls go to the store directly until it has failed `FAILURES` times in a row and another member,
  unsuspected, says that it answers there (its heartbeats tell). Then they go through that member,
  and back once the store has answered here `SUCCESSES` times in a row.
- When the way changes, reads and waits under way are made again on the other way. A commit under
  way is `Unknown`: it may have been carried out, and whoever sent it knows how to find out.
- A lost answer of a commit is `Unknown` as well, that of anything else `Unavailable`.
- A watch goes on where it stood: each batch says from where it goes on, and one that doesn't follow
  makes the watch be asked for anew.
"""

import asyncio
import zlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from cluster import relay_wire as wire
from cluster.call_off import CallOff
from cluster.errors import Trouble, Unavailable, Unknown
from cluster.guard import Guard
from cluster.link import PeerLink, Relay
from cluster.relay_wire import Answer, Assembly, Call
from cluster.seams import Clock, Rng
from cluster.store import Changes, Entry, Lease, Mark, Scan, Txn, TxnResult

T = TypeVar("T")

FAILURES = 2
"""Of calls and probes in a row, before another way is looked for."""
SUCCESSES = 4
"""Answers of the store itself in a row, before its own way is taken again."""
CALL_S = 2.0
"""The longest that a call through another member may take."""
STILL_S = 1.0
"""How often a watch says that it is still wanted."""
SILENT_S = 3.0
"""A watch whose member says nothing for so long is asked for anew."""
PASSED_OVER_S = 5.0
"""How long a member that failed isn't asked again."""
PAUSE_S = 0.1
"""Before a watch is asked for anew."""
INBOX_MAX = 256
"""Batches of a watch that wait to be read; a gap is found and read anew."""


class _Inbox:
    """What has come of one watch."""

    def __init__(self) -> None:
        self.answers: deque[Answer] = deque(maxlen=INBOX_MAX)
        self.wake = asyncio.Event()

    def put(self, answer: Answer) -> None:
        self.answers.append(answer)
        self.wake.set()


class RelayedStore:
    """A `Store` over this member's own way to it, and over others'."""

    def __init__(
        self, direct: Guard, clock: Clock, rng: Rng, *, link: PeerLink, me: str
    ) -> None:  # fmt: skip
        self._direct = direct
        self._clock = clock
        self._link = link
        self._me = me
        self.candidates: Callable[[], Sequence[str]] = tuple
        """The members that are heard and say that the store answers them, sorted."""
        self._number = int.from_bytes(rng.bytes(6), "big")
        self._assemblies: dict[str, Assembly] = {}
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._inboxes: dict[int, _Inbox] = {}
        self._passed_over: dict[str, float] = {}
        self._off = CallOff()
        self._closed = False
        self.via = ""
        """The member that calls go through; empty: none."""
        self.on_via: list[Callable[[str], None]] = []
        """Told whenever `via` changes."""
        direct.on_look.append(self.look)

    # -- which way

    def look(self) -> None:
        """Choose the way anew, by what is known now."""
        direct = self._direct
        if direct.rewound or direct.retired:
            self._go("")
        elif self.via:
            if direct.answers and direct.successes >= SUCCESSES:
                self._go("")
            elif self.via not in self._willing():
                self._go(self._choose())
        elif direct.failures >= FAILURES:
            self._go(self._choose())

    def _willing(self) -> list[str]:
        now_s = self._clock.boot_s()
        return [
            name
            for name in self.candidates()
            if name != self._me and self._passed_over.get(name, 0.0) <= now_s
        ]

    def _choose(self) -> str:
        """One that is willing, not the same for all who ask; none: the direct way."""
        asked = self._me.encode()
        return min(
            self._willing(), key=lambda name: zlib.crc32(name.encode() + b"/" + asked), default=""
        )

    def _go(self, via: str) -> None:
        if via == self.via:
            return
        self.via = via
        self._off.all()
        for listener in self.on_via:
            listener(via)

    def _pass_over(self, via: str) -> None:
        self._passed_over[via] = self._clock.boot_s() + PASSED_OVER_S
        if self.via == via:
            self._go(self._choose())

    # -- the verbs

    async def get(self, key: bytes) -> Entry | None:
        """See `Store.get`."""
        direct = self._direct
        return await self._read(
            lambda: direct.get(key), lambda: wire.GetCall(key, direct.floor), _entry
        )

    async def scan(self, prefix: bytes) -> Scan:
        """See `Store.scan`."""
        direct = self._direct
        found = await self._read(
            lambda: direct.scan(prefix), lambda: wire.ScanCall(prefix, direct.floor), _scan
        )
        direct.saw(found.revision)
        return found

    async def commit(self, txn: Txn) -> TxnResult:
        """See `Store.commit`."""
        if self.via:
            call = wire.CommitCall(txn, self._direct.floor)
            try:
                answer = await self._through(self.via, call)
            except (_NoAnswer, Unknown) as error:
                raise self._in_doubt(str(error)) from None
            if not isinstance(answer, wire.Done):
                raise self._in_doubt(f"an answer of another kind: {type(answer).__name__}")
            self._direct.saw(answer.result.revision)
            return answer.result
        scope = self._off.scope()
        try:
            async with scope as wait:
                return await self._direct.commit(txn)
        except TimeoutError:
            if not wait.expired():
                raise
            raise self._in_doubt("the way to the store has changed") from None

    def _in_doubt(self, why: str) -> Unknown:
        """A commit's answer is lost; what its caller is told."""
        self._direct.conditions.in_doubt(why)
        return Unknown(why)

    async def watch(self, prefix: bytes, from_revision: int) -> AsyncIterator[Changes]:
        """See `Store.watch`."""
        next_revision = from_revision
        while not self._closed:
            via = self.via
            source = (
                self._watch_through(via, prefix, next_revision)
                if via
                else self._watch_directly(prefix, next_revision)
            )
            try:
                async for changes in source:
                    next_revision = changes.revision + 1
                    if changes.changes:
                        yield changes
            finally:
                await source.aclose()
            if via and via == self.via:
                await asyncio.sleep(PAUSE_S)

    async def lease(self, ttl_s: float, lease_id: int = 0) -> Lease:
        """See `Store.lease`."""
        direct = self._direct

        async def grant() -> wire.Leased:
            lease = await direct.lease(ttl_s, lease_id)
            return wire.Leased(lease.lease_id, lease.ttl_s)

        granted = await self._read(
            grant, lambda: wire.LeaseCall(ttl_s, lease_id, direct.floor), _leased
        )
        return RelayedLease(self, granted.lease_id, granted.ttl_s)

    def held(self, lease_id: int, ttl_s: float) -> Lease:
        """See `Store.held`."""
        return RelayedLease(self, lease_id, ttl_s)

    async def mark(self, key: bytes) -> Mark:
        """See `Store.mark`; the direct way alone, for it is what is asked about."""
        return await self._direct.mark(key)

    async def close(self) -> None:
        """See `Store.close`."""
        self._closed = True
        self._off.all()
        await self._direct.close()

    async def keep_alive(self, lease_id: int, ttl_s: float) -> float:
        """Renew a lease, whichever way; the TTL granted. Raises LeaseLost, Unavailable."""
        direct = self._direct
        return await self._read(
            lambda: direct.held(lease_id, ttl_s).keep_alive(),
            lambda: wire.KeepAliveCall(lease_id, direct.floor),
            lambda answer: _leased(answer).ttl_s,
        )

    async def revoke(self, lease_id: int) -> None:
        """End a lease, whichever way. Raises Unavailable."""
        direct = self._direct
        await self._read(
            lambda: direct.held(lease_id, 0.0).revoke(),
            lambda: wire.RevokeCall(lease_id, direct.floor),
            lambda _answer: None,
        )

    # -- a call

    async def _read(
        self,
        directly: Callable[[], Awaitable[T]],
        call: Callable[[], Call],
        take: Callable[[Answer], T],
    ) -> T:
        """What may be made again on another way."""
        while True:
            via = self.via
            try:
                if via:
                    return take(await self._through(via, call()))
                scope = self._off.scope()
                async with scope as wait:
                    return await directly()
            except _NoAnswer as error:
                if self.via == via:
                    raise Unavailable(str(error)) from None
            except TimeoutError:
                if not wait.expired():
                    raise

    async def _through(self, via: str, call: Call) -> Answer:
        """Raises _NoAnswer (it may have been done), and what the answer says."""
        number = self._next()
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answered
        wait = None
        try:
            self._send(via, number, call)
            async with asyncio.timeout(CALL_S), self._off.scope() as wait:
                answer = await answered
        except TimeoutError:
            if wait is None or not wait.expired():
                self._pass_over(via)
            raise _NoAnswer(f"no answer through {via}") from None
        finally:
            del self._waiting[number]
        if isinstance(answer, wire.Failed):
            error = wire.error_of(answer, via)
            if isinstance(error, Unavailable) and error.trouble is not Trouble.NO_SPACE:
                self._pass_over(via)
            raise error
        return answer

    def _send(self, via: str, number: int, call: Call) -> None:
        """Raises Unavailable: nothing has reached that member, or not all of it."""
        for frame in wire.pieces(number, call, back=False):
            if not self._link.send(via, frame):
                self._pass_over(via)
                raise Unavailable(f"{via} can't be reached")

    def _next(self) -> int:
        self._number += 1
        return self._number

    def receive(self, sender: str, frame: Relay) -> None:
        """A piece of an answer has come."""
        octets = self._assemblies.setdefault(sender, Assembly()).take(frame)
        if octets is None:
            return
        answer = wire.decode_answer(octets)
        if answer is None:
            return
        inbox, waiting = self._inboxes.get(frame.call), self._waiting.get(frame.call)
        if inbox is not None:
            inbox.put(answer)
        elif waiting is not None and not waiting.done():
            waiting.set_result(answer)

    # -- a watch

    async def _watch_directly(
        self, prefix: bytes, next_revision: int
    ) -> AsyncGenerator[Changes, None]:
        """Until the way changes, or the store is closed."""
        changes = self._direct.watch(prefix, next_revision)
        try:
            while not self.via:
                async with self._off.scope() as wait:
                    batch = await anext(changes)
                yield batch
        except StopAsyncIteration:
            self._closed = True
        except TimeoutError:
            if not wait.expired():
                raise
        finally:
            await changes.aclose()  # type: ignore[attr-defined]

    async def _watch_through(
        self, via: str, prefix: bytes, next_revision: int
    ) -> AsyncGenerator[Changes, None]:
        """Until the way changes, or something of it was lost. Raises Compacted."""
        inbox, number = _Inbox(), self._next()
        numbers = [number]
        self._inboxes[number] = inbox
        heard_s = said_s = self._clock.boot_s()
        try:
            self._send(via, number, wire.WatchCall(prefix, next_revision, self._direct.floor))
            while via == self.via or inbox.answers:
                came = bool(inbox.answers) or await self._hear(inbox)
                now_s = self._clock.boot_s()
                if not came and now_s - heard_s > SILENT_S:
                    return
                if not came or now_s - said_s >= STILL_S:  # news doesn't tell that it is wanted
                    said_s = now_s
                    still = self._next()
                    numbers.append(still)
                    self._inboxes[still] = inbox
                    self._inboxes.pop(numbers.pop(1) if len(numbers) > 4 else 0, None)
                    self._send(via, still, wire.StillCall(number))
                if inbox.answers:
                    heard_s = now_s
                    batch = self._follows(via, inbox.answers.popleft(), next_revision)
                    if batch is None:
                        return
                    next_revision = max(next_revision, batch.revision + 1)
                    yield batch
        except Unavailable:
            return
        finally:
            for each in numbers:
                self._inboxes.pop(each, None)

    async def _hear(self, inbox: _Inbox) -> bool:
        """Whether something has come in time; also True when the way has changed."""
        inbox.wake.clear()
        try:
            async with asyncio.timeout(STILL_S), self._off.scope():
                await inbox.wake.wait()
        except TimeoutError:
            return False
        return True

    def _follows(self, via: str, answer: Answer, next_revision: int) -> Changes | None:
        """The batch, an empty one for word that all is well; None: something was lost. Raises
        Compacted, Unavailable."""
        if isinstance(answer, wire.Failed):
            raise wire.error_of(answer, via)
        if isinstance(answer, wire.Upto):
            lost = answer.next_revision > next_revision
            return None if lost else Changes((), next_revision - 1)
        if not isinstance(answer, wire.Changed) or answer.first != next_revision:
            return None
        self._direct.saw(answer.changes.revision)
        return answer.changes


class _NoAnswer(Exception):
    """Nothing came back."""


def _entry(answer: Answer) -> Entry | None:
    if isinstance(answer, wire.Got):
        return answer.entry
    raise _odd(answer)


def _scan(answer: Answer) -> Scan:
    if isinstance(answer, wire.Scanned):
        return answer.scan
    raise _odd(answer)


def _leased(answer: Answer) -> wire.Leased:
    if isinstance(answer, wire.Leased):
        return answer
    raise _odd(answer)


def _odd(answer: Answer) -> Unavailable:
    return Unavailable(f"an answer of another kind: {type(answer).__name__}")


class RelayedLease:
    """A `Lease` of a `RelayedStore`: it is renewed whichever way is open."""

    def __init__(self, store: RelayedStore, lease_id: int, ttl_s: float) -> None:
        self._store = store
        self.lease_id = lease_id
        self.ttl_s = ttl_s

    async def keep_alive(self) -> float:
        """See `Lease.keep_alive`."""
        return await self._store.keep_alive(self.lease_id, self.ttl_s)

    async def revoke(self) -> None:
        """See `Lease.revoke`."""
        await self._store.revoke(self.lease_id)
