"""What the cluster knows against a ticket that opens: revoked, or used already.

Rules: asked once per resumption, answered from memory and at once. A ticket that may have been used
isn't refused for that: the driver confirms it by one read of the session chain (`Outcome.confirm`)
and presents the datagram again. RFC 5723 9.8, 4.3.1.
"""

import enum
from typing import Protocol

from proto.ike.reference import Reference
from proto.ike.ticket import TicketBody


class Used(enum.Enum):
    """What is known of a ticket's use."""

    NO = "no"
    """Nothing: it is served, and the session chain has the last word at IKE_AUTH."""
    MAYBE = "maybe"
    """A filter says so, which may err."""
    YES = "yes"
    """The chain was seen to have moved on."""


class Refusals(Protocol):
    """Implementer: `node.refusals.ClusterRefusals`."""

    def revoked(self, body: TicketBody) -> bool:
        """Has an operator revoked it, or its session, or its bearer's sessions?"""
        ...

    def used(self, shown: TicketBody | Reference) -> Used:
        """Was it redeemed, or made void with its session?"""
        ...


class NoRefusals:
    """For an endpoint that nobody tells: a client's."""

    def revoked(self, body: TicketBody) -> bool:
        """No ticket is."""
        return False

    def used(self, shown: TicketBody | Reference) -> Used:
        """Nothing is known."""
        return Used.NO


NO_REFUSALS = NoRefusals()
