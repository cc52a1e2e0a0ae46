"""Key exchanges of every method, by its IANA number (RFC 7296 3.4, RFC 9370).

Rules: private values come from the given randomness, so that a seed reproduces them; a peer's value
is checked before it is used (RFC 6989). The methods: `proto.ike.methods`.
"""

from proto.ike.enums import KeMethod
from proto.ike.errors import Misuse
from proto.ike.methods import Half, Method
from proto.ike.methods.ecp import ECP_256, ECP_384, ECP_521
from proto.ike.methods.mlkem import ML_KEM_768, ML_KEM_1024
from proto.ike.methods.modp import MODP_2048, MODP_3072, MODP_4096, MODP_6144, MODP_8192
from proto.ike.methods.montgomery import X448, X25519
from proto.ike.seams import Rng
from proto.secret import Secret

_METHODS: dict[int, Method] = {
    KeMethod.CURVE25519: X25519,
    KeMethod.ECP_256: ECP_256,
    KeMethod.ECP_384: ECP_384,
    KeMethod.ECP_521: ECP_521,
    KeMethod.CURVE448: X448,
    KeMethod.ML_KEM_768: ML_KEM_768,
    KeMethod.ML_KEM_1024: ML_KEM_1024,
    KeMethod.MODP_2048: MODP_2048,
    KeMethod.MODP_3072: MODP_3072,
    KeMethod.MODP_4096: MODP_4096,
    KeMethod.MODP_6144: MODP_6144,
    KeMethod.MODP_8192: MODP_8192,
}

SUPPORTED = tuple(_METHODS)
"""Methods that there are here."""
MODP = (
    KeMethod.MODP_2048,
    KeMethod.MODP_3072,
    KeMethod.MODP_4096,
    KeMethod.MODP_6144,
    KeMethod.MODP_8192,
)
"""Those that take milliseconds."""


class KeyExchange:
    """The initiator's half, used for one exchange."""

    __slots__ = ("_half", "group", "private")

    def __init__(self, group: int, half: Half, private: Secret) -> None:
        self.group = group
        self.private = private
        self._half = half

    @property
    def public(self) -> bytes:
        """What goes into the KE payload."""
        return self._half.public

    @classmethod
    def generate(cls, group: int, rng: Rng) -> "KeyExchange":
        """A fresh pair. Raises Misuse for a method outside SUPPORTED."""
        return cls.from_private(group, draw(group, rng))

    @classmethod
    def from_private(cls, group: int, private: Secret, public: bytes = b"") -> "KeyExchange":
        """The pair of a private value, as `draw` makes it; `public`: known already, if given."""
        return cls(group, _method(group).half(private, public), private)

    def shared(self, peer_public: bytes) -> Secret:
        """The shared secret, from the responder's KE data.

        Raises PeerError INVALID_SYNTAX: wrong length, none of the method's values.
        """
        return self._half.shared(peer_public)


def draw(group: int, rng: Rng) -> Secret:
    """A fresh private value. Raises Misuse for a method outside SUPPORTED."""
    return _method(group).draw(rng)


def answer(group: int, private: Secret, peer_public: bytes) -> tuple[bytes, Secret]:
    """The responder's KE data, and the shared secret.

    Raises PeerError INVALID_SYNTAX as `KeyExchange.shared`, Misuse for a method outside SUPPORTED.
    """
    return _method(group).answer(private, peer_public)


def _method(group: int) -> Method:
    method = _METHODS.get(group)
    if method is None:
        raise Misuse(f"key exchange method {group} is not supported")
    return method
