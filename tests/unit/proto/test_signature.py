"""proto.ike.signature: known answers of RFC 4754, 7427 and 8420, and what is refused."""

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from proto.ike.enums import AuthMethod, HashAlgorithm, NotifyType
from proto.ike.errors import Misuse, PeerError, WireError
from proto.ike.payloads import AuthPayload
from proto.ike.signature import (
    ANNOUNCED,
    IDENTIFIERS,
    RSA_BITS_MIN,
    Algorithm,
    PrivateKey,
    Scheme,
    choose,
    decode_digital_signature,
    decode_hashes,
    encode_hashes,
    key_problem,
    sign,
    verify,
)

# RFC 4754 8.1 to 8.3: the curve, w, gwx, gwy and the AUTH payload behind its generic header, which
# has the method in the second octet there (RFC 7296 3.8 has it in the first)
RFC4754 = (
    (
        ec.SECP256R1(),
        "DC51D386 6A15BACD E33D96F9 92FCA99D A7E6EF09 34E70975 59C27F16 14C88A7F",
        "2442A5CC 0ECD015F A3CA31DC 8E2BBC70 BF42D60C BCA20085 E0822CB0 4235E970",
        "6FC98BD7 E50211A4 A27102FA 3549DF79 EBCB4BF2 46B80945 CDDFE7D5 09BBFD7D",
        9,
        "CB28E099 9B9C7715 FD0A80D8 E47A7707 9716CBBF 917DD72E"
        "97566EA1 C066957C 86FA3BB4 E26CAD5B F90B7F81 899256CE 7594BB1E A0C89212"
        "748BFF3B 3D5B0315",
    ),
    (
        ec.SECP384R1(),
        "0BEB6466 34BA8773 5D77AE48 09A0EBEA 865535DE 4C1E1DCB 692E8470 8E81A5AF"
        "62E528C3 8B2A81B3 5309668D 73524D9F",
        "96281BF8 DD5E0525 CA049C04 8D345D30 82968D10 FEDF5C5A CA0C64E6 465A97EA"
        "5CE10C9D FEC21797 41571072 1F437922",
        "447688BA 94708EB6 E2E4D59F 6AB6D7ED FF9301D2 49FE49C3 3096655F 5D502FAD"
        "3D383B91 C5E7EDAA 2B714CC9 9D5743CA",
        10,
        "FB017B91 4E291494 32D8BAC2 9A514640 B46F53DD AB2C6994"
        "8084E293 0F1C8F7E 08E07C9C 63F2D21A 07DCB56A 6AF56EB3 B263A130 5E057F98"
        "4D38726A 1B468741 09F417BC A112674C 528262A4 0A629AF1 CBB9F516 CE0FA7D2"
        "FF630863 A00E8B9F",
    ),
    (
        ec.SECP521R1(),
        "0065FDA3 409451DC AB0A0EAD 45495112 A3D813C1 7BFD34BD F8C1209D 7DF58491"
        "20597779 060A7FF9 D704ADF7 8B570FFA D6F062E9 5C7E0C5D 5481C5B1 53B48B37"
        "5FA1",
        "0151518F 1AF0F563 517EDD54 85190DF9 5A4BF57B 5CBA4CF2 A9A3F647 4725A35F"
        "7AFE0A6D DEB8BEDB CD6A197E 592D4018 8901CECD 650699C9 B5E456AE A5ADD190"
        "52A8",
        "006F3B14 2EA1BFFF 7E2837AD 44C9E4FF 6D2D34C7 3184BBAD 90026DD5 E6E85317"
        "D9DF45CA D7803C6C 20035B2F 3FF63AFF 4E1BA64D 1C077577 DA3F4286 C58F0AEA"
        "E643",
        11,
        "0154FD38 36AF92D0 DCA57DD5 341D3053 988534FD E8318FC6"
        "AAAAB68E 2E6F4339 B19F2F28 1A7E0B22 C269D93C F8794A92 78880ED7 DBB8D936"
        "2CAEACEE 54432055 22510177 05A70302 90D1CEB6 05A9A1BB 03FF9CDD 521E87A6"
        "96EC926C 8C10C836 2DF49753 67101F67 D1CF9BCC BF2F3D23 9534FA50 9E70AAC8"
        "51AE01AA C68D62F8 66472660",
    ),
)

