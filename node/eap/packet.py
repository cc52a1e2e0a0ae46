"""EAP packets: their octets, decoded and encoded (RFC 3748 4).

Rules: whatever isn't a whole packet is a MalformedEapError. Octets behind the packet's own length
are padding and ignored (RFC 3748 4.1). Types are told apart by whoever reads them: an unknown one
is no mistake. Expanded types (RFC 3748 5.7) aren't supported, which a legacy Nak says (5.3.1).
"""

import enum
import struct

import msgspec

_HEAD = struct.Struct(">BBH")
_CODES_WITH_TYPE = (1, 2)
_CODES_BARE = (3, 4)
IDENTITY_OCTETS_MAX = 253
"""As much as a RADIUS User-Name holds (RFC 2865 5.1), which every back end can take."""


class EapError(Exception):
    """Base of what can go wrong in a conversation; each message is one line for a log."""


class MalformedEapError(EapError):
    """Octets that aren't a packet, or a packet that isn't what its type says."""


class EapCode(enum.IntEnum):
    """RFC 3748 4."""

    REQUEST = 1
    RESPONSE = 2
    SUCCESS = 3
    FAILURE = 4


class EapType(enum.IntEnum):
    """Types that this program names (IANA's EAP registry)."""

    IDENTITY = 1
    NOTIFICATION = 2
    NAK = 3
    MD5_CHALLENGE = 4
    TLS = 13
    SIM = 18
    TTLS = 21
    AKA = 23
    PEAP = 25
    MSCHAPV2 = 26
    FAST = 43
    PAX = 46
    SAKE = 48
    AKA_PRIME = 50
    GPSK = 51
    PWD = 52
    EKE = 53
    EXPANDED = 254


class EapPacket(msgspec.Struct, frozen=True, gc=False):
    """`| code 1 | identifier 1 | length 2 | type 1 | data … |`; SUCCESS and FAILURE end before the
    type, which is 0 here.
    """

    code: int
    identifier: int
    type: int = 0
    data: bytes = b""

    @classmethod
    def decode(cls, octets: bytes) -> "EapPacket":
        """Raises MalformedEapError."""
        if len(octets) < _HEAD.size:
            raise MalformedEapError(f"an EAP packet of {len(octets)} octets")
        code, identifier, length = _HEAD.unpack_from(octets)
        if not _HEAD.size <= length <= len(octets):
            raise MalformedEapError(f"an EAP packet of {len(octets)} octets that says {length}")
        if code in _CODES_BARE:
            if length != _HEAD.size:
                raise MalformedEapError(f"EAP code {code} with data")
            return cls(code, identifier)
        if code not in _CODES_WITH_TYPE:
            raise MalformedEapError(f"EAP code {code}")
        if length == _HEAD.size:
            raise MalformedEapError("an EAP request or response without a type")
        return cls(code, identifier, octets[4], octets[5:length])

    def encode(self) -> bytes:
        """The packet's octets."""
        if self.code in _CODES_BARE:
            return _HEAD.pack(self.code, self.identifier, _HEAD.size)
        body = bytes((self.type,)) + self.data
        return _HEAD.pack(self.code, self.identifier, _HEAD.size + len(body)) + body


def decode_identity(data: bytes) -> str:
    """The identity in an Identity response's data (RFC 3748 5.1): UTF-8, up to a NUL, if any.

    Raises MalformedEapError.
    """
    named = data.partition(b"\0")[0]
    if len(named) > IDENTITY_OCTETS_MAX:
        raise MalformedEapError(f"an identity of {len(named)} octets")
    try:
        text = named.decode()
    except UnicodeDecodeError:
        raise MalformedEapError("an identity that isn't UTF-8") from None
    if not text.isprintable():
        raise MalformedEapError("an identity with unprintable characters")
    return text


def name_of_type(number: int) -> str:
    """How a log names a type."""
    try:
        return EapType(number).name
    except ValueError:
        return f"type {number}"
