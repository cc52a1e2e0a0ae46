"""ESP SPIs: never one that is taken, whatever the dice say; hidden shards (trap 19)."""

from collections import Counter

import pytest

from cluster.shards import SpiCodec
from node.esp import RANDOM_MAX, STALE_MAX, EspSpis
from node.kernel import NullKernel
from proto.ike.effects import InstallChild, Path, RemoveChild
from proto.ike.enums import NotifyType
from proto.ike.errors import PeerError
from proto.ike.suite import ChildSuite
from proto.secret import Secret
from tests.sim.seams import SeededRng

CODEC = SpiCodec(Secret(bytes(range(32))), 64)
IKE = CODEC.ike_spi(5, b"random")
PATH = Path(("192.0.2.1", 4500), ("198.51.100.7", 4500))
SUITE = ChildSuite(20, 256, 0, False)


class Dice:
    """Says what it is told to, over and over."""

    def __init__(self, *values: bytes) -> None:
        self.values = values
        self.thrown = 0

    def bytes(self, n: int) -> bytes:
        self.thrown += 1
        return self.values[(self.thrown - 1) % len(self.values)][:n]


def esp(rng: Dice | SeededRng) -> EspSpis:
    return EspSpis(NullKernel(), CODEC, rng)


def install(spi: bytes) -> InstallChild:
    return InstallChild(spi, b"peer", SUITE, Secret(bytes(72)), False, (), (), PATH)


def test_trap_19_an_spi_that_is_taken_is_never_handed_out_again() -> None:
    spis = esp(Dice(b"\1\2", b"\1\2", b"\1\2", b"\3\4"))
    first = spis.fresh(IKE)
    second = spis.fresh(IKE)  # handed out, not installed yet
    assert first != second
    spis.apply(install(first))
    spis.apply(install(second))
    third = spis.fresh(IKE)
    assert len({first, second, third}) == 3
    assert CODEC.shard_of_esp(third) == 5


def test_what_was_removed_is_free_again_and_so_is_what_its_sa_never_installed() -> None:
    spis = esp(Dice(b"\1\2"))
    first = spis.fresh(IKE)
    spis.apply(install(first))
    spis.apply(RemoveChild(first))
    assert spis.fresh(IKE) == first
    gone: list[bytes] = []
    spis.is_kept = lambda ike_spi, _spi: ike_spi not in gone
    assert spis.fresh(IKE) != first
    gone.append(IKE)
    assert spis.fresh(IKE) == first


def test_an_adopted_child_sas_spi_is_taken() -> None:
    spis = esp(Dice(b"\1\2"))
    inherited = CODEC.esp_spi(5, b"\1\2")
    spis.apply(install(inherited))
    assert spis.fresh(IKE) != inherited


def test_a_shard_that_is_full_says_so_and_another_goes_on() -> None:
    spis = esp(SeededRng(1, "full"))
    for number in range(1, 1 << 16):
        spis.apply(install(CODEC.esp_spi(5, number.to_bytes(2, "big"))))
    with pytest.raises(PeerError) as refused:
        spis.fresh(IKE)
    assert refused.value.notify is NotifyType.NO_ADDITIONAL_SAS
    assert CODEC.shard_of_esp(spis.fresh(CODEC.ike_spi(6, b"random"))) == 6
    free = CODEC.esp_spi(5, b"\7\7")
    spis.apply(RemoveChild(free))
    assert spis.fresh(IKE) == free


def test_what_was_handed_out_in_vain_is_bounded() -> None:
    spis = esp(SeededRng(1, "vain"))
    spis.is_kept = lambda _ike_spi, _spi: False
    for number in range(3 * STALE_MAX):
        spis.fresh(CODEC.ike_spi(number % 64, number.to_bytes(6, "big")))
        assert len(spis._handed_out) <= STALE_MAX


def test_what_one_sa_began_and_did_not_go_on_with_leaves_the_shard_to_others() -> None:
    """It may begin Child SAs without end, and can go on with the last one (RFC 9370 2.2.4)."""
    spis, last = esp(SeededRng(1, "begun")), b""
    spis.is_kept = lambda _ike_spi, spi: spi == last
    for _ in range(RANDOM_MAX + STALE_MAX):
        former, last = last, spis.fresh(IKE)
        assert last != former
        assert len(spis._handed_out) <= STALE_MAX


def test_what_is_kept_is_not_looked_through_for_each_that_is_handed_out() -> None:
    spis, looked = esp(SeededRng(1, "kept")), 0

    def is_kept(_ike_spi: bytes, _spi: bytes) -> bool:
        nonlocal looked
        looked += 1
        return True

    spis.is_kept = is_kept
    for number in range(3 * STALE_MAX):
        spis.fresh(CODEC.ike_spi(number % 64, number.to_bytes(6, "big")))
    assert looked < 20 * STALE_MAX


@pytest.mark.parametrize("use", ["ike", "esp"])
def test_trap_19_who_sees_spis_learns_neither_shard_nor_number(use: str) -> None:
    """Ten thousand SPIs of one shard: every bit is set half of the time, no octet stands out, and
    the octets that hide the shard are as spread as those of all shards together.
    """
    rng = SeededRng(7, use)
    make = CODEC.ike_spi if use == "ike" else CODEC.esp_spi
    numbers = rng.random.sample(range(1, 1 << 16 if use == "esp" else 1 << 48), 20_000)
    drawn = [number.to_bytes(2 if use == "esp" else 6, "big") for number in numbers]
    spis = [make(5, octets) for octets in drawn[:10_000]]
    for bit in range(8 * len(spis[0])):
        ones = sum(spi[bit // 8] >> (bit % 8) & 1 for spi in spis)
        assert 4_700 < ones < 5_300, f"bit {bit}: {ones}"
    for at in range(len(spis[0])):
        seen = Counter(spi[at] for spi in spis)
        assert len(seen) == 256
        assert max(seen.values()) < 80  # 39 on average
    hidden = {spi[-2:] for spi in spis}
    across = {make(n % 64, octets)[-2:] for n, octets in enumerate(drawn[10_000:])}
    assert abs(len(hidden) - len(across)) < 200
    assert len(set(spis)) == 10_000
