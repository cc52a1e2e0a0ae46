"""The configuration of a gateway, of a client and of an operator: what may be set, and what fits.

Rules: one TOML file per process; every limit and time has a name here with its unit; every problem
is one line (`node.toml_strict`). What is loaded is frozen, complete and checked: nothing downstream
asks again whether a file is readable or an address is one. Key material isn't part of it: the
files' names are.
"""

import importlib.util
import ipaddress
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from cluster.keyring import RingPolicy
from cluster.member import usable_s
from cluster.schedule import check_policy
from node.identity import load_psks, parse_address
from node.kek import check_keks
from node.toml_strict import ConfigError, Problems, convert, file_problem, read_toml, show
from proto.ike.identity import parse_identity
from proto.ike.suite import parse_child, parse_suite

SHARDS_MAX = 4096
TICKET_LIFETIME_S_MAX = 604_800
"""Seven days, as in TLS 1.3 (RFC 8446 4.6.1): a stolen ticket's session must end some day."""
DRIFT = 0.01
MARGIN_S = 0.5
"""What a lease's deadline leaves for clocks that differ and for scheduling (`cluster.member`)."""
KEEP_ALIVE_TIMEOUT_S_MAX = 2.0
"""The longest that one keep-alive may take, whatever other calls to the store may."""

NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
RIGHT_NAME = "1 to 63 letters a-z, digits and inner hyphens"
Name = Annotated[str, Meta(pattern=NAME, description=RIGHT_NAME)]
Text = Annotated[str, Meta(description="a text")]
Seconds = Annotated[
    float, Meta(gt=0, le=31_536_000, description="a number of seconds above 0, at most a year")
]
SecondsOrNever = Annotated[
    float, Meta(ge=0, le=31_536_000, description="a number of seconds, at most a year, or 0")
]
Count = Annotated[int, Meta(ge=1, le=1_000_000, description="a whole number from 1 to 1000000")]
File = Annotated[str, Meta(min_length=1, description="the name of a file", extra={"path": True})]
OptionalFile = Annotated[str, Meta(description='the name of a file, or ""', extra={"path": True})]
Folder = Annotated[
    str, Meta(min_length=1, description="the name of a folder", extra={"path": True})
]
OptionalFolder = Annotated[
    str, Meta(description='the name of a folder, or ""', extra={"path": True})
]
Address = Annotated[str, Meta(min_length=3, description="ADDRESS:PORT, such as 127.0.0.1:500")]
OptionalAddress = Annotated[str, Meta(description='ADDRESS:PORT, or ""')]
Addresses = Annotated[
    tuple[Address, ...], Meta(min_length=1, description="a list of ADDRESS:PORT, at least one")
]
Proposals = Annotated[
    tuple[str, ...],
    Meta(min_length=1, description='a list such as ["aes256gcm16-prfsha256-x25519"]'),
]
Prefixes = Annotated[
    tuple[str, ...], Meta(min_length=1, description='a list of networks such as ["10.0.0.0/8"]')
]

Command = Annotated[
    tuple[str, ...], Meta(description='a program with its arguments, such as ["/bin/kek", "-x"]')
]

PROPOSALS = ("aes256gcm16-prfsha256-x25519", "aes128gcm16-prfsha256-x25519")
CHILD_PROPOSALS = ("aes256gcm16",)
ANYWHERE = ("0.0.0.0/0",)


class ClusterConfig(msgspec.Struct, frozen=True):
    """Which cluster this is."""

    name: Name
    kek_file: OptionalFile = ""
    """The key-encryption key: this, or `kek_credential`, or `kek_command` (`node.kek`)."""
    kek_credential: Text = ""
    kek_command: Command = ()
    kek_next_file: OptionalFile = ""
    """The key-encryption key that the cluster is being changed to, likewise."""
    kek_next_credential: Text = ""
    kek_next_command: Command = ()
    shards: Annotated[
        int, Meta(ge=1, le=SHARDS_MAX, description=f"a power of two from 1 to {SHARDS_MAX}")
    ] = 64
    when_isolated: Annotated[Literal["stop", "keep"], Meta(description='"stop" or "keep"')] = "stop"
    failsafe_tickets: Annotated[
        Literal["accept", "refuse"], Meta(description='"accept" or "refuse"')
    ] = "accept"


class StoreConfig(msgspec.Struct, frozen=True):
    """Where what is agreed lives, and how long to wait for it."""

    kind: Annotated[
        Literal["etcd", "etcd3", "memory"], Meta(description='"etcd", "etcd3" or "memory"')
    ] = "etcd"
    endpoints: Annotated[
        tuple[str, ...], Meta(description="a list of HOST:PORT of etcd's members")
    ] = ()
    ca_file: OptionalFile = ""
    cert_file: OptionalFile = ""
    key_file: OptionalFile = ""
    attempt_timeout_s: Seconds = 0.5
    total_timeout_s: Seconds = 3.0


