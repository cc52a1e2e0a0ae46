"""Runs the fuzz targets by hand and in CI: `python -m tests.fuzz --seconds 120`. Exit code 1 on a
finding.

Each target runs in a process of its own, under atheris; the time is spread by the targets' weights.
What breaks one is kept in `tests/fuzz/regressions/<target>/`, where pytest tries it ever after;
what reaches new code goes to `runs/fuzz/<target>/` and is begun with the next time.
`--write-corpus` puts the seeds into `tests/fuzz/corpus/`.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

GROWN = Path("runs/fuzz")
LEAST_S = 2
OCTETS_MAX = 4096
CPU_PER_INPUT_MAX_S = 2.0
"""Of the slowest machine we use; an input of the endpoint's is up to 48 datagrams."""
WORDS_MAX = 4000
"""Characters shown of what a finding says."""
STUCK_S = 60
"""Wall time of one input, for what doesn't end at all."""


class Run(NamedTuple):
    """How one target's run ended."""

    name: str
    executions: int
    covered: int
    """Edges of our own code that were reached."""
    found: tuple[str, ...]
    """Files in `regressions`; or what else went wrong."""
    log: str


def options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=120, help="of all targets together")
    parser.add_argument("--target", default="", help="only this one; `list` names all")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at the same time")
    parser.add_argument("--write-corpus", action="store_true", help="the seeds, and no run")
    parser.add_argument("--child", nargs=2, metavar=("TARGET", "SECONDS"), help=argparse.SUPPRESS)
    return parser.parse_args()


def child(name: str, seconds: int) -> None:
    """Fuzz one target in this process; never returns."""
    import atheris  # noqa: PLC0415 - only here: nothing else needs it

    with atheris.instrument_imports(
        include=["proto.ike", "cluster", "node.eap", "pyrad", "node.trust"]
    ):
        from tests.fuzz import targets  # noqa: PLC0415 - what is instrumented comes after atheris
    check = targets.TARGETS[name].check
    kept = targets.REGRESSIONS / name
    grown = GROWN / name
    for folder in (kept, grown):
        folder.mkdir(parents=True, exist_ok=True)

    def timed(data: bytes) -> None:
        began_s = time.process_time()
        check(data)
        spent_s = time.process_time() - began_s
        if spent_s > CPU_PER_INPUT_MAX_S:
            raise RuntimeError(f"{spent_s:.1f} s of CPU for {len(data)} octets")

    arguments = [
        f"-max_total_time={seconds}",
        f"-max_len={OCTETS_MAX}",
        f"-timeout={STUCK_S}",
        f"-artifact_prefix={kept}/",
        "-print_final_stats=1",
        "-verbosity=1",
    ]
    folders = [str(grown), str(targets.CORPUS / name), str(kept)]
    atheris.Setup([sys.argv[0], *arguments, *folders], timed)
    atheris.Fuzz()


def run(name: str, seconds: int) -> Run:
    """Fuzz one target in a process of its own."""
    from tests.fuzz.targets import REGRESSIONS  # noqa: PLC0415 - see `child`

    before = dict.fromkeys((REGRESSIONS / name).glob("*"))
    asked = [sys.executable, "-m", "tests.fuzz", "--child", name, str(seconds)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, errors="replace")
    log = done.stdout + done.stderr
    found = [str(path) for path in sorted((REGRESSIONS / name).glob("*")) if path not in before]
    if not found and not before:
        (REGRESSIONS / name).rmdir()
    if done.returncode and not found:
        found = [f"exit code {done.returncode}"]
    return Run(
        name,
        max(map(int, re.findall(r"number_of_executed_units: (\d+)", log)), default=0),
        max(map(int, re.findall(r"\bcov: (\d+)", log)), default=0),
        tuple(found),
        log,
    )


def what_happened(log: str) -> str:
    """The exception in a child's output, or its end where there is none."""
    said = re.search(r"=== Uncaught Python exception: ===.*?(?=\n\n|\Z)", log, re.DOTALL)
    return said[0][-WORDS_MAX:] if said else log[-WORDS_MAX:]


def main() -> int:
    """Run what was asked for; the exit code."""
    asked = options()
    if asked.child:
        child(asked.child[0], int(asked.child[1]))
    from tests.fuzz.targets import TARGETS, write_corpus  # noqa: PLC0415 - see `child`

    if asked.write_corpus:
        print(f"{write_corpus()} seeds")
        return 0
    if asked.target and asked.target not in TARGETS:
        print("targets:", *TARGETS)
        return 2
    chosen = [TARGETS[asked.target]] if asked.target else list(TARGETS.values())
    jobs = min(asked.jobs, len(chosen))
    share_s = asked.seconds * jobs / sum(target.weight for target in chosen)
    findings = 0
    with ThreadPoolExecutor(jobs) as pool:
        runs = pool.map(lambda t: run(t.name, max(LEAST_S, round(share_s * t.weight))), chosen)
        for one in runs:
            print(f"{one.name:16} {one.executions:9} inputs {one.covered:6} edges")
            for finding in one.found:
                findings += 1
                print(f"  {finding}", what_happened(one.log), sep="\n")
    print(f"{findings} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
