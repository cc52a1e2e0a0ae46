"""Protection of single bodies, and the space of IVs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.ike.aead import AeadProtection, CbcHmacProtection, IvSpace, protection
from proto.ike.enums import Encr, KeMethod, Prf
from proto.ike.errors import Misuse, WireError
from proto.ike.suite import Suite
from proto.secret import Secret
from tests.unit.proto.test_message import SUITES, keyed


@pytest.mark.parametrize("suite", SUITES, ids=str)
@given(aad=st.binary(max_size=40), plaintext=st.binary(max_size=100))
def test_what_was_sealed_opens_and_its_length_was_foretold(suite, aad, plaintext):
    box, iv = keyed(suite)
    body = box.seal(aad, iv, plaintext)
    assert body[: box.iv_len] == iv
    assert len(body) == box.sealed_len(len(plaintext))
    assert len(body) - len(plaintext) <= box.overhead
    assert box.open(aad, body) == plaintext


@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_no_change_opens(suite):
    box, iv = keyed(suite)
    body = box.seal(b"head", iv, b"content")
    for bit in range(8 * len(body)):
        flipped = bytearray(body)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WireError):
            box.open(b"head", bytes(flipped))
    for end in range(len(body)):
        with pytest.raises(WireError):
            box.open(b"head", body[:end])
    for aad, changed in [(b"hea", body), (b"", body), (b"headx", body), (b"head", body + b"\0")]:
        with pytest.raises(WireError):
            box.open(aad, changed)


def padded_by_hand(suite, tail: bytes) -> bytes:
    """A body with a right integrity check over a content that ends in `tail`, padding included."""
    box, iv = keyed(suite)
    if isinstance(box, AeadProtection):
        octets = box._sk_e.octets
        return iv + box._cipher(octets[:-4]).encrypt(octets[-4:] + iv, tail, b"")
    assert isinstance(box, CbcHmacProtection)
    # sealing 16 octets more gives the wanted blocks, then one block of padding, which is cut off
    blocks = iv + box.seal(b"", iv, tail)[16 : 16 + len(tail)]
    return blocks + box._icv(blocks)


@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_any_padding_that_fits_is_taken_and_any_other_refused(suite):
    box, _ = keyed(suite)
    assert box.open(b"", padded_by_hand(suite, b"content" + b"\x99" * 8 + b"\x08")) == b"content"
    assert box.open(b"", padded_by_hand(suite, b"\x77" * 15 + b"\x0f")) == b""
    with pytest.raises(WireError, match="padding"):
        box.open(b"", padded_by_hand(suite, b"\x77" * 15 + b"\x10"))


def test_an_aead_body_without_even_a_pad_length_is_a_wire_error():
    box, _ = keyed(SUITES[0])
    with pytest.raises(WireError, match="padding"):
        box.open(b"", padded_by_hand(SUITES[0], b""))


@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_an_iv_of_another_length_is_misuse(suite):
    box, iv = keyed(suite)
    with pytest.raises(Misuse):
        box.seal(b"", iv[1:], b"content")


def test_only_aeads_take_counters_as_ivs():
    kinds = [keyed(suite)[0].counter_iv for suite in SUITES]
    assert kinds == [True, True, True, False, False, False]


@pytest.mark.parametrize(("encr", "integ"), [(99, 0), (Encr.ENCR_AES_CBC, 0), (99, 12), (20, 12)])
def test_a_suite_that_can_not_have_been_chosen_is_misuse(encr, integ):
    with pytest.raises(Misuse):
        keyed(Suite(encr, 128, integ, Prf.PRF_HMAC_SHA2_256, KeMethod.CURVE25519))


def test_an_unknown_integrity_algorithm_is_misuse():
    suite = Suite(Encr.ENCR_AES_CBC, 128, 2, Prf.PRF_HMAC_SHA2_256, KeMethod.CURVE25519)
    with pytest.raises(Misuse):
        protection(suite, Secret(bytes(16)), Secret(bytes(20)))


def test_an_iv_is_epoch_fence_counter():
    ivs = IvSpace(epoch=0xAB, fence=0xCDEF)
    assert ivs.next().hex() == "abcdef0000000001"
    assert ivs.next().hex() == "abcdef0000000002"
    assert ivs.counter == 2
    assert IvSpace(0xAB, 0xCDEF, counter=2).next().hex() == "abcdef0000000003"


@given(
    st.tuples(st.integers(0, 255), st.integers(0, 65535)),
    st.tuples(st.integers(0, 255), st.integers(0, 65535)),
)
def test_owners_under_different_fences_share_no_iv(one, other):
    first, second = IvSpace(*one), IvSpace(*other)
    mine, theirs = ({ivs.next() for _ in range(20)} for ivs in (first, second))
    assert len(mine) == 20
    assert mine.isdisjoint(theirs) == (one != other)


def test_the_counter_never_wraps():
    ivs = IvSpace(1, 1, counter=2**40 - 2)
    assert ivs.next().hex() == "010001ffffffffff"
    with pytest.raises(Misuse):
        ivs.next()
    assert ivs.counter == 2**40 - 1


@pytest.mark.parametrize("bad", [(-1, 0, 0), (256, 0, 0), (0, -1, 0), (0, 65536, 0), (0, 0, 2**40)])
def test_a_number_that_does_not_fit_is_misuse(bad):
    with pytest.raises(Misuse):
        IvSpace(*bad)


def test_protection_follows_the_suite():
    for suite in SUITES:
        box, _ = keyed(suite)
        assert isinstance(box, CbcHmacProtection if suite.integ else AeadProtection)
