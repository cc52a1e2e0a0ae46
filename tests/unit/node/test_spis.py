"""A gateway's SPIs, by the shard they live in."""

from typing import cast

from cluster.ownership import Ownership
from cluster.seams import Rng
from cluster.shards import SPI_KEY_LEN, SpiCodec
from node.esp import EspSpis
from node.kernel import NullKernel
from node.spis import ShardSpis
from proto.secret import Secret
from tests.unit.cluster.fakes import SeededRng

SHARDS = 8


class AllMine:
    """An ownership that has every shard; the first is on its way."""

    leaving = (0,)

    def __init__(self) -> None:
        self.noted: list[int] = []

    def choose_shard(self, rng: Rng) -> int | None:
        """Any."""
        return rng.bytes(1)[0] % SHARDS

    def begins_in(self, shard: int) -> bool:
        """It is noted."""
        self.noted.append(shard)
        return True


def test_all_shards_lost_at_once_are_one_look_through_the_sessions() -> None:
    codec = SpiCodec(Secret(bytes(SPI_KEY_LEN)), SHARDS)
    esp = EspSpis(NullKernel(), codec, SeededRng(2))
    spis = ShardSpis(codec, cast(Ownership, AllMine()), SeededRng(1), 0, esp)
    there: list[bytes] = []
    looks = 0

    def look() -> list[bytes]:
        nonlocal looks
        looks += 1
        return there

    def make() -> bytes:
        spi = spis.ike_spi()
        assert spi is not None
        there.append(spi)
        return spi

    for _ in range(100):
        make()
    found = {shard: spis.take(shard, look) for shard in range(SHARDS)}
    assert looks == 1
    assert sorted(spi for some in found.values() for spi in some) == sorted(there)
    assert all(codec.shard_of(spi) == shard for shard, some in found.items() for spi in some)
    newest = make()
    assert newest in spis.take(codec.shard_of(newest), look)


def test_nothing_of_ours_begins_in_a_shard_that_is_on_its_way_nor_at_the_end() -> None:
    codec = SpiCodec(Secret(bytes(SPI_KEY_LEN)), SHARDS)
    esp = EspSpis(NullKernel(), codec, SeededRng(2))
    ownership = AllMine()
    spis = ShardSpis(codec, cast(Ownership, ownership), SeededRng(1), 0, esp)
    here = [codec.ike_spi(shard, b"random") for shard in (0, 1)]
    assert [spis.begins(spi, makes=False) for spi in here] == [False, True]
    assert ownership.noted == []  # it keeps no shard
    assert [spis.begins(spi, makes=True) for spi in here] == [False, True]
    assert ownership.noted == [1]
    spis.ending = True
    assert not any(spis.begins(spi, makes) for spi in here for makes in (False, True))
