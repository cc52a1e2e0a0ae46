"""The core's seams that are no arguments of each call: randomness, and whence SPIs come."""

from typing import Protocol


class Rng(Protocol):
    """Unpredictable octets (RFC 4086). Implementers: `node.seams.OsRng`,
    `tests.sim.seams.SeededRng`.
    """

    def bytes(self, n: int) -> bytes:
        """`n` fresh octets."""
        ...


class SpiSpace(Protocol):
    """Where SPIs and IVs come from. Implementers: `node.spis.ShardSpis` (gateway),
    `node.spis.ClientSpis`.
    """

    def ike_spi(self) -> bytes | None:
        """A fresh SPI, 8 octets; None: we own no shard and stay silent."""
        ...

    def ike_spi_beside(self, ike_spi: bytes) -> bytes:
        """A fresh SPI, 8 octets, in the shard of `ike_spi`, for a rekey of that SA."""
        ...

    def begins(self, ike_spi: bytes, makes: bool) -> bool:
        """May we ask for something on that SA of ours? False: not now, its shard may be on its way
        to another owner. `makes`: it makes an SA, which one who comes to own the shard before the
        answer wouldn't know.
        """
        ...

    def esp_spi(self, ike_spi: bytes) -> bytes:
        """A fresh inbound ESP SPI, 4 octets, in the shard of `ike_spi`. Raises PeerError
        (NO_ADDITIONAL_SAS): that has none left.
        """
        ...

    def iv_prefix(self, ike_spi: bytes) -> tuple[int, int]:
        """(epoch, fence) under which we own this SPI."""
        ...
