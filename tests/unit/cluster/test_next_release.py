"""Members of this release and of a made-up next one run together: what has more in it is read, what
can't be read is skipped, and never overwritten or deleted. (A whole cluster: `next-release` in the
simulator. Records: `tests/pair/test_record.py`. The ring: `test_keyring.py`.)
"""

import asyncio

import msgspec
import pytest

from cluster.claims import decode_shard
from cluster.frames import decode_frame, encode_frame
from cluster.layout import ClusterState, MemberRecord, ShardRecord
from cluster.link import (
    Alone,
    Counters,
    Frame,
    Heartbeat,
    Hello,
    HotCounters,
    Mirror,
    MirrorAck,
    MirrorDigest,
    MirrorDigests,
    MirrorEntry,
    Seat,
    SeatLost,
    SeatsAsk,
    SeatsTold,
    Spent,
    Superseded,
)
from cluster.revocation import Rule, RuleKind, decode_rule
from cluster.roster import decode_member
from cluster.store import Put, Txn
from tests.sim.next_release import widen_frame, widen_value
from tests.unit.cluster.members import KEYS, Cluster, simulated
from tests.unit.cluster.mirrored import commit, copied, pair, shard_of, spi_in, stored
from tests.unit.cluster.owners import SHARDS, Owner, shard_records
from tests.unit.cluster.test_mirror import WHOLE_S

ADDRESS = ("192.0.2.1", 500)
FRAMES: list[Frame] = [
    Heartbeat("aa", 1, 2, 3, "normal"),
    Hello("gw1:7400"),
    Mirror(1, 2, 3, 4, (MirrorEntry(bytes(8), b"sealed", 5), MirrorEntry(bytes(8), b"", 6))),
    MirrorAck(1, 2, 3, 4),
    MirrorDigests((MirrorDigest(1, 2, 3, 4, 5, 6),)),
    HotCounters(1, 2, (Counters(bytes(8), 3, 4, ADDRESS, ADDRESS, 5.0),)),
    Superseded(bytes(16), bytes(8)),
    Alone("fqdn:a", b"gw", bytes(16), 1.0),
    SeatsAsk(1, "fqdn:a", b"gw", bytes(8)),
    SeatsTold(1, (Seat(bytes(16), bytes(8), 1.0),), (bytes(8),)),
    SeatLost(bytes(16)),
    Spent(1, 2, (bytes(16),)),
]
VALUES = {
    "state": (ClusterState(1, "normal", 0, 64, 1.5), ClusterState),
    "member": (MemberRecord("gw1", "aa", "bb", "h", "r", ("i",), 3, 1.5, "9.9"), MemberRecord),
    "shard": (ShardRecord("gw1", "aa", 3), ShardRecord),
    "rule": (Rule(RuleKind.IDENTITY.value, "a@b", 1.0, 2.0, 3.0), Rule),
}


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_a_frame_of_the_next_release_is_read_as_far_as_it_is_known(frame: Frame) -> None:
    wider, invented = widen_frame(encode_frame(frame))
    assert wider != encode_frame(frame)
    assert decode_frame(wider) == frame
    assert decode_frame(invented) is None


@pytest.mark.parametrize("name", VALUES)
def test_a_value_of_the_next_release_is_read_as_far_as_it_is_known(name: str) -> None:
    value, kind = VALUES[name]
    wider = widen_value(msgspec.json.encode(value))
    assert wider != msgspec.json.encode(value)
    assert msgspec.json.decode(wider, type=kind) == value
    read = {"member": decode_member, "shard": decode_shard, "rule": decode_rule}.get(name)
    assert read is None or read(wider) == value


@simulated
async def test_what_cannot_be_read_is_nobodys_to_take(cluster: Cluster) -> None:
    """A member whose record this release can't read, and a shard whose owner it can't read: they
    are there, and stay as they are."""
    member, shard = b'{"name": ["of the next release"]}', b'{"owners": ["gw7", "gw8"]}'
    owned = msgspec.json.encode(ShardRecord("gw9", "aa" * 16, 3))
    await cluster.store.commit(
        Txn(
            success=(
                Put(KEYS.member("gw9"), member),
                Put(KEYS.shard(1), shard),
                Put(KEYS.shard(2), owned),
            )
        )
    )
    one = await Owner(cluster, "gw1").begin()
    await asyncio.sleep(30)
    assert len(one.owned) == SHARDS - 2
    for key, value in (
        (KEYS.member("gw9"), member),
        (KEYS.shard(1), shard),
        (KEYS.shard(2), owned),
    ):
        found = await cluster.store.get(key)
        assert found is not None
        assert found.value == value
    # once the next release has gone in order, what it had is there for all
    await cluster.store.commit(
        Txn(success=(Put(KEYS.shard(1), msgspec.json.encode(ShardRecord("", "", 3))),))
    )
    await asyncio.sleep(2)
    assert 1 in one.owned
    assert (await shard_records(cluster))[1].fence == 4


@simulated
async def test_records_that_nobody_here_can_open_are_mirrored_all_the_same(
    cluster: Cluster,
) -> None:
    """Whoever can read them takes over from a copy, or from the store: they are still there."""
    one, two = await pair(cluster)
    shard = shard_of(one)
    await commit(one, shard, 1, b"\x02 sealed in a way that is not invented yet")
    await asyncio.sleep(WHOLE_S)
    assert two.mirrors.is_whole(shard)
    two.mirrors._in._tables[shard].replica.entries.clear()
    await asyncio.sleep(WHOLE_S)
    assert copied(two, shard) == await stored(one, shard)
    one.kill()
    await asyncio.sleep(30)
    assert shard in two.owned
    assert list(await stored(two, shard)) == [spi_in(shard)]
