"""node.admin over a real gRPC server with mutual TLS: who may ask what, and where answers are."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

import grpc
import grpc.aio
import msgspec
import pytest

from cluster.errors import ClusterError, Unavailable, Unknown
from cluster.keyring import RingPolicy, announce, new_ring
from cluster.rewrap import HeldBy
from node.admin import (
    BATCH_SESSIONS,
    AdminService,
    ClusterStatus,
    KeyInfo,
    MemberInfo,
    RotationStep,
    SessionInfo,
    add_admin,
    key_infos,
)
from node.admin_client import AdminClient, AdminError, NotFound, Unreachable, load_credentials
from node.admin_view import Command, RevocationInfo, Revoke, Revoked
from node.admin_wire import (
    decode_key,
    decode_session,
    decode_status,
    decode_step,
    encode_key,
    encode_session,
    encode_status,
    encode_step,
)
from node.pki import Authority, Issued
from node.seams import OsClock, OsRng
from node.supervisor import Supervisor
from proto.rpc import admin_pb2

NOW = 1_800_000_000.0
"""In the certificates' time: gRPC checks them against the real clock."""


def session(number: int, member: str) -> SessionInfo:
    return SessionInfo(
        spi_i=b"i" + number.to_bytes(7, "big"),
        spi_r=b"r" + number.to_bytes(7, "big"),
        chain=number.to_bytes(16, "big"),
        generation=2,
        identity="rfc822:alice@example.com",
        peer_address="127.0.0.1:40000",
        how="resumed",
        suite="aes256gcm16-prfsha256-x25519",
        established_wall_s=NOW,
        expires_wall_s=NOW + 3600,
        member=member,
    )


class FakeView:
    """A process with sessions and a ring, and nothing else."""

    def __init__(self, name: str, numbers: Sequence[int]) -> None:
        self.name = name
        self.held = [session(number, name) for number in numbers]
        self.others: dict[str, str] = {}
        self.failure: ClusterError | None = None
        self.starting = False
        self.go_on = asyncio.Event()
        self.rotated = asyncio.Event()
        self.rotations = 0
        self.asked: list[tuple[object, ...]] = []
        self.noted: list[tuple[Command, str, dict[str, object], str]] = []
        self.kek_ids = (b"kek-old.", b"kek-new.")
        self.stored: tuple[bytes, ...] = ()
        self.ring = announce(new_ring(OsRng(), NOW, RingPolicy()), OsRng(), NOW + 1, RingPolicy())

    def check_ready(self) -> None:
        if self.starting:
            raise Unavailable("this member is starting")

    def note(
        self, command: Command, who: str, about: Mapping[str, object], failed: str = ""
    ) -> None:
        self.noted.append((command, who, dict(about), failed))

    def status(self) -> ClusterStatus:
        members = (
            MemberInfo("gw1", "host-1", "aa", "normal", ("127.0.0.1:5001",), "127.0.0.1:7401", 32),
            MemberInfo("gw2", state="suspected", heartbeat_age_s=1.5),
        )
        return ClusterStatus(
            "sample", self.name, "normal", "normal", 1, "etcd", "ok", 7, 64, 63, members
        )

    def sessions(self) -> Sequence[SessionInfo]:
        return tuple(self.held)

    async def terminate(self, spi_r: bytes) -> bool:
        if self.failure is not None:
            raise self.failure
        before = len(self.held)
        self.held = [one for one in self.held if one.spi_r != spi_r]
        return len(self.held) < before

    def keys(self) -> Sequence[KeyInfo]:
        return key_infos(self.ring)

    async def rotate(self, progress: Callable[[str], None], *, force: bool) -> None:
        self.asked.append(("rotate", force))
        progress("announced: key 0102")
        await self.go_on.wait()
        if self.failure is not None:
            raise self.failure
        progress("activated: key 0102")
        self.rotations += 1
        self.rotated.set()

    async def cancel_rotation(self) -> str:
        if self.failure is not None:
            raise self.failure
        self.asked.append(("cancel",))
        return "0102030405060708"

    async def revoke_key(self, key: str, progress: Callable[[str], None]) -> None:
        self.asked.append(("revoke", key))
        progress(f"revoked: key {key}")
        if self.failure is not None:
            raise self.failure

    async def read_keks(self) -> Sequence[bytes]:
        if self.failure is not None:
            raise self.failure
        return self.kek_ids

    async def rewrap(self, kek_id: bytes, held_by: HeldBy, progress: Callable[[str], None]) -> None:
        held = await held_by()
        self.asked.append(("rewrap", kek_id))
        progress(f"held by {sorted(name for name in held if kek_id in held[name])}")

    def concerned(self, what: Revoke) -> int:
        return sum(what.chain == one.chain for one in self.held)

    async def stands(self, chain: bytes) -> bool:
        return chain in self.stored

    async def revoke(self, what: Revoke) -> str:
        if self.failure is not None:
            raise self.failure
        self.asked.append(("void", what))
        return "0102"

    def revocations(self) -> Sequence[RevocationInfo]:
        return [RevocationInfo("0102", "session", "aa", 0.0, NOW, NOW + 1)]

    def peers(self) -> Mapping[str, str]:
        return self.others


