"""One gateway process and one client of the simulated world, made of production code alone.

Rules: a gateway is `node.wiring.Node` with simulated seams; a client is `node.client.Client`. A
kill is a SIGKILL: from that instant nothing of the process reaches the network, the store or its
record of events; only then are its tasks swept away. A pause is a SIGSTOP: the process stands still
in the midst of what it does, and what comes for it waits.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path as File

import msgspec

from cluster.drill.events import Event, decode_lines
from cluster.drill.plan import Sections
from cluster.failsafe.outage import MemoryBook
from cluster.rewind import Memory
from cluster.vault import Kek, Keks
from node.client import Client, session_settings
from node.credentials import PskTable
from node.errands import Errands
from node.identity import load_psks, parse_address
from node.kernel import NullKernel
from node.life import Identity, Seams
from node.origins import Origins
from node.peer import peer_of
from node.ports import IKE_PORT, NAT_PORT, listen
from node.sections import (
    ClientSection,
    ClusterConfig,
    EventsConfig,
    GatewayConfig,
    IkeConfig,
    MemberConfig,
    PoolConfig,
    StoreConfig,
)
from node.session import MemoryTicket
from node.shell import Shell
from node.supervisor import Supervisor
from node.udp import Receiver, Sockets
from node.wiring import Node
from proto.ike.effects import Address
from proto.ike.ticket import ClientTicket
from proto.secret import Secret
from tests.sim.link import LinkNet
from tests.sim.loop import Process
from tests.sim.net import PacketNet, SimSockets
from tests.sim.seams import AtOnce, NoWeb, SeededRng, SimClock
from tests.sim.store import FaultyStore
from tests.sim.trace import Trace

CLUSTER = "sim"
KEK = Kek(Secret(bytes(range(32))))


class SimLog:
    """A logger that writes into the trace; `lines` keeps what a secret could stand in."""

    def __init__(self, trace: Trace, who: str) -> None:
        self._trace = trace
        self._who = who
        self.lines: list[str] = []

    def info(self, message: str, **fields: object) -> None:
        """One line; fields sorted, as text."""
        shown = " ".join(f"{key}={fields[key]}" for key in sorted(fields))
        self.lines.append(f"{message} {shown}")
        self._trace.event("log", self._who, message, shown)

    warning = error = info


POOLS = (PoolConfig("inner", "10.77.0.0/28"), PoolConfig("more", "10.78.0.0/24"))
"""The first is small: it gets full."""


def gateway_config(
    number: int, shards: int, folder: File, *, host: str = "", settings: Sections | None = None
) -> GatewayConfig:
    """The configuration of gateway `number` (from 1). `settings`: section → key → value, as in a
    gateway's file. Raises msgspec.ValidationError, as `standfast config check` would complain.
    """
    name = f"gw{number}"
    config = GatewayConfig(
        cluster=ClusterConfig(name=CLUSTER, kek_file="", shards=shards),
        member=MemberConfig(
            name=name,
            data_dir=str(folder / name),
            host=host or f"host-{number}",
            rpc_listen=f"10.0.0.{number}:7400",
        ),
        ike=IkeConfig(
            listen=(f"10.0.0.{number}:{IKE_PORT}",),
            identity="fqdn:vpn.example.com",
            psk_file=str(folder / "psk.toml"),
        ),
        store=StoreConfig(endpoints=("simulated:1",)),
        events=EventsConfig(file=str(folder / f"{name}.jsonl"), who=name),
    )
    if not settings:
        return config
    tables = msgspec.to_builtins(config)
    for section, keys in settings.items():
        tables[section].update(keys)
    return msgspec.convert(tables, GatewayConfig)


def with_pools(config: GatewayConfig) -> GatewayConfig:
    """`config`, whose clients get internal addresses."""
    replace = msgspec.structs.replace
    return replace(
        config, ike=replace(config.ike, pools=tuple(pool.name for pool in POOLS)), pool=POOLS
    )


class SimNotebook:
    """What a gateway's disk remembers of the store."""

    def __init__(self) -> None:
        self._memory: Memory | None = None

    def read(self) -> Memory | None:
        """See `Notebook.read`."""
        return self._memory

    def write(self, memory: Memory, *, surely: bool) -> None:
        """See `Notebook.write`; this disk loses nothing."""
        self._memory = memory


