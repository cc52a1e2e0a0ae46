"""`make interop`: our gateways and our client against strongSwan and libreswan; prints a matrix.

Exit code 0: every row is ok. 1: one isn't, be it only that it could not be run. 2: nothing could be
run here.

Rules: everything runs in PID, mount and network namespaces of its own, which the kernel clears when
this process ends, however it ends. Logs and captures stay in runs/interop/ where something failed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.e2e.aaa import programs
from tests.interop import decoders, play, plays, roots
from tests.interop.play import REGISTERED, Play
from tests.interop.result import OK, Results

RUNS = roots.ROOT / "runs" / "interop"
INSIDE = "STANDFAST_INTEROP_INSIDE"
NAMESPACES = (
    "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--",
)  # fmt: skip


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.interop", description=__doc__)
    parser.add_argument("--only", default="", help="plays and peers whose names hold this text")
    parser.add_argument("--jobs", type=int, default=2, help="plays at a time")
    parser.add_argument("--keep", action="store_true", help="keep logs of what went well, too")
    parser.add_argument("--list", action="store_true", help="only say what there is")
    options = parser.parse_args()
    plays.load()
    if options.list:
        for known in ordered(REGISTERED):
            print(known.part, known.name, *known.rows, sep="\n    ")
        return 0
    try:
        roots.check_machine()
        if INSIDE not in os.environ:
            roots.prepare(say)
            decoders.bring_scapy()
            programs.tools()  # FreeRADIUS; inside there is no way to fetch it
            etcd = roots.run(sys.executable, str(roots.ROOT / "tools" / "get_etcd.py")).strip()
            os.environ[INSIDE] = etcd
            again = (*NAMESPACES, sys.executable, "-m", "tests.interop", *sys.argv[1:])
            os.execvp(again[0], again)  # noqa: S606  ourselves
        _mount()
    except (roots.Missing, RuntimeError) as missing:
        print(f"interop: {missing}", file=sys.stderr)
        return 2
    return run(options.only, options.jobs, options.keep)


def say(line: str) -> None:
    """Progress, at once."""
    print(f"interop: {line}", flush=True)


def _mount() -> None:
    """What the roots need of this machine; it goes with our mount namespace."""
    for debian in roots.ALL:
        at = debian.path
        roots.run("mount", "-t", "proc", "proc", f"{at}/proc")
        roots.run("mount", "-t", "sysfs", "sysfs", f"{at}/sys")
        roots.run("mount", "--bind", "/dev", f"{at}/dev")


def ordered(registered: list[Play]) -> list[Play]:
    """By part, in the order of the parts."""
    return sorted(registered, key=lambda known: play.PARTS.index(known.part))


def run(only: str, jobs: int, keep: bool) -> int:
    """Run what was asked for; print the matrix; the exit code."""
    results = Results()
    shutil.rmtree(RUNS, ignore_errors=True)
    wanted = []
    for known in ordered(REGISTERED):
        for peer in known.peers:
            named = play.peer_name(peer)
            if only in f"{known.part}: {known.name} ({named}; {peer.name})":
                results.announce(known.part, known.all_rows, named)
                folder = RUNS / f"{play.PARTS.index(known.part)}-{known.name}-{peer.name}"
                wanted.append((known, peer, Path(str(folder).replace(" ", "-"))))
    etcd = Path(os.environ[INSIDE])
    with ThreadPoolExecutor(jobs) as pool:
        waiting = [
            (known, peer, folder, pool.submit(play.perform, known, peer, folder, etcd, results))
            for known, peer, folder in wanted
        ]
        for known, peer, folder, done in waiting:
            if (error := done.exception()) is not None:
                traceback.print_exception(error)
                why = f"{type(error).__name__}: {error}"
                results.could_not_run(known.part, known.all_rows, play.peer_name(peer), why)
            say(folder.name)
    print(results.matrix())
    results.write(RUNS / "matrix.json")
    if not keep:
        _tidy(wanted, results)
    return 0 if results.good else 1


def _tidy(wanted: list[tuple[Play, roots.Debian, Path]], results: Results) -> None:
    """What went well leaves no logs."""
    for known, peer, folder in wanted:
        named = play.peer_name(peer)
        mine = [
            row
            for row in results.rows
            if (row.part, row.peer) == (known.part, named) and row.name in known.all_rows
        ]
        if all(row.outcome == OK for row in mine):
            subprocess.run(("rm", "-rf", str(folder)), check=False)


if __name__ == "__main__":
    sys.exit(main())
