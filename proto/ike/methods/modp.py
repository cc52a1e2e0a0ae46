"""The MODP groups of 2048 to 8192 bits (RFC 3526 3 to 7): the KE data is g^x, as long as the prime.

Rules: a value outside 1 < y < p - 1 is refused; more needn't be looked at in groups of a safe prime
(RFC 6989 2.1). An exponent is used once, and has twice the bits that the group is thought to be
worth (RFC 3526 8).

The power is the library's: in constant time, and ten times faster than Python's own `pow`. It warns
that it will be gone some day, once for all here, and pyproject.toml holds it below that day.
"""

import warnings
from functools import lru_cache

from proto.ike.methods import bad, check_length
from proto.ike.seams import Rng
from proto.secret import Secret

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from cryptography.hazmat.primitives.asymmetric.dh import (
        DHParameterNumbers,
        DHPrivateNumbers,
        DHPublicNumbers,
    )

_GENERATOR = 2
_PI_GUARD_BITS = 64


@lru_cache(maxsize=8)
def _pi(bits: int) -> int:
    """The integer part of 2^bits × π, by Machin's formula."""
    one = 1 << bits + _PI_GUARD_BITS

    def arctan(inverse: int) -> int:
        """One over `inverse`."""
        total, term, n = 0, one // inverse, 1
        while term:
            total += term // n if n % 4 == 1 else -(term // n)
            term //= inverse * inverse
            n += 2
        return total

    return 4 * (4 * arctan(5) - arctan(239)) >> _PI_GUARD_BITS


class Modp:
    """See `proto.ike.methods.Method`. Of n `bits`, p is
    2^n - 2^(n-64) - 1 + 2^64 × (⌊2^(n-130) π⌋ + `offset`).
    """

    __slots__ = ("_bits", "_exponent_octets", "_numbers", "_offset", "octets")

    def __init__(self, bits: int, offset: int, exponent_octets: int) -> None:
        self._bits = bits
        self._offset = offset
        self._exponent_octets = exponent_octets
        self._numbers: DHParameterNumbers | None = None
        self.octets = bits // 8

    @property
    def numbers(self) -> DHParameterNumbers:
        """Prime and generator, made when they are wanted first."""
        if self._numbers is None:
            n = self._bits
            prime = (1 << n) - (1 << n - 64) - 1 + ((_pi(n - 130) + self._offset) << 64)
            self._numbers = DHParameterNumbers(prime, _GENERATOR)
        return self._numbers

    def draw(self, rng: Rng) -> Secret:
        """An exponent, big-endian, above 1."""
        octets = rng.bytes(self._exponent_octets)
        return Secret(bytes((octets[0] | 0x80,)) + octets[1:])

    def half(self, private: Secret, public: bytes = b"") -> "ModpHalf":
        """See `Method`."""
        return ModpHalf(self, private, public)

    def answer(self, private: Secret, peer_public: bytes) -> tuple[bytes, Secret]:
        """See `Method`."""
        half = ModpHalf(self, private)
        return half.public, half.shared(peer_public)

    def check(self, peer_public: bytes) -> None:
        """Raises PeerError INVALID_SYNTAX unless it may be a power of the generator."""
        check_length(peer_public, self.octets, f"a MODP group of {self._bits} bits")
        if not 1 < int.from_bytes(peer_public, "big") < self.numbers.p - 1:
            raise bad("the KE data is none of the group's values")

    def power(self, base: int, exponent: Secret) -> bytes:
        """base^exponent mod p, as long as p."""
        # the public value beside the exponent isn't looked at
        own = DHPublicNumbers(_GENERATOR, self.numbers)
        key = DHPrivateNumbers(int.from_bytes(exponent.octets, "big"), own).private_key()
        made = key.exchange(DHPublicNumbers(base, self.numbers).public_key())
        return made.rjust(self.octets, b"\0")


class ModpHalf:
    """See `proto.ike.methods.Half`."""

    __slots__ = ("_exponent", "_group", "_public")

    def __init__(self, group: Modp, exponent: Secret, public: bytes = b"") -> None:
        self._group = group
        self._exponent = exponent
        self._public = public

    @property
    def public(self) -> bytes:
        """g^x, computed when it is asked for first."""
        if not self._public:
            self._public = self._group.power(_GENERATOR, self._exponent)
        return self._public

    def shared(self, peer_public: bytes) -> Secret:
        """g^ir."""
        self._group.check(peer_public)
        base = int.from_bytes(peer_public, "big")
        return Secret(self._group.power(base, self._exponent))


MODP_2048 = Modp(2048, 124476, 40)
MODP_3072 = Modp(3072, 1690314, 53)
MODP_4096 = Modp(4096, 240904, 60)
MODP_6144 = Modp(6144, 929484, 68)
MODP_8192 = Modp(8192, 4743158, 78)
