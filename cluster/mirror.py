"""Newest records of a shard, kept warm at its backups: the owner's side and the backup's.

Rules:
- The journal is the truth. A mirror is for speed, and later for living without the store; nothing
  waits for it, and whatever a full or broken link drops is not sent again.
- An owner numbers what it sends per backup and shard; a backup that missed a number keeps what it
  gets but acknowledges no more under that fence, so an acknowledgement never claims too much.
  There is no catch-up: a backup that came late knows what changed since it came.
- A backup believes the highest fence it has seen. When a shard changes owner, what was mirrored
  under lower fences is dropped: the new owner has read the journal. So is what is held for a live
  owner that has better backups now.
- Entries are sealed; nothing here can read them.
"""

import asyncio
from collections.abc import Mapping

import msgspec

from cluster.backups import Backups, is_believed
from cluster.counters import CounterMirror, CounterSettings, CounterSource
from cluster.dispatch import Dispatch
from cluster.link import Counters, HotCounters, Mirror, MirrorAck, MirrorEntry, PeerLink
from cluster.ownership import Ownership
from cluster.roster import Roster
from cluster.seams import Spawn


class MirrorSettings(msgspec.Struct, frozen=True):
    """How many backups, how long entries are gathered, and the bounds of both sides."""

    mirrors: int = 1
    flush_s: float = 0.02
    """How long an entry or an acknowledgement may wait for others to travel with it: every parcel
    costs either side as much as a dozen entries."""
    entries_per_frame: int = 64
    pending_max: int = 8192
    """Entries waiting to be sent, over all backups; more are dropped."""
    held_max: int = 200_000
    """Entries held for others; when full, entries of sessions not held yet are dropped."""


class MirrorCounts(msgspec.Struct, frozen=True):
    """For status and metrics."""

    offered: int
    sent: int
    dropped: int
    """Entries that did not leave: no room here or on the link."""
    held: int
    refused: int
    """Entries that came and were not kept: an old fence, or no room."""


class _Stream(msgspec.Struct):
    """What one shard's backup was sent under one fence."""

    fence: int
    sequence: int = 0
    acknowledged: int = 0
    pending: dict[bytes, MirrorEntry] = {}


class _Table(msgspec.Struct):
    """What is held of one shard."""

    shard: int
    fence: int
    sender: str
    sequence: int = 0
    whole: bool = True
    """Whether no number was missed under this fence."""
    entries: dict[bytes, MirrorEntry] = {}


