"""Breaks the cluster on purpose, one line at a time, and sees that it is found out: `make mutants`.

Each `*.patch` beside this file begins with a sentence of what it breaks and a line `Killed by:`
with either `sim <scenario> <seeds>` or `pytest <arguments>`. Those of docs/promises.md have another
line, `Killed live by:`, with a test of real processes: `make mutants LIVE=1`.

`--killer "sim all 1-20"` tries one killer on all of them: what does the simulator find by itself?

Rules: a mutant counts as killed only if its killer passes on the tree as it is, and then fails, and
fails in the way of a finding (exit code 1), not of a tree that doesn't run. A patch that no longer
applies fails. The tree itself is never touched: mutants live in copies, one for each processor, in
which they are tried at the same time; those with one killer in the same copy, after one another.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, Queue
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("proto", "cluster", "node", "tests", "tools", "pyproject.toml")
TOOLS = ".tools"
"""Where etcd is, once it was brought."""
KILLED_BY = "Killed by: "
KILLED_LIVE_BY = "Killed live by: "
ALL = "all"
"""Every scenario."""
FOUND = 1
"""Exit code of a test run, and of the simulator, that found something wrong."""
KILLER_S_MAX = 900


class Mutant(NamedTuple):
    """One deliberate fault."""

    name: str
    what: str
    killer: str
    patch: Path
    live: str = ""
    """The killer with real processes, if there is one."""


def mutants(folder: Path) -> list[Mutant]:
    """Every mutant of `folder`, by name. Raises ValueError for one without a sentence or killer."""
    found = []
    for path in sorted(folder.glob("*.patch")):
        what, killer, live, *_ = *path.read_text().splitlines(), "", ""
        if not what or not killer.startswith(KILLED_BY):
            raise ValueError(f"{path.name}: a sentence and a line '{KILLED_BY}…' come first")
        live = live.removeprefix(KILLED_LIVE_BY) if live.startswith(KILLED_LIVE_BY) else ""
        found.append(Mutant(path.stem, what, killer.removeprefix(KILLED_BY), path, live))
    return found


def command(killer: str) -> list[str]:
    """How a killer is run."""
    kind, *rest = killer.split()
    if kind == "sim":
        scenario, seeds = rest
        chosen = [] if scenario == ALL else ["--scenario", scenario]
        one = ["--jobs", "1"]  # a processor is one copy's
        return ["-m", "tests.sim", *one, *chosen, "--seeds", seeds, "--first"]
    if kind == "pytest":
        return ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *rest]
    raise ValueError(f"{killer}: neither 'sim' nor 'pytest'")


def run_killer(tree: Path, killer: str) -> int:
    """Its exit code in `tree`; a run without end counts as 1: something stands still."""
    # no compiled files: a mutant and the line it replaces may have one length and one second
    env = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        ended = subprocess.run(
            [sys.executable, *command(killer)],
            cwd=tree,
            env=env,
            capture_output=True,
            timeout=KILLER_S_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return FOUND
    return ended.returncode


def apply(tree: Path, patch: Path, *options: str) -> bool:
    """Whether the patch could be applied, all of its context found."""
    git = shutil.which("git") or "git"
    asked = [git, "apply", *options, str(patch)]
    return subprocess.run(asked, cwd=tree, capture_output=True, check=False).returncode == 0


def patched(tree: Path, patch: Path) -> dict[Path, bytes]:
    """The files that the patch changes, as they are."""
    lines = patch.read_text().splitlines()
    names = [line.removeprefix("+++ b/") for line in lines if line.startswith("+++ b/")]
    return {tree / n: (tree / n).read_bytes() for n in names if (tree / n).exists()}


def take_back(saved: dict[Path, bytes]) -> None:
    """The patched files as they were; a reversed patch might take back another line like it."""
    for path, octets in saved.items():
        path.write_bytes(octets)


def judge(tree: Path, mutant: Mutant, passing: dict[str, bool]) -> str:
    """Empty if the mutant was killed, else what is wrong."""
    killer = mutant.killer
    if killer not in passing:
        passing[killer] = run_killer(tree, killer) == 0
    if not passing[killer]:
        return "its killer fails without it"
    saved = patched(tree, mutant.patch)
    if not apply(tree, mutant.patch):
        return "the patch doesn't apply any more"
    code = run_killer(tree, killer)
    take_back(saved)
    if code == 0:
        return "survived"
    return "" if code == FOUND else f"the killer ended with {code}: it can't run"


def copy(root: Path, tree: Path) -> None:
    """What the killers need of `root`."""
    for name in COPIED:
        if (root / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(root / name, tree / name, ignore=ignored)
        elif (root / name).exists():
            shutil.copy(root / name, tree / name)
    if (root / TOOLS).exists():
        (tree / TOOLS).symlink_to(root / TOOLS)


def work(root: Path, groups: Queue[list[Mutant]]) -> list[bool]:
    """Try groups in a copy of one's own until there is none; whether each mutant was killed."""
    found: list[bool] = []
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch)
        copy(root, tree)
        while True:
            try:
                group = groups.get_nowait()
            except Empty:
                return found
            passing: dict[str, bool] = {}
            for mutant in group:
                wrong = judge(tree, mutant, passing)
                found.append(not wrong)
                verdict = f"ALIVE, {wrong}" if wrong else "killed"
                line = f"{mutant.name:28} {verdict:8} {mutant.killer}: {mutant.what}\n"
                print(line, end="", flush=True)


def main(arguments: list[str], folder: Path = Path(__file__).parent, root: Path = ROOT) -> int:
    """The command: a line per mutant, then the totals."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these")
    parser.add_argument("--killer", help="instead of each patch's own")
    parser.add_argument("--live", action="store_true", help="by their tests of real processes")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at the same time")
    given = parser.parse_args(arguments)
    chosen = given.names
    by_killer: dict[str, list[Mutant]] = {}
    found_here = mutants(folder)
    if unknown := sorted(set(chosen) - {mutant.name for mutant in found_here}):
        parser.error(f"no mutant {', '.join(unknown)} → the name of a *.patch in {folder}")
    for mutant in found_here:
        if not chosen or mutant.name in chosen:
            killer = given.killer or (mutant.live if given.live else mutant.killer)
            if killer:
                by_killer.setdefault(killer, []).append(mutant._replace(killer=killer))
    groups: Queue[list[Mutant]] = Queue()
    for group in sorted(by_killer.values(), key=_long_first):
        groups.put(group)
    with ThreadPoolExecutor(given.jobs) as pool:
        working = [pool.submit(work, root, groups) for _ in range(given.jobs)]
        found = [killed for each in working for killed in each.result()]
    print(f"{sum(found)} passed, {len(found) - sum(found)} failed")
    return 0 if all(found) else 1


def _long_first(group: list[Mutant]) -> tuple[bool, int, str]:
    """So that no processor is left alone with what takes longest: simulated storms."""
    killer = group[0].killer
    return "storm" not in killer, -len(group), killer


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
