"""A whole cluster with its clients, from a seed: who is there, the weather, and what must hold.

Rules: every random choice comes from a source named after what it decides. A world is used for one
run. Findings are sentences; no findings is a good run.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path as File

import msgspec

from cluster.drill.plan import Sections
from cluster.layout import Keys
from cluster.store_memory import MemoryStore
from node.sections import ClientSection, GatewayConfig
from node.shell import Shell
from proto.ike.effects import Address
from tests.sim.checkers import TicketChecker, WireChecker
from tests.sim.findings import Findings
from tests.sim.invariants import Invariants
from tests.sim.ledger import Ledger
from tests.sim.link import LinkNet
from tests.sim.loop import SimLoop
from tests.sim.machine import (
    CLUSTER,
    IKE_PORT,
    KEK,
    SimClient,
    SimGateway,
    gateway_config,
    with_pools,
)
from tests.sim.net import PacketNet, Weather
from tests.sim.overdue import Overdue
from tests.sim.seams import SeededRng, SimClock
from tests.sim.store import FaultyStore, StoreClock
from tests.sim.trace import Trace
from tests.sim.without_store import WithoutStore

PSK_HEX = "5ec7e7" * 10 + "5ec7"
POLL_S = 0.05
REKEY_TAKES_S = 2.0
"""From when the store has a rekey to when its client knows, at most."""
MANY_SHARDS = 16
BOOT_OFFSET_S_MAX = 100_000.0
WALL_OFFSET_S_MAX = 1.0
DRIFT_MAX = 100e-6


class Size(msgspec.Struct, frozen=True):
    """How large a world is, and by which policies it is run."""

    gateways: int = 3
    clients: int = 20
    shards: int = 16
    hosts: int = 0
    """Failure domains that the gateways share in turn; 0: each has one of its own."""
    settings: Sections = {}
    """Set in every gateway's configuration: section → key → value."""
    only: dict[str, Sections] = {}
    """The same for one gateway, by name."""
    liveness_interval_s: float = 0.5
    retransmit_initial_s: float = 0.3
    retransmit_factor: float = 1.5
    retransmit_tries: int = 8
    ike_rekey_s: float = 0.0
    """A client's timers; a gateway's are in `settings`."""
    child_rekey_s: float = 0.0
    mobike: str = "auto"
    """A client's; so is the next one."""
    initial_contact: bool = False
    families: tuple[int, ...] = ()
    """IP versions of which clients ask for an internal address."""
    drift_max: float = DRIFT_MAX
    apart: float = 1.0
    """How far the machines' clocks are apart: a share of what is usual."""


ROUGH = Weather(latency_s=0.004, jitter_s=0.02, loss=0.05, duplicate=0.05, reorder=0.05)
"""An access network on a bad day."""


