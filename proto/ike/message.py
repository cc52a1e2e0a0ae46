"""Whole IKEv2 messages: the header, clear messages, and messages sealed in one Encrypted payload.

Rules: `peek` decides by the header alone; a sealed message's content is decoded only after its
integrity check. Malformed content that passed the check is the authenticated peer's fault
(PeerError INVALID_SYNTAX), everything else is WireError. RFC 7296 3.1, 3.2, 3.14, 2.5, 2.21.
"""

import struct
from collections.abc import Sequence
from operator import attrgetter
from typing import ClassVar, Protocol, TypeVar

import msgspec

from proto.ike.aead import Protection
from proto.ike.enums import (
    FLAG_INITIATOR,
    FLAG_RESPONSE,
    VERSION,
    ExchangeType,
    NotifyType,
    PayloadType,
)
from proto.ike.errors import PeerError, TooLong, WireError
from proto.ike.intermediate import covered
from proto.ike.payloads import (
    MAX_PAYLOADS,
    IdPayload,
    NotifyPayload,
    Payload,
    TsPayload,
    UnknownPayload,
    decode_chain,
    encode_chain,
)

HEADER_LEN = 28
CLEAR_MAX = 4096
"""Octets of a clear message: nobody has proven anything yet, so what decoding costs is bounded."""
MESSAGE_MAX = 65535 - 20 - 8 - 4
"""Octets of a message in one datagram: an IP packet's, without IP and UDP headers and the non-ESP
marker."""
_HEADER = struct.Struct(">8s8sBBBBII")
_GENERIC = struct.Struct(">BxH")
_HEADER_AND_GENERIC = struct.Struct(">8s8sBBBBIIBxH")
_GENERIC_LEN = 4
_NO_SPI = bytes(8)
_MAJOR_2 = 0x20
_SK = int(PayloadType.SK)
_INTERMEDIATE = int(ExchangeType.IKE_INTERMEDIATE)

_NOTIFY = int(PayloadType.NOTIFY)
_type_of = attrgetter("TYPE")


class _OfOneType(Protocol):
    """A kind of payload that is found by its class alone."""

    TYPE: ClassVar[PayloadType]


P = TypeVar("P", bound=_OfOneType)


class Header(msgspec.Struct, frozen=True, gc=False):
    """The IKE header (RFC 7296 3.1).

    ```
    | SPIi 8 | SPIr 8 | next payload | major:4 minor:4 | exchange | flags | message ID 4 | length 4
    |
    ```
    """

    spi_i: bytes
    spi_r: bytes
    next_payload: int
    version: int
    exchange: int
    flags: int
    message_id: int
    length: int

    @property
    def major(self) -> int:
        """The major version."""
        return self.version >> 4

    @property
    def is_response(self) -> bool:
        """The R flag."""
        return self.flags & FLAG_RESPONSE != 0

    @property
    def from_initiator(self) -> bool:
        """The I flag: sent by the original initiator of the IKE SA."""
        return self.flags & FLAG_INITIATOR != 0


class Message(msgspec.Struct, frozen=True, gc=False):
    """A header and the payloads that came under it, decrypted where they were sealed.

    Made by `of`, which looks through the payloads once for all that handlers ask afterwards.
    """

    header: Header
    payloads: tuple[Payload, ...]
    firsts: dict[int, Payload]
    """Of each payload type the first one."""
    notified: dict[int, NotifyPayload]
    """Of each notify type the first one."""
    covered: bytes = b""
    """Of an IKE_INTERMEDIATE: what IKE_AUTH covers of it (`proto.ike.intermediate`)."""

    @classmethod
    def of(cls, header: Header, payloads: tuple[Payload, ...]) -> "Message":
        """The message of these payloads."""
        backwards = payloads[::-1]  # so that the first one of a type is what remains
        firsts = dict(zip(map(_type_of, backwards), backwards, strict=True))
        notified: dict[int, NotifyPayload] = {}
        if _NOTIFY in firsts:
            for payload in backwards:
                if payload.__class__ is NotifyPayload:
                    notified[payload.type] = payload
        return cls(header, payloads, firsts, notified)

    def find(self, cls: type[P]) -> P | None:
        """The first payload of class `cls`, which has one type."""
        found = self.firsts.get(cls.TYPE)
        return found if found.__class__ is cls else None

    def identity(self, kind: PayloadType) -> IdPayload | None:
        """The first ID payload of `kind` (IDi or IDr)."""
        found = self.firsts.get(kind)
        return found if found.__class__ is IdPayload else None

    def selectors(self, kind: PayloadType) -> TsPayload | None:
        """The first TS payload of `kind` (TSi or TSr)."""
        found = self.firsts.get(kind)
        return found if found.__class__ is TsPayload else None

    def notify(self, type: int) -> NotifyPayload | None:
        """The first Notify of that type."""
        return self.notified.get(type)

    @property
    def critical(self) -> UnknownPayload | None:
        """The first payload that isn't known and may not be skipped (RFC 7296 2.5)."""
        if UnknownPayload not in map(type, self.payloads):
            return None
        unknown = [p for p in self.payloads if isinstance(p, UnknownPayload) and p.critical]
        return unknown[0] if unknown else None

    def tells(self, types: tuple[int, ...]) -> bool:
        """Is there a Notify of one of these types?"""
        return not self.notified.keys().isdisjoint(types)

    @property
    def notifies(self) -> tuple[NotifyPayload, ...]:
        """Every Notify, in order."""
        return tuple([p for p in self.payloads if isinstance(p, NotifyPayload)])


