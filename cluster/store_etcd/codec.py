"""The store's types as etcd's octets, and back.

Rules: a transaction is written out by hand, because it is the hot path: half the CPU of building
the generated messages, and the tests hold it to what they give. Everything else, and every answer,
goes through the generated code. Source: etcd's rpc.proto (3.4).
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from cluster.errors import Unavailable
from cluster.store import (
    Change,
    ChangeKind,
    Compare,
    Delete,
    Entry,
    Get,
    Put,
    Target,
    Txn,
    TxnResult,
)
from proto.rpc.etcd import kv_pb2, rpc_pb2

VARINTS_KEPT = 4096
"""Numbers whose octets are remembered: lengths, leases and revisions come again and again."""

_VERSION = (b"\x1a", b"\x20")
_MOD_REVISION = (b"\x10\x02\x1a", b"\x30")
_VERSION_ABOVE = (b"\x08\x01\x1a", b"\x20")
_VALUE_ABOVE = (b"\x08\x01\x10\x03\x1a", b"\x3a")
_VALUE_BELOW = (b"\x08\x02\x10\x03\x1a", b"\x3a")
"""Of a compare: result and target (each omitted when 0: EQUAL, VERSION) and key's tag; tag of the
value."""
_BELOW_MOD_REVISION = b"\x08\x02\x10\x02\x1a"
_RANGE_END = b"\x82\x04"
"""The tag of what makes a compare one of every key in a range."""
_NONE_AFTER = Target.NONE_AFTER
_COMPARES = {
    Target.VERSION: _VERSION,
    Target.MOD_REVISION: _MOD_REVISION,
    Target.VERSION_ABOVE: _VERSION_ABOVE,
    Target.VALUE_ABOVE: _VALUE_ABOVE,
    Target.VALUE_BELOW: _VALUE_BELOW,
}


@lru_cache(VARINTS_KEPT)
def varint(n: int) -> bytes:
    """Protobuf's variable-length integer, for 0 <= n < 2^63. Raises ValueError."""
    if n < 0:
        raise ValueError(f"{n} is negative")
    octets = bytearray()
    while n > 0x7F:
        octets.append(n & 0x7F | 0x80)
        n >>= 7
    octets.append(n)
    return bytes(octets)


def encode_txn(txn: Txn) -> bytes:
    """A TxnRequest. Raises ValueError (a negative number)."""
    parts: list[bytes] = []
    for compare in txn.compares:
        if compare.target is _NONE_AFTER:
            octets = _encode_none_after(compare)
        else:
            key, value, (head, tag) = compare.key, compare.value, _COMPARES[compare.target]
            tail = varint(len(value)) + value if isinstance(value, bytes) else varint(value)
            octets = b"".join((head, varint(len(key)), key, tag, tail))
        parts += (b"\x0a", varint(len(octets)), octets)
    for tag, branch in ((b"\x12", txn.success), (b"\x1a", txn.failure)):
        for op in branch:
            field, encode = _OPERATIONS[type(op)]
            octets = encode(op)
            parts += (tag, _head(field, len(octets)), octets)
    return b"".join(parts)


def _encode_none_after(compare: Compare) -> bytes:
    """Each key's mod revision is below the next one; true of no key at all, as etcd has it."""
    prefix, end, revision = compare.key, range_end(compare.key), compare.value
    if isinstance(revision, bytes):
        raise ValueError("a revision is a number")
    head = (_BELOW_MOD_REVISION, varint(len(prefix)), prefix, _MOD_REVISION[1])
    return b"".join((*head, varint(revision + 1), _RANGE_END, varint(len(end)), end))


@lru_cache(VARINTS_KEPT)
def _head(field: bytes, size: int) -> bytes:
    """Before the request of a RequestOp: the length of the whole, the request's tag and length."""
    length = varint(size)
    return varint(1 + len(length) + size) + field + length


def _encode_put(put: Put) -> bytes:
    key, value = put.key, put.value
    lease = b"\x18" + varint(put.lease_id) if put.lease_id else b""
    return b"".join((b"\x0a", varint(len(key)), key, b"\x12", varint(len(value)), value, lease))


def _encode_key(op: Get | Delete) -> bytes:
    """A request that names a key and says nothing else of it."""
    key = op.key
    return b"".join((b"\x0a", varint(len(key)), key))


# what each takes is what it stands under
_OPERATIONS: dict[type, tuple[bytes, Callable[[Any], bytes]]] = {
    Get: (b"\x0a", _encode_key),
    Put: (b"\x12", _encode_put),
    Delete: (b"\x1a", _encode_key),
    Txn: (b"\x22", encode_txn),
}
"""Of a RequestOp: tag, and octets."""


def decode_txn(txn: Txn, answer: rpc_pb2.TxnResponse, revision: int) -> TxnResult:
    """The result of `txn`; a nested one has no header of its own, so `revision` is handed down.

    Raises Unavailable if the answer isn't one to `txn`.
    """
    succeeded = answer.succeeded
    branch = txn.success if succeeded else txn.failure
    answers = answer.responses
    if len(answers) != len(branch):
        raise Unavailable(f"etcd answered {len(answers)} of {len(branch)} operations")
    if _WRITES.issuperset(map(type, branch)):
        return TxnResult(succeeded, revision, (None,) * len(branch))
    responses: list[Entry | TxnResult | None] = []
    for i, op in enumerate(branch):
        if type(op) in _WRITES:
            responses.append(None)
        elif isinstance(op, Txn):
            responses.append(decode_txn(op, answers[i].response_txn, revision))
        else:
            responses.append(decode_first(answers[i].response_range.kvs))
    return TxnResult(succeeded, revision, tuple(responses))


_WRITES = frozenset((Put, Delete))
"""What nothing is answered to."""


def decode_entry(kv: kv_pb2.KeyValue) -> Entry:
    """One key as etcd holds it."""
    return Entry(kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease)


def decode_first(kvs: Iterable[kv_pb2.KeyValue]) -> Entry | None:
    """The one entry of a read of one key."""
    for kv in kvs:
        return decode_entry(kv)
    return None


def decode_change(event: kv_pb2.Event) -> Change:
    """One event of a watch."""
    kv = event.kv
    if event.type == kv_pb2.Event.DELETE:
        return Change(ChangeKind.DELETE, Entry(kv.key, b"", 0, kv.mod_revision, 0))
    return Change(ChangeKind.PUT, decode_entry(kv))


def range_end(prefix: bytes) -> bytes:
    """The first key after all those under `prefix`; b"\\0" = no end (etcd's convention)."""
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        return b"\0"
    return stripped[:-1] + bytes((stripped[-1] + 1,))
