"""Which shard an SPI lives in, and which member a shard would like best: pure functions.

Rules: an SPI carries its shard hidden, so that an observer learns neither the number of shards
nor which sessions live together, while any member reads it in one step. `shard_of` of an SPI that
no member of this cluster made gives *any* 16-bit number: callers check it against the number of
shards. SPIs: RFC 7296 3.1, RFC 4303 2.1 (0 to 255 reserved).
"""

import hashlib
from collections.abc import Iterable

from proto.secret import Secret

SPI_KEY_LEN = 32
"""Octets of the SPI key; it is made with the cluster and never changes."""

SHARDS_MAX = 4096
"""More shards than this make scans and claims slow, and buy nothing."""

KNOWN_MAX = 512
"""SPIs whose shard is remembered; beyond it the memory starts anew."""

_IKE_RANDOM = 6
_ESP_RANDOM = 2
_MASK_LEN = 2
_IKE_USE = b"sf ike"
_ESP_USE = b"sf esp"


class SpiCodec:
    """Makes SPIs that carry their shard, and reads them back.

    The mask is keyed BLAKE2s cut to 16 bits, under a personalisation per use: a PRF, and three
    times cheaper than HMAC-SHA256, which counts because every datagram is routed by it.
    """

    def __init__(self, spi_key: Secret, shards: int) -> None:
        """`spi_key`: 32 octets. Raises ValueError for another length, or a number of shards out
        of range.
        """
        if len(spi_key) != SPI_KEY_LEN:
            raise ValueError(f"the SPI key has {len(spi_key)} octets; {SPI_KEY_LEN} are needed")
        if not 1 <= shards <= SHARDS_MAX:
            raise ValueError(f"{shards} shards; 1 to {SHARDS_MAX} are possible")
        self.shards = shards
        key = spi_key.octets
        # keyed once, copied per SPI: half the cost of keying again
        self._ike = hashlib.blake2s(key=key, digest_size=_MASK_LEN, person=_IKE_USE)
        self._esp = hashlib.blake2s(key=key, digest_size=_MASK_LEN, person=_ESP_USE)
        self._known: dict[bytes, int] = {}
        """The newest IKE SPIs made or asked for: a handshake asks for its own a dozen times."""

    def ike_spi(self, shard: int, r48: bytes) -> bytes:
        """The IKE SPI `r48(6) ‖ (shard(2) ⊕ PRF(r48))` of `shard` for six random octets.

        Never zero: six octets of zero count as one. Raises ValueError for a shard or a length out
        of range.
        """
        if not 0 <= shard < self.shards or len(r48) != _IKE_RANDOM:
            raise ValueError(f"shard {shard} of {self.shards} with {len(r48)} random octets")
        if not any(r48):
            r48 = b"\0\0\0\0\0\1"
        mask = self._ike.copy()
        mask.update(r48)
        masked = int.from_bytes(mask.digest(), "big") ^ shard
        spi = r48 + masked.to_bytes(_MASK_LEN, "big")
        self._keep(spi, shard)
        return spi

    def shard_of(self, spi: bytes) -> int:
        """The shard that an IKE SPI of this cluster lives in; of a foreign SPI, any number from 0
        to 65535.
        """
        known = self._known.get(spi)
        if known is not None:
            return known
        mask = self._ike.copy()
        mask.update(spi[:_IKE_RANDOM])
        shard = int.from_bytes(mask.digest(), "big") ^ int.from_bytes(spi[_IKE_RANDOM:], "big")
        self._keep(spi, shard)
        return shard

    def _keep(self, spi: bytes, shard: int) -> None:
        known = self._known
        if len(known) >= KNOWN_MAX:
            known.clear()
        known[spi] = shard

    def esp_spi(self, shard: int, r16: bytes) -> bytes:
        """The ESP SPI `r16(2) ‖ (shard(2) ⊕ PRF(r16))` of `shard` for two random octets.

        Never one of the reserved 0 to 255: two octets of zero count as one. 16 random bits repeat
        soon: the caller checks that the SPI is free. Raises ValueError for a shard or a length
        out of range.
        """
        if not 0 <= shard < self.shards or len(r16) != _ESP_RANDOM:
            raise ValueError(f"shard {shard} of {self.shards} with {len(r16)} random octets")
        if not any(r16):
            r16 = b"\0\1"
        mask = self._esp.copy()
        mask.update(r16)
        masked = int.from_bytes(mask.digest(), "big") ^ shard
        return r16 + masked.to_bytes(_MASK_LEN, "big")

    def shard_of_esp(self, spi: bytes) -> int:
        """The shard that an ESP SPI of this cluster lives in; of a foreign SPI, any number from 0
        to 65535.
        """
        mask = self._esp.copy()
        mask.update(spi[:_ESP_RANDOM])
        return int.from_bytes(mask.digest(), "big") ^ int.from_bytes(spi[_ESP_RANDOM:], "big")


def rank(shard: int, members: Iterable[str]) -> tuple[str, ...]:
    """`members` in the order in which they should own `shard` (rendezvous hashing: a member that
    comes or goes moves only its own share). The same everywhere and in every release: owners,
    backups and claimants agree by it.
    """
    head = shard.to_bytes(2, "big")

    def score(name: str) -> tuple[bytes, str]:
        return hashlib.blake2s(head + name.encode(), digest_size=8).digest(), name

    return tuple(sorted(members, key=score, reverse=True))
