"""The Security Association payload: proposals, transforms, attributes (RFC 7296 3.3).

Rules: what a peer offered is kept as it stands, unknown numbers and attributes included; whether it
is acceptable is `proto.ike.suite`'s business.
"""

import struct
from functools import lru_cache
from typing import ClassVar

import msgspec

from proto.ike.enums import PayloadType
from proto.ike.errors import WireError
from proto.ike.payloads.body import Body
from proto.ike.wire import Reader

_KEY_LENGTH_TV = 0x800E
"""Attribute format bit (type and value, no length) and attribute type 14."""
_KEY_LENGTH_OCTETS = _KEY_LENGTH_TV.to_bytes(2, "big")
_FORMAT_TV = 0x8000
_TRANSFORM = struct.Struct(">BxHBxH")
_PROPOSAL = struct.Struct(">BxHBBBB")
_head_of = _PROPOSAL.unpack_from
_TRANSFORM_TV = struct.Struct(">BxHBxHHH")
"""With one attribute of type and value: what a cipher with a key length looks like."""
_ATTRIBUTE = struct.Struct(">HH")
_MORE_PROPOSALS = 2
_MORE_TRANSFORMS = 3


class Transform(msgspec.Struct, frozen=True, gc=False):
    """One algorithm of one kind (RFC 7296 3.3.2).

    ```
    | last 0 or 3 | 0 | length 2 | type | 0 | id 2 | attributes … |
    attribute: | 1 type:15 | value 2 |  or  | 0 type:15 | length 2 | value … |
    ```
    """

    type: int
    id: int
    key_length: int | None = None
    """Key Length attribute, bits."""
    attributes: bytes = b""
    """All other attributes, as they were sent."""

    def encode(self, last: bool) -> bytes:
        """The substructure; `last` says that no transform follows in this proposal."""
        more = 0 if last else _MORE_TRANSFORMS
        length = 8 + len(self.attributes)
        if self.key_length is None:
            return _TRANSFORM.pack(more, length, self.type, self.id) + self.attributes
        tv = (_KEY_LENGTH_TV, self.key_length)
        return _TRANSFORM_TV.pack(more, length + 4, self.type, self.id, *tv) + self.attributes


def _decode_attributes(data: bytes) -> tuple[int | None, bytes]:
    """Key length (the first one given) and the octets of all the other attributes."""
    key_length = None
    others = b""
    reader = Reader(data)
    while len(reader):
        head = reader.take(4)
        kind, value = _ATTRIBUTE.unpack(head)
        if kind == _KEY_LENGTH_TV and key_length is None:
            key_length = value
        elif kind & _FORMAT_TV:
            others += head
        else:
            others += head + reader.take(value)
    return key_length, others


@lru_cache(maxsize=1024)
def _encode_transforms(transforms: tuple[Transform, ...]) -> bytes:
    """The transforms of a proposal; what is chosen and offered is nearly always the same."""
    count = len(transforms)
    return b"".join([t.encode(i == count) for i, t in enumerate(transforms, 1)])


class Proposal(msgspec.Struct, frozen=True, gc=False):
    """What one peer would accept together: one transform of each type present (RFC 7296 3.3.1).

    ```
    | last 0 or 2 | 0 | length 2 | number | protocol | SPI size | transforms | SPI … | transforms …
    |
    ```
    """

    number: int
    protocol: int
    spi: bytes
    transforms: tuple[Transform, ...]

    def encode(self, last: bool) -> bytes:
        """The substructure; `last` says that no proposal follows in this payload."""
        transforms, spi_size = _encode_transforms(self.transforms), len(self.spi)
        more = 0 if last else _MORE_PROPOSALS
        length, count = 8 + spi_size + len(transforms), len(self.transforms)
        head = _PROPOSAL.pack(more, length, self.number, self.protocol, spi_size, count)
        return head + self.spi + transforms


PROPOSALS_MAX = 255
"""They are numbered from 1 in one octet."""
CACHED_OCTETS_MAX = 128
"""Transforms of a usual proposal take 40; longer ones are not worth remembering."""


def _decode_transforms(data: bytes, count: int) -> tuple[Transform, ...]:
    """`count` transforms that fill `data`."""
    transforms = []
    offset, end = 0, len(data)
    for i in range(1, count + 1):
        if end - offset < 8:
            raise WireError("truncated transform")
        more, length, kind, id_ = _TRANSFORM.unpack_from(data, offset)
        if length < 8 or offset + length > end:
            raise WireError("transform length out of bounds")
        if more != (0 if i == count else _MORE_TRANSFORMS):
            raise WireError("transform count and last-transform mark disagree")
        if length == 8:
            transforms.append(Transform(kind, id_))
        elif length == 12 and data[offset + 8 : offset + 10] == _KEY_LENGTH_OCTETS:
            bits = data[offset + 10] << 8 | data[offset + 11]
            transforms.append(Transform(kind, id_, bits))
        else:
            key_length, others = _decode_attributes(data[offset + 8 : offset + length])
            transforms.append(Transform(kind, id_, key_length, others))
        offset += length
    if offset != end:
        raise WireError("trailing octets after the last transform")
    return tuple(transforms)


_decode_cached = lru_cache(maxsize=1024)(_decode_transforms)
"""Clients of one make offer the same proposals octet for octet, but for the SPI."""


class SaPayload(Body, frozen=True, gc=False):
    """Proposals in order of preference (RFC 7296 3.3): `| proposal … |`."""

    TYPE: ClassVar[PayloadType] = PayloadType.SA
    proposals: tuple[Proposal, ...]

    @classmethod
    def decode(cls, body: bytes) -> "SaPayload":
        """Raises WireError unless counts, lengths and marks agree, and each proposal offers
        something.
        """
        end = len(body)
        offset = 0
        proposals: list[Proposal] = []
        more = _MORE_PROPOSALS
        while more:
            try:
                more, length, number, protocol, spi_size, count = _head_of(body, offset)
            except struct.error:
                raise WireError("truncated proposal") from None
            spi_at, stop = offset + 8, offset + length
            spi_end = spi_at + spi_size
            if not spi_end <= stop <= end:
                raise WireError("proposal length out of bounds")
            if not count or len(proposals) == PROPOSALS_MAX:
                raise WireError("a proposal without transforms, or more than can be numbered")
            if more not in (0, _MORE_PROPOSALS):
                raise WireError(f"last-proposal mark is {more}")
            rest = body[spi_end:stop]
            decode = _decode_cached if len(rest) <= CACHED_OCTETS_MAX else _decode_transforms
            transforms = decode(rest, count)
            proposals.append(Proposal(number, protocol, body[spi_at:spi_end], transforms))
            offset = stop
        if offset != end:
            raise WireError("trailing octets after the last proposal")
        return cls(tuple(proposals))

    def encode(self) -> bytes:
        """The payload's body."""
        count = len(self.proposals)
        if count == 1:
            return self.proposals[0].encode(True)
        return b"".join([p.encode(i == count) for i, p in enumerate(self.proposals, 1)])
