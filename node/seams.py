"""The real clock and the real randomness: the only place of the process that asks the operating
system for either.

Rules: built once in the composition root and handed down; nothing else calls `time` or
`os.urandom`. Protocols: `cluster.seams`, `proto.ike.effects.Rng`.
"""

import os
import time
import weakref
from collections.abc import Callable
from functools import partial

POOL_OCTETS = 4096
"""One system call gives this much randomness; an exchange takes less than a hundred octets of it.
"""


class OsClock:
    """CLOCK_BOOTTIME, which counts suspends, and the wall clock. Read some ten times a datagram:
    without a call of ours in between.
    """

    __slots__ = ("boot_s", "wall_s")

    def __init__(self) -> None:
        self.boot_s: Callable[[], float] = partial(time.clock_gettime, time.CLOCK_BOOTTIME)
        """Seconds since boot, suspends included."""
        self.wall_s: Callable[[], float] = time.time
        """Seconds since 1970 (UTC)."""


class OsRng:
    """Octets from the kernel, taken in pools: a system call costs more than most of what it is
    asked for.

    A forked child never repeats its parent's octets: it throws the pool away. Not for use from
    several threads.
    """

    def __init__(self) -> None:
        self._pool = b""
        self._used = POOL_OCTETS
        _pools.add(self)

    def _refilled(self, n: int) -> bytes:
        self.throw_away()
        if n < 0:
            raise ValueError(f"{n} octets of randomness asked for")
        if n > POOL_OCTETS:
            return os.urandom(n)
        self._pool, self._used = os.urandom(POOL_OCTETS), n
        return self._pool[:n]

    def bytes(self, n: int) -> bytes:
        """`n` fresh octets; ValueError if `n` is negative."""
        begin = self._used
        end = self._used = begin + n
        if end > POOL_OCTETS or n < 0:
            return self._refilled(n)
        return self._pool[begin:end]

    def throw_away(self) -> None:
        """What is left in the pool is somebody else's."""
        self._pool, self._used = b"", POOL_OCTETS


_pools: "weakref.WeakSet[OsRng]" = weakref.WeakSet()


def _forked() -> None:
    for rng in _pools:
        rng.throw_away()


os.register_at_fork(after_in_child=_forked)
