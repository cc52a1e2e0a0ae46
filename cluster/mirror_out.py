"""The owner's side of mirrors: one stream of numbered frames per backup and shard.

Rules:
- What was sent is kept until the backup has acknowledged it, and sent again until then, in order.
  So an acknowledgement of a number speaks for everything before it.
- All that waits is bounded. Where the bound is reached the fullest stream begins anew, under a
  higher number of its own: what it held is let go, and its backup finds out by comparing
  (`cluster.mirror_in`).
- The newest entry of an SPI replaces the one that waits.
- Who is no backup any more has no stream: it doesn't take what would be sent again for ever.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator

from cluster.backups import Backups
from cluster.link import Mirror, MirrorAck, MirrorEntry, PeerLink
from cluster.mirror_settings import MirrorSettings
from cluster.ownership import Ownership
from cluster.roster import Roster
from cluster.seams import Clock

FRAME_OCTETS_MAX = 512 << 10
"""Of sealed records in one frame, but for a single one that is larger: a link takes no frame of
more than 1 MiB, and nothing of a stream gets past one that it doesn't take."""

Key = tuple[str, int]
"""A stream's: (backup, shard)."""


class Stream:
    """What one backup was sent of one shard under one fence."""

    __slots__ = (
        "acknowledged", "fence", "flying", "number", "pause_s", "pending", "sent_boot_s",
        "sequence",
    )  # fmt: skip

    def __init__(self, fence: int, number: int, pause_s: float) -> None:
        self.fence = fence
        self.number = number
        self.sequence = 0
        self.acknowledged = 0
        self.pending: dict[bytes, MirrorEntry] = {}
        self.flying: deque[Mirror] = deque()
        """Sent and not acknowledged."""
        self.sent_boot_s = 0.0
        """When the oldest of those flying was sent last."""
        self.pause_s = pause_s
        """How long an acknowledgement may take before they are sent again."""

    @property
    def waiting(self) -> int:
        """Entries pending or flying."""
        return len(self.pending) + sum(len(frame.entries) for frame in self.flying)


