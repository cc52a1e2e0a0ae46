"""Targets for what members read: each other's frames, the store's values and answers, sealed
things, recorded events, drill files.
"""

import msgspec
from google.protobuf.message import DecodeError

from cluster import keyring, vault
from cluster.claims import decode_shard
from cluster.drill.events import decode_lines
from cluster.drill.history import build
from cluster.drill.plan import Drill, decode_drill
from cluster.errors import Incompatible, Unavailable, WrongKek
from cluster.failsafe.frames import (
    Claim,
    ClaimAnswer,
    ClaimAsk,
    Held,
    Hold,
    PledgeAnswer,
    PledgeAsk,
    PledgeQuery,
    PledgeWord,
)
from cluster.frames import decode_frame, encode_frame
from cluster.keyring import KeyRing, RingPolicy, announce, new_ring
from cluster.layout import FORMAT, ClusterState, MemberRecord, ShardRecord
from cluster.link import (
    Alone,
    Counters,
    Forward,
    HandedOver,
    Heartbeat,
    Hello,
    HotCounters,
    Mirror,
    MirrorAck,
    MirrorDigest,
    MirrorDigests,
    MirrorEntry,
    Return,
    Seat,
    SeatLost,
    SeatsAsk,
    SeatsTold,
    Spent,
    SpentFilter,
    SpentSince,
    Superseded,
)
from cluster.records import RecordVault
from cluster.revocation import RuleKind, decode_rule
from cluster.roster import decode_member
from cluster.state import decode_state
from cluster.store import Compare, Delete, Entry, Get, Put, Txn, TxnResult
from cluster.store import Target as Compared
from cluster.store_etcd.codec import decode_change, decode_first, decode_txn
from proto.rpc.etcd import kv_pb2, rpc_pb2
from proto.secret import Secret
from tests.arch.tidy import ROOT
from tests.fuzz.target import Target
from tests.pair.parts import WALL_S, SeededRng
from tests.sim.loop import SimLoop
from tests.sim.seams import SimClock

CLAIM = Claim(
    bytes(16), bytes(16), 2, b"spi-of-8", 5, "a", "a1", WALL_S, b"sealed", None,
    ((4, b"replaced"),), False,
)  # fmt: skip
KEK = vault.Kek(Secret(bytes(range(32))))
RING = new_ring(SeededRng("ring"), WALL_S, RingPolicy())
NAME = b"/standfast/sample/ring"
ADDRESS = ("192.0.2.1", 500)
TXN = Txn(
    (Compare(b"k", Compared.VERSION, 0),),
    (Put(b"k", b"v"), Get(b"k"), Txn((), (Get(b"a"), Delete(b"b")), (Get(b"c"),))),
    (Get(b"k"), Get(b"l")),
)


def frame(data: bytes) -> None:
    """None, or a frame that is the same once encoded again."""
    seen = decode_frame(data)
    if seen is not None:
        assert decode_frame(encode_frame(seen)) == seen


def values(data: bytes) -> None:
    """Each reader of the store's readable values says no in its own way, or has a value."""
    member, shard = decode_member(data), decode_shard(data)
    assert RuleKind(decode_rule(data).kind)
    assert member is None or isinstance(member, MemberRecord)
    assert shard is None or isinstance(shard, ShardRecord)
    try:
        state = decode_state(data)
    except Incompatible:
        return
    assert state.format <= FORMAT


def ring(data: bytes) -> None:
    """Incompatible, or a ring whose lookups work and that is the same once written again."""
    try:
        seen = keyring.decode(data)
    except Incompatible:
        return
    octets = keyring.encode(seen)
    assert keyring.encode(keyring.decode(octets)) == octets
    for key in seen.tickets.keys:
        assert seen.opening(key.key_id, WALL_S) in (None, key)
    assert seen.cookies.sealing(WALL_S)[1] is not None