class SimGateway:
    """A gateway that can be started, killed, paused, told to end, and started again."""

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
        self.address = parse_address(config.ike.listen[0])
        self.host = self.address[0]
        self.clock = clock
        self.log = SimLog(trace, self.name)
        self._loop = links.loop
        self._net = net
        self._links = links
        self._trace = trace
        self.alive = False
        self.lives = 0
        self.spoke: Callable[[SimGateway, bytes], None] = lambda _gateway, _data: None
        """Told of every datagram of ours as it leaves, from our socket or through a member's."""
        self.crashes: list[str] = []
        self.pledges = MemoryBook()
        """The disk: it outlives the process."""
        self.notebook = SimNotebook()
        self.begin_anew: Callable[[SimGateway], None] = lambda _gateway: None
        """Called when a life has ended because the store was restored: the next one begins."""
        self.process: Process
        self.store: FaultyStore
        self.node: Node
        self.supervisor: Supervisor
        self._ready: asyncio.Event
        self._sockets: list[SimSockets] = []
        self._sweeping: list[asyncio.Task[None]] = []
        self._ending: asyncio.Task[None] | None = None

    async def start(self, store: FaultyStore, rng: SeededRng) -> None:
        """Begin a life; returns when the member has joined."""
        self.boot(store, rng)
        await self._ready.wait()

    def boot(self, store: FaultyStore, rng: SeededRng) -> None:
        """Begin a life; the rest comes by itself."""
        self.lives += 1
        self.alive = True
        self.store = store
        self._ready = asyncio.Event()
        self._trace.event("start", self.name)
        self.process = Process(self._loop)
        self.process.context.run(self._boot, rng)

    def _boot(self, rng: SeededRng) -> None:
        self.supervisor = Supervisor()
        self._link = self._links.join(self.name)
        seams = Seams(
            clock=self.clock,
            rng=rng,
            spawn=self.supervisor.spawn,
            store=self.store,
            link=self._link,
            open_sockets=self._open,
            kernel=NullKernel(),
            log=self.log,
            pledges=self.pledges,
            errands=Errands(self.supervisor.contain, AtOnce()),
            fetch=NoWeb(),
        )
        identity = Identity(
            f"{int(self.name[2:]):032x}", Keks((KEK,)), "simulated", None, self.notebook
        )
        self.node = Node(self.config, seams, identity)
        self.node.way.guard.on_retired.append(lambda _why: self.end())
        self._life = self.supervisor.spawn(self._live(), "life")

    async def _live(self) -> None:
        await self.node.start()
        self._ready.set()
        await self.node.deposed.wait()
        self._trace.event("deposed", self.name)
        self.end()

    def _open(self, receiver: Receiver, _esp: Receiver) -> Sockets:
        listens = listen(self.config.ike)
        addresses = (*listens.ike, *listens.nat)
        sockets = SimSockets(self._net, addresses, lambda data: self.spoke(self, data))
        sockets.on_datagram(receiver)
        self._sockets.append(sockets)
        return sockets

    @property
    def hosts(self) -> list[str]:
        """The addresses at which it listens."""
        found = [host for sockets in self._sockets[-1:] for host, _ in sockets.addresses]
        return list(dict.fromkeys(found))

    def take_over(self, host: str) -> None:
        """Listen at the address of another gateway, which is gone."""
        for port in (IKE_PORT, NAT_PORT):
            self.process.context.run(self._sockets[-1].take_over, (host, port))

    @property
    def ready(self) -> bool:
        """Whether it runs, has joined and serves."""
        return self.alive and self.node.ready

    @property
    def deposed(self) -> bool:
        """Whether the present life has lost its name."""
        return self.node.deposed.is_set()

    @property
    def incarnation(self) -> str:
        """Of the present life."""
        return self.node.membership.incarnation

    async def kill(self) -> None:
        """SIGKILL; see the module."""
        self.cut_down()
        await asyncio.wait(self._sweeping)

    def cut_down(self) -> None:
        """SIGKILL, at this very place of whatever runs."""
        if not self.alive:
            return
        self._trace.event("kill", self.name)
        self.alive = False
        for sockets in self._sockets:
            sockets.close()
        self.store.kill()
        self._links.leave(self._link)
        self._link.silence()
        self.node.events.close()
        if hasattr(self.node, "gateway"):
            self.node.gateway.close()
        self.process.go_on()  # only so that what is left of it can be swept away
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None
        self.note_crash()
        self._sweeping.append(self._loop.create_task(self.supervisor.stop()))

    def end(self) -> None:
        """SIGTERM: the orderly end, which takes its time."""
        if self.alive and self._ending is None:
            self._trace.event("told to end", self.name)
            context = self.process.context
            self._ending = self._loop.create_task(self._end(), context=context)

    async def _end(self) -> None:
        self._life.cancel()
        await asyncio.wait((self._life,))
        await self.node.stop()
        self._ending = None
        retired = self.alive and self.node.way.guard.retired != ""
        self.cut_down()
        if retired:
            self.begin_anew(self)

    def note_crash(self) -> None:
        """Take down which task has died of what, if one has."""
        crash = self.supervisor.crash
        if crash is not None:
            finding = f"{self.name}: task {crash.task} died: {crash.error!r}"
            if finding not in self.crashes:
                self.crashes.append(finding)

    def established(self) -> list[bytes]:
        """Our SPIs of the SAs that stand."""
        if not self.ready:
            return []
        return [core.spi for core, _ in self.node.gateway.endpoint.established()]

    def recorded(self) -> list[Event]:
        """What this gateway has recorded, all lives together."""
        events, unreadable = decode_lines(
            File(self.config.events.file).read_bytes().splitlines(keepends=True)
        )
        if unreadable:
            raise ValueError(f"{self.name}: {unreadable} events can't be read")
        return events


