"""A pair with NATs on the way, that a test can have forget what they know.

Rules: a NAT gives each address and port behind it a port of its own, whatever the destination, and
lets in what comes to that port, from wherever. Before the gateway it maps both ports one to one, as
a cloud's does.
"""

import itertools

from proto.ike.core import Peer, Settings, replace
from proto.ike.effects import Datagram, Path
from proto.ike.nat import KEEPALIVE
from proto.ike.ticket import ClientTicket
from tests.pair.pair import Pair, Side
from tests.pair.parts import PEER, SETTINGS, Address

NAT_SETTINGS = replace(SETTINGS, nat_traversal=True)
HOSTS = {4: ("192.0.2.1", "10.0.0.2", "198.51.100.7"), 6: ("2001:db8::1", "fd00::2", "2001:db8::7")}
"""By IP version: the gateway's, the client's, and the outer one of a NAT."""
IKE, NAT = 500, 4500


class NattedPair(Pair):
    """See the module."""

    def __init__(
        self,
        client_behind: bool = True,
        gateway_behind: bool = False,
        version: int = 4,
        settings: Settings = NAT_SETTINGS,
        peer: Peer = PEER,
    ) -> None:
        super().__init__(settings, peer)
        gateway, client, outer = HOSTS[version]
        self.gateway.address, self.client.address = (gateway, IKE), (client, 40000)
        self.sides = {}
        for side, addresses in (
            (self.gateway, [(gateway, IKE), (gateway, NAT)]),
            (self.client, [(client, 40000), (client, 40001)]),
        ):
            self.sides |= dict.fromkeys(addresses, side)
        self.outer, self.known = outer, gateway
        if gateway_behind:
            self.known = "203.0.113.9"
            """The gateway's address as the client knows it."""
        self.client_behind = client_behind
        self.keepalives: list[Datagram] = []
        self.mapped: dict[Address, Address] = {}
        """What is behind the client's NAT, by what is seen of it outside."""
        self._ports = itertools.count(20000)

    def rebind(self) -> None:
        """The client's NAT forgets: whatever is sent next gets another port."""
        self.mapped.clear()

    def arrive(self, source: Side, datagram: Datagram) -> None:
        """Through the NATs, if they let it pass."""
        local, remote = datagram.path.local, datagram.path.remote
        gateway = self.gateway.address[0]
        if source is self.client:
            local = self._outside(local)
            remote = (gateway, remote[1]) if remote[0] == self.known else remote
        else:
            local = (self.known, local[1]) if local[0] == gateway else local
            remote = self.mapped.get(remote, remote)
        if datagram.data == KEEPALIVE:
            self.keepalives.append(datagram)  # which sockets swallow
            return
        target = self.sides.get(remote)
        if target is not None:
            self.inject(target, datagram.data, local, remote)

    def _outside(self, local: Address) -> Address:
        if not self.client_behind:
            return local
        for outer, inner in self.mapped.items():
            if inner == local:
                return outer
        fresh = (self.outer, next(self._ports))
        self.mapped[fresh] = local
        return fresh

    def paths(self) -> tuple[Path, Path]:
        """The client's two ways to the gateway."""
        host = self.client.address[0]
        return Path((host, 40000), (self.known, IKE)), Path((host, 40001), (self.known, NAT))

    def begin(self, ticket: ClientTicket | None = None) -> bytes:
        """A full handshake, or with a ticket a resumption; the client's SPI."""
        path, nat_path = self.paths()
        endpoint = self.client.endpoint
        if ticket is None:
            outcome = endpoint.connect(self.peer, path, self.now, nat_path)
        else:
            outcome = endpoint.resume(ticket, self.peer, path, self.now, nat_path)
        self.carry_out(self.client, outcome)
        self.run()
        return outcome.spi

    def ask(self, side: Side, spi: bytes) -> None:
        """`side` asks whether the other end of its SA lives."""
        self.carry_out(side, side.endpoint.probe(spi, self.now))
        self.run()
