"""From which of its addresses a client talks to a gateway.

Rules: asked anew for each attempt, for a client moves about. The gateway is told the address,
hashed (RFC 7296 2.23), so it is to be the one that the datagrams leave with.
"""

from typing import Protocol

import msgspec

from node.udp import Listen, Receiver, Sockets, UdpSockets
from proto.ike.effects import Address


class Origins(Protocol):
    """Implementers: `LocalSocket`, `FixedOrigins`."""

    def ike(self, gateway: Address) -> Address:
        """Of datagrams to a gateway's port for IKE. Raises OSError: there is no way to it."""
        ...

    def nat(self, gateway: Address) -> Address | None:
        """The same for a port that NATs let pass; None: we have none for that."""
        ...


class FixedOrigins(msgspec.Struct, frozen=True):
    """One address, whatever the gateway's."""

    address: Address
    nat_address: Address | None = None

    def ike(self, _gateway: Address) -> Address:
        """See `Origins.ike`."""
        return self.address

    def nat(self, _gateway: Address) -> Address | None:
        """See `Origins.nat`."""
        return self.nat_address


class LocalSocket:
    """A client's UDP sockets, on free ports: for each kind of address that its gateways have one
    for IKE, and one for where NATs let pass. Where a datagram leaves is what the routes say.
    """

    def __init__(self, gateways: tuple[Address, ...], nat: bool = False) -> None:
        """`nat`: ports for NAT traversal are wanted."""
        self._hosts = tuple(dict.fromkeys(local_host(gateway) for gateway in gateways))
        self._nat = nat
        self.udp: UdpSockets | None = None

    def open(self, receiver: Receiver) -> tuple[Sockets, Origins]:
        """Bind and begin to receive. Raises OSError."""
        anywhere = tuple((host, 0) for host in self._hosts)
        self.udp = UdpSockets(Listen(anywhere, anywhere if self._nat else ()), receiver)
        self.udp.start()
        return self.udp, self

    def ike(self, gateway: Address) -> Address:
        """See `Origins.ike`."""
        return self._origin(gateway, 0)

    def nat(self, gateway: Address) -> Address | None:
        """See `Origins.nat`."""
        return self._origin(gateway, len(self._hosts)) if self._nat else None

    def _origin(self, gateway: Address, first: int) -> Address:
        host = local_host(gateway)
        if self.udp is None or host not in self._hosts:
            raise OSError(f"no socket was opened for {gateway[0]}")
        return self.udp.origin(self.udp.addresses[first + self._hosts.index(host)], gateway)

    def close(self) -> None:
        """Give the ports back."""
        if self.udp is not None:
            self.udp.close()


def local_host(gateway: Address) -> str:
    """The address to bind to: loopback for a gateway on loopback, any otherwise."""
    host = gateway[0]
    if host.startswith("127."):
        return "127.0.0.1"
    return "::" if ":" in host else "0.0.0.0"  # noqa: S104  a client answers nobody it didn't ask
