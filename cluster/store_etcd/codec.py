"""The store's types as etcd's octets, and back.

Rules: a transaction is written out by hand, because it is the hot path: half the CPU of building
the generated messages, and the tests hold it to what they give. Everything else, and every answer,
goes through the generated code. Source: etcd's rpc.proto (3.4).
"""

from collections.abc import Iterable

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

_TARGET = {
    # target (omitted when 0), then key's tag; and the tag of the value
    Target.VERSION: (b"\x1a", b"\x20"),
    Target.CREATE_REVISION: (b"\x10\x01\x1a", b"\x28"),
    Target.MOD_REVISION: (b"\x10\x02\x1a", b"\x30"),
}
_ONE_OCTET = tuple(bytes((n,)) for n in range(0x80))


def varint(n: int) -> bytes:
    """Protobuf's variable-length integer, for 0 <= n < 2^63. Raises ValueError."""
    if n < 0:
        raise ValueError(f"{n} is negative")
    if n < 0x80:
        return _ONE_OCTET[n]
    if n < 0x4000:
        return bytes((n & 0x7F | 0x80, n >> 7))
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
        octets = _encode_compare(compare)
        parts += (b"\x0a", varint(len(octets)), octets)
    _encode_branch(parts, b"\x12", txn.success)
    _encode_branch(parts, b"\x1a", txn.failure)
    return b"".join(parts)


def _encode_compare(compare: Compare) -> bytes:
    head, tag = _TARGET[compare.target]
    key = compare.key
    return b"".join((head, varint(len(key)), key, tag, varint(compare.value)))


def _encode_branch(
    parts: list[bytes], tag: bytes, ops: "tuple[Put | Delete | Get | Txn, ...]"
) -> None:
    for op in ops:
        if isinstance(op, Put):
            kind, octets = b"\x12", _encode_put(op)
        elif isinstance(op, Txn):
            kind, octets = b"\x22", encode_txn(op)
        else:
            kind = b"\x0a" if isinstance(op, Get) else b"\x1a"
            octets = b"".join((b"\x0a", varint(len(op.key)), op.key))
        length = varint(len(octets))
        parts += (tag, varint(1 + len(length) + len(octets)), kind, length, octets)


def _encode_put(put: Put) -> bytes:
    key, value = put.key, put.value
    if put.lease_id:
        lease = b"\x18" + varint(put.lease_id)
        return b"".join((b"\x0a", varint(len(key)), key, b"\x12", varint(len(value)), value, lease))
    return b"".join((b"\x0a", varint(len(key)), key, b"\x12", varint(len(value)), value))


def decode_txn(txn: Txn, answer: rpc_pb2.TxnResponse, revision: int) -> TxnResult:
    """The result of `txn`; a nested one has no header of its own, so `revision` is handed down.

    Raises Unavailable if the answer isn't one to `txn`.
    """
    succeeded = answer.succeeded
    branch = txn.success if succeeded else txn.failure
    answers = answer.responses
    if len(answers) != len(branch):
        raise Unavailable(f"etcd answered {len(answers)} of {len(branch)} operations")
    responses: list[Entry | TxnResult | None] = []
    for i, op in enumerate(branch):
        if isinstance(op, Txn):
            responses.append(decode_txn(op, answers[i].response_txn, revision))
        elif isinstance(op, Get):
            responses.append(decode_first(answers[i].response_range.kvs))
        else:
            responses.append(None)
    return TxnResult(succeeded, revision, tuple(responses))


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
