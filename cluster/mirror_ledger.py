"""What an owner knows to be in the store of its shards: a line per record, without its octets.

It is what mirrors are compared with. Rules: a shard is listed by a scan of the store some time
after it was gained, and again now and then, because not all that becomes of its records is this
member's doing: who resumes a session elsewhere deletes its old record, and what nobody comes back
for expires. What is committed meanwhile is entered as it ends. Nothing is compared before the first
scan.
"""

import asyncio
from collections.abc import Callable, Iterable

from cluster.errors import ClusterError
from cluster.layout import Keys
from cluster.link import MirrorEntry
from cluster.mirror_settings import MirrorSettings
from cluster.ownership import Ownership
from cluster.replica import Digest, Merged, Replica
from cluster.seams import Clock
from cluster.store import Scan, Store

_SPI_HEX = 16


def entries_of(scan: Scan, prefix: bytes) -> Iterable[MirrorEntry]:
    """The records under a shard's `prefix` as entries; keys that are no record's are left out."""
    for entry in scan.entries:
        name = entry.key[len(prefix) :]
        try:
            spi = bytes.fromhex(name.decode())
        except ValueError:
            continue
        if len(name) == _SPI_HEX:
            yield MirrorEntry(spi, entry.value, entry.mod_revision)


class Ledger:
    """See the module."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        clock: Clock,
        ownership: Ownership,
        settings: MirrorSettings,
        changed: Callable[[int, Merged, int], None],
    ) -> None:
        """`changed(shard, what, revision)`: a listed shard wasn't as the store has it now."""
        self._store = store
        self._keys = keys
        self._clock = clock
        self._settings = settings
        self._changed = changed
        self._lists: dict[int, Replica] = {}
        self._due: dict[int, float] = {}
        """Shards → when they are to be listed, on the boot clock."""
        self._listed: dict[int, None] = {}
        self._wake = asyncio.Event()
        for shard in ownership.owned:
            self.gained(shard)

    def gained(self, shard: int) -> None:
        """The shard is ours now, under another fence than before."""
        self._lists[shard] = replica = Replica(octets=False)
        replica.begin()  # what is committed before the first scan is newer than it
        self._listed.pop(shard, None)
        self._due[shard] = self._clock.boot_s() + self._settings.settled_s
        self._wake.set()

    def lost(self, shard: int) -> None:
        """The shard isn't ours any more."""
        self._lists.pop(shard, None)
        self._due.pop(shard, None)
        self._listed.pop(shard, None)

    def put(self, shard: int, entry: MirrorEntry) -> None:
        """A write has ended."""
        replica = self._lists.get(shard)
        if replica is not None:
            replica.put(entry)

    def gone(self, shard: int, spi: bytes) -> MirrorEntry | None:
        """The record is gone from the store, by another's doing; the entry that says so, or None
        if there was none here.
        """
        replica = self._lists.get(shard)
        before = None if replica is None else replica.entries.get(spi)
        if replica is None or before is None:
            if replica is not None and replica.scanning:
                self.doubt(shard)  # the scan may show it yet
            return None
        entry = MirrorEntry(spi, b"", before.revision + 1)  # the earliest that it can have gone
        replica.put(entry)
        return entry

    def doubt(self, shard: int) -> None:
        """It isn't known what the store has of the shard: look soon."""
        if shard in self._due:
            soon_s = self._clock.boot_s() + self._settings.settled_s
            self._due[shard] = min(self._due[shard], soon_s)
            self._wake.set()

    def doubt_all(self) -> None:
        """The same, of every shard."""
        for shard in self._due:
            self.doubt(shard)

    def digest(self, shard: int) -> Digest | None:
        """What a mirror of `shard` has to come to; None: the shard isn't listed yet."""
        return self._lists[shard].digest() if shard in self._listed else None

    def count(self, shard: int) -> int:
        """Records of `shard`."""
        return len(self._lists[shard]) if shard in self._lists else 0

    async def run(self) -> None:
        """List what is due, one shard at a time."""
        while True:
            self._wake.clear()
            now_s = self._clock.boot_s()
            due = sorted((at_s, shard) for shard, at_s in self._due.items() if at_s <= now_s)
            for _, shard in due:
                await self._list(shard)
                await asyncio.sleep(self._settings.scan_pause_s)
            wait_s = min(self._due.values(), default=now_s + self._settings.scrub_s) - now_s
            try:
                async with asyncio.timeout(max(wait_s, self._settings.scan_pause_s)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _list(self, shard: int) -> None:
        replica = self._lists.get(shard)
        if replica is None:
            return
        first = shard not in self._listed
        self._due[shard] = self._clock.boot_s() + self._settings.scrub_s  # unless doubted meanwhile
        prefix = self._keys.shard_records(shard)
        if not first:
            replica.begin()
        try:
            scan = await self._store.scan(prefix)
        except ClusterError:
            self.doubt(shard)  # if it is ours yet
            if not first:
                replica.abandon()
            return
        if self._lists.get(shard) is not replica:
            return
        merged = replica.merge(entries_of(scan, prefix), scan.revision)
        self._listed[shard] = None
        if not first and (merged.put or merged.gone):
            self._changed(shard, merged, scan.revision)