class Pki:
    """Certificates of a cluster, as credentials."""

    def __init__(self, folder: Path, cluster: str = "sample") -> None:
        self.folder = folder
        self.authority = Authority(cluster, _now())

    def server(self, name: str) -> grpc.ServerCredentials:
        issued = self.authority.member(name)
        return grpc.ssl_server_credentials(
            [(issued.key.octets, issued.certificate)],
            self.authority.issued.certificate,
            require_client_auth=True,
        )

    def client(self, issued: Issued) -> grpc.ChannelCredentials:
        paths = [self.folder / name for name in ("ca", "crt", "key")]
        octets = (self.authority.issued.certificate, issued.certificate, issued.key.octets)
        for path, content in zip(paths, octets, strict=True):
            path.write_bytes(content)
        return load_credentials(*map(str, paths))

    def operator(self) -> grpc.ChannelCredentials:
        return self.client(self.authority.operator("admin"))

    def member(self, name: str) -> grpc.ChannelCredentials:
        return self.client(self.authority.member(name))


def _now() -> float:
    return OsClock().wall_s()


class Cluster:
    """Two members, each with an admin server of its own."""

    def __init__(self, pki: Pki) -> None:
        self.pki = pki
        self.views = {"gw1": FakeView("gw1", range(3)), "gw2": FakeView("gw2", range(100, 102))}
        self.servers: dict[str, grpc.aio.Server] = {}
        self.addresses: dict[str, str] = {}
        self.supervisor = Supervisor()

    async def start(self) -> None:
        for name, view in self.views.items():
            server = grpc.aio.server()
            service = AdminService(view, "sample", self.pki.member(name), self.supervisor.spawn)
            add_admin(server, service)
            port = server.add_secure_port("127.0.0.1:0", self.pki.server(name))
            await server.start()
            self.servers[name] = server
            self.addresses[name] = f"127.0.0.1:{port}"
        for name, view in self.views.items():
            view.others = {n: a for n, a in self.addresses.items() if n != name}

    async def stop(self) -> None:
        for server in self.servers.values():
            await server.stop(None)
        await self.supervisor.stop()

    def client(self, credentials: grpc.ChannelCredentials, name: str = "gw1") -> AdminClient:
        return AdminClient((self.addresses[name],), credentials)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    cluster = Cluster(Pki(tmp_path))
    await cluster.start()
    yield cluster
    await cluster.stop()


async def test_an_operator_sees_the_cluster(cluster: Cluster) -> None:
    async with cluster.client(cluster.pki.operator()) as client:
        assert await client.status() == cluster.views["gw1"].status()
        listed = await client.sessions()
        assert [one.spi_r for one in listed.sessions] == [
            one.spi_r for view in cluster.views.values() for one in view.held
        ]
        assert listed.unreachable == ()
        assert len((await client.sessions(local_only=True)).sessions) == 3


