"""What this gateway's SAs have come to since their records, for the mirrors (`cluster.counters`).

Rules: only established SAs with no write under way: what a write holds comes with its record.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cluster.link import Counters

if TYPE_CHECKING:
    from node.wiring import Node

BEGINNING = (2, 0)
"""Message IDs of an SA that has only just been set up, as its first record has them."""


class EndpointCounters:
    """Implements `cluster.counters.CounterSource`."""

    def __init__(self, node: "Node") -> None:
        """`node`: its gateway needn't have been built yet."""
        self._node = node

    def read(self, spi: bytes) -> Counters | None:
        """See `CounterSource.read`."""
        row = self.row(spi)
        return None if row is None or (row.expected_id, row.next_id) == BEGINNING else row

    def row(self, spi: bytes) -> Counters | None:
        """The same, of an SA that has only just been set up too."""
        progress = self._node.gateway.endpoint.progress(spi)
        if progress is None:
            return None
        clock, path = self._node.seams.clock, progress.path
        heard_wall_s = clock.wall_s() - (clock.boot_s() - progress.heard_boot_s)
        return Counters(spi, *progress.ids, path.local, path.remote, heard_wall_s)

    def spis(self) -> Iterable[bytes]:
        """See `CounterSource.spis`."""
        return self._node.gateway.endpoint.spis() if self._node.ready else ()

    def shard_of(self, spi: bytes) -> int:
        """See `CounterSource.shard_of`."""
        return self._node.codec.shard_of(spi)
