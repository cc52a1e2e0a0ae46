"""What the core tells the shell once an Outcome is durable and sent: for metrics, logs, clients and
drills.

Rules: an event is a fact, never a request; it holds no secret except where its docstring says so.
"""

import msgspec

from proto.ike.pools import Configured
from proto.ike.ticket import ClientTicket


class Event(msgspec.Struct, frozen=True, gc=False):
    """Base of all events; `spi` is our own SPI of the IKE SA, 8 octets, or empty where there is
    none.
    """

    spi: bytes


class Established(Event, frozen=True, gc=False):
    """An IKE SA is authenticated on both sides, and its state is durable."""

    spi_i: bytes
    spi_r: bytes
    chain: bytes
    """Session chain, 16 octets; empty on the initiator, which can't know it."""
    generation: int
    resumed: bool
    identity: str
    """The peer's authenticated identity."""
    replaced: bytes
    """Our side's SPI of the SA that a resumption replaced, or empty."""


class Adopted(Event, frozen=True, gc=False):
    """An IKE SA that another owner had set up is answered here from now on."""

    chain: bytes
    generation: int


class Rekeyed(Event, frozen=True, gc=False):
    """An IKE SA has taken over from another one of the same session; its state is durable."""

    former: bytes
    """Our SPI of the other one."""
    peer_spi: bytes
    chain: bytes
    """See `Established.chain`."""
    generation: int


class ChildRekeyed(Event, frozen=True, gc=False):
    """A Child SA has taken over from another one."""

    former: bytes
    """Our inbound SPI of the other one, 4 octets."""
    spi_in: bytes


class Ended(Event, frozen=True, gc=False):
    """An IKE SA is gone."""

    chain: bytes
    why: str


class Failed(Event, frozen=True, gc=False):
    """An exchange that was to set up an IKE SA ended without one."""

    resumed: bool
    why: str
    """With what was offered and what is configured, where that is the reason."""
    remote: str = ""
    """Gateway: the address that the peer came from."""


class Refused(Event, frozen=True, gc=False):
    """Gateway: a peer of an SA that stands asked for what it can't have: a Child SA, a rekey."""

    identity: str
    what: str
    """The notify that it was answered with, by its name."""
    why: str
    """See `Failed`."""


class WithoutPpk(Event, frozen=True, gc=False):
    """A PPK was there to be mixed in, and the IKE SA was set up without one (RFC 8784 6)."""

    identity: str
    """The peer's."""


class ChildRefused(Event, frozen=True, gc=False):
    """Client: the IKE SA stands without a Child SA, and carries nothing."""

    why: str


class TicketRefused(Event, frozen=True, gc=False):
    """Gateway: a presented ticket was answered with TICKET_NACK. Client: ours was."""

    reason: str


class TicketReceived(Event, frozen=True, gc=False):
    """Client: a ticket to be stored safely (RFC 5723 9.7). Holds secrets."""

    ticket: ClientTicket


class AddressesReceived(Event, frozen=True, gc=False):
    """Client: what the gateway has configured us with (RFC 7296 2.19)."""

    configured: Configured


class Reauthenticate(Event, frozen=True, gc=False):
    """Client: the gateway wants a new authentication within this time (RFC 4478 2)."""

    lifetime_s: int


class Redirected(Event, frozen=True, gc=False):
    """Client: a gateway sends us to another one. Gateway: we have sent a client there, or its SA
    (RFC 5685)."""

    target: str
    """The address, or the name."""


class InitialContact(Event, frozen=True, gc=False):
    """Gateway: the peer says that this is its only session (RFC 7296 2.4)."""

    chain: bytes
    identity: str
    """Which of the peer's was authenticated, in text."""
    local_id: bytes
    """Which of ours: its octets."""
    established_wall_s: float


class OverLimit(Event, frozen=True, gc=False):
    """Gateway: a session didn't begin, for its peer has too many."""

    identity: str
    local_id: bytes
    """See `InitialContact`."""
    others: int
    most: int


class Limited(Event, frozen=True, gc=False):
    """Gateway: a session has begun, of a peer that may have `most` at a time."""

    identity: str
    local_id: bytes
    """See `InitialContact`."""
    most: int
    oldest_ends: bool
    """Is it the oldest one that has to go?"""


class Moved(Event, frozen=True, gc=False):
    """An SA's new addresses are in use at both ends (RFC 4555)."""


class MoveRefused(Event, frozen=True, gc=False):
    """The peer won't have our new addresses."""

    why: str


class Answered(Event, frozen=True, gc=False):
    """The peer answered a request of ours on an established SA."""


class Unanswered(Event, frozen=True, gc=False):
    """The peer answered none of our retransmissions: it counts as dead (RFC 7296 2.4)."""


class Dropped(Event, frozen=True, gc=False):
    """A datagram was ignored; `reason` is one of a small closed set (a metric's label)."""

    reason: str
