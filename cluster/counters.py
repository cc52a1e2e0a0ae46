"""Hot counters: message-ID progress, address and last sign of life of each SA, at the backups.

They change with every message, so the store never sees them (ADR 0002). An owner says which SA has
moved, and now and then the newest of those go to the shard's backups; who adopts the SA goes on
from there.

Rules: newest wins, by fence, then by the two message IDs, which never go back under a fence. Nobody
waits for anything here, and a frame that is lost is made up for by the next, or by the next round
over all SAs. What an effect was made of isn't here: that is in the record.
"""

import asyncio
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Protocol

import msgspec

from cluster.backups import Backups, is_believed
from cluster.link import Counters, HotCounters, PeerLink
from cluster.ownership import Ownership
from cluster.roster import Roster


class CounterSource(Protocol):
    """What the owner's SAs have come to. Implementer: `node.counters.EndpointCounters`."""

    def read(self, spi: bytes) -> Counters | None:
        """The counters of an SA as they are now; None: there is nothing that its record doesn't
        say.
        """
        ...

    def spis(self) -> Iterable[bytes]:
        """Every SA of this member."""
        ...

    def shard_of(self, spi: bytes) -> int:
        """Where an SPI lives."""
        ...


class CounterSettings(msgspec.Struct, frozen=True):
    """How often, and the bounds of both sides."""

    flush_s: float = 0.05
    """How long what moved is gathered."""
    refresh_s: float = 30.0
    """How often every SA is told of, moved or not: makes up for frames that were lost."""
    rows_per_frame: int = 128
    rows_per_flush: int = 2048
    """The most that are read and sent in one step of the loop; the rest follows."""
    moved_max: int = 200_000
    """SAs waiting to be told of; more wait for the next round over all."""
    held_max: int = 200_000
    """SAs held for others; when full, those not held yet are refused."""


class CounterMirror:
    """Both sides for one member."""

    def __init__(
        self,
        link: PeerLink,
        *,
        roster: Roster,
        ownership: Ownership,
        backups: Backups,
        source: CounterSource,
        settings: CounterSettings,
    ) -> None:
        self._link = link
        self._ownership = ownership
        self._backups = backups
        self._source = source
        self._settings = settings
        self._moved: dict[bytes, None] = {}
        self._wake = asyncio.Event()
        self._held: dict[int, dict[bytes, tuple[int, Counters]]] = {}
        """By shard and SPI: (fence, counters)."""
        self._count = 0
        self._mine: frozenset[int] = frozenset()
        """Shards that were this member's at the last round: nobody adopts out of those any more."""
        self.refused = 0
        """Counters that came and were not kept: not the owner's word, or no room."""
        roster.on_joined.append(self._joined)

    # -- the owner's side

    def touch(self, spi: bytes) -> None:
        """An SA has moved. Hot path: what it came to is read when it is sent."""
        moved = self._moved
        if not moved:
            self._wake.set()
        if len(moved) < self._settings.moved_max:
            moved[spi] = None

    def touch_all(self) -> None:
        """Tell the backups of every SA, soon."""
        for spi in self._source.spis():
            self.touch(spi)

    async def run(self) -> None:
        """Send what has moved, in steps of `flush_s` while there is something."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(self._settings.flush_s)
            self.flush()

    async def keep_fresh(self) -> None:
        """Tell of everything every `refresh_s`, and let go of what nobody needs here."""
        while True:
            await asyncio.sleep(self._settings.refresh_s)
            self.touch_all()
            self._sweep()

    def flush(self) -> None:
        """Send the newest counters of what has moved, at most `rows_per_flush` of it."""
        moved = self._moved
        due = list(moved)[: self._settings.rows_per_flush]
        for spi in due:
            del moved[spi]
        if not moved:
            self._wake.clear()
        for shard, rows in self._sorted(due).items():
            for backup in self._backups.of(shard):
                self._send(backup, shard, rows)

    def _sorted(self, spis: Iterable[bytes]) -> dict[int, list[Counters]]:
        found: dict[int, list[Counters]] = {}
        for spi in spis:
            row = self._source.read(spi)
            if row is not None:
                found.setdefault(self._source.shard_of(spi), []).append(row)
        return found

    def _send(self, member: str, shard: int, rows: list[Counters]) -> None:
        fence = self._ownership.fence_of(shard)
        if fence is None:
            return
        step = self._settings.rows_per_frame
        for at in range(0, len(rows), step):
            self._link.send(member, HotCounters(shard, fence, tuple(rows[at : at + step])))

    def _joined(self, _name: str) -> None:
        self.touch_all()  # it may be the backup of any shard, and has nothing

    # -- the backup's side

    def receive(self, sender: str, frame: HotCounters) -> None:
        """An owner tells what its SAs have come to."""
        if not is_believed(self._ownership, sender, frame.shard, frame.fence):
            self.refused += len(frame.rows)
            return
        held = self._held.setdefault(frame.shard, {})
        for row in frame.rows:
            before = held.get(row.spi)
            if before is None:
                if self._count >= self._settings.held_max:
                    self.refused += 1
                    continue
                self._count += 1
            elif _order(frame.fence, row) < _order(*before):
                continue
            held[row.spi] = (frame.fence, row)

    def held(self, shard: int) -> Mapping[bytes, tuple[int, Counters]]:
        """The newest known of each SA of `shard` by SPI, with the fence under which it was so."""
        return MappingProxyType(self._held.get(shard, {}))

    @property
    def count(self) -> int:
        """SAs held for others."""
        return self._count

    def forget(self, shard: int, spi: bytes) -> None:
        """The SA is gone."""
        if self._held.get(shard, {}).pop(spi, None) is not None:
            self._count -= 1

    def _sweep(self) -> None:
        """Let go of shards that others hold copies of now, or that have been this member's for a
        whole round."""
        mine = frozenset(self._ownership.owned)
        for shard in list(self._held):
            owner = self._ownership.owner_of(shard)
            if shard in mine:
                kept = shard not in self._mine
            else:
                kept = owner is None or self._backups.includes_me(shard, owner)
            if not kept:
                self._count -= len(self._held.pop(shard))
        self._mine = mine


def _order(fence: int, row: Counters) -> tuple[int, int, int]:
    return fence, row.expected_id, row.next_id
