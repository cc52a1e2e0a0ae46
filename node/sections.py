"""What a file may set: the sections of a gateway's, a client's and an operator's configuration.

Rules: every limit and time has a name here with its unit, a default where there is a good one, and
a sentence of what would be right. Key material isn't part of it: the files' names are. (What fits
together: `node.config`.)
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

SHARDS_MAX = 4096

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
Files = Annotated[
    tuple[str, ...],
    Meta(description='a list of names of files, such as ["ca.crl"]', extra={"path": True}),
]
Url = Annotated[str, Meta(pattern=r"^https?://[!-~]+$", description="http://… or https://…")]
Urls = Annotated[tuple[Url, ...], Meta(description='a list such as ["http://example.com/ca.crl"]')]
OptionalUrl = Annotated[
    str, Meta(pattern=r"^(https?://[!-~]+)?$", description='http://…, https://… or ""')
]
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

OptionalAddresses = Annotated[tuple[Address, ...], Meta(description="a list of ADDRESS:PORT")]
HostAddresses = Annotated[
    tuple[str, ...], Meta(description='a list of IP addresses such as ["192.0.2.7"]')
]
DatagramOctets = Annotated[
    int, Meta(ge=576, le=65_535, description="a whole number from 576 to 65535")
]
Encapsulation = Annotated[Literal["auto", "always"], Meta(description='"auto" or "always"')]
OptionalPrefixes = Annotated[
    tuple[str, ...], Meta(description='a list of networks such as ["10.0.0.0/8"], or []')
]
Names = Annotated[tuple[Name, ...], Meta(description='a list of names such as ["office"]')]
Domain = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,253}$", description="a domain's name")]
Family = Annotated[Literal[4, 6], Meta(description="4 or 6")]
LocalAuth = Annotated[
    Literal["psk", "certificate", "null"], Meta(description='"psk", "certificate" or "null"')
]
RemoteAuth = Annotated[
    tuple[Literal["psk", "certificate", "eap", "null"], ...],
    Meta(
        min_length=1,
        max_length=4,
        description='a list of "psk", "certificate", "eap" and "null", 1 to 4 of them',
    ),
]
EapMethods = Annotated[
    tuple[Literal["tls", "mschapv2", "radius"], ...],
    Meta(description='a list of "tls" and "mschapv2", or ["radius"]'),
]
Command = Annotated[
    tuple[str, ...], Meta(description='a program with its arguments, such as ["/bin/kek", "-x"]')
]
SessionsMax = Annotated[int, Meta(ge=0, le=1000, description="a whole number from 0 to 1000")]

_PRFS_AND_GROUPS = "prfsha256-prfsha384-prfsha512-x25519-ecp256-ecp384-ecp521-x448-modp2048"
_COMBINED = f"aes256gcm16-aes128gcm16-chacha20poly1305-{_PRFS_AND_GROUPS}"
_PLAIN = f"aes256-aes128-sha256-sha384-sha512-{_PRFS_AND_GROUPS}"
_HYBRID_OR_NOT = "ke1_mlkem768-ke1_mlkem1024-ke1_none"
PROPOSALS = (f"{_COMBINED}-{_HYBRID_OR_NOT}", f"{_PLAIN}-{_HYBRID_OR_NOT}")
CLIENT_PROPOSALS = (_COMBINED, _PLAIN)
CHILD_PROPOSALS = (
    "aes256gcm16-aes128gcm16-chacha20poly1305",
    "aes256-aes128-sha256-sha384-sha512",
)
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
    psk_file: OptionalFile = ""
    ppk_file: OptionalFile = ""
    ppk_required: Annotated[bool, Meta(description="true or false")] = False
    listen_nat: OptionalAddresses = ()
    """Where NATs let pass (`node.ports`)."""
    udp_encapsulation: Encapsulation = "auto"
    nat_keepalive_s: SecondsOrNever = 20.0
    fragment_octets: DatagramOctets = 1280
    mobike: Annotated[bool, Meta(description="true or false")] = True
    initial_contact: Annotated[bool, Meta(description="true or false")] = True
    mobike_from: OptionalPrefixes = ()
    additional_addresses: HostAddresses = ()
    resume_undetected_nat: Annotated[bool, Meta(description="true or false")] = False
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
    half_open_source_max: Count = 1024
    cookie_source_threshold: Annotated[
        int, Meta(ge=0, le=1_000_000, description="a whole number from 0 to half_open_source_max")
    ] = 128
    authentication_lifetime_s: SecondsOrNever = 0.0
    resume_auth: Annotated[
        Literal["both", "rfc", "first-message"],
        Meta(description='"both", "rfc" or "first-message"'),
    ] = "both"
    sessions_max: SessionsMax = 0
    sessions_over: Annotated[
        Literal["refuse", "end-oldest"], Meta(description='"refuse" or "end-oldest"')
    ] = "refuse"
    revoke_on_delete: Annotated[bool, Meta(description="true or false")] = False
    tickets: Annotated[
        Literal["auto", "by-value", "by-reference"],
        Meta(description='"auto", "by-value" or "by-reference"'),
    ] = "auto"
    ticket_octets_max: Annotated[
        int, Meta(ge=64, le=2048, description="a whole number from 64 to 2048")
    ] = 1000
    redirect: Text = ""
    redirect_at: Annotated[tuple[str, ...], Meta(description="a list of addresses, or []")] = ()
    pools: Names = ()


TRANSPORT = "transport"
Mode = Annotated[Literal["tunnel", "transport"], Meta(description='"tunnel" or "transport"')]


class ConnectionConfig(msgspec.Struct, frozen=True):
    """One kind of peer: whom it is for, what is proven, and what it gets. What is left out is as in
    `[ike]`.
    """

    name: Name
    identity: Annotated[
        tuple[str, ...],
        Meta(min_length=1, description='a list of identities, such as ["rfc822:*@example.com"]'),
    ]
    local_identity: Text = ""
    local_auth: LocalAuth = "psk"
    remote_auth: RemoteAuth = ("psk",)
    resume_auth: Annotated[
        Literal["", "both", "rfc", "first-message"],
        Meta(description='"both", "rfc" or "first-message"'),
    ] = ""
    local_ts: OptionalPrefixes = ()
    remote_ts: OptionalPrefixes = ()
    redirect: Text = ""
    pools: Names = ()
    ca_file: OptionalFile = ""
    eap_methods: EapMethods = ()
    eap_only: Annotated[bool, Meta(description="true or false")] = False
    ppk_required: Annotated[bool, Meta(description="true or false")] = False
    mode: Mode = "tunnel"
    authentication_lifetime_s: SecondsOrNever = 0.0
    sessions_max: SessionsMax = 0
    sessions_over: Annotated[
        Literal["", "refuse", "end-oldest"], Meta(description='"refuse" or "end-oldest"')
    ] = ""


class TrustConfig(msgspec.Struct, frozen=True):
    """Whose certificates are believed."""

    ca_file: OptionalFile = ""
    intermediates_file: OptionalFile = ""
    tls_certificates: Annotated[bool, Meta(description="true or false")] = False
    check_id_address: Annotated[bool, Meta(description="true or false")] = True
    crl: Annotated[
        Literal["off", "if-known", "required"],
        Meta(description='"off", "if-known" or "required"'),
    ] = "if-known"
    crl_files: Files = ()
    crl_urls: Urls = ()
    crl_refresh_s: Seconds = 3_600.0
    ocsp: Annotated[
        Literal["off", "fail-open", "required"],
        Meta(description='"off", "fail-open" or "required"'),
    ] = "fail-open"
    ocsp_url: OptionalUrl = ""
    ocsp_responders_file: OptionalFile = ""
    fetch_timeout_s: Seconds = 3.0


class CertificateConfig(msgspec.Struct, frozen=True):
    """One certificate of ours, and its key."""

    cert_file: File
    key_file: File


class EapConfig(msgspec.Struct, frozen=True):
    """Who judges peers that authenticate by EAP, and by which methods."""

    methods: EapMethods = ()
    ask_identity: Annotated[bool, Meta(description="true or false")] = False
    users_file: OptionalFile = ""
    radius_timeout_s: Seconds = 4.0
    conversations_max: Count = 4096


class RadiusConfig(msgspec.Struct, frozen=True):
    """One RADIUS server."""

    name: Name
    address: Address
    secret_file: File
    timeout_s: Seconds = 2.0


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


class PoolConfig(msgspec.Struct, frozen=True):
    """Internal addresses, and what clients get with them."""

    name: Name
    addresses: Text
    dns: Annotated[
        tuple[str, ...], Meta(description='a list of addresses such as ["10.0.0.53", "fd00::53"]')
    ] = ()
    subnets: OptionalPrefixes = ()
    domains: Annotated[
        tuple[Domain, ...], Meta(description='a list of domains such as ["corp.example"], or []')
    ] = ()


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
    connection: tuple[ConnectionConfig, ...] = ()
    pool: tuple[PoolConfig, ...] = ()
    trust: TrustConfig = TrustConfig()
    certificate: tuple[CertificateConfig, ...] = ()
    eap: EapConfig = EapConfig()
    radius: tuple[RadiusConfig, ...] = ()


class ClientSection(msgspec.Struct, frozen=True):
    """How the client connects, notices silence and tries again."""

    identity: Text
    remote_identity: Text
    gateways: Addresses
    auth: RemoteAuth = ("psk",)
    remote_auth: Annotated[
        Literal["psk", "certificate", "eap", "null"],
        Meta(description='"psk", "certificate", "eap" or "null"'),
    ] = "psk"
    psk_file: OptionalFile = ""
    ppk_file: OptionalFile = ""
    ppk_required: Annotated[bool, Meta(description="true or false")] = False
    gateways_nat: OptionalAddresses = ()
    """The same gateways where NATs let pass (`node.ports`)."""
    udp_encapsulation: Encapsulation = "auto"
    nat_keepalive_s: SecondsOrNever = 20.0
    fragment_octets: DatagramOctets = 1280
    mobike: Annotated[
        Literal["auto", "no-nats", "off"], Meta(description='"auto", "no-nats" or "off"')
    ] = "auto"
    initial_contact: Annotated[bool, Meta(description="true or false")] = True
    ticket_file: OptionalFile = ""
    eap_identity: Text = ""
    eap_password_file: OptionalFile = ""
    eap_methods: Annotated[
        tuple[Literal["tls", "mschapv2"], ...],
        Meta(description='a list of "tls" and "mschapv2"'),
    ] = ()
    eap_server_names: Annotated[
        tuple[str, ...], Meta(description='a list of host names, or ["*"], or []')
    ] = ()
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
    proposals: Proposals = CLIENT_PROPOSALS
    child_proposals: Proposals = CHILD_PROPOSALS
    local_ts: Prefixes = ANYWHERE
    remote_ts: Prefixes = ANYWHERE
    mode: Mode = "tunnel"
    follow_redirects: Annotated[
        Literal["never", "known", "any"], Meta(description='"never", "known" or "any"')
    ] = "known"
    request_addresses: Annotated[
        tuple[Family, ...], Meta(description="a list of 4 and 6, or []")
    ] = ()


class ClientConfig(msgspec.Struct, frozen=True):
    """Everything that is set for one client."""

    client: ClientSection
    trust: TrustConfig = TrustConfig()
    certificate: tuple[CertificateConfig, ...] = ()
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
