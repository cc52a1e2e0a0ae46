"""Golden traces: what a few runs do, kept in the tree: a change of behaviour shows as a diff.

Rules: a golden trace has a head with the run's digest, then its events that are no traffic, then
how much traffic of each kind there was. A change that is meant is taken over by
`python -m tests.sim --golden`; a change that isn't meant has been found.
"""

from collections import Counter
from pathlib import Path

from tests.sim.scenario import Result
from tests.sim.scenarios import run_seed
from tests.sim.story import TRAFFIC, kind_of

FOLDER = Path(__file__).parent / "golden_traces"

RUNS = (
    ("kill-one", 1),
    ("one-ticket-twice", 1),
    ("store-away", 1),
    ("owner-cut-off", 1),
)
"""Small ones: a person must be able to read the difference."""

REPEATED = ("answered", "ticket")
"""Reports of clients that come all the time; they are counted."""


def golden(name: str, seed: int) -> str:
    """The golden trace of a run, as text."""
    return _text(name, seed, run_seed(name, seed, keep=True))


def _text(name: str, seed: int, result: Result) -> str:
    counts: Counter[str] = Counter()
    told: list[str] = []
    for line in result.lines:
        kind = kind_of(line)
        if kind in TRAFFIC:
            counts[kind] += 1
        elif kind == "report" and line.split()[3] in REPEATED:
            counts[f"report {line.split()[3]}"] += 1
        else:
            told.append(line.rstrip())
    head = [
        f"{name} {seed}: {result.events} events in {result.virtual_s:.3f} s",
        f"sha256 {result.digest}",
    ]
    tail = [f"{count:6} {kind}" for kind, count in sorted(counts.items())]
    return "\n".join((*head, "", *told, "", *tail)) + "\n"


def path_of(name: str, seed: int) -> Path:
    """Where it is kept."""
    return FOLDER / f"{name}-{seed}.txt"


def update() -> None:
    """Keep what the runs do now."""
    FOLDER.mkdir(exist_ok=True)
    for name, seed in RUNS:
        path_of(name, seed).write_text(golden(name, seed))
