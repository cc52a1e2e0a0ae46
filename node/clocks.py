"""What a gateway does whose clock is off: it issues no tickets, and says so.

Rules: those of `cluster.clocks`. Tickets are taken as before: a few seconds' difference is allowed
for when they are opened, and nothing is gained by refusing more. A client that gets no ticket comes
back by a full handshake.
"""

from typing import TYPE_CHECKING

import msgspec

from cluster.clocks import Clocks
from cluster.keyring import KeyRing, RingKey
from node.admin_view import StoreConditionInfo
from proto.ike.ticket import TicketKeys

if TYPE_CHECKING:
    from node.wiring import Node

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
        self._since_boot_s: dict[str, float] = {}
        self._clocks.on_changed.append(self._changed)
        node.heartbeats.on_beat.append(self._clocks.heard)

    @property
    def tickets(self) -> TicketKeys:
        """The ring that the core seals tickets with, and opens them."""
        ring = self._node.rings.ring
        return OpensOnly(ring) if self._clocks.off_s else ring

    def infos(self) -> tuple[StoreConditionInfo, ...]:
        """What is wrong with clocks, for `status`."""
        off_s, others = self._clocks.off_s, self._clocks.differing()
        detail = ""
        if off_s:
            name = "clock-off"
            detail = f"{_apart(-off_s)} the other gateways' clocks; no ticket is issued here"
        elif others:
            name = "clocks-differ"
            detail = ", ".join(f"{other} is {_apart(s)} this clock" for other, s in others.items())
        now_s = self._node.seams.clock.boot_s()
        self._since_boot_s = {name: self._since_boot_s.get(name, now_s)} if detail else {}
        return tuple(
            StoreConditionInfo(name, detail, FIX, now_s - since_s)
            for name, since_s in self._since_boot_s.items()
        )

    def _changed(self) -> None:
        node, off_s = self._node, self._clocks.off_s
        node.gateway.endpoint.tickets = self.tickets
        node.metrics.clock_off = bool(off_s)
        if off_s:
            node.seams.log.error(
                "this clock is off, no ticket is issued here until it agrees with the others again",
                fix=FIX, seconds=round(-off_s, 1),
            )  # fmt: skip
        else:
            node.seams.log.info("this clock agrees with the others again, tickets are issued")


def _apart(ahead_s: float) -> str:
    return f"{abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'}"
