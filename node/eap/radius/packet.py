"""RADIUS packets as this program uses them: Access-Request out, its three replies in.

Rules: pyrad encodes, decodes, verifies and decrypts; nothing beyond this module sees its types.
Randomness is handed in. A reply is decoded before it is verified, but nothing of it leaves this
module until it is. RFC 2865 3 and 5, RFC 3579 3.1 and 3.2, RFC 2548 2.4.
"""

import enum
from collections.abc import Sequence

import msgspec
from pyrad.dictionary import Dictionary
from pyrad.packet import AuthPacket, PacketError

from node.eap.method import MSK_OCTETS
from proto.secret import Secret

PACKET_OCTETS_MAX = 4096
AUTHENTICATOR_OCTETS = 16
EAP_OCTETS_MAX = 3072
"""Of one EAP packet: with the other attributes it fits into a RADIUS packet."""
VALUE_OCTETS_MAX = 253
_MICROSOFT = 311
_SEND_KEY, _RECV_KEY = (_MICROSOFT, 16), (_MICROSOFT, 17)
_NO_NAMES = Dictionary()
"""Attributes go by their numbers."""

Attributes = Sequence[tuple[int, bytes]]


class Code(enum.IntEnum):
    """RFC 2865 3."""

    ACCESS_REQUEST = 1
    ACCESS_ACCEPT = 2
    ACCESS_REJECT = 3
    ACCESS_CHALLENGE = 11


class Attribute(enum.IntEnum):
    """RFC 2865 5, RFC 3579 3."""

    USER_NAME = 1
    SERVICE_TYPE = 6
    FRAMED_MTU = 12
    STATE = 24
    CLASS = 25
    SESSION_TIMEOUT = 27
    CALLING_STATION_ID = 31
    NAS_IDENTIFIER = 32
    NAS_PORT_TYPE = 61
    EAP_MESSAGE = 79


class Reply(msgspec.Struct, frozen=True):
    """What a server answered, verified."""

    code: Code
    eap: bytes
    """All EAP-Message attributes, joined; b"" if there are none."""
    state: tuple[bytes, ...]
    user_name: str
    """b"" decodes to ""."""
    session_timeout_s: int | None
    classes: tuple[bytes, ...]
    msk: Secret | None
    """MS-MPPE-Recv-Key, MS-MPPE-Send-Key, and zeros up to 64 octets; None if either is missing."""


class Request:
    """One Access-Request, to be sent any number of times."""

    def __init__(
        self, identifier: int, authenticator: bytes, secret: Secret, attributes: Attributes
    ) -> None:
        """`authenticator`: 16 unpredictable octets, never used again. Raises ValueError for a
        value longer than an attribute holds.
        """
        packet = AuthPacket(
            code=Code.ACCESS_REQUEST,
            id=identifier,
            secret=secret.octets,
            authenticator=authenticator,
            dict=_NO_NAMES,
        )
        packet.add_message_authenticator()
        for number, value in attributes:
            packet.setdefault(int(number), []).append(value)
        self._packet = packet
        self.identifier = identifier
        self.octets: bytes = packet.RequestPacket()
        """What goes out; the Message-Authenticator is its first attribute."""

    def accept(self, datagram: bytes) -> Reply | None:
        """The reply in `datagram`, or None where it isn't one to this request from who knows the
        secret.
        """
        if len(datagram) > PACKET_OCTETS_MAX:
            return None
        try:
            reply = self._packet.CreateReply(packet=datagram)
            code = Code(reply.code)
        except (PacketError, ValueError):
            return None
        if code is Code.ACCESS_REQUEST or not self._packet.VerifyReply(reply, enforce_ma=True):
            return None
        reply.request_authenticator = self._packet.authenticator
        return _verified(code, reply)


def eap_attributes(packet: bytes) -> list[tuple[int, bytes]]:
    """An EAP packet as EAP-Message attributes, in order (RFC 3579 3.1)."""
    starts = range(0, len(packet), VALUE_OCTETS_MAX)
    return [(Attribute.EAP_MESSAGE, packet[at : at + VALUE_OCTETS_MAX]) for at in starts]


def _verified(code: Code, reply: AuthPacket) -> Reply:
    timeout = _values(reply, Attribute.SESSION_TIMEOUT)
    names = _values(reply, Attribute.USER_NAME)
    return Reply(
        code=code,
        eap=b"".join(_values(reply, Attribute.EAP_MESSAGE)),
        state=_values(reply, Attribute.STATE),
        user_name=names[0].decode("utf-8", "replace") if names else "",
        session_timeout_s=_integer(timeout[0]) if timeout else None,
        classes=_values(reply, Attribute.CLASS),
        msk=_msk(reply),
    )


def _values(reply: AuthPacket, key: int | tuple[int, int]) -> tuple[bytes, ...]:
    return tuple(bytes(value) for value in reply.get(key, ()))


def _integer(value: bytes) -> int | None:
    return int.from_bytes(value, "big") if len(value) == 4 else None


def _msk(reply: AuthPacket) -> Secret | None:
    """RFC 2548 2.4.2 and 2.4.3: each half hidden on its own."""
    halves = []
    for key in (_RECV_KEY, _SEND_KEY):
        hidden = _values(reply, key)
        if len(hidden) != 1:
            return None
        try:
            half: bytes = reply.SaltDecrypt(hidden[0])
        except PacketError:
            return None
        if not half:
            return None
        halves.append(half)
    return Secret(b"".join(halves).ljust(MSK_OCTETS, b"\0")[:MSK_OCTETS])
