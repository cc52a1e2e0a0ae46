"""The real clock and the real randomness: the only place of the process that asks the operating
system for either.

Rules: built once in the composition root and handed down; nothing else calls `time` or
`os.urandom`. Protocols: `cluster.seams`, `proto.ike.effects.Rng`.
"""

import os
import time

POOL_OCTETS = 4096
"""One system call gives this much randomness; an exchange takes less than a hundred octets of it.
"""

_forks = 0


def _forked() -> None:
    global _forks  # noqa: PLW0603  one counter per process, and a fork is an event of the process
    _forks += 1


os.register_at_fork(after_in_child=_forked)


class OsClock:
    """CLOCK_BOOTTIME, which counts suspends, and the wall clock."""

    def boot_s(self) -> float:
        """Seconds since boot, suspends included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall_s(self) -> float:
        """Seconds since 1970 (UTC)."""
        return time.time()


class OsRng:
    """Octets from the kernel, taken in pools: a system call costs more than most of what it is
    asked for.

    A forked child never repeats its parent's octets: it throws the pool away. Not for use from
    several threads.
    """

    def __init__(self) -> None:
        self._pool = b""
        self._used = POOL_OCTETS
        self._forks = _forks

    def bytes(self, n: int) -> bytes:
        """`n` fresh octets; ValueError if `n` is negative."""
        begin = self._used
        end = begin + n
        if not begin <= end <= POOL_OCTETS or self._forks != _forks:
            if n < 0:
                raise ValueError(f"{n} octets of randomness asked for")
            if n > POOL_OCTETS:
                return os.urandom(n)
            self._pool, self._forks = os.urandom(POOL_OCTETS), _forks
            begin, end = 0, n
        self._used = end
        return self._pool[begin:end]
