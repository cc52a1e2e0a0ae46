"""A gateway under Python's profiler: `python -m bench.profiled PROFILE CONFIG`, until SIGTERM.

Rules: SIGUSR2 begins to count and ends it again, so that a profile is of one kind of work alone.
"""

import cProfile
import pstats
import signal
import sys
from pathlib import Path

from node.cli import main as standfast

TOP = 45


def report(profile: Path) -> None:
    """Print what took longest, by its own time and with what it called."""
    for order in ("tottime", "cumulative"):
        pstats.Stats(str(profile)).strip_dirs().sort_stats(order).print_stats(TOP)


class Switch:
    """Turns the profiler on and off."""

    def __init__(self) -> None:
        self.profiler = cProfile.Profile()
        self._on = False

    def __call__(self, *_: object) -> None:
        """As a signal handler does."""
        self._on = not self._on
        if self._on:
            self.profiler.enable()
        else:
            self.profiler.disable()


def main() -> int:
    """The gateway's exit code; the profile is written when it has ended."""
    profile, config = sys.argv[1:]
    switch = Switch()
    signal.signal(signal.SIGUSR2, switch)
    try:
        return standfast(["gateway", "--config", config])
    finally:
        switch.profiler.dump_stats(profile)


if __name__ == "__main__":
    sys.exit(main())
