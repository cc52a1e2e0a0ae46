"""This member's own way to the store: what it answers is looked at before it is believed.

Rules:
- Nothing passes while the store is behind what this member has seen of it (`cluster.rewind`): no
  read is installed, no write is made, and every view stays as it was. One write is made there by
  the guard itself: that it is behind (`cluster.tally`), for those who can't know.
- The store is exchanged only while it doesn't answer. So after any failure, and after `FRESH_S`
  without an answer, the next call asks first which store this is.
- Answers can pass each other: each is compared with what was known when its call was sent. One
  that was long in coming may be another store's than the one that was asked, and so may word that a
  lease is lost: the store is looked at again before either is believed.
- An epoch that an operator has raised ends this process' life in the cluster: `retired`. Whatever
  it holds belongs to the former epoch; it begins anew. So does a member that went on in an older
  copy, as it couldn't know, when the right data are back.
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
from cluster.layout import Behind, Keys
from cluster.rewind import WHY_MAX, Found, Memory, Notebook, Verdict, as_told, judge
from cluster.seams import Clock
from cluster.state import decode_state
from cluster.store import Changes, Entry, Lease, Mark, Scan, Store, Txn, TxnResult
from cluster.tally import raise_tally, read_tally, tell_behind

T = TypeVar("T")

PROBE_S = 0.5
"""A store that has answered nothing for so long is asked which it is."""
PROBE_TIMEOUT_S = 1.0
"""The longest that one such question may take."""
FRESH_S = 1.5
"""How long an answer vouches for the next call."""
LONG_S = 0.25
"""A store can't be exchanged in less."""
WRITE_DOWN_S = 1.0
"""How often the highest revision is written down."""
TALLY_S = 5.0
"""How often this data directory's number in the store is raised."""


