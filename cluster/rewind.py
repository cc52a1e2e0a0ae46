"""A store that went back: what a member remembers of the store, and what it makes of what it finds.

Rules: revisions never go back in one store, an epoch never at all, nor a number that only this
member raises there (its tally). A store in which one of them is lower than it was, or which is
another one, was put back or exchanged: it is not believed until an operator says so, which raises
the epoch (`cluster.restore`). A higher epoch is that word: what was remembered of the former one
counts no more.

A revision may go on in an old copy, by leases that run out there or by whoever doesn't know better,
until it is higher than the one remembered. So what was found behind by its revision stays so: in
the copy itself, where whoever finds it out writes it down for all (`Behind`), and in what is
remembered. Pure.
"""

import enum
from typing import Protocol

import msgspec

from cluster.layout import Behind, ClusterState

NO_EPOCH = -1
"""A store that holds no cluster yet."""
WHY_MAX = 200
"""Characters that are kept of a reason."""


class Memory(msgspec.Struct, frozen=True):
    """What was seen of the store, by this data directory."""

    cluster_id: int
    revision: int
    """The highest, whoever of the cluster saw it."""
    epoch: int
    """The highest; `NO_EPOCH`: there was no cluster state."""
    made_wall_s: float = 0.0
    """When the cluster was made: the same in every copy of its store, and in no other store."""
    tally: int = 0
    """The highest that this data directory has written there."""
    behind: str = ""
    """Why the store was found behind by its revision; empty: it wasn't."""
    told: bool = False
    """Whether that store says so itself: one that doesn't is another copy."""


class Found(msgspec.Struct, frozen=True):
    """What a store shows."""

    cluster_id: int
    revision: int
    state: ClusterState | None
    tally: int = 0

    @property
    def epoch(self) -> int:
        """Of its cluster."""
        return NO_EPOCH if self.state is None else self.state.epoch

    def remembered(self) -> Memory:
        """What is remembered of it if it is believed."""
        made_wall_s = 0.0 if self.state is None else self.state.created_wall_s
        return Memory(self.cluster_id, self.revision, self.epoch, made_wall_s, self.tally)

    def descends_from(self, memory: Memory) -> bool:
        """Whether it is the store remembered or a copy of it, however old; not just another one."""
        same = self.cluster_id == memory.cluster_id
        return self.state is not None and (same or self.state.created_wall_s == memory.made_wall_s)


class Notebook(Protocol):
    """What outlives the process. Implementers: `node.store_notes`, `tests.sim.machine`."""

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
    TOLD = "told"
    """It is behind, says another member there; by what this one remembers it never was."""
    ACCEPTED = "accepted"
    """An operator has raised the epoch: everything of the former one is void."""


def judge(memory: Memory, found: Found, *, exchanged: bool = False) -> tuple[Verdict, str]:
    """What to make of what was found; and why, in a few words.

    `memory` is what was known when the store was asked. `exchanged`: whether it may have become
    another one since it was found behind, for it hasn't answered for a while.
    """
    if found.epoch < memory.epoch:
        holds = "no cluster" if found.epoch == NO_EPOCH else f"epoch {found.epoch}"
        return Verdict.BEHIND, f"it holds {holds}, after epoch {memory.epoch}"
    accepted = found.epoch > memory.epoch and memory.epoch != NO_EPOCH
    if not accepted:
        why = _behind(memory, found)
        if why:
            return Verdict.BEHIND, why
    told = None if found.state is None else found.state.behind
    if told is not None:
        why = f"{told.by} says: {told.why}"
        return (Verdict.BEHIND, memory.behind) if memory.behind else (Verdict.TOLD, why)
    if accepted:
        return Verdict.ACCEPTED, f"epoch {found.epoch} after {memory.epoch}"
    if memory.behind and not (memory.told or exchanged):
        return Verdict.BEHIND, memory.behind
    return Verdict.SAME, ""


def _behind(memory: Memory, found: Found) -> str:
    """What shows that a store of the same epoch is behind; empty: nothing."""
    if found.cluster_id != memory.cluster_id:
        return f"it has cluster id {found.cluster_id:x}, not {memory.cluster_id:x}"
    if found.tally < memory.tally:
        return f"this member's tally there is {found.tally}, after {memory.tally}"
    if found.revision < memory.revision:
        return f"it is at revision {found.revision}, after {memory.revision}"
    return ""


def as_told(told: Behind, made_wall_s: float) -> Memory:
    """What is remembered of the store as it was, by somebody who has seen too little of it, or went
    on in the copy: what another one remembers, who found it out.
    """
    return Memory(
        told.cluster_id,
        told.revision,
        told.epoch,
        made_wall_s,
        behind=told.why[:WHY_MAX],
        told=True,
    )
