"""This member's own way to the store: what it answers is looked at before it is believed.

Rules:
- Nothing passes while the store is behind what this member has seen of it (`cluster.rewind`): no
  read is installed, no write is made, and every view stays as it was.
- The store is exchanged only while it doesn't answer. So after any failure, and after `FRESH_S`
  without an answer, the next call asks first which store this is.
- Answers can pass each other: each is compared with what was known when its call was sent.
- An epoch that an operator has raised ends this process' life in the cluster: `retired`. Whatever
  it holds belongs to the former epoch; it begins anew.
- Every failure and every answer is told to `cluster.conditions`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import msgspec

from cluster import restore
from cluster.call_off import CallOff
from cluster.conditions import Condition, Conditions
from cluster.errors import (
    ClusterError,
    Compacted,
    Conflict,
    Incompatible,
    LeaseLost,
    Trouble,
    Unavailable,
    Unknown,
)
from cluster.layout import Keys
from cluster.rewind import NO_EPOCH, Memory, Notebook, Verdict, judge
from cluster.seams import Clock
from cluster.state import decode_state
from cluster.store import Changes, Entry, Lease, Mark, Scan, Store, Txn, TxnResult

T = TypeVar("T")

PROBE_S = 0.5
"""A store that has answered nothing for so long is asked which it is."""
PROBE_TIMEOUT_S = 1.0
"""The longest that one such question may take."""
FRESH_S = 1.5
"""How long an answer vouches for the next call."""
WRITE_DOWN_S = 1.0
"""How often the highest revision is written down."""


class Guard:
    """A `Store` over the one that goes to etcd itself."""

    def __init__(
        self, inner: Store, keys: Keys, clock: Clock, conditions: Conditions,
        notebook: Notebook | None = None,
    ) -> None:  # fmt: skip
        """Without a notebook nothing is known of former lives: for a store that doesn't outlive
        the process."""
        self._inner = inner
        self._keys = keys
        self._clock = clock
        self._notebook = notebook
        self._memory = notebook.read() if notebook is not None else None
        self._written = self._memory
        self._written_s = float("-inf")
        self._verified = False
        self._answered_s = float("-inf")
        self._used = False
        self._off = CallOff()
        self.conditions = conditions
        self.failures = 0
        """Failures in a row, of calls and probes: a refusal is an answer."""
        self.successes = 0
        """Answers in a row."""
        self.rewound = ""
        """Why the store isn't believed; empty: it is."""
        self.retired = ""
        """Why this life is over; empty: it isn't."""
        self.explain: Callable[[], tuple[Trouble, str]] = lambda: (Trouble.NO_ANSWER, "")
        """Why the store didn't answer lately, where it can tell."""
        self.on_rewound: list[Callable[[str], None]] = []
        """Told why, and an empty string when it is over."""
        self.on_retired: list[Callable[[str], None]] = []
        self.on_look: list[Callable[[], None]] = []
        """Called after each look of `run`."""

    @property
    def answers(self) -> bool:
        """Whether the store answers this member itself, and is believed."""
        return self._verified and not self.failures and not self.rewound

    @property
    def memory(self) -> Memory | None:
        """What was seen of the store."""
        return self._memory

    @property
    def floor(self) -> int:
        """The highest revision that was seen; 0: none yet."""
        return self._memory.revision if self._memory is not None else 0

    def saw(self, revision: int) -> None:
        """Another member's answer bore this revision."""
        self._check(revision, 0)

    def doubt(self) -> None:
        """Ask which store this is before the next call: the cluster's state has changed."""
        self._verified = False

    # -- the verbs

    async def get(self, key: bytes) -> Entry | None:
        """See `Store.get`."""
        return await self._ask(lambda: self._inner.get(key))

    async def scan(self, prefix: bytes) -> Scan:
        """See `Store.scan`."""
        floor = self.floor
        found = await self._ask(lambda: self._inner.scan(prefix))
        self._check(found.revision, floor)
        return found

    async def commit(self, txn: Txn) -> TxnResult:
        """See `Store.commit`."""
        if not self._fresh():
            await self._enter()
        floor, sent_s = self.floor, self._clock.boot_s()
        answered = False
        try:
            result = await self._inner.commit(txn)
            answered = True
        except Unknown as error:
            self._failed(self.explain()[0], str(error))
            raise
        except Unavailable as error:
            self._unavailable(error)
            raise
        except (LeaseLost, ValueError):
            answered = True
            raise
        finally:
            if not answered:
                self._verified = False
        now_s = self._clock.boot_s()
        self._answered(now_s)
        self.conditions.committed(now_s - sent_s)
        if result.succeeded and txn.success:
            self.conditions.wrote()
        self._check(result.revision, floor)
        return result

    async def watch(self, prefix: bytes, from_revision: int) -> AsyncIterator[Changes]:
        """See `Store.watch`. Raises Unavailable as well, when the store went back meanwhile."""
        await self._enter()
        changes = self._inner.watch(prefix, from_revision)
        try:
            while True:
                async with self._off.scope() as scope:
                    batch = await anext(changes)
                if not self._fresh():
                    await self._enter()
                self._check(batch.revision, 0)
                yield batch
        except StopAsyncIteration:
            return
        except Compacted as error:
            self.conditions.compacted(str(error))
            raise
        except TimeoutError:
            if not scope.expired():
                raise
            raise Unavailable(f"not believed: {self._why()}", Trouble.REWOUND) from None
        finally:
            await changes.aclose()  # type: ignore[attr-defined]

    async def lease(self, ttl_s: float, lease_id: int = 0) -> Lease:
        """See `Store.lease`."""
        lease = await self._ask(lambda: self._inner.lease(ttl_s, lease_id))
        return GuardedLease(self, lease)

    def held(self, lease_id: int, ttl_s: float) -> Lease:
        """See `Store.held`."""
        return GuardedLease(self, self._inner.held(lease_id, ttl_s))

    async def mark(self, key: bytes) -> Mark:
        """See `Store.mark`."""
        return await self._ask(lambda: self._inner.mark(key))

    async def close(self) -> None:
        """See `Store.close`."""
        self.write_down()
        await self._inner.close()

    # -- looking

    async def run(self) -> None:
        """Look at a quiet or doubtful store, for ever."""
        while True:
            quiet = self._clock.boot_s() - self._answered_s >= PROBE_S
            if not self.retired and (quiet or not self._verified):
                await self._probe()
            if self._clock.boot_s() - self._written_s >= WRITE_DOWN_S:
                self.write_down()
            for listener in self.on_look:
                listener()
            await asyncio.sleep(PROBE_S)

    async def _probe(self) -> None:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await self.verify()
        except TimeoutError:
            trouble, detail = self.explain()
            self._failed(trouble, detail or f"no answer in {PROBE_TIMEOUT_S:g} s")
        except ClusterError:
            return  # noted

    async def verify(self) -> None:
        """Ask which store this is, and at which epoch. Raises Unavailable, Incompatible."""
        floor = self._memory
        try:
            mark = await self._inner.mark(self._keys.state)
        except Unavailable as error:
            self._unavailable(error)
            raise
        self._answered(self._clock.boot_s())
        epoch = NO_EPOCH if mark.entry is None else decode_state(mark.entry.value).epoch
        seen = Memory(mark.cluster_id, mark.revision, epoch)
        if floor is None:
            self._take(seen)
        else:
            verdict, why = judge(floor, mark, epoch)
            if verdict is Verdict.BEHIND:
                self._behind(why, other=mark.cluster_id != floor.cluster_id)
            elif verdict is Verdict.ACCEPTED:
                self._accepted(seen, why)
            else:
                known = max(seen.revision, self.floor)
                self._take(msgspec.structs.replace(seen, revision=known))
        self._refuse()
        self._verified = True

    async def accept(self, shards: int, progress: Callable[[str], None]) -> int:
        """An operator's word that the store, behind as it is, counts from now on; the new epoch.

        Raises Conflict (it isn't behind), and what `restore.accept` raises.
        """
        with contextlib.suppress(Unavailable):
            await self.verify()
        if not self.rewound or self._memory is None:
            raise Conflict("the store isn't behind what this member has seen: nothing to accept")
        memory = self._memory
        epoch = await restore.accept(
            self._inner, self._keys, self._clock, memory, shards=shards, progress=progress
        )
        with contextlib.suppress(Unavailable):
            await self.verify()  # which ends this life, if it had begun
        return epoch

    def _take(self, seen: Memory) -> None:
        surely = self._memory is None or seen.epoch != self._memory.epoch
        self._memory = seen
        self.conditions.leave(Condition.REWOUND)
        self.conditions.leave(Condition.OTHER_CLUSTER)
        if self.rewound:
            self.rewound = ""
            for listener in self.on_rewound:
                listener("")
        if surely:
            self.write_down(surely=True)

    def _accepted(self, seen: Memory, why: str) -> None:
        self._take(seen)
        if self._used and not self.retired:
            self.retired = why
            self._off.all()
            for listener in self.on_retired:
                listener(why)

    def _behind(self, why: str, *, other: bool) -> None:
        self._verified = False
        self.conditions.enter(Condition.OTHER_CLUSTER if other else Condition.REWOUND, why)
        if not self.rewound:
            self.rewound = why
            self._off.all()
            for listener in self.on_rewound:
                listener(why)

    def write_down(self, *, surely: bool = False) -> None:
        """Keep what was seen for the next life."""
        self._written_s = self._clock.boot_s()
        if self._notebook is None or self._memory is None:
            return
        if surely or self._memory != self._written:
            self._notebook.write(self._memory, surely=surely)
            self._written = self._memory

    # -- one call

    def _why(self) -> str:
        return self.retired or self.rewound

    def _refuse(self) -> None:
        if self.retired:
            raise Unavailable(f"the store was restored and accepted: {self.retired}")
        if self.rewound:
            raise Unavailable(f"store-rewound: {self.rewound}", Trouble.REWOUND)

    def _fresh(self) -> bool:
        return (
            self._verified
            and not self.retired
            and self._clock.boot_s() - self._answered_s <= FRESH_S
        )

    async def _enter(self) -> None:
        """Let a call through, or not. Raises Unavailable."""
        if self.retired or not self._fresh():
            self._refuse_retired()
            await self._verify_quickly()
        self._used = True

    def _refuse_retired(self) -> None:
        if self.retired:
            self._refuse()

    async def _verify_quickly(self) -> None:
        try:
            await self.verify()
        except Incompatible as error:
            raise Unavailable(str(error)) from error

    async def _ask(self, call: Callable[[], Awaitable[T]]) -> T:
        if not self._fresh():
            await self._enter()
        self._used = True
        answered = False
        try:
            answer = await call()
            answered = True
        except Unavailable as error:
            self._unavailable(error)
            raise
        except (LeaseLost, Compacted, ValueError):
            answered = True
            raise
        finally:
            if not answered:
                self._verified = False
        self._answered(self._clock.boot_s())
        return answer

    def _check(self, revision: int, floor: int) -> None:
        """Take in a revision that was answered. Raises Unknown if it is one of the past."""
        memory = self._memory
        if revision < floor:
            self._behind(f"it is at revision {revision}, after {floor}", other=False)
            raise Unknown(f"store-rewound: {self.rewound}")
        if memory is not None and revision > memory.revision:
            self._memory = Memory(memory.cluster_id, revision, memory.epoch)

    def _answered(self, now_s: float) -> None:
        self._answered_s = now_s
        self.failures = 0
        self.successes += 1
        self.conditions.answered()

    def _unavailable(self, error: Unavailable) -> None:
        if error.trouble is Trouble.NO_SPACE:
            self.conditions.failed(error.trouble, str(error))
            self._answered_s = self._clock.boot_s()  # it answers, if not as we would like
        elif error.trouble is not Trouble.REWOUND:
            self._failed(error.trouble, str(error))

    def _failed(self, trouble: Trouble, detail: str) -> None:
        self._verified = False
        self.failures += 1
        self.successes = 0
        self.conditions.failed(trouble, detail)


class GuardedLease:
    """A `Lease` of a `Guard`."""

    def __init__(self, guard: Guard, inner: Lease) -> None:
        self._guard = guard
        self._inner = inner
        self.lease_id = inner.lease_id
        self.ttl_s = inner.ttl_s

    async def keep_alive(self) -> float:
        """See `Lease.keep_alive`."""
        return await self._guard._ask(self._inner.keep_alive)

    async def revoke(self) -> None:
        """See `Lease.revoke`."""
        await self._guard._ask(self._inner.revoke)
