"""Members that mirror, on virtual time, with SAs that are a table of counters."""

import asyncio
from collections.abc import Iterable
from typing import Any

from cluster.backups import backups
from cluster.link import Counters, MirrorEntry
from cluster.mirror import Mirrors
from cluster.mirror_settings import MirrorSettings
from cluster.store import Delete, Put, Txn
from tests.unit.cluster.members import KEYS, Cluster
from tests.unit.cluster.owners import Owner

LOCAL, REMOTE = ("192.0.2.1", 4500), ("198.51.100.7", 4500)


class Sas:
    """Implements `cluster.counters.CounterSource`; the last two octets of an SPI are its shard."""

    def __init__(self) -> None:
        self.moved: dict[bytes, tuple[int, int]] = {}
        self.read_count = 0

    def read(self, spi: bytes) -> Counters | None:
        self.read_count += 1
        ids = self.moved.get(spi)
        return None if ids is None else Counters(spi, *ids, LOCAL, REMOTE, float(ids[0]))

    def spis(self) -> Iterable[bytes]:
        return list(self.moved)

    def shard_of(self, spi: bytes) -> int:
        return int.from_bytes(spi[6:], "big")


class Mirrored(Owner):
    """An owner that mirrors."""

    def __init__(
        self, cluster: Cluster, name: str, life: int = 1, host: str = "", **changed: object
    ) -> None:
        super().__init__(cluster, name, life, host=host or f"host-of-{name}")
        values: dict[str, object] = {"held_max": 1000, **changed}
        self.sas = Sas()
        self.mirrors = Mirrors(
            self.link,
            self.way,
            KEYS,
            cluster.clock_of(name),
            me=name,
            roster=self.member.roster,
            ownership=self.ownership,
            settings=MirrorSettings(**values),  # type: ignore[arg-type]
            source=self.sas,
        )
        self.mirrors.listen(self.dispatch)

    async def begin(self) -> "Mirrored":
        self.mirrors.start(self._spawn)
        await super().begin()
        return self

    def move(self, spi: bytes, expected_id: int, next_id: int = 0) -> None:
        """An SA of ours has come to this."""
        self.sas.moved[spi] = (expected_id, next_id)
        self.mirrors.hot.touch(spi)


async def commit(
    owner: Mirrored, shard: int, number: int, sealed: bytes, spare: bool = False
) -> MirrorEntry:
    """A record of `owner` is written (empty: deleted), and offered; `spare`: it forgets to."""
    spi = spi_in(shard, number)
    key = KEYS.record(shard, spi)
    write = Put(key, sealed) if sealed else Delete(key)
    result = await owner.cluster.store.commit(Txn(success=(write,)))
    entry = MirrorEntry(spi, sealed, result.revision)
    if not spare:
        owner.mirrors.offer(shard, entry)
    return entry


async def stored(owner: Mirrored, shard: int) -> dict[bytes, bytes]:
    """What the store has of `shard`, by SPI."""
    prefix = KEYS.shard_records(shard)
    scan = await owner.cluster.store.scan(prefix)
    return {bytes.fromhex(e.key[len(prefix) :].decode()): e.value for e in scan.entries}


def copied(backup: Mirrored, shard: int) -> dict[bytes, bytes]:
    """What `backup` holds of `shard`, by SPI."""
    return {entry.spi: entry.sealed for entry in backup.mirrors.held(shard).values()}


def spi_in(shard: int, number: int = 1) -> bytes:
    """An SPI of `Sas` that lives in `shard`."""
    return number.to_bytes(6, "big") + shard.to_bytes(2, "big")


def shard_of(owner: Owner, name: str = "") -> int:
    """A shard of `owner` (whose first backup is `name`)."""
    members = owner.member.members
    for shard in owner.owned:
        if not name or backups(shard, owner.name, members, 1) == (name,):
            return shard
    raise AssertionError("no such shard")


async def pair(cluster: Cluster, **changed: Any) -> tuple[Mirrored, Mirrored]:
    one = await Mirrored(cluster, "gw1", **changed).begin()
    two = await Mirrored(cluster, "gw2", **changed).begin()
    await asyncio.sleep(3)
    return one, two
