"""Hot counters: the newest that each SA has come to, at the backups, at hardly any cost."""

import asyncio

from cluster.backups import backups
from cluster.link import Counters, HotCounters
from tests.unit.cluster.members import Cluster, simulated
from tests.unit.cluster.mirrored import LOCAL, REMOTE, Mirrored, pair, shard_of, spi_in
from tests.unit.cluster.owners import SHARDS


def ids(member: Mirrored, spi: bytes, shard: int) -> tuple[int, int] | None:
    """What `member` holds of an SA."""
    found = member.mirrors.counters(shard).get(spi)
    return None if found is None else (found[1].expected_id, found[1].next_id)


def fence_of(member: Mirrored, shard: int) -> int:
    fence = member.ownership.fence_of(shard)
    assert fence is not None
    return fence


@simulated
async def test_the_newest_counters_reach_the_backup(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    shard = shard_of(one)
    one.sas.read_count = 0
    for message_id in range(3, 9):
        one.move(spi_in(shard), message_id)
    one.move(spi_in(shard, 2), 5, 7)
    await asyncio.sleep(0.2)
    assert one.sas.read_count == 2  # read when it is sent, not when it moved
    assert two.mirrors.counters(shard)[spi_in(shard)] == (
        fence_of(one, shard), Counters(spi_in(shard), 8, 0, LOCAL, REMOTE, 8.0),
    )  # fmt: skip
    assert ids(two, spi_in(shard, 2), shard) == (5, 7)
    assert two.mirrors.hot.count == 2


@simulated
async def test_what_is_not_owned_any_more_is_not_told(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    shard = shard_of(two)
    one.move(spi_in(shard), 5)
    await asyncio.sleep(0.2)
    assert two.mirrors.counters(shard) == {}


@simulated
async def test_a_lost_frame_is_made_up_for_by_the_next_round(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    shard = shard_of(one)
    cluster.net.cut("gw1", "gw2")
    one.move(spi_in(shard), 5)
    await asyncio.sleep(0.2)
    cluster.net.heal()
    assert ids(two, spi_in(shard), shard) is None
    await asyncio.sleep(31)
    assert ids(two, spi_in(shard), shard) == (5, 0)


@simulated
async def test_who_comes_late_is_told_of_everything(cluster: Cluster) -> None:
    one, _ = await pair(cluster)
    later = [
        shard
        for shard in one.owned
        if backups(shard, "gw1", dict.fromkeys(("gw1", "gw2", "gw3"), one_record(one)), 1)
        == ("gw3",)
    ]
    for shard in later:
        one.move(spi_in(shard), 9)
        one.sessions[shard] = 1  # so that it stays where it is
    await asyncio.sleep(1)
    three = await Mirrored(cluster, "gw3").begin()
    await asyncio.sleep(3)
    assert later
    assert all(ids(three, spi_in(shard), shard) == (9, 0) for shard in later)


@simulated
async def test_only_the_owner_is_believed_and_the_higher_fence(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    shard = shard_of(one)
    fence = fence_of(one, shard)
    row = Counters(spi_in(shard), 5, 0, LOCAL, REMOTE, 1.0)
    two.mirrors.hot.receive("gw3", HotCounters(shard, fence, (row,)))
    two.mirrors.hot.receive("gw1", HotCounters(shard, fence - 1, (row,)))
    two.mirrors.hot.receive("gw1", HotCounters(SHARDS, fence, (row,)))
    assert two.mirrors.counters(shard) == {}
    assert two.mirrors.hot.refused == 3
    two.mirrors.hot.receive("gw3", HotCounters(shard, fence + 1, (row,)))
    assert ids(two, spi_in(shard), shard) == (5, 0)


@simulated
async def test_counters_never_go_back_but_under_a_new_fence(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    shard = shard_of(one)
    fence = fence_of(one, shard)

    def hears(fence: int, expected_id: int) -> tuple[int, int] | None:
        row = Counters(spi_in(shard), expected_id, 0, LOCAL, REMOTE, 1.0)
        two.mirrors.hot.receive("gw1", HotCounters(shard, fence, (row,)))
        return ids(two, spi_in(shard), shard)

    assert hears(fence, 9) == (9, 0)
    assert hears(fence, 8) == (9, 0)
    assert hears(fence + 1, 3) == (3, 0)


@simulated
async def test_both_sides_have_bounds(cluster: Cluster) -> None:
    one, two = await pair(cluster, held_max=3)
    shard = shard_of(one)
    for number in range(5):
        one.move(spi_in(shard, number), 5)
    await asyncio.sleep(0.2)
    assert (two.mirrors.hot.count, two.mirrors.hot.refused) == (3, 2)
    one.move(spi_in(shard, 0), 6)
    await asyncio.sleep(0.2)
    assert ids(two, spi_in(shard, 0), shard) == (6, 0)  # known ones still move on
    for number in range(5000):
        one.move(spi_in(shard, number), 7)
    one.mirrors.hot.flush()
    assert len(one.mirrors.hot._moved) == 5000 - 2048
    await asyncio.sleep(0.5)
    assert not one.mirrors.hot._moved


@simulated
async def test_the_heir_has_them_long_enough_and_not_for_ever(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    shard = shard_of(one)
    one.move(spi_in(shard), 5)
    await asyncio.sleep(0.2)
    one.kill()
    await asyncio.sleep(8)
    assert shard in two.owned
    assert ids(two, spi_in(shard), shard) == (5, 0)
    await asyncio.sleep(60)
    assert two.mirrors.counters(shard) == {}
    assert two.mirrors.hot.count == 0


@simulated
async def test_an_sa_that_is_gone_is_forgotten(cluster: Cluster) -> None:
    one, two = await pair(cluster)
    shard = shard_of(one)
    one.move(spi_in(shard), 5)
    await asyncio.sleep(0.2)
    two.mirrors.hot.forget(shard, spi_in(shard))
    two.mirrors.hot.forget(shard, spi_in(shard))
    assert two.mirrors.counters(shard) == {}
    assert two.mirrors.hot.count == 0


def one_record(owner: Mirrored):
    return owner.member.members["gw1"]
