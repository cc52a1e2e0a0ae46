"""The connections to etcd's members, and what a failed call means.

Rules: one channel per member, so that one stuck member costs one attempt and not the service;
every call has a deadline; a stopped peer is noticed by pings with a timeout of their own (without
`grpc.http2.ping_timeout_ms` it takes a minute); when a member says that it has no leader we don't
wait for one but ask the next member.
"""

import enum
from typing import Protocol

import grpc
import grpc.aio
import msgspec

from cluster.errors import Trouble
from proto.rpc.etcd import rpc_pb2
from proto.secret import Secret

REQUIRE_LEADER = (("hasleader", "true"),)
"""A member without a leader refuses at once instead of letting the call wait for its deadline."""

RECONNECT_MIN_MS = 100
RECONNECT_MAX_MS = 1000
CONNECT_TIMEOUT_MS = 1000


class EtcdTls(msgspec.Struct, frozen=True):
    """PEM octets; `server_name` when the members' certificates name something else than their
    addresses."""

    ca: bytes
    cert: bytes
    key: Secret
    server_name: str = ""


class EtcdOptions(msgspec.Struct, frozen=True):
    """Where etcd is, and how long to wait for it.

    `attempt_timeout_s` is what one member gets for one call, `total_timeout_s` what all of them
    get together. An etcd that allows pings less often than `ping_interval_s`
    (`--grpc-keepalive-min-time`, by default 5 s) closes the connection a few times until gRPC has
    slowed down by itself; watches go on elsewhere meanwhile.
    """

    endpoints: tuple[str, ...]
    attempt_timeout_s: float = 0.5
    total_timeout_s: float = 5.0
    ping_interval_s: float = 1.0
    ping_timeout_s: float = 1.0


class Failure(enum.Enum):
    """What a failed call tells."""

    NOT_DONE = "not done"
    """Nothing happened; another member, or the same later, may do it."""
    IN_DOUBT = "in doubt"
    """It may have happened."""
    MISUSE = "misuse"
    """Refused, and will be again: the request is against the rules."""
    FUTURE = "future"
    """Refused: etcd hasn't come to that revision, or not any more."""
    NO_LEASE = "no lease"
    """Refused: the lease is gone."""
    NO_SPACE = "no space"
    """Refused: the database is full until an operator helps."""
    COMPACTED = "compacted"
    """Refused: that history is gone."""
    DENIED = "denied"
    """Refused: etcd does not let us."""


_BY_CODE = {
    grpc.StatusCode.INVALID_ARGUMENT: Failure.MISUSE,
    grpc.StatusCode.NOT_FOUND: Failure.NO_LEASE,
    grpc.StatusCode.OUT_OF_RANGE: Failure.COMPACTED,
    grpc.StatusCode.PERMISSION_DENIED: Failure.DENIED,
    grpc.StatusCode.UNAUTHENTICATED: Failure.DENIED,
}
_NOT_DONE = (
    "etcdserver: no leader",
    "etcdserver: too many requests",
    "etcdserver: not capable",
    "failed to connect to all addresses",
)


_CERTIFICATE_WORDS = ("CERTIFICATE_VERIFY_FAILED", "Ssl handshake failed", "Unwrap failed")
"""Of gRPC: their certificate is out of its time or another's; or, by an alert that comes when TLS
1.3 seems to stand already, they say so of ours."""

_WHO_ARE_YOU = (
    "etcdserver: user name",
    "etcdserver: authentication",
    "etcdserver: invalid auth token",
    "etcdserver: permission denied",
)
"""Refusals of an etcd with access control, some of them in the guise of misuse."""


class CallFailed(Protocol):
    """What both of gRPC's Python clients tell of a failed call."""

    def code(self) -> grpc.StatusCode:
        """The status."""
        ...

    def details(self) -> str | None:
        """The words that came with it."""
        ...


def failure_of(error: CallFailed) -> Failure:
    """What `error` tells; anything that isn't certain is IN_DOUBT."""
    details = error.details() or ""
    if details.startswith(_NOT_DONE):
        return Failure.NOT_DONE
    if details.startswith(_WHO_ARE_YOU):
        return Failure.DENIED
    if "database space exceeded" in details:
        return Failure.NO_SPACE
    if "future revision" in details:
        return Failure.FUTURE
    return _BY_CODE.get(error.code(), Failure.IN_DOUBT)


