"""Newest records of each shard, kept at its backups: what `node` and the journal see of it.

Rules: the store is the truth and nothing waits for a mirror; a record is offered when it is
committed, never before, so a mirror holds nothing that the store has refused. (What is done without
the store is kept by all members: `cluster.failsafe`.) Entries are sealed; nothing here can read
them. The parts: `mirror_out` sends, `mirror_ledger` knows what
there is to hold, `mirror_in` holds; `counters` has what is too hot for records.
"""

import asyncio
from collections.abc import Mapping

import msgspec

from cluster.backups import Backups
from cluster.counters import CounterMirror, CounterSettings, CounterSource
from cluster.dispatch import Dispatch
from cluster.layout import Keys
from cluster.link import (
    Counters,
    HotCounters,
    Mirror,
    MirrorAck,
    MirrorDigest,
    MirrorDigests,
    MirrorEntry,
    PeerLink,
)
from cluster.mirror_in import MirrorIn
from cluster.mirror_ledger import Ledger
from cluster.mirror_out import MirrorOut
from cluster.mirror_settings import MirrorSettings
from cluster.ownership import Ownership
from cluster.replica import Merged
from cluster.roster import Roster
from cluster.seams import Clock, Spawn
from cluster.store import Store


class MirrorCounts(msgspec.Struct, frozen=True):
    """For status and metrics: since the start, but for `held` and `whole`."""

    offered: int = 0
    sent: int = 0
    resent: int = 0
    """Frames sent again because no acknowledgement came."""
    dropped: int = 0
    """Entries that never left or were given up: no room here."""
    held: int = 0
    copies: int = 0
    """Shards of others of which a copy is held."""
    whole: int = 0
    """Those of them that are known to be right."""
    refused: int = 0
    """Entries that came and were not kept: an old fence, no backup, or no room."""
    differences: int = 0
    """Copies believed to be right and found different."""
    repaired: int = 0
    """Entries put right out of the store."""


