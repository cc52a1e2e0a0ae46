"""Pre-shared keys against quantum computers: what is configured, and how far a handshake has come
with it (RFC 8784 3, 5.1).

Rules: a PPK is found by its PPK_ID, octet for octet: the type in the first octet, then a name that
says nothing to us. What is done with it: `proto.ike.exchanges.ppk`.
"""

import enum

import msgspec

from proto.secret import Secret


class Ppk(msgspec.Struct, frozen=True):
    """One of them."""

    id: bytes
    """Its PPK_ID."""
    secret: Secret


class PpkUse(enum.Enum):
    """Where a handshake stands."""

    OFF = "not announced by both sides"
    OPEN = "announced by both: the initiator's first AUTH is to say which"
    SETTLED = "used, or done without"
