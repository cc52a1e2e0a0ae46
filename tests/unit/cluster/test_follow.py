"""Following a prefix across a watch that broke: what happened meanwhile is told from a scan."""

import asyncio
from collections.abc import AsyncIterator

from cluster.errors import Compacted
from cluster.follow import follow
from cluster.store import Changes, Entry, Scan
from cluster.store_memory import MemoryStore


def entry(key: bytes, revision: int) -> Entry:
    """A key as a scan finds it."""
    return Entry(key, b"value", revision, revision, 1)


class Gap(MemoryStore):
    """Its first watch ends at once, its history gone; the second scan finds another world."""

    def __init__(self, scans: list[Scan]) -> None:
        self.scans = scans
        self.watched = 0

    async def scan(self, prefix: bytes) -> Scan:
        return self.scans.pop(0)

    async def watch(self, prefix: bytes, from_revision: int) -> AsyncIterator[Changes]:
        self.watched += 1
        if self.watched == 1:
            raise Compacted(from_revision)
        await asyncio.Event().wait()
        yield Changes((), 0)


async def test_what_was_deleted_or_changed_while_the_watch_was_down_is_told() -> None:
    before = Scan((entry(b"m/gone", 3), entry(b"m/kept", 4), entry(b"m/moved", 5)), 5)
    after = Scan((entry(b"m/kept", 4), entry(b"m/moved", 8), entry(b"m/new", 9)), 9)
    told: list[tuple[bytes, bool, int]] = []
    second = asyncio.Event()
    applied = 0

    def count() -> None:
        nonlocal applied
        applied += 1
        if applied == 2:
            second.set()

    following = asyncio.create_task(
        follow(
            Gap([before, after]),
            b"m/",
            lambda key, found, revision: told.append((key, found is not None, revision)),
            count,
        )
    )
    async with asyncio.timeout(10):
        await second.wait()
    following.cancel()
    assert told[3:] == [(b"m/gone", False, 9), (b"m/moved", True, 8), (b"m/new", True, 9)]
