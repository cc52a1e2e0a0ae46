"""Runs seeds by hand: `python -m tests.sim --seeds 1-20`. Exit code 1 if one fails.

One line for each seed that fails, with the commit and a file in which a person can read what
happened; then simulated time and totals. `--trace` prints every event of each run instead of
keeping quiet; a seed that failed goes into `tests/sim/seeds.txt`.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from tests.sim.scenarios import SCENARIOS, Result, run_seed

TRACES = Path("runs/sim")


def parse_seeds(text: str) -> list[int]:
    """`1-3,7` → [1, 2, 3, 7]. Raises ValueError."""
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        seeds.extend(range(int(first), int(last or first) + 1))
    return seeds


def commit() -> str:
    """The commit that is tried, with a `+` if the tree differs from it; `?` outside a checkout."""
    asked = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False)
    return told.stdout.strip() or "?"


def write_trace(name: str, seed: int, lines: tuple[str, ...]) -> Path:
    """Keep a run to be read; the path."""
    TRACES.mkdir(parents=True, exist_ok=True)
    path = TRACES / f"{name}-{seed}.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def main(
    arguments: list[str],
    play: Callable[..., Result] = run_seed,
    keep_trace: Callable[[str, int, tuple[str, ...]], Path] = write_trace,
) -> int:
    """The command; `play(scenario, seed, keep=…)` runs one seed."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=parse_seeds, default=parse_seeds("1-20"))
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), action="append")
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--first", action="store_true", help="stop at the first that fails")
    parser.add_argument("--minutes", type=float, help="begin no run after that; what fits, fits")
    chosen = parser.parse_args(arguments)
    end_s = time.monotonic() + 60 * chosen.minutes if chosen.minutes else float("inf")
    passed = failed = 0
    virtual_s = 0.0
    for name in chosen.scenario or SCENARIOS:
        for seed in chosen.seeds:
            if (failed and chosen.first) or time.monotonic() > end_s:
                break
            result = play(name, seed, keep=chosen.trace)
            virtual_s += result.virtual_s
            if chosen.trace:
                print("\n".join(result.lines))
            if not result.findings:
                passed += 1
                continue
            failed += 1
            path = keep_trace(name, seed, play(name, seed, keep=True).lines)
            print(
                f"seed {seed} of {name} failed at {commit()}: {'; '.join(result.findings)} ({path})"
            )
    print(f"{virtual_s / 3600:.1f} simulated hours")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    # what a task died of is a finding; its traceback would bury the others
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    sys.exit(main(sys.argv[1:]))
