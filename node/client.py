"""`standfast client`: one session, its ticket on disk, until the process is told to end.

Rules: resumes from disk after a restart (R10). SIGTERM and SIGINT delete the SA in order, and with
it the ticket (RFC 5723 6.2); SIGKILL leaves the ticket, and the next start resumes.
"""

import asyncio
import signal
from collections.abc import Callable

import structlog

from cluster.seams import Clock, Rng
from node.computing import Workers
from node.credentials import Credentials, PskTable
from node.detour import Follow
from node.eap.build import prove_by_eap
from node.errands import Errands
from node.identity import load_psks
from node.kernel import NullKernel
from node.key_log import lane_class
from node.lane import Lane, NoCommits
from node.metrics import Counts
from node.observe import EventLog, SparseLog
from node.origins import LocalSocket, Origins
from node.peer import peer_of
from node.ports import gateways
from node.proving import check_certificates
from node.seams import OsClock, OsRng
from node.sections import ClientConfig, ClientSection
from node.session import MemoryTicket, Report, Session, SessionSettings, Tickets
from node.shell import Shell
from node.spis import ClientSpis
from node.supervisor import Supervisor
from node.tickets import TicketFile
from node.trust.build import TrustParts, TrustSeams
from node.trust.fetch import HttpFetch
from node.udp import Receiver, Sockets
from proto.ike.core import Peer, Settings
from proto.ike.effects import Path
from proto.ike.endpoint import Endpoint
from proto.ike.events import Event
from proto.secret import Secret

CLOSE_S = 2.0
"""How long the Delete's answer is waited for at the end."""


class NoKeys:
    """A client seals no tickets and makes no cookies."""

    def sealing(self, wall_s: float) -> None:
        """None ever."""
        return

    def opening(self, key_id: bytes, wall_s: float) -> None:
        """None ever."""
        return


class NoCookies:
    """A client answers no first requests; whoever asks finds no secret."""

    def sealing(self, wall_s: float) -> tuple[int, Secret]:
        """A secret that opens nothing."""
        return 0, Secret(bytes(32))

    def opening(self, generation: int, wall_s: float) -> Secret | None:
        """None ever."""
        return None


def session_settings(section: ClientSection) -> SessionSettings:
    """Where this client's gateways are, and when it asks for what, from its configuration."""
    addresses, nat_addresses = gateways(section)
    return SessionSettings(
        gateways=addresses,
        nat_gateways=nat_addresses,
        liveness_interval_s=section.liveness_interval_s,
        ike_rekey_s=section.ike_rekey_s,
        child_rekey_s=section.child_rekey_s,
        child_pfs=section.child_pfs,
        encapsulate_always=section.udp_encapsulation == "always",
        nat_keepalive_s=section.nat_keepalive_s,
        follow=Follow(section.follow_redirects),
        fragment_octets=section.fragment_octets,
        mobike=section.mobike != "off",
        initial_contact=section.initial_contact,
        no_nats=section.mobike == "no-nats",
    )


class Client:
    """One session with an endpoint, a socket and a shell of its own."""

    def __init__(
        self,
        peer: Peer,
        settings: SessionSettings,
        *,
        tickets: Tickets,
        report: Report,
        clock: Clock,
        rng: Rng,
        open_sockets: Callable[[Receiver], tuple[Sockets, Origins]],
        errands: Errands | None = None,
        credentials: Credentials | None = None,
        lanes: type[Lane] = Lane,
    ) -> None:
        """`open_sockets(receiver)`: the sockets to be used, and from where they send.
        `errands`: None for one that is to need none; `credentials`: for one without certificates.
        """
        sockets, origins = open_sockets(self._receive)
        own = Settings(
            local_id=peer.local_id,
            realm=b"",
            suites=peer.suites,
            child_suites=peer.child_suites,
            local_ts=peer.local_ts,
            remote_ts=peer.remote_ts,
            transport=peer.transport,
            half_open_max=0,  # whoever begins an IKE SA with a client is no gateway of its
            liveness_interval_s=0.0,
            ike_rekey_s=settings.ike_rekey_s,
            child_rekey_s=settings.child_rekey_s,
            child_pfs=settings.child_pfs,
            encapsulate_always=settings.encapsulate_always,
            nat_keepalive_s=settings.nat_keepalive_s,
            fragment_octets=settings.fragment_octets,
            mobike=settings.mobike,
            no_nats=settings.no_nats,
            retransmit=peer.retransmit,
        )
        endpoint = Endpoint(
            own, rng, credentials or PskTable(()), ClientSpis(rng), NoKeys(), NoCookies()
        )
        lane = lanes(
            endpoint, NoCommits(), NullKernel(), sockets, clock, self._observe, errands=errands
        )
        self._shell = Shell(endpoint, lane, clock)
        self.session = Session(self._shell, peer, origins, settings, tickets, report)

    def stop(self) -> None:
        """No more timers; the sockets are whoever's opened them."""
        self.session.stop()
        self._shell.close()

    def _receive(self, data: bytes, path: Path) -> None:
        self._shell.on_datagram(data, path)

    def _observe(self, event: Event) -> None:
        self.session.observe(event)


async def run_client(config: ClientConfig) -> int:
    """Run until SIGTERM or SIGINT; the exit code."""
    section, clock = config.client, OsClock()
    log = structlog.get_logger("client")
    events = EventLog(config.events.file, config.events.who or "client", clock)
    supervisor, workers = Supervisor(), Workers()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.end)

    def report(kind: str, **fields: object) -> None:
        events.write(kind, **fields)
        if kind != "answered":
            log.info(kind, **{k: v.hex() if isinstance(v, bytes) else v for k, v in fields.items()})

    settings = session_settings(section)
    socket = LocalSocket(settings.gateways, nat=any(settings.nat_gateways))
    rng, errands = OsRng(), Errands(supervisor.contain, workers)
    fetch = HttpFetch(config.trust.fetch_timeout_s)
    sparse = SparseLog(log, clock)
    trust = TrustParts(config, TrustSeams(clock, rng, fetch, sparse), Counts())
    psks = load_psks(section.psk_file) if section.psk_file else ()
    peer = peer_of(section, PskTable(psks), trust.trust)
    prove_by_eap(errands, config, trust.trust, clock, rng, sparse)
    check_certificates(errands, trust.trust)
    client = Client(
        peer,
        settings,
        tickets=TicketFile(section.ticket_file) if section.ticket_file else MemoryTicket(),
        report=report,
        clock=clock,
        rng=rng,
        open_sockets=socket.open,
        errands=errands,
        credentials=Credentials(psks, trust.trust),
        lanes=lane_class(section.key_log_dir),
    )
    if section.key_log_dir:
        log.warning("keys are written down: traffic is an open book", folder=section.key_log_dir)
    trust.start(supervisor.spawn)
    client.session.start()
    await supervisor.ended()
    if client.session.close():
        await asyncio.sleep(CLOSE_S)
    client.stop()
    await supervisor.stop()
    await workers.close()
    socket.close()
    events.close()
    return 0
