"""Where SPIs and IVs come from: a gateway's shards, or plain randomness for a client.

Rules: a gateway's SPI carries its shard, hidden (`cluster.shards`); every IV it makes begins with
the epoch and the shard's fence (ADR 0005).
"""

from collections.abc import Callable

from cluster.ownership import Ownership
from cluster.seams import Rng
from cluster.shards import SpiCodec
from node.esp import EspSpis


class ShardSpis:
    """Implements `proto.ike.seams.SpiSpace` for a gateway."""

    def __init__(
        self, codec: SpiCodec, ownership: Ownership, rng: Rng, epoch: int, esp: EspSpis
    ) -> None:
        self._codec = codec
        self._ownership = ownership
        self._rng = rng
        self._epoch = epoch
        self._esp = esp
        self._sorted: dict[int, list[bytes]] | None = None
        self.ending = False
        """All shards are to go soon."""

    def ike_spi(self) -> bytes | None:
        """A fresh SPI in a shard of ours that is to stay; None: we own none, and stay silent."""
        self.changed()
        shard = self._ownership.choose_shard(self._rng)
        return None if shard is None else self._codec.ike_spi(shard, self._rng.bytes(6))

    def changed(self) -> None:
        """There are SPIs that weren't there before."""
        self._sorted = None

    def ike_spi_beside(self, ike_spi: bytes) -> bytes:
        """A fresh SPI in the same shard: one fence guards a rekey's old and new record, and the new
        SA lives where its addresses and Child SAs do.
        """
        self._sorted = None
        return self._codec.ike_spi(self._codec.shard_of(ike_spi), self._rng.bytes(6))

    def begins(self, ike_spi: bytes, makes: bool) -> bool:
        """See `SpiSpace.begins`. What makes an SA is noted: the shard stays until that shows."""
        shard = self._codec.shard_of(ike_spi)
        if self.ending or shard in self._ownership.leaving:
            return False
        return not makes or self._ownership.begins_in(shard)

    def take(self, shard: int, spis: Callable[[], list[bytes]]) -> list[bytes]:
        """Those of `spis()`, all that there are, that live in `shard`, which was lost.

        Many shards are lost at once, and each has few of the SPIs: they are sorted once for all
        shards, and again only when another SPI was made.
        """
        if self._sorted is None:
            self._sorted = {}
            for spi in spis():
                self._sorted.setdefault(self._codec.shard_of(spi), []).append(spi)
        return self._sorted.pop(shard, [])

    def esp_spi(self, ike_spi: bytes) -> bytes:
        """See `EspSpis.fresh`."""
        return self._esp.fresh(ike_spi)

    def iv_prefix(self, ike_spi: bytes) -> tuple[int, int]:
        """(epoch, fence). An SPI whose shard was lost has the fence 0, which no owner ever has."""
        return self._epoch, self._ownership.fence_of(self._codec.shard_of(ike_spi)) or 0


class ClientSpis:
    """Implements `proto.ike.seams.SpiSpace` for a client: random, one owner, no fence."""

    def __init__(self, rng: Rng) -> None:
        self._rng = rng

    def ike_spi(self) -> bytes | None:
        """8 random octets, never all zero."""
        return self._rng.bytes(7) + b"\x01"

    def ike_spi_beside(self, ike_spi: bytes) -> bytes:
        """As `ike_spi`: a client has no shards."""
        return self._rng.bytes(7) + b"\x01"

    def begins(self, ike_spi: bytes, makes: bool) -> bool:
        """Always: nobody takes a client's SAs over."""
        return True

    def esp_spi(self, ike_spi: bytes) -> bytes:
        """4 random octets, never one of the reserved 0 to 255 (RFC 4303 2.1)."""
        return b"\xc0" + self._rng.bytes(3)

    def iv_prefix(self, ike_spi: bytes) -> tuple[int, int]:
        """A client speaks alone."""
        return 0, 0
