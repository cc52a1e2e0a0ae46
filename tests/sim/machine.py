"""One gateway process and one client of the simulated world, made of production code alone.

Rules: a gateway is `node.wiring.Node` with simulated seams; a client is `node.client.Client`. A
kill is a SIGKILL: from that instant nothing of the process reaches the network, the store or its
record of events; only then are its tasks swept away.
"""

from pathlib import Path as File

from cluster.drill.events import Event, decode_lines
from cluster.vault import Kek, Keks
from node.client import Client, peer_of
from node.config import (
    ClientSection,
    ClusterConfig,
    EventsConfig,
    GatewayConfig,
    IkeConfig,
    MemberConfig,
    StoreConfig,
)
from node.credentials import PskTable
from node.identity import load_psks, parse_address
from node.kernel import NullKernel
from node.session import MemoryTicket, SessionSettings
from node.supervisor import Supervisor
from node.udp import Receiver, Sockets
from node.wiring import Identity, Node, Seams
from proto.ike.effects import Address
from proto.secret import Secret
from tests.sim.link import LinkNet
from tests.sim.net import PacketNet, SimSockets
from tests.sim.seams import SeededRng, SimClock
from tests.sim.store import FaultyStore
from tests.sim.trace import Trace

CLUSTER = "sim"
KEK = Kek(Secret(bytes(range(32))))
IKE_PORT = 500


class SimLog:
    """A logger that writes into the trace."""

    def __init__(self, trace: Trace, who: str) -> None:
        self._trace = trace
        self._who = who

    def info(self, message: str, **fields: object) -> None:
        """One line; fields sorted, as text."""
        shown = " ".join(f"{key}={fields[key]}" for key in sorted(fields))
        self._trace.event("log", self._who, message, shown)

    warning = error = info


def gateway_config(number: int, shards: int, folder: File) -> GatewayConfig:
    """The configuration of gateway `number` (from 1)."""
    name = f"gw{number}"
    return GatewayConfig(
        cluster=ClusterConfig(name=CLUSTER, kek_file="", shards=shards),
        member=MemberConfig(
            name=name,
            data_dir="",
            host=f"host-{number}",
            rpc_listen=f"10.0.0.{number}:7400",
        ),
        ike=IkeConfig(
            listen=(f"10.0.0.{number}:{IKE_PORT}",),
            identity="fqdn:vpn.example.com",
            psk_file=str(folder / "psk.toml"),
        ),
        store=StoreConfig(endpoints=("simulated:1",)),
        events=EventsConfig(file=str(folder / f"{name}.events"), who=name),
    )


class SimGateway:
    """A gateway that can be started, killed and started again."""

    def __init__(
        self,
        config: GatewayConfig,
        *,
        clock: SimClock,
        net: PacketNet,
        links: LinkNet,
        trace: Trace,
    ) -> None:
        self.config = config
        self.name = config.member.name
        self.host = config.ike.listen[0].rpartition(":")[0]
        self.clock = clock
        self._net = net
        self._links = links
        self._trace = trace
        self.alive = False
        self.lives = 0
        self.store: FaultyStore
        self.node: Node
        self.supervisor: Supervisor
        self._sockets: list[SimSockets] = []

    async def start(self, store: FaultyStore, rng: SeededRng) -> None:
        """Begin a life; returns when the member has joined."""
        self.lives += 1
        self.alive = True
        self.store = store
        self.supervisor = Supervisor()
        self._link = self._links.join(self.name)
        seams = Seams(
            clock=self.clock,
            rng=rng,
            spawn=self.supervisor.spawn,
            store=store,
            link=self._link,
            open_sockets=self._open,
            kernel=NullKernel(),
            log=SimLog(self._trace, self.name),
        )
        identity = Identity(f"{int(self.name[2:]):032x}", Keks((KEK,)), "simulated")
        self.node = Node(self.config, seams, identity)
        self._trace.event("start", self.name)
        await self.node.start()

    def _open(self, receiver: Receiver) -> Sockets:
        addresses = tuple(parse_address(text) for text in self.config.ike.listen)
        sockets = SimSockets(self._net, addresses)
        sockets.on_datagram(receiver)
        self._sockets.append(sockets)
        return sockets

    async def kill(self) -> None:
        """SIGKILL; see the module."""
        self._trace.event("kill", self.name)
        self.alive = False
        for sockets in self._sockets:
            sockets.close()
        self.store.kill()
        self._links.leave(self._link)
        self.node.events.close()
        await self._link.close()
        self.node.gateway.close()
        await self.supervisor.stop()

    def established(self) -> list[bytes]:
        """Our SPIs of the SAs that stand."""
        if not self.alive:
            return []
        return [core.spi_r for core, _ in self.node.gateway.endpoint.established()]

    def recorded(self) -> list[Event]:
        """What this gateway has recorded, all lives together."""
        events, unreadable = decode_lines(
            File(self.config.events.file).read_bytes().splitlines(keepends=True)
        )
        if unreadable:
            raise ValueError(f"{self.name}: {unreadable} events can't be read")
        return events


class SimClient:
    """A client with a ticket in memory, and everything it reported."""

    def __init__(
        self,
        section: ClientSection,
        local: Address,
        *,
        clock: SimClock,
        rng: SeededRng,
        net: PacketNet,
        trace: Trace,
    ) -> None:
        self.name = section.identity
        self.local = local
        self.reports: list[tuple[str, dict[str, object]]] = []
        self.tickets = MemoryTicket()
        self._net = net
        self._trace = trace
        self._client = Client(
            peer_of(section, PskTable(load_psks(section.psk_file))),
            SessionSettings(
                tuple(parse_address(text) for text in section.gateways),
                section.liveness_interval_s,
            ),
            tickets=self.tickets,
            report=self._report,
            clock=clock,
            rng=rng,
            open_sockets=self._open,
        )
        self.session = self._client.session

    def _open(self, receiver: Receiver) -> tuple[Sockets, Address]:
        sockets = SimSockets(self._net, (self.local,))
        sockets.on_datagram(receiver)
        return sockets, self.local

    def _report(self, kind: str, **fields: object) -> None:
        self.reports.append((kind, fields))
        self._trace.event("report", self.name, kind, str(fields.get("gateway", "")))

    def stop(self) -> None:
        """No more timers."""
        self._client.stop()

    def all(self, kind: str) -> list[dict[str, object]]:
        """The fields of every report of this kind, in order."""
        return [fields for reported, fields in self.reports if reported == kind]

    @property
    def spi_r(self) -> bytes:
        """The gateway's SPI of the SA that stands, or empty."""
        up = self.all("established")
        spi = up[-1]["spi_r"] if up and self.session.established else b""
        return spi if isinstance(spi, bytes) else b""
