"""The configuration of a gateway, of a client and of an operator: loaded, and looked at as a whole.

Rules: one TOML file per process; every problem is one line (`node.toml_strict`). What is loaded is
frozen, complete and checked: nothing downstream asks again whether a file is readable or an address
is one. (What may be set: `node.sections`.)
"""

import importlib.util
import ipaddress
from collections.abc import Callable
from pathlib import Path

import msgspec

from cluster.keyring import RingPolicy
from cluster.member import usable_s
from cluster.schedule import check_policy
from cluster.spent import LIFETIME_S_MAX
from node.connections import check_connections
from node.eap.check import check_client_eap, check_eap
from node.identity import load_psks, parse_address
from node.kek import check_keks
from node.peer import check_client_proofs
from node.pools import check_pools
from node.ppk import check_ppks
from node.sections import (
    SHARDS_MAX,
    TRANSPORT,
    ClientConfig,
    ClientSection,
    ClusterConfig,
    ConnectionConfig,
    GatewayConfig,
    IkeConfig,
    KeysConfig,
    MemberConfig,
    OperatorConfig,
    OperatorFile,
    StoreConfig,
)
from node.toml_strict import ConfigError, Problems, convert, file_problem, read_toml, show
from node.trust.config import check_trust
from proto.ike.identity import parse_identity
from proto.ike.names import parse_children, parse_suites
from proto.ike.redirect import parse_target

DRIFT = 0.01
MARGIN_S = 0.5
"""What a lease's deadline leaves for clocks that differ and for scheduling (`cluster.member`)."""
KEEP_ALIVE_TIMEOUT_S_MAX = 2.0
"""The longest that one keep-alive may take, whatever other calls to the store may."""


def load_gateway(path: str | Path) -> GatewayConfig:
    """The gateway's configuration at `path`, checked. Raises ConfigError."""
    problems = Problems(Path(path))
    config = convert(GatewayConfig, read_toml(problems.path), problems)
    if config is None:
        raise ConfigError(problems.lines)
    config = _inherit_certificates(config)
    _check_cluster(config.cluster, problems)
    _check_store(config.store, problems)
    _check_member(config, problems)
    _check_ike(config.ike, problems)
    check_connections(config, problems)
    for number, connection in enumerate(config.connection, 1):
        _check_traffic(f"connection[{number}]", connection, problems)
    check_eap(config, problems)
    _check_keys(config, problems)
    check_trust(config, problems)
    check_pools(config, problems)
    _check_address("metrics.listen", config.metrics.listen, problems, optional=True)
    problems.settle()
    return config


def load_client(path: str | Path) -> ClientConfig:
    """The client's configuration at `path`, checked. Raises ConfigError."""
    problems = Problems(Path(path))
    config = convert(ClientConfig, read_toml(problems.path), problems)
    if config is None:
        raise ConfigError(problems.lines)
    client = config.client
    for key in ("identity", "remote_identity"):
        _check_identity(f"client.{key}", getattr(client, key), problems)
    for address in client.gateways:
        _check_address("client.gateways", address, problems)
    for address in client.gateways_nat:
        _check_address("client.gateways_nat", address, problems)
    if client.gateways_nat and len(client.gateways_nat) != len(client.gateways):
        right = f"as many as client.gateways ({len(client.gateways)}), or none"
        problems.add("client.gateways_nat", show(client.gateways_nat), right)
    _check_proposals("client", client, problems)
    _check_traffic("client", client, problems)
    if client.mode == TRANSPORT and client.request_addresses:
        right = '"tunnel" where there are request_addresses: it is for the addresses of the tunnel'
        problems.add("client.mode", show(TRANSPORT), right)
    check_client_proofs(config, problems)
    check_trust(config, problems)
    check_client_eap(config, problems)
    problems.settle()
    return config


def load_operator(path: str | Path) -> OperatorConfig:
    """The operator's configuration at `path`, checked. Raises ConfigError."""
    problems = Problems(Path(path))
    config = convert(OperatorFile, read_toml(problems.path), problems)
    if config is None:
        raise ConfigError(problems.lines)
    for address in config.operator.addresses:
        _check_address("operator.addresses", address, problems)
    _check_certificates("operator", config.operator, problems)
    problems.settle()
    return config.operator


def _inherit_certificates(config: GatewayConfig) -> GatewayConfig:
    """A member shows to members what it shows to etcd, where nothing else is set."""
    member, store = config.member, config.store
    if member.ca_file or member.cert_file or member.key_file:
        return config
    member = msgspec.structs.replace(
        member, ca_file=store.ca_file, cert_file=store.cert_file, key_file=store.key_file
    )
    return msgspec.structs.replace(config, member=member)


