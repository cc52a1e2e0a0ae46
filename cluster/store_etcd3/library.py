"""The `etcd3` package (0.12.0), made to load, and the part of it that is used, with types.

Rules: the only file that imports the package. It is imported when a store is made and not before:
it is an optional extra.

Why it needs help: its own generated stubs were made in 2020, and protobuf refuses them since 4.21
("Descriptors cannot be created directly"). Ours are made from the same .proto files, with the same
names, so they stand in: they are put where the package looks for its own before it is imported.
Nor could both be loaded: protobuf knows each message's name once in a process.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import ModuleType
from typing import Protocol

import grpc
import msgspec

from cluster.store_etcd.channels import REQUIRE_LEADER, EtcdOptions, channel_arguments
from proto.rpc.etcd import auth_pb2, kv_pb2, rpc_pb2, rpc_pb2_grpc

STUBS = "etcd3.etcdrpc"
"""Where the package looks for generated code."""

Metadata = tuple[tuple[str, str], ...]


class Etcd3Files(msgspec.Struct, frozen=True):
    """PEM files for TLS: the package reads them itself. `server_name` when the member's
    certificate names something else than its address."""

    ca: str
    cert: str
    key: str
    server_name: str = ""


class KvStub(Protocol):
    """etcd's KV service, blocking; `timeout` in seconds."""

    def Txn(  # noqa: N802 - the service's name for it
        self, request: rpc_pb2.TxnRequest, timeout: float, *, metadata: Metadata
    ) -> rpc_pb2.TxnResponse: ...

    def Range(  # noqa: N802 - the service's name for it
        self, request: rpc_pb2.RangeRequest, timeout: float, *, metadata: Metadata
    ) -> rpc_pb2.RangeResponse: ...


class LeaseStub(Protocol):
    """etcd's Lease service."""

    def LeaseTimeToLive(  # noqa: N802 - the service's name for it
        self, request: rpc_pb2.LeaseTimeToLiveRequest, timeout: float, *, metadata: Metadata
    ) -> rpc_pb2.LeaseTimeToLiveResponse: ...


class MaintenanceStub(Protocol):
    """etcd's Maintenance service."""

    def Status(  # noqa: N802 - the service's name for it
        self, request: rpc_pb2.StatusRequest, timeout: float, *, metadata: Metadata
    ) -> rpc_pb2.StatusResponse: ...


class WatchCall(Protocol):
    """A stream of a watch, blocking."""

    def __iter__(self) -> Iterator[rpc_pb2.WatchResponse]: ...

    def cancel(self) -> bool: ...


class WatchStub(Protocol):
    """etcd's Watch service."""

    def Watch(  # noqa: N802 - the service's name for it
        self, requests: Iterator[rpc_pb2.WatchRequest], *, credentials: None, metadata: Metadata
    ) -> WatchCall: ...


class GrantedLease(Protocol):
    """`etcd3.Lease`."""

    id: int
    ttl: int


class Etcd3Client(Protocol):
    """`etcd3.Etcd3Client`: every method blocks for at most the timeout it was made with."""

    metadata: Metadata | None
    channel: grpc.Channel
    kvstub: KvStub
    leasestub: LeaseStub
    maintenancestub: MaintenanceStub

    def get_response(self, key: bytes) -> rpc_pb2.RangeResponse: ...

    def lease(self, ttl: int, lease_id: int) -> GrantedLease: ...

    def revoke_lease(self, lease_id: int) -> None: ...

    def refresh_lease(self, lease_id: int) -> Iterable[rpc_pb2.LeaseKeepAliveResponse]: ...

    def compact(self, revision: int) -> None: ...

    def close(self) -> None: ...


