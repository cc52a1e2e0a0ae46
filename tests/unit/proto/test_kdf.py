"""prf, prf+ and every derived key, against published sets, a hand-written prf+, and the house
vectors.
"""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.ike.enums import Prf
from proto.ike.kdf import (
    child_keymat,
    derive_keys,
    prf,
    prf_plus,
    skeyseed_init,
    skeyseed_resume,
    split_keymat,
)
from proto.ike.names import parse_child, parse_suite
from proto.secret import Secret
from tests.unit.proto.known import load, octets, secret

PUBLISHED = load("ikev2_kdf_published.json")
SHA256_SETS = [entry for entry in PUBLISHED if entry["prf"] == "PRF_HMAC_SHA256"]
PRF_IDS = {
    "PRF_HMAC_SHA1": Prf.PRF_HMAC_SHA1,
    "PRF_HMAC_SHA256": Prf.PRF_HMAC_SHA2_256,
}
HOUSE = load("house_resumption_sha256.json")
HASHES = {2: hashlib.sha1, 5: hashlib.sha256, 6: hashlib.sha384, 7: hashlib.sha512}


def by_hand(hash_, key: bytes, seed: bytes, length: int) -> bytes:
    """prf+ as RFC 7296 2.13 writes it: T1 | T2 | …, Tn = prf(key, Tn-1 | seed | n)."""
    out, block, n = b"", b"", 1
    while len(out) < length:
        block = hmac.new(key, block + seed + bytes((n,)), hash_).digest()
        out += block
        n += 1
    return out[:length]


@pytest.mark.parametrize("entry", PUBLISHED, ids=lambda entry: entry["source"][:24])
def test_the_hand_written_prf_plus_gives_every_published_set(entry):
    hash_ = hashlib.sha1 if entry["prf"].endswith("SHA1") else hashlib.sha256
    seed = octets(entry["Ni"] + entry["Nr"] + entry["SPIi"] + entry["SPIr"])
    expected = octets(entry["DKM_prfplus"])
    assert by_hand(hash_, octets(entry["SKEYSEED"]), seed, len(expected)) == expected


@pytest.mark.parametrize("prf_id", HASHES)
@given(key=st.binary(min_size=1, max_size=64), seed=st.binary(max_size=600), n=st.integers(1, 600))
def test_prf_plus_is_the_hand_written_one(prf_id, key, seed, n):
    assert prf_plus(prf_id, Secret(key), seed, n) == by_hand(HASHES[prf_id], key, seed, n)


@pytest.mark.parametrize("prf_id", HASHES)
@given(key=st.binary(max_size=200), data=st.binary(max_size=300))
def test_prf_is_hmac(prf_id, key, data):
    assert prf(prf_id, Secret(key), data) == hmac.digest(key, data, HASHES[prf_id]().name)


@pytest.mark.parametrize("entry", PUBLISHED, ids=lambda entry: entry["source"][:24])
def test_published_skeyseed_and_keying_material(entry):
    ni, nr, prf_id = octets(entry["Ni"]), octets(entry["Nr"]), PRF_IDS[entry["prf"]]
    skeyseed = skeyseed_init(prf_id, ni, nr, secret(entry["g_ir"]))
    assert skeyseed == secret(entry["SKEYSEED"])
    expected = octets(entry["DKM_prfplus"])
    seed = ni + nr + octets(entry["SPIi"] + entry["SPIr"])
    assert prf_plus(prf_id, skeyseed, seed, len(expected)) == expected


def test_published_child_keymat_with_and_without_a_key_exchange():
    """The published octets are longer than two pairs of keys; the keys are their beginning."""
    (entry,) = [entry for entry in SHA256_SETS if entry["KEYMAT_child"]]
    ni, nr, sk_d = octets(entry["Ni"]), octets(entry["Nr"]), secret(entry["SK_d"])
    suite = parse_child("aes256-sha256")
    for shared, name in [(None, "KEYMAT_child"), (secret(entry["g_ir_new"]), "KEYMAT_child_dh")]:
        keymat = child_keymat(suite, Prf.PRF_HMAC_SHA2_256, sk_d, ni, nr, shared)
        keys = split_keymat(suite, keymat)
        parts = (keys.encr_i, keys.integ_i, keys.encr_r, keys.integ_r)
        assert b"".join(key.octets for key in parts) == octets(entry[name])[:128]


@pytest.mark.parametrize(
    ("name", "suite"),
    [
        ("AES_GCM_16_256", "aes256gcm16-prfsha256-x25519"),
        ("AES_CBC_128_HMAC_SHA2_256_128", "aes128-sha256-prfsha256-x25519"),
    ],
)
def test_r46_house_resumption_keys(name, suite):
    """SKEYSEED from the old SK_d and both nonces; all seven keys from the new SPIs."""
    inputs = {key: octets(value) for key, value in HOUSE["inputs"].items()}
    ni, nr = inputs["Ni"], inputs["Nr"]
    skeyseed = skeyseed_resume(Prf.PRF_HMAC_SHA2_256, Secret(inputs["SK_d_old"]), ni, nr)
    assert skeyseed == secret(HOUSE["SKEYSEED"])
    spis = (inputs["SPIi"], inputs["SPIr"])
    keys = derive_keys(parse_suite(suite), skeyseed, ni, nr, *spis)
    for short in ("d", "ai", "ar", "ei", "er", "pi", "pr"):
        assert getattr(keys, short).octets.hex() == HOUSE[name][f"SK_{short}"], short


def test_r37_house_first_child_keymat():
    sk_d = secret(HOUSE["AES_GCM_16_256"]["SK_d"])
    ni, nr = octets(HOUSE["inputs"]["Ni"]), octets(HOUSE["inputs"]["Nr"])
    suite = parse_child("aes256gcm16")
    keys = split_keymat(suite, child_keymat(suite, Prf.PRF_HMAC_SHA2_256, sk_d, ni, nr))
    got = keys.encr_i.octets + keys.encr_r.octets
    assert got.hex() == HOUSE["first_child_KEYMAT_gcm256"]
    assert keys.integ_i.octets == keys.integ_r.octets == b""


@pytest.mark.parametrize("prf_name", ["prfsha256", "prfsha384", "prfsha512"])
@pytest.mark.parametrize("encr", ["aes128gcm16", "chacha20poly1305", "aes192-sha384"])
def test_keys_are_cut_in_the_rfc_s_order(prf_name, encr):
    suite = parse_suite(f"{encr}-{prf_name}-x25519")
    ni, nr, spi_i, spi_r = b"i" * 32, b"r" * 32, b"I" * 8, b"R" * 8
    keys = derive_keys(suite, Secret(b"seed" * 8), ni, nr, spi_i, spi_r)
    parts = [keys.d, keys.ai, keys.ar, keys.ei, keys.er, keys.pi, keys.pr]
    whole = b"".join(key.octets for key in parts)
    seed = ni + nr + spi_i + spi_r
    assert whole == by_hand(HASHES[suite.prf], b"seed" * 8, seed, len(whole))
    size = HASHES[suite.prf]().digest_size
    assert [len(key) for key in parts] == [
        size,
        suite.integ_key_octets,
        suite.integ_key_octets,
        suite.encr_key_octets,
        suite.encr_key_octets,
        size,
        size,
    ]
