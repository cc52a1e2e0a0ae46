"""Key exchanges against the RFCs' own figures, and what a peer may not send."""

import hashlib

import pytest

from proto.ike import dh
from proto.ike.dh import MODP, SUPPORTED, KeyExchange
from proto.ike.enums import KeMethod, NotifyType
from proto.ike.errors import Misuse, PeerError
from proto.ike.methods import modp
from proto.ike.payloads import KePayload
from proto.secret import Secret
from tests.unit.proto.known import load, octets, secret


class CountingRng:
    """Octets that differ from call to call and are the same in every run."""

    def __init__(self, start: int = 1) -> None:
        self.calls = start

    def bytes(self, n: int) -> bytes:
        self.calls += 1
        return bytes((self.calls * 7 + i) % 256 for i in range(n))


def answer(group, peer_public, rng):
    """A responder's KE data and secret, with a private value from `rng`."""
    return dh.answer(group, dh.draw(group, rng), peer_public)


RFC5903_256 = (
    KeMethod.ECP_256,
    "C88F01F5 10D9AC3F 70A292DA A2316DE5 44E9AAB8 AFE84049 C62A9C57 862D1433",
    "00000048 00130000 DAD0B653 94221CF9 B051E1FE CA5787D0 98DFE637 FC90B9EF 945D0C37 72581180"
    "5271A046 1CDB8252 D61F1C45 6FA3E59A B1F45B33 ACCF5F58 389E0577 B8990BB3",
    "C6EF9C5D 78AE012A 011164AC B397CE20 88685D8F 06BF9BE0 B283AB46 476BEE53",
    "00000048 00130000 D12DFB52 89C8D4F8 1208B702 70398C34 2296970A 0BCCB74C 736FC755 4494BF63"
    "56FBF3CA 366CC23E 8157854C 13C58D6A AC23F046 ADA30F83 53E74F33 039872AB",
    "D6840F6B 42F6EDAF D13116E0 E1256520 2FEF8E9E CE7DCE03 812464D0 4B9442DE",
)
RFC5903_384 = (
    KeMethod.ECP_384,
    "099F3C70 34D4A2C6 99884D73 A375A67F 7624EF7C 6B3C0F16 0647B674 14DCE655 E35B5380 41E649EE"
    "3FAEF896 783AB194",
    "00000068 00140000 667842D7 D180AC2C DE6F74F3 7551F557 55C7645C 20EF73E3 1634FE72 B4C55EE6"
    "DE3AC808 ACB4BDB4 C88732AE E95F41AA 9482ED1F C0EEB9CA FC498462 5CCFC23F 65032149 E0E144AD"
    "A0241815 35A0F38E EB9FCFF3 C2C947DA E69B4C63 4573A81C",
    "41CB0779 B4BDB85D 47846725 FBEC3C94 30FAB46C C8DC5060 855CC9BD A0AA2942 E0308312 916B8ED2"
    "960E4BD5 5A7448FC",
    "00000068 00140000 E558DBEF 53EECDE3 D3FCCFC1 AEA08A89 A987475D 12FD950D 83CFA417 32BC509D"
    "0D1AC43A 0336DEF9 6FDA41D0 774A3571 DCFBEC7A ACF31964 72169E83 8430367F 66EEBE3C 6E70C416"
    "DD5F0C68 759DD1FF F83FA401 42209DFF 5EAAD96D B9E6386C",
    "11187331 C279962D 93D60424 3FD592CB 9D0A926F 422E4718 7521287E 7156C5C4 D6031355 69B9E9D0"
    "9CF5D4A2 70F59746",
)
RFC5903_521 = (
    KeMethod.ECP_521,
    "0037ADE9 319A89F4 DABDB3EF 411AACCC A5123C61 ACAB57B5 393DCE47 608172A0 95AA85A3 0FE1C295"
    "2C6771D9 37BA9777 F5957B26 39BAB072 462F68C2 7A57382D 4A52",
    "0000008C 00150000 0015417E 84DBF28C 0AD3C278 713349DC 7DF153C8 97A1891B D98BAB43 57C9ECBE"
    "E1E3BF42 E00B8E38 0AEAE57C 2D107564 94188594 2AF5A7F4 601723C4 195D176C ED3E017C AE20B664"
    "1D2EEB69 5786D8C9 46146239 D099E18E 1D5A514C 739D7CB4 A10AD8A7 88015AC4 05D7799D C75E7B7D"
    "5B6CF226 1A6A7F15 07438BF0 1BEB6CA3 926F9582",
    "0145BA99 A847AF43 793FDD0E 872E7CDF A16BE30F DC780F97 BCCC3F07 8380201E 9C677D60 0B343757"
    "A3BDBF2A 3163E4C2 F869CCA7 458AA4A4 EFFC311F 5CB15168 5EB9",
    "0000008c 00150000 00D0B397 5AC4B799 F5BEA16D 5E13E9AF 971D5E9B 984C9F39 728B5E57 39735A21"
    "9B97C356 436ADC6E 95BB0352 F6BE64A6 C2912D4E F2D0433C ED2B6171 640012D9 460F015C 68226383"
    "956E3BD0 66E797B6 23C27CE0 EAC2F551 A10C2C72 4D985207 7B87220B 6536C5C4 08A1D2AE BB8E86D6"
    "78AE49CB 57091F47 32296579 AB44FCD1 7F0FC56A",
    "01144C7D 79AE6956 BC8EDB8E 7C787C45 21CB086F A64407F9 7894E5E6 B2D79B04 D1427E73 CA4BAA24"
    "0A347868 59810C06 B3C715A3 A8CC3151 F2BEE417 996D19F3 DDEA",
)
RFC8031 = (
    KeMethod.CURVE25519,
    "751fb4308655b476b6789b7325f9ea8cddd16a58533ff6d9e60009464a5f9d94",
    "00000028 001f0000 48d5ddd4061257ba166fa3f9bbdb74f1a4e81c089384fa77f790709f0dfbc766",
    "0a54645253290d60ddadd0e030bacd9e5501efdc220755a1e978f1b839a05688",
    "00000028 001f0000 0be7c1f5aad87d7e448662673298a443478b859745179eaf564c79c0ef6eee25",
    "c74950607a12327f3204d94b6825bfb068b7f8319a9e3708ed3d43ce8130c950",
)
RFC7748 = (
    KeMethod.CURVE25519,
    "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
    "00000028 001f0000 8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
    "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
    "00000028 001f0000 de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
    "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
)

