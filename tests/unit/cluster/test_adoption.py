"""A gained shard is read once it was gained, handed on, and its records left where they are."""

import asyncio

from cluster.adoption import Adoption, AdoptionSettings, Opened
from cluster.errors import Unavailable
from cluster.keyring import RingPolicy, new_ring
from cluster.layout import ShardRecord
from cluster.records import RecordVault
from cluster.store import Put, Scan, Txn
from tests.sim.seams import SeededRng
from tests.unit.cluster.members import KEYS, Cluster, simulated
from tests.unit.cluster.owners import SHARDS, Owner, write_shard

DEAD = ShardRecord("gw9", "00" * 16, 4)
"""What a member that is gone has left."""
SPI = bytes(range(8))


class Slow:
    """The store as the adopter sees it: counts scans in flight, and refuses the first ones."""

    def __init__(self, owner: Owner, refused: int = 0) -> None:
        self._owner = owner
        self.refused = refused
        self.in_flight = self.most = 0
        self.scans = 0

    async def scan(self, prefix: bytes) -> Scan:
        self.scans += 1
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        await asyncio.sleep(0.1)
        self.in_flight -= 1
        if self.refused:
            self.refused -= 1
            raise Unavailable("refused by the test")
        return await self._owner.way.scan(prefix)


class Reader:
    """An owner that adopts, with what it was handed."""

    def __init__(self, cluster: Cluster, refused: int = 0, **settings: int) -> None:
        self.owner = Owner(cluster, "gw1", listen_s=0.0)
        ring = new_ring(SeededRng(1, "ring"), cluster.clock.wall_s(), RingPolicy())
        self.vault = RecordVault(lambda: ring, cluster.clock, SeededRng(1, "vault"))
        self.store = Slow(self.owner, refused)
        self.taken: list[tuple[int, int, list[Opened]]] = []
        self.read: list[tuple[int, int]] = []
        self.unreadable: list[tuple[int, int, str]] = []
        self.adoption = Adoption(
            self.store,  # type: ignore[arg-type]
            KEYS,
            spawn=cluster.spawn,
            vault=self.vault,
            ownership=self.owner.ownership,
            take=lambda *taken: self.taken.append(taken),
            settings=AdoptionSettings(**settings),
        )
        self.adoption.on_read.append(lambda *read: self.read.append(read))
        self.adoption.on_unreadable.append(lambda *left: self.unreadable.append(left))

    def sealed(self, shard: int, spi: bytes) -> Put:
        key = KEYS.record(shard, spi)
        return Put(key, self.vault.seal_record(b"record of " + spi, key))


async def leave_behind(cluster: Cluster, reader: Reader, shard: int, count: int) -> None:
    """A member that died owned `shard`, with `count` records in it."""
    await write_shard(cluster, shard, DEAD)
    for n in range(count):
        put = reader.sealed(shard, n.to_bytes(8, "big"))
        await cluster.store.commit(Txn(success=(put,)))


@simulated
async def test_a_shard_that_was_gained_is_read_and_pending_until_then(cluster: Cluster) -> None:
    reader = Reader(cluster)
    await leave_behind(cluster, reader, 5, 3)
    await reader.owner.begin()
    await asyncio.sleep(0.05)
    assert reader.owner.ownership.fence_of(5) == 5
    assert reader.adoption.is_pending(5)
    assert reader.taken == []
    await asyncio.sleep(0.2)
    ((shard, fence, records),) = reader.taken
    assert (shard, fence) == (5, 5)
    spis = [n.to_bytes(8, "big") for n in range(3)]
    assert records == [Opened(spi, b"record of " + spi) for spi in spis]
    assert reader.read == [(5, 5)]
    assert not reader.adoption.is_pending(5)


@simulated
async def test_a_shard_that_nobody_ever_owned_is_not_read(cluster: Cluster) -> None:
    reader = Reader(cluster)
    await reader.owner.begin()
    await asyncio.sleep(0.5)
    assert len(reader.owner.owned) == SHARDS
    assert reader.store.scans == 0
    assert reader.adoption.pending == 0


@simulated
async def test_so_many_shards_are_read_at_once_and_no_more(cluster: Cluster) -> None:
    reader = Reader(cluster, scans_max=3)
    for shard in range(8):
        await leave_behind(cluster, reader, shard, 1)
    await reader.owner.begin()
    await asyncio.sleep(0.5)
    assert len(reader.read) == 8
    assert reader.store.most == 3
    assert reader.store.scans == 8


@simulated
async def test_a_store_that_does_not_answer_is_asked_again(cluster: Cluster) -> None:
    reader = Reader(cluster, refused=3)
    await leave_behind(cluster, reader, 5, 2)
    await reader.owner.begin()
    await asyncio.sleep(0.25)
    assert reader.adoption.is_pending(5)
    await asyncio.sleep(1)
    ((_, _, records),) = reader.taken
    assert len(records) == 2
    assert not reader.adoption.is_pending(5)


@simulated
async def test_nothing_is_handed_on_of_a_shard_that_was_lost_meanwhile(cluster: Cluster) -> None:
    reader = Reader(cluster, records_per_step=1)
    await leave_behind(cluster, reader, 5, 3)
    await reader.owner.begin()
    await asyncio.sleep(0.05)
    await write_shard(cluster, 5, ShardRecord("gw8", "11" * 16, 6))
    await asyncio.sleep(0.01)
    assert reader.owner.ownership.fence_of(5) is None
    assert not reader.adoption.is_pending(5)
    await asyncio.sleep(1)
    fences = [fence for _, fence, _ in reader.taken]
    assert 5 not in fences
    assert fences == [7] * 3, "gained again under the next fence, and read again"


@simulated
async def test_records_are_handed_on_a_few_at_a_time(cluster: Cluster) -> None:
    reader = Reader(cluster, records_per_step=2)
    await leave_behind(cluster, reader, 5, 5)
    await reader.owner.begin()
    await asyncio.sleep(0.5)
    assert [len(records) for _, _, records in reader.taken] == [2, 2, 1]


@simulated
async def test_a_record_that_cant_be_opened_stays_and_is_told_once(cluster: Cluster) -> None:
    reader = Reader(cluster)
    await leave_behind(cluster, reader, 5, 2)
    good, moved = reader.sealed(5, SPI), reader.sealed(6, SPI)
    newer = Put(KEYS.record(5, b"\xff" * 8), b"\x02" + good.value[1:])
    wrong = Put(KEYS.record(5, SPI), moved.value)
    await cluster.store.commit(Txn(success=(newer, wrong)))
    await reader.owner.begin()
    await asyncio.sleep(0.5)
    ((_, _, records),) = reader.taken
    assert len(records) == 2
    ((shard, count, why),) = reader.unreadable
    assert (shard, count) == (5, 2)
    assert "damaged or moved" in why
    assert reader.adoption.unreadable == 2
    assert len((await cluster.store.scan(KEYS.shard_records(5))).entries) == 4
    assert not reader.adoption.is_pending(5)
