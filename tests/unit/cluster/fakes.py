"""The seams as the unit tests of this layer fill them in: a clock set by hand, seeded octets."""

import random

T0 = 1_790_000_000.0
"""Wall time at the start of every test; any round number of this decade."""


class HandClock:
    """Both clocks, moved by the test."""

    def __init__(self, wall_s: float = T0) -> None:
        self._wall_s = wall_s
        self._boot_s = 1000.0

    def boot_s(self) -> float:
        return self._boot_s

    def wall_s(self) -> float:
        return self._wall_s

    def advance(self, seconds: float) -> None:
        self._wall_s += seconds
        self._boot_s += seconds


class SeededRng:
    """Octets that only look unpredictable."""

    def __init__(self, seed: int, name: str = "") -> None:
        self._random = random.Random(f"{seed}/{name}")

    def bytes(self, n: int) -> bytes:
        return self._random.randbytes(n)
