"""The newest entry of each record of one shard, as an owner lists them and as a backup holds them.

An entry's place in time is the store's revision of the commit that made it, so that what came over
the link and what was read from the store can be put into one order, whoever was the owner.

Rules: newest wins. A scan of the store is the truth about everything up to its revision; what was
put or taken since it was begun stays where it is newer: a scan may be asked for long before it is
answered, and what came in between may be gone again. Pure: no waiting, no clock.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from cluster.link import MirrorEntry

TAG_OCTETS = 8
"""The end of a sealed record is its authentication tag: these octets stand for all of it."""
SUM_BITS = 64


class Digest(NamedTuple):
    """What two replicas compare."""

    records: int
    total: int
    """Over all entries, of SPI ⊕ tag, modulo 2^64: the order doesn't count."""


class Merged(NamedTuple):
    """What a scan has changed."""

    put: tuple[MirrorEntry, ...]
    """Missing or altered, as they are now."""
    gone: tuple[MirrorEntry, ...]
    """Extra, as they were."""


class Replica:
    """One shard's records by SPI. `octets` False: of each only the tag is kept, as `sealed`."""

    __slots__ = ("_octets", "_since", "entries")

    def __init__(self, *, octets: bool) -> None:
        self._octets = octets
        self.entries: dict[bytes, MirrorEntry] = {}
        self._since: dict[bytes, int] | None = None
        """While a scan is under way: what was put or taken since it began, and when that was."""

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def scanning(self) -> bool:
        """Whether a scan is under way."""
        return self._since is not None

    def put(self, entry: MirrorEntry) -> int:
        """Take in `entry` if it is newer than what is here; by how many the entries have grown."""
        spi, revision = entry.spi, entry.revision
        before = self.entries.get(spi)
        since = self._since
        if before is not None and before.revision > revision:
            return 0
        if since is not None:
            if since.get(spi, 0) > revision:
                return 0
            since[spi] = revision
        if not entry.sealed:
            return 0 if self.entries.pop(spi, None) is None else -1
        self.entries[spi] = entry if self._octets else _tagged(entry)
        return 1 if before is None else 0

    def begin(self) -> None:
        """A scan of the store begins."""
        self._since = {}

    def abandon(self) -> None:
        """It came to nothing."""
        self._since = None

    def merge(self, scanned: Iterable[MirrorEntry], revision: int) -> Merged:
        """Make this what the scan says, which shows the store at `revision`, but for what is
        newer; what that changed.
        """
        since, self._since = self._since or {}, None
        before, self.entries = self.entries, {}
        put: list[MirrorEntry] = []
        for entry in scanned:
            spi = entry.spi
            here = before.pop(spi, None)
            if since.get(spi, 0) > entry.revision:
                if here is not None:
                    self.entries[spi] = here
                continue
            kept = entry if self._octets else _tagged(entry)
            self.entries[spi] = kept
            if here is None or here.sealed != kept.sealed:
                put.append(entry)
        gone = []
        for spi, here in before.items():
            if since.get(spi, 0) > revision:
                self.entries[spi] = here
            else:
                gone.append(here)
        return Merged(tuple(put), tuple(gone))

    def digest(self) -> Digest:
        """Equal for equal replicas, with or without octets."""
        total = 0
        for spi, entry in self.entries.items():
            tag = entry.sealed[-TAG_OCTETS:]
            total += int.from_bytes(spi, "big") ^ int.from_bytes(tag, "big")
        return Digest(len(self.entries), total & ((1 << SUM_BITS) - 1))

    def __iter__(self) -> Iterator[MirrorEntry]:
        return iter(self.entries.values())


def _tagged(entry: MirrorEntry) -> MirrorEntry:
    return MirrorEntry(entry.spi, entry.sealed[-TAG_OCTETS:], entry.revision)