async def test_a_long_list_comes_in_batches(cluster: Cluster) -> None:
    numbers = range(2 * BATCH_SESSIONS + 1)
    cluster.views["gw2"].held = [session(number, "gw2") for number in numbers]
    async with cluster.client(cluster.pki.operator()) as client:
        listed = await client.sessions()
    assert len(listed.sessions) == 3 + len(numbers)


async def test_a_member_that_does_not_answer_is_named(cluster: Cluster) -> None:
    await cluster.servers["gw2"].stop(None)
    async with cluster.client(cluster.pki.operator()) as client:
        listed = await client.sessions()
        assert listed.unreachable == ("gw2",)
        assert len(listed.sessions) == 3
        with pytest.raises(AdminError, match=r"gw2 did not") as caught:
            await client.show(session(100, "gw2").spi_r)
    assert not isinstance(caught.value, NotFound)


@pytest.mark.parametrize("which", ["spi_i", "spi_r"])
@pytest.mark.parametrize(("number", "owner"), [(1, "gw1"), (100, "gw2")])
async def test_a_session_is_shown_by_either_spi_wherever_it_is(
    cluster: Cluster, which: str, number: int, owner: str
) -> None:
    wanted = session(number, owner)
    async with cluster.client(cluster.pki.operator()) as client:
        assert await client.show(getattr(wanted, which)) == wanted


async def test_what_is_nowhere_is_not_found(cluster: Cluster) -> None:
    async with cluster.client(cluster.pki.operator()) as client:
        with pytest.raises(NotFound, match="no session 0000000000000000"):
            await client.show(bytes(8))
        with pytest.raises(NotFound):
            await client.terminate(bytes(8))
        assert cluster.views["gw1"].noted == []
        with pytest.raises(AdminError, match="3 octets → 8 octets"):
            await client.show(b"abc")


async def test_terminate_reaches_the_owner(cluster: Cluster) -> None:
    async with cluster.client(cluster.pki.operator()) as client:
        assert await client.terminate(session(101, "gw2").spi_i) == "gw2"
        assert await client.terminate(session(0, "gw1").spi_r) == "gw1"
    assert [one.spi_r for one in cluster.views["gw2"].held] == [session(100, "gw2").spi_r]
    assert len(cluster.views["gw1"].held) == 2
    there = {"spi": session(101, "gw2").spi_i.hex(), "member": "gw2"}
    here = {"spi": session(0, "gw1").spi_r.hex(), "member": "gw1"}
    assert cluster.views["gw1"].noted == [
        (Command.TERMINATE, "admin", there, ""),
        (Command.TERMINATE, "admin", here, ""),
    ]
    assert [who for _, who, _, _ in cluster.views["gw2"].noted] == ["admin through gw1"]


async def test_a_failure_of_the_cluster_is_one_line(cluster: Cluster) -> None:
    cluster.views["gw1"].failure = Unavailable("the store did not answer in 3 s")
    async with cluster.client(cluster.pki.operator()) as client:
        with pytest.raises(AdminError, match=r"^the store did not answer in 3 s; nothing was ch"):
            await client.terminate(session(0, "gw1").spi_r)
        cluster.views["gw1"].failure = Unknown("etcd at a: no answer")
        tells = "it may have been carried out, or not: see `standfast sessions list`"
        with pytest.raises(AdminError, match=f"^etcd at a: no answer; {tells}$"):
            await client.terminate(session(0, "gw1").spi_r)
    assert cluster.views["gw1"].noted[1][3] == f"etcd at a: no answer; {tells}"


async def test_a_member_that_starts_says_so_whatever_it_is_asked(cluster: Cluster) -> None:
    cluster.views["gw1"].starting = True
    spi = session(0, "gw1").spi_r
    async with cluster.client(cluster.pki.operator()) as client:

        async def rotate() -> None:
            async for _ in client.rotate():
                pass

        questions = (
            client.status, client.sessions, client.keys, rotate,
            lambda: client.show(spi), lambda: client.terminate(spi),
        )  # fmt: skip
        for question in questions:
            with pytest.raises(AdminError, match=r"^this member is starting$"):
                await question()


