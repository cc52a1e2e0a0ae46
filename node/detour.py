"""Where a client goes when a gateway redirects it, and whether it does (RFC 5685 3, 6, 7).

Rules: whoever is gone to has to prove the same identity as before: nothing but the address changes
(RFC 5685 11). At most MAX_REDIRECTS in REDIRECT_LOOP_DETECT_PERIOD. A name is not followed: nobody
here asks the DNS.
"""

import enum
import ipaddress

from proto.ike.effects import Address
from proto.ike.redirect import MAX_REDIRECTS, REDIRECT_LOOP_DETECT_PERIOD_S


class Follow(enum.Enum):
    """Whom a gateway may send its client to."""

    NEVER = "never"
    KNOWN = "known"
    """To a gateway of the client's own list."""
    ANY = "any"
    """To any address: the port is the one of the gateway that redirects."""


class Detour:
    """See the module."""

    def __init__(
        self,
        gateways: tuple[Address, ...],
        nat_gateways: tuple[Address | None, ...],
        follow: Follow,
    ) -> None:
        self._known = {gateway[0]: index for index, gateway in enumerate(gateways)}
        self._gateways = gateways
        self._nat_gateways = nat_gateways or tuple(None for _ in gateways)
        self._follow = follow
        self._times: list[float] = []
        self.at: tuple[Address, Address | None] | None = None
        """The gateway that we were sent to, and its port for NATs; None: one of the list."""
        self.came_from = ""
        """The address of the one that sent us there."""

    def turn(self, target: str, from_gateway: Address, boot_s: float) -> str:
        """Go to `target` from now on; or in a few words why not."""
        try:
            host = str(ipaddress.ip_address(target))
        except ValueError:
            return "a name, not an address"
        index = self._known.get(host)
        if self._follow is Follow.NEVER or (index is None and self._follow is Follow.KNOWN):
            return "not one of ours"
        since_s = boot_s - REDIRECT_LOOP_DETECT_PERIOD_S
        self._times = [at_s for at_s in self._times if at_s > since_s]
        if len(self._times) >= MAX_REDIRECTS:
            return f"{MAX_REDIRECTS} redirects in {REDIRECT_LOOP_DETECT_PERIOD_S:g} s"
        self._times.append(boot_s)
        self.came_from = from_gateway[0]
        if index is not None:
            self.at = self._gateways[index], self._nat_gateways[index]
        else:
            nat = next((a for a in self._nat_gateways if a is not None), None)
            self.at = (host, from_gateway[1]), None if nat is None else (host, nat[1])
        return ""

    def give_up(self) -> bool:
        """Back to the list, where we were before; False: we are there."""
        was_away = self.at is not None
        self.at, self.came_from = None, ""
        return was_away