class MemberConfig(msgspec.Struct, frozen=True):
    """Who this gateway is, and how fast it notices that others are gone."""

    name: Name
    data_dir: Folder
    host: Annotated[str, Meta(min_length=1, description="the name of its failure domain")] = "host"
    rpc_listen: OptionalAddress = ""
    ca_file: OptionalFile = ""
    cert_file: OptionalFile = ""
    key_file: OptionalFile = ""
    lease_ttl_s: Annotated[
        int, Meta(ge=2, le=300, description="a whole number of seconds from 2 to 300")
    ] = 5
    keep_alive_s: Seconds = 1.0
    heartbeat_interval_s: Seconds = 0.2
    suspect_after_s: Seconds = 1.0
    mirrors: Annotated[int, Meta(ge=0, le=3, description="a whole number from 0 to 3")] = 1


class IkeConfig(msgspec.Struct, frozen=True):
    """What IKE peers meet."""

    listen: Addresses
    identity: Text
    psk_file: File
    key_log_dir: OptionalFolder = ""
    proposals: Proposals = PROPOSALS
    child_proposals: Proposals = CHILD_PROPOSALS
    local_ts: Prefixes = ANYWHERE
    remote_ts: Prefixes = ANYWHERE
    ike_sa_lifetime_s: Seconds = 14_400.0
    ike_rekey_s: SecondsOrNever = 12_600.0
    child_rekey_s: SecondsOrNever = 5_400.0
    child_pfs: Annotated[bool, Meta(description="true or false")] = True
    ticket_lifetime_s: Seconds = 3_600.0
    half_open_max: Count = 4096
    half_open_timeout_s: Seconds = 30.0
    cookie_threshold: Annotated[
        int, Meta(ge=0, le=1_000_000, description="a whole number from 0 to half_open_max")
    ] = 1024
    resume_auth: Annotated[
        Literal["both", "rfc", "first-message"],
        Meta(description='"both", "rfc" or "first-message"'),
    ] = "both"
    revoke_on_delete: Annotated[bool, Meta(description="true or false")] = False
    tickets: Annotated[
        Literal["auto", "by-value", "by-reference"],
        Meta(description='"auto", "by-value" or "by-reference"'),
    ] = "auto"
    ticket_octets_max: Annotated[
        int, Meta(ge=64, le=2048, description="a whole number from 64 to 2048")
    ] = 1000


class KeysConfig(msgspec.Struct, frozen=True):
    """How the ring's keys are replaced; the same in every gateway's file."""

    rotate: Annotated[Literal["schedule", "manual"], Meta(description='"schedule" or "manual"')] = (
        "schedule"
    )
    ticket_key_sealing_s: Seconds = 86_400.0
    """A ticket key seals no longer than this; with a schedule it is replaced after about half."""
    ticket_key_opening_s: Annotated[
        float,
        Meta(ge=0, le=63_072_000, description="a number of seconds, at most two years, or 0"),
    ] = 0.0
    """How long it opens, from its first seal on; 0: twice a ticket's lifetime after its last."""


class MetricsConfig(msgspec.Struct, frozen=True):
    """Where Prometheus scrapes; empty: nowhere."""

    listen: OptionalAddress = ""