class World:
    """See the module."""

    def __init__(
        self, loop: SimLoop, seed: int, folder: File, *, size: Size, weather: Weather, keep: bool
    ) -> None:
        self.loop = loop
        self.seed = seed
        self.size = size
        self.random = self.rng("choices").random
        self.trace = Trace(loop, keep=keep)
        self.findings = Findings(self.trace)
        self.net = PacketNet(loop, self.rng("net"), self.trace, weather)
        self.links = LinkNet(loop, self.rng("links"), self.trace)
        self.store_clock = StoreClock(loop)
        self.store = MemoryStore(self.store_clock)
        self.ledger = Ledger(self.store, CLUSTER, KEK, SimClock(loop), self.findings)
        self.invariants = Invariants(self.ledger, CLUSTER, self.findings)
        self.wire = WireChecker(self.findings, lambda digest: digest in self.ledger.durable_replies)
        self.net.observers.append(self.wire.see)
        self.net.observers.append(self.invariants.asked)
        self.net.on_injected.append(self.invariants.injected)

        self.on_begun: list[Callable[[], None]] = []
        """Called when the cluster stands and before any client comes: a test's sabotage."""
        self.folder = folder
        self._write_psks()
        self.gateways = [
            SimGateway(
                self._configure(number),
                clock=self._clock(f"gw{number}"),
                net=self.net,
                links=self.links,
                trace=self.trace,
            )
            for number in range(1, size.gateways + 1)
        ]
        for gateway in self.gateways:
            gateway.begin_anew = lambda each: each.boot(*self.next_life(each))
        self.invariants.watch(self.gateways, self.links)
        self.without_store = WithoutStore(self.ledger, self.gateways, CLUSTER)
        self.links.observers.append(self.without_store.frame)
        self.clients = [self.client(number) for number in range(size.clients)]

    def rng(self, name: str) -> SeededRng:
        """A source of randomness of its own for `name`."""
        return SeededRng(self.seed, name)

    def _clock(self, name: str) -> SimClock:
        random = self.rng(f"clock of {name}").random
        return SimClock(
            self.loop,
            boot_offset_s=self.size.apart * random.random() * BOOT_OFFSET_S_MAX,
            wall_offset_s=self.size.apart * random.uniform(-WALL_OFFSET_S_MAX, WALL_OFFSET_S_MAX),
            drift=random.uniform(-self.size.drift_max, self.size.drift_max),
        )

    def _configure(self, number: int) -> GatewayConfig:
        size, host = self.size, ""
        if size.hosts:
            host = f"host-{(number - 1) % size.hosts + 1}"
        settings = {section: dict(keys) for section, keys in size.settings.items()}
        for section, keys in size.only.get(f"gw{number}", {}).items():
            settings.setdefault(section, {}).update(keys)
        config = gateway_config(number, size.shards, self.folder, host=host, settings=settings)
        return with_pools(config) if size.families else config

    def _write_psks(self) -> None:
        for name, identity in (
            ("psk.toml", "rfc822:*@example.com"),
            ("client-psk.toml", "fqdn:vpn.example.com"),
        ):
            path = self.folder / name
            path.touch(mode=0o600)
            path.write_text(f'[[psk]]\nidentity = "{identity}"\nsecret_hex = "{PSK_HEX}"\n')

    def client(
        self,
        number: int,
        identity: int | None = None,
        gateways: tuple[Address, ...] = (),
    ) -> SimClient:
        """A client at an address of its own; `identity`: whose it pretends to be; `gateways`: as
        it prefers them.
        """
        gateways = gateways or tuple(gateway.address for gateway in self.gateways)
        name = f"rfc822:c{number if identity is None else identity:04d}@example.com"
        section = ClientSection(
            identity=name,
            remote_identity="fqdn:vpn.example.com",
            psk_file=str(self.folder / "client-psk.toml"),
            gateways=tuple(f"{host}:{port}" for host, port in gateways),
            liveness_interval_s=self.size.liveness_interval_s,
            retransmit_initial_s=self.size.retransmit_initial_s,
            retransmit_factor=self.size.retransmit_factor,
            retransmit_tries=self.size.retransmit_tries,
            ike_rekey_s=self.size.ike_rekey_s,
            child_rekey_s=self.size.child_rekey_s,
            mobike=self.size.mobike,
            initial_contact=self.size.initial_contact,
            request_addresses=self.size.families,
        )
        client = SimClient(
            section,
            (f"10.1.{number // 250}.{number % 250 + 1}", IKE_PORT),
            clock=self._clock(f"client {number}"),
            rng=self.rng(f"client {number}"),
            net=self.net,
            trace=self.trace,
        )
        client.tickets.saved = self.invariants.ticket_saved
        return client

    # -- what happens ---------------------------------------------------------------------------

    async def begin(self) -> None:
        """Start the store and all gateways at once; wait until every shard has an owner."""
        self._store_task = asyncio.create_task(self.store.run(), name="store")
        overdue = Overdue(self.findings, self._running)
        self._overdue_task = asyncio.create_task(overdue.run(), name="overdue")
        async with asyncio.TaskGroup() as group:
            for gateway in self.gateways:
                group.create_task(self.start(gateway))
        await self.until(self.all_owned, 30, "not every shard got an owner")
        for call in self.on_begun:
            call()

    async def start(self, gateway: SimGateway) -> None:
        """Start (again) one gateway, with a way to the store of its own."""
        await gateway.start(*self.next_life(gateway))

    def next_life(self, gateway: SimGateway) -> tuple[FaultyStore, SeededRng]:
        """What the next life of a gateway begins with: a way to the store, and randomness."""
        rng = self.rng(f"{gateway.name} life {gateway.lives}")
        store = FaultyStore(self.ledger, self.rng(f"{gateway.name} way {gateway.lives}"))
        store.set_reachable(not self.store_clock.stopped)
        return store, rng

    def kill_store(self) -> None:
        """Every member of the store is killed; what it holds stays."""
        self.trace.event("store killed")
        self.store_clock.stop()
        for gateway in self.live():
            gateway.store.set_reachable(False)

    def start_store(self) -> None:
        """They are back, with what they held."""
        self.trace.event("store starts")
        self.store_clock.go_on()
        for gateway in self.live():
            gateway.store.set_reachable(True)

    def all_owned(self) -> bool:
        """Every shard has one owner, who knows of it."""
        owned = [len(g.node.ownership.owned) if g.ready else 0 for g in self.live()]
        # with few shards a rank may leave a member none
        return sum(owned) == self.size.shards and (all(owned) or self.size.shards < MANY_SHARDS)

    async def connect_all(self) -> None:
        """Start every client, a few milliseconds apart, each at its own first gateway."""
        for number, client in enumerate(self.clients):
            client.session.start(number)
            await asyncio.sleep(self.random.random() * 0.05)
        await self.until(self.all_served, 60, "not every client got connected")

    async def until(self, holds: Callable[[], bool], at_most_s: float, otherwise: str) -> bool:
        """Wait until `holds()`; a finding if that takes longer than `at_most_s`."""
        end_s = self.loop.time() + at_most_s
        while not holds():
            if self.loop.time() > end_s:
                self.findings.append(f"{otherwise} within {at_most_s:g} s")
                return False
            await asyncio.sleep(POLL_S)
        return True

    # -- what there is --------------------------------------------------------------------------

    def gateway(self, name: str) -> SimGateway:
        """The gateway of that name."""
        return next(gateway for gateway in self.gateways if gateway.name == name)

    def live(self) -> list[SimGateway]:
        """The gateways that run."""
        return [gateway for gateway in self.gateways if gateway.alive]

    def _running(self) -> Iterator[tuple[str, Shell]]:
        """What drives the SAs of each process that doesn't stand still."""
        for gateway in self.gateways:
            if gateway.ready and not gateway.process.paused:
                yield gateway.name, gateway.node.gateway
        for client in self.clients:
            if not client.stopped:
                yield client.name, client.shell

    def holders(self, client: SimClient) -> list[str]:
        """The live gateways that hold the SA the client believes in, if it talks to a live one: an
        adopter whom the client can't reach serves nobody.
        """
        spi, at = client.spi_r, client.session.gateway.rpartition(":")[0]
        if not spi or all(at not in gateway.hosts for gateway in self.live()):
            return []
        return [g.name for g in self.live() if spi in g.established()]

    def all_served(self) -> bool:
        """Every client has an SA that exactly one live gateway holds."""
        return all(len(self.holders(client)) == 1 for client in self.clients)

    def one_sa_each(self) -> bool:
        """Each client has one working SA, and no gateway holds any other. A rekey under way is seen
        at one end before the other.
        """
        held = sorted(spi for gateway in self.live() for spi in gateway.established())
        return held == sorted(client.spi_r for client in self.clients)

    # -- what must hold -------------------------------------------------------------------------

    def check_one_sa_each(self) -> None:
        """Liveness: each client has one working SA, and no gateway holds any other."""
        wanted = sorted(client.spi_r for client in self.clients)
        held = sorted(spi for gateway in self.live() for spi in gateway.established())
        if wanted != held:
            missing = [spi.hex() for spi in wanted if spi not in held]
            extra = [spi.hex() for spi in held if spi not in wanted]
            self.findings.broken("I9", f"SAs missing: {missing}, SAs nobody uses: {extra}")

    def check_addresses(self) -> None:
        """Each client was given an internal address, if it asked for one, and nobody else has that.
        One whose gateway refused it another since, having few shards and no store, has none.
        """
        if not self.size.families:
            return
        held: dict[str, str] = {}
        for client in self.clients:
            given = client.all("configured")
            if not given:
                self.findings.broken("I6", f"{client.name} got no internal address")
                continue
            told = [kind for kind, _ in client.reports if kind in ("configured", "child_refused")]
            if told[-1] == "child_refused":
                continue
            for address in given[-1]["addresses"]:
                other = held.setdefault(address, client.name)
                if other != client.name:
                    self.findings.broken("I6", f"{other} and {client.name} both have {address}")

    async def check_records(self) -> None:
        """Durability: the store has the record of each SA that a client relies on (promise 6), and
        none that its chain doesn't name. What is wrong while a rekey is under way is looked at
        again when that is over.
        """
        no_chains, without = await self._look_at_records()
        if no_chains or without:
            await asyncio.sleep(REKEY_TAKES_S)
            later_no_chains, later_without = await self._look_at_records()
            no_chains, without = no_chains & later_no_chains, without & later_without
        for spi in sorted(no_chains):
            self.findings.broken("I6", f"record {spi} is no chain's")
        for name in sorted(without):
            self.findings.broken("I2", f"{name}: no record of its SA")

    async def _look_at_records(self) -> tuple[set[str], set[str]]:
        """SPIs of records that no chain names, and clients whose SA has no record."""
        keys = Keys(CLUSTER)
        records = (await self.store.scan(keys.records)).entries
        named = {e.value[:8].hex() for e in (await self.store.scan(keys.sessions)).entries}
        stored = {entry.key.rpartition(b"/")[2].decode() for entry in records}
        without = {c.name for c in self.clients if c.spi_r.hex() not in stored}
        return stored - named, without

    def check_end(self) -> None:
        """What is looked at when a run is over: wire, tickets, tasks."""
        tickets = TicketChecker(self.findings)
        for gateway in (gateway for gateway in self.gateways if gateway.lives):
            revision = 0
            for event in gateway.recorded():
                if event.kind == "started":
                    revision = 0
                if event.kind == "ring_installed":
                    if event.revision <= revision:
                        self.findings.broken("I5", f"{gateway.name} installed an older ring")
                    revision = event.revision
                if event.kind != "sa_established":
                    continue
                spi = bytes.fromhex(event.spi)
                loose = bytes.fromhex(event.chain) in self.ledger.loose
                if not loose and spi not in self.ledger.forgotten.replaced:
                    tickets.established(
                        gateway.name, bytes.fromhex(event.chain), event.generation,
                        spi,
                    )  # fmt: skip
            gateway.note_crash()
            self.findings += gateway.crashes
        revoked_that_stand(self)
        secrets_in_the_open(self)

    def end(self) -> None:
        """Stop the clients' timers, so that the run can end."""
        for client in self.clients:
            client.stop()


