"""The link's contract over gRPC: two and more members on loopback, with real certificates.

The in-memory link of the simulator is held to the same sentences in `tests/sim`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine

import grpc
import grpc.aio
import msgspec
import pytest

from cluster.identity import MEMBER, OPERATOR, Identity, parse_uri, peer_identity, server_name, uri
from cluster.link import Forward, Frame, Heartbeat, Mirror, MirrorAck, MirrorEntry
from cluster.link_grpc import (
    METHOD,
    SERVER_OPTIONS,
    GrpcLink,
    LinkSettings,
    TlsPem,
    channel_credentials,
    channel_options,
    server_credentials,
)
from node.pki import Authority, Issued
from node.seams import OsClock
from proto.rpc.peer_pb2 import Carried, Parcel

CLUSTER = "sample"
PATIENCE_S = 30.0
"""Only so that a hang fails."""


def identity(name: str, role: str = MEMBER) -> Identity:
    return Identity(cluster=CLUSTER, role=role, name=name)


class Peer:
    """One member's link and server."""

    def __init__(
        self, authority: Authority, name: str, settings: LinkSettings | None = None
    ) -> None:
        issued = authority.member(name)
        self.name = name
        self.tls = TlsPem(authority.issued.certificate, issued.certificate, issued.key)
        self.settings = settings or LinkSettings()
        self.heard: list[tuple[str, Frame]] = []
        self.arrived = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []
        self.address = ""

    async def begin(self, port: int = 0) -> "Peer":
        self.link = GrpcLink(
            identity(self.name), self.tls, spawn=self._spawn, settings=self.settings
        )
        self.link.on_frame(self._hear)
        self.server = grpc.aio.server(options=SERVER_OPTIONS)
        self.link.register(self.server)
        bound = self.server.add_secure_port(f"127.0.0.1:{port}", server_credentials(self.tls))
        assert bound != 0
        self.address = f"127.0.0.1:{bound}"
        await self.server.start()
        self.link.start()
        return self

    async def end(self) -> None:
        await self.link.close()
        await self.server.stop(None)

    async def hears(self, count: int) -> list[tuple[str, Frame]]:
        """What has come, once it is `count` frames."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.heard) < count:
                self.arrived.clear()
                await self.arrived.wait()
        return self.heard

    async def reaches(self, *names: str) -> None:
        """Waits until streams lead to `names`, and to nobody else."""
        await until(lambda: self.link.connected() == tuple(sorted(names)))

    def _hear(self, sender: str, frame: Frame) -> None:
        self.heard.append((sender, frame))
        self.arrived.set()

    def _spawn(self, coro: Coroutine[object, object, object], name: str) -> "asyncio.Task[None]":
        async def run() -> None:
            await coro

        task = asyncio.create_task(run(), name=name)
        task.add_done_callback(lambda _: coro.close())  # one cancelled before its first step
        self.tasks.append(task)
        return task


async def until(condition: Callable[[], bool]) -> None:
    """Looks again and again: gRPC offers nothing to wait for."""
    async with asyncio.timeout(PATIENCE_S):
        for _ in iter(condition, True):
            await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority(CLUSTER, OsClock().wall_s())


@contextlib.asynccontextmanager
async def linked(
    authority: Authority, *names: str, settings: LinkSettings | None = None
) -> AsyncIterator[list[Peer]]:
    """Members that all reach each other."""
    peers = [await Peer(authority, name, settings=settings).begin() for name in names]
    try:
        addresses = {peer.name: peer.address for peer in peers}
        for peer in peers:
            peer.link.set_peers(addresses)
        for peer in peers:
            await peer.reaches(*(name for name in names if name != peer.name))
        yield peers
    finally:
        for peer in peers:
            await peer.end()


async def test_frames_go_both_ways_with_proven_names(authority: Authority) -> None:
    async with linked(authority, "gw1", "gw2") as (one, two):
        frame = Forward(b"\x00datagram", ("127.0.0.1", 500), ("127.0.0.1", 4500))
        beat = Heartbeat("ab" * 16, 7, 3, 9, "normal")
        mirror = Mirror(3, 2, 1, 1, (MirrorEntry(b"spispisp", b"sealed", 4),))
        assert one.link.send("gw2", frame)
        assert one.link.send("gw2", mirror)
        assert two.link.send("gw1", beat)
        assert await two.hears(2) == [("gw1", frame), ("gw1", mirror)]
        assert await one.hears(1) == [("gw2", beat)]


async def test_frames_of_a_pair_stay_in_order_and_share_parcels(authority: Authority) -> None:
    async with linked(authority, "gw1", "gw2") as (one, two):
        count = 3000
        for number in range(count):
            assert one.link.send("gw2", MirrorAck(0, 0, 1, number))
        heard = await two.hears(count)
        assert [frame.sequence for _, frame in heard if isinstance(frame, MirrorAck)] == list(
            range(count)
        )
        assert two.link.counts().received == count
        # a write is counted when it has ended, which the peer's hearing of it may come before
        await until(lambda: one.link.counts().sent == count)


async def test_three_members_hear_only_what_was_meant_for_them(authority: Authority) -> None:
    async with linked(authority, "gw1", "gw2", "gw3") as (one, two, three):
        one.link.send("gw3", MirrorAck(1, 1, 1, 1))
        two.link.send("gw3", MirrorAck(2, 2, 1, 2))
        heard = await three.hears(2)
        assert sorted(name for name, _ in heard) == ["gw1", "gw2"]
        assert dict(heard) == {"gw1": MirrorAck(1, 1, 1, 1), "gw2": MirrorAck(2, 2, 1, 2)}
        assert one.heard == two.heard == []


async def test_strangers_and_those_not_connected_get_nothing(authority: Authority) -> None:
    one = await Peer(authority, "gw1").begin()
    try:
        assert not one.link.send("gw2", MirrorAck(0, 0, 1, 0))
        one.link.set_peers({"gw2": "127.0.0.1:9", "gw1": one.address})
        assert not one.link.send("gw2", MirrorAck(0, 0, 1, 0))
        assert not one.link.send("gw1", MirrorAck(0, 0, 1, 0))
        assert one.link.counts().dropped == 3
    finally:
        await one.end()


async def test_a_peer_that_restarts_is_reached_again(authority: Authority) -> None:
    async with linked(authority, "gw1", "gw2") as (one, two):
        port = int(two.address.rpartition(":")[2])
        await two.end()
        await one.reaches()
        assert not one.link.send("gw2", MirrorAck(0, 0, 1, 1))
        await two.begin(port)
        await one.reaches("gw2")
        assert one.link.send("gw2", MirrorAck(0, 0, 1, 2))
        assert await two.hears(1) == [("gw1", MirrorAck(0, 0, 1, 2))]


async def test_a_peer_that_moved_is_dialled_anew_and_one_that_left_no_more(
    authority: Authority,
) -> None:
    async with linked(authority, "gw1", "gw2") as (one, two):
        await two.end()
        await two.begin()
        one.link.set_peers({"gw2": two.address})
        await one.reaches("gw2")
        one.link.send("gw2", MirrorAck(0, 0, 1, 1))
        await two.hears(1)
        one.link.set_peers({})
        await one.reaches()
        assert not one.link.send("gw2", MirrorAck(0, 0, 1, 2))


async def test_a_server_with_another_members_name_is_not_talked_to(authority: Authority) -> None:
    async with linked(authority, "gw1", "gw2") as (one, two):
        heard = len(two.heard)
        one.link.set_peers({"gw9": two.address})  # somebody else answers where gw9 should be
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await one.reaches("gw9")
        assert not one.link.send("gw9", MirrorAck(0, 0, 1, 0))
        assert len(two.heard) == heard


async def carry(tls: TlsPem, address: str, *frames: bytes) -> grpc.StatusCode:
    """Sends `frames` by hand, and tells how the stream ended."""
    options = channel_options(identity("gw1"))
    async with grpc.aio.secure_channel(
        address, channel_credentials(tls), options=options
    ) as channel:
        call = channel.stream_unary(
            METHOD,
            request_serializer=Parcel.SerializeToString,
            response_deserializer=Carried.FromString,
        )(iter([Parcel(frames=frames)]), timeout=PATIENCE_S)
        return await call.code()


async def test_only_members_of_this_cluster_are_listened_to(authority: Authority) -> None:
    one = await Peer(authority, "gw1").begin()
    frame = msgspec.msgpack.encode(MirrorAck(0, 0, 1, 0))
    ca = authority.issued.certificate

    def tls(issued: Issued) -> TlsPem:
        return TlsPem(ca, issued.certificate, issued.key)

    try:
        denied = grpc.StatusCode.PERMISSION_DENIED
        assert await carry(tls(authority.operator("admin")), one.address, frame) is denied
        assert await carry(tls(authority.etcd("etcd-1")), one.address, frame) is denied
        assert one.link.counts().refused == 2
        stranger = Authority(CLUSTER, OsClock().wall_s()).member("gw2")
        unavailable = grpc.StatusCode.UNAVAILABLE
        assert await carry(tls(stranger), one.address, frame) is unavailable
        assert one.heard == []
        member = tls(authority.member("gw2"))
        assert await carry(member, one.address, frame) is grpc.StatusCode.OK
        assert await one.hears(1) == [("gw2", MirrorAck(0, 0, 1, 0))]
    finally:
        await one.end()


async def test_kinds_of_a_later_release_and_garbage_are_skipped(authority: Authority) -> None:
    one = await Peer(authority, "gw1").begin()
    issued = authority.member("gw2")
    tls = TlsPem(authority.issued.certificate, issued.certificate, issued.key)
    later = msgspec.msgpack.encode({"kind": "invented-later", "x": 1})
    wider = msgspec.msgpack.encode(
        {"kind": "ack", "shard": 1, "fence": 2, "stream": 1, "sequence": 3, "new": True}
    )
    try:
        code = await carry(tls, one.address, later, b"", b"\xc1\xff", wider)
        assert code is grpc.StatusCode.OK
        assert await one.hears(1) == [("gw2", MirrorAck(1, 2, 1, 3))]
        assert one.link.counts().unknown == 3
    finally:
        await one.end()


async def test_a_full_queue_drops_and_says_so(authority: Authority) -> None:
    async with linked(authority, "gw1", "gw2") as (one, two):
        bound = one.settings.queue_frames_max
        taken = [one.link.send("gw2", MirrorAck(0, 0, 1, n)) for n in range(bound + 10)]
        assert taken == [True] * bound + [False] * 10
        assert one.link.counts().dropped == 10
        await two.hears(bound)
        assert one.link.send("gw2", MirrorAck(0, 0, 1, 0))


async def test_datagrams_of_strangers_leave_room_for_heartbeats(authority: Authority) -> None:
    async with linked(authority, "gw1", "gw2") as (one, two):
        bound = one.settings.forward_frames_max
        forward = Forward(bytes(28), ("127.0.0.1", 500), ("127.0.0.1", 500))
        taken = [one.link.send("gw2", forward) for _ in range(bound + 10)]
        assert taken == [True] * bound + [False] * 10
        assert one.link.send("gw2", MirrorAck(0, 0, 1, 0))
        assert (await two.hears(bound + 1))[-1] == ("gw1", MirrorAck(0, 0, 1, 0))


async def test_a_frame_too_large_for_a_parcel_is_dropped(authority: Authority) -> None:
    async with linked(authority, "gw1", "gw2") as (one, two):
        largest = one.settings.parcel_octets_max
        address = ("127.0.0.1", 500)
        assert not one.link.send("gw2", Forward(bytes(largest), address, address))
        near = [Forward(bytes(largest - 100), address, address) for _ in range(6)]
        for frame in near:
            assert one.link.send("gw2", frame)
        assert [frame for _, frame in await two.hears(6)] == near


async def test_a_newer_stream_of_a_sender_ends_the_older(authority: Authority) -> None:
    slow = LinkSettings(connect_pause_s=5.0, connect_pause_max_s=5.0)
    async with linked(authority, "gw1", "gw2", settings=slow) as (one, two):
        assert one.link.send("gw2", MirrorAck(0, 0, 1, 0))
        await two.hears(1)  # so that it is the older one to `two`, too
        twin = await Peer(authority, "gw1").begin()
        try:
            twin.link.set_peers({"gw2": two.address})
            await twin.reaches("gw2")
            assert twin.link.send("gw2", MirrorAck(0, 0, 1, 1))
            await two.hears(2)
            one.link.send("gw2", MirrorAck(0, 0, 1, 2))
            await one.reaches()
            assert two.heard == [("gw1", MirrorAck(0, 0, 1, n)) for n in (0, 1)]
        finally:
            await twin.end()


def test_identities_are_read_strictly() -> None:
    one = identity("gw1")
    assert uri(one) == "standfast://sample/member/gw1"
    assert parse_uri(uri(one)) == one
    for wrong in (
        "https://sample/member/gw1",
        "standfast://sample/member",
        "standfast://sample/member/gw1/more",
        "standfast:///member/gw1",
        "standfast://sample/member/gw1?x",
        "standfast://[bad/member/gw1",
        "",
    ):
        assert parse_uri(wrong) is None
    names = {"x509_subject_alternative_name": [b"localhost", uri(one).encode()]}
    assert peer_identity(names) == one
    two = uri(identity("admin", OPERATOR)).encode()
    names["x509_subject_alternative_name"].append(two)
    assert peer_identity(names) is None
    assert peer_identity({}) is None
    assert server_name(identity("GW1")) == "gw1.member.sample.standfast.invalid"