class WatchEvent(Protocol):
    """`etcd3.events.Event`."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int


class WatchAnswer(Protocol):
    """`etcd3.watch.WatchResponse`: an answer with events, or a progress notification."""

    header: rpc_pb2.ResponseHeader
    events: list[WatchEvent]


class Watcher(Protocol):
    """`etcd3.watch.Watcher`: a thread that reads one stream and tells callbacks."""

    def add_callback(
        self,
        key: bytes,
        callback: Callable[[WatchAnswer | Exception], None],
        range_end: bytes,
        start_revision: int,
        progress_notify: bool,
    ) -> int: ...

    def cancel(self, watch_id: int) -> None: ...


class Streams(Protocol):
    """What a watcher makes of a stub: one stream after the other."""

    def Watch(  # noqa: N802 - the service's name for it
        self, requests: Iterator[rpc_pb2.WatchRequest], *, credentials: None, metadata: Metadata
    ) -> Iterable[rpc_pb2.WatchResponse]: ...


class MakeWatcher(Protocol):
    """The constructor of `etcd3.watch.Watcher`."""

    def __call__(self, watchstub: Streams, *, timeout: float, metadata: Metadata) -> Watcher: ...


class NoMoreStreams(Exception):
    """Raised by a `Streams`: the watcher's thread is to end."""


class Library(msgspec.Struct, frozen=True):
    """What is used of the package."""

    client: Callable[..., Etcd3Client]
    watcher: MakeWatcher
    failure: type[Exception]
    """Base of the package's own errors."""
    compacted: type[Exception]
    """Has `compacted_revision`."""
    delete_event: type[WatchEvent]


def load() -> Library:
    """The package. Raises ImportError: not installed, or loaded already with its own stubs."""
    if STUBS not in sys.modules:
        sys.modules[STUBS] = _stubs()
    import etcd3  # noqa: PLC0415 - only where it is wanted, and after its stubs
    import etcd3.events  # noqa: PLC0415
    import etcd3.exceptions  # noqa: PLC0415
    import etcd3.watch  # noqa: PLC0415

    if etcd3.etcdrpc.TxnRequest is not rpc_pb2.TxnRequest:
        raise ImportError("etcd3 was imported with stubs of its own before the store was made")

    class EndingWatcher(etcd3.watch.Watcher):  # type: ignore[misc] # it has no types
        """The package's watcher; the thread of the original has no end."""

        def _run(self) -> None:
            with suppress(NoMoreStreams):
                super()._run()

    return Library(
        client=etcd3.Etcd3Client,
        watcher=EndingWatcher,
        failure=etcd3.Etcd3Exception,
        compacted=etcd3.exceptions.RevisionCompactedError,
        delete_event=etcd3.events.DeleteEvent,
    )


def connect(library: Library, options: EtcdOptions, files: Etcd3Files | None) -> Etcd3Client:
    """A client of the one member. Raises ValueError, OSError (a file)."""
    if len(options.endpoints) != 1:
        raise ValueError(f"the etcd3 package knows one endpoint, not {len(options.endpoints)}")
    host, _, port = options.endpoints[0].rpartition(":")
    arguments = channel_arguments(options)
    if files is not None and files.server_name:
        arguments.append(("grpc.ssl_target_name_override", files.server_name))
        arguments.append(("grpc.default_authority", files.server_name))
    client = library.client(
        host=host,
        port=int(port),
        timeout=options.attempt_timeout_s,
        ca_cert=None if files is None else files.ca,
        cert_cert=None if files is None else files.cert,
        cert_key=None if files is None else files.key,
        grpc_options=arguments,
    )
    client.metadata = REQUIRE_LEADER
    return client


def watch_stub(client: Etcd3Client) -> WatchStub:
    """The stub that the package's watcher is made from."""
    stub: WatchStub = rpc_pb2_grpc.WatchStub(client.channel)
    return stub


def _stubs() -> ModuleType:
    """All generated names in one module, as the package's own `etcdrpc` has them."""
    stubs = ModuleType(STUBS, "Standfast's generated code in place of the package's.")
    for module in (kv_pb2, auth_pb2, rpc_pb2, rpc_pb2_grpc):
        for name, value in vars(module).items():
            if not name.startswith("_"):
                setattr(stubs, name, value)
    return stubs
