"""ML-KEM-768 and ML-KEM-1024: the initiator's KE data is an encapsulation key, the responder's a
ciphertext (FIPS 203, draft-ietf-ipsecme-ikev2-mlkem).

Rules: what a key pair is made of comes from the given randomness. What an encapsulation needs, the
library draws by itself; nothing but the octets of a key and of a ciphertext depends on it. A key
whose coefficients aren't reduced is refused (FIPS 203 7.2); a ciphertext that fits no key gives a
secret that fits no peer, which IKE_AUTH finds out (FIPS 203 6.3).
"""

from cryptography.hazmat.primitives.asymmetric.mlkem import (
    MLKEM768PrivateKey,
    MLKEM768PublicKey,
    MLKEM1024PrivateKey,
    MLKEM1024PublicKey,
)

from proto.ike.methods import bad, check_length
from proto.ike.seams import Rng
from proto.secret import Secret

SEED_OCTETS = 64
"""d | z (FIPS 203 7.1)."""


class MlKem:
    """See `proto.ike.methods.Method`."""

    __slots__ = ("_private", "_public", "ciphertext_octets", "key_octets", "name")

    def __init__(
        self,
        name: str,
        key_octets: int,
        ciphertext_octets: int,
        private: type[MLKEM768PrivateKey] | type[MLKEM1024PrivateKey],
        public: type[MLKEM768PublicKey] | type[MLKEM1024PublicKey],
    ) -> None:
        self.name = name
        self.key_octets = key_octets
        self.ciphertext_octets = ciphertext_octets
        self._private = private
        self._public = public

    def draw(self, rng: Rng) -> Secret:
        """A seed."""
        return Secret(rng.bytes(SEED_OCTETS))

    def half(self, private: Secret, public: bytes = b"") -> "MlKemHalf":
        """See `Method`."""
        return MlKemHalf(self, self._private.from_seed_bytes(private.octets))

    def answer(self, private: Secret, peer_public: bytes) -> tuple[bytes, Secret]:
        """See `Method`: ciphertext and secret, which the library draws."""
        check_length(peer_public, self.key_octets, self.name)
        try:
            key = self._public.from_public_bytes(peer_public)
        except ValueError:
            raise bad(f"the KE data is no encapsulation key of {self.name}") from None
        secret, ciphertext = key.encapsulate()
        return ciphertext, Secret(secret)


class MlKemHalf:
    """See `proto.ike.methods.Half`."""

    __slots__ = ("_key", "_method", "public")

    def __init__(self, method: MlKem, key: MLKEM768PrivateKey | MLKEM1024PrivateKey) -> None:
        self._method = method
        self._key = key
        self.public = key.public_key().public_bytes_raw()

    def shared(self, peer_public: bytes) -> Secret:
        """What the responder's ciphertext holds."""
        check_length(peer_public, self._method.ciphertext_octets, self._method.name)
        return Secret(self._key.decapsulate(peer_public))


ML_KEM_768 = MlKem("ML-KEM-768", 1184, 1088, MLKEM768PrivateKey, MLKEM768PublicKey)
ML_KEM_1024 = MlKem("ML-KEM-1024", 1568, 1568, MLKEM1024PrivateKey, MLKEM1024PublicKey)
