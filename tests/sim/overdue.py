"""I9, at any time: no SA of a process that runs waits for its turn.

Rules: looks once a virtual second at when each endpoint wants to be called, and says nothing of a
process that stands still, or has just gone on: what fell due meanwhile is done after that.
"""

import asyncio
from collections.abc import Callable, Iterable

from node.shell import LOOK_S, Shell
from tests.sim.findings import Findings

EACH_S = 1.0
LATE_MAX_S = 2 * LOOK_S
"""Twice as long as a process that was asleep sleeps on when it is awake."""


class Overdue:
    """See the module."""

    def __init__(
        self, findings: Findings, running: Callable[[], Iterable[tuple[str, Shell]]]
    ) -> None:
        """`running()`: the processes that run now, by name."""
        self._findings = findings
        self._running = running
        self._late: dict[str, Shell] = {}

    async def run(self) -> None:
        """For ever; of each process that is late twice in a row, one finding."""
        while True:
            await asyncio.sleep(EACH_S)
            late = {}
            for name, shell in self._running():
                late_s = shell.now().boot_s - shell.endpoint.next_deadline_s()
                if late_s <= LATE_MAX_S:
                    continue
                late[name] = shell
                if self._late.get(name) is shell:
                    self._findings.broken(
                        "I9", f"{name}: what was due {late_s:.1f} s ago isn't done"
                    )
            self._late = late