def _check_cluster(cluster: ClusterConfig, problems: Problems) -> None:
    if cluster.shards & (cluster.shards - 1):
        problems.add("cluster.shards", show(cluster.shards), f"a power of two up to {SHARDS_MAX}")
    check_keks(cluster, problems)


def _check_store(store: StoreConfig, problems: Problems) -> None:
    if store.attempt_timeout_s > store.total_timeout_s:
        right = f"at most total_timeout_s ({store.total_timeout_s:g})"
        problems.add("store.attempt_timeout_s", show(store.attempt_timeout_s), right)
    if store.kind == "memory":
        if store.endpoints:
            problems.add("store.endpoints", show(store.endpoints), 'nothing with kind = "memory"')
        return
    if not store.endpoints:
        problems.add("store.endpoints", "missing", "HOST:PORT of at least one member of etcd")
    if store.kind == "etcd3":
        if importlib.util.find_spec("etcd3") is None:
            right = "needs the etcd3 package: pip install 'standfast[etcd3]'"
            problems.add("store.kind", show(store.kind), right)
        if len(store.endpoints) > 1:
            right = 'one HOST:PORT with kind = "etcd3": the package knows no more'
            problems.add("store.endpoints", show(store.endpoints), right)
    for endpoint in store.endpoints:
        host, _, port = endpoint.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536 or "/" in endpoint:
            problems.add("store.endpoints", show(endpoint), "HOST:PORT, without https://")
        elif not store.ca_file and not _is_loopback(host):
            problems.add("store.ca_file", "missing", f"certificates, to reach {endpoint} safely")
    if store.ca_file or store.cert_file or store.key_file:
        _check_certificates("store", store, problems)


def _check_member(config: GatewayConfig, problems: Problems) -> None:
    member, store = config.member, config.store
    if member.rpc_listen:
        _check("member.rpc_listen", member.rpc_listen, _parse_reachable, problems)
    if member.rpc_listen or store.kind != "memory":
        if not member.rpc_listen:
            problems.add(
                "member.rpc_listen", "missing", "ADDRESS:PORT where other members reach it"
            )
        _check_certificates("member", member, problems)
    if member.suspect_after_s < 2 * member.heartbeat_interval_s:
        least = f"at least twice heartbeat_interval_s ({2 * member.heartbeat_interval_s:g})"
        problems.add("member.suspect_after_s", show(member.suspect_after_s), least)
    if store.kind != "memory":
        used_s = member.keep_alive_s + keep_alive_timeout_s(store)
        if used_s >= usable_s(member.lease_ttl_s, DRIFT, MARGIN_S):
            right = (
                f"more than {(used_s + MARGIN_S) / (1 - DRIFT):.4g}: keep_alive_s and the time one"
                f" may take need {used_s:g} s, clocks and scheduling {MARGIN_S:g} s more"
            )
            problems.add("member.lease_ttl_s", show(member.lease_ttl_s), right)


def keep_alive_timeout_s(store: StoreConfig) -> float:
    """The longest that one keep-alive of a member's lease may take, seconds."""
    return min(store.total_timeout_s, KEEP_ALIVE_TIMEOUT_S_MAX)


def _check_addresses(ike: IkeConfig, problems: Problems) -> None:
    for address in ike.listen:
        _check_address("ike.listen", address, problems)
    for address in ike.listen_nat:
        _check_address("ike.listen_nat", address, problems)
        if address in ike.listen:
            problems.add("ike.listen_nat", show(address), "a port of its own, not one of listen")
    for key, parse, right in (
        ("mobike_from", ipaddress.ip_network, "a network such as 10.0.0.0/8 (no host bits set)"),
        ("additional_addresses", ipaddress.ip_address, "an IP address such as 192.0.2.7"),
    ):
        for text in getattr(ike, key):
            try:
                parse(text)
            except ValueError:
                problems.add(f"ike.{key}", show(text), right)


