"""REDIRECT and REDIRECTED_FROM as octets, and when a gateway redirects (RFC 5685 3 to 6, 9).

Rules: nobody is redirected who didn't say that he follows. The answer to a first request keeps no
state, and holds the initiator's nonce, so that it can't be made by who hasn't seen the request; in
a protected message there is none.
"""

import ipaddress
from enum import IntEnum

import msgspec

from proto.ike.enums import NotifyType
from proto.ike.errors import WireError
from proto.ike.message import Message
from proto.ike.payloads import NONCE_MAX, NONCE_MIN, NotifyPayload

MAX_REDIRECTS = 5
REDIRECT_LOOP_DETECT_PERIOD_S = 300.0
"""RFC 5685 7 has the names and the values."""
NAME_MAX = 253
_HEAD = 2

_FOLLOWS = (NotifyType.REDIRECT_SUPPORTED, NotifyType.REDIRECTED_FROM)
SUPPORTED = NotifyPayload(NotifyType.REDIRECT_SUPPORTED)


class GwIdentType(IntEnum):
    """GW Ident Type (RFC 5685 9.2)."""

    IPV4 = 1
    IPV6 = 2
    FQDN = 3


_OCTETS = {GwIdentType.IPV4: 4, GwIdentType.IPV6: 16}


class Target(msgspec.Struct, frozen=True):
    """A gateway to go to: `| type 1 | length 1 | address or name … |`."""

    kind: int
    data: bytes

    def encode(self) -> bytes:
        """The octets."""
        return bytes((self.kind, len(self.data))) + self.data

    @property
    def text(self) -> str:
        """The address, or the name."""
        if self.kind == GwIdentType.FQDN:
            return self.data.decode("ascii")
        return str(ipaddress.ip_address(self.data))


def parse_target(text: str) -> Target:
    """`192.0.2.1`, `2001:db8::1` or `gw2.example.com`. Raises ValueError saying what is right."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        name = text.encode("ascii", "replace")
        if not _is_name(name):
            raise ValueError("an address, or a name such as gw2.example.com") from None
        return Target(GwIdentType.FQDN, name)
    return Target(GwIdentType.IPV4 if address.version == 4 else GwIdentType.IPV6, address.packed)


def decode(data: bytes) -> tuple[Target, bytes]:
    """The target in the data of a REDIRECT, and the nonce behind it, empty if there is none.

    Raises WireError for an unknown type, and for lengths that don't fit.
    """
    if len(data) < _HEAD or len(data) < _HEAD + data[1]:
        raise WireError("truncated REDIRECT")
    kind, end = data[0], _HEAD + data[1]
    target, nonce = data[_HEAD:end], data[end:]
    wanted = _OCTETS.get(GwIdentType(kind)) if kind in (1, 2, 3) else 0
    right = _is_name(target) if kind == GwIdentType.FQDN else len(target) == wanted
    if wanted == 0 or not right:
        raise WireError(f"a gateway of type {kind} with {len(target)} octets")
    if nonce and not NONCE_MIN <= len(nonce) <= NONCE_MAX:
        raise WireError(f"nonce of {len(nonce)} octets in a REDIRECT")
    return Target(kind, target), nonce


def redirect(target: Target, nonce: bytes = b"") -> NotifyPayload:
    """N(REDIRECT); `nonce`: the initiator's, in answer to a first request only."""
    return NotifyPayload(NotifyType.REDIRECT, target.encode() + nonce)


def redirected_from(host: str) -> NotifyPayload:
    """N(REDIRECTED_FROM) with the address of the gateway that sent us here."""
    return NotifyPayload(NotifyType.REDIRECTED_FROM, parse_target(host).encode())


def in_protected(message: Message) -> Target | None:
    """The target in a protected message, where no nonce is looked at; what is malformed is none."""
    notify = message.notify(NotifyType.REDIRECT)
    try:
        return None if notify is None else decode(notify.data)[0]
    except WireError:
        return None


def follows(message: Message) -> bool:
    """Does whoever sent this first request follow a REDIRECT (RFC 5685 3)?"""
    return message.tells(_FOLLOWS)


def was_sent_by(message: Message, target: Target) -> bool:
    """Was it `target` that has redirected the sender to us? Then it isn't sent back there."""
    notify = message.notify(NotifyType.REDIRECTED_FROM)
    return notify is not None and notify.data == target.encode()


def _is_name(name: bytes) -> bool:
    letters = name.replace(b".", b"").replace(b"-", b"")
    return 0 < len(name) <= NAME_MAX and letters.isalnum() and name.isascii()
