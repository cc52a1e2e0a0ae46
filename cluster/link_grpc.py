"""Frames between members over gRPC with mTLS: one stream for each direction of each pair.

Rules: whoever has frames dials, and asks for the peer by the name in its certificate, so it never
talks to another; the receiver takes the sender's name from the certificate too, never from what it
says. A stream carries parcels of whatever was queued since the last one. A peer that isn't
connected has no queue: what can't leave now is dropped, and whoever needs an answer repeats. One
stream per sender: a newer one ends the older, so frames of a pair stay in order. What arrives is
handed on by one task, so a fault in a handler ends the process and not just one stream.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

import grpc
import grpc.aio
import msgspec

from cluster.frames import decode_frame, encode_frame
from cluster.identity import MEMBER, Identity, peer_identity, server_name
from cluster.link import Forward, Frame
from cluster.seams import Spawn
from proto.rpc.peer_pb2 import Carried, Parcel
from proto.secret import Secret

METHOD = "/standfast.peer.v1.Peer/Carry"
SERVICE, VERB = "standfast.peer.v1.Peer", "Carry"
PING_MS = 1000
"""How often an idle connection is checked, and how long its answer may take."""

SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", PING_MS),
    ("grpc.keepalive_timeout_ms", PING_MS),
    ("grpc.http2.ping_timeout_ms", PING_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", PING_MS // 2),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", PING_MS // 2),
    ("grpc.so_reuseport", 0),
)
"""For the server that `GrpcLink.register` is given; without them it answers our pings by hanging up
(`too_many_pings`)."""


class TlsPem(msgspec.Struct, frozen=True):
    """This member's certificate and key, and the authority that signs all members'; PEM octets."""

    authority: bytes
    certificate: bytes
    key: Secret


class LinkSettings(msgspec.Struct, frozen=True):
    """The bounds of one link."""

    queue_frames_max: int = 4096
    """Frames waiting for one peer; more are dropped."""
    forward_frames_max: int = 1024
    """Frames waiting beyond which no datagram is forwarded: anybody may send to the wrong member,
    and must not keep heartbeats and records from leaving."""
    parcel_frames_max: int = 256
    parcel_octets_max: int = 1 << 20
    """Octets after which a parcel is closed; also the largest frame."""
    inbound_parcels_max: int = 64
    """Parcels read and not handed on yet, over all senders; beyond it the streams wait."""
    connect_pause_s: float = 0.05
    """The pause after a broken stream; it doubles up to the longest."""
    connect_pause_max_s: float = 1.0


class LinkCounts(msgspec.Struct, frozen=True):
    """For status and metrics."""

    sent: int
    dropped: int
    received: int
    unknown: int
    """Frames of a kind that this release doesn't know, or can't read."""
    refused: int
    """Streams from whoever isn't a member of this cluster."""


def server_credentials(tls: TlsPem) -> grpc.ServerCredentials:
    """What a member's server shows, and that it demands the same of every client."""
    return grpc.ssl_server_credentials(
        [(tls.key.octets, tls.certificate)], tls.authority, require_client_auth=True
    )


def channel_credentials(tls: TlsPem) -> grpc.ChannelCredentials:
    """What a member shows when it dials."""
    return grpc.ssl_channel_credentials(tls.authority, tls.key.octets, tls.certificate)