class LogConfig(msgspec.Struct, frozen=True):
    """What is logged, and in which shape."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description='"debug", "info", "warning" or "error"'),
    ] = "info"
    format: Annotated[Literal["json", "console"], Meta(description='"json" or "console"')] = "json"


class EventsConfig(msgspec.Struct, frozen=True):
    """Where events are recorded (empty: nowhere), and under whose name (empty: the process's)."""

    file: OptionalFile = ""
    who: Text = ""


class GatewayConfig(msgspec.Struct, frozen=True):
    """Everything that is set for one gateway."""

    cluster: ClusterConfig
    member: MemberConfig
    ike: IkeConfig
    store: StoreConfig = StoreConfig()
    metrics: MetricsConfig = MetricsConfig()
    log: LogConfig = LogConfig()
    events: EventsConfig = EventsConfig()
    keys: KeysConfig = KeysConfig()


class ClientSection(msgspec.Struct, frozen=True):
    """How the client connects, notices silence and tries again."""

    identity: Text
    remote_identity: Text
    psk_file: File
    gateways: Addresses
    ticket_file: OptionalFile = ""
    key_log_dir: OptionalFolder = ""
    resume_auth: Annotated[
        Literal["rfc", "first-message"], Meta(description='"rfc" or "first-message"')
    ] = "rfc"
    liveness_interval_s: Seconds = 1.0
    ike_rekey_s: SecondsOrNever = 10_800.0
    child_rekey_s: SecondsOrNever = 3_600.0
    child_pfs: Annotated[bool, Meta(description="true or false")] = True
    retransmit_initial_s: Seconds = 0.5
    retransmit_factor: Annotated[float, Meta(ge=1, le=10, description="a number from 1 to 10")] = (
        1.5
    )
    retransmit_tries: Annotated[
        int, Meta(ge=1, le=20, description="a whole number from 1 to 20")
    ] = 4
    proposals: Proposals = PROPOSALS
    child_proposals: Proposals = CHILD_PROPOSALS
    local_ts: Prefixes = ANYWHERE
    remote_ts: Prefixes = ANYWHERE


class ClientConfig(msgspec.Struct, frozen=True):
    """Everything that is set for one client."""

    client: ClientSection
    log: LogConfig = LogConfig()
    events: EventsConfig = EventsConfig()


class OperatorConfig(msgspec.Struct, frozen=True):
    """How an operator reaches the cluster: any member will do."""

    cluster: Name
    addresses: Addresses
    ca_file: File
    cert_file: File
    key_file: File


class OperatorFile(msgspec.Struct, frozen=True):
    """The operator's file."""

    operator: OperatorConfig


def load_gateway(path: str | Path) -> GatewayConfig:
    """The gateway's configuration at `path`, checked. Raises ConfigError."""
    problems = Problems(Path(path))
    config = convert(GatewayConfig, read_toml(problems.path), problems)
    problems.settle()
    if config is None:  # settle has raised
        raise ConfigError([f"{path}: unusable"])
    config = _inherit_certificates(config)
    _check_cluster(config.cluster, problems)
    _check_store(config.store, problems)
    _check_member(config, problems)
    _check_ike(config.ike, problems)
    _check_keys(config, problems)
    _check_address("metrics.listen", config.metrics.listen, problems, optional=True)
    problems.settle()
    return config


def load_client(path: str | Path) -> ClientConfig:
    """The client's configuration at `path`, checked. Raises ConfigError."""
    problems = Problems(Path(path))
    config = convert(ClientConfig, read_toml(problems.path), problems)
    problems.settle()
    if config is None:  # settle has raised
        raise ConfigError([f"{path}: unusable"])
    client = config.client
    for key in ("identity", "remote_identity"):
        _check_identity(f"client.{key}", getattr(client, key), problems)
    for address in client.gateways:
        _check_address("client.gateways", address, problems)
    _check_proposals("client", client, problems)
    _check_traffic("client", client, problems)
    _check_loads("client.psk_file", client.psk_file, problems)
    problems.settle()
    return config


def load_operator(path: str | Path) -> OperatorConfig:
    """The operator's configuration at `path`, checked. Raises ConfigError."""
    problems = Problems(Path(path))
    config = convert(OperatorFile, read_toml(problems.path), problems)
    problems.settle()
    if config is None:  # settle has raised
        raise ConfigError([f"{path}: unusable"])
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
    _check_address("member.rpc_listen", member.rpc_listen, problems, optional=True)
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


def _check_ike(ike: IkeConfig, problems: Problems) -> None:
    for address in ike.listen:
        _check_address("ike.listen", address, problems)
    _check_identity("ike.identity", ike.identity, problems)
    _check_proposals("ike", ike, problems)
    _check_traffic("ike", ike, problems)
    _check_loads("ike.psk_file", ike.psk_file, problems)
    most_s = min(ike.ike_sa_lifetime_s, TICKET_LIFETIME_S_MAX)
    if ike.ticket_lifetime_s > most_s:
        right = f"at most {most_s:g} (ike_sa_lifetime_s, and never above {TICKET_LIFETIME_S_MAX})"
        problems.add("ike.ticket_lifetime_s", show(ike.ticket_lifetime_s), right)
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
        problems.add("keys.ticket_key_sealing_s", show(keys.ticket_key_sealing_s), str(error))


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
    checks = (("proposals", parse_suite), ("child_proposals", parse_child))
    for key, parse in checks:
        for text in getattr(section, key):
            try:
                parse(text)
            except ValueError as error:
                right = str(error).removeprefix(f"{text!r}: ")
                problems.add(f"{where}.{key}", show(text), right)


def _check_traffic(where: str, section: IkeConfig | ClientSection, problems: Problems) -> None:
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
    try:
        parse_identity(text)
    except ValueError as error:
        problems.add(key, show(text), str(error))


def _check_address(key: str, text: str, problems: Problems, *, optional: bool = False) -> None:
    if optional and not text:
        return
    try:
        parse_address(text)
    except ValueError as error:
        problems.add(key, show(text), str(error))


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
