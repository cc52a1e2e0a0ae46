"""The backup's side of mirrors: copies of other members' shards, and how they are put right.

Rules:
- Frames of a stream are taken in order and without a gap; what comes behind a gap is left, its
  owner sends it again. So what is acknowledged is held, as far as there is room.
- A backup believes the highest fence it has seen. A new owner, or a new stream, begins at number
  one; the copies stay, for what the store has committed is as good under the next fence.
- Who was told to forget a shard, and is its backup again, says from which number on it knows the
  stream; the owner then begins another.
- A copy is *whole* once its digest was found equal to the owner's, as long as no frame is missing.
- Where digests differ, and for who comes late, the shard is read from the store: it is the truth,
  also when the owner is gone, and nobody has to keep octets only to send them again (ADR 0019).
  One shard at a time, with a pause between; what comes over the link meanwhile wins if it is newer.
- Everything is compared with the store now and then, octet by octet.
- What is held for a live owner that has better backups now is dropped, and nothing is begun for one
  that hasn't heard of them yet: it will stop comparing as soon as it has, and say no more. What is
  held of a shard that this member has become the owner of stays until that has been listed.
"""

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from cluster.backups import Backups, is_believed
from cluster.errors import ClusterError
from cluster.layout import Keys
from cluster.link import Mirror, MirrorAck, MirrorDigest, MirrorDigests, MirrorEntry, PeerLink
from cluster.mirror_ledger import entries_of
from cluster.mirror_settings import MirrorSettings
from cluster.ownership import Ownership
from cluster.replica import Digest, Replica
from cluster.seams import Clock
from cluster.store import Store


class Repair(msgspec.Struct, frozen=True):
    """A copy was put right."""

    shard: int
    owner: str
    put: int
    """Records that were missing or altered."""
    gone: int
    """Records that the store doesn't have."""
    was_whole: bool
    """Whether it had been believed to be right: False for who comes late, or missed something."""


class Table:
    """What is held of one shard."""

    __slots__ = (
        "fence", "highest", "replica", "right", "scrubbed_boot_s", "sender", "sequence", "short",
        "stream",
    )  # fmt: skip

    def __init__(self, now_s: float) -> None:
        self.fence = 0
        self.sender = ""
        self.stream = 0
        self.sequence = 0
        """Every frame up to here has come."""
        self.highest = 0
        """The highest number heard of."""
        self.right = False
        """Whether the digests were equal when they were compared last, in this stream."""
        self.short = False
        """Whether there was no room for something."""
        self.replica = Replica(octets=True)
        self.scrubbed_boot_s = now_s

    @property
    def whole(self) -> bool:
        """See the module."""
        return self.right and self.sequence == self.highest

    def follow(self, sender: str, fence: int, stream: int) -> bool:
        """Whether a frame is of the stream that is followed, or of a newer one, followed now."""
        if (self.fence, self.stream) < (fence, stream):
            self.sender, self.fence, self.stream = sender, fence, stream
            self.sequence = self.highest = 0
            self.right = False
        return (self.sender, self.fence, self.stream) == (sender, fence, stream)


