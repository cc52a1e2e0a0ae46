"""INITIAL_CONTACT acts on the sessions of every member (RFC 7296 2.4).

Rules: only of a pair of identities that was proven, and only older sessions of it: of two that say
so at once the newer one stays, whichever member hears what first, and a session that was resumed
since isn't ended. What was said last is remembered, so that a session that nobody had just then
(its owner has died, or handed it over) doesn't live on at who adopts it. Who wasn't told, for he
was away, finds out by liveness. The session that came with it stays, whatever its chain has become
since. Members' clocks differ: what had been heard when a session began here is older than it,
whatever the date says that it bears.
"""

from typing import TYPE_CHECKING

from cluster.link import Alone
from node.whose import Pair, Whose, pair_of
from proto.ike.core import SaCore
from proto.ike.events import InitialContact

if TYPE_CHECKING:
    from node.wiring import Node

WHY = "the peer began anew"
TICK_S = 1e-6
"""By how much a later word is dated after an earlier one, at least: a double has that of a date."""
HEARD_MAX = 65_536
"""Pairs whose last word is remembered; the oldest one is forgotten first."""


class Contacts:
    """See the module."""

    def __init__(self, node: "Node", whose: Whose, obey: bool) -> None:
        """`obey`: what peers say of it counts. `node`: its gateway is built after."""
        self._node = node
        self._whose = whose
        self.obeyed = obey
        self._heard: dict[Pair, tuple[float, bytes]] = {}
        """When the newest session that came with it began, and its chain."""
        node.dispatch.on(Alone, lambda _sender, frame: self._told(frame))

    def heard(self, event: InitialContact) -> None:
        """A session of ours came with INITIAL_CONTACT, and is durable."""
        if not self.obeyed:
            return
        before_s, _ = self._heard.get((event.identity, event.local_id), (0.0, b""))
        began_s = max(event.established_wall_s, before_s + TICK_S)
        told = Alone(event.identity, event.local_id, event.chain, began_s)
        self._told(told)
        me = self._node.config.member.name
        for name in self._node.membership.members:
            if name != me:
                self._node.seams.link.send(name, told)

    def adopted(self, spi: bytes) -> None:
        """A session that another member had is ours: unless its peer has begun anew meanwhile."""
        if not self._heard:
            return
        core = self._node.gateway.endpoint.find(spi)
        pair = None if core is None else pair_of(core)
        if core is not None and pair is not None:
            self._end([core], self._heard.get(pair, (0.0, b"")))

    def _told(self, told: Alone) -> None:
        if not self.obeyed:
            return
        pair, said = (told.identity, told.local_id), (told.established_wall_s, told.chain)
        newest = max(said, self._heard.pop(pair, said))
        if len(self._heard) >= HEARD_MAX:
            del self._heard[next(iter(self._heard))]
        self._heard[pair] = newest
        self._end(self._whose.sessions(pair), newest)

    def _end(self, sessions: list[SaCore], said: tuple[float, bytes]) -> None:
        """Those that are older than what was said, and not what said it."""
        gateway = self._node.gateway
        for core in sessions:
            if core.chain == said[1] or (core.established_wall_s, core.chain) > said:
                continue
            outcome = gateway.endpoint.vanish(core.spi, WHY, gateway.now())
            if outcome is not None:
                gateway.lane.carry_out(outcome)
        gateway.rearm()
