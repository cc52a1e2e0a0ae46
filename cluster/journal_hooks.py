"""What a journal is told and asks: its state, and who is told what of its operations."""

import enum
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from cluster.batch import Op, Outcome, Pending
from cluster.layout import ClusterState
from cluster.link import MirrorEntry
from cluster.patience import Asked
from cluster.store import Entry


class JournalState(enum.Enum):
    """Whether operations get through."""

    OK = "ok"
    UNAVAILABLE = "unavailable"
    """The store doesn't answer, or not for sure: everything waits."""
    HELD = "held"
    """The store answers, but the cluster's state is not `normal`, or not the one installed here."""


class WithoutStore(Protocol):
    """Another way for an operation to end. Implementer: `cluster.failsafe.gate.Gate`."""

    @property
    def open(self) -> bool:
        """Whether operations go this way now."""
        ...

    @property
    def watches(self) -> bool:
        """Whether anything may have been done this way, so that `committed` must be asked."""
        ...

    def take(
        self,
        pending: Pending,
        end: Callable[[Pending, Outcome | None], None],
        wanted: Callable[[Pending], bool],
    ) -> None:
        """Carry `pending` out, if it is `wanted` as it is begun; `end` is called once, with None:
        it is the journal's again."""
        ...

    def committed(self, generation: int, pending: Pending) -> bool:
        """The store has carried `pending` out, the chain is at `generation`: may it be answered?"""
        ...


class JournalHooks(msgspec.Struct, frozen=True):
    """Who is told what; each is called from the event loop and doesn't raise."""

    mirror: Callable[[int, MirrorEntry], None] | None = None
    """(shard, entry) as an operation is committed; with empty octets: a record that goes."""
    doubt: Callable[[int], None] | None = None
    """(shard): an operation has ended, and what the store has of its record isn't known."""
    on_state: Callable[[JournalState], None] | None = None
    on_latency: Callable[[float], None] | None = None
    """Seconds from `submit` to the end, per operation that reached the store."""
    obey: Callable[[Entry | None], Awaitable[None]] | None = None
    """A new revocation watermark: no batch is sent until this has returned. Raises ClusterError:
    it is tried again."""
    restrained: Callable[[], bool] | None = None
    """Must nothing be sent to the store now, because others may rely on that?"""
    gate: WithoutStore | None = None
    """Carries operations out while the store answers nobody."""
    revoked: Callable[[Op], bool] | None = None
    """Does a revocation that is known now forbid this?"""
    asked: Asked | None = None
    """When was this asked for last?"""


class InstalledState(Protocol):
    """The cluster state that this member acts by. Implementer: `cluster.state.StateKeeper`."""

    @property
    def state(self) -> ClusterState: ...
    @property
    def revision(self) -> int: ...
