"""Changes the key-encryption key under which the cluster's secrets lie in the store.

Rules: ring and SPI key change in one transaction, so that no member ever needs both keys to start;
never before every live member has said that it holds the new key. Doing it again does nothing. What
else lies sealed in the store is sealed under keys of the ring, and stays as it is.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from cluster.attempts import attempts
from cluster.errors import ClusterError, Conflict, WrongKek
from cluster.layout import Keys
from cluster.ring_keeper import CONFLICTS_MAX, RingKeeper
from cluster.rotation import Progress, Rotations
from cluster.seams import Rng
from cluster.store import Compare, Entry, Put, Store, Target, Txn
from cluster.vault import seal, sealing_kek_id

HeldBy = Callable[[], Awaitable[Mapping[str, Sequence[bytes]]]]
"""Asks every member which key-encryption keys it holds: name → ids; whoever doesn't answer isn't in
it."""


class Rewrap:
    """Made once per member."""

    def __init__(
        self, *, keeper: RingKeeper, rotations: Rotations, store: Store, keys: Keys, rng: Rng
    ) -> None:
        self._keeper = keeper
        self._rotations = rotations
        self._store = store
        self._keys = keys
        self._rng = rng

    async def run(
        self, kek_id: bytes, held_by: HeldBy, timeout_s: float, progress: Progress
    ) -> None:
        """Seal ring and SPI key under the key-encryption key `kek_id`, and wait until every live
        member has opened them.

        Raises WrongKek if a live member doesn't hold that key, ClusterError; each says what was
        done and what wasn't.
        """
        name = kek_id.hex()
        await self._check(kek_id, held_by)
        progress(f"held: key-encryption key {name}, by every live member")
        revision, changed = await self._seal_anew(kek_id)
        if not changed:
            progress(f"nothing to do: ring and SPI key are sealed under {name} already")
        else:
            progress(f"rewrapped: {' and '.join(changed)}, ring revision {revision}")
        reports = await self._rotations.reports(revision, timeout_s, progress)
        if reports.lag:
            raise ClusterError(
                f"ring and SPI key are sealed under {name}, but {', '.join(reports.lag)} did not "
                f"report ring revision {revision}: keep the former key until it does"
            )
        done = ", ".join(reports.done)
        progress(f"opened: by {done}; the former key is needed for older backups of etcd alone")

    async def _check(self, kek_id: bytes, held_by: HeldBy) -> None:
        held = await held_by()
        scan = await self._store.scan(self._keys.members)
        names = self._keys.member_names(scan.entries)
        silent = [name for name in names if name not in held]
        if silent:
            raise ClusterError(
                f"nothing was changed: {', '.join(silent)}: no answer when asked for the "
                "key-encryption keys held there"
            )
        without = [name for name in names if kek_id not in held[name]]
        if without or not names:
            raise WrongKek(
                f"nothing was changed: {', '.join(without) or 'no live member'}: without the "
                f"key-encryption key {kek_id.hex()}, as the one in use or the next"
            )

    async def _seal_anew(self, kek_id: bytes) -> tuple[int, list[str]]:
        """The ring's revision, and what was sealed anew."""
        ring = self._keys.ring
        for attempt in attempts(CONFLICTS_MAX):
            with attempt:  # what became of an unknown one, the next look tells
                entries = [await self._entry(key) for key in (ring, self._keys.spi_key)]
                todo = [one for one in entries if sealing_kek_id(one.value, one.key) != kek_id]
                if not todo:
                    return entries[0].mod_revision, []
                compares = [Compare(e.key, Target.MOD_REVISION, e.mod_revision) for e in entries]
                puts = [Put(entry.key, self._anew(entry, kek_id)) for entry in todo]
                rewrapped = any(entry.key == ring for entry in todo)
                if rewrapped:
                    puts.append(Put(self._keys.ring_mark, b"rewrapped"))
                result = await self._store.commit(Txn(tuple(compares), tuple(puts)))
                if result.succeeded:
                    words = ["ring" if entry.key == ring else "SPI key" for entry in todo]
                    return result.revision if rewrapped else entries[0].mod_revision, words
        raise Conflict(
            f"ring and SPI key were changed by others {CONFLICTS_MAX} times in a row: try later"
        )

    async def _entry(self, key: bytes) -> Entry:
        entry = await self._store.get(key)
        if entry is None:
            raise ClusterError(f"{key.decode()} is gone from the store: restore it first")
        return entry

    def _anew(self, entry: Entry, kek_id: bytes) -> bytes:
        kek = self._keeper.keks.find(kek_id)
        if kek is None:
            raise WrongKek(f"this member does not hold the key-encryption key {kek_id.hex()}")
        return seal(kek, self._keeper.keks.open(entry.value, entry.key), entry.key, self._rng)
