"""Rotates and revokes the ring's keys for the whole cluster, step by step.

Rules: nobody seals with a key that a live member hasn't installed, and one that lives without the
store is gone from there (`apart`): announce, wait for every member's report, activate, and when all
have installed that too, retire. Only an operator's word (`force`) does without the laggards. Each
step is one change of the ring by compare-and-swap, so any member may take it, and whoever finds it
done goes on from there. A step that waited for reports compares the roster by which they were
counted: however soon it follows the last look, a member may have come back with an older ring.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping

import msgspec

from cluster.errors import ClusterError, Conflict, Stale, Unavailable, Unknown
from cluster.keyring import (
    KeyRing,
    RingKey,
    RingPolicy,
    activate,
    announce,
    cancel,
    find_ticket_key,
    retire,
    revoke,
    shown,
)
from cluster.layout import Keys
from cluster.ring_keeper import RingKeeper, Snapshot
from cluster.seams import Clock, Rng
from cluster.store import Compare, Store, Target

POLL_S = 0.2
"""How often a rotation asks who has installed the ring."""
FORCED_WAIT_S = 2.0
"""How long a forced step still waits: whoever is well has installed the ring long before."""

Progress = Callable[[str], None]


def quietly(_line: str) -> None:
    """For who doesn't want to hear of progress."""


class Rotation(msgspec.Struct, frozen=True):
    """What a rotation did."""

    key_id: bytes
    """The ticket key that seals now."""
    revision: int
    """The ring's revision since which it does."""
    waiting_for: tuple[str, ...]
    """Members that had not reported it when time was up: the former keys then live on until the end
    of their own window, and nothing is refused."""


class Reports(msgspec.Struct, frozen=True):
    """Which live members have installed a revision of the ring."""

    done: tuple[str, ...]
    lag: tuple[str, ...]
    as_read: tuple[Compare, ...] = ()
    """Holds as long as nobody has registered, come back or reported since."""

    def __str__(self) -> str:
        have = f" (installed by {', '.join(self.done)})" if self.done else ""
        return f"waiting for {', '.join(self.lag)}{have}"


