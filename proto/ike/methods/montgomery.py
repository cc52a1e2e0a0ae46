"""Curve25519 and Curve448: the KE data is u (RFC 8031 3.1, RFC 7748 6).

Rules: the top bit is masked and values above the prime are taken (RFC 7748 5); an all-zero result
is refused.
"""

from cryptography.hazmat.primitives.asymmetric.x448 import X448PrivateKey, X448PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from proto.ike.methods import bad, check_length
from proto.ike.seams import Rng
from proto.secret import Secret

_ZERO = "the key exchange gives all zeros"


class X25519Half:
    """See `proto.ike.methods.Half`."""

    __slots__ = ("_key", "public")

    def __init__(self, private: Secret) -> None:
        self._key = X25519PrivateKey.from_private_bytes(private.octets)
        self.public = self._key.public_key().public_bytes_raw()

    def shared(self, peer_public: bytes) -> Secret:
        """The 32 octets of X25519."""
        check_length(peer_public, X25519.octets, X25519.name)
        try:
            return Secret(self._key.exchange(X25519PublicKey.from_public_bytes(peer_public)))
        except ValueError:
            raise bad(_ZERO) from None


class X448Half:
    """See `proto.ike.methods.Half`."""

    __slots__ = ("_key", "public")

    def __init__(self, private: Secret) -> None:
        self._key = X448PrivateKey.from_private_bytes(private.octets)
        self.public = self._key.public_key().public_bytes_raw()

    def shared(self, peer_public: bytes) -> Secret:
        """The 56 octets of X448."""
        check_length(peer_public, X448.octets, X448.name)
        try:
            return Secret(self._key.exchange(X448PublicKey.from_public_bytes(peer_public)))
        except ValueError:
            raise bad(_ZERO) from None


class Montgomery:
    """See `proto.ike.methods.Method`."""

    __slots__ = ("_half", "name", "octets")

    def __init__(self, name: str, octets: int, half: type[X25519Half] | type[X448Half]) -> None:
        self.name = name
        self.octets = octets
        self._half = half

    def draw(self, rng: Rng) -> Secret:
        """Octets that the curve clamps by itself."""
        return Secret(rng.bytes(self.octets))

    def half(self, private: Secret, public: bytes = b"") -> X25519Half | X448Half:
        """See `Method`."""
        return self._half(private)

    def answer(self, private: Secret, peer_public: bytes) -> tuple[bytes, Secret]:
        """See `Method`."""
        half = self._half(private)
        return half.public, half.shared(peer_public)


X25519 = Montgomery("Curve25519", 32, X25519Half)
X448 = Montgomery("Curve448", 56, X448Half)
