"""Frames between members: fast, ordered per pair, and not promised to arrive.

Rules: `send` never waits; a full queue drops and says so. Whoever needs an answer repeats. One
codec for every implementation (msgpack, tagged by `kind`, unknown fields ignored, unknown kinds
skipped), so that the simulator crosses the same encoding. Implementations:
`cluster.link_grpc.GrpcLink`, `tests.sim.link.SimLink`.
"""

from collections.abc import Callable
from typing import Annotated, Protocol

import msgspec

from cluster.failsafe.frames import (
    ClaimAnswer,
    ClaimAsk,
    Held,
    Hold,
    PledgeAnswer,
    PledgeAsk,
    PledgeQuery,
    PledgeWord,
)

Address = tuple[str, Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]]
"""(IP address, port) of a UDP socket."""


class Heartbeat(msgspec.Struct, frozen=True, tag="beat", tag_field="kind"):
    """I am here; what `status` shows of me rides along."""

    incarnation: str
    sequence: int
    sessions: int
    ring_revision: int
    state: str
    """Named state, of `cluster.standing.State`."""
    store_answers: bool = False
    """Whether the store answers this member itself, without a relay: others may go through it."""
    store_id: int = 0
    """Which store it is, as etcd says; and how far it was seen (`cluster.rewind.Memory`)."""
    store_epoch: int = -1
    store_revision: int = 0
    wall_s: float = 0.0
    """The sender's date as this was sent, seconds since 1970; 0: an earlier release doesn't say."""
    full: bool = False
    """The sender's disk can't be written: it keeps nothing that is done without the store, and
    isn't waited for."""


class MirrorEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One sealed record, or that there is none any more (empty)."""

    spi: bytes
    sealed: bytes
    revision: int
    """The store's, of the commit that made it so."""


class Mirror(msgspec.Struct, frozen=True, tag="mirror", tag_field="kind"):
    """Newest records of one shard, made under `fence`; lower fences than seen are ignored."""

    shard: int
    fence: int
    stream: int
    """Which of the owner's streams to this backup; higher ones begin anew."""
    sequence: int
    """From 1, without a gap."""
    entries: tuple[MirrorEntry, ...]


class Hello(msgspec.Struct, frozen=True, tag="hello", tag_field="kind"):
    """I don't hear you. If you live, let me: here I am."""

    rpc_address: str


class MirrorAck(msgspec.Struct, frozen=True, tag="ack", tag_field="kind"):
    """Every Mirror of the stream up to `sequence` has come, and is held as far as there is room."""

    shard: int
    fence: int
    stream: int
    sequence: int


