"""What etcd may do to a watch or a scan and rarely does, played by a server of our own; and TLS."""

import asyncio
import datetime
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import msgspec
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cluster.errors import Compacted, Unavailable
from cluster.store import Changes, Put, Txn
from cluster.store_etcd import EtcdOptions, EtcdStore, EtcdTls
from node.etcd_child import EtcdChild, TlsFiles, member_ports
from node.seams import OsClock
from proto.rpc.etcd import kv_pb2, rpc_pb2, rpc_pb2_grpc
from proto.secret import Secret

HANG_S = 60.0
PATIENCE_S = 20.0
"""For one attempt: a watch that a busy machine begins late would be asked for once more."""


def events(*revisions: int) -> list[kv_pb2.Event]:
    return [
        kv_pb2.Event(kv=kv_pb2.KeyValue(key=b"/k", value=b"v", mod_revision=r, version=1))
        for r in revisions
    ]


def answer(
    revision: int, *revisions: int, fragment: bool = False, created: bool = False
) -> rpc_pb2.WatchResponse:
    return rpc_pb2.WatchResponse(
        header=rpc_pb2.ResponseHeader(revision=revision),
        events=events(*revisions),
        fragment=fragment,
        created=created,
    )


class ScriptedWatch(rpc_pb2_grpc.WatchServicer):
    """Plays one script per stream, then breaks the stream; the last one's stays open."""

    def __init__(self, scripts: list[list[rpc_pb2.WatchResponse]]) -> None:
        self.scripts = scripts
        self.asked: list[int] = []
        self.headers: list[dict[str, str]] = []

    async def Watch(  # noqa: N802 - the service's name for it
        self, requests: AsyncIterator[rpc_pb2.WatchRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[rpc_pb2.WatchResponse]:
        request = await anext(requests)
        self.headers.append(dict(context.invocation_metadata()))
        number = len(self.asked)
        self.asked.append(request.create_request.start_revision)
        for response in self.scripts[number]:
            yield response
        if number + 1 < len(self.scripts):
            await context.abort(grpc.StatusCode.UNAVAILABLE, "etcdserver: no leader")
        await asyncio.Event().wait()


class Played(msgspec.Struct):
    """What came out, and what the server was asked."""

    batches: list[Changes]
    watch: ScriptedWatch


async def play(
    scripts: list[list[rpc_pb2.WatchResponse]], from_revision: int, count: int
) -> Played:
    """Watches a scripted server until `count` changes have come."""
    service = ScriptedWatch(scripts)
    server = grpc.aio.server()
    rpc_pb2_grpc.add_WatchServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    options = EtcdOptions((f"127.0.0.1:{port}",), PATIENCE_S, 2 * PATIENCE_S)
    store = EtcdStore(options, OsClock())
    batches: list[Changes] = []
    try:
        async with asyncio.timeout(HANG_S):
            async for changes in store.watch(b"/", from_revision):
                batches.append(changes)
                if sum(len(batch.changes) for batch in batches) >= count:
                    break
    finally:
        await store.close()
        await server.stop(None)
    return Played(batches, service)


def revisions(played: Played) -> list[list[int]]:
    return [[c.entry.mod_revision for c in batch.changes] for batch in played.batches]


async def test_fragments_are_put_together_before_anything_is_told() -> None:
    script = [
        answer(50, created=True),
        answer(50, 10, 11, fragment=True),
        answer(50, 11, 11, fragment=True),
        answer(50, 11, 12),
        answer(50, 13),
    ]
    played = await play([script], 10, 7)
    assert revisions(played) == [[10, 11, 11, 11, 11, 12], [13]]
    assert [batch.revision for batch in played.batches] == [12, 13]


async def test_a_stream_that_breaks_inside_a_revision_starts_that_revision_anew() -> None:
    broken = [answer(50, created=True), answer(50, 10), answer(50, 11, 11, fragment=True)]
    whole = [answer(50, created=True), answer(50, 11, 11, 11)]
    played = await play([broken, whole], 10, 4)
    assert revisions(played) == [[10], [11, 11, 11]]


async def test_a_watch_resumes_after_its_last_event_not_after_a_header() -> None:
    """It asks one revision early and drops what it had."""
    first = [answer(100, created=True), answer(100, 10, 12)]
    second = [answer(200, created=True), answer(200, 12, 15)]
    played = await play([first, second], 10, 3)
    assert revisions(played) == [[10, 12], [15]]
    assert played.watch.asked == [9, 12]


async def test_a_progress_notification_moves_the_point_to_resume_from() -> None:
    first = [answer(100, created=True), answer(100, 10), answer(90)]
    second = [answer(200, created=True), answer(200, 95)]
    played = await play([first, second], 10, 2)
    assert revisions(played) == [[10], [95]]
    assert played.watch.asked == [9, 90]


async def test_a_watch_wants_a_member_with_a_leader() -> None:
    played = await play([[answer(9, created=True), answer(9, 5)]], 1, 1)
    assert played.watch.headers[0]["hasleader"] == "true"
    assert played.watch.asked == [1]


async def test_compaction_after_a_break_is_said_so() -> None:
    first = [answer(100, created=True), answer(100, 10)]
    gone = rpc_pb2.WatchResponse(canceled=True, compact_revision=40)
    with pytest.raises(Compacted) as caught:
        await play([first, [answer(100, created=True), gone]], 10, 2)
    assert caught.value.compact_revision == 40


# -- a scan


class Exchanged(rpc_pb2_grpc.KVServicer):
    """Gives the first page of a scan; then an older copy of the data is there."""

    async def Range(  # noqa: N802 - the service's name for it
        self, request: rpc_pb2.RangeRequest, context: grpc.aio.ServicerContext
    ) -> rpc_pb2.RangeResponse:
        header = rpc_pb2.ResponseHeader(revision=4 if request.revision else 10)
        if request.revision > header.revision:
            words = "etcdserver: mvcc: required revision is a future revision"
            await context.abort(grpc.StatusCode.OUT_OF_RANGE, words)
        entry = kv_pb2.KeyValue(key=b"/k", value=b"v", mod_revision=9, version=1)
        return rpc_pb2.RangeResponse(header=header, kvs=[entry], more=True)


@asynccontextmanager
async def an_exchanged_etcd() -> AsyncIterator[str]:
    """Its address."""
    server = grpc.aio.server()
    rpc_pb2_grpc.add_KVServicer_to_server(Exchanged(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


async def test_a_store_that_goes_back_during_a_scan_is_not_there() -> None:
    async with an_exchanged_etcd() as address:
        store = EtcdStore(EtcdOptions((address,), PATIENCE_S, 2 * PATIENCE_S), OsClock())
        with pytest.raises(Unavailable, match="went back behind revision 10"):
            await store.scan(b"/")
        await store.close()


# -- TLS


def issue(
    name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A certificate for loopback, of its own or under `issuer`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer[0].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer is not None:
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = builder.add_extension(
            x509.SubjectAlternativeName([address]), critical=False
        ).add_extension(
            x509.ExtendedKeyUsage(
                [x509.ExtendedKeyUsageOID.SERVER_AUTH, x509.ExtendedKeyUsageOID.CLIENT_AUTH]
            ),
            critical=False,
        )
    return builder.sign(key if issuer is None else issuer[1], hashes.SHA256()), key


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


class TlsEtcd(msgspec.Struct):
    """An etcd that wants client certificates, and its CA."""

    child: EtcdChild
    ca: tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


@pytest_asyncio.fixture
async def tls_etcd(tmp_path: Path) -> AsyncIterator[TlsEtcd]:
    ca = issue("test CA")
    certificate, key = issue("etcd", ca)
    files = TlsFiles(tmp_path / "ca", tmp_path / "cert", tmp_path / "key")
    files.ca.write_bytes(pem(ca[0]))
    files.cert.write_bytes(pem(certificate))
    files.key.write_bytes(key_pem(key))
    child = EtcdChild(tmp_path / "etcd", member_ports(1), tls=files)
    await child.start()
    yield TlsEtcd(child, ca)
    await child.stop()


async def test_a_member_with_a_certificate_is_let_in(tls_etcd: TlsEtcd) -> None:
    certificate, key = issue("gw1", tls_etcd.ca)
    tls = EtcdTls(pem(tls_etcd.ca[0]), pem(certificate), Secret(key_pem(key)))
    options = EtcdOptions(tls_etcd.child.endpoints, PATIENCE_S, 2 * PATIENCE_S)
    store = EtcdStore(options, OsClock(), tls)
    await store.commit(Txn(success=(Put(b"/k", b"v"),)))
    entry = await store.get(b"/k")
    assert entry is not None
    assert entry.value == b"v"
    await store.close()


async def test_a_certificate_of_another_authority_is_kept_out(tls_etcd: TlsEtcd) -> None:
    certificate, key = issue("stranger", issue("another CA"))
    tls = EtcdTls(pem(tls_etcd.ca[0]), pem(certificate), Secret(key_pem(key)))
    options = EtcdOptions(tls_etcd.child.endpoints, total_timeout_s=1.0)
    store = EtcdStore(options, OsClock(), tls)
    with pytest.raises(Unavailable):
        await store.get(b"/k")
    with pytest.raises(Unavailable):
        await store.commit(Txn(success=(Put(b"/k", b"v"),)))
    await store.close()