RFC7748_448 = (
    KeMethod.CURVE448,
    "9a8f4925d1519f5775cf46b04b5800d4ee9ee8bae8bc5565d498c28d"
    "d9c9baf574a9419744897391006382a6f127ab1d9ac2d8c0a598726b",
    "00000040 00200000 9b08f7cc31b7e3e67d22d5aea121074a273bd2b83de09c63faa73d2c"
    "22c5d9bbc836647241d953d40c5b12da88120d53177f80e532c41fa0",
    "1c306a7ac2a0e2e0990b294470cba339e6453772b075811d8fad0d1d"
    "6927c120bb5ee8972b0d3e21374c9c921b09d1b0366f10b65173992d",
    "00000040 00200000 3eb7a829b0cd20f5bcfc0b599b6feccf6da4627107bdb0d4f345b430"
    "27d8b972fc3e34fb4232a13ca706dcb57aec3dae07bdc1c67bf33609",
    "07fff4181ac6cc95ec1c16a94a0f74d12da232ce40a77552281d282b"
    "b60c0b56fd2464c335543936521c24403085d59a449a5037514a879d",
)
VECTORS = {
    "rfc5903-256": RFC5903_256,
    "rfc5903-384": RFC5903_384,
    "rfc5903-521": RFC5903_521,
    "rfc8031": RFC8031,
    "rfc7748": RFC7748,
    "rfc7748-448": RFC7748_448,
}
KEMS = (KeMethod.ML_KEM_768, KeMethod.ML_KEM_1024)
LARGE = (KeMethod.MODP_6144, KeMethod.MODP_8192)
"""So dear that the tests of every method leave them out."""
QUICK = [group for group in SUPPORTED if group not in LARGE]
PRIMES = {
    modp.MODP_2048: "d66436f79bbd6b2e38c0ffbd079be904d2641415e2e67140e09448be9a60890e",
    modp.MODP_3072: "48cf8b092fbce4359d9871abf74f98e25b6163379eaa15cd9087e800c6d1c55c",
    modp.MODP_4096: "4ee95187682bcb230ad26a95205f6920e84708f6251b3894329b09ec23919e33",
    modp.MODP_6144: "d1bfe6d0925ce7e4da262b62861514a7755e35831e429f343e7b864848657efd",
    modp.MODP_8192: "39ab4feab950a3128fb71accb9fc3965d857012e081998a85996e3ea8b3c3bcf",
}
"""SHA-256 of the primes as RFC 3526 prints them, big-endian."""


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_published_exchanges_with_their_ke_payloads(vector):
    group, private_i, payload_i, private_r, payload_r, expected = vector
    ours = KeyExchange.from_private(group, Secret(octets(private_i)))
    theirs = KeyExchange.from_private(group, Secret(octets(private_r)))
    for side, payload in ((ours, payload_i), (theirs, payload_r)):
        body = octets(payload)[4:]
        assert KePayload(group, side.public).encode() == body
    assert ours.shared(theirs.public).octets == octets(expected)
    assert theirs.shared(ours.public).octets == octets(expected)


