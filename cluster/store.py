"""The store in five verbs: get, scan, commit, watch, lease. Octets in, octets out.

Rules: keys are ordered octet strings; a revision counts the store's changes and never goes back;
`version` counts the changes of one key since it was made (0 = absent). Implementations:
`cluster.store_memory.MemoryStore` (one process, the reference), `cluster.store_etcd.EtcdStore`
(etcd v3) and `cluster.store_etcd3.Etcd3Store` (the same, through the etcd3 package); all pass
`tests/contract/test_store.py` and `test_store_compares.py`. `cluster.guard` and `cluster.relay` are
stores over these. What the verbs take and give has tags and no field names, because it also travels
between members.
"""

import enum
from collections.abc import AsyncIterator
from typing import Protocol

import msgspec


class Entry(msgspec.Struct, frozen=True, tag="entry", array_like=True, gc=False):
    """One key as the store holds it."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease_id: int = 0


class Target(enum.Enum):
    """What of a key a compare looks at; an absent key has version and mod revision 0."""

    VERSION = "version"
    MOD_REVISION = "mod_revision"
    VERSION_ABOVE = "version_above"
    """The version too, which is to be higher than the compare's value: than 0, if the key is to be
    there."""
    VALUE_ABOVE = "value_above"
    VALUE_BELOW = "value_below"
    """The octets stored, which are to come after or before the compare's in order of octets; an
    absent key's do neither."""
    NONE_AFTER = "none_after"
    """The mod revision of every key under the compare's key, a prefix: none is above the compare's
    value. What was there and is gone doesn't count."""

    # by identity, in C: looked up for every operation
    __hash__ = object.__hash__


class Compare(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`key`'s `target` equals `value`, or stands to it as the target says."""

    key: bytes
    target: Target
    value: int | bytes
    """Octets with VALUE_ABOVE and VALUE_BELOW, a number with the others."""


class Put(msgspec.Struct, frozen=True, tag="put", array_like=True, gc=False):
    """Write `value`; `lease_id` 0 = for ever."""

    key: bytes
    value: bytes
    lease_id: int = 0


class Delete(msgspec.Struct, frozen=True, tag="delete", array_like=True, gc=False):
    """Remove `key`; absent already is no error."""

    key: bytes


class Get(msgspec.Struct, frozen=True, tag="get", array_like=True, gc=False):
    """Read `key` inside the transaction."""

    key: bytes


class Txn(msgspec.Struct, frozen=True, tag="txn", array_like=True, gc=False):
    """If every compare holds then `success` else `failure`, in one step.

    A branch may hold transactions (nested twice at most), each with compares and an outcome of its
    own. A key is written at most once in the whole. At most `MAX_OPS` counted as etcd does:
    operations of a branch plus those of its largest nested transaction.
    """

    compares: tuple[Compare, ...] = ()
    success: "tuple[Put | Delete | Get | Txn, ...]" = ()
    failure: "tuple[Put | Delete | Get | Txn, ...]" = ()


class TxnResult(msgspec.Struct, frozen=True, tag="result", array_like=True, gc=False):
    """What happened: per operation of the branch taken, the entry of a Get, None for Put and
    Delete, or a nested result.
    """

    succeeded: bool
    revision: int
    responses: "tuple[Entry | TxnResult | None, ...]"


class Scan(msgspec.Struct, frozen=True, array_like=True):
    """Every entry under a prefix at one revision, in key order."""

    entries: tuple[Entry, ...]
    revision: int


class ChangeKind(enum.Enum):
    PUT = "put"
    DELETE = "delete"


class Change(msgspec.Struct, frozen=True, array_like=True):
    """One key changed. A DELETE's entry holds the key and the revision of the deletion, and no
    value.
    """

    kind: ChangeKind
    entry: Entry


class Changes(msgspec.Struct, frozen=True, array_like=True):
    """Changes in order, never part of a revision; `revision` is where a new watch may go on (plus
    one).
    """

    changes: tuple[Change, ...]
    revision: int


class Mark(msgspec.Struct, frozen=True):
    """A key as it was read, and which store answered, at which revision."""

    cluster_id: int
    """Of etcd's cluster; any number that stays."""
    revision: int
    entry: Entry | None = None


MAX_OPS = 128


class Lease(Protocol):
    """A promise to be here again within `ttl_s`; keys put under `lease_id` vanish when it is
    broken.
    """

    lease_id: int
    ttl_s: float

    async def keep_alive(self) -> float:
        """Renew once; the TTL granted, seconds. Raises LeaseLost, Unavailable."""
        ...

    async def revoke(self) -> None:
        """End it now, with all its keys. Raises Unavailable; already gone is no error."""
        ...


class Store(Protocol):
    """See the module. Every call has an attempt deadline and a total deadline."""

    async def get(self, key: bytes) -> Entry | None:
        """The newest committed entry (linearizable). Raises Unavailable."""
        ...

    async def scan(self, prefix: bytes) -> Scan:
        """Everything under `prefix` at one revision. Raises Unavailable."""
        ...

    async def commit(self, txn: Txn) -> TxnResult:
        """Carry out `txn`. Raises Unavailable (nothing happened), Unknown (it may have)."""
        ...

    def watch(self, prefix: bytes, from_revision: int) -> AsyncIterator[Changes]:
        """Changes under `prefix` from `from_revision` on, without gaps, across reconnects and
        member failures.

        Raises Compacted when that history is gone.
        """
        ...

    async def lease(self, ttl_s: float, lease_id: int = 0) -> Lease:
        """Grant a lease; with a `lease_id` of one's own that exists already, the existing one.
        Raises Unavailable.
        """
        ...

    def held(self, lease_id: int, ttl_s: float) -> Lease:
        """The lease of this id, granted before, here or elsewhere; the store isn't asked."""
        ...

    async def mark(self, key: bytes) -> Mark:
        """As `get`, with which store answers and how far it is. Raises Unavailable."""
        ...

    async def close(self) -> None:
        """Give back connections; calls after it are misuse."""
        ...
