"""Mirrors: the newest record of each session at the shard's backups, under the highest fence."""

import asyncio

import pytest

from cluster.backups import backups
from cluster.layout import MemberRecord
from cluster.link import Mirror, MirrorAck, MirrorEntry
from cluster.shards import assign, rank
from tests.unit.cluster.members import Cluster, simulated
from tests.unit.cluster.mirrored import Mirrored, pair, shard_of
from tests.unit.cluster.owners import SHARDS


def entry(number: int, sealed: bytes = b"sealed", generation: int = 1) -> MirrorEntry:
    return MirrorEntry(number.to_bytes(8, "big"), bytes(16), generation, sealed)


@simulated
async def test_the_newest_entries_reach_the_backup(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    shard = shard_of(one)
    one.mirrors.offer(shard, entry(1, b"old"))
    one.mirrors.offer(shard, entry(1, b"new", 2))
    one.mirrors.offer(shard, entry(2))
    await asyncio.sleep(0.1)
    assert two.mirrors.held(shard) == {
        entry(1).spi: entry(1, b"new", 2),
        entry(2).spi: entry(2),
    }
    assert two.mirrors.is_whole(shard)
    assert one.mirrors.counts().sent == 2  # the old one never travelled
    assert one.mirrors.lag() == 0
    one.mirrors.offer(shard, entry(1, b""))
    await asyncio.sleep(0.1)
    assert list(two.mirrors.held(shard)) == [entry(2).spi]
    assert two.mirrors.counts().held == 1


@simulated
async def test_what_is_not_owned_is_not_offered(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    shard = shard_of(two)
    one.mirrors.offer(shard, entry(1))
    await asyncio.sleep(0.1)
    assert one.mirrors.counts().offered == 0
    assert two.mirrors.held(shard) == {}


@simulated
async def test_a_full_frame_leaves_at_once(cluster: Cluster) -> None:
    one, two = await pair(cluster, entries_per_frame=4, flush_s=60.0)
    shard = shard_of(one)
    for number in range(7):
        one.mirrors.offer(shard, entry(number))
    await asyncio.sleep(1)
    assert len(two.mirrors.held(shard)) == 4


@simulated
async def test_frames_that_come_together_are_acknowledged_at_once(cluster: Cluster) -> None:
    one, two = await pair(cluster, entries_per_frame=1)
    shard = shard_of(one)
    heard: list[MirrorAck] = []
    one.dispatch.on(MirrorAck, lambda _, ack: heard.append(ack))
    for number in range(5):
        one.mirrors.offer(shard, entry(number))
    await asyncio.sleep(1)
    assert len(two.mirrors.held(shard)) == 5
    assert [ack.sequence for ack in heard] == [5]


@simulated
async def test_a_lost_frame_ends_acknowledgements_not_mirroring(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    shard = shard_of(one)
    one.mirrors.offer(shard, entry(1))
    await asyncio.sleep(0.1)
    cluster.net.cut("gw1", "gw2")
    one.mirrors.offer(shard, entry(2))
    await asyncio.sleep(0.1)
    cluster.net.heal()
    one.mirrors.offer(shard, entry(3))
    await asyncio.sleep(0.1)
    assert list(two.mirrors.held(shard)) == [entry(1).spi, entry(3).spi]
    assert not two.mirrors.is_whole(shard)
    assert one.mirrors.lag() == 2


@simulated
async def test_an_older_fence_is_ignored_and_a_newer_one_replaces(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    shard = shard_of(one)
    fence = one.ownership.fence_of(shard)
    assert fence is not None
    one.mirrors.offer(shard, entry(1))
    await asyncio.sleep(0.1)
    two.mirrors.receive("gw1", Mirror(shard, fence - 1, 9, (entry(2),)))
    assert list(two.mirrors.held(shard)) == [entry(1).spi]
    assert two.mirrors.counts().refused == 1
    two.mirrors.receive("gw3", Mirror(shard, fence + 1, 1, (entry(3),)))
    assert list(two.mirrors.held(shard)) == [entry(3).spi]
    two.mirrors.receive("gw1", Mirror(shard, fence, 2, (entry(4),)))
    assert list(two.mirrors.held(shard)) == [entry(3).spi]


@simulated
async def test_a_former_fence_is_refused_even_where_nothing_is_held(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    shard = shard_of(one)
    fence = one.ownership.fence_of(shard)
    assert fence is not None
    two.mirrors.receive("gw1", Mirror(shard, fence - 1, 1, (entry(1),)))
    assert two.mirrors.held(shard) == {}


@simulated
async def test_what_was_dropped_before_sending_leaves_a_gap(cluster: Cluster) -> None:
    one, two = await pair(cluster, pending_max=5, flush_s=60.0)
    shard = shard_of(one)
    for number in range(8):
        one.mirrors.offer(shard, entry(number))
    one.mirrors.flush()
    await asyncio.sleep(0.1)
    assert len(two.mirrors.held(shard)) == 5
    assert not two.mirrors.is_whole(shard)


@simulated
async def test_only_the_owner_is_believed(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    shard = shard_of(one)
    fence = one.ownership.fence_of(shard)
    assert fence is not None
    two.mirrors.receive("gw3", Mirror(shard, fence, 1, (entry(1),)))
    two.mirrors.receive("gw1", Mirror(SHARDS, fence, 1, (entry(1),)))
    assert two.mirrors.held(shard) == {}
    assert two.mirrors.counts().refused == 2


@simulated
async def test_repeated_frames_change_nothing(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    shard = shard_of(one)
    fence = one.ownership.fence_of(shard)
    assert fence is not None
    two.mirrors.receive("gw1", Mirror(shard, fence, 1, (entry(1, b"a"),)))
    two.mirrors.receive("gw1", Mirror(shard, fence, 2, (entry(1, b"b"),)))
    two.mirrors.receive("gw1", Mirror(shard, fence, 2, (entry(1, b"c"),)))
    assert two.mirrors.held(shard)[entry(1).spi].sealed == b"b"
    two.mirrors.receive("gw1", Mirror(shard, fence, 1, (entry(1, b"d"),)))  # it begins anew
    assert two.mirrors.held(shard)[entry(1).spi].sealed == b"d"
    assert not two.mirrors.is_whole(shard)


@simulated
async def test_the_heir_can_look_before_the_mirror_is_dropped(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    shard = shard_of(one)
    one.mirrors.offer(shard, entry(1))
    await asyncio.sleep(0.1)
    found: list[bytes] = []
    two.ownership.on_gained.append(lambda s, _: found.extend(two.mirrors.held(s)))
    one.kill()
    await asyncio.sleep(8)
    assert shard in two.owned
    assert found == [entry(1).spi]
    assert two.mirrors.held(shard) == {}
    assert two.mirrors.counts().held == 0


@simulated
async def test_a_better_backup_takes_over(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    moved = [
        shard
        for shard in one.owned
        if assign(SHARDS, ("gw1", "gw2", "gw3"))[shard] == "gw1"
        and assign(SHARDS, ("gw2", "gw3"))[shard] == "gw3"
    ]
    shard = moved[0]
    one.mirrors.offer(shard, entry(1))
    await asyncio.sleep(0.1)
    assert list(two.mirrors.held(shard)) == [entry(1).spi]
    three = await Mirrored(cluster, "gw3").begin()
    await asyncio.sleep(3)
    one.mirrors.offer(shard, entry(2))
    await asyncio.sleep(0.1)
    assert two.mirrors.held(shard) == {}
    assert list(three.mirrors.held(shard)) == [entry(2).spi]


@simulated
async def test_both_sides_are_bounded(cluster: Cluster) -> None:
    one, two = await pair(cluster, pending_max=5, held_max=3, flush_s=60.0)
    shard = shard_of(one)
    for number in range(8):
        one.mirrors.offer(shard, entry(number))
    assert one.mirrors.counts().dropped == 3
    one.mirrors.flush()
    await asyncio.sleep(0.1)
    assert two.mirrors.counts().held == 3
    assert two.mirrors.counts().refused == 2
    assert not two.mirrors.is_whole(shard)
    one.mirrors.offer(shard, entry(0, b"newer"))
    one.mirrors.flush()
    await asyncio.sleep(0.1)
    assert two.mirrors.held(shard)[entry(0).spi].sealed == b"newer"  # known ones still move on


@simulated
async def test_a_link_that_takes_nothing_is_counted(cluster: Cluster) -> None:
    one, _ = await pair(cluster)
    shard = shard_of(one)
    await one.link.close()
    one.mirrors.offer(shard, entry(1))
    await asyncio.sleep(0.1)
    assert one.mirrors.counts().dropped == 1
    assert one.mirrors.counts().sent == 0


def record(name: str, host: str) -> MemberRecord:
    return MemberRecord(name, "", "", host, "", (), 0, 0.0, "")


@pytest.mark.parametrize("shard", range(20))
def test_backups_are_on_another_host_where_there_is_one(shard: int) -> None:
    members = {name: record(name, "a") for name in ("gw1", "gw2", "gw3")}
    members["gw4"] = record("gw4", "b")
    assert backups(shard, "gw1", members, 1) == ("gw4",)
    assert backups(shard, "gw1", members, 2)[0] == "gw4"
    assert len(backups(shard, "gw1", members, 9)) == 3
    assert "gw1" not in backups(shard, "gw1", members, 9)
    assert backups(shard, "gw1", members, 0) == ()
    assert backups(shard, "gw4", members, 3) == rank(shard, ("gw1", "gw2", "gw3"))
    assert backups(shard, "gw1", {"gw1": record("gw1", "a")}, 2) == ()
