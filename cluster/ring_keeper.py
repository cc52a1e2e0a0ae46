"""Keeps this member's key ring the one that stands in the store, and changes it for everybody.

Rules: the installed ring is an immutable snapshot, swapped in one step; a ring that can't be read
leaves the installed one in place, and one that is gone from the store is put back by whoever runs.
Ring and SPI key are made together, once: where one of them is missing, a member that starts makes
no new one, for tickets and records depend on the lost one. Every write compares the revision that
it was made from, moves `ring-mark` on with the ring, and seals under the key-encryption key that
the ring was sealed under: only a rewrap changes that. The mark outlives a lost ring, so that only
who has the newest one puts it back: no laggard brings a revoked key to life. What changes, and in
which steps: `cluster.rotation`, `cluster.rewrap`.
"""

import asyncio
from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from cluster.attempts import attempts
from cluster.errors import (
    ClusterError,
    Conflict,
    Incompatible,
    Stale,
    Unavailable,
    Unknown,
    WrongKek,
)
from cluster.follow import follow
from cluster.keyring import (
    KeyRing,
    RingPolicy,
    decode,
    encode,
    expire,
    new_ring,
)
from cluster.layout import Keys
from cluster.seams import Clock, Rng, Spawn
from cluster.shards import SPI_KEY_LEN
from cluster.store import Compare, Entry, Get, Put, Store, Target, Txn
from cluster.vault import Keks, seal, sealing_kek_id
from proto.secret import Secret

REFRESH_INTERVAL_S = 1.0
"""At most one look at the store in this time for a key id that isn't in the ring."""
REFRESH_TIMEOUT_S = 1.0
"""The longest such a look may take: whoever waits for it has a refusal coming."""
PUT_BACK_PAUSE_S = 0.5
"""The pause before a lost ring is put back again, while the store is away."""
CONFLICTS_MAX = 16
"""How often a change is made again because somebody else's came first."""
_NEW = b"new"
_NEWER_LOST = (
    "the store has lost a key ring newer than this member's: start a member that has it, or "
    "restore the store"
)


def _mark_of(ring: KeyRing) -> bytes:
    """What an operator may read in `ring-mark`; what counts is its revision."""
    return ring.tickets.keys[-1].key_id.hex().encode()


class Snapshot(msgspec.Struct, frozen=True):
    """A ring and the store's revision of it."""

    ring: KeyRing
    revision: int
    kek_id: bytes
    """Which key-encryption key it lies sealed under, 8 octets."""


class RingHooks(msgspec.Struct, frozen=True):
    """Who is told what; each is called from the event loop and doesn't raise."""

    on_installed: Callable[[int], None] | None = None
    """A ring was installed: its revision."""
    on_trouble: Callable[[str], None] | None = None
    """One line: the ring in the store is gone or can't be installed; the installed one stays."""


