"""What a case is given: its world with our side and the peer's, and what is checked at its end.

Rules: what every case has in common is here, so that a case says only what it is about: the network
(our side 192.0.2.1 and 2001:db8::1, the peer's .100 and ::100), the first programs, and the checks
that hold whatever was done: keys of Child SAs agree, nothing of ours logged a traceback,
independent decoders read every datagram of ours.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.interop import decoders
from tests.interop.libreswan import Pluto
from tests.interop.ours import MEMBER_IPS, PSK, Client, Cluster, Gateway, Tables
from tests.interop.roots import TRIXIE, Debian
from tests.interop.strongswan import FAKED, Charon
from tests.interop.world import Net, World, expect
from tests.interop.xfrm import EspKeys

OUR_IP, THEIR_IP = "192.0.2.1", "192.0.2.100"
OUR_IP6, THEIR_IP6 = "2001:db8::1", "2001:db8::100"
INSIDE_IP = "10.9.0.2"
NATS = (("10.9.0.1", "192.0.2.50"), ("10.9.0.3", "192.0.2.51"))
"""Each one's address inside and outside."""
SECRETS = f'@gw.example.com @client.example.com : PSK "{PSK}"\n'


class Stage:
    """See the module."""

    def __init__(self, folder: Path, peer: Debian, etcd: Path) -> None:
        self.peer = peer
        self.etcd = etcd
        self.world = World(folder, TRIXIE)
        self.charons: list[Charon] = []
        self.plutos: list[Pluto] = []
        self.gateways: list[Gateway] = []
        self.clients: list[Client] = []
        self.captures: list[tuple[Path, list[str]]] = []
        """Each with the addresses that we send from."""
        self.messages = 0
        """Of ours, that were read by decoders which aren't."""
        self.left: Net
        self.right: Net
        self.inside: Net

    def flat(self, packets_max: int = 0) -> None:
        """The plain network: our side and the peer's on one wire, which is captured at ours, the
        first `packets_max` of it unless that is 0.
        """
        self.left, self.right = self.world.net("ours"), self.world.net("theirs")
        self.world.join(self.left, self.right)
        self.world.address(self.left, f"{OUR_IP}/24", f"{OUR_IP6}/64")
        self.world.address(self.right, f"{THEIR_IP}/24", f"{THEIR_IP6}/64")
        self.left.ip("addr add 10.1.0.1/32 dev lo")
        self.right.ip("addr add 10.2.0.1/32 dev lo", "addr add 10.1.0.2/32 dev lo")
        capture = self.world.capture(self.left, packets_max=packets_max)
        self.captures.append((capture, [OUR_IP, OUR_IP6]))

    def behind_nat(self, ours_inside: bool) -> None:
        """The client's side behind a NAT, on a network with two ways out: `way_out` chooses one.
        Captured at our side.
        """
        hub, lan = self.world.bridge("hub"), self.world.bridge("lan")
        inside = self.world.attach(lan, "inside", f"{INSIDE_IP}/24")
        outside = self.world.attach(hub, "outside", f"{THEIR_IP if ours_inside else OUR_IP}/24")
        for number, (lan_ip, ip) in enumerate(NATS):
            router = self.world.attach(hub, f"nat{number}", f"{ip}/24")
            self.world.join(router, lan, "v1", f"nat{number}")
            lan.ip(f"link set nat{number} master br0")
            self.world.address(router, f"{lan_ip}/24", interface="v1")
            router.masquerade("v0")
        self.left, self.right = (inside, outside) if ours_inside else (outside, inside)
        self.inside = inside
        inside.ip(f"route add default via {NATS[0][0]}")
        address = INSIDE_IP if ours_inside else OUR_IP
        self.captures.append((self.world.capture(self.left), [address]))

    def way_out(self, number: int) -> None:
        """The client's side goes out by that NAT from now on, 0 or 1."""
        self.inside.ip(f"route replace default via {NATS[number][0]}")

    # -- programs -------------------------------------------------------------------------------

    def gateway(self, address: str = f"{OUR_IP}:500", name: str = "gw1", **tables: Any) -> Gateway:
        """One gateway of ours, serving."""
        made = Gateway(self.world, self.left, address, tables, name)
        self.gateways.append(made)
        made.start()
        return made

    def cluster(self, **tables: Tables) -> Cluster:
        """Three members of ours at an etcd, serving, and the peer, on a network of their own: a
        bridge, at which everything is captured.
        """
        hub = self.world.bridge("hub")
        self.right = self.world.attach(hub, "theirs", f"{THEIR_IP}/24")
        ours = [OUR_IP, *MEMBER_IPS]
        self.captures.append((self.world.capture(hub, interface="br0"), ours))
        made = Cluster(self.world, hub, self.etcd, tables)
        self.gateways += made.gateways
        return made

    def client(
        self, *gateways: str, net: Net | None = None, name: str = "client", **tables: Any
    ) -> Client:
        """Our client, started; by default it knows the peer's address alone."""
        at = list(gateways) or [f"{THEIR_IP}:500"]
        made = Client(self.world, net or self.left, at, tables, name)
        self.clients.append(made)
        made.start()
        return made

    def charon(
        self,
        net: Net | None = None,
        settings: str = "",
        name: str = "charon",
        esp: str = FAKED,
        quiet: bool = False,
    ) -> Charon:
        """A charon in the peer's namespace, or in `net`."""
        made = Charon(self.world, net or self.right, self.peer, name, settings, esp, quiet)
        self.charons.append(made)
        return made

    def pluto(
        self,
        connections: Mapping[str, Mapping[str, str]],
        secrets: str = SECRETS,
        **certificates: Any,
    ) -> Pluto:
        """A pluto in the peer's namespace."""
        made = Pluto(self.world, self.right, self.peer, connections, secrets, **certificates)
        self.plutos.append(made)
        return made

    # -- the end --------------------------------------------------------------------------------

    def check(self) -> None:
        """What holds at the end of every case. Raises CaseFailed."""
        for charon in self.charons:
            self.check_keys(charon.esp_keys())
        for pluto in self.plutos:
            self.check_keys(pluto.esp_keys())
        for capture, addresses in self.captures:
            logs = [program.keys_folder for program in (*self.clients, *self.gateways)]
            self.messages += decoders.check(capture, logs, addresses)
        for ours in (*self.clients, *self.gateways):
            expect("Traceback" not in ours.running.output, f"a traceback at {ours.name}")

    def check_keys(self, theirs: dict[str, EspKeys]) -> None:
        """Every ESP SA of the peer's is one of ours, with the same keys."""
        ours: dict[str, EspKeys] = {}
        for program in (*self.clients, *self.gateways):
            ours |= program.esp_keys()
        for spi, keys in theirs.items():
            expect(spi in ours, f"the peer has an ESP SA {spi} that we don't have")
            expect(keys == ours[spi], f"keys of ESP SA {spi} differ: {keys} and {ours[spi]}")

    def close(self) -> None:
        """End everything."""
        self.world.close()
