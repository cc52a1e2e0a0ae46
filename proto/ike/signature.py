"""AUTH by digital signature: which method a key signs with, and the AUTH payload's data made and
checked.

Rules: method 14 where both sides announced hashes, and then nothing else; the older methods are
bound to a hash each, and RSA's (1) knows of SHA-1 alone unless the peer shows that he knows more.
SHA-1 has no place in method 14. A key that is weak, or dear to compute with, is refused before it
is used. What is signed: `proto.ike.auth.signed_octets`. RFC 7296 2.15, 3.8; RFC 4754; RFC 7427;
RFC 8247 3; RFC 8420.
"""

import enum
import struct
from collections.abc import Collection

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from proto.ike.enums import AuthMethod, HashAlgorithm, NotifyType
from proto.ike.errors import Misuse, PeerError, WireError

PrivateKey = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)
PublicKey = (
    rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
)

RSA_BITS_MIN = 2048
RSA_BITS_MAX = 8192
"""A longer key buys a stranger more of our time than it is worth."""

_SHA1 = HashAlgorithm.SHA1
_SHA2_256 = HashAlgorithm.SHA2_256
_SHA2_384 = HashAlgorithm.SHA2_384
_SHA2_512 = HashAlgorithm.SHA2_512
_IDENTITY = HashAlgorithm.IDENTITY

ANNOUNCED = (_SHA2_256, _SHA2_384, _SHA2_512, _IDENTITY)
"""What SIGNATURE_HASH_ALGORITHMS of ours lists (RFC 7427 4, RFC 8420 2)."""

_HASHES: dict[int, hashes.HashAlgorithm] = {
    _SHA1: hashes.SHA1(),  # noqa: S303 - RFC 7296 3.8 has it as the default of method 1
    _SHA2_256: hashes.SHA256(),
    _SHA2_384: hashes.SHA384(),
    _SHA2_512: hashes.SHA512(),
}
_SHA2 = (_SHA2_256, _SHA2_384, _SHA2_512)
_CURVES = {"secp256r1": _SHA2_256, "secp384r1": _SHA2_384, "secp521r1": _SHA2_512}
"""The hash that is as strong as the curve, and bound to it in methods 9 to 11."""
_BOUND = {
    AuthMethod.ECDSA_SHA256_P256: "secp256r1",
    AuthMethod.ECDSA_SHA384_P384: "secp384r1",
    AuthMethod.ECDSA_SHA512_P521: "secp521r1",
}
_METHODS = {curve: method for method, curve in _BOUND.items()}


class Algorithm(enum.Enum):
    """What a key does with a hash; the values are label values of a metric."""

    RSASSA_PKCS1_V1_5 = "rsassa-pkcs1-v1.5"
    RSASSA_PSS = "rsassa-pss"
    ECDSA = "ecdsa"
    ED25519 = "ed25519"
    ED448 = "ed448"


_PKCS1 = Algorithm.RSASSA_PKCS1_V1_5
_PSS = Algorithm.RSASSA_PSS


class Scheme(msgspec.Struct, frozen=True):
    """One way to sign."""

    method: AuthMethod
    algorithm: Algorithm
    hash: HashAlgorithm

    def __str__(self) -> str:
        return f"{self.algorithm.value}-{self.hash.name.lower().replace('_', '-')}"


def decode_hashes(data: bytes) -> frozenset[int]:
    """The hashes that a SIGNATURE_HASH_ALGORITHMS notify lists: `| hash 2 | …` (RFC 7427 4).

    Those unknown here aren't kept. Raises WireError when half a number is left over.
    """
    if len(data) % 2:
        raise WireError("SIGNATURE_HASH_ALGORITHMS of an odd length")
    return _KNOWN_HASHES.intersection(struct.unpack(f">{len(data) // 2}H", data))


_KNOWN_HASHES = frozenset(int(known) for known in HashAlgorithm)


def encode_hashes(listed: Collection[int] = ANNOUNCED) -> bytes:
    """The data of a SIGNATURE_HASH_ALGORITHMS notify."""
    return struct.pack(f">{len(listed)}H", *listed)


def key_problem(key: PublicKeyTypes) -> str | None:
    """Why `key` can't prove anybody's identity, with what would be right; None: it can."""
    if isinstance(key, rsa.RSAPublicKey):
        if RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
            return None
        return f"RSA key of {key.key_size} bits → {RSA_BITS_MIN} to {RSA_BITS_MAX} bits"
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name in _CURVES:
            return None
        return f"key on the curve {key.curve.name} → {', '.join(_CURVES)}"
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return None
    return f"{type(key).__name__} → a key of RSA, ECDSA, Ed25519 or Ed448"


