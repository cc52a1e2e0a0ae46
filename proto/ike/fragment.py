"""IKE fragmentation: one message in several datagrams, each sealed on its own (RFC 7383).

Rules: a fragment counts only after its integrity check; one reassembly per message ID, bounded in
octets and in time; a set with more fragments replaces a smaller one (the peer probes for a smaller
MTU), the other way round it is ignored. A message in fragments is kept as their octets, one behind
the other: each says how long it is.
"""

import struct
from collections.abc import Callable, Sequence

import msgspec

from proto.ike.aead import Protection
from proto.ike.enums import VERSION, PayloadType
from proto.ike.errors import Misuse, WireError
from proto.ike.message import HEADER_LEN, Header, find_encrypted
from proto.ike.payloads import Payload, encode_chain

_HEADER_AND_SKF = struct.Struct(">8s8sBBBBIIBxHHH")
_NUMBERS = struct.Struct(">HH")
_SKF_HEAD_LEN = 8
"""Generic header, fragment number, total fragments."""
_SKF = int(PayloadType.SKF)

REASSEMBLY_MAX = 64 * 1024
"""Octets of one reassembled message."""
HALF_OPEN_MAX = 16 * 1024
"""The same, from somebody who has proven nothing yet but a key exchange."""
REASSEMBLY_S = 30.0
"""How long the rest of a message is waited for after its first fragment (RFC 7383 2.6)."""
IP4_OCTETS, IP6_OCTETS = 576, 1280
"""IP datagrams that pass everywhere (RFC 7383 2.5.1)."""
_IP4_AND_UDP, _IP6_AND_UDP = 20 + 8 + 4, 40 + 8 + 4
"""Octets around a message: IP and UDP headers, the non-ESP marker."""
OCTETS_MIN = IP4_OCTETS - _IP4_AND_UDP
"""Of a message: whatever a peer's fragments look like, ours aren't made smaller than that."""
_LENGTH = slice(24, 28)
FRAGMENTS_MAX = 128
"""Fragments of one message: 64 KiB in pieces of the smallest size in use (about 500 octets)."""


class Fragment(msgspec.Struct, frozen=True, gc=False):
    """One authenticated piece of a message."""

    number: int
    """From 1."""
    total: int
    first: int
    """Type of the first inner payload; with fragment 1 only."""
    plaintext: bytes
    octets: int = 0
    """Of the message that the piece came in."""
    reserved: int = 0
    """The second octet of its payload."""


def message_octets(datagram_octets: int, host: str) -> int:
    """How long a message to `host` may be, if its IP datagram is to have no more octets."""
    return datagram_octets - (_IP6_AND_UDP if ":" in host else _IP4_AND_UDP)


def smallest(host: str) -> int:
    """The longest message to `host` that passes everywhere."""
    return message_octets(IP6_OCTETS if ":" in host else IP4_OCTETS, host)


def apart(octets: bytes) -> list[bytes]:
    """The messages that stand one behind the other in `octets`, of our own making."""
    messages, offset = [], 0
    while offset < len(octets):
        end = offset + int.from_bytes(octets[offset:][_LENGTH], "big")
        messages.append(octets[offset:end])
        offset = end
    return messages


def open_fragment(data: bytes, header: Header, protection: Protection) -> Fragment:
    """The piece in the SKF payload of `data` (RFC 7383 2.5).

    ```
    | next payload | 0 | length 2 | fragment number 2 | total fragments 2 | IV | ciphertext | ICV |
    ```

    Raises WireError: no SKF payload, numbers out of bounds, integrity check failed.
    """
    offset = find_encrypted(data, header, _SKF)
    start = offset + _SKF_HEAD_LEN
    if len(data) < start:
        raise WireError("truncated SKF payload")
    number, total = _NUMBERS.unpack_from(data, offset + 4)
    if not 1 <= number <= total or total > FRAGMENTS_MAX:
        raise WireError(f"fragment {number} of {total}")
    plaintext = protection.open(data[:start], data[start:])
    return Fragment(number, total, data[offset], plaintext, len(data), data[offset + 1])


class Reassembly:
    """Collects the fragments of one message (RFC 7383 2.6)."""

    __slots__ = ("_limit", "_octets", "_parts", "longest", "reserved", "total")

    def __init__(self, limit: int = REASSEMBLY_MAX) -> None:
        self.total = 0
        self.longest = 0
        """Octets of the longest message of the present set."""
        self.reserved = 0
        """The second octet of the first fragment's payload (RFC 9242 3.3.2)."""
        self._limit = limit
        self._parts: dict[int, Fragment] = {}
        self._octets = 0

    def add(self, fragment: Fragment) -> tuple[int, bytes] | None:
        """(type of the first payload, whole plaintext) once all are there, else None.

        Raises WireError beyond the limit; what was collected is dropped then.
        """
        if fragment.total < self.total or (
            fragment.total == self.total and fragment.number in self._parts
        ):
            return None
        if fragment.total > self.total:
            self._restart(fragment.total)
        self._parts[fragment.number] = fragment
        self.longest = max(self.longest, fragment.octets)
        self._octets += len(fragment.plaintext)
        if self._octets > self._limit:
            self._restart(0)
            raise WireError(f"reassembled message exceeds {self._limit} octets")
        if len(self._parts) < self.total:
            return None
        ordered = [self._parts[number] for number in range(1, self.total + 1)]
        self.reserved = ordered[0].reserved
        return ordered[0].first, b"".join([part.plaintext for part in ordered])

    def _restart(self, total: int) -> None:
        self.total = total
        self.longest = 0
        self._parts = {}
        self._octets = 0


def seal_fragments(
    spi_i: bytes,
    spi_r: bytes,
    exchange: int,
    flags: int,
    message_id: int,
    payloads: Sequence[Payload],
    protection: Protection,
    next_iv: Callable[[], bytes],
    max_octets: int,
) -> list[bytes]:
    """The message as SKF messages of at most `max_octets` octets each (IP and UDP headers not
    counted); of more where it would be more than FRAGMENTS_MAX of them.

    `next_iv` gives a fresh IV for each. Raises Misuse when `max_octets` leaves no room; TooLong for
    a payload that no message holds.
    """
    first, plaintext = encode_chain(payloads)
    room = max_octets - HEADER_LEN - _SKF_HEAD_LEN - protection.overhead
    if room < 1:
        raise Misuse(f"no room for content in {max_octets} octets")
    room = max(room, -(-len(plaintext) // FRAGMENTS_MAX))
    total = max(1, -(-len(plaintext) // room))
    messages = []
    for number in range(1, total + 1):
        chunk = plaintext[(number - 1) * room : number * room]
        skf_len = _SKF_HEAD_LEN + protection.sealed_len(len(chunk))
        aad = _HEADER_AND_SKF.pack(
            spi_i,
            spi_r,
            _SKF,
            VERSION,
            exchange,
            flags,
            message_id,
            HEADER_LEN + skf_len,
            first if number == 1 else 0,
            skf_len,
            number,
            total,
        )
        messages.append(aad + protection.seal(aad, next_iv(), chunk))
    return messages
