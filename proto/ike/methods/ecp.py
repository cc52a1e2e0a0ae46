"""The ECP groups 256, 384 and 521: the KE data is x | y, the secret is x (RFC 5903 7, 9).

Rules: a point that isn't on the curve is refused (RFC 6989 2.3).
"""

from cryptography.hazmat.primitives.asymmetric import ec

from proto.ike.methods import EXTRA_OCTETS, bad, check_length
from proto.ike.seams import Rng
from proto.secret import Secret

_UNCOMPRESSED = b"\x04"


class Ecp:
    """See `proto.ike.methods.Method`. `size`: octets of a coordinate."""

    __slots__ = ("curve", "order", "size")

    def __init__(self, curve: ec.EllipticCurve, size: int, order: int) -> None:
        self.curve = curve
        self.size = size
        self.order = order

    def draw(self, rng: Rng) -> Secret:
        """A scalar from 1 to the order less 1, big-endian."""
        wide = int.from_bytes(rng.bytes(self.size + EXTRA_OCTETS), "big")
        return Secret((wide % (self.order - 1) + 1).to_bytes(self.size, "big"))

    def half(self, private: Secret, public: bytes = b"") -> "EcpHalf":
        """See `Method`."""
        return EcpHalf(self, private)

    def answer(self, private: Secret, peer_public: bytes) -> tuple[bytes, Secret]:
        """See `Method`."""
        half = EcpHalf(self, private)
        return half.public, half.shared(peer_public)


class EcpHalf:
    """See `proto.ike.methods.Half`."""

    __slots__ = ("_group", "_key", "public")

    def __init__(self, group: Ecp, private: Secret) -> None:
        self._group = group
        self._key = ec.derive_private_key(int.from_bytes(private.octets, "big"), group.curve)
        point = self._key.public_key().public_numbers()
        size = group.size
        self.public = point.x.to_bytes(size, "big") + point.y.to_bytes(size, "big")

    def shared(self, peer_public: bytes) -> Secret:
        """The x coordinate of the product."""
        group = self._group
        check_length(peer_public, 2 * group.size, group.curve.name)
        try:
            point = ec.EllipticCurvePublicKey.from_encoded_point(
                group.curve, _UNCOMPRESSED + peer_public
            )
        except ValueError:
            raise bad("the KE data is no point of the curve") from None
        return Secret(self._key.exchange(ec.ECDH(), point))


ECP_256 = Ecp(
    ec.SECP256R1(), 32, 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
)
ECP_384 = Ecp(
    ec.SECP384R1(),
    48,
    (1 << 384) - 0x389CB27E0BC8D220A7E5F24DB74F58851313E695333AD68D,
)
ECP_521 = Ecp(
    ec.SECP521R1(),
    66,
    (1 << 521) - 0x5AE79787C40D069948033FEB708F65A2FC44A36477663B851449048E16EC79BF7,
)
