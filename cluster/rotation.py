"""Keeps this member's key ring the one that stands in the store, and rotates it for everybody.

Rules: the installed ring is an immutable snapshot, swapped in one step; a ring that can't be read
leaves the installed one in place, and one that is gone from the store is put back by whoever runs.
Ring and SPI key are made together, once: where one of them is missing, a member that starts makes
no new one, for tickets and records depend on the lost one. Nobody seals with a key
that a live member hasn't installed: announce, wait for every member's report, activate, and when
all have installed that too, retire. Every write compares the revision that it was made from. Traps:
requirements i.5.
"""

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from cluster.errors import ClusterError, Conflict, Incompatible, Unavailable, Unknown, WrongKek
from cluster.follow import follow
from cluster.keyring import (
    KeyRing,
    RingKey,
    RingPolicy,
    activate,
    announce,
    decode,
    encode,
    expire,
    new_ring,
    retire,
)
from cluster.layout import Keys
from cluster.seams import Clock, Rng, Spawn
from cluster.shards import SPI_KEY_LEN
from cluster.store import Compare, Entry, Put, Store, Target, Txn
from cluster.vault import Kek, open_sealed, seal
from proto.secret import Secret

REFRESH_INTERVAL_S = 1.0
"""At most one look at the store in this time for a key id that isn't in the ring."""
POLL_S = 0.2
"""How often a rotation asks who has installed the ring."""
REFRESH_TIMEOUT_S = 1.0
"""The longest such a look may take: whoever waits for it has a refusal coming."""
PUT_BACK_PAUSE_S = 0.5
"""The pause before a lost ring is put back again, while the store is away."""
CONFLICTS_MAX = 16
"""How often a change is made again because somebody else's came first."""


class Snapshot(msgspec.Struct, frozen=True):
    """A ring and the store's revision of it."""

    ring: KeyRing
    revision: int