# RFC 7427 A.1.2 to A.1.4, A.3.2 to A.3.4; RFC 8420 A.1, A.2
RFC7427 = {
    (Algorithm.RSASSA_PKCS1_V1_5, 2): "300d 0609 2a86 4886 f70d 0101 0b05 00",
    (Algorithm.RSASSA_PKCS1_V1_5, 3): "300d 0609 2a86 4886 f70d 0101 0c05 00",
    (Algorithm.RSASSA_PKCS1_V1_5, 4): "300d 0609 2a86 4886 f70d 0101 0d05 00",
    (Algorithm.ECDSA, 2): "300a 0608 2a86 48ce 3d04 0302",
    (Algorithm.ECDSA, 3): "300a 0608 2a86 48ce 3d04 0303",
    (Algorithm.ECDSA, 4): "300a 0608 2a86 48ce 3d04 0304",
    (Algorithm.ED25519, 5): "3005 0603 2B65 70",
    (Algorithm.ED448, 5): "3005 0603 2B65 71",
}
PSS_SHA256 = bytes.fromhex(  # RFC 7427 A.4.3, with the trailer that RFC 4055 3.1 wants left out
    "3046 0609 2a86 4886 f70d 0101 0a30 39a0 0f30 0d06 0960 8648 0165 0304 0201 0500"
    "a11c 301a 0609 2a86 4886 f70d 0101 0830 0d06 0960 8648 0165 0304 0201 0500 a203"
    "0201 20a3 0302 0101"
)
FORBIDDEN = {  # RFC 7427 A.1.1, A.2.1, A.3.1, A.4.1, A.4.2: RFC 8247 3.2 MUST NOT
    "sha1WithRSAEncryption": "300d 0609 2a86 4886 f70d 0101 0505 00",
    "dsa-with-sha1": "3009 0607 2a86 48ce 3804 03",
    "ecdsa-with-sha1": "3009 0607 2a86 48ce 3d04 01",
    "RSASSA-PSS empty": "300d 0609 2a86 4886 f70d 0101 0a30 00",
    "RSASSA-PSS default": "303e 0609 2a86 4886 f70d 0101 0a30 31a0 0b30 0906 052b 0e03 021a 0500"
    "a118 3016 0609 2a86 4886 f70d 0101 0830 0906 052b 0e03 021a 0500 a203 0201 14a3 0302 0101",
}

RSA = rsa.generate_private_key(65537, 2048)
KEYS: dict[str, PrivateKey] = {
    "rsa": RSA,
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "p521": ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "ed448": ed448.Ed448PrivateKey.generate(),
}
OCTETS = b"RealMessage | nonce | prf"


def refused(*given: object, **named: object) -> str:
    with pytest.raises(PeerError) as caught:
        verify(*given, **named)  # type: ignore[arg-type]
    assert caught.value.notify is NotifyType.AUTHENTICATION_FAILED
    return caught.value.why


@pytest.mark.parametrize(("curve", "w", "x", "y", "method", "auth"), RFC4754)
def test_rfc4754_known_answers(
    curve: ec.EllipticCurve, w: str, x: str, y: str, method: int, auth: str
) -> None:
    key = ec.derive_private_key(int(w.replace(" ", ""), 16), curve)
    numbers = key.public_key().public_numbers()
    assert (numbers.x, numbers.y) == (
        int(x.replace(" ", ""), 16),
        int(y.replace(" ", ""), 16),
    )
    data = bytes.fromhex(auth)
    scheme = verify(key.public_key(), method, data, b"abc", None)
    assert scheme == choose(key, None)
    refused(key.public_key(), method, data, b"abd", None)
    # r and s stand there at their full length, so a payload's length is known in advance
    again = AuthPayload(method, sign(key, scheme, b"abc"))
    assert len(again.encode()) == 4 + len(data)
    verify(key.public_key(), method, again.data, b"abc", None)


def test_r_and_s_that_begin_with_zeros_keep_their_length() -> None:
    key = KEYS["p521"]
    scheme = choose(key, None)
    assert scheme is not None
    # each begins with seven bits of zero at least: 521 bits in 66 octets
    made = [sign(key, scheme, bytes((n,))) for n in range(40)]
    assert {len(data) for data in made} == {132}
    assert any(data[0] == 0 or data[66] == 0 for data in made)
    for n, data in enumerate(made):
        verify(key.public_key(), 11, data, bytes((n,)), None)


@pytest.mark.parametrize("which", RFC7427, ids=str)
def test_rfc7427_algorithm_identifiers(which: tuple[Algorithm, HashAlgorithm]) -> None:
    octets = bytes.fromhex(RFC7427[which])
    assert IDENTIFIERS[which] == octets
    scheme, signature = decode_digital_signature(bytes((len(octets),)) + octets + b"sig")
    assert ((scheme.algorithm, scheme.hash), signature) == (which, b"sig")