class MirrorDigest(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a backup holds of a shard once every Mirror up to `sequence` has come."""

    shard: int
    fence: int
    stream: int
    sequence: int
    records: int
    total: int
    """See `cluster.replica.Digest`."""


class MirrorDigests(msgspec.Struct, frozen=True, tag="digests", tag_field="kind"):
    """An owner's shards, to be compared."""

    rows: tuple[MirrorDigest, ...]


class Counters(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one SA has come to since its record: too hot for the store."""

    spi: bytes
    expected_id: int
    """Message ID of the peer's next request."""
    next_id: int
    """Message ID of the owner's next request."""
    local: Address
    remote: Address
    """Between which addresses the peer was heard last."""
    heard_wall_s: float


class HotCounters(msgspec.Struct, frozen=True, tag="counters", tag_field="kind"):
    """The newest counters of SAs of one shard, owned under `fence`; see `cluster.counters`."""

    shard: int
    fence: int
    rows: tuple[Counters, ...]


class HandedOver(msgspec.Struct, frozen=True, tag="handed-over", tag_field="kind"):
    """The last word of who owned a shard, to who owns it now under `fence`: how far its SAs have
    come. Nothing more comes from them under a lower fence.
    """

    shard: int
    fence: int
    rows: tuple[Counters, ...]
    asking: tuple[bytes, ...]
    """SPIs of those with a request of the gateway's under way: what the peer expects next isn't
    known."""


class Forward(msgspec.Struct, frozen=True, tag="forward", tag_field="kind"):
    """A datagram that arrived at the wrong member; forwarded once, never on."""

    data: bytes
    local: Address
    remote: Address


class Return(msgspec.Struct, frozen=True, tag="return", tag_field="kind"):
    """The reply to a Forward, to be sent from the socket where the request arrived."""

    data: bytes
    local: Address
    remote: Address


class Superseded(msgspec.Struct, frozen=True, tag="superseded", tag_field="kind"):
    """A hint to look: the chain's session lives under another SPI now; drop `spi` silently (RFC
    5723 4.3.4).
    """

    chain: bytes
    spi: bytes


class Alone(msgspec.Struct, frozen=True, tag="alone", tag_field="kind"):
    """Whoever is `identity` says that it has no other session with our `local_id` than that of
    `chain` (RFC 7296 2.4): those that are older are to end.
    """

    identity: str
    local_id: bytes
    chain: bytes
    established_wall_s: float


class Seat(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One established session."""

    chain: bytes
    spi: bytes
    established_wall_s: float


class SeatsAsk(msgspec.Struct, frozen=True, tag="seats-ask", tag_field="kind"):
    """Which sessions do you have of whoever is `identity` to our `local_id`? One more is to begin,
    under `spi`.
    """

    call: int
    """The asker's number; the answer bears it too."""
    identity: str
    local_id: bytes
    spi: bytes


class SeatsTold(msgspec.Struct, frozen=True, tag="seats-told", tag_field="kind"):
    """These, and under `begin` some of them are about to begin."""

    call: int
    seats: tuple[Seat, ...]
    begin: tuple[bytes, ...]


class SeatLost(msgspec.Struct, frozen=True, tag="seat-lost", tag_field="kind"):
    """End the session of `chain`: there are too many newer ones of its peer."""

    chain: bytes


class Spent(msgspec.Struct, frozen=True, tag="spent", tag_field="kind"):
    """Tickets spent since the last such frame; see `cluster.spent`."""

    form: int
    window: int
    tickets: tuple[bytes, ...]
    """16 octets each."""


class SpentFilter(msgspec.Struct, frozen=True, tag="spent-filter", tag_field="kind"):
    """All the tickets of one window that the sender knows to be spent, as a Bloom filter."""

    form: int
    window: int
    octets: bytes


class SpentSince(msgspec.Struct, frozen=True, tag="spent-since", tag_field="kind"):
    """Every filter of the sender's has been sent; of tickets issued before `wall_s` (seconds since
    1970) it may not have heard."""

    form: int
    wall_s: float


class Relay(msgspec.Struct, frozen=True, tag="relay", tag_field="kind"):
    """A piece of a call to the store through another member, or of its answer (`back`); what the
    pieces of one message hold together: `cluster.relay_wire`.
    """

    call: int
    """The asker's number; the answer bears it too."""
    part: int
    parts: int
    octets: bytes
    back: bool = False


Frame = (
    Heartbeat
    | Hello
    | Mirror
    | MirrorAck
    | MirrorDigests
    | HotCounters
    | HandedOver
    | Forward
    | Return
    | Superseded
    | Alone
    | SeatsAsk
    | SeatsTold
    | SeatLost
    | Spent
    | SpentFilter
    | SpentSince
    | Relay
    | PledgeAsk
    | PledgeAnswer
    | PledgeQuery
    | PledgeWord
    | ClaimAsk
    | ClaimAnswer
    | Hold
    | Held
)


class PeerLink(Protocol):
    """Frames to and from the other members by name."""

    def send(self, member: str, frame: Frame) -> bool:
        """Queue `frame`; False if it was dropped (queue full, no such peer, not connected)."""
        ...

    def on_frame(self, handler: Callable[[str, Frame], None]) -> None:
        """Who gets what arrives: (sender's proven name, frame)."""
        ...

    def set_peers(self, addresses: dict[str, str]) -> None:
        """The members to be connected to: name → rpc address; called on every change."""
        ...

    async def close(self) -> None:
        """End all streams."""
        ...
