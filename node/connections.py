"""The [[connection]] tables of a gateway's file: what is wrong with them, and the core's
connections.

Rules: [ike] itself is the last connection, where it has pre-shared keys; what a table leaves out is
as there. What a connection wants to be proven, and proves, is there to be proven with: keys, a
certificate for who we are to it, authorities, EAP methods.
"""

from collections.abc import Callable

import msgspec

from node.eap.check import check_methods
from node.identity import normal_pattern
from node.pools import core_pools
from node.sections import TRANSPORT, ConnectionConfig, GatewayConfig
from node.toml_strict import Problems, show
from node.trust.names import speaks_for
from node.trust.own import Wrong, load_certificates
from proto.ike.auth import ResumeForm
from proto.ike.connection import ANYBODY, BOTH_FORMS, DEFAULT, Connection, Method
from proto.ike.enums import PayloadType
from proto.ike.identity import Identity, parse_identity
from proto.ike.payloads import IdPayload
from proto.ike.redirect import parse_target
from proto.ike.selectors import parse_selector

CONNECTIONS_MAX = 256
FORMS = {
    "both": BOTH_FORMS,
    "rfc": (ResumeForm.RFC,),
    "first-message": (ResumeForm.FIRST_MESSAGE,),
}
END_OLDEST = "end-oldest"
PSK, CERTIFICATE, EAP = Method.PSK.value, Method.CERTIFICATE.value, Method.EAP.value
NULL = Method.NULL.value
SAFE_EAP = ("tls", "radius")
"""Methods that may be good enough to prove both sides (RFC 5998 4); RADIUS decides by itself."""

Exact = Callable[[Identity], Identity]
"""An identity of ours as our certificate has it, octet for octet."""


def check_connections(config: GatewayConfig, problems: Problems) -> None:
    """Note what is wrong with them."""
    connections = config.connection
    if not connections and not config.ike.psk_file:
        problems.add("ike.psk_file", "missing", "the name of a file, or [[connection]] tables")
    if len(connections) > CONNECTIONS_MAX:
        given = f"{len(connections)} tables"
        problems.add("connection", given, f"at most {CONNECTIONS_MAX} [[connection]]")
    names: set[str] = set()
    for number, connection in enumerate(connections, 1):
        where = f"connection[{number}]"
        if connection.name in names:
            problems.add(f"{where}.name", show(connection.name), "a name once")
        names.add(connection.name)
        for pattern in connection.identity:
            if pattern != "*":
                _check(f"{where}.identity", pattern, normal_pattern, problems)
        if connection.local_identity:
            _check(f"{where}.local_identity", connection.local_identity, parse_identity, problems)
        if connection.redirect:
            _check(f"{where}.redirect", connection.redirect, parse_target, problems)
        if connection.ppk_required and not config.ike.ppk_file:
            problems.add(f"{where}.ppk_required", "true", "needs ike.ppk_file")
        if connection.mode == TRANSPORT and (connection.pools or config.ike.pools):
            right = '"tunnel" where there are pools: their addresses exist in tunnels only'
            problems.add(f"{where}.mode", show(TRANSPORT), right)
        _check_proofs(where, connection, config, problems)


def _check(key: str, text: str, parse: Callable[[str], object], problems: Problems) -> None:
    """`parse` raises ValueError saying what would be right."""
    try:
        parse(text)
    except ValueError as error:
        problems.add(key, show(text), str(error))


def _check_proofs(
    where: str, connection: ConnectionConfig, config: GatewayConfig, problems: Problems
) -> None:
    wants, proves = connection.remote_auth, connection.local_auth
    if connection.sessions_max and wants[-1] == NULL:
        right = f"nothing where {show(NULL)} says who it is: nobody has sessions"
        problems.add(f"{where}.sessions_max", str(connection.sessions_max), right)
    if not config.ike.psk_file:
        for key, uses in (("remote_auth", PSK in wants), ("local_auth", proves == PSK)):
            if uses:
                problems.add(f"{where}.{key}", show(PSK), "needs ike.psk_file")
    if CERTIFICATE in wants and not (connection.ca_file or config.trust.ca_file):
        problems.add(f"{where}.remote_auth", show(CERTIFICATE), "needs ca_file or trust.ca_file")
    if proves == CERTIFICATE and not _has_certificate(connection, config):
        identity = connection.local_identity or config.ike.identity
        right = f"needs a [[certificate]] for {identity} (subjectAltName)"
        problems.add(f"{where}.local_auth", show(CERTIFICATE), right)
    if EAP in wants:
        _check_eap(where, connection, config, problems)
    elif connection.eap_methods or connection.eap_only:
        key = "eap_methods" if connection.eap_methods else "eap_only"
        problems.add(f"{where}.{key}", "set", 'nothing without "eap" in remote_auth')


