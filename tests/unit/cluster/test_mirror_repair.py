"""Mirrors that are behind or wrong: found by comparing, put right out of the store."""

import asyncio

from cluster.link import MirrorEntry
from cluster.mirror_in import Repair
from cluster.store import Put, Txn
from tests.unit.cluster.members import KEYS, Cluster, simulated
from tests.unit.cluster.mirrored import Mirrored, commit, copied, pair, shard_of, spi_in, stored
from tests.unit.cluster.owners import SHARDS
from tests.unit.cluster.test_mirror import WHOLE_S


async def whole_pair(cluster: Cluster, records: int = 5) -> tuple[Mirrored, Mirrored, int]:
    """An owner, its backup, and a shard whose copy is whole."""
    one, two = await pair(cluster)
    shard = shard_of(one)
    for number in range(records):
        await commit(one, shard, number, b"record %d" % number)
    await asyncio.sleep(WHOLE_S)
    assert two.mirrors.is_whole(shard)
    assert two.mirrors.counts().repaired == 0
    return one, two, shard


def repairs(member: Mirrored) -> list[Repair]:
    """Fills with what is put right from now on."""
    found: list[Repair] = []
    member.mirrors.on_repaired.append(found.append)
    return found


@simulated
async def test_who_comes_late_catches_up_while_the_shard_changes(cluster: Cluster) -> None:
    one = await Mirrored(cluster, "gw1").begin()
    await asyncio.sleep(3)
    assert len(one.owned) == SHARDS
    for shard in one.owned:
        one.sessions[shard] = 1  # so that they stay
        for number in range(5):
            await commit(one, shard, number, b"record %d" % number)
    two = await Mirrored(cluster, "gw2").begin()
    found = repairs(two)
    for turn in range(100):
        for shard in one.owned[::7]:
            await commit(one, shard, turn % 5, b"turn %d" % turn if turn % 3 else b"")
        await asyncio.sleep(0.1)
    await asyncio.sleep(10)
    for shard in one.owned:
        assert copied(two, shard) == await stored(one, shard)
        assert two.mirrors.is_whole(shard)
    assert found
    assert not any(repair.was_whole for repair in found)
    assert two.mirrors.counts().differences == 0


@simulated
async def test_what_was_written_by_another_way_is_copied_once_all_is_doubted(
    cluster: Cluster,
) -> None:
    """As after a time without the store: the flush writes past the mirrors."""
    one, two, shard = await whole_pair(cluster)
    await commit(one, shard, 2, b"of the flush", spare=True)
    await commit(one, shard, 7, b"one more", spare=True)
    await asyncio.sleep(30)
    assert copied(two, shard) != await stored(one, shard)  # nobody knows of it
    one.mirrors.doubt_all()
    await asyncio.sleep(WHOLE_S)
    assert copied(two, shard) == await stored(one, shard)
    assert two.mirrors.is_whole(shard)


@simulated
async def test_a_record_that_was_lost_is_found_and_put_back(cluster: Cluster) -> None:
    one, two, shard = await whole_pair(cluster)
    found = repairs(two)
    del two.mirrors._in._tables[shard].replica.entries[spi_in(shard, 3)]
    await asyncio.sleep(6)
    assert found == [Repair(shard, "gw1", put=1, gone=0, was_whole=True)]
    assert copied(two, shard) == await stored(one, shard)
    assert (two.mirrors.counts().differences, two.mirrors.counts().repaired) == (1, 1)
    await asyncio.sleep(6)
    assert two.mirrors.is_whole(shard)
    assert len(found) == 1


@simulated
async def test_a_record_that_was_altered_is_found_and_put_right(cluster: Cluster) -> None:
    one, two, shard = await whole_pair(cluster)
    found = repairs(two)
    entries = two.mirrors._in._tables[shard].replica.entries
    entries[spi_in(shard, 3)] = MirrorEntry(spi_in(shard, 3), b"another", 1 << 40)
    await asyncio.sleep(6)
    assert found == [Repair(shard, "gw1", put=1, gone=0, was_whole=True)]
    assert copied(two, shard) == await stored(one, shard)
    await commit(one, shard, 3, b"and on it goes")
    await asyncio.sleep(0.1)
    assert copied(two, shard) == await stored(one, shard)


@simulated
async def test_a_record_too_many_is_found_and_taken_away(cluster: Cluster) -> None:
    one, two, shard = await whole_pair(cluster)
    found = repairs(two)
    gone: list[bytes] = []
    two.mirrors._in.on_gone.append(lambda _, spi: gone.append(spi))
    entries = two.mirrors._in._tables[shard].replica.entries
    entries[spi_in(shard, 77)] = MirrorEntry(spi_in(shard, 77), b"nobody's", 5)
    await asyncio.sleep(6)
    assert found == [Repair(shard, "gw1", put=0, gone=1, was_whole=True)]
    assert gone == [spi_in(shard, 77)]
    assert copied(two, shard) == await stored(one, shard)


