"""Members that mirror, on virtual time, with SAs that are a table of counters."""

import asyncio
from collections.abc import Iterable

from cluster.backups import backups
from cluster.link import Counters
from cluster.mirror import Mirrors, MirrorSettings
from tests.unit.cluster.members import Cluster
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

    def __init__(self, cluster: Cluster, name: str, life: int = 1, **changed: object) -> None:
        super().__init__(cluster, name, life)
        values: dict[str, object] = {"held_max": 1000, **changed}
        self.sas = Sas()
        self.mirrors = Mirrors(
            self.link,
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


async def pair(cluster: Cluster, **changed: object) -> tuple[Mirrored, Mirrored]:
    one = await Mirrored(cluster, "gw1", **changed).begin()
    two = await Mirrored(cluster, "gw2", **changed).begin()
    await asyncio.sleep(3)
    return one, two