def peek(data: bytes) -> Header:
    """The header of one datagram's message, the non-ESP marker already gone.

    A higher major version is left to the caller. Raises WireError: shorter than a header, length
    field wrong, SPIi zero, older than IKEv2.
    """
    if len(data) < HEADER_LEN:
        raise WireError(f"{len(data)} octets are no IKE header")
    header = Header(*_HEADER.unpack_from(data))
    if header.length != len(data):
        raise WireError(f"length field says {header.length}, the datagram has {len(data)} octets")
    if header.spi_i == _NO_SPI:
        raise WireError("initiator's SPI is zero")
    if header.version < _MAJOR_2:
        raise WireError(f"IKE version {header.version >> 4}")
    return header


def encode_clear(
    spi_i: bytes,
    spi_r: bytes,
    exchange: int,
    flags: int,
    message_id: int,
    payloads: Sequence[Payload],
) -> bytes:
    """A message without an Encrypted payload."""
    first, body = encode_chain(payloads)
    length = HEADER_LEN + len(body)
    return _HEADER.pack(spi_i, spi_r, first, VERSION, exchange, flags, message_id, length) + body


def decode_clear(data: bytes, header: Header | None = None) -> Message:
    """A message without an Encrypted payload.

    Raises WireError, also for an SK or SKF payload in it, and beyond CLEAR_MAX octets.
    """
    if header is None:
        header = peek(data)
    if len(data) > CLEAR_MAX:
        raise WireError(f"clear message of {len(data)} octets")
    return Message.of(header, decode_chain(header.next_payload, data[HEADER_LEN:]))


def seal(
    spi_i: bytes,
    spi_r: bytes,
    exchange: int,
    flags: int,
    message_id: int,
    payloads: Sequence[Payload],
    protection: Protection,
    iv: bytes,
    octets_max: int = MESSAGE_MAX,
) -> bytes:
    """A message whose payloads are all inside one SK payload (RFC 7296 3.14).

    ```
    | header 28, next payload SK | first inner type | 0 | length 2 | IV | ciphertext | ICV |
    ```

    Raises TooLong, and seals nothing, where it would have more than `octets_max` octets.
    """
    first, plaintext = encode_chain(payloads)
    sk_len = _GENERIC_LEN + protection.sealed_len(len(plaintext))
    length = HEADER_LEN + sk_len
    if length > octets_max:
        raise TooLong(f"a message of {length} octets, of {octets_max} at most")
    aad = _HEADER_AND_GENERIC.pack(
        spi_i, spi_r, _SK, VERSION, exchange, flags, message_id, length, first, sk_len
    )
    return aad + protection.seal(aad, iv, plaintext)


def find_encrypted(data: bytes, header: Header, kind: int) -> int:
    """Offset of the payload of type `kind`, which must be the last one of the message.

    Payloads before it are skipped: they are authenticated with it, and no exchange gives them a
    meaning. Raises WireError when there is none, or something is truncated or follows it.
    """
    offset = HEADER_LEN
    following = header.next_payload
    end = len(data)
    for _ in range(MAX_PAYLOADS):
        if not following:
            break
        try:
            inner, length = _GENERIC.unpack_from(data, offset)
        except struct.error:
            raise WireError("truncated payload header") from None
        stop = offset + length
        if length < _GENERIC_LEN or stop > end:
            raise WireError(f"payload length {length} out of bounds")
        if following == kind:
            if stop != end:
                raise WireError("octets after the encrypted payload")
            return offset
        following, offset = inner, stop
    raise WireError("no encrypted payload")


def decode_inner(header: Header, first: int, plaintext: bytes) -> Message:
    """The Message of an authenticated `plaintext` whose first payload has type `first`.

    Raises PeerError INVALID_SYNTAX when it is malformed (RFC 7296 2.21.2, 2.21.3).
    """
    try:
        return Message.of(header, decode_chain(first, plaintext))
    except WireError as error:
        raise PeerError(NotifyType.INVALID_SYNTAX, why=str(error)) from None


def unseal(data: bytes, header: Header, protection: Protection) -> tuple[int, bytes]:
    """What is inside the SK payload of `data`: type of the first payload, octets of all.

    Raises WireError: no SK payload, integrity check failed.
    """
    offset = find_encrypted(data, header, _SK)
    start = offset + _GENERIC_LEN
    return data[offset], protection.open(data[:start], data[start:])


def open_sealed(data: bytes, header: Header, protection: Protection) -> Message:
    """The Message inside the SK payload of `data`.

    Raises WireError (no SK payload, integrity check failed), PeerError INVALID_SYNTAX (malformed
    inside).
    """
    first, plaintext = unseal(data, header, protection)
    message = decode_inner(header, first, plaintext)
    if header.exchange == _INTERMEDIATE:
        offset = find_encrypted(data, header, _SK)
        clear = (header.next_payload, data[HEADER_LEN:offset])
        return with_covered(message, first, plaintext, data[offset + 1], clear)
    return message


def with_covered(
    message: Message,
    first: int,
    plaintext: bytes,
    reserved: int,
    clear: tuple[int, bytes] = (_SK, b""),
) -> Message:
    """`message`, of an IKE_INTERMEDIATE, with what IKE_AUTH covers of it; see
    `proto.ike.intermediate.covered`.
    """
    head = message.header
    octets = covered(
        head.spi_i, head.spi_r, head.exchange, head.flags, head.message_id, first, plaintext,
        reserved, clear,
    )  # fmt: skip
    return msgspec.structs.replace(message, covered=octets)
