"""AES-XCBC and AES-CMAC against the RFCs' own figures, and as prf."""

import pytest

from proto.ike.enums import Prf
from proto.ike.kdf import prf, prf_plus, running_prf, skeyseed_init
from proto.ike.mac import aes_cmac, aes_xcbc, prf_aes_cmac, prf_aes_xcbc
from proto.secret import Secret
from tests.unit.proto.known import octets

COUNTING = bytes(range(64))
KEY = COUNTING[:16]
NIST = octets(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"", "75f0251d528ac01c4573dfd584d79f29"),
        (COUNTING[:3], "5b376580ae2f19afe7219ceef172756f"),
        (COUNTING[:16], "d2a246fa349b68a79998a4394ff7a263"),
        (COUNTING[:20], "47f51b4564966215b8985c63055ed308"),
        (COUNTING[:32], "f54f0ec8d2b9f3d36807734bd5283fd4"),
        (COUNTING[:34], "becbb3bccdb518a30677d5481fb6b4d8"),
        (bytes(1000), "f0dafee895db30253761103b5d84528f"),
    ],
    ids=lambda value: str(len(value)) if isinstance(value, bytes) else "",
)
def test_rfc3566_aes_xcbc(message, expected):
    assert aes_xcbc(KEY, message).hex() == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "bb1d6929e95937287fa37d129b756746"),
        (16, "070a16b46b4d4144f79bdd9dd04a287c"),
        (40, "dfa66747de9ae63030ca32611497c827"),
        (64, "51f0bebf7e3b9d92fc49741779363cfe"),
    ],
)
def test_rfc4493_aes_cmac(size, expected):
    assert aes_cmac(octets("2b7e151628aed2a6abf7158809cf4f3c"), NIST[:size]).hex() == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (KEY, "47f51b4564966215b8985c63055ed308"),
        (KEY[:10], "0fa087af7d866e7653434e602fdde835"),
        (KEY + b"\xed\xcb", "8cd3c93ae598a9803006ffb67c40e9e4"),
    ],
)
def test_rfc4434_a_key_of_any_length(key, expected):
    assert prf_aes_xcbc(key, COUNTING[:20]).hex() == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (KEY + b"\xed\xcb", "84a348a4a45d235babfffc0d2b4da09a"),
        (KEY, "980ae87b5f4c9c5214f5b6a8455e4c2d"),
        (KEY[:10], "290d9e112edb09ee141fcf64c0b72f3d"),
    ],
)
def test_rfc4615_a_key_of_any_length(key, expected):
    assert prf_aes_cmac(key, COUNTING[:20]).hex() == expected


PRFS = {Prf.PRF_AES128_XCBC: prf_aes_xcbc, Prf.PRF_AES128_CMAC: prf_aes_cmac}


@pytest.mark.parametrize("prf_id", PRFS)
@pytest.mark.parametrize("length", [1, 16, 17, 100])
def test_b18_prf_plus_of_a_prf_made_of_aes(prf_id, length):
    """RFC 7296 2.13, by hand."""
    key, seed, out, block = b"key of any length", b"seed", b"", b""
    for n in range(1, 8):
        block = PRFS[prf_id](key, block + seed + bytes((n,)))
        out += block
    assert prf_plus(prf_id, Secret(key), seed, length) == out[:length]
    mac = running_prf(prf_id, Secret(key))
    mac.update(seed[:1])
    again = mac.copy()
    again.update(seed[1:])
    assert prf(prf_id, Secret(key), seed) == again.finalize()
    assert prf(prf_id, Secret(key), seed[:1]) == mac.finalize()


@pytest.mark.parametrize("prf_id", PRFS)
def test_b18_the_first_eight_octets_of_each_nonce_are_its_key(prf_id):
    """RFC 7296 2.14: the prf takes a key of 128 bits, half from each side."""
    ni, nr, shared = b"initiator and more than that", b"responder and more than that", Secret(b"g")
    expected = PRFS[prf_id](ni[:8] + nr[:8], shared.octets)
    assert skeyseed_init(prf_id, ni, nr, shared).octets == expected