def test_rfc7427_pss_is_taken_with_its_trailer_and_sent_without() -> None:
    sent = IDENTIFIERS[Algorithm.RSASSA_PSS, HashAlgorithm.SHA2_256]
    shorter = bytearray(PSS_SHA256[:-5])
    shorter[1] -= 5
    shorter[14] -= 5
    assert sent == shorter
    scheme, _ = decode_digital_signature(bytes((len(PSS_SHA256),)) + PSS_SHA256)
    assert scheme.algorithm is Algorithm.RSASSA_PSS
    assert scheme.hash is HashAlgorithm.SHA2_256


def test_pss_parameters_without_null_are_taken() -> None:
    """RFC 4055 2.1: implementations MUST accept the parameters' NULL both there and absent."""
    absent = bytes.fromhex(
        "303d 0609 2a86 4886 f70d 0101 0a30 30 a00d 300b 0609 6086 4801 6503 0402 01"
        "a11a 3018 0609 2a86 4886 f70d 0101 08 300b 0609 6086 4801 6503 0402 01 a203 0201 20"
    )
    scheme, _ = decode_digital_signature(bytes((len(absent),)) + absent)
    assert scheme.algorithm is Algorithm.RSASSA_PSS


@pytest.mark.parametrize("name", FORBIDDEN)
def test_sha1_has_no_place_in_method_14(name: str) -> None:
    octets = bytes.fromhex(FORBIDDEN[name])
    data = bytes((len(octets),)) + octets + bytes(256)
    assert "AlgorithmIdentifier" in refused(RSA.public_key(), 14, data, OCTETS, ANNOUNCED)


def test_a_valid_sha1_signature_is_refused_in_method_14() -> None:
    octets = bytes.fromhex(FORBIDDEN["sha1WithRSAEncryption"])
    signature = RSA.sign(OCTETS, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303
    data = bytes((len(octets),)) + octets + signature
    assert refused(RSA.public_key(), 14, data, OCTETS, {1, 2, 3, 4, 5})


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("announced", [{2}, {3}, {4}, {2, 3, 4}, {2, 3, 4, 5}, {5}, {1}, set()])
def test_with_announced_hashes_the_signature_uses_one_of_them(
    name: str, announced: set[int]
) -> None:
    key = KEYS[name]
    scheme = choose(key, announced)
    if scheme is None:
        wanted = {5} if name.startswith("ed") else {2, 3, 4}
        assert not wanted & announced
        return
    assert scheme.hash in announced
    assert scheme.method is AuthMethod.DIGITAL_SIGNATURE
    data = sign(key, scheme, OCTETS)
    assert verify(key.public_key(), 14, data, OCTETS, announced) == scheme
    assert "not announced" in refused(key.public_key(), 14, data, OCTETS, {99})
    assert refused(key.public_key(), 14, data, OCTETS + b"x", announced) == "wrong signature"
    assert refused(key.public_key(), 14, data, OCTETS, None)


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("rsa", "rsassa-pss-sha2-256"),
        ("p256", "ecdsa-sha2-256"),
        ("p384", "ecdsa-sha2-384"),
        ("p521", "ecdsa-sha2-512"),
        ("ed25519", "ed25519-identity"),
        ("ed448", "ed448-identity"),
    ],
)
def test_the_hash_fits_the_key(name: str, scheme: str) -> None:
    assert str(choose(KEYS[name], ANNOUNCED)) == scheme


def test_where_the_fitting_hash_is_missing_the_strongest_is_taken() -> None:
    scheme = choose(KEYS["p256"], {2, 3, 4} - {2})
    assert scheme is not None
    assert scheme.hash is HashAlgorithm.SHA2_512


@pytest.mark.parametrize("algorithm", [Algorithm.RSASSA_PKCS1_V1_5, Algorithm.RSASSA_PSS])
@pytest.mark.parametrize("announced", [{2}, {3}, {4}])
def test_rsa_signs_in_either_form(algorithm: Algorithm, announced: set[int]) -> None:
    scheme = choose(RSA, announced, algorithm)
    assert scheme is not None
    assert scheme.algorithm is algorithm
    data = sign(RSA, scheme, OCTETS)
    assert verify(RSA.public_key(), 14, data, OCTETS, announced) == scheme


@pytest.mark.parametrize("name", ["rsa", "p256", "p384", "p521"])
def test_without_announcement_the_method_says_it_all(name: str) -> None:
    key = KEYS[name]
    scheme = choose(key, None)
    assert scheme is not None
    assert scheme.method == {"rsa": 1, "p256": 9, "p384": 10, "p521": 11}[name]
    data = sign(key, scheme, OCTETS)
    assert verify(key.public_key(), scheme.method, data, OCTETS, None) == scheme
    assert refused(key.public_key(), scheme.method, data, OCTETS + b"x", None)
    # RFC 7427 3: where both announced hashes, method 14 MUST be used
    assert "both announced" in refused(key.public_key(), scheme.method, data, OCTETS, ANNOUNCED)


