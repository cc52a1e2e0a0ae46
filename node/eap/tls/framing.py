"""TLS messages in EAP packets: flags, fragments and their reassembly (RFC 5216 3).

Rules: the whole is bounded before its first octet is kept, a fragment may bring nothing beyond the
announced whole, and an announced whole must be reached exactly.
"""

import struct

import msgspec

from node.eap.packet import MalformedEapError

LENGTH_INCLUDED, MORE_FRAGMENTS, START = 0x80, 0x40, 0x20
MESSAGE_OCTETS_MAX = 65_536
"""Of one side's turn: some certificates and a certificate request."""
FRAGMENT_OCTETS = 1024
"""Of TLS in one packet. With IKE's and UDP's headers it fits into 1280 octets."""
ACKNOWLEDGEMENT = b"\0"
"""Flags alone: send the next fragment; or, at the end, that all was read."""
_LENGTH = struct.Struct(">I")


class Fragment(msgspec.Struct, frozen=True):
    """`| flags 1 | TLS message length 4, with L | octets … |`."""

    flags: int = 0
    total: int | None = None
    """Octets of the whole message, if announced."""
    octets: bytes = b""

    @classmethod
    def decode(cls, data: bytes) -> "Fragment":
        """Raises MalformedEapError. Reserved flags are ignored; no octet at all is an
        acknowledgement, as some peers write it.
        """
        flags = data[0] if data else 0
        if not flags & LENGTH_INCLUDED:
            return cls(flags, None, data[1:])
        if len(data) < 5:
            raise MalformedEapError("a TLS message length that ends early")
        (total,) = _LENGTH.unpack_from(data, 1)
        if total > MESSAGE_OCTETS_MAX:
            raise MalformedEapError(f"a TLS message of {total} octets")
        return cls(flags, total, data[5:])

    def encode(self) -> bytes:
        """The type's data."""
        if self.total is None:
            return bytes((self.flags,)) + self.octets
        return bytes((self.flags | LENGTH_INCLUDED,)) + _LENGTH.pack(self.total) + self.octets

    @property
    def is_acknowledgement(self) -> bool:
        """It carries nothing and announces nothing."""
        return not self.octets and not self.flags & (MORE_FRAGMENTS | START)


class Assembly:
    """What has come of one message."""

    def __init__(self) -> None:
        self._octets = b""
        self._total: int | None = None

    def add(self, fragment: Fragment) -> bytes | None:
        """The whole message once it is there, else None. Raises MalformedEapError."""
        if fragment.total is not None:
            if self._total is not None and fragment.total != self._total:
                raise MalformedEapError("two lengths of one TLS message")
            self._total = fragment.total
        elif self._total is None and fragment.flags & MORE_FRAGMENTS:
            raise MalformedEapError("a first TLS fragment without the length of the whole")
        if fragment.flags & MORE_FRAGMENTS and not fragment.octets:
            raise MalformedEapError("an empty TLS fragment")
        self._octets += fragment.octets
        if self._total is not None and len(self._octets) > self._total:
            raise MalformedEapError("more TLS octets than announced")
        if fragment.flags & MORE_FRAGMENTS:
            return None
        if self._total is not None and len(self._octets) != self._total:
            raise MalformedEapError("fewer TLS octets than announced")
        whole, self._octets, self._total = self._octets, b"", None
        return whole


def fragments(message: bytes) -> list[bytes]:
    """`message` as the data of packets, the first announcing the whole if there are several."""
    parts = [message[at : at + FRAGMENT_OCTETS] for at in range(0, len(message), FRAGMENT_OCTETS)]
    if len(parts) <= 1:
        return [Fragment(octets=message).encode()]
    more = [MORE_FRAGMENTS] * (len(parts) - 1) + [0]
    return [
        Fragment(flags, len(message) if number == 0 else None, part).encode()
        for number, (flags, part) in enumerate(zip(more, parts, strict=True))
    ]