class MirrorOut:
    """All streams of one member."""

    def __init__(
        self,
        link: PeerLink,
        clock: Clock,
        *,
        roster: Roster,
        ownership: Ownership,
        backups: Backups,
        settings: MirrorSettings,
        wake: asyncio.Event,
    ) -> None:
        self._link = link
        self._clock = clock
        self._roster = roster
        self._ownership = ownership
        self._backups = backups
        self._settings = settings
        self._wake = wake
        self._streams: dict[Key, Stream] = {}
        self._numbers = 0
        self._due: dict[Key, None] = {}
        """Streams with something pending, in the order it came up."""
        self._flying: dict[Key, None] = {}
        """Streams with something flying."""
        self._waiting = 0
        self._roster_at = -1
        self.sent = 0
        self.resent = 0
        self.dropped = 0

    @property
    def busy(self) -> bool:
        """Whether anything is to be looked at again without having been asked to."""
        return bool(self._due or self._flying)

    def lag(self) -> int:
        """Frames sent and not acknowledged, over all backups."""
        return sum(stream.sequence - stream.acknowledged for stream in self._streams.values())

    # -- what is to be sent

    def send(self, shard: int, entry: MirrorEntry) -> None:
        """Queue `entry` for the shard's backups."""
        fence = self._ownership.fence_of(shard)
        if fence is None:
            return
        self._forget_former()
        for name in self._backups.of(shard):
            key = (name, shard)
            self._queue(key, self._stream(key, fence), entry)

    def stream_of(self, backup: str, shard: int, fence: int) -> Stream:
        """The stream to a backup, begun if there was none."""
        self._forget_former()
        return self._stream((backup, shard), fence)

    def _forget_former(self) -> None:
        """A backup that went away, or was replaced, comes back as a new one: its numbers start
        anew.
        """
        if self._roster_at != self._roster.version:
            self._roster_at = self._roster.version
            for key in list(self._streams):
                if key[0] not in self._backups.of(key[1]):
                    self.drop(key)

    def _stream(self, key: Key, fence: int) -> Stream:
        stream = self._streams.get(key)
        if stream is None or stream.fence != fence:
            self.drop(key)
            self._numbers += 1
            stream = Stream(fence, self._numbers, self._settings.resend_s)
            self._streams[key] = stream
        return stream

    def _queue(self, key: Key, stream: Stream, entry: MirrorEntry) -> None:
        if entry.spi not in stream.pending:
            if self._waiting >= self._settings.pending_max and self._make_room() is stream:
                self.dropped += 1
                return
            self._waiting += 1
        stream.pending[entry.spi] = entry
        if len(stream.pending) >= self._settings.entries_per_frame:
            self._send(key)
        elif key not in self._due:
            self._due[key] = None
            self._wake.set()

    def _make_room(self) -> Stream:
        """Give up the stream that most waits in: its backup is the one that doesn't answer."""
        key = max(self._streams, key=lambda key: self._streams[key].waiting)
        stream = self._streams[key]
        self.dropped += stream.waiting
        self.drop(key)
        return stream

    # -- sending

    def flush(self) -> None:
        """Send everything that waits now."""
        for key in list(self._due):
            self._send(key)

    def _send(self, key: Key) -> None:
        self._due.pop(key, None)
        stream = self._streams.get(key)
        if stream is None or not stream.pending:
            return
        if not stream.flying:
            stream.sent_boot_s = self._clock.boot_s()
        self._flying[key] = None
        for entries in _framed(stream.pending.values()):
            stream.sequence += 1
            frame = Mirror(key[1], stream.fence, stream.number, stream.sequence, entries)
            stream.flying.append(frame)
            if self._link.send(key[0], frame):
                self.sent += len(entries)
        stream.pending.clear()
        self._wake.set()

    def look(self) -> None:
        """Send again what was not acknowledged in time."""
        now_s = self._clock.boot_s()
        for key in list(self._flying):
            stream = self._streams[key]
            if now_s - stream.sent_boot_s < stream.pause_s:
                continue
            stream.sent_boot_s = now_s
            stream.pause_s = min(2 * stream.pause_s, self._settings.resend_max_s)
            for frame in stream.flying:
                if not self._link.send(key[0], frame):
                    break
                self.resent += 1

    def receive_ack(self, sender: str, ack: MirrorAck) -> None:
        """A backup has everything up to a number."""
        key = (sender, ack.shard)
        stream = self._streams.get(key)
        if stream is None or (stream.fence, stream.number) != (ack.fence, ack.stream):
            return
        if ack.sequence < stream.acknowledged:
            self.drop(key)  # it had let go of the shard meanwhile: begin anew
            return
        if not stream.acknowledged < ack.sequence <= stream.sequence:
            return
        stream.acknowledged = ack.sequence
        stream.pause_s = self._settings.resend_s
        stream.sent_boot_s = self._clock.boot_s()
        while stream.flying and stream.flying[0].sequence <= ack.sequence:
            self._waiting -= len(stream.flying.popleft().entries)
        if not stream.flying:
            self._flying.pop(key, None)

    # -- endings

    def lost(self, shard: int) -> None:
        """The shard isn't ours any more."""
        for name in self._roster.members:  # streams to others end with `_forget_former`
            self.drop((name, shard))

    def drop(self, key: Key) -> None:
        """Let a stream go; the next entry begins another."""
        stream = self._streams.pop(key, None)
        self._due.pop(key, None)
        self._flying.pop(key, None)
        if stream is not None:
            self._waiting -= stream.waiting


def _framed(entries: Iterable[MirrorEntry]) -> Iterator[tuple[MirrorEntry, ...]]:
    """`entries` in order, as many to a frame as it may hold."""
    framed: list[MirrorEntry] = []
    octets = 0
    for entry in entries:
        octets += len(entry.sealed)
        if framed and octets > FRAME_OCTETS_MAX:
            yield tuple(framed)
            framed, octets = [], len(entry.sealed)
        framed.append(entry)
    if framed:
        yield tuple(framed)