@pytest.mark.parametrize("group", QUICK)
def test_two_halves_agree_and_a_seed_reproduces_the_first(group):
    rng = CountingRng()
    ours, other = KeyExchange.generate(group, rng), KeyExchange.generate(group, rng)
    public, shared = answer(group, ours.public, rng)
    assert ours.public != other.public
    assert ours.shared(public) == shared
    assert KeyExchange.generate(group, CountingRng()).public == ours.public
    assert other.shared(public) != shared


@pytest.mark.parametrize("group", [group for group in QUICK if group not in KEMS])
def test_an_answer_is_reproduced_by_its_seed(group):
    peer = KeyExchange.generate(group, CountingRng()).public
    assert answer(group, peer, CountingRng(5)) == answer(group, peer, CountingRng(5))


@pytest.mark.parametrize("method", PRIMES, ids=lambda method: str(method.octets * 8))
def test_the_primes_are_rfc3526_s(method):
    prime = method.numbers.p
    assert hashlib.sha256(prime.to_bytes(method.octets, "big")).hexdigest() == PRIMES[method]
    assert method.numbers.g == 2


@pytest.mark.parametrize("method", [modp.MODP_2048, modp.MODP_8192])
def test_the_library_s_power_is_python_s(method):
    exponent = method.draw(CountingRng())
    x, p = int.from_bytes(exponent.octets, "big"), method.numbers.p
    assert method.power(2, exponent) == pow(2, x, p).to_bytes(method.octets, "big")
    assert method.power(5, exponent) == pow(5, x, p).to_bytes(method.octets, "big")


def test_a_modp_result_is_as_long_as_the_prime():
    """RFC 7296 2.14: padded with zeros. 2^40 has three times eight zero bits to spare."""
    short = modp.MODP_2048.power(2, Secret((40).to_bytes(40, "big")))
    assert short == (1 << 40).to_bytes(256, "big")


@pytest.mark.parametrize("group", MODP[:3])
def test_b17_a_modp_value_outside_1_to_p_1_is_invalid_syntax(group):
    """RFC 6989 2.1."""
    pair = KeyExchange.generate(group, CountingRng())
    size = len(pair.public)
    prime = {method.octets: method.numbers.p for method in PRIMES}[size]
    for value in (0, 1, prime - 1, prime, prime + 1, (1 << 8 * size) - 1):
        for take in (pair.shared, lambda octets_: answer(group, octets_, CountingRng())):
            with pytest.raises(PeerError) as caught:
                take(value.to_bytes(size, "big"))
            assert caught.value.notify == NotifyType.INVALID_SYNTAX
    assert len(pair.shared((2).to_bytes(size, "big"))) == size


