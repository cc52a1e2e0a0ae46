"""Keeps a reader told of everything under a prefix of the store, for as long as it lives.

Rules: a scan, then a watch from the revision after it, so nothing is missed between the two.
History that is gone (Compacted) or a store that is away (Unavailable) leads to another scan, whose
differences are told like changes. Whoever listens sees each key's newest entry, in key order
within a scan, and never a part of a revision. What the reader itself came to know meanwhile, and is
newer than a scan, the watch after it tells of.
"""

import asyncio
from collections.abc import Callable

from cluster.errors import Compacted, Unavailable, Unknown
from cluster.store import ChangeKind, Entry, Store

PAUSE_FIRST_S = 0.1
"""The pause after a failed scan; it doubles up to the longest."""
PAUSE_MAX_S = 1.0
"""The longest pause between two scans: how late a reader may learn that the store is back."""


async def follow(
    store: Store,
    prefix: bytes,
    changed: Callable[[bytes, Entry | None, int], None],
    applied: Callable[[], None],
    known: dict[bytes, Entry] | None = None,
) -> None:
    """Never returns. `changed(key, entry, revision)`: the key's entry, or None if it is gone.

    `applied()` is called after each scan and after each whole revision of the watch. `known`: what
    the reader has by itself, and goes on to put there; of that it is told what is gone.
    """
    known = {} if known is None else known
    pause_s = PAUSE_FIRST_S
    while True:
        try:
            revision = await _resync(store, prefix, known, changed)
            applied()
            pause_s = PAUSE_FIRST_S
            async for changes in store.watch(prefix, revision + 1):
                for change in changes.changes:
                    entry = change.entry
                    if change.kind is ChangeKind.PUT:
                        known[entry.key] = entry
                        changed(entry.key, entry, entry.mod_revision)
                    else:
                        known.pop(entry.key, None)
                        changed(entry.key, None, entry.mod_revision)
                applied()
        except Compacted:
            continue
        except (Unavailable, Unknown):
            pass
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, PAUSE_MAX_S)


async def _resync(
    store: Store,
    prefix: bytes,
    known: dict[bytes, Entry],
    changed: Callable[[bytes, Entry | None, int], None],
) -> int:
    scan = await store.scan(prefix)
    found = {entry.key: entry for entry in scan.entries}
    for key in sorted(known):
        if key not in found and known[key].mod_revision <= scan.revision:
            del known[key]
            changed(key, None, scan.revision)
    for key, entry in found.items():
        before = known.get(key)
        if before is None or before.mod_revision < entry.mod_revision:
            known[key] = entry
            changed(key, entry, entry.mod_revision)
    return scan.revision
