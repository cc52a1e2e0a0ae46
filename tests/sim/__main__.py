"""Runs seeds by hand: `python -m tests.sim --seeds 1-20`. Exit code 1 if one fails.

One line for each seed that fails, then the totals. `--trace` prints every event of each run instead
of keeping quiet; a seed that failed goes into `tests/sim/seeds.txt`.
"""

import argparse
import sys
from collections.abc import Callable

from tests.sim.scenarios import SCENARIOS, Result, run_seed


def parse_seeds(text: str) -> list[int]:
    """`1-3,7` → [1, 2, 3, 7]. Raises ValueError."""
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        seeds.extend(range(int(first), int(last or first) + 1))
    return seeds


def main(arguments: list[str], play: Callable[..., Result] = run_seed) -> int:
    """The command; `play(scenario, seed, keep=…)` runs one seed."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=parse_seeds, default=parse_seeds("1-20"))
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), action="append")
    parser.add_argument("--trace", action="store_true")
    chosen = parser.parse_args(arguments)
    passed = failed = 0
    for name in chosen.scenario or SCENARIOS:
        for seed in chosen.seeds:
            result = play(name, seed, keep=chosen.trace)
            if chosen.trace:
                print("\n".join(result.lines))
            if result.findings:
                failed += 1
                print(f"seed {seed} of {name} failed: {'; '.join(result.findings)}")
            else:
                passed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