def choose(
    key: PrivateKey, announced: Collection[int] | None, rsa_algorithm: Algorithm = _PSS
) -> Scheme | None:
    """How `key` signs for a peer that `announced` these hashes; None: he couldn't check it.

    `announced` is None where one of the two sides sent no SIGNATURE_HASH_ALGORITHMS. Of his hashes
    that one is taken that fits the curve, else the strongest. `rsa_algorithm` is for RSA keys with
    method 14: RFC 8247 3.2 wants RSASSA-PSS; a peer that signs PKCS #1 v1.5 may know nothing else.
    """
    if announced is None:
        return _choose_bound(key)
    if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
        if _IDENTITY not in announced:
            return None
        return Scheme(AuthMethod.DIGITAL_SIGNATURE, _edwards(key), _IDENTITY)
    algorithm, fits = rsa_algorithm, _SHA2_256
    if isinstance(key, ec.EllipticCurvePrivateKey):
        algorithm, fits = Algorithm.ECDSA, _CURVES.get(key.curve.name, _SHA2_256)
    for candidate in (fits, *reversed(_SHA2)):
        if candidate in announced:
            return Scheme(AuthMethod.DIGITAL_SIGNATURE, algorithm, candidate)
    return None


def _choose_bound(key: PrivateKey) -> Scheme | None:
    """The method that says everything by its number."""
    if isinstance(key, rsa.RSAPrivateKey):
        return Scheme(AuthMethod.RSA_DIGITAL_SIGNATURE, _PKCS1, _SHA1)
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _METHODS:
        method = _METHODS[key.curve.name]
        return Scheme(method, Algorithm.ECDSA, _CURVES[key.curve.name])
    return None


def _edwards(key: ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) -> Algorithm:
    return Algorithm.ED25519 if isinstance(key, ed25519.Ed25519PrivateKey) else Algorithm.ED448


def sign(key: PrivateKey, scheme: Scheme, octets: bytes) -> bytes:
    """The AUTH payload's data over `octets`.

    Methods 9 to 11: `| r | s |`, each as long as the curve's order (RFC 4754 7). Method 14:
    `| length 1 | AlgorithmIdentifier | signature |` (RFC 7427 3). Method 1: the signature.
    """
    signature = _sign(key, scheme, octets)
    if scheme.method is AuthMethod.DIGITAL_SIGNATURE:
        identifier = IDENTIFIERS[scheme.algorithm, scheme.hash]
        return bytes((len(identifier),)) + identifier + signature
    if isinstance(key, ec.EllipticCurvePrivateKey):
        octets_each = (key.curve.key_size + 7) // 8
        return b"".join(n.to_bytes(octets_each, "big") for n in decode_dss_signature(signature))
    return signature


def _sign(key: PrivateKey, scheme: Scheme, octets: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(octets, _padding(scheme), _HASHES[scheme.hash])
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(octets, ec.ECDSA(_HASHES[scheme.hash]))
    return key.sign(octets)


def _padding(scheme: Scheme) -> padding.PKCS1v15 | padding.PSS:
    if scheme.algorithm is _PKCS1:
        return padding.PKCS1v15()
    if scheme.algorithm is not _PSS:
        raise Misuse(f"{scheme} with an RSA key")
    algorithm = _HASHES[scheme.hash]
    return padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)


def verify(
    key: PublicKeyTypes,
    method: int,
    data: bytes,
    octets: bytes,
    announced: Collection[int] | None,
    *,
    allow_sha1: bool = True,
) -> Scheme:
    """How the AUTH payload with this `method` and `data` signs `octets` under `key`.

    `announced`: the hashes that we announced; None where one of the two sides announced none.
    `allow_sha1`: method 1 only. Raises PeerError(AUTHENTICATION_FAILED) when it doesn't, when the
    key is unfit or when the method isn't the one that was agreed.
    """
    problem = key_problem(key)
    if problem is not None:
        raise _refused(problem)
    if method == AuthMethod.DIGITAL_SIGNATURE:
        if announced is None:
            raise _refused("method 14 without SIGNATURE_HASH_ALGORITHMS of both sides")
        scheme, signature = decode_digital_signature(data)
        if scheme.hash not in announced:
            raise _refused(f"{scheme}, which was not announced")
        schemes = [scheme]
    elif announced is not None:
        raise _refused(f"method {method} where both announced hashes")
    else:
        schemes, signature = _bound(key, method, data, allow_sha1)
    for scheme in schemes:
        if _verifies(key, scheme, signature, octets):
            return scheme
    raise _refused("wrong signature")


def decode_digital_signature(data: bytes) -> tuple[Scheme, bytes]:
    """What AUTH data of method 14 says that it is, and the signature value (RFC 7427 3).

    Raises PeerError(AUTHENTICATION_FAILED) for an AlgorithmIdentifier that isn't known or is
    forbidden.
    """
    end = 1 + data[0] if data else 0
    known = _KNOWN.get(data[1:end])
    if known is None:
        shown = data[1:end].hex() or "nothing"
        raise _refused(f"AlgorithmIdentifier {shown}")
    return Scheme(AuthMethod.DIGITAL_SIGNATURE, *known), data[end:]


