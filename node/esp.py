"""Which inbound ESP SPIs are taken: an SPI of 16 random bits in its shard comes again soon.

Rules: an SPI is taken from when it is handed out until its Child SA is removed, or for as long as
the IKE SA it was handed out for may still install it: a peer begins Child SAs without end, and goes
on with none. It sits before the kernel, so that it knows of every Child SA of this gateway, adopted
ones too. ESP SPIs of one shard are one owner's, so nobody else need be asked (RFC 4303 2.1: the
receiver tells SAs apart by them).
"""

from collections.abc import Callable

from cluster.seams import Rng
from cluster.shards import SpiCodec
from node.kernel import Kernel
from proto.ike.effects import InstallChild, KernelOp, RemoveChild
from proto.ike.enums import NotifyType
from proto.ike.errors import PeerError

TRIES_MAX = 64
"""Random draws before the free ones of the shard are looked for one by one."""
RANDOM_MAX = 1 << 16
"""SPIs of a shard, but for one that counts twice (`SpiCodec.esp_spi`)."""
STALE_MAX = 4096
"""SPIs handed out and not installed; at more, those that nobody will install are let go."""


class EspSpis:
    """See the module. Implements `Kernel` in front of another one."""

    def __init__(self, kernel: Kernel, codec: SpiCodec, rng: Rng) -> None:
        self._kernel = kernel
        self._codec = codec
        self._rng = rng
        self._installed: dict[bytes, None] = {}
        self._handed_out: dict[bytes, bytes] = {}
        """Not installed yet → our SPI of the IKE SA that asked."""
        self._sweep_at = STALE_MAX
        """At so many of these they are looked through."""
        self.is_kept: Callable[[bytes, bytes], bool] = lambda _ike_spi, _spi: True
        """Whether an IKE SA, by our SPI, still has a use for an ESP SPI that it was given."""

    def apply(self, operation: KernelOp) -> None:
        """See `Kernel.apply`."""
        kind = operation.__class__
        if kind is InstallChild:
            self._handed_out.pop(operation.spi_in, None)
            self._installed[operation.spi_in] = None
        elif kind is RemoveChild:
            self._handed_out.pop(operation.spi_in, None)
            self._installed.pop(operation.spi_in, None)
        self._kernel.apply(operation)

    def has(self, spi: bytes) -> bool:
        """Is there a Child SA with that inbound SPI, or will there be in a moment?"""
        return spi in self._installed or spi in self._handed_out

    def fresh(self, ike_spi: bytes) -> bytes:
        """An SPI in the shard of `ike_spi` that nothing here has. Raises PeerError
        (NO_ADDITIONAL_SAS): the shard has none left.
        """
        if len(self._handed_out) >= self._sweep_at:
            self._let_go()
        shard = self._codec.shard_of(ike_spi)
        for _ in range(TRIES_MAX):
            spi = self._codec.esp_spi(shard, self._rng.bytes(2))
            if self._is_free(spi):
                break
        else:
            spi = self._search(shard)
        self._handed_out[spi] = ike_spi
        return spi

    def _is_free(self, spi: bytes) -> bool:
        asked = self._handed_out.get(spi)
        return spi not in self._installed and (asked is None or not self.is_kept(asked, spi))

    def _search(self, shard: int) -> bytes:
        first = int.from_bytes(self._rng.bytes(2), "big")
        for step in range(RANDOM_MAX):
            spi = self._codec.esp_spi(shard, ((first + step) % RANDOM_MAX).to_bytes(2, "big"))
            if self._is_free(spi):
                return spi
        raise PeerError(NotifyType.NO_ADDITIONAL_SAS, why="the shard has no ESP SPI left")

    def _let_go(self) -> None:
        for spi, asked in list(self._handed_out.items()):
            if not self.is_kept(asked, spi):
                del self._handed_out[spi]
        kept = len(self._handed_out)
        self._sweep_at = max(STALE_MAX, kept + kept // 4)