def trouble_of(error: CallFailed) -> Trouble:
    """The name of what `error` tells, for people."""
    details = error.details() or ""
    kind = failure_of(error)
    if kind is Failure.NO_SPACE:
        return Trouble.NO_SPACE
    if kind is Failure.DENIED:
        return Trouble.DENIED
    if "no leader" in details or "leader changed" in details:
        return Trouble.NO_LEADER
    if any(word in details for word in _CERTIFICATE_WORDS):
        return Trouble.CERTIFICATE
    return Trouble.NO_ANSWER


def describe(error: CallFailed) -> str:
    """One line for a person."""
    return f"{error.code().name}: {error.details() or 'no details'}"


class Endpoint:
    """One member's address, channel and calls. `member_id` is 0 until the member told it."""

    def __init__(self, address: str, options: EtcdOptions, tls: EtcdTls | None) -> None:
        self.address = address
        self.member_id = 0
        self._channel = _channel(address, options, tls)
        unary = self._channel.unary_unary
        self.txn = unary("/etcdserverpb.KV/Txn", None, rpc_pb2.TxnResponse.FromString)
        self.range = unary(
            "/etcdserverpb.KV/Range",
            rpc_pb2.RangeRequest.SerializeToString,
            rpc_pb2.RangeResponse.FromString,
        )
        self.compact = unary(
            "/etcdserverpb.KV/Compact",
            rpc_pb2.CompactionRequest.SerializeToString,
            rpc_pb2.CompactionResponse.FromString,
        )
        self.grant = unary(
            "/etcdserverpb.Lease/LeaseGrant",
            rpc_pb2.LeaseGrantRequest.SerializeToString,
            rpc_pb2.LeaseGrantResponse.FromString,
        )
        self.revoke = unary(
            "/etcdserverpb.Lease/LeaseRevoke",
            rpc_pb2.LeaseRevokeRequest.SerializeToString,
            rpc_pb2.LeaseRevokeResponse.FromString,
        )
        self.time_to_live = unary(
            "/etcdserverpb.Lease/LeaseTimeToLive",
            rpc_pb2.LeaseTimeToLiveRequest.SerializeToString,
            rpc_pb2.LeaseTimeToLiveResponse.FromString,
        )
        self.status = unary(
            "/etcdserverpb.Maintenance/Status",
            rpc_pb2.StatusRequest.SerializeToString,
            rpc_pb2.StatusResponse.FromString,
        )
        self.keep_alive = self._channel.stream_stream(
            "/etcdserverpb.Lease/LeaseKeepAlive",
            rpc_pb2.LeaseKeepAliveRequest.SerializeToString,
            rpc_pb2.LeaseKeepAliveResponse.FromString,
        )
        self.watch = self._channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            rpc_pb2.WatchRequest.SerializeToString,
            rpc_pb2.WatchResponse.FromString,
        )

    def ready(self) -> bool:
        """Whether the connection stands; starts it if it doesn't."""
        state = self._channel.get_state(try_to_connect=True)
        return state is grpc.ChannelConnectivity.READY

    async def close(self) -> None:
        """Ends every call."""
        await self._channel.close(None)


def channel_arguments(options: EtcdOptions) -> list[tuple[str, str | int]]:
    """gRPC's settings of a connection to one member."""
    return [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
        ("grpc.enable_retries", 0),
        ("grpc.keepalive_time_ms", round(options.ping_interval_s * 1000)),
        ("grpc.keepalive_timeout_ms", round(options.ping_timeout_s * 1000)),
        ("grpc.http2.ping_timeout_ms", round(options.ping_timeout_s * 1000)),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", RECONNECT_MIN_MS),
        ("grpc.min_reconnect_backoff_ms", CONNECT_TIMEOUT_MS),
        ("grpc.max_reconnect_backoff_ms", RECONNECT_MAX_MS),
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
    ]


def _channel(address: str, options: EtcdOptions, tls: EtcdTls | None) -> grpc.aio.Channel:
    arguments = channel_arguments(options)
    if tls is None:
        return grpc.aio.insecure_channel(address, options=arguments)
    if tls.server_name:
        arguments.append(("grpc.ssl_target_name_override", tls.server_name))
        arguments.append(("grpc.default_authority", tls.server_name))
    credentials = grpc.ssl_channel_credentials(tls.ca, tls.key.octets, tls.cert)
    return grpc.aio.secure_channel(address, credentials, options=arguments)