def _bound(
    key: PublicKeyTypes, method: int, data: bytes, allow_sha1: bool
) -> tuple[list[Scheme], bytes]:
    """The schemes that `method` may stand for, and the signature as the library wants it."""
    if method == AuthMethod.RSA_DIGITAL_SIGNATURE:
        allowed = (_SHA1, *_SHA2) if allow_sha1 else _SHA2
        return [Scheme(AuthMethod.RSA_DIGITAL_SIGNATURE, _PKCS1, one) for one in allowed], data
    for known, curve in _BOUND.items():
        if method != known:
            continue
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != curve:
            raise _refused(f"method {method} with a key that isn't on {curve}")
        half = (key.curve.key_size + 7) // 8
        if len(data) != 2 * half:
            raise _refused(f"method {method} with {len(data)} octets")
        r, s = int.from_bytes(data[:half], "big"), int.from_bytes(data[half:], "big")
        return [Scheme(known, Algorithm.ECDSA, _CURVES[curve])], encode_dss_signature(r, s)
    raise _refused(f"method {method}, which is no signature known here")


def _verifies(key: PublicKeyTypes, scheme: Scheme, signature: bytes, octets: bytes) -> bool:
    algorithm = scheme.algorithm
    try:
        if isinstance(key, rsa.RSAPublicKey) and algorithm in (_PKCS1, _PSS):
            key.verify(signature, octets, _padding(scheme), _HASHES[scheme.hash])
        elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm is Algorithm.ECDSA:
            key.verify(signature, octets, ec.ECDSA(_HASHES[scheme.hash]))
        elif (isinstance(key, ed25519.Ed25519PublicKey) and algorithm is Algorithm.ED25519) or (
            isinstance(key, ed448.Ed448PublicKey) and algorithm is Algorithm.ED448
        ):
            key.verify(signature, octets)
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _refused(why: str) -> PeerError:
    return PeerError(NotifyType.AUTHENTICATION_FAILED, why=why)


# -- AlgorithmIdentifiers: a closed list, compared octet for octet; so nothing of ASN.1 is decoded


def _der(tag: int, *parts: bytes) -> bytes:
    """One DER element; its contents have fewer than 128 octets."""
    contents = b"".join(parts)
    return bytes((tag, len(contents))) + contents


_SEQUENCE = 0x30
_OID = 0x06
_NULL = _der(0x05)
_PKCS_1 = bytes.fromhex("2a864886f70d0101")
_ECDSA_WITH_SHA2 = bytes.fromhex("2a8648ce3d0403")
_NIST_HASHES = bytes.fromhex("6086480165030402")
_TRAILER = _der(0xA3, _der(0x02, b"\x01"))
"""trailerField, whose one value is its default: not to be sent (RFC 4055 3.1), sent all the same in
RFC 7427's appendix."""


def _pkcs1(arc: int) -> bytes:
    return _der(_SEQUENCE, _der(_OID, _PKCS_1, bytes((arc,))), _NULL)


def _ecdsa(arc: int) -> bytes:
    return _der(_SEQUENCE, _der(_OID, _ECDSA_WITH_SHA2, bytes((arc,))))


def _pss(arc: int, salt: int, null: bytes = _NULL, trailer: bytes = b"") -> bytes:
    """RSASSA-PSS with MGF1 over the same hash, and a salt as long as that (RFC 4055 3.1)."""
    digest = _der(_SEQUENCE, _der(_OID, _NIST_HASHES, bytes((arc,))), null)
    mask = _der(_SEQUENCE, _der(_OID, _PKCS_1, b"\x08"), digest)
    parameters = _der(
        _SEQUENCE,
        _der(0xA0, digest),
        _der(0xA1, mask),
        _der(0xA2, _der(0x02, bytes((salt,)))),
        trailer,
    )
    return _der(_SEQUENCE, _der(_OID, _PKCS_1, b"\x0a"), parameters)


_PSS_HASHES = {_SHA2_256: (1, 32), _SHA2_384: (2, 48), _SHA2_512: (3, 64)}

IDENTIFIERS: dict[tuple[Algorithm, HashAlgorithm], bytes] = {
    (_PKCS1, _SHA2_256): _pkcs1(11),
    (_PKCS1, _SHA2_384): _pkcs1(12),
    (_PKCS1, _SHA2_512): _pkcs1(13),
    (Algorithm.ECDSA, _SHA2_256): _ecdsa(2),
    (Algorithm.ECDSA, _SHA2_384): _ecdsa(3),
    (Algorithm.ECDSA, _SHA2_512): _ecdsa(4),
    (Algorithm.ED25519, _IDENTITY): _der(_SEQUENCE, _der(_OID, b"\x2b\x65\x70")),
    (Algorithm.ED448, _IDENTITY): _der(_SEQUENCE, _der(_OID, b"\x2b\x65\x71")),
    **{(_PSS, name): _pss(*numbers) for name, numbers in _PSS_HASHES.items()},
}
"""The AlgorithmIdentifier of each way to sign, DER."""

_KNOWN = {octets: what for what, octets in IDENTIFIERS.items()}
# the NULL of a hash's parameters may be missing (RFC 4055 2.1), and the trailer may be there
_KNOWN |= {
    _pss(*numbers, null, trailer): (_PSS, name)
    for name, numbers in _PSS_HASHES.items()
    for null in (_NULL, b"")
    for trailer in (b"", _TRAILER)
}
