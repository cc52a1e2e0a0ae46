"""The two seams of this layer that the operating system fills in: clock and randomness.

Real ones: `node.seams`. Simulated ones: `tests.sim`. Nothing in `cluster` may use `time`, `os` or
`random` itself; `asyncio.sleep` and `asyncio.timeout` are fine, the simulator's loop virtualises
them.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Protocol

Spawn = Callable[[Coroutine[object, object, object], str], "asyncio.Task[None]"]
"""Makes a task that somebody owns: `node.supervisor.Supervisor.spawn`. `cluster` makes none."""


class Clock(Protocol):
    """Two clocks: one that never stops or steps back, one that people and tickets use."""

    def boot_s(self) -> float:
        """Seconds since boot, suspends included (CLOCK_BOOTTIME): leases, deadlines, timers."""
        ...

    def wall_s(self) -> float:
        """Seconds since 1970 (UTC): what is written down for others or for later."""
        ...


class Rng(Protocol):
    """Unpredictable octets (RFC 4086)."""

    def bytes(self, n: int) -> bytes:
        """`n` fresh octets."""
        ...