def sealed_ring(data: bytes) -> None:
    """What nobody sealed: WrongKek or Incompatible."""
    try:
        vault.open_sealed(KEK, data, NAME)
    except (WrongKek, Incompatible):
        return
    raise AssertionError("octets that nobody sealed were opened")


def sealed_record(data: bytes) -> None:
    """What nobody sealed: Incompatible."""
    try:
        _record_vault().open_record(data, NAME)
    except Incompatible:
        return
    raise AssertionError("octets that nobody sealed were opened")


def _record_vault() -> RecordVault:
    return RecordVault(lambda: RING, SimClock(SimLoop()), SeededRng("salt"))


def events(data: bytes) -> None:
    """Every line that is not blank is an event or counted; events make an ordered history."""
    lines = data.split(b"\n")
    seen, unreadable = decode_lines(lines)
    assert len(seen) + unreadable == sum(1 for line in lines if line.strip())
    history = build(seen)
    assert history.begin_t <= history.end_t
    for client in history.clients:
        assert list(client.answered) == sorted(client.answered)


def drill_file(data: bytes) -> None:
    """ValueError of one line, or a drill."""
    try:
        assert isinstance(decode_drill(data.decode(errors="replace"), "a.toml"), Drill)
    except ValueError as error:
        said = str(error)
    else:
        return
    assert len(said.splitlines()) == 1


def etcd(data: bytes) -> None:
    """An answer that is none to the question: Unavailable. Else a result in the question's shape;
    events and keys are read as they are.
    """
    try:
        answer = rpc_pb2.TxnResponse.FromString(data)
        event = kv_pb2.Event.FromString(data)
        kvs = rpc_pb2.RangeResponse.FromString(data).kvs
    except DecodeError:
        return
    assert isinstance(decode_change(event).entry, Entry)
    assert (decode_first(kvs) is None) == (not kvs)
    try:
        result = decode_txn(TXN, answer, 7)
    except Unavailable:
        return
    has_shape(TXN, result)


def has_shape(txn: Txn, result: TxnResult) -> None:
    """One response for each operation of the branch taken, of its kind."""
    branch = txn.success if result.succeeded else txn.failure
    for op, response in zip(branch, result.responses, strict=True):
        if isinstance(op, Txn):
            assert isinstance(response, TxnResult)
            has_shape(op, response)
        elif isinstance(op, Get):
            assert response is None or isinstance(response, Entry)
        else:
            assert response is None


def _frame_seeds() -> list[bytes]:
    entry = MirrorEntry(b"spi-of-8", b"sealed", 77)
    frames = (
        Heartbeat("00ff", 7, 300, 12, "normal"),
        Hello("10.0.0.1:7400"),
        Mirror(5, 2, 1, 9, (entry, entry)),
        MirrorAck(5, 2, 1, 9),
        MirrorDigests((MirrorDigest(5, 2, 1, 9, 300, 1 << 63),)),
        HotCounters(5, 2, (Counters(b"spi-of-8", 7, 1, ADDRESS, ADDRESS, WALL_S),)),
        HandedOver(5, 2, (Counters(b"spi-of-8", 7, 1, ADDRESS, ADDRESS, WALL_S),), (b"spi-of-8",)),
        Forward(b"datagram", ADDRESS, ADDRESS),
        Return(b"datagram", ADDRESS, ADDRESS),
        Superseded(bytes(16), b"spi-of-8"),
        Alone("fqdn:a", b"gw", bytes(16), 1.0),
        SeatsAsk(1, "fqdn:a", b"gw", bytes(8)),
        SeatsTold(1, (Seat(bytes(16), bytes(8), 1.0),), (bytes(8),)),
        SeatLost(bytes(16)),
        Spent(1, 7, (bytes(16), b"n" * 16)),
        SpentFilter(1, 7, b"filter"),
        SpentSince(1, 1.0),
        PledgeAsk("a1", 3),
        PledgeAnswer("a1", 3, True, "", {"b": "b1"}),
        PledgeQuery("a1"),
        PledgeWord("a1", 3, True, {"a": "a1", "b": "b1"}),
        ClaimAsk(bytes(16), bytes(16), 2, b"spi-of-8"),
        ClaimAnswer(bytes(16), True),
        Hold(CLAIM),
        Held(bytes(16), False),
    )
    return [encode_frame(one) for one in frames]