@simulated
async def test_octets_bent_within_a_record_are_found_by_the_scrub(cluster: Cluster) -> None:
    one, two, shard = await whole_pair(cluster)
    found = repairs(two)
    entries = two.mirrors._in._tables[shard].replica.entries
    before = entries[spi_in(shard, 3)]
    bent = b"x" + before.sealed[1:]  # with the tag that the whole record had
    entries[spi_in(shard, 3)] = MirrorEntry(before.spi, bent, before.revision)
    await asyncio.sleep(610)
    assert found == [Repair(shard, "gw1", put=1, gone=0, was_whole=True)]
    assert copied(two, shard) == await stored(one, shard)


@simulated
async def test_what_another_member_deletes_in_the_store_goes_from_the_copies(
    cluster: Cluster,
) -> None:
    one, two, shard = await whole_pair(cluster)
    await commit(one, shard, 1, b"", spare=True)
    one.mirrors.gone(shard, spi_in(shard, 1))
    one.mirrors.gone(shard, spi_in(shard, 1))
    one.mirrors.gone(shard, spi_in(shard, 99))
    await asyncio.sleep(0.1)
    assert copied(two, shard) == await stored(one, shard)
    await asyncio.sleep(6)
    assert two.mirrors.is_whole(shard)
    assert two.mirrors.counts().repaired == 0


@simulated
async def test_what_nobody_told_is_found_when_the_owner_looks_again(cluster: Cluster) -> None:
    one, two, shard = await whole_pair(cluster)
    await commit(one, shard, 1, b"", spare=True)
    await commit(one, shard, 2, b"unheard of", spare=True)
    await asyncio.sleep(20)
    assert copied(two, shard) != await stored(one, shard)
    one.mirrors.doubt(shard)
    await asyncio.sleep(6)
    assert copied(two, shard) == await stored(one, shard)
    await commit(one, shard, 4, b"", spare=True)
    await asyncio.sleep(610)
    assert copied(two, shard) == await stored(one, shard)
    await asyncio.sleep(6)
    assert two.mirrors.is_whole(shard)


@simulated
async def test_a_new_owner_finds_the_copies_whole_without_reading_them_again(
    cluster: Cluster,
) -> None:
    one = await Mirrored(cluster, "gw1", mirrors=2).begin()
    two = await Mirrored(cluster, "gw2", mirrors=2).begin()
    three = await Mirrored(cluster, "gw3", mirrors=2).begin()
    await asyncio.sleep(3)
    shard = one.owned[0]
    for number in range(5):
        await commit(one, shard, number, b"record %d" % number)
    await asyncio.sleep(WHOLE_S)
    found = repairs(two)
    three.mirrors.on_repaired.append(found.append)
    one.kill()
    await asyncio.sleep(8)
    heir, other = (two, three) if shard in two.owned else (three, two)
    assert shard in heir.owned
    assert not other.mirrors.is_whole(shard)
    assert copied(other, shard) == await stored(heir, shard)
    await commit(heir, shard, 9, b"the heir's")
    await asyncio.sleep(WHOLE_S)
    assert other.mirrors.is_whole(shard)
    assert copied(other, shard) == await stored(heir, shard)
    assert found == []


@simulated
async def test_a_backup_that_forgot_is_begun_with_anew(cluster: Cluster) -> None:
    one, two, shard = await whole_pair(cluster)
    two.mirrors._in.forget(shard)
    await commit(one, shard, 1, b"after")
    await asyncio.sleep(20)
    assert copied(two, shard) == await stored(one, shard)
    assert two.mirrors.is_whole(shard)
    two.mirrors._in.forget(shard)  # and without anything being sent
    await asyncio.sleep(20)
    assert two.mirrors.is_whole(shard)
    assert one.mirrors.lag() == 0


@simulated
async def test_a_store_that_is_away_is_asked_again(cluster: Cluster) -> None:
    one, two, shard = await whole_pair(cluster)
    two.mirrors._in._tables[shard].replica.entries.clear()
    two.way.away = True
    await asyncio.sleep(1)
    assert copied(two, shard) == {}
    two.way.away = False
    await asyncio.sleep(WHOLE_S)
    assert copied(two, shard) == await stored(one, shard)
    assert two.mirrors.counts().held == 5


@simulated
async def test_a_record_that_went_unheard_before_the_first_list_is_not_kept(
    cluster: Cluster,
) -> None:
    one, two = await pair(cluster)  # whose shards are listed 5 s after they were gained
    shard = shard_of(one)
    await commit(one, shard, 1, b"comes")
    await commit(one, shard, 2, b"stays")
    await commit(one, shard, 1, b"", spare=True)
    await asyncio.sleep(WHOLE_S + 5)
    assert copied(two, shard) == await stored(one, shard)
    assert two.mirrors.is_whole(shard)


@simulated
async def test_keys_that_are_no_records_are_left_out(cluster: Cluster) -> None:
    one, two, shard = await whole_pair(cluster)
    store = cluster.store
    prefix = KEYS.shard_records(shard)
    await store.commit(Txn(success=(Put(prefix + b"index", b"a later release's"),)))
    await store.commit(Txn(success=(Put(prefix + b"00ff", b"neither"),)))
    two.mirrors._in._read(shard, was_whole=True)
    one.mirrors.doubt(shard)
    await asyncio.sleep(WHOLE_S)
    assert two.mirrors.is_whole(shard)
    assert len(copied(two, shard)) == 5
