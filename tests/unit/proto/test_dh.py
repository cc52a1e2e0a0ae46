"""Key exchanges against the RFCs' own figures, and what a peer may not send."""

import pytest

from proto.ike.dh import SUPPORTED, KeyExchange
from proto.ike.enums import KeMethod, NotifyType
from proto.ike.errors import Misuse, PeerError
from proto.ike.payloads import KePayload
from proto.secret import Secret
from tests.unit.proto.known import octets


class CountingRng:
    """Octets that differ from call to call and are the same in every run."""

    def __init__(self, start: int = 1) -> None:
        self.calls = start

    def bytes(self, n: int) -> bytes:
        self.calls += 1
        return bytes((self.calls * 7 + i) % 256 for i in range(n))


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


@pytest.mark.parametrize(
    "vector",
    [RFC5903_256, RFC5903_384, RFC8031, RFC7748],
    ids=["rfc5903-256", "rfc5903-384", "rfc8031", "rfc7748"],
)
def test_published_exchanges_with_their_ke_payloads(vector):
    group, private_i, payload_i, private_r, payload_r, expected = vector
    ours = KeyExchange.from_private(group, Secret(octets(private_i)))
    theirs = KeyExchange.from_private(group, Secret(octets(private_r)))
    for side, payload in ((ours, payload_i), (theirs, payload_r)):
        body = octets(payload)[4:]
        assert KePayload(group, side.public).encode() == body
    assert ours.shared(theirs.public).octets == octets(expected)
    assert theirs.shared(ours.public).octets == octets(expected)


@pytest.mark.parametrize("group", SUPPORTED)
def test_two_fresh_pairs_agree_and_a_seed_reproduces_them(group):
    rng = CountingRng()
    ours, theirs = KeyExchange.generate(group, rng), KeyExchange.generate(group, rng)
    assert ours.public != theirs.public
    assert ours.shared(theirs.public) == theirs.shared(ours.public)
    assert KeyExchange.generate(group, CountingRng()).public == ours.public


@pytest.mark.parametrize("group", [0, 2, 14, 21, 1024])
def test_a_group_outside_supported_is_misuse(group):
    with pytest.raises(Misuse):
        KeyExchange.generate(group, CountingRng())


@pytest.mark.parametrize("group", SUPPORTED)
@pytest.mark.parametrize("change", [-1, 1])
def test_b17_a_value_of_another_length_is_invalid_syntax(group, change):
    pair = KeyExchange.generate(group, CountingRng())
    wrong = pair.public[:-1] if change < 0 else pair.public + b"\0"
    with pytest.raises(PeerError) as caught:
        pair.shared(wrong)
    assert caught.value.notify == NotifyType.INVALID_SYNTAX


@pytest.mark.parametrize("group", [KeMethod.ECP_256, KeMethod.ECP_384])
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
