"""EAP of a process from its configuration: a gateway's back end, a client's.

Rules: files are read here once; `node.eap.check` has found them good. A gateway without EAP methods
gets a back end that refuses everybody.
"""

from functools import partial

import structlog

from cluster.seams import Clock, Rng
from node.eap.backend import MSCHAPV2, TLS, EapBackend, EapClient, Means
from node.eap.desk import EapDesk
from node.eap.files import read_line, read_password
from node.eap.radius.relay import RadiusServers, RelaySettings
from node.eap.radius.server import RadiusServer, RadiusSettings, UdpPorts
from node.eap.steps import EapSteps
from node.eap.tls.means import TlsMeans
from node.eap.users import load_users
from node.errands import Errands
from node.identity import parse_address
from node.metrics import Counts, Metrics
from node.observe import SparseLog
from node.sections import ClientConfig, GatewayConfig, RadiusConfig
from node.trust.verifier import Trust
from proto.ike.identity import Identity, parse_identity

ANY_SERVER = "*"
SPARE_S = 1.0
"""What a round may take beside waiting for RADIUS, or for who knows what was revoked."""
FETCHES = 2
"""Of revocation, that one round may wait for."""
CLIENT_ROUND_S = 5.0
CLIENT_LIFETIME_S = 60.0
CLIENT_CONVERSATIONS_MAX = 64
"""More than one where gateways die in the middle."""


def serve_eap(
    errands: Errands,
    config: GatewayConfig,
    clock: Clock,
    rng: Rng,
    log: structlog.typing.FilteringBoundLogger,
    metrics: Metrics,
    trust: Trust,
) -> EapSteps:
    """A gateway's: errands of EAP are carried out from now on; close it. Raises ConfigError."""
    eap, backend = config.eap, gateway_backend(config, trust, clock, rng, log)
    if backend.radius is not None:
        metrics.radius = backend.radius.servers
    desk = EapDesk(
        backend,
        clock,
        SparseLog(log, clock),
        metrics.eap,
        at_most=eap.conversations_max,
        lifetime_s=config.ike.half_open_timeout_s,
    )
    steps = EapSteps(desk, backend.close)
    limit_s = max(eap.radius_timeout_s, FETCHES * config.trust.fetch_timeout_s) + SPARE_S
    steps.listen(errands, limit_s, eap.conversations_max)
    return steps


def prove_by_eap(
    errands: Errands,
    config: ClientConfig,
    trust: Trust,
    clock: Clock,
    rng: Rng,
    log: SparseLog,
) -> None:
    """The same of a client. Raises ConfigError."""
    backend = client_backend(config, trust, rng)
    desk = EapDesk(
        backend,
        clock,
        log,
        Counts(),
        at_most=CLIENT_CONVERSATIONS_MAX,
        lifetime_s=CLIENT_LIFETIME_S,
    )
    EapSteps(desk).listen(errands, CLIENT_ROUND_S, CLIENT_CONVERSATIONS_MAX)


def gateway_backend(
    config: GatewayConfig,
    trust: Trust,
    clock: Clock,
    rng: Rng,
    log: structlog.typing.FilteringBoundLogger,
) -> EapBackend:
    """See the module. Raises ConfigError."""
    eap = config.eap
    tls = _tls(trust, parse_identity(config.ike.identity))
    radius = None
    if config.radius:
        settings = RelaySettings(config.member.name, eap.radius_timeout_s, eap.ask_identity)
        servers = [_server(server, clock, rng, log) for server in config.radius]
        radius = RadiusServers(servers, settings)
    users = load_users(eap.users_file) if eap.users_file else None
    name = config.ike.identity.partition(":")[2]
    return EapBackend(eap.methods, Means(users, tls, radius), name, rng, ask=eap.ask_identity)


def client_backend(config: ClientConfig, trust: Trust, rng: Rng) -> EapClient:
    """Of a client. Raises ConfigError."""
    section, tls, nt_hash = config.client, None, None
    wanted = section.eap_methods or (TLS, MSCHAPV2)
    if TLS in wanted:
        tls = _tls(trust, parse_identity(section.identity))
    if MSCHAPV2 in wanted and section.eap_password_file:
        nt_hash = read_password(section.eap_password_file)
    servers = section.eap_server_names or (section.remote_identity.partition(":")[2],)
    return EapClient(
        section.eap_identity,
        rng,
        nt_hash=nt_hash,
        tls=tls,
        servers=() if ANY_SERVER in servers else servers,
    )


def _tls(trust: Trust, identity: Identity) -> TlsMeans | None:
    """With the certificate for `identity`; None: there is no certificate at all."""
    own = trust.own(identity) or next(iter(trust.settings.own), None)
    return None if own is None else TlsMeans(trust, own)


def _server(
    config: RadiusConfig, clock: Clock, rng: Rng, log: structlog.typing.FilteringBoundLogger
) -> RadiusServer:
    secret = read_line(config.secret_file)
    settings = RadiusSettings(config.name, parse_address(config.address), secret, config.timeout_s)
    server = RadiusServer(settings, UdpPorts(), clock, rng)
    server.on_change = partial(_say, log, config)
    return server


def _say(log: structlog.typing.FilteringBoundLogger, config: RadiusConfig, away: bool) -> None:
    if away:
        log.warning("RADIUS server doesn't answer", server=config.name, address=config.address)
    else:
        log.info("RADIUS server answers again", server=config.name, address=config.address)