@pytest.mark.parametrize("name", ["ed25519", "ed448"])
def test_edwards_curves_need_the_announcement(name: str) -> None:
    assert choose(KEYS[name], None) is None
    assert choose(KEYS[name], {2, 3, 4}) is None


def test_method_1_signs_sha1_and_takes_sha2_as_well() -> None:
    scheme = choose(RSA, None)
    assert scheme == Scheme(
        AuthMethod.RSA_DIGITAL_SIGNATURE, Algorithm.RSASSA_PKCS1_V1_5, HashAlgorithm.SHA1
    )
    for number, algorithm in (
        (1, hashes.SHA1()),  # noqa: S303
        (2, hashes.SHA256()),
        (3, hashes.SHA384()),
        (4, hashes.SHA512()),
    ):
        data = RSA.sign(OCTETS, padding.PKCS1v15(), algorithm)
        assert verify(RSA.public_key(), 1, data, OCTETS, None).hash == number
        if number == 1:
            assert refused(RSA.public_key(), 1, data, OCTETS, None, allow_sha1=False)
        else:
            verify(RSA.public_key(), 1, data, OCTETS, None, allow_sha1=False)


def test_a_method_of_another_key_is_refused() -> None:
    for name, key in KEYS.items():
        for other, public in ((n, k.public_key()) for n, k in KEYS.items() if n != name):
            scheme = choose(key, ANNOUNCED)
            assert scheme is not None
            data = sign(key, scheme, OCTETS)
            assert refused(public, 14, data, OCTETS, ANNOUNCED), other
            bound = choose(key, None)
            if bound is not None:
                assert refused(public, bound.method, sign(key, bound, OCTETS), OCTETS, None), other


@pytest.mark.parametrize("method", [0, 2, 3, 12, 13, 15, 255])
def test_what_is_no_signature_is_refused(method: int) -> None:
    assert "no signature" in refused(RSA.public_key(), method, bytes(256), OCTETS, None)


def test_weak_and_strange_keys_are_refused() -> None:
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505
    assert f"{RSA_BITS_MIN}" in (key_problem(weak.public_key()) or "")
    data = weak.sign(OCTETS, padding.PKCS1v15(), hashes.SHA256())
    assert "RSA key of 1024 bits" in refused(weak.public_key(), 1, data, OCTETS, None)
    curve = ec.generate_private_key(ec.SECP256K1())
    assert "secp256k1" in (key_problem(curve.public_key()) or "")
    assert choose(curve, None) is None
    modulus = (1 << 8200) + 1
    huge = rsa.RSAPublicNumbers(65537, modulus).public_key()
    assert "8201 bits" in refused(huge, 1, bytes(1026), OCTETS, None)
    dss = dsa.generate_private_key(2048).public_key()
    assert "RSA, ECDSA, Ed25519 or Ed448" in refused(dss, 3, bytes(46), OCTETS, None)
    assert key_problem(RSA.public_key()) is None


@pytest.mark.parametrize("name", ["rsa", "p256", "ed25519"])
def test_every_truncation_and_an_octet_more_is_refused(name: str) -> None:
    key = KEYS[name]
    scheme = choose(key, ANNOUNCED)
    assert scheme is not None
    data = sign(key, scheme, OCTETS)
    for end in range(len(data)):
        refused(key.public_key(), 14, data[:end], OCTETS, ANNOUNCED)
    refused(key.public_key(), 14, data + b"\0", OCTETS, ANNOUNCED)


@given(st.binary(max_size=300), st.integers(0, 255))
def test_what_is_no_signature_never_raises_anything_else(data: bytes, method: int) -> None:
    for key in KEYS.values():
        refused(key.public_key(), method, data, OCTETS, ANNOUNCED)
        refused(key.public_key(), method, data, OCTETS, None)


def test_hash_announcements() -> None:
    assert encode_hashes() == bytes.fromhex("0002 0003 0004 0005")
    assert decode_hashes(encode_hashes()) == {2, 3, 4, 5}
    assert decode_hashes(bytes.fromhex("0001 0002 4242 0002")) == {1, 2}
    assert decode_hashes(b"") == set()
    with pytest.raises(WireError):
        decode_hashes(b"\0\2\0")


def test_a_scheme_that_is_not_the_keys_is_our_own_mistake() -> None:
    scheme = choose(KEYS["p256"], ANNOUNCED)
    assert scheme is not None
    with pytest.raises(Misuse):
        sign(RSA, scheme, OCTETS)
