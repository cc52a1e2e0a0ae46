"""The live view of `member/`: who is in the cluster, as the store says.

Rules: a name stands here exactly as long as its key does; what heartbeats say changes nothing. A
restart (same name, another incarnation) is a departure and an arrival. Names are sorted, so that
everything computed from this view is the same on every member.
"""

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from cluster.errors import UNREADABLE
from cluster.follow import follow
from cluster.layout import Keys, MemberRecord
from cluster.store import Entry, Store

_decode = msgspec.json.Decoder(MemberRecord).decode


class Present(msgspec.Struct, frozen=True):
    """A member's record and the store's revision of it."""

    record: MemberRecord
    revision: int


def decode_member(value: bytes) -> MemberRecord | None:
    """The record in `value`; None if a later release wrote what this one can't read."""
    try:
        return _decode(value)
    except UNREADABLE:
        return None


class Roster:
    """Follows `member/`; `members` is sorted by name and replaced, never changed, at a change."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        own_name: str = "",
        on_own: Callable[[Entry | None, int], None] = lambda _entry, _revision: None,
    ) -> None:
        """`on_own(entry or None, revision)` is told what becomes of the key of `own_name`."""
        self._store = store
        self._prefix = keys.members
        self._own_name = own_name
        self._on_own = on_own
        self._present: dict[str, Present] = {}
        self.members: Mapping[str, MemberRecord] = MappingProxyType({})
        self.version = 0
        """Counts the changes of who is there and where; a cache computed from the roster ends with
        it. A changed ring revision doesn't count."""
        self.synced = asyncio.Event()
        """Set once the first scan was taken in."""
        self.on_joined: list[Callable[[str], None]] = []
        self.on_gone: list[Callable[[str], None]] = []

    async def run(self) -> None:
        """Follow for ever."""
        await follow(self._store, self._prefix, self._changed, self.synced.set)

    def revision_of(self, name: str) -> int:
        """The store's revision of a member's key; 0 if it is not there."""
        present = self._present.get(name)
        return present.revision if present is not None else 0

    def is_live(self, name: str, incarnation: str) -> bool:
        """Whether the store names this very process."""
        record = self.members.get(name)
        return record is not None and record.incarnation == incarnation

    def ring_revisions(self) -> dict[str, int]:
        """The ring revision that each live member reports."""
        return {name: record.ring_revision for name, record in self.members.items()}

    def _changed(self, key: bytes, entry: Entry | None, revision: int) -> None:
        name = key[len(self._prefix) :].decode("utf-8", "replace")
        if name == self._own_name:
            self._on_own(entry, revision)
        record = decode_member(entry.value) if entry is not None else None
        before = self._present.get(name)
        if record is None:
            if before is not None:
                del self._present[name]
                self._publish(moved=True)
                self._tell(self.on_gone, name)
            return
        self._present[name] = Present(record, revision)
        if before is not None and before.record.incarnation == record.incarnation:
            self._publish(moved=_place(before.record) != _place(record))
            return
        self._publish(moved=True)
        if before is not None:
            self._tell(self.on_gone, name)
        self._tell(self.on_joined, name)

    def _publish(self, *, moved: bool) -> None:
        members = {name: self._present[name].record for name in sorted(self._present)}
        self.members = MappingProxyType(members)
        if moved:
            self.version += 1

    def _tell(self, listeners: list[Callable[[str], None]], name: str) -> None:
        for listener in listeners:
            listener(name)


def _place(record: MemberRecord) -> tuple[str, str]:
    return record.host, record.rpc_address
