"""A NAT of the simulated network: hosts behind it are seen at one address, each port as another.

Rules: a mapping holds for whatever destination (RFC 4787 4.1), and lets in what anybody sends to
its outer port. It is made by what is sent, and forgotten when a play says so.
"""

import itertools

from proto.ike.effects import Address


class Nat:
    """See the module."""

    def __init__(self, outer: str) -> None:
        self.outer = outer
        self._inner: dict[Address, Address] = {}
        self._outer: dict[Address, Address] = {}
        self._ports = itertools.count(20_000)

    def outside(self, inner: Address) -> Address:
        """How `inner` is seen outside, from now on."""
        if inner not in self._outer:
            fresh = (self.outer, next(self._ports))
            self._outer[inner], self._inner[fresh] = fresh, inner
        return self._outer[inner]

    def inside(self, outer: Address) -> Address | None:
        """Who is behind that outer address; None: nobody any more."""
        return self._inner.get(outer)

    def forget(self) -> None:
        """Every mapping is gone, as after a restart; no port is used twice."""
        self._inner.clear()
        self._outer.clear()
