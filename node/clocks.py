"""What a gateway does whose clock is off: it issues no tickets, and says so.

Rules: those of `cluster.clocks`. Tickets are taken as before: a few seconds' difference is allowed
for when they are opened, and nothing is gained by refusing more. A client that gets no ticket comes
back by a full handshake.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from cluster.clocks import Clocks
from cluster.keyring import KeyRing, RingKey
from node.admin_view import StoreConditionInfo
from node.since import Since
from proto.ike.ticket import TicketKeys

if TYPE_CHECKING:
    from node.wiring import Node

CLOCK_OFF = "clock-off"
CLOCKS_DIFFER = "clocks-differ"
FIX = "synchronise the clocks: is NTP running on that machine?"


class OpensOnly(msgspec.Struct, frozen=True):
    """The ring of a gateway that issues no tickets; see `proto.ike.ticket.TicketKeys`."""

    ring: KeyRing

    def sealing(self, wall_s: float) -> None:
        """See `TicketKeys.sealing`."""

    def opening(self, key_id: bytes, wall_s: float) -> RingKey | None:
        """See `TicketKeys.opening`."""
        return self.ring.opening(key_id, wall_s)


class ClockWatch:
    """See the module."""

    def __init__(self, node: "Node", skew_s: float) -> None:
        """`node`: with its heartbeats. `skew_s`: what is allowed for when a ticket is opened."""
        self._node = node
        self._clocks = Clocks(node.seams.clock, skew_s / 2)
        self._since = Since(node.seams.clock)
        self._clocks.on_changed.append(self._changed)
        node.heartbeats.on_beat.append(self._clocks.heard)
        node.outage.on_look.append(self._note)

    @property
    def tickets(self) -> TicketKeys:
        """The ring that the core seals tickets with, and opens them."""
        ring = self._node.rings.ring
        return OpensOnly(ring) if self.off else ring

    @property
    def off(self) -> bool:
        """Whether this clock is off."""
        return bool(self._clocks.off_s)

    def infos(self) -> tuple[StoreConditionInfo, ...]:
        """What is wrong with clocks, for `status`."""
        self._note()
        told = {CLOCK_OFF: self._this_one, CLOCKS_DIFFER: self._others}
        return tuple(
            StoreConditionInfo(name, told[name](), FIX, for_s)
            for name, for_s in self._since.items()
        )

    def _note(self) -> None:
        self._since.note(self._holding())

    def _holding(self) -> Iterator[str]:
        if self.off:
            yield CLOCK_OFF
        elif self._clocks.differing():
            yield CLOCKS_DIFFER

    def _this_one(self) -> str:
        return f"{_apart(-self._clocks.off_s)} the other gateways' clocks; no ticket is issued here"

    def _others(self) -> str:
        others = self._clocks.differing()
        return ", ".join(f"{other} is {_apart(s)} this clock" for other, s in others.items())

    def _changed(self) -> None:
        node, off_s = self._node, self._clocks.off_s
        node.gateway.endpoint.tickets = self.tickets
        if off_s:
            node.seams.log.error(
                "this clock is off, no ticket is issued here until it agrees with the others again",
                fix=FIX, seconds=round(-off_s, 1),
            )  # fmt: skip
        else:
            node.seams.log.info("this clock agrees with the others again, tickets are issued")


def _apart(ahead_s: float) -> str:
    return f"{abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'}"
