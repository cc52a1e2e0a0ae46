"""Protection of single bodies, and the space of IVs."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from hypothesis import given
from hypothesis import strategies as st

from proto.ike.aead import AeadProtection, CbcProtection, CtrProtection, IvSpace, protection
from proto.ike.enums import Encr, Integ, KeMethod, Prf
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
        octets, salt_at = box._sk_e.octets, box._salt_at
        return iv + box._cipher(octets[:salt_at]).encrypt(octets[salt_at:] + iv, tail, b"")
    if isinstance(box, CtrProtection):
        sealed = iv + box._crypt(iv, tail)
        return sealed + box._icv(sealed)
    assert isinstance(box, CbcProtection)
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


def test_only_cbc_takes_other_ivs_than_counters():
    for suite in SUITES:
        box, _ = keyed(suite)
        assert box.counter_iv == (suite.encr != Encr.ENCR_AES_CBC)
        assert box.iv_len == (8 if box.counter_iv else 16)


@pytest.mark.parametrize(("encr", "integ"), [(99, 0), (Encr.ENCR_AES_CBC, 0), (99, 12), (20, 12)])
def test_a_suite_that_can_not_have_been_chosen_is_misuse(encr, integ):
    suite = Suite(encr, 128, integ, Prf.PRF_HMAC_SHA2_256, KeMethod.CURVE25519)
    with pytest.raises(Misuse):
        protection(suite, Secret(bytes(16)), Secret(bytes(32)))


def test_an_unknown_integrity_algorithm_is_misuse():
    suite = Suite(Encr.ENCR_AES_CBC, 128, 1, Prf.PRF_HMAC_SHA2_256, KeMethod.CURVE25519)
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
        if suite.encr in (Encr.ENCR_AES_CBC, Encr.ENCR_AES_CTR):
            counting = suite.encr == Encr.ENCR_AES_CTR
            assert isinstance(box, CtrProtection if counting else CbcProtection)
        else:
            assert isinstance(box, AeadProtection)


RFC3686 = [
    (
        "AE6852F8121067CC4BF7A5765577F39E",
        "0000000000000000",
        "00000030",
        "53696E676C6520626C6F636B206D7367",
        "E4095D4FB7A7B3792D6175A3261311B8",
    ),
    (
        "7691BE035E5020A8AC6E618529F9A0DC",
        "27777F3F4A1786F0",
        "00E0017B",
        bytes(range(36)).hex(),
        "C1CF48A89F2FFDD9CF4652E9EFDB72D74540A42BDE6D7836D59A5CEAAEF3105325B2072F",
    ),
    (
        "02BF391EE8ECB159B959617B0965279BF59B60A786D3E0FE",
        "5CBD60278DCC0912",
        "0007BDFD",
        bytes(range(36)).hex(),
        "96893FC55E5C722F540B7DD1DDF7E758D288BC95C69165884536C811662F2188ABEE0935",
    ),
]


@pytest.mark.parametrize("vector", RFC3686, ids=["1", "3", "6"])
def test_rfc3686_counter_mode(vector):
    key, iv, nonce, plaintext, ciphertext = (bytes.fromhex(text) for text in vector)
    box = CtrProtection(Integ.AUTH_HMAC_SHA2_256_128, Secret(key + nonce), Secret(bytes(32)))
    body = box.seal(b"", iv, plaintext)
    assert body[8 : 8 + len(plaintext)] == ciphertext
    assert box.open(b"", body) == plaintext


@pytest.mark.parametrize(("icv", "encr"), [(8, 18), (12, 19), (16, 20)])
def test_rfc4106_a_shorter_icv_of_gcm_is_the_beginning_of_the_longer_one(icv, encr):
    key, iv = Secret(bytes(range(36))), bytes(8)
    whole = AeadProtection(Encr.ENCR_AES_GCM_16, key).seal(b"head", iv, b"content")
    assert AeadProtection(encr, key).seal(b"head", iv, b"content") == whole[: len(whole) - 16 + icv]


@pytest.mark.parametrize(("icv", "encr"), [(8, 14), (12, 15), (16, 16)])
def test_rfc4309_ccm_has_a_salt_of_three_octets(icv, encr):
    """By hand: nonce = salt 3 | IV 8."""
    key, salt, iv = bytes(range(16)), b"\xaa\xbb\xcc", b"\x01" * 8
    sealed = AeadProtection(encr, Secret(key + salt)).seal(b"head", iv, b"content")
    cipher = AESCCM(key, tag_length=icv)
    assert cipher.decrypt(salt + iv, sealed[8:], b"head") == b"content\0"
    assert len(sealed) == 8 + len(b"content") + 1 + icv
