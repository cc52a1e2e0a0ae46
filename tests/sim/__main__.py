"""Runs seeds by hand: `python -m tests.sim --seeds 1-20`. Exit code 1 if one fails.

One line for each seed that fails, with the commit and a file in which a person can read what
happened; then simulated time and totals. The file begins with the events that lead to the first
finding; a seed that is run alone prints them too. `--trace` prints every event of each run instead
of keeping quiet. A seed that failed goes into `tests/sim/seeds.txt`.
"""

import argparse
import itertools
import multiprocessing
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from pathlib import Path

import structlog

from cluster.drill.plan import decode_drill
from tests.sim.drills import play_file
from tests.sim.golden import update
from tests.sim.scenarios import SCENARIOS, Result, run_seed
from tests.sim.story import story

TRACES = Path("runs/sim")
FINDINGS_SHOWN = 3
"""In a line; the file has all."""


def parse_seeds(text: str) -> list[int]:
    """`1-3,7` → [1, 2, 3, 7]. Raises ArgumentTypeError: a range of none would pass, and say so."""
    seeds: list[int] = []
    for part in text.split(","):
        first, to, last = part.partition("-")
        numbers = [first, last] if to else [first]
        if not all(n.isascii() and n.isdigit() for n in numbers) or int(numbers[-1]) < int(first):
            right = "numbers and ranges that go up, such as 1-20 or 3,7,9-12"
            raise argparse.ArgumentTypeError(f"{text!r} → {right}")
        seeds.extend(range(int(first), int(numbers[-1]) + 1))
    return seeds


def drill_file(text: str) -> str:
    """The name of a drill's file that can be read. Raises ArgumentTypeError."""
    try:
        decode_drill(Path(text).read_text(), text)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror} → a drill's file") from None
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def commit() -> str:
    """The commit that is tried, with a `+` if the tree differs from it; `?` outside a checkout."""
    asked = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False)
    return told.stdout.strip() or "?"


def in_short(findings: tuple[str, ...]) -> str:
    """The first few: the others follow from them, as a rule."""
    more = len(findings) - FINDINGS_SHOWN
    return "; ".join(findings[:FINDINGS_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def write_trace(name: str, seed: int, result: Result) -> Path:
    """Keep a run to be read; the path."""
    TRACES.mkdir(parents=True, exist_ok=True)
    path = TRACES / f"{Path(name).stem}-{seed}.txt"
    parts = (result.findings, story(result.lines), result.lines)
    path.write_text("\n\n".join("\n".join(part) for part in parts) + "\n")
    return path


Run = tuple[str, int, Future[Result]]
"""Scenario, seed, and what will come of it."""


def in_order(runs: Iterator[Run], ahead: int) -> Iterator[tuple[str, int, Result]]:
    """The runs with their results; only `ahead` of them are begun before they are asked for."""
    begun: deque[Run] = deque()
    for run in runs:
        begun.append(run)
        if len(begun) > ahead:
            name, seed, result = begun.popleft()
            yield name, seed, result.result()
    for name, seed, result in begun:
        yield name, seed, result.result()


def main(
    arguments: list[str],
    play: Callable[..., Result] = run_seed,
    keep_trace: Callable[[str, int, Result], Path] = write_trace,
    pool: Executor | None = None,
) -> int:
    """The command; `play(scenario, seed, keep=…)` runs one seed, in `pool`."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=parse_seeds, default=parse_seeds("1-20"))
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), action="append", metavar="NAME")
    parser.add_argument("--drill", type=drill_file, help="a drill file, instead of scenarios")
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--first", action="store_true", help="stop at the first that fails")
    parser.add_argument("--minutes", type=float, help="begin no run after that; what fits, fits")
    parser.add_argument("--golden", action="store_true", help="keep what the golden runs do now")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    chosen = parser.parse_args(arguments)
    if chosen.golden:
        update()
        return 0
    # fork: what is imported need not be imported again
    pool = pool or ProcessPoolExecutor(chosen.jobs, multiprocessing.get_context("fork"))
    try:
        return _main(chosen, play, keep_trace, pool)
    finally:
        pool.shutdown(cancel_futures=True)


def _main(
    chosen: argparse.Namespace,
    play: Callable[..., Result],
    keep_trace: Callable[[str, int, Result], Path],
    pool: Executor,
) -> int:
    end_s = time.monotonic() + 60 * chosen.minutes if chosen.minutes else float("inf")
    names = [chosen.drill] if chosen.drill else chosen.scenario or SCENARIOS
    play = play_file if chosen.drill else play
    # every scenario has had its turn, however short the time is
    wanted = ((name, seed) for seed in chosen.seeds for name in names)
    runs = (
        (name, seed, pool.submit(play, name, seed, keep=chosen.trace))
        for name, seed in itertools.takewhile(lambda _: time.monotonic() <= end_s, wanted)
    )

    passed = failed = 0
    virtual_s = 0.0
    for name, seed, result in in_order(runs, chosen.jobs):
        virtual_s += result.virtual_s
        if chosen.trace:
            print("\n".join(result.lines))
        if not result.findings:
            passed += 1
            continue
        failed += 1
        again = pool.submit(play, name, seed, keep=True).result()
        path = keep_trace(name, seed, again)
        if len(chosen.seeds) == 1 and not chosen.trace:
            print("\n".join(story(again.lines)))
        print(f"seed {seed} of {name} failed at {commit()}: {in_short(result.findings)} ({path})")
        if chosen.first:
            break
    print(f"{virtual_s / 3600:.1f} simulated hours")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    # what a task died of is a finding; its traceback would bury the others
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    sys.exit(main(sys.argv[1:]))