class Mirrors:
    """Both sides for one member."""

    def __init__(
        self,
        link: PeerLink,
        store: Store,
        keys: Keys,
        clock: Clock,
        *,
        me: str,
        roster: Roster,
        ownership: Ownership,
        settings: MirrorSettings,
        source: CounterSource,
    ) -> None:
        self._link = link
        self._ownership = ownership
        self._settings = settings
        self._wake = wake = asyncio.Event()
        self._choice = choice = Backups(roster, me, settings.mirrors)
        self._offered = 0
        self._out = MirrorOut(
            link, clock, roster=roster, ownership=ownership, backups=choice,
            settings=settings, wake=wake,
        )  # fmt: skip
        self._in = MirrorIn(
            link, store, keys, clock, ownership=ownership, backups=choice, settings=settings,
            wake=wake,
        )  # fmt: skip
        self._ledger = Ledger(store, keys, clock, ownership, settings, self._changed)
        self.hot = CounterMirror(
            link, roster=roster, ownership=ownership, backups=choice, source=source,
            settings=CounterSettings(held_max=settings.held_max),
        )  # fmt: skip
        self._in.on_gone.append(self.hot.forget)
        self.on_repaired = self._in.on_repaired
        ownership.on_gained.append(lambda shard, _fence: self._ledger.gained(shard))
        ownership.on_lost.append(self._lost)
        ownership.on_fence.append(lambda shard, _fence: self._in.sweep((shard,)))
        roster.on_joined.append(lambda _name: self._in.sweep(self._in.shards()))

    def listen(self, dispatch: Dispatch) -> None:
        """Take what other members send."""
        dispatch.on(Mirror, self._in.receive)
        dispatch.on(MirrorAck, self._out.receive_ack)
        dispatch.on(MirrorDigests, self._in.compare)
        dispatch.on(HotCounters, self.hot.receive)

    def start(self, spawn: Spawn) -> None:
        """Begin to send, compare and put right."""
        spawn(self._run(), "mirrors")
        spawn(self._compare(), "mirror comparison")
        spawn(self._ledger.run(), "mirror ledger")
        spawn(self._in.run(), "mirror repair")
        spawn(self.hot.run(), "hot counters")
        spawn(self.hot.keep_fresh(), "hot counters' rounds")

    # -- the owner's side

    def offer(self, shard: int, entry: MirrorEntry) -> None:
        """Send `entry`, made by a commit, to the backups of `shard` soon; the newest of an SPI
        replaces the one that waits.
        """
        self._offered += 1
        self._ledger.put(shard, entry)
        self._out.send(shard, entry)

    def gone(self, shard: int, spi: bytes) -> None:
        """Another member has deleted this record in the store: its session went on elsewhere."""
        entry = self._ledger.gone(shard, spi)
        if entry is not None:
            self._out.send(shard, entry)

    def doubt(self, shard: int) -> None:
        """It isn't known how a write has ended: the store will be asked what there is."""
        self._ledger.doubt(shard)

    def doubt_all(self) -> None:
        """The cluster's state has changed: records may have been written by another way."""
        self._ledger.doubt_all()

    def backups_of(self, shard: int) -> tuple[str, ...]:
        """Who holds copies of `shard`, which is this member's."""
        return self._choice.of(shard)

    def lag(self) -> int:
        """Frames sent and not acknowledged, over all backups."""
        return self._out.lag()

    def flush(self) -> None:
        """Send everything that waits now."""
        self._out.flush()
        self._in.flush()

    def _changed(self, shard: int, merged: Merged, revision: int) -> None:
        for entry in merged.put:
            self._out.send(shard, entry)
        for entry in merged.gone:
            self._out.send(shard, MirrorEntry(entry.spi, b"", revision))

    async def _run(self) -> None:
        """Send what was offered and taken, in steps of `flush_s` while there is something."""
        settings = self._settings
        while True:
            wait_s = settings.resend_s if self._out.busy else None
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
                await asyncio.sleep(settings.flush_s)
            except TimeoutError:
                pass
            self._wake.clear()
            self.flush()
            self._out.look()

    async def _compare(self) -> None:
        """Tell every backup what it should hold, again and again."""
        while True:
            await asyncio.sleep(self._settings.compare_s)
            for shards in self._portions():
                self._out.flush()
                self._tell_digests(shards)
                await asyncio.sleep(self._settings.flush_s)

    def _portions(self) -> list[list[int]]:
        """This member's shards, in portions of so many records."""
        portions: list[list[int]] = [[]]
        records = 0
        for shard in sorted(self._ownership.owned):
            records += self._ledger.count(shard) + 1
            if records > self._settings.compared_per_frame and portions[-1]:
                portions.append([])
                records = 0
            portions[-1].append(shard)
        return portions

    def _tell_digests(self, shards: list[int]) -> None:
        rows: dict[str, list[MirrorDigest]] = {}
        for shard in shards:
            fence, digest = self._ownership.fence_of(shard), self._ledger.digest(shard)
            if fence is None or digest is None:
                continue
            self._in.forget(shard)  # who has listed it himself needs no copy
            for backup in self._choice.of(shard):
                stream = self._out.stream_of(backup, shard, fence)
                rows.setdefault(backup, []).append(
                    MirrorDigest(shard, fence, stream.number, stream.sequence, *digest)
                )
        for backup, found in rows.items():
            self._link.send(backup, MirrorDigests(tuple(found)))

    def _lost(self, shard: int) -> None:
        self._ledger.lost(shard)
        self._out.lost(shard)

    # -- the backup's side

    def held(self, shard: int) -> Mapping[bytes, MirrorEntry]:
        """What is held of `shard`, by SPI; empty if nothing is. Of a shard that this member has
        just become the owner of too, for a while. The caller doesn't change it.
        """
        return self._in.table(shard)

    def is_whole(self, shard: int) -> bool:
        """Whether the copy of `shard` is known to be right, but for what is under way."""
        return self._in.is_whole(shard)

    def copies(self) -> tuple[int, ...]:
        """The shards of which anything is held."""
        return self._in.shards()

    def counters(self, shard: int) -> Mapping[bytes, tuple[int, Counters]]:
        """How far each SA of `shard` had come by SPI, with the fence under which it was so; for
        who adopts it. See `cluster.counters`.
        """
        return self.hot.held(shard)

    def counts(self) -> MirrorCounts:
        """The figures since the start, and what is held now."""
        out, inward = self._out, self._in
        return MirrorCounts(
            offered=self._offered,
            sent=out.sent,
            resent=out.resent,
            dropped=out.dropped,
            held=inward.held,
            copies=len(inward.shards()),
            whole=sum(inward.is_whole(shard) for shard in inward.shards()),
            refused=inward.refused,
            differences=inward.differences,
            repaired=inward.repaired,
        )
