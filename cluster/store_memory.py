"""The store in one process: the reference for the contract, and what a single gateway runs on.

Rules: what etcd refuses is refused here too; revisions start at 1 and every change of the store is
the next one; nothing depends on the order of a set or on a clock other than the one passed in. A
watcher has no queue: it reads the history from where it stands, and one that falls behind the
history's bound gets `Compacted`.
"""

import asyncio
import bisect
import math
from collections.abc import AsyncIterator

import msgspec

from cluster.errors import Compacted, LeaseLost
from cluster.seams import Clock
from cluster.store import (
    Change,
    ChangeKind,
    Changes,
    Compare,
    Delete,
    Entry,
    Get,
    Lease,
    Mark,
    Put,
    Scan,
    Target,
    Txn,
    TxnResult,
)
from cluster.txn_rules import check_txn

HISTORY_CHANGES_MAX = 8192
"""Changes kept for watchers; older ones are compacted when there are twice as many."""

WATCH_CHANGES_MAX = 1000
"""Changes handed over at once, unless one revision has more."""


class _Path(msgspec.Struct, frozen=True):
    """The branches taken: every compare is decided before the first operation is carried out."""

    succeeded: bool
    ops: "tuple[Put | Delete | Get | _Path, ...]"


class _Held(msgspec.Struct):
    """A lease as the store holds it; `keys` in the order they were attached."""

    ttl_s: float
    deadline_s: float
    keys: dict[bytes, None]


class _Watcher:
    def __init__(self, prefix: bytes, next_revision: int) -> None:
        self.prefix = prefix
        self.next_revision = next_revision
        self.wake = asyncio.Event()


