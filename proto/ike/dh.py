"""Key exchange methods: Curve25519 and the ECP groups 256 and 384.

Rules: private keys come from the given randomness alone, so that a seed reproduces them; a peer's
value is checked before it is used. RFC 8031, RFC 7748 6.1, RFC 5903, RFC 6989 2.3.
"""

from cryptography.hazmat.primitives.asymmetric import ec, x25519

from proto.ike.enums import KeMethod, NotifyType
from proto.ike.errors import Misuse, PeerError
from proto.ike.seams import Rng
from proto.secret import Secret

_X25519_LEN = 32
_UNCOMPRESSED = b"\x04"
_EXTRA_LEN = 8
"""Octets beyond the group's order, so that reducing them leaves no bias worth naming (FIPS 186-5
A.2.1).
"""


class _Ecp:
    """An ECP group: curve, octets of a coordinate, order."""

    __slots__ = ("curve", "order", "size")

    def __init__(self, curve: ec.EllipticCurve, size: int, order: int) -> None:
        self.curve = curve
        self.size = size
        self.order = order


_ECPS: dict[int, _Ecp] = {
    KeMethod.ECP_256: _Ecp(
        ec.SECP256R1(), 32, 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    ),
    KeMethod.ECP_384: _Ecp(
        ec.SECP384R1(),
        48,
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
    ),
}

SUPPORTED = (KeMethod.CURVE25519, KeMethod.ECP_256, KeMethod.ECP_384)
"""Groups that `KeyExchange` knows."""


def _bad(why: str) -> PeerError:
    return PeerError(NotifyType.INVALID_SYNTAX, why=why)


class KeyExchange:
    """One side's key pair, used for one exchange."""

    __slots__ = ("_key", "group", "public")

    def __init__(
        self, group: int, key: x25519.X25519PrivateKey | ec.EllipticCurvePrivateKey, public: bytes
    ) -> None:
        self.group = group
        self.public = public
        """What goes into the KE payload: u (RFC 8031 3.1), or x | y (RFC 5903 7)."""
        self._key = key

    @classmethod
    def generate(cls, group: int, rng: Rng) -> "KeyExchange":
        """A fresh pair. Raises Misuse for a group outside SUPPORTED."""
        if group == KeMethod.CURVE25519:
            return cls.from_private(group, Secret(rng.bytes(_X25519_LEN)))
        ecp = _ECPS.get(group)
        if ecp is None:
            raise Misuse(f"key exchange method {group} is not supported")
        wide = int.from_bytes(rng.bytes(ecp.size + _EXTRA_LEN), "big")
        scalar = wide % (ecp.order - 1) + 1
        return cls.from_private(group, Secret(scalar.to_bytes(ecp.size, "big")))

    @classmethod
    def from_private(cls, group: int, private: Secret) -> "KeyExchange":
        """The pair of a private value: 32 octets, or a big-endian scalar below the order."""
        if group == KeMethod.CURVE25519:
            key = x25519.X25519PrivateKey.from_private_bytes(private.octets)
            return cls(group, key, key.public_key().public_bytes_raw())
        ecp = _ECPS[group]
        pair = ec.derive_private_key(int.from_bytes(private.octets, "big"), ecp.curve)
        point = pair.public_key().public_numbers()
        public = point.x.to_bytes(ecp.size, "big") + point.y.to_bytes(ecp.size, "big")
        return cls(group, pair, public)

    def shared(self, peer_public: bytes) -> Secret:
        """g^ir: the Curve25519 result, or the x coordinate.

        Raises PeerError INVALID_SYNTAX: wrong length, a point off the curve, an all-zero result.
        """
        if isinstance(self._key, x25519.X25519PrivateKey):
            if len(peer_public) != _X25519_LEN:
                raise _bad(f"KE data of {len(peer_public)} octets for Curve25519")
            peer = x25519.X25519PublicKey.from_public_bytes(peer_public)
            try:
                return Secret(self._key.exchange(peer))
            except ValueError:
                raise _bad("the key exchange gives all zeros") from None
        ecp = _ECPS[self.group]
        if len(peer_public) != 2 * ecp.size:
            raise _bad(f"KE data of {len(peer_public)} octets for group {self.group}")
        try:
            point = ec.EllipticCurvePublicKey.from_encoded_point(
                ecp.curve, _UNCOMPRESSED + peer_public
            )
        except ValueError:
            raise _bad("the KE data is no point of the curve") from None
        return Secret(self._key.exchange(ec.ECDH(), point))
