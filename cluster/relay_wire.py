"""What a member that doesn't reach the store says to one that does, and what it gets back.

Rules: a message is msgpack, tagged by `what`, cut into pieces that fit frames; pieces of a message
arrive in order or not at all, and a message that lacks one is dropped. Whoever answers holds a
bounded number of messages that aren't whole yet. Pure.
"""

from collections.abc import Iterator

import msgspec

from cluster.errors import UNREADABLE, Compacted, LeaseLost, Trouble, Unavailable, Unknown
from cluster.link import Relay
from cluster.store import Changes, Delete, Entry, Get, Put, Scan, Txn, TxnResult

PIECE_OCTETS = 128 << 10
MESSAGE_OCTETS_MAX = 64 << 20
"""The longest message: a scan of tens of thousands of records."""
PIECES_MAX = MESSAGE_OCTETS_MAX // PIECE_OCTETS
UNFINISHED_MAX = 64
"""Messages of one sender that aren't whole yet; the oldest goes first."""


class GetCall(msgspec.Struct, frozen=True, tag="get", tag_field="what"):
    """`Store.get`; answered by Got."""

    key: bytes
    floor: int


class ScanCall(msgspec.Struct, frozen=True, tag="scan", tag_field="what"):
    """`Store.scan`; answered by Scanned."""

    prefix: bytes
    floor: int


class CommitCall(msgspec.Struct, frozen=True, tag="commit", tag_field="what"):
    """`Store.commit`; answered by Done. `floor`: the highest store revision that the asker has
    seen; a store that is behind it isn't used for it."""

    txn: Txn
    floor: int


class LeaseCall(msgspec.Struct, frozen=True, tag="lease", tag_field="what"):
    """`Store.lease`; answered by Leased."""

    ttl_s: float
    lease_id: int
    floor: int


class KeepAliveCall(msgspec.Struct, frozen=True, tag="keep-alive", tag_field="what"):
    """`Lease.keep_alive`; answered by Leased."""

    lease_id: int
    floor: int


class RevokeCall(msgspec.Struct, frozen=True, tag="revoke", tag_field="what"):
    """`Lease.revoke`; answered by Leased."""

    lease_id: int
    floor: int


class WatchCall(msgspec.Struct, frozen=True, tag="watch", tag_field="what"):
    """`Store.watch`; answered by Changed, again and again, as long as StillCall comes."""

    prefix: bytes
    from_revision: int
    floor: int


class StillCall(msgspec.Struct, frozen=True, tag="still", tag_field="what"):
    """The watch with this number is still wanted; answered by Upto."""

    watch: int
    floor: int = 0


Call = (
    GetCall | ScanCall | CommitCall | LeaseCall | KeepAliveCall | RevokeCall | WatchCall | StillCall
)


class Got(msgspec.Struct, frozen=True, tag="got", tag_field="what"):
    entry: Entry | None


class Scanned(msgspec.Struct, frozen=True, tag="scanned", tag_field="what"):
    scan: Scan


class Done(msgspec.Struct, frozen=True, tag="done", tag_field="what"):
    result: TxnResult


class Leased(msgspec.Struct, frozen=True, tag="leased", tag_field="what"):
    lease_id: int
    ttl_s: float


class Changed(msgspec.Struct, frozen=True, tag="changed", tag_field="what"):
    """Part of a watch: every change from `first` to the batch's revision."""

    first: int
    changes: Changes


class Upto(msgspec.Struct, frozen=True, tag="upto", tag_field="what"):
    """Of a watch, everything before `next_revision` has been sent."""

    next_revision: int


class Failed(msgspec.Struct, frozen=True, tag="failed", tag_field="what"):
    """The call raised `error`, the name of a class of `cluster.errors`, or ValueError."""

    error: str
    text: str
    trouble: str = Trouble.NO_ANSWER.value
    compacted: int = 0


Answer = Got | Scanned | Done | Leased | Changed | Upto | Failed

_encode = msgspec.msgpack.Encoder().encode
_decode_call = msgspec.msgpack.Decoder(Call).decode
_decode_answer = msgspec.msgpack.Decoder(Answer).decode


def pieces(number: int, message: Call | Answer, *, back: bool) -> Iterator[Relay]:
    """The frames of one message. Raises ValueError if it is too long."""
    octets = _encode(message)
    if len(octets) > MESSAGE_OCTETS_MAX:
        raise ValueError(f"{len(octets)} octets in one message, at most {MESSAGE_OCTETS_MAX}")
    parts = max(1, -(-len(octets) // PIECE_OCTETS))
    for part in range(parts):
        piece = octets[part * PIECE_OCTETS : (part + 1) * PIECE_OCTETS]
        yield Relay(number, part, parts, piece, back)


class Assembly:
    """Messages of one sender, from their pieces."""

    def __init__(self) -> None:
        self._unfinished: dict[int, list[bytes]] = {}

    def __len__(self) -> int:
        return len(self._unfinished)

    def take(self, frame: Relay) -> bytes | None:
        """The whole message, if `frame` ends it."""
        if not 0 <= frame.part < frame.parts <= PIECES_MAX or len(frame.octets) > PIECE_OCTETS:
            return None
        if frame.part == 0:
            if frame.parts == 1:
                return frame.octets
            self._unfinished.pop(frame.call, None)
            if len(self._unfinished) >= UNFINISHED_MAX:
                del self._unfinished[next(iter(self._unfinished))]
            self._unfinished[frame.call] = [frame.octets]
            return None
        before = self._unfinished.get(frame.call)
        if before is None:
            return None
        if len(before) != frame.part:  # one was lost: none of it is good
            del self._unfinished[frame.call]
            return None
        before.append(frame.octets)
        if len(before) < frame.parts:
            return None
        del self._unfinished[frame.call]
        return b"".join(before)


def decode_call(octets: bytes) -> Call | None:
    """None: it is none, or of a later release."""
    try:
        call: Call = _decode_call(octets)
    except UNREADABLE:
        return None
    return call


def decode_answer(octets: bytes) -> Answer | None:
    """None: it is none, or of a later release."""
    try:
        answer: Answer = _decode_answer(octets)
    except UNREADABLE:
        return None
    return answer


def failed(error: Exception) -> Failed:
    """What to answer when the store raised `error`."""
    trouble = error.trouble.value if isinstance(error, Unavailable) else Trouble.NO_ANSWER.value
    compacted = error.compact_revision if isinstance(error, Compacted) else 0
    return Failed(type(error).__name__, str(error), trouble, compacted)


def error_of(answer: Failed, via: str) -> Exception:
    """What such an answer means to the asker."""
    text = f"through {via}: {answer.text}"
    if answer.error == "Unknown":
        return Unknown(text)
    if answer.error == "LeaseLost":
        return LeaseLost(text)
    if answer.error == "Compacted":
        return Compacted(answer.compacted)
    if answer.error == "ValueError":
        return ValueError(text)
    known = {each.value: each for each in Trouble}
    return Unavailable(text, known.get(answer.trouble, Trouble.NO_ANSWER))


def within(txn: Txn, root: bytes) -> bool:
    """Whether every key of `txn` stands under `root`."""
    if not all(compare.key.startswith(root) for compare in txn.compares):
        return False
    for op in (*txn.success, *txn.failure):
        if isinstance(op, Put | Delete | Get):
            if not op.key.startswith(root):
                return False
        elif not within(op, root):
            return False
    return True
