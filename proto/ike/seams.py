"""The one seam of the core that isn't an argument of each call: randomness."""

from typing import Protocol


class Rng(Protocol):
    """Unpredictable octets (RFC 4086). Implementers: `node.seams.OsRng`,
    `tests.sim.seams.SeededRng`.
    """

    def bytes(self, n: int) -> bytes:
        """`n` fresh octets."""
        ...