class Rotations:
    """What can be done to the cluster's keys, from any member."""

    def __init__(
        self,
        *,
        keeper: RingKeeper,
        store: Store,
        keys: Keys,
        clock: Clock,
        rng: Rng,
        policy: RingPolicy,
        live_revisions: Callable[[], Mapping[str, int]],
    ) -> None:
        """`live_revisions`: the ring revision that each member says it has installed; who counts is
        read from the store."""
        self._keeper = keeper
        self._store = store
        self._keys = keys
        self._clock = clock
        self._rng = rng
        self._policy = policy
        self._live_revisions = live_revisions
        self.apart: Callable[[], Iterable[str]] = tuple
        """Members that may live without the store: gone from it, they still open and seal. Set when
        the parts are joined."""

    async def rotate(
        self, timeout_s: float, progress: Progress = quietly, *, force: bool = False
    ) -> Rotation:
        """Replace the ticket key, and the other keys with it, refusing no valid ticket.

        `progress` gets a line per step and per member's report. `force`: don't wait for laggards; a
        ticket of the new key may then be refused by one of them. Raises ClusterError, saying what
        was done and what wasn't; calling again takes it up where it stopped.
        """
        announced = await self.announce(lambda _ring, _wall_s: True)
        if announced is None:
            raise Conflict("somebody else rotated at the same time: nothing was done here")
        return await self.complete(announced, timeout_s, progress, force=force)

    async def announce(self, due: Callable[[KeyRing, float], bool]) -> Snapshot | None:
        """Announce the next keys if `due(newest ring, now)` says so; the ring with them, or with
        those that were announced already. None if it isn't due. Raises ClusterError.
        """
        wanted = False
        mine: list[bytes] = []

        def make(ring: KeyRing, wall_s: float) -> KeyRing:
            nonlocal wanted
            wanted = due(ring, wall_s)
            made = announce(ring, self._rng, wall_s, self._policy) if wanted else ring
            if made.tickets.announced is not None and made is not ring:
                mine.append(made.tickets.announced.key_id)
            return made

        snapshot = await self._keeper.change(make)
        key = snapshot.ring.tickets.announced
        # mine, but not due any more: it was written by a commit whose answer got lost
        return snapshot if key is not None and (wanted or key.key_id in mine) else None

    async def complete(
        self,
        announced: Snapshot,
        timeout_s: float,
        progress: Progress = quietly,
        *,
        force: bool = False,
    ) -> Rotation:
        """Bring the announced keys into use: see `rotate`."""
        key = announced.ring.tickets.announced
        if key is None:
            raise Conflict("nothing is announced")
        name = shown(key.key_id)
        progress(f"announced: key {name}, ring revision {announced.revision}")
        deadline_s = self._clock.boot_s() + timeout_s
        everywhere = " and installed everywhere"

        def activated(ring: KeyRing, wall_s: float) -> KeyRing:
            return self._activated(ring, key, wall_s)

        try:
            active, reports = await self._once_installed(
                announced.revision, deadline_s, progress, activated, key, force=force
            )
            if active is None and not force:
                raise ClusterError(
                    f"key {name} is announced but not activated: waited {timeout_s:g} s for "
                    f"{', '.join(reports.lag)} to install ring revision {announced.revision}; the "
                    "former key goes on, and rotating again goes on from here"
                )
            if active is None:
                progress(f"forced: not waiting for {', '.join(reports.lag)}")
                everywhere = ""
                active = await self._keeper.change(activated)
        except Unknown as error:
            raise Unknown(f"key {name} is announced, and perhaps activated: {error}") from None
        except Unavailable as error:
            raise Unavailable(
                f"key {name} is announced{everywhere}, but not activated: {error}"
            ) from None
        by = f", installed before by {', '.join(reports.done)}" if reports.done else ""
        progress(f"activated: key {name}, ring revision {active.revision}{by}")
        retired, reports = await self._once_installed(
            active.revision,
            deadline_s,
            progress,
            lambda ring, wall_s: retire(ring, wall_s, self._policy),
            force=force,
        )
        if retired is not None:
            progress(f"retired: the former keys, ring revision {retired.revision}")
        return Rotation(key.key_id, active.revision, reports.lag)

    async def _once_installed(
        self,
        revision: int,
        deadline_s: float,
        progress: Progress,
        make: Callable[[KeyRing, float], KeyRing],
        key: RingKey | None = None,
        *,
        force: bool = False,
    ) -> tuple[Snapshot | None, Reports]:
        """Change the ring by `make` once every live member has installed `revision`, with nobody
        come in between. None: some lag, and nothing was changed. Raises as `reports` and
        `RingKeeper.change`, and never Stale.
        """
        while True:
            left_s = max(0.0, deadline_s - self._clock.boot_s())
            reports = await self.reports(revision, left_s, progress, key, force=force)
            if reports.lag:
                return None, reports
            try:
                return await self._keeper.change(make, only_if=reports.as_read), reports
            except Stale:
                if self._clock.boot_s() >= deadline_s:
                    return None, Reports(reports.done, ("who has come just now",))
            await asyncio.sleep(POLL_S)

    async def cancel(self) -> bytes:
        """Take back what is announced and not yet activated; the id of the ticket key that was. The
        ring is then as before. Raises Conflict, if there is nothing to take back or nothing else to
        seal with; ClusterError.
        """
        taken: list[bytes] = []

        def make(ring: KeyRing, _wall_s: float) -> KeyRing:
            key = ring.tickets.announced
            if key is None and taken and taken[0] not in ring.tickets.index:
                return ring  # done by a commit whose answer got lost
            if key is None:
                raise Conflict("no rotation is under way: there is nothing to cancel")
            if ring.tickets.current is None:
                raise Conflict(
                    f"the sealing key was revoked and key {shown(key.key_id)} is to replace it: "
                    "cancelling would leave none"
                )
            taken[:] = [key.key_id]
            return cancel(ring)

        await self._keeper.change(make)
        return taken[0]

    async def revoke(self, prefix: str, timeout_s: float, progress: Progress = quietly) -> None:
        """Make the one ticket key whose id begins with `prefix` (hex) useless, whatever its state;
        if it was the sealing one, bring another into use.

        Raises Conflict if there is no such key; ClusterError, saying what was done and what wasn't;
        calling again goes on from there.
        """
        found: list[bytes] = []

        def make(ring: KeyRing, wall_s: float) -> KeyRing:
            if not found:
                found.append(find_ticket_key(ring, prefix))
            ring = revoke(ring, found[0], wall_s, self._policy)
            tickets = ring.tickets
            if tickets.current is None and tickets.announced is None:
                ring = announce(ring, self._rng, wall_s, self._policy)
            return ring

        # under the watermark, as every revocation: nobody who hasn't seen it commits anything more
        snapshot = await self._keeper.change(make, b"key " + prefix.encode())
        name = shown(found[0])
        progress(f"revoked: key {name}, ring revision {snapshot.revision}")
        reports = await self.reports(snapshot.revision, timeout_s, progress)
        sealing = snapshot.ring.tickets.current is not None
        if reports.lag:
            until = "" if sealing else "; no ticket is issued until the next key is activated"
            raise ClusterError(
                f"key {name} is revoked, but not yet at {', '.join(reports.lag)}: it opens tickets "
                f"there until ring revision {snapshot.revision} is installed{until}"
            )
        progress(f"useless: key {name} at {', '.join(reports.done)}")
        if not sealing:
            await self.complete(snapshot, timeout_s, progress)

    def _activated(self, ring: KeyRing, key: RingKey, wall_s: float) -> KeyRing:
        sealing = ring.tickets.current
        if sealing is not None and sealing.key_id == key.key_id:
            return ring  # by another rotation that took up the same announcement
        return activate(ring, key.key_id, wall_s, self._policy)

    async def reports(
        self,
        revision: int,
        timeout_s: float,
        progress: Progress = quietly,
        key: RingKey | None = None,
        *,
        force: bool = False,
    ) -> Reports:
        """Wait until every live member has installed `revision`; who had and who hadn't then or
        when time was up.

        Who lives is read from the store, newly each time. A process that begins and registers after
        that read reads the ring after it too; one that comes back does not, and whoever acts on
        the reports compares `as_read`. Raises Conflict if `key` is taken from the ring meanwhile.
        """
        wait_s = min(timeout_s, FORCED_WAIT_S) if force else timeout_s
        deadline_s = self._clock.boot_s() + wait_s
        told = ""
        while True:
            found = await self._look(revision)
            if key is not None and key.key_id not in self._keeper.ring.tickets.index:
                raise Conflict(f"key {shown(key.key_id)} was cancelled or revoked meanwhile")
            if not found.lag or self._clock.boot_s() >= deadline_s:
                return found
            if str(found) != told:
                told = str(found)
                progress(told)
            await asyncio.sleep(POLL_S)

    async def _look(self, revision: int) -> Reports:
        try:
            scan = await self._store.scan(self._keys.members)
        except ClusterError:
            return Reports((), ("the store to answer and the members",))
        names = self._keys.member_names(scan.entries)
        if not names:
            return Reports((), ("any member to register and",))
        # asked after the scan: who has ended it by now is gone, or back, which `as_read` tells
        names += [name for name in sorted(self.apart()) if name not in names]
        reported = self._live_revisions()
        lag = tuple(name for name in names if reported.get(name, 0) < revision)
        as_read = Compare(self._keys.members, Target.NONE_AFTER, scan.revision)
        return Reports(tuple(name for name in names if name not in lag), lag, (as_read,))