def revoked_that_stand(world: World) -> None:
    """I6: no SA stands at a gateway that has the store, and the store a rule about it."""
    ledger = world.ledger
    for gateway in world.live():
        node = gateway.node
        if not gateway.ready or not node.membership.standing.agrees:
            continue
        for core, _path in node.gateway.endpoint.established():
            who = node.refusals.rules.identity_hash(core.identity)
            if ledger.is_revoked(core.chain) or any(
                rule.about == who and core.authenticated_wall_s <= rule.before_wall_s
                for rule in ledger.rules.values()
            ):
                world.findings.broken("I6", f"{core.spi.hex()} stands at {gateway.name}, revoked")


def secrets_in_the_open(world: World) -> None:
    """I7: the canaries, and every key that a ring or a ticket held, stand nowhere readable."""
    secrets = {"the PSK": bytes.fromhex(PSK_HEX), "the KEK": KEK.secret.octets}
    for ring in world.ledger.rings:
        for keys in (ring.tickets, ring.records, ring.cookie_keys, ring.qcd):
            for key in keys.keys:
                secrets[f"key {key.key_id.hex()} of the ring"] = key.secret.octets
    for client in world.clients:
        ticket = client.tickets.load()
        if ticket is not None:
            secrets[f"SK_d of {client.name}"] = ticket.sk_d.octets
    places = {
        "the store": b"\n".join(world.ledger.values),
        "the logs": "\n".join(line for g in world.gateways for line in g.log.lines).encode(),
        "the events": b"\n".join(
            File(g.config.events.file).read_bytes() for g in world.gateways if g.lives
        ),
    }
    for name, secret in secrets.items():
        for place, octets in places.items():
            if secret in octets or secret.hex().encode() in octets:
                world.findings.broken("I7", f"{name} stands in {place}")
