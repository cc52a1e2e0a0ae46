"""Reads what lies in the shards that this member gained, and hands the opened records on.

Rules:
- A shard's records are read after it was gained, so whatever its former owners made durable is
  there, and nothing of theirs can come after it: their commits fail the compare of the shard's key.
- Until its scan has ended a shard is `pending`: what isn't known of it may still turn up.
- Several shards are read at once, `scans_max` of them. A store that doesn't answer is asked again
  for as long as the shard is ours under that fence.
- A record that can't be opened (another release's format, a key that is gone) is left where it is,
  and counted: its session ends here, and its ticket may still be good.
- A shard nobody has owned before holds nothing and isn't read.
"""

import asyncio
from collections import deque
from collections.abc import Callable

import msgspec

from cluster.errors import ClusterError, Incompatible
from cluster.layout import Keys
from cluster.ownership import Ownership
from cluster.records import RecordVault
from cluster.seams import Spawn
from cluster.store import Entry, Store

FIRST_FENCE = 1
PAUSE_FIRST_S = 0.05
"""The pause before a scan that failed is tried again; it doubles up to the longest."""
PAUSE_MAX_S = 1.0


class AdoptionSettings(msgspec.Struct, frozen=True):
    """How much at once."""

    scans_max: int = 8
    """Shards that are read at the same time."""
    records_per_step: int = 64
    """Records opened and handed on before others get their turn on the event loop."""


class Opened(msgspec.Struct, frozen=True, gc=False):
    """A record as its owner had it sealed."""

    spi: bytes
    octets: bytes


Take = Callable[[int, int, list[Opened]], None]


class Adoption:
    """See the module. `take(shard, fence, records)` is called with some records of a shard at a
    time, while that is owned under that fence.
    """

    def __init__(
        self,
        store: Store,
        keys: Keys,
        *,
        spawn: Spawn,
        vault: RecordVault,
        ownership: Ownership,
        take: Take,
        settings: AdoptionSettings | None = None,
    ) -> None:
        self._store = store
        self._keys = keys
        self._spawn = spawn
        self._vault = vault
        self._ownership = ownership
        self._take = take
        self._settings = settings or AdoptionSettings()
        self._pending: dict[int, int] = {}
        """Shard → fence, of what is being read or waits for it."""
        self._waiting: deque[tuple[int, int]] = deque()
        self._running = 0
        self.on_read: list[Callable[[int, int], None]] = []
        """Told (shard, fence) when everything of a shard was handed on."""
        self.on_unreadable: list[Callable[[int, int, str], None]] = []
        """Told (shard, how many, why the first) of records that were left alone."""
        self.unreadable = 0
        """Records left alone so far."""
        ownership.on_gained.append(self._gained)
        ownership.on_lost.append(self._lost)

    def is_pending(self, shard: int) -> bool:
        """Whether records of a shard of ours may not have been handed on yet."""
        return shard in self._pending

    @property
    def pending(self) -> int:
        """Shards that wait for their scan, or are being read."""
        return len(self._pending)

    def _gained(self, shard: int, fence: int) -> None:
        if fence <= FIRST_FENCE:
            return
        self._pending[shard] = fence
        self._waiting.append((shard, fence))
        if self._running < self._settings.scans_max:
            self._running += 1
            self._spawn(self._work(), "adoption")

    def _lost(self, shard: int) -> None:
        self._pending.pop(shard, None)

    async def _work(self) -> None:
        try:
            while self._waiting:
                shard, fence = self._waiting.popleft()
                await self._read(shard, fence)
        finally:
            self._running -= 1

    def _ours(self, shard: int, fence: int) -> bool:
        return self._pending.get(shard) == fence and self._ownership.fence_of(shard) == fence

    async def _read(self, shard: int, fence: int) -> None:
        entries = await self._scan(shard, fence)
        unreadable, why = 0, ""
        step = self._settings.records_per_step
        for at in range(0, len(entries), step):
            opened: list[Opened] = []
            for entry in entries[at : at + step]:
                try:
                    octets = self._vault.open_record(entry.value, entry.key)
                except Incompatible as error:
                    unreadable, why = unreadable + 1, why or str(error)
                    continue
                opened.append(Opened(_spi(entry.key), octets))
            if not self._ours(shard, fence):
                return
            if opened:
                self._take(shard, fence, opened)
            await asyncio.sleep(0)
        if unreadable:
            self.left_alone(shard, unreadable, why)
        if self._ours(shard, fence):
            del self._pending[shard]
            for listener in self.on_read:
                listener(shard, fence)

    def left_alone(self, shard: int, count: int, why: str) -> None:
        """Records of a shard can't be read here: count them, say so once."""
        self.unreadable += count
        for listener in self.on_unreadable:
            listener(shard, count, why)

    async def _scan(self, shard: int, fence: int) -> tuple[Entry, ...]:
        """Everything in the shard; nothing if it was lost meanwhile."""
        pause_s = PAUSE_FIRST_S
        while self._ours(shard, fence):
            try:
                return (await self._store.scan(self._keys.shard_records(shard))).entries
            except ClusterError:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_MAX_S)
        return ()


def _spi(key: bytes) -> bytes:
    """The SPI in the key of a record; empty if it is none."""
    try:
        return bytes.fromhex(key.rpartition(b"/")[2].decode())
    except ValueError:
        return b""
