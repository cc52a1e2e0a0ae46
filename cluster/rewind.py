"""A store that went back: what a member remembers of the store, and what it makes of what it finds.

Rules: revisions never go back in one store, an epoch never at all. A store whose revision or epoch
is lower than this member has seen, or which is another one, was put back or exchanged: it is not
believed until an operator says so, which raises the epoch (`cluster.restore`). A higher epoch is
that word: what was remembered of the former one counts no more. Pure.
"""

import enum
from typing import Protocol

import msgspec

from cluster.store import Mark

NO_EPOCH = -1
"""A store that holds no cluster yet."""


class Memory(msgspec.Struct, frozen=True):
    """What was seen of the store, by this data directory."""

    cluster_id: int
    revision: int
    """The highest."""
    epoch: int
    """The highest; `NO_EPOCH`: there was no cluster state."""


class Notebook(Protocol):
    """What outlives the process. Implementers: `node.data_dir`, `tests.sim.machine`."""

    def read(self) -> Memory | None:
        """What was written last; None if nothing was, or nothing readable."""
        ...

    def write(self, memory: Memory, *, surely: bool) -> None:
        """Keep it. `surely`: not even a power failure forgets it. Raises OSError."""
        ...


class Verdict(enum.Enum):
    """What the store found is to the one remembered."""

    SAME = "same"
    BEHIND = "behind"
    ACCEPTED = "accepted"
    """An operator has raised the epoch: everything of the former one is void."""


def judge(memory: Memory, mark: Mark, epoch: int) -> tuple[Verdict, str]:
    """What to make of a store at `mark` whose cluster state has `epoch`; and why, in a few words.

    `memory` is what was known when the store was asked.
    """
    if epoch > memory.epoch and memory.epoch != NO_EPOCH:
        return Verdict.ACCEPTED, f"epoch {epoch} after {memory.epoch}"
    if epoch < memory.epoch:
        found = "no cluster" if epoch == NO_EPOCH else f"epoch {epoch}"
        return Verdict.BEHIND, f"it holds {found}, after epoch {memory.epoch}"
    if mark.cluster_id != memory.cluster_id:
        return (
            Verdict.BEHIND,
            f"it has cluster id {mark.cluster_id:x}, not {memory.cluster_id:x}",
        )
    if mark.revision < memory.revision:
        return Verdict.BEHIND, f"it is at revision {mark.revision}, after {memory.revision}"
    return Verdict.SAME, ""
