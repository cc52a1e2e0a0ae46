"""Mirrors: what was committed is held by the shard's backups, and acknowledged only if it is."""

import asyncio

import pytest

from cluster.backups import backups
from cluster.layout import MemberRecord
from cluster.link import Mirror, MirrorAck, MirrorEntry
from cluster.shards import rank
from tests.unit.cluster.members import Cluster, simulated
from tests.unit.cluster.mirrored import Mirrored, commit, copied, pair, shard_of, spi_in, stored
from tests.unit.cluster.owners import SHARDS, assign

WHOLE_S = 12.0
"""Until what a shard holds is listed (5 s) and has been compared (5 s)."""


def entry(number: int, sealed: bytes = b"sealed octets", revision: int = 0) -> MirrorEntry:
    return MirrorEntry(spi_in(0, number), sealed, revision or number + 1)


def fence_of(member: Mirrored, shard: int) -> int:
    fence = member.ownership.fence_of(shard)
    assert fence is not None
    return fence


@simulated
async def test_the_newest_entries_reach_the_backup(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    shard = shard_of(one)
    await commit(one, shard, 1, b"old")
    await commit(one, shard, 1, b"new")
    await commit(one, shard, 2, b"other")
    await asyncio.sleep(0.1)
    assert copied(two, shard) == {spi_in(shard, 1): b"new", spi_in(shard, 2): b"other"}
    assert one.mirrors.counts().sent == 2  # the old one never travelled
    assert one.mirrors.lag() == 0
    await commit(one, shard, 1, b"")
    await asyncio.sleep(0.1)
    assert copied(two, shard) == {spi_in(shard, 2): b"other"}
    assert two.mirrors.counts().held == 1


@simulated
async def test_what_is_not_owned_is_not_sent(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    shard = shard_of(two)
    one.mirrors.offer(shard, entry(1))
    await asyncio.sleep(0.1)
    assert one.mirrors.counts().sent == 0
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
async def test_large_records_leave_in_frames_that_the_link_takes(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    shard = shard_of(one)
    for number in range(5):
        await commit(one, shard, number, bytes(250 << 10))
    await commit(one, shard, 5, b"small")
    await commit(one, shard, 6, bytes(600 << 10))  # more than is put together, but alone
    await asyncio.sleep(0.5)  # before anything is compared
    assert len(copied(two, shard)) == 7
    assert copied(two, shard) == await stored(one, shard)
    assert one.mirrors.lag() == 0
    assert one.mirrors.counts().sent == 7
    await asyncio.sleep(WHOLE_S)
    assert two.mirrors.is_whole(shard)
    assert two.mirrors.counts().repaired == 0


@simulated
async def test_frames_that_come_together_are_acknowledged_at_once(cluster: Cluster) -> None:
    one, two = await pair(cluster, entries_per_frame=1)
    shard = shard_of(one)
    heard: list[MirrorAck] = []
    one.dispatch.on(MirrorAck, lambda _, ack: heard.append(ack))
    for number in range(5):
        one.mirrors.offer(shard, entry(number))
    await asyncio.sleep(0.1)
    assert len(two.mirrors.held(shard)) == 5
    assert [ack.sequence for ack in heard] == [5]


@simulated
async def test_a_lost_frame_is_sent_again_and_nothing_behind_it_is_taken_first(
    cluster: Cluster,
) -> None:
    one, two = await pair(cluster)
    shard = shard_of(one)
    await commit(one, shard, 1, b"first")
    await asyncio.sleep(0.1)
    cluster.net.cut("gw1", "gw2")
    await commit(one, shard, 2, b"second")
    await asyncio.sleep(0.1)
    cluster.net.heal()
    await commit(one, shard, 2, b"")
    await commit(one, shard, 3, b"third")
    await asyncio.sleep(0.05)
    assert list(copied(two, shard)) == [spi_in(shard, 1)]
    await asyncio.sleep(1)
    assert list(copied(two, shard)) == [spi_in(shard, 1), spi_in(shard, 3)]
    assert one.mirrors.lag() == 0
    assert one.mirrors.counts().resent >= 1


@simulated
async def test_a_lost_acknowledgement_is_made_up_for(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    shard = shard_of(one)
    cluster.net.cut("gw2", "gw1", both=False)
    await commit(one, shard, 1, b"first")
    await asyncio.sleep(0.2)
    assert copied(two, shard)
    assert one.mirrors.lag() == 1
    cluster.net.heal()
    await asyncio.sleep(1)
    assert one.mirrors.lag() == 0


@simulated
async def test_an_older_fence_is_ignored_and_a_newer_one_goes_on(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    shard = shard_of(one)
    fence = fence_of(one, shard)
    one.mirrors.offer(shard, entry(1))
    await asyncio.sleep(0.1)
    receive = two.mirrors._in.receive
    receive("gw1", Mirror(shard, fence - 1, 9, 1, (entry(2),)))
    assert list(two.mirrors.held(shard)) == [entry(1).spi]
    assert two.mirrors.counts().refused == 1
    receive("gw3", Mirror(shard, fence + 1, 1, 1, (entry(3),)))
    assert list(two.mirrors.held(shard)) == [entry(1).spi, entry(3).spi]
    receive("gw1", Mirror(shard, fence, 99, 1, (entry(4),)))
    assert list(two.mirrors.held(shard)) == [entry(1).spi, entry(3).spi]
    assert two.mirrors.counts().refused == 2


@simulated
async def test_a_former_fence_is_refused_even_where_nothing_is_held(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    shard = shard_of(one)
    two.mirrors._in.receive("gw1", Mirror(shard, fence_of(one, shard) - 1, 1, 1, (entry(1),)))
    assert two.mirrors.held(shard) == {}


@simulated
async def test_only_the_owner_is_believed(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    shard = shard_of(one)
    fence = fence_of(one, shard)
    two.mirrors._in.receive("gw3", Mirror(shard, fence, 1, 1, (entry(1),)))
    two.mirrors._in.receive("gw1", Mirror(SHARDS, fence, 1, 1, (entry(1),)))
    assert two.mirrors.held(shard) == {}
    assert two.mirrors.counts().refused == 2


@simulated
async def test_a_repeated_frame_changes_nothing_and_an_older_entry_neither(
    cluster: Cluster,
) -> None:
    one, two = await pair(cluster)
    shard = shard_of(one)
    fence = fence_of(one, shard)

    def after(stream: int, sequence: int, sealed: bytes, revision: int) -> bytes:
        frame = Mirror(shard, fence, stream, sequence, (entry(1, sealed, revision),))
        two.mirrors._in.receive("gw1", frame)
        return two.mirrors.held(shard)[entry(1).spi].sealed

    assert after(7, 1, b"a", 11) == b"a"
    assert after(7, 2, b"b", 12) == b"b"
    assert after(7, 2, b"c", 13) == b"b"
    assert after(7, 3, b"d", 11) == b"b"  # the store's order counts
    assert after(6, 4, b"e", 14) == b"b"  # a stream that has been given up
    assert after(8, 1, b"f", 15) == b"f"  # it begins anew


@simulated
async def test_the_heir_has_the_copy_until_the_shard_is_listed(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    shard = shard_of(one)
    await commit(one, shard, 1, b"record")
    await asyncio.sleep(0.1)
    found: list[bytes] = []
    two.ownership.on_gained.append(lambda s, _: found.extend(two.mirrors.held(s)))
    one.kill()
    await asyncio.sleep(8)
    assert shard in two.owned
    assert found == [spi_in(shard, 1)]
    assert copied(two, shard) == await stored(two, shard)
    await asyncio.sleep(WHOLE_S)
    assert two.mirrors.held(shard) == {}
    assert two.mirrors.counts().held == 0


def shard_for_third(one: Mirrored) -> int:
    """A shard of gw1 that stays its own, and of which gw3 is the better backup than gw2."""
    return next(
        shard
        for shard in one.owned
        if assign(SHARDS, ("gw1", "gw2", "gw3"))[shard] == "gw1"
        and assign(SHARDS, ("gw2", "gw3"))[shard] == "gw3"
    )


@simulated
async def test_a_better_backup_takes_over(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    shard = shard_for_third(one)
    await commit(one, shard, 1, b"first")
    await asyncio.sleep(0.1)
    assert list(two.mirrors.held(shard)) == [spi_in(shard, 1)]
    three = await Mirrored(cluster, "gw3").begin()
    await asyncio.sleep(3)
    await commit(one, shard, 2, b"second")
    await asyncio.sleep(0.1)
    assert two.mirrors.held(shard) == {}
    assert two.mirrors.counts().held == 0
    assert spi_in(shard, 2) in three.mirrors.held(shard)


@simulated
async def test_an_owner_that_has_not_heard_of_a_better_backup_leaves_no_copy_behind(
    cluster: Cluster,
) -> None:
    one, two = await pair(cluster, compare_s=0.5, settled_s=0.5)
    shard = shard_for_third(one)
    await commit(one, shard, 1, b"first")
    await asyncio.sleep(2)
    assert two.mirrors.is_whole(shard)
    one.way.away = True  # and so it doesn't hear who comes
    three = await Mirrored(cluster, "gw3", compare_s=0.5).begin()
    await commit(one, shard, 2, b"second")
    await asyncio.sleep(2)
    assert shard not in two.mirrors.copies()
    one.way.away = False
    await asyncio.sleep(5)
    assert shard in one.owned
    await commit(one, shard, 3, b"third")
    await asyncio.sleep(2)
    assert shard not in two.mirrors.copies()
    assert three.mirrors.is_whole(shard)
    assert copied(three, shard) == await stored(one, shard)
    assert one.mirrors.lag() == 0  # nothing is sent again to who isn't one


@simulated
async def test_an_owner_that_has_no_room_begins_anew_and_the_backup_reads_the_store(
    cluster: Cluster,
) -> None:
    one, two = await pair(cluster, pending_max=5)
    shard = shard_of(one)
    cluster.net.cut("gw1", "gw2")
    for number in range(8):
        await commit(one, shard, number, b"record %d" % number)
        await asyncio.sleep(0.05)
    assert one.mirrors.counts().dropped == 6
    assert one.mirrors._out._waiting <= 5
    cluster.net.heal()
    await asyncio.sleep(WHOLE_S)
    assert copied(two, shard) == await stored(two, shard)
    assert len(copied(two, shard)) == 8
    await asyncio.sleep(6)
    assert two.mirrors.is_whole(shard)


@simulated
async def test_a_backup_that_does_not_answer_takes_no_room_from_the_others(
    cluster: Cluster,
) -> None:
    one = await Mirrored(cluster, "gw1", mirrors=2, pending_max=6).begin()
    two = await Mirrored(cluster, "gw2", mirrors=2).begin()
    await Mirrored(cluster, "gw3", mirrors=2).begin()
    await asyncio.sleep(3)
    shard = one.owned[0]
    cluster.net.cut("gw1", "gw3")
    for number in range(20):
        one.mirrors.offer(shard, entry(number))
        await asyncio.sleep(0.1)
    assert len(two.mirrors.held(shard)) == 20


@simulated
async def test_a_backup_that_has_no_room_is_not_whole(cluster: Cluster) -> None:
    one, two = await pair(cluster, held_max=3)
    shard = shard_of(one)
    for number in range(5):
        await commit(one, shard, number, b"record %d" % number)
    await asyncio.sleep(0.2)
    assert two.mirrors.counts().held == 3
    assert two.mirrors.counts().refused == 2
    await commit(one, shard, 0, b"newer")
    await asyncio.sleep(0.1)
    assert two.mirrors.held(shard)[spi_in(shard, 0)].sealed == b"newer"  # known ones still move on
    await asyncio.sleep(WHOLE_S)
    assert not two.mirrors.is_whole(shard)
    assert two.mirrors.counts().held == 3


@simulated
async def test_a_link_that_takes_nothing_keeps_what_waits(cluster: Cluster) -> None:
    one, _ = await pair(cluster)
    shard = shard_of(one)
    await one.link.close()
    one.mirrors.offer(shard, entry(1))
    await asyncio.sleep(0.1)
    assert one.mirrors.counts().sent == 0
    assert one.mirrors.lag() == 1


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