def _check_ike(ike: IkeConfig, problems: Problems) -> None:
    _check_addresses(ike, problems)
    _check_identity("ike.identity", ike.identity, problems)
    _check_proposals("ike", ike, problems)
    _check_traffic("ike", ike, problems)
    if ike.psk_file:
        _check_loads("ike.psk_file", ike.psk_file, problems)
    check_ppks("ike.ppk_file", ike.ppk_file, required=ike.ppk_required, problems=problems)
    most_s = min(ike.ike_sa_lifetime_s, LIFETIME_S_MAX)  # longer, a use would be forgotten
    if ike.ticket_lifetime_s > most_s:
        right = f"at most {most_s:g} (ike_sa_lifetime_s, and never above {LIFETIME_S_MAX})"
        problems.add("ike.ticket_lifetime_s", show(ike.ticket_lifetime_s), right)
    if ike.redirect:
        _check_target("ike.redirect", ike.redirect, problems)
    for address in ike.redirect_at:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            problems.add("ike.redirect_at", show(address), "an address of listen, without its port")
    if ike.cookie_source_threshold > ike.half_open_source_max:
        right = f"at most half_open_source_max ({ike.half_open_source_max})"
        problems.add("ike.cookie_source_threshold", show(ike.cookie_source_threshold), right)
    if ike.cookie_threshold > ike.half_open_max:
        right = f"at most half_open_max ({ike.half_open_max})"
        problems.add("ike.cookie_threshold", show(ike.cookie_threshold), right)


def _check_keys(config: GatewayConfig, problems: Problems) -> None:
    """RFC 5723 6.2: what opens a ticket outlives it."""
    ike, keys = config.ike, config.keys
    least_s = keys.ticket_key_sealing_s + ike.ticket_lifetime_s
    if keys.ticket_key_opening_s and keys.ticket_key_opening_s < least_s:
        right = f"at least {least_s:g} (ticket_key_sealing_s and ike.ticket_lifetime_s), or 0"
        problems.add("keys.ticket_key_opening_s", show(keys.ticket_key_opening_s), right)
        return
    try:
        check_policy(ring_policy(ike, keys))
    except ValueError as error:
        problems.add(
            "keys.ticket_key_sealing_s", show(keys.ticket_key_sealing_s), f"longer: {error}"
        )


def ring_policy(ike: IkeConfig, keys: KeysConfig) -> RingPolicy:
    """The keys' windows. Raises ValueError where a valid ticket could be refused."""
    opening_s = keys.ticket_key_opening_s - keys.ticket_key_sealing_s
    return RingPolicy(
        ticket_lifetime_s=ike.ticket_lifetime_s,
        sealing_period_s=keys.ticket_key_sealing_s,
        opening_period_s=opening_s if keys.ticket_key_opening_s else 2 * ike.ticket_lifetime_s,
        record_lifetime_s=ike.ike_sa_lifetime_s + ike.ticket_lifetime_s,
    )


def _check_proposals(where: str, section: IkeConfig | ClientSection, problems: Problems) -> None:
    checks = (("proposals", parse_suites), ("child_proposals", parse_children))
    for key, parse in checks:
        for text in getattr(section, key):
            try:
                parse(text)
            except ValueError as error:
                right = str(error).removeprefix(f"{text!r}: ")
                problems.add(f"{where}.{key}", show(text), right)


def _check_traffic(
    where: str, section: IkeConfig | ClientSection | ConnectionConfig, problems: Problems
) -> None:
    for key in ("local_ts", "remote_ts"):
        for prefix in getattr(section, key):
            try:
                ipaddress.ip_network(prefix)
            except ValueError:
                right = "a network such as 10.0.0.0/8 (no host bits set)"
                problems.add(f"{where}.{key}", show(prefix), right)


def _check_loads(key: str, psk_file: str, problems: Problems) -> None:
    try:
        load_psks(psk_file)
    except ConfigError as error:
        problems.lines += [f"{problems.path}: {key}: {line}" for line in error.problems]


def _check_identity(key: str, text: str, problems: Problems) -> None:
    _check(key, text, parse_identity, problems)


def _check(key: str, text: str, parse: Callable[[str], object], problems: Problems) -> None:
    """`parse` raises ValueError saying what would be right."""
    try:
        parse(text)
    except ValueError as error:
        problems.add(key, show(text), str(error))


def _parse_reachable(text: str) -> None:
    host, port = parse_address(text)
    if ipaddress.ip_address(host).is_unspecified or not port:
        raise ValueError("one address and port: the other members are told this very one")


def _check_target(key: str, text: str, problems: Problems) -> None:
    try:
        parse_target(text)
    except ValueError as error:
        problems.add(key, show(text), str(error))


def _check_address(key: str, text: str, problems: Problems, *, optional: bool = False) -> None:
    if text or not optional:
        _check(key, text, parse_address, problems)


def _check_certificates(
    where: str, section: StoreConfig | MemberConfig | OperatorConfig, problems: Problems
) -> None:
    for key in ("ca_file", "cert_file", "key_file"):
        path = getattr(section, key)
        if not path:
            problems.add(f"{where}.{key}", "missing", "the name of a PEM file")
        elif (wrong := file_problem(path, secret=key == "key_file")) is not None:
            problems.add(f"{where}.{key}", *wrong)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