class Rotation(msgspec.Struct, frozen=True):
    """What a rotation did."""

    key_id: bytes
    """The ticket key that seals now."""
    revision: int
    """The ring's revision since which it does."""
    waiting_for: tuple[str, ...]
    """Members that had not reported it when time was up: the former keys then live on until the end
    of their own window, and nothing is refused."""


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
        kek: Kek,
        clock: Clock,
        rng: Rng,
        policy: RingPolicy,
        hooks: RingHooks | None = None,
    ) -> None:
        self._store = store
        self._keys = keys
        self._kek = kek
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
        octets = open_sealed(self._kek, entry.value, key)
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
        ring = encode(new_ring(self._rng, self._clock.wall_s(), self._policy))
        secrets = ((self._keys.ring, ring), (self._keys.spi_key, self._rng.bytes(SPI_KEY_LEN)))
        return Txn(
            tuple(Compare(key, Target.VERSION, 0) for key, _ in secrets),
            tuple(Put(key, seal(self._kek, octets, key, self._rng)) for key, octets in secrets),
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
            sealed = seal(self._kek, encode(self.ring), key, self._rng)
            absent = Compare(key, Target.VERSION, 0)
            try:
                await self._store.commit(Txn((absent,), (Put(key, sealed),)))
            except (Unavailable, Unknown):
                await asyncio.sleep(PUT_BACK_PAUSE_S)
                continue
            self._lost.clear()

    def _install(self, entry: Entry) -> None:
        """Open and swap in, unless it isn't newer. Raises WrongKek, Incompatible."""
        if entry.mod_revision <= self.revision:
            return
        ring = decode(open_sealed(self._kek, entry.value, self._keys.ring))
        self._installed = Snapshot(ring, entry.mod_revision)
        if self._hooks.on_installed is not None:
            self._hooks.on_installed(entry.mod_revision)

    def _trouble(self, line: str) -> None:
        if self._hooks.on_trouble is not None:
            self._hooks.on_trouble(line)

    # -- rotating

    async def rotate(
        self,
        live_revisions: Callable[[], Mapping[str, int]],
        timeout_s: float,
        progress: Callable[[str], None] = lambda _line: None,
    ) -> Rotation:
        """Replace the ticket key, and the other keys with it, refusing no valid ticket.

        `live_revisions`: the ring revision that each member says it has installed; who counts is
        read from the store. `progress` gets a line per step. Raises ClusterError, saying what was
        done and what wasn't; calling again takes it up where it stopped.
        """
        deadline_s = self._clock.boot_s() + timeout_s
        announced = await self._change(
            lambda ring, wall_s: announce(ring, self._rng, wall_s, self._policy)
        )
        key = announced.ring.tickets.announced
        if key is None:
            raise Conflict("somebody else rotated at the same time: nothing was done here")
        name = key.key_id.hex()
        progress(f"announced: key {name}, ring revision {announced.revision}")
        lag = await self._wait(announced.revision, live_revisions, deadline_s, progress)
        if lag:
            raise ClusterError(
                f"key {name} is announced but not activated: waited {timeout_s:g} s for "
                f"{', '.join(lag)} to install ring revision {announced.revision}; the former key "
                "goes on, and rotating again goes on from here"
            )
        try:
            active = await self._change(lambda ring, wall_s: self._activated(ring, key, wall_s))
        except Unavailable as error:
            raise Unavailable(
                f"key {name} is announced and installed everywhere, but not activated: {error}"
            ) from None
        progress(f"activated: key {name}, ring revision {active.revision}")
        lag = await self._wait(active.revision, live_revisions, deadline_s, progress)
        if not lag:
            retired = await self._change(lambda ring, wall_s: retire(ring, wall_s, self._policy))
            progress(f"retired: the former keys, ring revision {retired.revision}")
        return Rotation(key.key_id, active.revision, lag)

    def _activated(self, ring: KeyRing, key: RingKey, wall_s: float) -> KeyRing:
        sealing = ring.tickets.current
        if sealing is not None and sealing.key_id == key.key_id:
            return ring  # by another rotation that took up the same announcement
        return activate(ring, key.key_id, wall_s, self._policy)

    async def _wait(
        self,
        revision: int,
        live_revisions: Callable[[], Mapping[str, int]],
        deadline_s: float,
        progress: Callable[[str], None],
    ) -> tuple[str, ...]:
        """Until every live member has installed `revision`; who hadn't when time was up.

        Who lives is read from the store, newly each time: whoever registers after that read, reads
        the ring after it too.
        """
        told: tuple[str, ...] = ()
        while True:
            try:
                scan = await self._store.scan(self._keys.members)
                names = [entry.key[len(self._keys.members) :].decode() for entry in scan.entries]
                reports = live_revisions()
                lag = tuple(name for name in names if reports.get(name, 0) < revision)
                if not names:
                    lag = ("any member to register and",)
            except Unavailable:
                lag = ("the store to answer and the members",)
            if not lag or self._clock.boot_s() >= deadline_s:
                return lag
            if lag != told:
                progress(f"waiting for {', '.join(lag)}")
                told = lag
            await asyncio.sleep(POLL_S)

    async def _change(self, make: Callable[[KeyRing, float], KeyRing]) -> Snapshot:
        """Write what `make` makes of the ring, expired keys dropped, and install it; made again
        from the newest ring when somebody else's change comes first. Raises ClusterError.
        """
        key = self._keys.ring
        for _ in range(CONFLICTS_MAX):
            if not await self._look():
                raise ClusterError("the key ring is gone from the store: restore it first")
            before = self.snapshot
            wall_s = self._clock.wall_s()
            ring = expire(make(before.ring, wall_s), wall_s)
            if ring == before.ring:
                return before
            sealed = seal(self._kek, encode(ring), key, self._rng)
            compare = Compare(key, Target.MOD_REVISION, before.revision)
            try:
                result = await self._store.commit(Txn((compare,), (Put(key, sealed),)))
            except Unknown:
                continue  # the next look tells: `make` then finds it done, and changes nothing
            if result.succeeded:
                self._installed_own(ring, result.revision)
                return Snapshot(ring, result.revision)
        raise Conflict(
            f"the key ring was changed by others {CONFLICTS_MAX} times in a row: try later"
        )

    def _installed_own(self, ring: KeyRing, revision: int) -> None:
        if revision > self.revision:
            self._installed = Snapshot(ring, revision)
            if self._hooks.on_installed is not None:
                self._hooks.on_installed(revision)
