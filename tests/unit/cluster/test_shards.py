"""SPIs that carry their shard, and the ranking of members."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.shards import SHARDS_MAX, SpiCodec, rank
from proto.secret import Secret
from tests.unit.cluster.owners import assign

KEY = Secret(bytes(range(32)))
CODEC = SpiCodec(KEY, SHARDS_MAX)
SHARD = st.integers(0, SHARDS_MAX - 1)


@given(SHARD, st.binary(min_size=6, max_size=6))
def test_an_ike_spi_gives_its_shard_back(shard: int, r48: bytes) -> None:
    spi = CODEC.ike_spi(shard, r48)
    assert len(spi) == 8
    assert spi != bytes(8)
    assert CODEC.shard_of(spi) == shard


@given(SHARD, st.binary(min_size=2, max_size=2))
def test_an_esp_spi_gives_its_shard_back_and_is_never_reserved(shard: int, r16: bytes) -> None:
    spi = CODEC.esp_spi(shard, r16)
    assert len(spi) == 4
    assert int.from_bytes(spi, "big") > 255
    assert CODEC.shard_of_esp(spi) == shard


def test_no_esp_spi_is_reserved_whatever_the_shard() -> None:
    for shard in range(SHARDS_MAX):
        assert int.from_bytes(CODEC.esp_spi(shard, b"\0\0"), "big") > 255


@given(st.binary(min_size=8, max_size=8))
def test_a_foreign_spi_gives_some_16_bit_number(spi: bytes) -> None:
    assert 0 <= CODEC.shard_of(spi) < 1 << 16


def test_foreign_spis_are_mostly_out_of_range_of_a_small_cluster() -> None:
    codec = SpiCodec(KEY, 16)
    source = random.Random(1)
    hits = sum(codec.shard_of(source.randbytes(8)) < 16 for _ in range(5000))
    assert hits < 20  # 1.2 expected: 16 of 65536


def test_the_shard_bits_of_one_shard_look_uniform() -> None:
    """Chi-squared over the last octet: 255 degrees of freedom, 400 is beyond one in 10^8."""
    source = random.Random(2)
    spis = [CODEC.ike_spi(7, source.randbytes(6)) for _ in range(20_000)]
    for position in (6, 7):
        counts = Counter(spi[position] for spi in spis)
        expected = len(spis) / 256
        assert sum((counts[octet] - expected) ** 2 / expected for octet in range(256)) < 400


def test_neighbouring_random_parts_have_unrelated_masks() -> None:
    masks = {CODEC.ike_spi(0, n.to_bytes(6, "big"))[6:] for n in range(1, 1001)}
    assert len(masks) > 970  # 1000 draws of 65536: about 992 differ


def test_another_key_reads_another_shard() -> None:
    other = SpiCodec(Secret(bytes(32)), SHARDS_MAX)
    source = random.Random(3)
    wrong = sum(other.shard_of(CODEC.ike_spi(5, source.randbytes(6))) != 5 for _ in range(200))
    assert wrong >= 199


def test_ike_and_esp_masks_are_unrelated() -> None:
    ike = SpiCodec(KEY, 1)
    same = sum(
        ike.ike_spi(0, bytes(4) + n.to_bytes(2, "big"))[6:]
        == ike.esp_spi(0, n.to_bytes(2, "big"))[2:]
        for n in range(1, 500)
    )
    assert same <= 2


@pytest.mark.parametrize(("shard", "size"), [(-1, 6), (64, 6), (0, 5), (0, 7)])
def test_a_shard_or_length_out_of_range_is_refused(shard: int, size: int) -> None:
    codec = SpiCodec(KEY, 64)
    with pytest.raises(ValueError, match="shard"):
        codec.ike_spi(shard, bytes(size))
    with pytest.raises(ValueError, match="shard"):
        codec.esp_spi(shard, bytes(size - 4 if size != 6 else 2))


@pytest.mark.parametrize(("key", "shards"), [(bytes(31), 64), (bytes(32), 0), (bytes(32), 4097)])
def test_a_codec_that_cannot_be_is_refused(key: bytes, shards: int) -> None:
    with pytest.raises(ValueError, match=r"needed|possible"):
        SpiCodec(Secret(key), shards)


def test_ranking_is_pinned() -> None:
    """Every release must agree on it, or two members claim the same shard."""
    assert rank(0, ["gw1", "gw2", "gw3"]) == RANK_0
    assert rank(4095, ["gw3", "gw2", "gw1"]) == RANK_4095


RANK_0 = ("gw1", "gw3", "gw2")
RANK_4095 = ("gw2", "gw3", "gw1")

NAMES = st.lists(st.text("abcdefgh0123", min_size=1, max_size=6), unique=True, max_size=8)


@given(SHARD, NAMES, st.randoms(use_true_random=False))
def test_the_rank_does_not_depend_on_the_order_given(
    shard: int, names: list[str], source: random.Random
) -> None:
    shuffled = names[:]
    source.shuffle(shuffled)
    assert rank(shard, names) == rank(shard, shuffled)
    assert sorted(rank(shard, names)) == sorted(names)


@given(NAMES.filter(lambda names: len(names) > 1))
def test_a_lost_member_moves_only_its_own_shards(names: list[str]) -> None:
    before = assign(64, names)
    after = assign(64, names[1:])
    for shard, owner in before.items():
        heir = rank(shard, names)[1] if owner == names[0] else owner
        assert after[shard] == heir


def test_every_member_gets_a_fair_share() -> None:
    owned = Counter(assign(1024, ["gw1", "gw2", "gw3", "gw4"]).values())
    assert sum(owned.values()) == 1024
    assert min(owned.values()) > 200