class RingKeeper:
    """This member's ring. `load_or_create` comes first, then `start`."""

    def __init__(
        self,
        *,
        store: Store,
        keys: Keys,
        keks: Keks,
        clock: Clock,
        rng: Rng,
        policy: RingPolicy,
        hooks: RingHooks | None = None,
    ) -> None:
        self._store = store
        self._keys = keys
        self._keks = keks
        self._clock = clock
        self._rng = rng
        self._policy = policy
        self._hooks = hooks or RingHooks()
        self._installed: Snapshot | None = None
        self._looking: asyncio.Event | None = None
        self._looked_s = -REFRESH_INTERVAL_S
        self._stands = False
        """Whether the store holds a ring, as far as the watch has told."""
        self._lost = asyncio.Event()

    @property
    def snapshot(self) -> Snapshot:
        """The installed ring with its revision. Raises Incompatible before `load_or_create`."""
        if self._installed is None:
            raise Incompatible("the key ring was not loaded yet")
        return self._installed

    @property
    def ring(self) -> KeyRing:
        """The installed ring."""
        return self.snapshot.ring

    @property
    def keks(self) -> Keks:
        """The key-encryption keys at hand; assign to take others. The one that the installed ring
        is sealed under is kept in any case: the ring may have to be written again.
        """
        return self._keks

    @keks.setter
    def keks(self, keks: Keks) -> None:
        used = self._keks.find(self._installed.kek_id) if self._installed is not None else None
        self._keks = keks if used is None else Keks((*keks, used))
        self._looked_s = -REFRESH_INTERVAL_S  # what could not be opened before, perhaps can now

    @property
    def revision(self) -> int:
        """The store's revision of the installed ring; 0 before there is one."""
        return self._installed.revision if self._installed is not None else 0

    # -- at the start

    async def load_or_create(self) -> None:
        """Install the ring that stands in the store, made now if the cluster is new.

        Raises WrongKek, Incompatible (nothing was overwritten), Unavailable.
        """
        self._install(await self._read_or_create(self._keys.ring))

    async def load_or_create_spi_key(self) -> Secret:
        """The key that hides shards in SPIs, made now if the cluster is new; it never changes.

        Raises WrongKek, Incompatible (nothing was overwritten), Unavailable.
        """
        key = self._keys.spi_key
        entry = await self._read_or_create(key)
        octets = self._keks.open(entry.value, key)
        if len(octets) != SPI_KEY_LEN:
            raise Incompatible(f"the SPI key has {len(octets)} octets: another release made it")
        return Secret(octets)

    async def _read_or_create(self, key: bytes) -> Entry:
        while (entry := await self._store.get(key)) is None:
            try:
                created = await self._store.commit(self._creation())
            except Unknown:
                continue  # the next read tells; so it does of another member that came first
            if not created.succeeded and await self._store.get(key) is None:
                raise Incompatible(
                    f"{key.decode()} is gone from the store, and the cluster is not new: restore "
                    "the store, or start this member while another runs that still has its ring"
                )
        return entry

    def _creation(self) -> Txn:
        """Ring and SPI key of a new cluster, in one step; nothing if either stands already."""
        kek = self._keks.first
        ring = encode(new_ring(self._rng, self._clock.wall_s(), self._policy))
        secrets = ((self._keys.ring, ring), (self._keys.spi_key, self._rng.bytes(SPI_KEY_LEN)))
        return Txn(
            tuple(Compare(key, Target.VERSION, 0) for key, _ in secrets),
            (
                *(Put(key, seal(kek, octets, key, self._rng)) for key, octets in secrets),
                Put(self._keys.ring_mark, _NEW),
            ),
        )

    # -- while running

    def start(self, spawn: Spawn) -> None:
        """Begin to install what others write, and to put back what got lost."""
        spawn(follow(self._store, self._keys.ring, self._changed, self._applied), "key-ring")
        spawn(self._put_back(), "lost key ring")

    async def refresh(self) -> bool:
        """One look at the store, for a key id that the ring doesn't hold. True: a newer ring was
        installed.

        Cheap to ask for: one look at a time, shared by all who wait, and none within the interval
        after the last one began; short even while the store is away.
        """
        before = self.revision
        if self._looking is not None:
            await self._looking.wait()
        elif self._clock.boot_s() - self._looked_s >= REFRESH_INTERVAL_S:
            self._looked_s = self._clock.boot_s()
            self._looking = asyncio.Event()
            try:
                async with asyncio.timeout(REFRESH_TIMEOUT_S):
                    await self._look()
            except TimeoutError:
                self._trouble(f"the store did not show its key ring in {REFRESH_TIMEOUT_S:g} s")
            except (Unavailable, WrongKek, Incompatible) as error:
                self._trouble(str(error))
            finally:
                self._looking.set()
                self._looking = None
        return self.revision > before

    async def catch_up(self) -> None:
        """Have a ring that is as new as the store's, for who must know what was revoked. Raises
        ClusterError: this member can't.
        """
        if await self._look():
            return
        mark = await self._store.get(self._keys.ring_mark)
        if mark is not None and mark.mod_revision > self.revision:
            raise ClusterError(_NEWER_LOST)

    async def _look(self) -> bool:
        """Install what stands in the store. False: nothing does."""
        entry = await self._store.get(self._keys.ring)
        if entry is not None:
            self._install(entry)
        return entry is not None

    def _changed(self, key: bytes, entry: Entry | None, _revision: int) -> None:
        if key != self._keys.ring:
            return
        self._stands = entry is not None
        if entry is None:
            return
        try:
            self._install(entry)
        except (WrongKek, Incompatible) as error:
            self._trouble(f"a new key ring can't be installed: {error}")

    def _applied(self) -> None:
        """A scan, or a whole revision, was taken in: is there still a ring?"""
        if not self._stands and not self._lost.is_set():
            self._trouble("the key ring is gone from the store: the installed one is put back")
            self._lost.set()

    async def _put_back(self) -> None:
        """Write the installed ring whenever the store has lost it and nobody was quicker."""
        key = self._keys.ring
        while True:
            await self._lost.wait()
            sealed, mark = self._sealed(self.snapshot), self._keys.ring_mark
            compares = (
                Compare(key, Target.VERSION, 0),
                Compare(mark, Target.MOD_REVISION, self.revision),
            )
            writes = (Put(key, sealed), Put(mark, _mark_of(self.ring)))
            try:
                result = await self._store.commit(Txn(compares, writes, (Get(key),)))
            except (Unavailable, Unknown):
                await asyncio.sleep(PUT_BACK_PAUSE_S)
                continue
            if not result.succeeded and result.responses[0] is None:
                self._trouble(_NEWER_LOST)
            self._lost.clear()

    def _install(self, entry: Entry) -> None:
        """Open and swap in, unless it isn't newer. Raises WrongKek, Incompatible."""
        if entry.mod_revision <= self.revision:
            return
        key = self._keys.ring
        ring = decode(self._keks.open(entry.value, key))
        self._swap_in(Snapshot(ring, entry.mod_revision, sealing_kek_id(entry.value, key)))

    def _swap_in(self, snapshot: Snapshot) -> None:
        if snapshot.revision > self.revision:
            self._installed = snapshot
            if self._hooks.on_installed is not None:
                self._hooks.on_installed(snapshot.revision)

    def _sealed(self, snapshot: Snapshot) -> bytes:
        """Under the key-encryption key that the snapshot was read with."""
        kek = self._keks.find(snapshot.kek_id)
        if kek is None:
            raise WrongKek(
                f"the key ring is sealed under the key-encryption key {snapshot.kek_id.hex()}, "
                "which this member no longer has"
            )
        return seal(kek, encode(snapshot.ring), self._keys.ring, self._rng)

    def _trouble(self, line: str) -> None:
        if self._hooks.on_trouble is not None:
            self._hooks.on_trouble(line)

    # -- changing

    async def change(
        self,
        make: Callable[[KeyRing, float], KeyRing],
        revocation: bytes = b"",
        only_if: tuple[Compare, ...] = (),
    ) -> Snapshot:
        """Write what `make` makes of the ring, expired keys dropped, and install it; made again
        from the newest ring when somebody else's change comes first. `revocation`: the watermark
        becomes that, in the same step. `only_if`: what has to hold in that step besides.

        Raises Stale if it doesn't, and nothing was written; ClusterError.
        """
        key = self._keys.ring
        for attempt in attempts(CONFLICTS_MAX):
            with attempt:  # after an unknown one `make` finds it done, and changes nothing
                if not await self._look():
                    raise ClusterError("the key ring is gone from the store: restore it first")
                before = self.snapshot
                wall_s = self._clock.wall_s()
                ring = expire(make(before.ring, wall_s), wall_s)
                if ring == before.ring:
                    return before
                sealed = self._sealed(replace(before, ring=ring))
                compare = Compare(key, Target.MOD_REVISION, before.revision)
                writes = [Put(key, sealed), Put(self._keys.ring_mark, _mark_of(ring))]
                if revocation:
                    writes.append(Put(self._keys.watermark, revocation))
                txn = Txn((compare, *only_if), tuple(writes), (Get(key),))
                result = await self._store.commit(txn)
                if result.succeeded:
                    snapshot = Snapshot(ring, result.revision, before.kek_id)
                    self._swap_in(snapshot)
                    return snapshot
                stands = result.responses[0]
                if isinstance(stands, Entry) and stands.mod_revision == before.revision:
                    raise Stale("the key ring is as it was, and something else is not")
        raise Conflict(
            f"the key ring was changed by others {CONFLICTS_MAX} times in a row: try later"
        )
