"""The owner's lists: when they are made, and what happens while they are."""

import asyncio

from cluster.errors import Unavailable
from cluster.mirror_ledger import Ledger
from cluster.mirror_settings import MirrorSettings
from cluster.replica import Merged
from cluster.store import Delete, Put, Scan, Txn
from tests.unit.cluster.members import KEYS, Cluster, OwnStore, simulated
from tests.unit.cluster.mirrored import spi_in
from tests.unit.cluster.owners import Owner

SHARD = 3
SPI = spi_in(SHARD)
KEY = KEYS.record(SHARD, SPI)


class SlowStore(OwnStore):
    """A scan is answered after 5 s, with what there was when it was asked for; or it fails then."""

    scans = 0
    fails = False

    async def scan(self, prefix: bytes) -> Scan:
        self.scans += 1
        found = await self._store.scan(prefix)
        await asyncio.sleep(5)
        if self.fails:
            raise Unavailable("by the test")
        return found


class Listing:
    """A ledger that has just gained `SHARD`: it asks for the first scan after 5 s."""

    def __init__(self, cluster: Cluster) -> None:
        self.store = SlowStore(cluster.store)
        self.told: list[Merged] = []
        self.ledger = Ledger(
            self.store,
            KEYS,
            cluster.clock,
            Owner(cluster, "gw1").ownership,
            MirrorSettings(),
            lambda _shard, merged, _revision: self.told.append(merged),
        )
        self.ledger.gained(SHARD)
        cluster.spawn(self.ledger.run(), "ledger")


@simulated
async def test_a_shard_that_is_lost_while_its_scan_fails_is_not_due_any_more(
    cluster: Cluster,
) -> None:
    listing = Listing(cluster)
    listing.store.fails = True
    await asyncio.sleep(6)
    listing.ledger.lost(SHARD)
    await asyncio.sleep(60)
    assert listing.store.scans == 1
    assert listing.ledger._due == {}  # what is due and never listed would be looked at for ever


@simulated
async def test_a_scan_that_fails_is_made_again(cluster: Cluster) -> None:
    listing = Listing(cluster)
    listing.store.fails = True
    await asyncio.sleep(11)
    listing.store.fails = False
    assert listing.ledger.digest(SHARD) is None
    await asyncio.sleep(10)
    assert listing.ledger.digest(SHARD) is not None
    await asyncio.sleep(60)
    assert listing.store.scans == 2


@simulated
async def test_a_doubt_that_comes_up_during_a_scan_is_looked_into_after_it(
    cluster: Cluster,
) -> None:
    listing = Listing(cluster)
    await asyncio.sleep(6)
    await cluster.store.commit(Txn(success=(Put(KEY, b"record"),)))
    listing.ledger.doubt(SHARD)
    await asyncio.sleep(30)
    assert listing.ledger.count(SHARD) == 1
    assert listing.store.scans == 2


@simulated
async def test_what_is_gone_stays_gone_though_a_scan_under_way_shows_it(cluster: Cluster) -> None:
    listing = Listing(cluster)
    ledger = listing.ledger
    await cluster.store.commit(Txn(success=(Put(KEY, b"record"),)))
    await asyncio.sleep(11)
    assert ledger.count(SHARD) == 1
    ledger.doubt(SHARD)
    await asyncio.sleep(7)  # 2 s of a scan
    assert listing.store.scans == 2
    deleted = await cluster.store.commit(Txn(success=(Delete(KEY),)))
    entry = ledger.gone(SHARD, SPI)
    assert entry is not None
    assert not entry.sealed
    assert entry.revision <= deleted.revision  # whatever comes after it is newer
    await asyncio.sleep(5)
    assert ledger.count(SHARD) == 0
    assert listing.told == []


@simulated
async def test_what_is_gone_before_the_first_scan_shows_it_is_looked_for_again(
    cluster: Cluster,
) -> None:
    listing = Listing(cluster)
    ledger = listing.ledger
    await cluster.store.commit(Txn(success=(Put(KEY, b"record"),)))
    await asyncio.sleep(7)  # 2 s of a scan
    await cluster.store.commit(Txn(success=(Delete(KEY),)))
    assert ledger.gone(SHARD, SPI) is None
    await asyncio.sleep(15)
    assert ledger.count(SHARD) == 0
    assert [[entry.spi for entry in merged.gone] for merged in listing.told] == [[SPI]]
    assert ledger.gone(SHARD, SPI) is None
    await asyncio.sleep(60)
    assert listing.store.scans == 2
