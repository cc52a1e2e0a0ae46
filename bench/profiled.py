"""A gateway under Python's profiler: `python -m bench.profiled PROFILE CONFIG`, until SIGTERM."""

import cProfile
import pstats
import sys
from pathlib import Path

from node.cli import main as standfast

TOP = 45


def report(profile: Path) -> None:
    """Print what took longest, by its own time and with what it called."""
    for order in ("tottime", "cumulative"):
        pstats.Stats(str(profile)).strip_dirs().sort_stats(order).print_stats(TOP)


def main() -> int:
    """The gateway's exit code; the profile is written when it has ended."""
    profile, config = sys.argv[1:]
    profiler = cProfile.Profile()
    try:
        return profiler.runcall(standfast, ["gateway", "--config", config])
    finally:
        profiler.dump_stats(profile)


if __name__ == "__main__":
    sys.exit(main())