class Mirrors:
    """Both sides for one member. `offer` is called for every record handed to the journal."""

    def __init__(
        self,
        link: PeerLink,
        *,
        me: str,
        roster: Roster,
        ownership: Ownership,
        settings: MirrorSettings,
        source: CounterSource,
    ) -> None:
        self._link = link
        self._choice = Backups(roster, me, settings.mirrors)
        self.hot = CounterMirror(
            link, roster=roster, ownership=ownership, backups=self._choice, source=source,
            settings=CounterSettings(held_max=settings.held_max),
        )  # fmt: skip
        self._roster = roster
        self._ownership = ownership
        self._settings = settings
        self._streams: dict[tuple[str, int], _Stream] = {}
        self._due: dict[tuple[str, int], None] = {}
        """Streams with something pending, in the order it came up."""
        self._pending = 0
        self._roster_at = -1
        self._tables: dict[int, _Table] = {}
        self._acks: dict[tuple[str, int], MirrorAck] = {}
        """To be sent, the newest of each sender and shard: it says what the ones before said."""
        self._held = 0
        self._offered = 0
        self._sent = 0
        self._dropped = 0
        self._refused = 0
        self._wake = asyncio.Event()
        ownership.on_fence.append(self._fence_rose)
        roster.on_joined.append(self._sweep)
        ownership.on_lost.append(self._lost)

    def listen(self, dispatch: Dispatch) -> None:
        """Take what other members send."""
        dispatch.on(Mirror, self.receive)
        dispatch.on(MirrorAck, self.receive_ack)
        dispatch.on(HotCounters, self.hot.receive)

    def start(self, spawn: Spawn) -> None:
        """Begin to send."""
        spawn(self.run(), "mirrors")
        spawn(self.hot.run(), "hot counters")
        spawn(self.hot.keep_fresh(), "hot counters' rounds")

    def counters(self, shard: int) -> Mapping[bytes, tuple[int, Counters]]:
        """How far each SA of `shard` had come by SPI, with the fence under which it was so; for
        who adopts it. See `cluster.counters`.
        """
        return self.hot.held(shard)

    # -- the owner's side

    def offer(self, shard: int, entry: MirrorEntry) -> None:
        """Send `entry` to the shard's backups soon; the newest of an SPI replaces those waiting."""
        fence = self._ownership.fence_of(shard)
        if fence is None:
            return
        self._offered += 1
        for backup in self._backups_of(shard):
            self._queue(backup, shard, fence, entry)

    def lag(self) -> int:
        """Frames sent and not acknowledged, over all backups."""
        return sum(stream.sequence - stream.acknowledged for stream in self._streams.values())

    async def run(self) -> None:
        """Send what was offered and taken, in steps of `flush_s` while there is something."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(self._settings.flush_s)
            self._wake.clear()
            self.flush()

    def flush(self) -> None:
        """Send everything that waits now."""
        due, self._due = self._due, {}
        for key in due:
            self._send(key)
        acks, self._acks = self._acks, {}
        for (owner, _), ack in acks.items():
            self._link.send(owner, ack)

    def receive_ack(self, sender: str, ack: MirrorAck) -> None:
        """A backup holds everything up to a number."""
        stream = self._streams.get((sender, ack.shard))
        if stream is None or stream.fence != ack.fence:
            return
        if stream.acknowledged < ack.sequence <= stream.sequence:
            stream.acknowledged = ack.sequence

    def _backups_of(self, shard: int) -> tuple[str, ...]:
        if self._roster_at != self._roster.version:
            self._roster_at = self._roster.version
            self._forget_streams()
        return self._choice.of(shard)

    def _forget_streams(self) -> None:
        """A backup that went away comes back as a new one: its numbers start anew."""
        for key in [key for key in self._streams if key[0] not in self._roster.members]:
            self._drop_stream(key)

    def _queue(self, backup: str, shard: int, fence: int, entry: MirrorEntry) -> None:
        key = (backup, shard)
        stream = self._streams.get(key)
        if stream is None or stream.fence != fence:
            self._drop_stream(key)
            stream = self._streams[key] = _Stream(fence)
        pending = stream.pending
        if entry.spi not in pending:
            if self._pending >= self._settings.pending_max:
                self._dropped += 1
                stream.sequence += 1  # a number nobody gets: the gap tells the backup
                return
            self._pending += 1
        pending[entry.spi] = entry
        self._due[key] = None
        if len(pending) >= self._settings.entries_per_frame:
            self._send(key)
        else:
            self._wake.set()

    def _send(self, key: tuple[str, int]) -> None:
        self._due.pop(key, None)
        stream = self._streams.get(key)
        if stream is None or not stream.pending:
            return
        entries = tuple(stream.pending.values())
        stream.pending.clear()
        self._pending -= len(entries)
        stream.sequence += 1
        backup, shard = key
        if self._link.send(backup, Mirror(shard, stream.fence, stream.sequence, entries)):
            self._sent += len(entries)
        else:
            self._dropped += len(entries)

    def _drop_stream(self, key: tuple[str, int]) -> None:
        stream = self._streams.pop(key, None)
        if stream is not None:
            self._pending -= len(stream.pending)

    # -- the backup's side

    def receive(self, sender: str, frame: Mirror) -> None:
        """Entries have come from a member with that proven name."""
        if not self._believe(sender, frame):
            self._refused += len(frame.entries)
            return
        table = self._tables.get(frame.shard)
        if table is None or table.fence < frame.fence:
            self._forget(frame.shard)
            table = self._tables[frame.shard] = _Table(frame.shard, frame.fence, sender)
        if frame.sequence == 1 and table.sequence:
            # the owner has lost sight of me and begins again: what I hold may be behind
            table.sequence, table.whole = 0, False
        if frame.sequence <= table.sequence:
            return
        table.whole = table.whole and frame.sequence == table.sequence + 1
        table.sequence = frame.sequence
        for entry in frame.entries:
            self._keep(table, entry)
        if table.whole:
            self._acks[sender, frame.shard] = MirrorAck(frame.shard, frame.fence, frame.sequence)
            self._wake.set()

    def held(self, shard: int) -> Mapping[bytes, MirrorEntry]:
        """What is held of `shard`, by SPI; empty if nothing is. The caller doesn't change it."""
        table = self._tables.get(shard)
        return table.entries if table is not None else {}

    def is_whole(self, shard: int) -> bool:
        """Whether every frame of the shard's owner has come since it began to send."""
        table = self._tables.get(shard)
        return table is not None and table.whole

    def counts(self) -> MirrorCounts:
        """The figures since the start, and what is held now."""
        return MirrorCounts(
            offered=self._offered,
            sent=self._sent,
            dropped=self._dropped,
            held=self._held,
            refused=self._refused,
        )

    def _believe(self, sender: str, frame: Mirror) -> bool:
        if not is_believed(self._ownership, sender, frame.shard, frame.fence):
            return False
        table = self._tables.get(frame.shard)
        if table is None or table.fence < frame.fence:
            return True
        return table.fence == frame.fence and table.sender == sender

    def _keep(self, table: _Table, entry: MirrorEntry) -> None:
        if not entry.sealed:
            if table.entries.pop(entry.spi, None) is not None:
                self._held -= 1
            self.hot.forget(table.shard, entry.spi)
            return
        if entry.spi not in table.entries:
            if self._held >= self._settings.held_max:
                self._refused += 1
                table.whole = False
                return
            self._held += 1
        table.entries[entry.spi] = entry

    def _forget(self, shard: int) -> None:
        table = self._tables.pop(shard, None)
        if table is not None:
            self._held -= len(table.entries)

    # -- changes of owner

    def _fence_rose(self, shard: int, fence: int) -> None:
        """The shard has another owner; if it is me, who adopts has looked into `held` before."""
        table = self._tables.get(shard)
        if table is not None and table.fence < fence:
            self._forget(shard)

    def _sweep(self, _joined: str) -> None:
        """Somebody has come: what he holds from now on goes stale here."""
        for shard, table in list(self._tables.items()):
            if not self._choice.includes_me(shard, table.sender):
                self._forget(shard)

    def _lost(self, shard: int) -> None:
        for name in self._roster.members:  # streams to others end with `_forget_streams`
            self._drop_stream((name, shard))