class Guard:
    """A `Store` over the one that goes to etcd itself."""

    def __init__(
        self, inner: Store, keys: Keys, clock: Clock, conditions: Conditions,
        notebook: Notebook | None = None, *, me: str = "", data_dir_id: str = "",
    ) -> None:  # fmt: skip
        """Without a notebook nothing is known of former lives: for a store that doesn't outlive
        the process. `me` and `data_dir_id`: whose it is."""
        self._inner = inner
        self._keys = keys
        self._clock = clock
        self._notebook = notebook
        self._me = me
        self._tally_key = keys.tally(data_dir_id)
        self._tally_s = float("-inf")
        self._memory = notebook.read() if notebook is not None else None
        self._written = self._memory
        self._written_s = float("-inf")
        self._verified = False
        self._answered_s = float("-inf")
        self._used = False
        self._exchanged = False  # it hasn't answered for a while since it was found behind
        self._misled = False  # what this process has seen last was an older copy
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

    def heard(self, cluster_id: int, epoch: int, revision: int) -> None:
        """Another member has seen the store at this revision; and so it was, if it is the same."""
        memory = self._memory
        if memory is None or (cluster_id, epoch) != (memory.cluster_id, memory.epoch):
            return
        if revision > memory.revision:
            self._memory = msgspec.structs.replace(memory, revision=revision)

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
        floor, sent_s, answered = self.floor, self._clock.boot_s(), False
        try:
            result = await self._inner.commit(txn)
            answered = True
        except Unknown as error:
            self._failed(self.explain()[0], str(error))
            self.conditions.in_doubt(str(error))
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
        try:
            await self._vouch(sent_s)
        except Unavailable as error:
            self.conditions.in_doubt(str(error))
            raise Unknown(str(error)) from error
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
            now_s = self._clock.boot_s()
            quiet = now_s - self._answered_s >= PROBE_S
            if not self.retired and (quiet or not self._verified):
                await self._probe(self.verify)
            if self._notebook is not None and self.answers and now_s - self._tally_s >= TALLY_S:
                self._tally_s = now_s
                await self._probe(self._raise_tally)
            if self._clock.boot_s() - self._written_s >= WRITE_DOWN_S:
                self.write_down()
            for listener in self.on_look:
                listener()
            await asyncio.sleep(PROBE_S)

    async def _probe(self, ask: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await ask()
        except TimeoutError:
            trouble, detail = self.explain()
            self._failed(trouble, detail or f"no answer in {PROBE_TIMEOUT_S:g} s")
        except ClusterError:
            return  # noted

    async def _raise_tally(self) -> None:
        """One more. Raises Unavailable, Unknown, Incompatible."""
        number, revision = await read_tally(self, self._tally_key)
        memory = self._memory
        if memory is None or number < memory.tally:
            self._verified = False  # to be looked at
            return
        raised = await self.commit(raise_tally(self._tally_key, number + 1, revision))
        if raised.succeeded and self._memory is not None:
            self._memory = msgspec.structs.replace(self._memory, tally=number + 1)

    async def verify(self) -> None:
        """Ask which store this is, and at which epoch. Raises Unavailable, Incompatible."""
        floor = self._memory
        try:
            mark = await self._inner.mark(self._keys.state)
            tally = 0
            if self._notebook is not None:
                tally, _ = await read_tally(self._inner, self._tally_key)
        except Unavailable as error:
            self._unavailable(error)
            raise
        self._answered(self._clock.boot_s())
        state = None if mark.entry is None else decode_state(mark.entry.value)
        found = Found(mark.cluster_id, mark.revision, state, tally)
        known = floor or found.remembered()
        verdict, why = judge(known, found, exchanged=self._exchanged)
        if verdict is Verdict.ACCEPTED:
            self._accepted(found.remembered(), why)
        elif verdict is Verdict.SAME:
            self._believe(found)
        else:
            if verdict is Verdict.TOLD and state is not None and state.behind is not None:
                self._misled = self._misled or self._used
                self._memory = as_told(state.behind, state.created_wall_s)
            self._behind(why, other=found.cluster_id != known.cluster_id)
            if mark.entry is not None and found.descends_from(known):
                await self._tell_all(mark.entry, found, known, why)
        self._refuse()
        self._verified = True

    async def _tell_all(self, entry: Entry, found: Found, known: Memory, why: str) -> None:
        """Have it stand in the store, read in `entry`, that this is behind; as well as may be."""
        state = found.state
        if state is None or self._notebook is None:
            return
        done = state.behind is not None
        if not done:
            behind = Behind(self._me, why, known.cluster_id, known.revision, known.epoch)
            txn = tell_behind(self._keys, entry, state, behind)
            try:
                done = (await self._inner.commit(txn)).succeeded
            except (Unavailable, Unknown):
                return  # it is tried at each look
        memory = self._memory
        if done and memory is not None and memory.behind and not memory.told:
            self._memory = msgspec.structs.replace(memory, told=True)
            self.write_down(surely=True)

    async def accept(self, shards: int, progress: Callable[[str], None]) -> int:
        """An operator's word that the store, behind as it is, counts from now on; the new epoch.

        Raises Conflict (it isn't behind), and what `restore.accept` raises.
        """
        with contextlib.suppress(Unavailable):
            await self.verify()
        if not self.rewound or self._memory is None:
            raise Conflict("the store, if it answers, isn't behind: nothing to accept")
        memory = self._memory
        epoch = await restore.accept(
            self._inner, self._keys, self._clock, memory, shards=shards, progress=progress
        )
        with contextlib.suppress(Unavailable):
            await self.verify()  # which ends this life, if it had begun
        return epoch

    def _believe(self, found: Found) -> None:
        """It is the one remembered."""
        seen, memory = found.remembered(), self._memory
        if memory is not None:  # which answers that came meanwhile may have raised
            revision, tally = max(seen.revision, memory.revision), max(seen.tally, memory.tally)
            seen = msgspec.structs.replace(seen, revision=revision, tally=tally)
        self._take(seen)
        if self._misled:
            self._retire("the right data are back in the place of an older copy")

    def _take(self, seen: Memory) -> None:
        former = self._memory
        surely = former is None or (seen.epoch, seen.behind) != (former.epoch, former.behind)
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
        if self._used:
            self._retire(why)

    def _retire(self, why: str) -> None:
        if not self.retired:
            self.retired = why
            self._off.all()
            for listener in self.on_retired:
                listener(why)

    def _behind(self, why: str, *, other: bool) -> None:
        self._verified = False
        self.conditions.enter(Condition.OTHER_CLUSTER if other else Condition.REWOUND, why)
        memory = self._memory
        if not other and memory is not None and not memory.behind:
            self._memory = msgspec.structs.replace(memory, behind=why[:WHY_MAX])
            self.write_down(surely=True)
        if not self.rewound:
            self.rewound = why
            self._exchanged = False
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
            raise Unavailable(f"this life in the cluster is over: {self.retired}")
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
        sent_s = self._clock.boot_s()
        answered = False
        try:
            answer = await call()
            answered = True
        except Unavailable as error:
            self._unavailable(error)
            raise
        except LeaseLost:
            await self._verify_quickly()
            answered = True
            raise
        except (Compacted, ValueError):
            answered = True
            raise
        finally:
            if not answered:
                self._verified = False
        self._answered(self._clock.boot_s())
        await self._vouch(sent_s)
        return answer

    async def _vouch(self, sent_s: float) -> None:
        """An answer to what was sent then has come: whose? Raises Unavailable."""
        if self._clock.boot_s() - sent_s > LONG_S:
            self._verified = False
            await self._verify_quickly()

    def _check(self, revision: int, floor: int) -> None:
        """Take in a revision that was answered. Raises Unknown if it is one of the past."""
        memory = self._memory
        if revision < floor:
            self._behind(f"it is at revision {revision}, after {floor}", other=False)
            raise Unknown(f"store-rewound: {self.rewound}")
        if memory is not None and revision > memory.revision:
            self._memory = Memory(
                memory.cluster_id, revision, memory.epoch,
                memory.made_wall_s, memory.tally, memory.behind, memory.told,
            )  # fmt: skip

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
        self._exchanged = True
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
