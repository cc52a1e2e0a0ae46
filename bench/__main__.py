"""`python -m bench`: measure, print a table, write bench/results.json."""

import argparse
import asyncio
import sys
from pathlib import Path

import msgspec
from rich.console import Console

from bench.cases import (
    FULL,
    QUICK,
    Size,
    profile_durable,
    run_durable,
    run_handlers,
    run_memory,
    run_ring,
    run_takeover,
    run_three,
    run_udp,
)
from bench.cluster import NotReady
from bench.figures import WANTED, Figures, compared, profiled, shown
from bench.machine import facts
from bench.piped import Broken
from bench.profiled import Profile
from node.drill.child import CouldNotRun
from node.etcd_child import EtcdFailed

RESULTS = Path(__file__).resolve().parent / "results.json"
PROFILE_ROWS = 40
CASES = ("handlers", "udp", "durable", "three", "ring", "takeover", "memory")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    option = parser.add_argument
    option("--only", choices=CASES, action="append", help="measure this alone; may be repeated")
    option("--quick", action="store_true", help="fewer operations, one run of each")
    option("--compare", type=Path, metavar="FILE", help="show FILE's figures beside the new ones")
    option(
        "--out",
        type=Path,
        metavar="FILE",
        help="where the figures go; by default bench/results.json, and with --only nowhere",
    )
    option(
        "--profile",
        type=Path,
        metavar="FILE",
        help="profile the durable case's gateway and write no figures: profiling slows it down",
    )
    return parser.parse_args()


async def _measure(cases: list[str], size: Size, console: Console) -> Figures:
    figures: Figures = {}
    for case in cases:
        with console.status(f"measuring: {case}"):
            if case == "handlers":
                figures |= run_handlers(size)
            elif case == "udp":
                figures |= await run_udp(size)
            elif case == "durable":
                figures |= await run_durable(size)
            elif case == "three":
                figures |= await run_three(size)
            elif case == "ring":
                figures |= await run_ring(size)
            elif case == "takeover":
                figures |= await run_takeover(size)
            else:
                figures |= await run_memory(size)
    return {name: figures[name] for name in WANTED if name in figures}


async def _run(arguments: argparse.Namespace, console: Console) -> None:
    size = QUICK if arguments.quick else FULL
    if arguments.profile is not None:
        each_us = await profile_durable(size, arguments.profile.absolute())
        profile = msgspec.json.decode(arguments.profile.read_bytes(), type=Profile)
        samples = max(1, profile.samples)
        for title, counts in (
            ("module", profile.module),
            ("function, itself", profile.own),
            ("function, with what it calls", profile.whole),
        ):
            console.print(profiled(counts, samples, title, PROFILE_ROWS))
        console.print(f"{samples} samples; a resumption took {each_us:g} µs of CPU")
        return
    about = await facts()
    cases: list[str] = arguments.only or list(CASES)
    figures = await _measure(cases, size, console)
    out = arguments.out or (None if arguments.only else RESULTS)
    if arguments.compare is not None:
        console.print(compared(msgspec.json.decode(arguments.compare.read_bytes()), figures))
    else:
        console.print(shown(figures))
    console.print(", ".join(f"{key.removeprefix('machine_')} {about[key]}" for key in about))
    if out is not None:
        octets = msgspec.json.format(msgspec.json.encode(figures | about), indent=2)
        out.write_bytes(octets + b"\n")
        console.print(f"written to {out}")


def main() -> int:
    """The exit code: 0 measured, 2 could not, 130 interrupted."""
    try:
        asyncio.run(_run(_arguments(), Console()))
    except (Broken, CouldNotRun, EtcdFailed, NotReady, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
