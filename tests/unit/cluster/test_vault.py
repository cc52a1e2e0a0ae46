"""Envelope encryption: what opens, what doesn't, and what the person reads then."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import Incompatible, WrongKek
from cluster.vault import Kek, Keks, open_sealed, seal
from proto.secret import Secret
from tests.unit.cluster.fakes import SeededRng

KEK = Kek(Secret(bytes(range(32))))
OTHER = Kek(Secret(bytes(32)))
NAME = b"/standfast/sample/ring"


@given(st.binary(max_size=300))
def test_what_was_sealed_opens(plaintext: bytes) -> None:
    sealed = seal(KEK, plaintext, NAME, SeededRng(1, "vault"))
    assert open_sealed(KEK, sealed, NAME) == plaintext


def test_nothing_sealed_is_readable_or_repeats() -> None:
    rng = SeededRng(1, "vault")
    canary = b"canary in a coal mine"
    one, two = seal(KEK, canary, NAME, rng), seal(KEK, canary, NAME, rng)
    assert canary not in one
    assert one[41:] != two[41:]


def test_a_wrong_kek_is_named_in_one_line_that_says_what_to_do() -> None:
    sealed = seal(KEK, b"x", NAME, SeededRng(1, "vault"))
    with pytest.raises(WrongKek) as caught:
        open_sealed(OTHER, sealed, NAME)
    message = str(caught.value)
    assert "\n" not in message
    assert KEK.kek_id.hex() in message
    assert OTHER.kek_id.hex() in message
    assert "/standfast/sample/ring" in message
    assert f"this member holds: {OTHER.kek_id.hex()} → give it the cluster's own" in message


def test_a_wrong_kek_says_where_each_that_is_held_is_from() -> None:
    sealed = seal(KEK, b"x", NAME, SeededRng(1, "vault"))
    one = Kek(Secret(b"1" * 32), "kek_credential standfast.kek")
    two = Kek(Secret(b"2" * 32), "kek_next_command tpm2_unseal")
    same = Kek(Secret(b"1" * 32), "kek_next_file later")
    with pytest.raises(WrongKek) as caught:
        Keks((one, two, same)).open(sealed, NAME)
    said = (
        f"{one.kek_id.hex()} (from kek_credential standfast.kek), "
        f"{two.kek_id.hex()} (from kek_next_command tpm2_unseal) → give it"
    )
    assert said in str(caught.value)


@pytest.mark.parametrize("name", [b"/standfast/sample/spi-key", b"/standfast/other/ring"])
def test_a_value_moved_to_another_place_does_not_open(name: bytes) -> None:
    sealed = seal(KEK, b"x", NAME, SeededRng(1, "vault"))
    with pytest.raises(WrongKek, match="damaged or moved"):
        open_sealed(KEK, sealed, name)


def test_no_flipped_bit_opens() -> None:
    sealed = seal(KEK, b"plain", NAME, SeededRng(1, "vault"))
    for position in range(len(sealed)):
        flipped = bytearray(sealed)
        flipped[position] ^= 1
        with pytest.raises((WrongKek, Incompatible)):
            open_sealed(KEK, bytes(flipped), NAME)


def test_no_truncation_opens() -> None:
    sealed = seal(KEK, b"plain", NAME, SeededRng(1, "vault"))
    for length in range(len(sealed)):
        with pytest.raises((WrongKek, Incompatible)):
            open_sealed(KEK, sealed[:length], NAME)


def test_a_newer_format_is_said_to_be_one() -> None:
    sealed = seal(KEK, b"x", NAME, SeededRng(1, "vault"))
    with pytest.raises(Incompatible, match="another release"):
        open_sealed(KEK, b"\x02" + sealed[1:], NAME)


def test_a_kek_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 octets"):
        Kek(Secret(bytes(16)))


def test_a_kek_does_not_print_itself() -> None:
    assert bytes(range(32)).hex() not in repr(KEK)