class MemoryStore:
    """A `Store` in this process. `run()` lets leases expire while nobody calls."""

    def __init__(self, clock: Clock, *, history_max: int = HISTORY_CHANGES_MAX) -> None:
        self._clock = clock
        self._history_max = history_max
        self._entries: dict[bytes, Entry] = {}
        self._order: list[bytes] = []
        self._revision = 1
        self._compacted = 0
        self._history: list[tuple[Change, ...]] = []
        """One item per revision; the first is revision `_history_start`."""
        self._history_start = 2
        self._history_changes = 0
        self._leases: dict[int, _Held] = {}
        self._next_lease_id = 1
        self._next_expiry_s = math.inf
        self._lease_granted = asyncio.Event()
        self._watchers: dict[int, _Watcher] = {}
        self._next_watcher = 0
        self._closed = False

    # -- the five verbs

    async def get(self, key: bytes) -> Entry | None:
        """The newest entry of `key`."""
        self._enter()
        return self._entries.get(key)

    async def scan(self, prefix: bytes) -> Scan:
        """Every entry under `prefix`, in key order."""
        self._enter()
        entries = []
        for i in range(bisect.bisect_left(self._order, prefix), len(self._order)):
            key = self._order[i]
            if not key.startswith(prefix):
                break
            entries.append(self._entries[key])
        return Scan(tuple(entries), self._revision)

    async def commit(self, txn: Txn) -> TxnResult:
        """Carry out `txn`. Raises ValueError (against the rules), LeaseLost (a Put's lease is
        gone; nothing happened)."""
        self._enter()
        check_txn(txn)
        path = self._decide(txn)
        writes = self._check_writes(path)
        revision = self._revision + 1 if writes else self._revision
        changes: list[Change] = []
        result = self._carry_out(path, revision, changes)
        if changes:
            self._publish(revision, changes)
        return result

    async def watch(self, prefix: bytes, from_revision: int) -> AsyncIterator[Changes]:
        """Changes under `prefix` from `from_revision` (at least 1) on. Raises Compacted."""
        self._enter()
        if from_revision < 1:
            raise ValueError(f"a watch from revision {from_revision}")
        number = self._next_watcher
        self._next_watcher += 1
        watcher = _Watcher(prefix, from_revision)
        self._watchers[number] = watcher
        try:
            while not self._closed:
                self._expire()
                watcher.wake.clear()
                batch = self._collect(watcher)
                if batch.changes:
                    yield batch
                elif watcher.next_revision > self._revision:
                    await watcher.wake.wait()
        finally:
            del self._watchers[number]

    async def lease(self, ttl_s: float, lease_id: int = 0) -> Lease:
        """Grant a lease of whole seconds, rounded up; an id that exists already gives that one."""
        self._enter()
        if lease_id == 0:
            while self._next_lease_id in self._leases:
                self._next_lease_id += 1
            lease_id = self._next_lease_id
            self._next_lease_id += 1  # whose lease has ended must not renew another one's
        held = self._leases.get(lease_id)
        if held is None:
            ttl = float(max(1, math.ceil(ttl_s)))
            held = _Held(ttl, self._clock.boot_s() + ttl, {})
            self._leases[lease_id] = held
            self._next_expiry_s = min(self._next_expiry_s, held.deadline_s)
            self._lease_granted.set()
        return MemoryLease(self, lease_id, held.ttl_s)

    def held(self, lease_id: int, ttl_s: float) -> Lease:
        """A lease granted before."""
        return MemoryLease(self, lease_id, ttl_s)

    async def mark(self, key: bytes) -> Mark:
        """This store at its revision, and the entry of `key`."""
        self._enter()
        return Mark(0, self._revision, self._entries.get(key))

    async def close(self) -> None:
        """Ends every watch and `run()`."""
        self._closed = True
        self._lease_granted.set()
        for watcher in self._watchers.values():
            watcher.wake.set()

    # -- beside the protocol

    async def compact(self, revision: int) -> None:
        """Forget the history up to `revision`, itself included. Raises Compacted (forgotten
        already), ValueError (not there yet)."""
        self._enter()
        if revision <= self._compacted:
            raise Compacted(self._compacted)
        if revision > self._revision:
            raise ValueError(f"compaction at {revision}, and the store is at {self._revision}")
        self._forget(revision)

    async def run(self) -> None:
        """Lets leases expire in time, until `close()`: one timer, for the next deadline."""
        while not self._closed:
            self._expire()
            wait_s = None
            if self._leases:
                wait_s = max(0.001, self._next_expiry_s - self._clock.boot_s())
            try:
                async with asyncio.timeout(wait_s):
                    await self._lease_granted.wait()
            except TimeoutError:
                continue
            self._lease_granted.clear()

    def renew(self, lease_id: int) -> float:
        """Start the lease's time anew; its TTL. Raises LeaseLost."""
        self._enter()
        held = self._leases.get(lease_id)
        if held is None:
            raise LeaseLost(f"lease {lease_id:x} has expired or was revoked")
        held.deadline_s = self._clock.boot_s() + held.ttl_s
        return held.ttl_s

    def revoke(self, lease_id: int) -> None:
        """End the lease and its keys in one revision; unknown is no error."""
        self._enter()
        if lease_id in self._leases:
            self._end_lease(lease_id)

    # -- inside

    def _enter(self) -> None:
        if self._closed:
            raise ValueError("the store is closed")
        self._expire()

    def _decide(self, txn: Txn) -> _Path:
        succeeded = all(self._holds(compare) for compare in txn.compares)
        branch = txn.success if succeeded else txn.failure
        return _Path(
            succeeded, tuple(self._decide(op) if isinstance(op, Txn) else op for op in branch)
        )

    def _holds(self, compare: Compare) -> bool:
        entry, target, value = self._entries.get(compare.key), compare.target, compare.value
        if isinstance(value, bytes):
            if entry is None:
                return False
            return entry.value > value if target is Target.VALUE_ABOVE else entry.value < value
        if target is Target.NONE_AFTER:
            under = [one for key, one in self._entries.items() if key.startswith(compare.key)]
            return all(one.mod_revision <= value for one in under)
        version = 0 if entry is None else entry.version
        if target is Target.VERSION:
            return version == value
        if target is Target.VERSION_ABOVE:
            return version > value
        return (0 if entry is None else entry.mod_revision) == value

    def _check_writes(self, path: _Path) -> bool:
        """Whether `path` changes anything. Raises LeaseLost before anything is changed."""
        writes = False
        for op in path.ops:
            if isinstance(op, _Path):
                writes |= self._check_writes(op)
            elif isinstance(op, Put):
                if op.lease_id and op.lease_id not in self._leases:
                    raise LeaseLost(f"lease {op.lease_id:x} has expired or was revoked")
                writes = True
            elif isinstance(op, Delete):
                writes |= op.key in self._entries
        return writes

    def _carry_out(self, path: _Path, revision: int, changes: list[Change]) -> TxnResult:
        responses: list[Entry | TxnResult | None] = []
        for op in path.ops:
            if isinstance(op, _Path):
                responses.append(self._carry_out(op, revision, changes))
            elif isinstance(op, Get):
                responses.append(self._entries.get(op.key))
            else:
                responses.append(None)
                if isinstance(op, Put):
                    changes.append(self._put(op, revision))
                elif op.key in self._entries:
                    changes.append(self._delete(op.key, revision))
        return TxnResult(path.succeeded, revision, tuple(responses))

    def _put(self, op: Put, revision: int) -> Change:
        old = self._entries.get(op.key)
        if old is None:
            bisect.insort(self._order, op.key)
            entry = Entry(op.key, op.value, revision, revision, 1, op.lease_id)
        else:
            self._detach(old)
            entry = Entry(
                op.key, op.value, old.create_revision, revision, old.version + 1, op.lease_id
            )
        if op.lease_id:
            self._leases[op.lease_id].keys[op.key] = None
        self._entries[op.key] = entry
        return Change(ChangeKind.PUT, entry)

    def _delete(self, key: bytes, revision: int) -> Change:
        self._detach(self._entries.pop(key))
        del self._order[bisect.bisect_left(self._order, key)]
        return Change(ChangeKind.DELETE, Entry(key, b"", 0, revision, 0))

    def _detach(self, entry: Entry) -> None:
        held = self._leases.get(entry.lease_id)
        if held is not None:
            held.keys.pop(entry.key, None)

    def _publish(self, revision: int, changes: list[Change]) -> None:
        self._revision = revision
        self._history.append(tuple(changes))
        self._history_changes += len(changes)
        for watcher in self._watchers.values():
            wanted = any(change.entry.key.startswith(watcher.prefix) for change in changes)
            if watcher.next_revision == revision and not wanted:
                watcher.next_revision = revision + 1
            else:
                watcher.wake.set()
        if self._history_changes > 2 * self._history_max:
            self._trim()

    def _trim(self) -> None:
        kept, i = self._history_changes, 0
        while kept > self._history_max:
            kept -= len(self._history[i])
            i += 1
        self._forget(self._history_start + i - 1)

    def _forget(self, revision: int) -> None:
        count = max(0, revision + 1 - self._history_start)
        self._history_changes -= sum(len(changes) for changes in self._history[:count])
        del self._history[:count]
        self._history_start += count
        self._compacted = revision
        for watcher in self._watchers.values():
            watcher.wake.set()

    def _collect(self, watcher: _Watcher) -> Changes:
        if watcher.next_revision <= self._compacted:
            raise Compacted(self._compacted)
        found: list[Change] = []
        revision = max(watcher.next_revision, self._history_start)
        while revision <= self._revision and len(found) < WATCH_CHANGES_MAX:
            for change in self._history[revision - self._history_start]:
                if change.entry.key.startswith(watcher.prefix):
                    found.append(change)
            revision += 1
        watcher.next_revision = max(watcher.next_revision, revision)
        return Changes(tuple(found), watcher.next_revision - 1)

    def _expire(self) -> None:
        now_s = self._clock.boot_s()
        if now_s < self._next_expiry_s:
            return
        due = sorted(
            (held.deadline_s, lease_id)
            for lease_id, held in self._leases.items()
            if held.deadline_s <= now_s
        )
        for _, lease_id in due:
            self._end_lease(lease_id)
        self._next_expiry_s = min(
            (held.deadline_s for held in self._leases.values()), default=math.inf
        )

    def _end_lease(self, lease_id: int) -> None:
        revision = self._revision + 1
        keys = sorted(self._leases[lease_id].keys)
        changes = [self._delete(key, revision) for key in keys]
        del self._leases[lease_id]
        if changes:
            self._publish(revision, changes)


class MemoryLease:
    """A `Lease` of a `MemoryStore`."""

    def __init__(self, store: MemoryStore, lease_id: int, ttl_s: float) -> None:
        self._store = store
        self.lease_id = lease_id
        self.ttl_s = ttl_s

    async def keep_alive(self) -> float:
        """Renew once; the TTL granted, seconds. Raises LeaseLost."""
        return self._store.renew(self.lease_id)

    async def revoke(self) -> None:
        """End it now, with all its keys."""
        self._store.revoke(self.lease_id)