def _value_seeds() -> list[bytes]:
    addresses = ("127.0.0.1:500",)
    member = MemberRecord("gw1", "0a", "0b", "host-1", "127.0.0.1:1", addresses, 3, WALL_S, "0.1")
    state = ClusterState(FORMAT, "normal", 0, 64, WALL_S)
    return [msgspec.json.encode(value) for value in (member, state, ShardRecord("gw1", "0a", 3))]


def _rings() -> list[KeyRing]:
    return [RING, announce(RING, SeededRng("next"), WALL_S + 60, RingPolicy())]


def _event_seeds() -> list[bytes]:
    lines = (
        b'{"t":1.0,"who":"drill","kind":"topology","member":"gw1","address":"192.0.2.1:500"}',
        b'{"t":1.1,"who":"c1","kind":"connecting","gateway":"192.0.2.1:500","how":"full"}',
        b'{"t":1.2,"who":"c1","kind":"established","gateway":"192.0.2.1:500","how":"full"}',
        b'{"t":1.3,"who":"c1","kind":"ticket","lifetime_s":3600.0}',
        b'{"t":1.4,"who":"drill","kind":"fault","action":"kill","target":"gw1"}',
        b'{"t":1.5,"who":"c1","kind":"answered"}',
        b'{"t":9.0,"who":"drill","kind":"phase","name":"observed"}',
    )
    return [b"\n".join(lines), lines[2]]


def _etcd_seeds() -> list[bytes]:
    def found(key: bytes) -> rpc_pb2.ResponseOp:
        kv = kv_pb2.KeyValue(key=key, value=b"v", create_revision=1, mod_revision=2, version=1)
        return rpc_pb2.ResponseOp(response_range=rpc_pb2.RangeResponse(kvs=[kv]))

    put = rpc_pb2.ResponseOp(response_put=rpc_pb2.PutResponse())
    gone = rpc_pb2.ResponseOp(response_delete_range=rpc_pb2.DeleteRangeResponse())
    nested = rpc_pb2.TxnResponse(succeeded=True, responses=[found(b"a"), gone])
    inner = rpc_pb2.ResponseOp(response_txn=nested)
    yes = rpc_pb2.TxnResponse(succeeded=True, responses=[put, found(b"k"), inner])
    no = rpc_pb2.TxnResponse(succeeded=False, responses=[found(b"k"), found(b"l")])
    kv = kv_pb2.KeyValue(key=b"k", value=b"v", mod_revision=3)
    event = kv_pb2.Event(type=kv_pb2.Event.DELETE, kv=kv)
    return [message.SerializeToString() for message in (yes, no, event)]


def _drill_seeds() -> list[bytes]:
    return [path.read_bytes() for path in sorted((ROOT / "deploy/drills").glob("*.toml"))[:4]]


TARGETS = (
    Target("frame", frame, _frame_seeds, 2),
    Target("values", values, _value_seeds),
    Target("ring", ring, lambda: [keyring.encode(one) for one in _rings()], 2),
    Target(
        "sealed-ring",
        sealed_ring,
        lambda: [vault.seal(KEK, b"r" * 40, NAME, SeededRng("s"))[:-1] + b"\0"],
    ),
    Target(
        "sealed-record",
        sealed_record,
        lambda: [_record_vault().seal_record(b"r" * 40, b"another place")],
    ),
    Target("events", events, _event_seeds),
    Target("drill-file", drill_file, _drill_seeds),
    Target("etcd", etcd, _etcd_seeds, 2),
)
