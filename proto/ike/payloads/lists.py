"""Payloads that are lists: traffic selectors and configuration attributes (RFC 7296 3.13, 3.15)."""

import struct
from functools import lru_cache
from typing import ClassVar

import msgspec

from proto.ike.enums import PayloadType, TsType
from proto.ike.errors import WireError
from proto.ike.payloads.body import Body
from proto.ike.wire import Reader

_TSI = PayloadType.TSi
_TSR = PayloadType.TSr

_SELECTOR = struct.Struct(">BBHHH")
_SELECTOR_HEAD = struct.Struct(">BBH")
_ATTRIBUTE = struct.Struct(">HH")
_RESERVED_BIT = 0x8000

_RANGES = {
    int(TsType.TS_IPV4_ADDR_RANGE): struct.Struct(">BBHHH4s4s"),
    int(TsType.TS_IPV6_ADDR_RANGE): struct.Struct(">BBHHH16s16s"),
}


class TrafficSelector(msgspec.Struct, frozen=True, gc=False):
    """A range of addresses, ports and protocols (RFC 7296 3.13.1).

    ```
    | TS type | IP protocol | length 2 | start port 2 | end port 2 | start address … | end address …
    |
    ```

    A type other than the two IP ranges has a layout of its own: what follows its length stands in
    `start_address`.
    """

    ts_type: int
    ip_protocol: int
    """0: any."""
    start_port: int
    end_port: int
    start_address: bytes
    end_address: bytes

    def encode(self) -> bytes:
        """The substructure."""
        tail = self.start_address + self.end_address
        if self.ts_type in _RANGES:
            return (
                _SELECTOR.pack(
                    self.ts_type, self.ip_protocol, 8 + len(tail), self.start_port, self.end_port
                )
                + tail
            )
        return _SELECTOR_HEAD.pack(self.ts_type, self.ip_protocol, 4 + len(tail)) + tail


ATTRIBUTES_MAX = 128
"""Configuration attributes in one payload; four octets each would otherwise buy much work."""
CACHED_OCTETS_MAX = 64
"""A longer TS payload is rare, and not worth remembering."""


def _decode_selectors(body: bytes) -> tuple[TrafficSelector, ...]:
    """The selectors of a TS payload; most clients of a gateway send the same few."""
    return _decode_cached(body) if len(body) <= CACHED_OCTETS_MAX else _decode_anew(body)


def _decode_anew(body: bytes) -> tuple[TrafficSelector, ...]:
    """`| count | 0 0 0 | selectors … |`."""
    end = len(body)
    if end < 4:
        raise WireError("truncated TS payload")
    selectors = []
    offset = 4
    for _ in range(body[0]):
        if end - offset < 4:
            raise WireError("truncated traffic selector")
        ts_type, protocol, length = _SELECTOR_HEAD.unpack_from(body, offset)
        stop = offset + length
        if length < 4 or stop > end:
            raise WireError("traffic selector length out of bounds")
        layout = _RANGES.get(ts_type)
        if layout is None:
            rest = body[offset + 4 : stop]
            selectors.append(TrafficSelector(ts_type, protocol, 0, 0, rest, b""))
        elif length != layout.size:
            raise WireError(f"traffic selector of type {ts_type} has {length} octets")
        else:
            _, _, _, *fields = layout.unpack_from(body, offset)
            selectors.append(TrafficSelector(ts_type, protocol, *fields))
        offset = stop
    if offset != end:
        raise WireError("trailing octets after the last traffic selector")
    return tuple(selectors)


_decode_cached = lru_cache(maxsize=1024)(_decode_anew)


@lru_cache(maxsize=1024)
def _encode_selectors(selectors: tuple[TrafficSelector, ...]) -> bytes:
    """`| count | 0 0 0 | selectors … |`."""
    return bytes((len(selectors), 0, 0, 0)) + b"".join([s.encode() for s in selectors])


class TsPayload(Body, frozen=True, gc=False):
    """What one side's traffic looks like (RFC 7296 3.13): `| count | 0 0 0 | selectors … |`."""

    kind: PayloadType
    """TSi or TSr."""
    selectors: tuple[TrafficSelector, ...]

    @property
    def TYPE(self) -> PayloadType:  # noqa: N802 - one name for all payloads
        """The payload type: `kind`."""
        return self.kind

    @classmethod
    def decode_initiator(cls, body: bytes) -> "TsPayload":
        """TSi. Raises WireError unless count and lengths agree."""
        return cls(_TSI, _decode_selectors(body))

    @classmethod
    def decode_responder(cls, body: bytes) -> "TsPayload":
        """TSr. Raises WireError unless count and lengths agree."""
        return cls(_TSR, _decode_selectors(body))

    def encode(self) -> bytes:
        """The payload's body."""
        return _encode_selectors(self.selectors)


class CpPayload(Body, frozen=True, gc=False):
    """Configuration asked for or given (RFC 7296 3.15).

    ```
    | CFG type | 0 0 0 | attribute: | R type:15 | length 2 | value … | … |
    ```
    """

    TYPE: ClassVar[PayloadType] = PayloadType.CP
    cfg_type: int
    attributes: tuple[tuple[int, bytes], ...]
    """(type, value), in order."""

    @classmethod
    def decode(cls, body: bytes) -> "CpPayload":
        """Raises WireError when truncated, or beyond ATTRIBUTES_MAX."""
        if len(body) < 4:
            raise WireError("truncated CP payload")
        reader = Reader(body, 4)
        attributes: list[tuple[int, bytes]] = []
        while len(reader):
            if len(attributes) == ATTRIBUTES_MAX:
                raise WireError(f"more than {ATTRIBUTES_MAX} configuration attributes")
            kind, length = _ATTRIBUTE.unpack(reader.take(4))
            attributes.append((kind & ~_RESERVED_BIT, reader.take(length)))
        return cls(body[0], tuple(attributes))

    def encode(self) -> bytes:
        """The payload's body."""
        parts = [_ATTRIBUTE.pack(kind, len(value)) + value for kind, value in self.attributes]
        return bytes((self.cfg_type, 0, 0, 0)) + b"".join(parts)