def channel_options(peer: Identity) -> tuple[tuple[str, str | int], ...]:
    """A channel that accepts no other server than `peer`, and finds out soon when it is gone."""
    name = server_name(peer)
    return (
        ("grpc.ssl_target_name_override", name),
        ("grpc.default_authority", name),
        ("grpc.keepalive_time_ms", PING_MS),
        ("grpc.keepalive_timeout_ms", PING_MS),
        ("grpc.http2.ping_timeout_ms", PING_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", PING_MS),
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
    )


class _Peer:
    """One direction to one member: its queue, and whether a stream carries it now."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.queue: deque[bytes] = deque()
        self.connected = False
        self.wake = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class GrpcLink:
    """Implements `cluster.link.PeerLink`; `register` it with the member's server, then `start`."""

    def __init__(
        self, me: Identity, tls: TlsPem, *, spawn: Spawn, settings: LinkSettings | None = None
    ) -> None:
        self._me = me
        self._credentials = channel_credentials(tls)
        self._spawn = spawn
        self._settings = settings or LinkSettings()
        self._peers: dict[str, _Peer] = {}
        self._handler: Callable[[str, Frame], None] | None = None
        self._streams: dict[str, int] = {}
        """The newest stream of each sender."""
        self._stream_number = 0
        self._inbound: asyncio.Queue[tuple[str, tuple[bytes, ...]]] = asyncio.Queue(
            self._settings.inbound_parcels_max
        )
        self._handing: asyncio.Task[None] | None = None
        self._closed = False
        self._sent = 0
        self._dropped = 0
        self._received = 0
        self._unknown = 0
        self._refused = 0

    def register(self, server: grpc.aio.Server) -> None:
        """Serve the others' streams on `server` (made with `server_credentials`, `SERVER_OPTIONS`),
        before it starts."""
        handler = grpc.stream_unary_rpc_method_handler(
            self._serve,
            request_deserializer=Parcel.FromString,
            response_serializer=Carried.SerializeToString,
        )
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, {VERB: handler}),)
        )

    def start(self) -> None:
        """Hand on what arrives from now on."""
        self._handing = self._spawn(self._hand_on(), "link in")

    # -- PeerLink

    def send(self, member: str, frame: Frame) -> bool:
        """See `PeerLink.send`."""
        peer = self._peers.get(member)
        if peer is None or not peer.connected:
            self._dropped += 1
            return False
        data = encode_frame(frame)
        settings = self._settings
        forward = isinstance(frame, Forward)
        room = settings.forward_frames_max if forward else settings.queue_frames_max
        if len(peer.queue) >= room or len(data) > settings.parcel_octets_max:
            self._dropped += 1
            return False
        peer.queue.append(data)
        peer.wake.set()
        return True

    def on_frame(self, handler: Callable[[str, Frame], None]) -> None:
        """See `PeerLink.on_frame`."""
        self._handler = handler

    def set_peers(self, addresses: dict[str, str]) -> None:
        """See `PeerLink.set_peers`; a member at another address is dialled anew."""
        if self._closed:
            return
        for name, peer in list(self._peers.items()):
            if addresses.get(name) != peer.address:
                del self._peers[name]
                self._end(peer)
        for name, address in addresses.items():
            if name not in self._peers and name != self._me.name:
                peer = self._peers[name] = _Peer(address)
                peer.task = self._spawn(self._reach(name, peer), f"link to {name}")

    async def close(self) -> None:
        """See `PeerLink.close`; inbound streams end with the server."""
        self._closed = True
        tasks = [peer.task for peer in self._peers.values()] + [self._handing]
        for peer in self._peers.values():
            self._end(peer)
        self._peers.clear()
        if self._handing is not None:
            self._handing.cancel()
        for task in tasks:
            if task is not None:
                await asyncio.wait((task,))

    # -- figures

    def connected(self) -> tuple[str, ...]:
        """The peers that a stream leads to now, sorted."""
        return tuple(sorted(name for name, peer in self._peers.items() if peer.connected))

    def counts(self) -> LinkCounts:
        """Frames and streams since the start."""
        return LinkCounts(
            sent=self._sent,
            dropped=self._dropped,
            received=self._received,
            unknown=self._unknown,
            refused=self._refused,
        )

    # -- out

    def _end(self, peer: _Peer) -> None:
        self._break(peer)
        if peer.task is not None:
            peer.task.cancel()

    def _break(self, peer: _Peer) -> None:
        """What waits was meant for the connection that is gone."""
        peer.connected = False
        self._dropped += len(peer.queue)
        peer.queue.clear()

    async def _reach(self, name: str, peer: _Peer) -> None:
        """Keep one stream to `peer` for as long as it is wanted."""
        identity = Identity(cluster=self._me.cluster, role=MEMBER, name=name)
        pause_s = self._settings.connect_pause_s
        now = asyncio.get_running_loop().time
        async with grpc.aio.secure_channel(
            peer.address, self._credentials, options=channel_options(identity)
        ) as channel:
            carry = channel.stream_unary(
                METHOD,
                request_serializer=Parcel.SerializeToString,
                response_deserializer=Carried.FromString,
            )
            while True:
                await channel.channel_ready()
                since_s = now()
                await self._carry(peer, carry(None))
                if now() - since_s > self._settings.connect_pause_max_s:
                    pause_s = self._settings.connect_pause_s
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, self._settings.connect_pause_max_s)

    async def _carry(self, peer: _Peer, call: "grpc.aio.StreamUnaryCall[Parcel, Carried]") -> None:
        """Send what is queued until the stream breaks."""
        call.add_done_callback(lambda _: peer.wake.set())
        try:
            await call.wait_for_connection()
            peer.connected = True
            while not call.done():
                await peer.wake.wait()
                peer.wake.clear()
                while peer.queue and not call.done():
                    frames = self._parcel(peer.queue)
                    await call.write(Parcel(frames=frames))
                    self._sent += len(frames)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return
        finally:
            self._break(peer)
            call.cancel()

    def _parcel(self, queue: deque[bytes]) -> list[bytes]:
        frames: list[bytes] = []
        octets = 0
        while queue and len(frames) < self._settings.parcel_frames_max:
            octets += len(queue[0])
            if frames and octets > self._settings.parcel_octets_max:
                break
            frames.append(queue.popleft())
        return frames

    # -- in

    async def _serve(
        self, parcels: AsyncIterator[Parcel], context: "grpc.aio.ServicerContext[Parcel, Carried]"
    ) -> Carried:
        identity = peer_identity(context.auth_context())
        if identity is None or identity.role != MEMBER or identity.cluster != self._me.cluster:
            self._refused += 1
            await context.abort(
                grpc.StatusCode.PERMISSION_DENIED, "frames are taken from members of this cluster"
            )
            return Carried()
        sender = identity.name
        self._stream_number += 1
        number = self._streams[sender] = self._stream_number
        try:
            async for parcel in parcels:
                if self._streams.get(sender) != number:
                    break
                await self._inbound.put((sender, tuple(parcel.frames)))
        finally:
            if self._streams.get(sender) == number:
                del self._streams[sender]
        return Carried()

    async def _hand_on(self) -> None:
        while True:
            sender, frames = await self._inbound.get()
            for data in frames:
                frame = decode_frame(data)
                if frame is None:
                    self._unknown += 1
                    continue
                self._received += 1
                if self._handler is not None:
                    self._handler(sender, frame)