class MirrorIn:
    """All copies of one member."""

    def __init__(
        self,
        link: PeerLink,
        store: Store,
        keys: Keys,
        clock: Clock,
        *,
        ownership: Ownership,
        backups: Backups,
        settings: MirrorSettings,
        wake: asyncio.Event,
    ) -> None:
        self._link = link
        self._store = store
        self._keys = keys
        self._clock = clock
        self._ownership = ownership
        self._backups = backups
        self._settings = settings
        self._wake = wake
        self._tables: dict[int, Table] = {}
        self._acks: dict[tuple[str, int], MirrorAck] = {}
        """To be sent, the newest of each sender and shard: it says what the ones before said."""
        self._wrong: dict[int, bool] = {}
        """Shards to be read from the store → whether they were believed to be right."""
        self._repair = asyncio.Event()
        self.held = 0
        self.refused = 0
        self.differences = 0
        self.repaired = 0
        self.on_repaired: list[Callable[[Repair], None]] = []
        self.on_gone: list[Callable[[int, bytes], None]] = []
        """Told (shard, SPI) of each record that is no more."""

    # -- what comes

    def receive(self, sender: str, frame: Mirror) -> None:
        """Entries have come from a member with that proven name."""
        table = self._followed(sender, frame.shard, frame.fence, frame.stream)
        if table is None:
            self.refused += len(frame.entries)
            return
        table.highest = max(table.highest, frame.sequence)
        if frame.sequence == table.sequence + 1:  # what is behind a gap comes again
            table.sequence = frame.sequence
            for entry in frame.entries:
                self._keep(frame.shard, table, entry)
        self._acknowledge(frame.shard, table)

    def _acknowledge(self, shard: int, table: Table) -> None:
        ack = MirrorAck(shard, table.fence, table.stream, table.sequence)
        self._acks[table.sender, shard] = ack
        self._wake.set()

    def compare(self, sender: str, frame: MirrorDigests) -> None:
        """An owner says what its mirrors have to come to."""
        for row in frame.rows:
            table = self._followed(sender, row.shard, row.fence, row.stream)
            if table is None:
                continue
            if table.sequence == row.sequence:
                self._compare(table, row)
            else:
                self._acknowledge(row.shard, table)  # the owner sees where we are

    def _compare(self, table: Table, row: MirrorDigest) -> None:
        if row.shard in self._wrong:
            return
        if table.replica.digest() == Digest(row.records, row.total):
            table.right, table.short = True, False
            now_s = self._clock.boot_s()
            if now_s - table.scrubbed_boot_s >= self._settings.scrub_s:
                self._read(row.shard, was_whole=True)
            return
        if not table.short or self.held < self._settings.held_max:
            self._read(row.shard, was_whole=table.right)
        table.right = False

    def _read(self, shard: int, *, was_whole: bool) -> None:
        self._wrong[shard] = was_whole
        self._repair.set()

    def _followed(self, sender: str, shard: int, fence: int, stream: int) -> Table | None:
        """The table that a frame belongs to; None: it isn't believed."""
        if not is_believed(self._ownership, sender, shard, fence):
            return None
        table = self._tables.get(shard)
        if table is None:
            if not self._backups.includes_me(shard, sender):
                return None
            table = self._tables[shard] = Table(self._clock.boot_s())
        return table if table.follow(sender, fence, stream) else None

    def _keep(self, shard: int, table: Table, entry: MirrorEntry) -> None:
        entries = table.replica.entries
        full = self.held >= self._settings.held_max
        if entry.sealed and full and entry.spi not in entries:
            self.refused += 1
            table.right, table.short = False, True
            return
        grown = table.replica.put(entry)
        self.held += grown
        if not entry.sealed and grown:
            self._tell_gone(shard, entry.spi)

    def _tell_gone(self, shard: int, spi: bytes) -> None:
        for listener in self.on_gone:
            listener(shard, spi)

    # -- what is answered and put right

    def flush(self) -> None:
        """Send the acknowledgements that wait."""
        acks, self._acks = self._acks, {}
        for (owner, _), ack in acks.items():
            self._link.send(owner, ack)

    async def run(self) -> None:
        """Read what is wrong from the store, one shard at a time."""
        while True:
            while not self._wrong:
                self._repair.clear()
                await self._repair.wait()
            shard = next(iter(self._wrong))
            was_whole = self._wrong[shard]
            await self._put_right(shard, was_whole)
            self._wrong.pop(shard, None)
            await asyncio.sleep(self._settings.scan_pause_s)

    async def _put_right(self, shard: int, was_whole: bool) -> None:
        table = self._tables.get(shard)
        if table is None:
            return
        prefix = self._keys.shard_records(shard)
        replica = table.replica
        replica.begin()
        try:
            scan = await self._store.scan(prefix)
        except ClusterError:
            replica.abandon()  # the next comparison asks again
            return
        if self._tables.get(shard) is not table:
            return
        merged = replica.merge(entries_of(scan, prefix), scan.revision)
        self.held = sum(len(each.replica) for each in self._tables.values())
        table.scrubbed_boot_s = self._clock.boot_s()
        if self.held > self._settings.held_max:
            self._shorten(table)
        for entry in merged.gone:
            self._tell_gone(shard, entry.spi)
        if merged.put or merged.gone:
            table.right = False  # until the owner says the same
            self.differences += was_whole
            self.repaired += len(merged.put) + len(merged.gone)
            repair = Repair(shard, table.sender, len(merged.put), len(merged.gone), was_whole)
            for listener in self.on_repaired:
                listener(repair)

    def _shorten(self, table: Table) -> None:
        entries = table.replica.entries
        while self.held > self._settings.held_max and entries:
            entries.popitem()
            self.held -= 1
            self.refused += 1
        table.right, table.short = False, True

    # -- what there is

    def table(self, shard: int) -> Mapping[bytes, MirrorEntry]:
        """What is held of `shard` by SPI. The caller doesn't change it."""
        table = self._tables.get(shard)
        return table.replica.entries if table is not None else {}

    def is_whole(self, shard: int) -> bool:
        """Whether the copy of `shard` is known to be right, but for what is under way."""
        table = self._tables.get(shard)
        if table is None or table.fence < self._ownership.known_fence(shard):
            return False
        return table.whole

    def shards(self) -> tuple[int, ...]:
        """The shards of which anything is held."""
        return tuple(self._tables)

    # -- changes of owner and of who holds what

    def forget(self, shard: int) -> None:
        """Let go of what is held of `shard`."""
        table = self._tables.pop(shard, None)
        self._wrong.pop(shard, None)
        if table is not None:
            self.held -= len(table.replica)

    def sweep(self, shards: tuple[int, ...]) -> None:
        """Somebody has come, or owns what another owned: others may be better backups now."""
        for shard in shards:
            owner = self._ownership.owner_of(shard)
            if owner is None or self._ownership.fence_of(shard) is not None:
                continue
            if not self._backups.includes_me(shard, owner):
                self.forget(shard)
