"""All targets by name, and the octets that belong to each.

`corpus/<target>/` holds small inputs to begin with, `regressions/<target>/` those that once broke
something.
"""

import hashlib
from pathlib import Path

from tests.fuzz import between, eap, endpoint, members, sealed, trust, wire
from tests.fuzz.target import Target

HERE = Path(__file__).parent
CORPUS, REGRESSIONS = HERE / "corpus", HERE / "regressions"
SEED_OCTETS_MAX = 4096
SEEDS_MAX = 96

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        *wire.TARGETS,
        *trust.TARGETS,
        *sealed.TARGETS,
        *members.TARGETS,
        *between.TARGETS,
        *eap.TARGETS,
        *endpoint.TARGETS,
    )
}


def inputs(folder: Path, name: str) -> list[bytes]:
    """The kept inputs of target `name`, in order of their names."""
    return [path.read_bytes() for path in sorted((folder / name).glob("*"))]


def write_corpus() -> int:
    """Put every target's seeds into the corpus, as many and as long as are kept; how many."""
    written = 0
    for target in TARGETS.values():
        folder = CORPUS / target.name
        folder.mkdir(parents=True, exist_ok=True)
        small = [seed for seed in target.seeds() if len(seed) <= SEED_OCTETS_MAX]
        for seed in small[:SEEDS_MAX]:
            (folder / hashlib.sha256(seed).hexdigest()[:12]).write_bytes(seed)
            written += 1
    return written
