"""What can go wrong in the core, as a closed family, and what of it is told to the peer.

Rules: `WireError` is about octets that nobody has authenticated: nothing is said. `PeerError` names
its Notify. Every `TicketRejected` looks the same to the peer; its reason is for metrics. An answer
that is `TooLong` isn't given: its request is refused. `Misuse` is a bug of ours.
"""

import enum

from proto.ike.enums import NotifyType


class IkeError(Exception):
    """Base of the family; each message is one line a person can act on."""


class WireError(IkeError):
    """Octets that aren't an IKEv2 message, or whose integrity check fails."""


class PeerError(IkeError):
    """A peer deviates, or has nothing in common with us; `notify` is the answer."""

    def __init__(self, notify: NotifyType, data: bytes = b"", why: str = "") -> None:
        super().__init__(f"{notify.name}: {why}" if why else notify.name)
        self.notify = notify
        self.data = data
        self.why = why


class TicketReason(enum.Enum):
    """Why a ticket was refused; the values are label values of a metric."""

    MALFORMED = "malformed"
    """Not a ticket of ours: length, version or content."""
    UNKNOWN_KEY = "unknown-key"
    FORGED = "forged"
    """The integrity check failed: another realm, or changed octets."""
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    """Issued later than now: a clock is wrong."""
    POLICY = "policy"
    """It opens, and today's policy refuses it."""
    REFUSED = "refused"
    """Client: the gateway said TICKET_NACK."""
    EPOCH = "epoch"
    """It belongs to a state of the store that an operator gave up."""
    REVOKED = "revoked"
    """An operator revoked it, its session, or all of its bearer's sessions."""
    REUSED = "reused"
    """Its session chain has moved on: it was redeemed, or made void."""
    NAT_UNKNOWN = "nat-unknown"
    """The session was behind a NAT, and its client doesn't look for one again."""
    UNRESOLVED = "unresolved"
    """By reference: what it points to isn't kept any more, or can't be read."""


class TicketRejected(IkeError):
    """A ticket isn't taken (RFC 5723 4.3.2); the client falls back to IKE_SA_INIT."""

    def __init__(self, reason: TicketReason) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        # only when somebody looks: a flood of bad tickets is to stay cheap
        return f"ticket rejected: {self.reason.value}"


class TooLong(IkeError):
    """What is to be said fits into no message, or into none of the length that is allowed."""


class Misuse(IkeError):
    """The caller broke this package's contract."""
