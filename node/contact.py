"""INITIAL_CONTACT acts on the sessions of every member (RFC 7296 2.4).

Rules: only of an identity that was proven, and only older sessions of it: of two that say so at
once the newer one stays, whichever member hears what first. Who is told may be away; then liveness
ends what is left. The session that came with it stays, whatever its chain has become since.
"""

from typing import TYPE_CHECKING

from cluster.link import Alone
from proto.ike.events import InitialContact

if TYPE_CHECKING:
    from node.wiring import Node

WHY = "the peer began anew"


class Contacts:
    """See the module."""

    def __init__(self, node: "Node", obey: bool) -> None:
        """`obey`: what peers say of it counts. `node`: its gateway needn't have been built yet."""
        self._node = node
        self._obey = obey
        node.dispatch.on(Alone, lambda _sender, frame: self._end_others(frame))

    def heard(self, event: InitialContact) -> None:
        """A session of ours came with INITIAL_CONTACT, and is durable."""
        if not self._obey:
            return
        told = Alone(event.identity, event.chain, event.established_wall_s)
        self._end_others(told)
        me = self._node.config.member.name
        for name in self._node.membership.members:
            if name != me:
                self._node.seams.link.send(name, told)

    def _end_others(self, told: Alone) -> None:
        gateway = getattr(self._node, "gateway", None)
        if gateway is None or not self._obey:
            return
        mine = (told.established_wall_s, told.chain)
        others = [
            core.spi
            for core, _path in gateway.endpoint.established()
            if core.identity == told.identity
            and core.chain != told.chain
            and (core.established_wall_s, core.chain) < mine
        ]
        for spi in others:
            outcome = gateway.endpoint.vanish(spi, WHY, gateway.now())
            if outcome is not None:
                gateway.lane.carry_out(outcome)
        gateway.rearm()
