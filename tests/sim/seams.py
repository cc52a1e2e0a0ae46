"""The simulated clock and randomness of one member or client.

Rules: both come from the world's loop and seed alone; no two parts share a source of randomness, so
that one more draw in one part doesn't change what the others draw.
"""

import random

from node.trust.fetch import FetchFailed
from proto.ike.effects import Now
from proto.ike.errands import Computation, Result
from tests.sim.loop import SimLoop

WALL_START_S = 1_790_000_000.0
"""Wall time at virtual second 0; any round number of this decade."""


class SimClock:
    """One node's clocks: virtual time, seen through the node's own errors.

    `boot_offset_s`: every machine has booted at another time. `wall_offset_s`: its idea of the
    date is off by that much. `drift`: the first runs fast by that share (50e-6 is a common quartz);
    the date is kept by somebody.
    """

    def __init__(
        self,
        loop: SimLoop,
        boot_offset_s: float = 0.0,
        wall_offset_s: float = 0.0,
        drift: float = 0.0,
    ) -> None:
        self._loop = loop
        self.boot_offset_s = boot_offset_s
        self.wall_offset_s = wall_offset_s
        self._rate = 1 + drift

    def true_s(self) -> float:
        """Virtual seconds, which no node knows."""
        return self._loop.time()

    def boot_s(self) -> float:
        """Seconds since this node's boot; never steps."""
        return self._loop.now_s * self._rate + self.boot_offset_s

    def wall_s(self) -> float:
        """Seconds since 1970 as this node believes; steps when a test changes the offset."""
        return WALL_START_S + self._loop.now_s + self.wall_offset_s

    def now(self) -> Now:
        """Both, as the core takes them."""
        return Now(self.boot_s(), self.wall_s())


class SeededRng:
    """Octets that only look unpredictable: the same for the same seed and name."""

    def __init__(self, seed: int, name: str) -> None:
        # a text seed is hashed with SHA-512 by `random`, not with Python's salted hash
        self.random = random.Random(f"{seed}/{name}")

    def bytes(self, n: int) -> bytes:
        """`n` octets."""
        return self.random.randbytes(n)


class NoWeb:
    """Nobody answers by HTTP. Implements `node.trust.fetch.Fetch`."""

    async def fetch(
        self, url: str, octets_max: int, body: bytes = b"", content_type: str = ""
    ) -> bytes:
        """See `Fetch.fetch`."""
        raise FetchFailed(f"{url}: no web")


class AtOnce:
    """Computes here and now: a computation takes no virtual time."""

    async def compute(self, computation: Computation) -> Result:
        """What comes of it."""
        return computation.run()