class WatchedTicket(MemoryTicket):
    """Keeps the ticket in memory, and shows each one that comes."""

    def __init__(self) -> None:
        super().__init__()
        self.saved: Callable[[ClientTicket], None] = lambda _ticket: None

    def save(self, ticket: ClientTicket) -> None:
        """Keep it."""
        self.saved(ticket)
        super().save(ticket)

    def save_copy(self, ticket: ClientTicket) -> None:
        """Keep what somebody else was given."""
        super().save(ticket)


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
        self.told: Callable[[str, dict[str, object]], None] = lambda _kind, _fields: None
        """Told of each report as it comes."""
        self.tickets = WatchedTicket()
        self.stopped = False
        self._net = net
        self._trace = trace
        self._client = Client(
            peer_of(section, PskTable(load_psks(section.psk_file))),
            session_settings(section),
            tickets=self.tickets,
            report=self._report,
            clock=clock,
            rng=rng,
            open_sockets=self._open,
            errands=Errands(Supervisor().contain, AtOnce()),
        )
        self.session = self._client.session

    @property
    def shell(self) -> Shell:
        """What drives its SAs."""
        return self._client._shell

    def _open(self, receiver: Receiver) -> tuple[Sockets, Origins]:
        nat_local = (self.local[0], NAT_PORT)
        self._socket = SimSockets(self._net, (self.local, nat_local))
        self._socket.on_datagram(receiver)
        return self._socket, self

    def ike(self, _gateway: Address) -> Address:
        """See `node.origins.Origins`."""
        return self.local

    def nat(self, _gateway: Address) -> Address | None:
        """See `node.origins.Origins`."""
        return self.local[0], NAT_PORT

    def roam(self, host: str) -> None:
        """Be at another address, and at that one alone."""
        self._trace.event("roams", self.name, host)
        self.local = (host, self.local[1])
        self._socket.move((self.local, (host, NAT_PORT)))

    def _report(self, kind: str, **fields: object) -> None:
        self.reports.append((kind, fields))
        self.told(kind, fields)
        self._trace.event("report", self.name, kind, str(fields.get("gateway", "")))

    def ask_for_a_ticket(self) -> None:
        """Have the present SA bring a fresh ticket, unless it is busy."""
        shell = self.shell
        outcome = shell.endpoint.request_ticket(self.session.spi, shell.now())
        if outcome is not None:
            shell.lane.carry_out(outcome)
            shell.rearm()

    def rekey(self) -> None:
        """Rekey the present IKE SA, as soon as it isn't busy."""
        shell = self.shell
        outcome = shell.endpoint.rekey_ike(self.session.spi, shell.now())
        if outcome is not None:
            shell.lane.carry_out(outcome)
        shell.rearm()

    def stop(self) -> None:
        """No more timers."""
        self.stopped = True
        self._client.stop()

    def vanish(self) -> None:
        """No more timers, and nobody at this address."""
        self.stop()
        self._socket.close()

    def all(self, kind: str) -> list[dict[str, object]]:
        """The fields of every report of this kind, in order."""
        return [fields for reported, fields in self.reports if reported == kind]

    @property
    def spi_r(self) -> bytes:
        """The gateway's SPI of the SA that stands, or empty."""
        up = [fields for kind, fields in self.reports if kind in ("established", "rekeyed")]
        spi = up[-1]["spi_r"] if up and self.session.established else b""
        return spi if isinstance(spi, bytes) else b""
