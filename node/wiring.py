"""The composition root: one gateway from its configuration and its seams.

Rules: this is the only place that knows every part. Real and simulated nodes are built by the same
`build`; they differ in the `Seams` alone. Started in the order store, key ring, name, shards,
sockets; stopped in the order new sessions, writes, shards, name, sockets.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from cluster.addresses import Addresses
from cluster.dispatch import Dispatch
from cluster.errors import ClusterError, Unavailable, Unknown, WrongKek
from cluster.failsafe.flush import RESUMED
from cluster.failsafe.outage import Outage
from cluster.heartbeat import Heartbeats, HeartbeatSettings, Vitals
from cluster.journal import Journal
from cluster.journal_hooks import JournalHooks, JournalState
from cluster.layout import Keys
from cluster.link import Forward, Heartbeat, Hello, Return, Superseded
from cluster.member import Membership
from cluster.mirror import Mirrors
from cluster.mirror_settings import MirrorSettings
from cluster.ownership import Ownership, OwnershipSettings
from cluster.records import RecordVault
from cluster.references import References
from cluster.ring_keeper import RingHooks
from cluster.shards import SpiCodec
from cluster.standing import State
from cluster.state import StateKeeper
from node import ending
from node.adoption import Adopter
from node.audit import Audit
from node.certificate_watch import CertificateWatch, watched
from node.clocks import ClockWatch
from node.contact import Contacts
from node.counters import EndpointCounters
from node.credentials import gateway_credentials
from node.esp import EspSpis
from node.gateway import Gateway
from node.gauges import gauges
from node.key_log import lane_class
from node.keys import KeyParts, KeySeams
from node.lane import JournalCommits, asked_s
from node.life import Identity, Seams
from node.metrics import Metrics
from node.observe import EventLog, SparseLog
from node.outage import Standby
from node.pools import cluster_pools
from node.proving import look_after_certificates
from node.refusals import ClusterRefusals
from node.reporter import Reporter
from node.seats import Seats
from node.sections import GatewayConfig
from node.settings import endpoint_settings, member_settings
from node.spis import ShardSpis
from node.store_way import StoreWay, WaySeams
from node.toml_strict import ConfigError
from node.trust.build import TrustParts, TrustSeams
from node.udp import Sockets
from node.whose import Whose
from proto.ike.effects import Datagram, Path
from proto.ike.endpoint import Endpoint
from proto.ike.events import InitialContact, Limited, OverLimit

T = TypeVar("T")

RETRY_S = 0.5
COMMITS_MAX = 8192
"""Writes that may wait before first requests are dropped."""
CENSUS_S = 0.2


class Node:
    """One gateway, built and running. `start` first, `stop` last; the rest is for `View`."""

    def __init__(self, config: GatewayConfig, seams: Seams, identity: Identity) -> None:
        self.config = config
        self.metrics = Metrics()
        self.built = self.ready = False
        """Every part stands, for the store has told what they are made of; joined and serving."""
        self.deposed = asyncio.Event()
        """Set when this process has lost its name for good."""
        name = config.member.name
        self.events = EventLog(config.events.file, config.events.who or name, seams.clock)
        self._identity = identity
        self._gained: dict[str, int] = {}
        self.keys = keys = Keys(config.cluster.name)
        self.way = StoreWay(
            WaySeams(seams.store, seams.clock, seams.rng, seams.spawn, seams.link, seams.log),
            keys, name, identity.data_dir_id, identity.notebook,
        )  # fmt: skip
        self.seams = seams = msgspec.structs.replace(seams, store=self.way.store)
        self.state = StateKeeper(seams.store, keys, seams.clock)
        self.membership = Membership(
            seams.store, keys, seams.clock, rng=seams.rng, spawn=seams.spawn,
            me=member_settings(config, identity.data_dir_id, identity.release),
        )  # fmt: skip
        self.outage = Outage(seams.link, seams.clock, self.membership, seams.pledges)
        self.key_parts = KeyParts(
            config,
            KeySeams(seams.store, seams.clock, seams.rng, seams.spawn, seams.log),
            identity.keks,
            hooks=RingHooks(on_installed=self._ring_installed, on_trouble=self._trouble),
            live_revisions=self.membership.roster.ring_revisions,
        )
        self.rings = self.key_parts.keeper
        self.trust = TrustParts(
            config,
            TrustSeams(seams.clock, seams.rng, seams.fetch, SparseLog(seams.log, seams.clock)),
            self.metrics.revocation,
        )
        self.watch = CertificateWatch(watched(config), self.way.conditions, seams.clock, seams.log)
        self.heartbeats = Heartbeats(
            seams.link, seams.clock, self.membership, vitals=self._vitals,
            settings=HeartbeatSettings(
                config.member.heartbeat_interval_s, config.member.suspect_after_s
            ),
        )  # fmt: skip
        self.dispatch = Dispatch(seams.link)
        self.refusals: ClusterRefusals
        self.codec: SpiCodec
        self.references: References
        self.ownership: Ownership
        self.journal: Journal
        self.mirrors: Mirrors
        self.counters: EndpointCounters
        self.vault: RecordVault
        self.adopter: Adopter
        self.addresses: Addresses
        self.spis: ShardSpis
        self.standby: Standby
        self.gateway: Gateway
        self.clocks: ClockWatch
        self.sockets: Sockets

    # -- starting -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Join the cluster and serve. Waits for the store as long as it takes, and says so.

        Raises NameTaken, WrongKek, Incompatible, OSError.
        """
        spawn = self.seams.spawn
        self.events.write("started", incarnation=self.membership.incarnation)
        self.way.start(self)
        self.watch.start(spawn)
        await self._patiently(lambda: self.state.load_or_create(self.config.cluster.shards))
        await self._patiently(self.rings.load_or_create)
        spi_key = await self._patiently(self.rings.load_or_create_spi_key)
        if self.config.cluster.shards != self.state.state.shards:
            self.seams.log.warning(
                "cluster.shards is ignored: the cluster was made with another number",
                shards=self.config.cluster.shards, the_clusters=self.state.state.shards,
            )  # fmt: skip
        self.codec = SpiCodec(spi_key, self.state.state.shards)
        self._core_settings = endpoint_settings(
            self.config, self.state.state.epoch, self.trust.trust.exact,
            self.trust.trust.requests(None),
        )  # fmt: skip
        self.refusals = ClusterRefusals(self, spi_key, self._core_settings)
        await self._patiently(self.refusals.rules.refresh)
        self._build_cluster()
        self._build_gateway()
        self.clocks = ClockWatch(self, self._core_settings.ticket_skew_s)
        self.built = True
        self._listen()
        self.key_parts.start()
        spawn(self.state.run(), "cluster-state")
        self.membership.report_ring(self.rings.revision)
        await self.membership.join()
        await self._patiently(self.rings.load_or_create)  # what changed before others saw the name
        spawn(self.heartbeats.run(), "heartbeats")
        self.standby.start(spawn)
        await self.ownership.start()
        self.mirrors.start(spawn)
        self.refusals.start(spawn)
        self.trust.start(spawn)
        look_after_certificates(self)
        self.journal.start(spawn)
        if self.config.pool:
            spawn(self.addresses.run(), "addresses")
        spawn(gauges(self), "gauges")
        spawn(self._audit().run(), "audit")
        self.ready = True
        self.seams.log.info("joined", member=self.config.member.name, shards=self.codec.shards)

    async def _patiently(self, step: Callable[[], Awaitable[T]]) -> T:
        """`step()`, again and again while the store is away."""
        told = False
        while True:
            try:
                return await step()
            except (Unavailable, Unknown) as error:
                if not told:
                    self.seams.log.warning("the store does not answer; trying on", why=str(error))
                    self.events.write("store_state", state="unavailable")
                    told = True
                await asyncio.sleep(RETRY_S)

    def _build_cluster(self) -> None:
        seams, member = self.seams, self.config.member
        self.ownership = Ownership(
            seams.store, self.keys, seams.clock, spawn=seams.spawn, membership=self.membership,
            heartbeats=self.heartbeats, shards=self.codec.shards, unfinished_in=self._unfinished_in,
            settings=OwnershipSettings(),
        )  # fmt: skip
        self.counters = EndpointCounters(self)
        self.standby = Standby(self)
        self.mirrors = Mirrors(
            seams.link,
            seams.store,
            self.keys,
            seams.clock,
            me=member.name,
            roster=self.membership.roster,
            ownership=self.ownership,
            settings=MirrorSettings(member.mirrors),
            source=self.counters,
        )
        self.vault = RecordVault(lambda: self.rings.ring, seams.clock, seams.rng)
        self.references = References(seams.store, self.keys, self.vault, self.standby.kept)
        self.adopter = Adopter(self)
        self.addresses = Addresses(
            seams.store, self.keys, seams.clock, cluster_pools(self.config.pool),
            shards=self.codec.shards, owned=lambda: self.ownership.owned,
            agreed=lambda: not self.outage.failsafe,
        )  # fmt: skip
        self.journal = Journal(
            store=seams.store,
            keys=self.keys,
            vault=self.vault,
            cluster=self.state,
            shard_revision=self.ownership.revision_of,
            clock=seams.clock,
            rng=seams.rng,
            hooks=JournalHooks(
                mirror=self.mirrors.offer if member.mirrors else None,
                doubt=self.mirrors.doubt,
                on_state=self._journal_state,
                on_latency=self.metrics.commit.add,
                obey=self.refusals.obey,
                restrained=self.outage.restrained,
                gate=self.standby.gate,
                revoked=self.refusals.forbids,
                asked=lambda op: asked_s(self.gateway.endpoint, op),
            ),
        )

    def _build_gateway(self) -> None:
        seams, config = self.seams, self.config
        self._census: dict[int, int] = {}
        self._census_s = float("-inf")
        self.sockets = seams.open_sockets(self._receive, self._receive_esp)
        ring = self.rings.ring
        esp = EspSpis(seams.kernel, self.codec, seams.rng)
        self.spis = ShardSpis(self.codec, self.ownership, seams.rng, self.state.state.epoch, esp)
        endpoint = Endpoint(
            self._core_settings, seams.rng, gateway_credentials(config, self.trust.trust),
            self.spis, ring, ring.cookies, self.refusals, self.addresses,
        )  # fmt: skip
        esp.is_kept = endpoint.has_child
        sparse = SparseLog(seams.log, seams.clock)
        reporter = Reporter(self.metrics, self.events, sparse, self.replaced)
        lane = lane_class(config.ike.key_log_dir)(
            endpoint, JournalCommits(self.journal, self.codec, self.refusals, self.addresses),
            esp, self.sockets, seams.clock, reporter, self._send_back, seams.errands,
        )  # fmt: skip
        self.mirrors.on_repaired.append(reporter.copy_repaired)
        whose = Whose(endpoint.find)
        contacts = Contacts(self, whose, config.ike.initial_contact)
        seats = Seats(self, whose, contacts, sparse.apart())
        reporter.on_up, reporter.on_down = whose.up, whose.down
        reporter.on(OverLimit, seats.refused)
        reporter.on(Limited, seats.begun)
        reporter.on_adopted, reporter.on_begun = contacts.adopted, self.refusals.came_up
        reporter.on(InitialContact, contacts.heard)
        if config.member.mirrors:
            lane.on_moved = self.mirrors.hot.touch
        self.gateway = Gateway(
            endpoint, lane, seams.clock, codec=self.codec, ownership=self.ownership,
            link=seams.link, rings=self.rings, spawn=seams.spawn, metrics=self.metrics,
            me=config.member.name, closed=self._closed, confirm=self.refusals.spent.confirm,
            fetch=self.references.fetch, lapsed=self.standby.lapsed, has_esp=esp.has,
            unread=self.adopter.is_pending,
        )  # fmt: skip

    def _audit(self) -> Audit:
        return Audit(
            self.seams.store,
            self.keys,
            shard_of=self.codec.shard_of,
            at_rest=self.gateway.endpoint.at_rest,
            drop=self.drop,
            settled=lambda: self.standby.settled() and not self.way.guard.rewound,
        )

    def _listen(self) -> None:
        """Who is told what."""
        on = self.dispatch.on
        on(Heartbeat, self.heartbeats.receive)
        on(Hello, self.heartbeats.greeted)
        self.mirrors.listen(self.dispatch)
        self.state.on_changed.append(lambda _state: self.mirrors.doubt_all())
        on(Forward, self.gateway.on_forward)
        on(Return, lambda _sender, frame: self._return(frame))
        on(Superseded, lambda _sender, frame: self._superseded(frame))
        self.refusals.listen()
        roster, write = self.membership.roster, self.events.write
        roster.on_joined.append(lambda name: write("member_joined", member=name))
        roster.on_gone.append(self._declared_dead)
        self.heartbeats.on_suspected.append(self._suspected)
        self.heartbeats.on_unsuspected.append(lambda name: write("unsuspected", member=name))
        self.ownership.on_gained.append(lambda _shard, _fence: self._count_shards("shards_gained"))
        self.ownership.on_lost.append(self._shard_lost)
        self.membership.on_deposed.append(self._deposed)
        self.membership.on_state.append(self._member_state)

    # -- stopping -------------------------------------------------------------------------------

    async def stop(self) -> None:
        """The orderly end: no new sessions, writes finished, shards given up, lease revoked.

        Of a node that has not started wholly, what there is so far; `start` must have been ended.
        """
        self.events.write("stopping")
        if self.ready:
            await ending.drain(self)
        try:
            released = await ending.leave_shards(self)
            await self.membership.leave()
            what = "left the cluster" if self.ready else "ended before it had joined"
            self.seams.log.info(what, shards_given_up=released)
        except ClusterError as error:
            self.seams.log.warning("left without the store's knowledge", why=str(error))
        if self.built:
            self.gateway.close()
            self.sockets.close()
        self.way.guard.write_down()
        self.events.write("stopped")
        self.events.close()

    async def read_keks(self) -> tuple[bytes, ...]:
        """Take the key-encryption keys as they are now; their ids. Raises ClusterError."""
        if self._identity.read_keks is not None:
            try:
                found = await self._identity.read_keks()
            except ConfigError as error:
                raise WrongKek(f"the key-encryption keys can't be read: {error}") from None
            self.rings.keks = found
            await self.rings.refresh()
            return found.ids
        return self.rings.keks.ids

    # -- what the parts ask ---------------------------------------------------------------------

    def store_state(self) -> str:
        """`ok` or `unavailable`: whether the store answered last, to lease, journal or anybody."""
        answers = self.membership.store_ok and self.journal.state is not JournalState.UNAVAILABLE
        return "ok" if answers and not self.way.away else "unavailable"

    def sessions(self) -> int:
        """Established IKE SAs of this member."""
        return self.metrics.sessions

    def _vitals(self) -> Vitals:
        member = self.membership
        guard = self.way.guard
        return Vitals(
            self.sessions(),
            self.rings.revision,
            member.state,
            guard.answers,
            guard.memory,
            full=self.standby.gate.full,
        )

    def _closed(self) -> str:
        """Why no session may begin now."""
        if self.journal.pending >= COMMITS_MAX:
            return "commits_full"
        return "store_away" if self.standby.closed() else ""

    def _unfinished_in(self, shard: int) -> int:
        """Half-open IKE SAs and writes under way in a shard, and one for sessions not read yet;
        counted at most every `CENSUS_S`.
        """
        now_s = self.seams.clock.boot_s()
        if now_s - self._census_s >= CENSUS_S:
            self._census_s = now_s
            self._census = {}
            for spi in self.gateway.endpoint.unfinished():
                at = self.codec.shard_of(spi)
                self._census[at] = self._census.get(at, 0) + 1
        return self._census.get(shard, 0) + self.adopter.is_pending(shard)

    # -- what the parts say ---------------------------------------------------------------------

    def _send_back(self, datagram: Datagram) -> None:
        self.gateway.send_back(datagram)

    def _receive(self, data: bytes, path: Path) -> None:
        self.gateway.on_datagram(data, path)

    def _receive_esp(self, data: bytes, path: Path) -> None:
        self.gateway.on_esp(data, path)

    def _ring_installed(self, revision: int) -> None:
        self.events.write("ring_installed", revision=revision)
        self.membership.report_ring(revision)
        ring = self.rings.ring
        if self.built:
            self.gateway.endpoint.tickets = self.clocks.tickets
            self.gateway.endpoint.cookies = ring.cookies

    def _trouble(self, line: str) -> None:
        self.seams.log.error("key ring", trouble=line)

    def _suspected(self, name: str) -> None:
        self.events.write("suspected", member=name)
        self.seams.log.warning("a member is silent", member=name)

    def _declared_dead(self, name: str) -> None:
        if name == self.config.member.name:
            return  # our key went while the store was away, and we put it back
        self.events.write("declared_dead", member=name)
        self.seams.log.warning("a member is gone from the store", member=name)

    def _deposed(self, why: str) -> None:
        self.seams.log.error("deposed", why=why)
        self.deposed.set()

    def _member_state(self, state: str, store_ok: bool) -> None:
        self.events.write("store_state", state="ok" if store_ok else "unavailable")
        say = (
            self.seams.log.info
            if store_ok and state == State.NORMAL.value
            else self.seams.log.warning
        )
        say("state", state=state, store="ok" if store_ok else "unavailable")

    def _journal_state(self, state: JournalState) -> None:
        self.seams.log.warning("journal", state=state.value, pending=self.journal.pending)

    def _shard_lost(self, shard: int) -> None:
        self._count_shards("shards_lost")
        spis = self.spis.take(shard, self.gateway.endpoint.spis)
        self.adopter.tell_heir(shard, spis)
        for spi in spis:
            self.drop(spi, "shard lost")

    def _count_shards(self, kind: str) -> None:
        """One event for the shards that changed in one step of the loop."""
        if not self._gained:
            asyncio.get_running_loop().call_soon(self._tell_shards)
        self._gained[kind] = self._gained.get(kind, 0) + 1

    def _tell_shards(self) -> None:
        counted, self._gained = self._gained, {}
        for kind, count in counted.items():
            self.events.write(kind, count=count, why="claim")
            self.seams.log.info(kind, count=count)

    def replaced(self, chain: bytes, spi: bytes) -> None:
        """A session was resumed here: whoever holds its former SA is to drop it."""
        self.adopter.replaced(spi)
        owner = self.ownership.owner_of(self.codec.shard_of(spi))
        if owner is not None and owner != self.config.member.name:
            self.seams.link.send(owner, Superseded(chain, spi))

    def _superseded(self, frame: Superseded) -> None:
        self.adopter.replaced(frame.spi)
        core = self.gateway.endpoint.find(frame.spi)
        if core is None or core.chain == frame.chain:
            self.drop(frame.spi, RESUMED)

    def _return(self, frame: Return) -> None:
        self.sockets.send(Datagram(frame.data, Path(frame.local, frame.remote)))

    def drop(self, spi: bytes, why: str) -> None:
        """Let go of an SA without a word to its peer."""
        self.mirrors.gone(self.codec.shard_of(spi), spi)
        outcome = self.gateway.endpoint.drop(spi, why)
        if outcome is not None:
            self.gateway.lane.carry_out(outcome)