@pytest.mark.parametrize("group", KEMS)
def test_fips203_known_answers(group):
    """Key pair of a seed, a ciphertext's secret, and the secret of one that fits no key."""
    entry = load("mlkem.json")[group.name.replace("_", "-")]
    pair = KeyExchange.from_private(group, secret(entry["seed"]))
    assert hashlib.sha256(pair.public).hexdigest() == entry["ek_sha256"]
    assert pair.shared(octets(entry["c"])) == secret(entry["k"])
    assert pair.shared(octets(entry["c_rejected"])) == secret(entry["k_rejected"])


@pytest.mark.parametrize("group", KEMS)
def test_an_encapsulation_key_with_a_coefficient_that_is_not_reduced_is_invalid_syntax(group):
    """FIPS 203 7.2."""
    key = KeyExchange.generate(group, CountingRng()).public
    with pytest.raises(PeerError) as caught:
        answer(group, b"\xff\xff\xff" + key[3:], CountingRng())
    assert caught.value.notify == NotifyType.INVALID_SYNTAX


@pytest.mark.parametrize("group", [0, 1, 2, 5, 22, 23, 24, 35, 1024])
def test_a_group_outside_supported_is_misuse(group):
    with pytest.raises(Misuse):
        KeyExchange.generate(group, CountingRng())
    with pytest.raises(Misuse):
        answer(group, b"", CountingRng())


@pytest.mark.parametrize("group", QUICK)
@pytest.mark.parametrize("change", [-1, 1])
def test_b17_a_value_of_another_length_is_invalid_syntax(group, change):
    pair = KeyExchange.generate(group, CountingRng())
    public, _ = answer(group, pair.public, CountingRng())
    takers = (
        (pair.shared, public),
        (lambda octets_: answer(group, octets_, CountingRng()), pair.public),
    )
    for take, right in takers:
        with pytest.raises(PeerError) as caught:
            take(right[:-1] if change < 0 else right + b"\0")
        assert caught.value.notify == NotifyType.INVALID_SYNTAX


@pytest.mark.parametrize("group", [KeMethod.ECP_256, KeMethod.ECP_384, KeMethod.ECP_521])
def test_b17_a_point_off_the_curve_is_invalid_syntax(group):
    pair = KeyExchange.generate(group, CountingRng())
    off = pair.public[:-1] + bytes((pair.public[-1] ^ 1,))
    for bad in (off, bytes(len(off)), b"\xff" * len(off)):
        with pytest.raises(PeerError) as caught:
            pair.shared(bad)
        assert caught.value.notify == NotifyType.INVALID_SYNTAX


@pytest.mark.parametrize(
    "point",
    [
        bytes(32),
        b"\x01" + bytes(31),
        octets("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        octets("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    ],
)
def test_b17_an_all_zero_result_of_curve25519_is_invalid_syntax(point):
    """Points of small order (RFC 7748 6.1)."""
    pair = KeyExchange.generate(KeMethod.CURVE25519, CountingRng())
    with pytest.raises(PeerError) as caught:
        pair.shared(point)
    assert caught.value.notify == NotifyType.INVALID_SYNTAX


@pytest.mark.parametrize("point", [bytes(56), b"\x01" + bytes(55)])
def test_b17_an_all_zero_result_of_curve448_is_invalid_syntax(point):
    pair = KeyExchange.generate(KeMethod.CURVE448, CountingRng())
    with pytest.raises(PeerError) as caught:
        pair.shared(point)
    assert caught.value.notify == NotifyType.INVALID_SYNTAX


def test_b17_curve25519_masks_the_top_bit_and_takes_non_canonical_values():
    pair = KeyExchange.generate(KeMethod.CURVE25519, CountingRng())
    peer = KeyExchange.generate(KeMethod.CURVE25519, CountingRng(9)).public
    high = peer[:-1] + bytes((peer[-1] | 0x80,))
    assert pair.shared(high) == pair.shared(peer)
    nine = (9).to_bytes(32, "little")
    nine_plus_p = (9 + 2**255 - 19).to_bytes(32, "little")
    assert pair.shared(nine_plus_p) == pair.shared(nine)


def test_a_private_key_does_not_print():
    assert "private" not in repr(KeyExchange.generate(KeMethod.CURVE25519, CountingRng())).lower()