async def test_a_member_may_ask_only_what_is_not_asked_on(cluster: Cluster) -> None:
    spi = session(0, "gw1").spi_r
    async with cluster.client(cluster.pki.member("gw2")) as client:
        assert (await client.status()).member == "gw1"
        assert len((await client.sessions(local_only=True)).sessions) == 3
        assert (await client.show(spi, local_only=True)).spi_r == spi
        assert await client.keys()
        assert await client.read_keks() == (b"kek-old.", b"kek-new.")
        for refused in (
            client.sessions(),
            client.show(spi),
            client.terminate(spi),
            anext(client.rotate()),
            client.cancel_rotation(),
            anext(client.revoke_key("0102")),
            anext(client.rewrap(b"kek-new.")),
        ):
            with pytest.raises(AdminError, match=r"member gw2 of sample.*operator's"):
                await refused
        assert len(cluster.views["gw1"].held) == 3
        assert await client.terminate(spi, local_only=True) == "gw1"


async def test_nobody_else_may_ask_anything(cluster: Cluster) -> None:
    issued = cluster.pki.authority.etcd("etcd1")
    async with cluster.client(cluster.pki.client(issued)) as client:
        for refused in (
            client.status(),
            client.sessions(local_only=True),
            client.show(bytes(8), local_only=True),
            client.terminate(session(0, "gw1").spi_r, local_only=True),
            client.keys(),
            anext(client.rotate()),
            client.cancel_rotation(),
            anext(client.revoke_key("0102")),
            client.read_keks(),
            anext(client.rewrap(b"kek-new.")),
        ):
            with pytest.raises(AdminError, match="certificate shown is of etcd etcd1"):
                await refused
    assert len(cluster.views["gw1"].held) == 3
    assert cluster.views["gw1"].rotations == 0


async def test_another_clusters_operator_is_refused(cluster: Cluster) -> None:
    """The same authority may have signed for two clusters."""
    other = Authority("other", _now())
    other._key, other._name = cluster.pki.authority._key, cluster.pki.authority._name
    async with cluster.client(cluster.pki.client(other.operator("admin"))) as client:
        with pytest.raises(AdminError, match="operator admin of other"):
            await client.status()


async def test_another_authoritys_operator_reaches_nobody(cluster: Cluster, tmp_path: Path) -> None:
    stranger = Pki(tmp_path)
    with pytest.raises(Unreachable, match="no member answers"):
        async with cluster.client(stranger.operator()) as client:
            await client.status()


async def test_the_first_address_that_answers_is_taken(cluster: Cluster) -> None:
    await cluster.servers["gw1"].stop(None)
    addresses = (cluster.addresses["gw1"], cluster.addresses["gw2"])
    async with AdminClient(addresses, cluster.pki.operator()) as client:
        assert (await client.status()).member == "gw2"


async def test_a_member_is_known_by_its_name_and_not_its_address(cluster: Cluster) -> None:
    cluster.views["gw1"].others = {"gw3": cluster.addresses["gw2"]}
    async with cluster.client(cluster.pki.operator()) as client:
        assert (await client.sessions()).unreachable == ("gw3",)


@pytest.mark.parametrize(
    ("struct", "message"),
    [
        (ClusterStatus, admin_pb2.StatusReply),
        (MemberInfo, admin_pb2.Member),
        (SessionInfo, admin_pb2.Session),
        (KeyInfo, admin_pb2.Key),
        (RevocationInfo, admin_pb2.Revocation),
        (Revoked, admin_pb2.RevokeReply),
        (RotationStep, admin_pb2.RotationStep),
    ],
    ids=lambda cls: cls.__name__,
)
def test_both_shapes_have_the_same_fields(struct: type[msgspec.Struct], message: type) -> None:
    assert struct.__struct_fields__ == tuple(message.DESCRIPTOR.fields_by_name)


def test_every_value_comes_back_as_it_was() -> None:
    view = FakeView("gw1", [1])
    status = view.status()
    assert decode_status(encode_status(status)) == status
    assert decode_session(encode_session(view.held[0])) == view.held[0]
    keys = key_infos(view.ring)
    assert tuple(decode_key(encode_key(key)) for key in keys) == keys
    step = RotationStep("gw2 has installed the ring")
    assert decode_step(encode_step(step)) == step