def _check_eap(
    where: str, connection: ConnectionConfig, config: GatewayConfig, problems: Problems
) -> None:
    methods = connection.eap_methods or config.eap.methods
    if not methods:
        problems.add(f"{where}.remote_auth", show(EAP), "needs eap.methods")
    check_methods(f"{where}.eap_methods", connection.eap_methods, config, problems)
    if connection.local_auth != CERTIFICATE:
        right = '"certificate", which a peer that uses EAP must be shown (RFC 7296 2.16)'
        problems.add(f"{where}.local_auth", show(connection.local_auth), right)
    if connection.eap_only and (
        connection.remote_auth[0] != EAP or not any(m in SAFE_EAP for m in methods)
    ):
        right = 'false without "eap" first in remote_auth, by "tls" or "radius" (RFC 5998 4)'
        problems.add(f"{where}.eap_only", "true", right)


def _has_certificate(connection: ConnectionConfig, config: GatewayConfig) -> bool:
    """One that speaks for who we are to it; a file that can't be read is said elsewhere."""
    try:
        identity = parse_identity(connection.local_identity or config.ike.identity)
        chains = [load_certificates(one.cert_file) for one in config.certificate]
    except (ValueError, Wrong):
        return True
    return any(speaks_for(chain[0], *identity) for chain in chains if chain)


def core_connections(config: GatewayConfig, exact: Exact) -> tuple[Connection, ...]:
    """All of them, in the order in which they are tried."""
    found = [_of_table(table, config, exact) for table in config.connection]
    if config.ike.psk_file:
        found.append(_of_ike(config, exact))
    return tuple(found)


def _of_ike(config: GatewayConfig, exact: Exact) -> Connection:
    ike = config.ike
    return Connection(
        DEFAULT,
        IdPayload(PayloadType.IDr, *exact(parse_identity(ike.identity))),
        local_ts=tuple(parse_selector(text) for text in ike.local_ts),
        remote_ts=tuple(parse_selector(text) for text in ike.remote_ts),
        identities=ANYBODY,
        resume_forms=FORMS[ike.resume_auth],
        pools=core_pools(config.pool, ike.pools),
        ppk_required=ike.ppk_required,
        lifetime_s=ike.authentication_lifetime_s,
        sessions_max=ike.sessions_max,
        oldest_ends=ike.sessions_over == END_OLDEST,
    )


def _of_table(table: ConnectionConfig, config: GatewayConfig, exact: Exact) -> Connection:
    """A [[connection]] table; what it leaves out is as in [ike]."""
    base = _of_ike(config, exact)
    changed: dict[str, object] = {
        "name": table.name,
        "identities": tuple(p if p == "*" else normal_pattern(p) for p in table.identity),
        "local_auth": Method(table.local_auth),
        "remote_auth": tuple(Method(text) for text in table.remote_auth),
        "eap_methods": table.eap_methods,
        "eap_only": table.eap_only,
        "ppk_required": table.ppk_required or config.ike.ppk_required,
        "transport": table.mode == TRANSPORT,
        "redirect": parse_target(table.redirect) if table.redirect else None,
    }
    if table.local_identity:
        ours = exact(parse_identity(table.local_identity))
        changed["local_id"] = IdPayload(PayloadType.IDr, *ours)
    if table.local_ts:
        changed["local_ts"] = tuple(parse_selector(text) for text in table.local_ts)
    if table.remote_ts:
        changed["remote_ts"] = tuple(parse_selector(text) for text in table.remote_ts)
    if table.resume_auth:
        changed["resume_forms"] = FORMS[table.resume_auth]
    if table.pools:
        changed["pools"] = core_pools(config.pool, table.pools)
    if table.authentication_lifetime_s:
        changed["lifetime_s"] = table.authentication_lifetime_s
    if table.sessions_max:
        changed["sessions_max"] = table.sessions_max
    if table.sessions_over:
        changed["oldest_ends"] = table.sessions_over == END_OLDEST
    return msgspec.structs.replace(base, **changed)
