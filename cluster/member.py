"""My own place in the cluster: a name held under a lease, and the deadline that follows from it.

Rules:
- A name belongs to a data directory. The same directory takes its name back at once, with a new
  incarnation; another directory is refused (`NameTaken`) as long as the name's lease lives.
- The lease deadline is counted from when the last acknowledged keep-alive was *sent*, on a clock
  that counts suspends: whatever the store promised, it promised no longer than that. Claims stop
  at it; its end is told when a keep-alive that is under way then has had its time (ADR 0028).
- A lease that was lost while the process lives (the store was away) is asked for anew, with the
  same incarnation: nobody else has spoken with this voice, so shards that nobody claimed stay.
- A report whose answer was lost is read back, and found to be mine: it is no reason to join anew.
- A name that another incarnation holds is lost for good: this process has been replaced.
- Past the deadline nothing is claimed. Sessions go on being answered: a commit of a shard that was
  claimed meanwhile fails its compare, and every IV bears the fence, so answering is safe; giving up
  addresses and shards at the deadline, and failsafe, are policies that sit on top of `standing`.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping

import msgspec

from cluster.errors import LeaseLost, NameTaken, Unavailable, Unknown
from cluster.layout import Keys, MemberRecord
from cluster.roster import Roster, decode_member
from cluster.seams import Clock, Rng, Spawn
from cluster.standing import Standing
from cluster.store import Compare, Entry, Lease, Put, Store, Target, Txn
from cluster.wake import woken

INCARNATION_OCTETS = 16
ENTER_CALLS = 5
"""Calls to the store in one attempt to (re)join; there is no lease yet that they could outlast."""
RETRY_S = 0.2
"""The pause between two attempts to (re)join; the first one after a loss is made at once."""

_encode = msgspec.json.Encoder().encode


class MemberSettings(msgspec.Struct, frozen=True):
    """Who I am, and how my lease is kept. Raises ValueError if it couldn't be kept in time."""

    name: str
    data_dir_id: str
    """Hex, 16 octets."""
    host: str
    rpc_address: str
    ike_addresses: tuple[str, ...]
    release: str
    lease_ttl_s: float = 5.0
    keep_alive_s: float = 1.0
    """From one keep-alive to the next."""
    call_timeout_s: float = 2.0
    """The longest that one keep-alive may take."""
    drift: float = 0.01
    """The most by which two clocks may differ in speed."""
    margin_s: float = 0.5

    def __post_init__(self) -> None:
        if not self.name or "/" in self.name:
            raise ValueError(f"member name: {self.name!r} → at least one character, no '/'")
        needed_s = self.keep_alive_s + self.call_timeout_s
        if min(self.keep_alive_s, self.call_timeout_s) <= 0 or needed_s >= self.usable_s():
            raise ValueError(
                f"lease_ttl_s: {self.lease_ttl_s} → keep_alive_s + call_timeout_s = {needed_s:g} s "
                f"must stay below lease_ttl_s × (1 − drift) − margin_s = {self.usable_s():g} s"
            )

    def usable_s(self) -> float:
        """How long after a keep-alive was sent its lease may be relied on, seconds."""
        return usable_s(self.lease_ttl_s, self.drift, self.margin_s)


def usable_s(ttl_s: float, drift: float, margin_s: float) -> float:
    """`ttl_s × (1 − drift) − margin_s`."""
    return ttl_s * (1 - drift) - margin_s


class Membership:
    """Joins, stays, and leaves. `roster` is the live view of all members, this one included."""

    def __init__(
        self, store: Store, keys: Keys, clock: Clock, *, rng: Rng, spawn: Spawn, me: MemberSettings
    ) -> None:
        self._store = store
        self._clock = clock
        self._spawn = spawn
        self.me = me
        self.key = keys.member(me.name)
        self.incarnation = rng.bytes(INCARNATION_OCTETS).hex()
        """New at every start of the process, the same through every rejoin."""
        self.key_revision = 0
        """The store's revision of my key as I know to have written it last: claims compare it."""
        self.deadline_boot_s = 0.0
        self.store_ok = False
        """Whether the last call to the store was answered."""
        self.answered_boot_s = float("-inf")
        """When a call to the store was answered last."""
        self.deposed = ""
        """Why this process has lost its name for good; empty: it hasn't."""
        self.standing = Standing(clock, self._lease_holds)
        """Which named state I am in."""
        self.standing.on_changed.append(lambda _state, _why: self._tell_state())
        self.roster = Roster(store, keys, me.name, self._own_key_changed)
        self.on_state: list[Callable[[str, bool], None]] = []
        """Told (state, store_ok) when either changes."""
        self.on_deposed: list[Callable[[str], None]] = []
        self._lease: Lease | None = None
        self.started_wall_s = clock.wall_s()
        """When this process began."""
        self._ring_revision = 0
        self._written_ring_revision = 0
        self._joined = False
        self._leaving = False
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._told = ("", False)

    @property
    def members(self) -> Mapping[str, MemberRecord]:
        """The live members by name, sorted."""
        return self.roster.members

    @property
    def state(self) -> str:
        """The name of the state that `standing` is in."""
        return self.standing.state.value

    @property
    def may_claim(self) -> bool:
        """Whether shards may be claimed now; the transaction decides."""
        return not self._leaving and self._lease is not None and self.standing.agrees

    async def join(self) -> None:
        """Take the name, wait for the first view of the others, keep both from then on.

        Keeps trying while the store is away (`on_state` tells). Raises NameTaken.
        """
        while not await self._try(self._enter, ENTER_CALLS):
            self._tell_state()
            await asyncio.sleep(RETRY_S)
        self._tell_state()
        self._tasks.append(self._spawn(self.roster.run(), "roster"))
        self._tasks.append(self._spawn(self._stay(), "member lease"))
        await self.roster.synced.wait()

    def report_ring(self, revision: int) -> None:
        """Say in the member record that this ring revision is installed; written soon, and again
        after every rejoin."""
        self._ring_revision = revision
        self._wake.set()

    async def leave(self) -> None:
        """The orderly end: the lease is revoked, so the name is free and others claim at once.

        A store that doesn't answer in time is left alone: the lease runs out.
        """
        self._leaving = True
        for task in self._tasks:
            task.cancel()
            await asyncio.wait((task,))
        lease, self._lease = self._lease, None
        self.deadline_boot_s = 0.0
        if lease is not None and not self.deposed:
            await self._try(lambda: _revoke(lease))

    async def _stay(self) -> None:
        while not self._leaving and not self.deposed:
            await self._pause()
            if self.deposed:
                return
            if self._lease is None:
                await self._try(self._enter, ENTER_CALLS)
            else:
                await self._try(self._beat)
            if self._lease is not None and self._ring_revision != self._written_ring_revision:
                await self._try(self._report)
            self._tell_state()

    async def _pause(self) -> None:
        until_deadline_s = self.deadline_boot_s - self._clock.boot_s()
        pause_s = self.me.keep_alive_s if self._lease is not None else RETRY_S
        if 0 < until_deadline_s < pause_s:
            pause_s = until_deadline_s  # so that its passing is told in time
        await woken(self._wake, pause_s)

    async def _try(
        self, step: Callable[[], Coroutine[object, object, bool]], calls: int = 1
    ) -> bool:
        """Whether `step`, which makes `calls` calls, was carried out and succeeded; also notes
        whether the store answers.
        """
        try:
            async with asyncio.timeout(self.me.call_timeout_s * calls):
                done = await step()
        except (Unavailable, Unknown, TimeoutError):
            self.store_ok = False
            return False
        except LeaseLost:
            self._answered()
            self._lose()
            return False
        self._answered()
        return done

    def _answered(self) -> None:
        self.store_ok = True
        self.answered_boot_s = self._clock.boot_s()

    async def _enter(self) -> bool:
        """Put my record under a fresh lease if the name is free or mine; False: look again."""
        held = await self._store.get(self.key)
        if held is not None and not self._is_mine(held):
            return False
        sent_boot_s = self._clock.boot_s()
        lease = await self._store.lease(self.me.lease_ttl_s)
        if not await self._put(lease, held.mod_revision if held is not None else 0):
            await lease.revoke()
            return False
        self._lease = lease
        self._joined = True
        self._extend(sent_boot_s, min(lease.ttl_s, self.me.lease_ttl_s))
        if held is not None and held.lease_id not in (0, lease.lease_id):
            # my last life's lease holds nothing any more; a copy of me learns of its end by it
            await (await self._store.lease(self.me.lease_ttl_s, held.lease_id)).revoke()
        return True

    def _is_mine(self, held: Entry) -> bool:
        """Whether I may overwrite `held`. Deposes me if I was replaced. Raises NameTaken."""
        record = decode_member(held.value)
        if record is not None and record.incarnation == self.incarnation:
            return True
        if self._joined:
            self._depose(record)
            return False
        if record is None:
            raise NameTaken(
                f"member name {self.me.name!r} is held by a release that this one can't read: "
                "update this member, or give it another name"
            )
        if record.data_dir_id != self.me.data_dir_id:
            raise NameTaken(
                f"member name {self.me.name!r} is taken: {record.host} ({record.rpc_address}) runs "
                "under it from another data directory; stop that member, or set another name here"
            )
        return True

    async def _put(self, lease: Lease, seen_revision: int) -> bool:
        ring_revision = self._ring_revision
        record = MemberRecord(
            name=self.me.name,
            incarnation=self.incarnation,
            data_dir_id=self.me.data_dir_id,
            host=self.me.host,
            rpc_address=self.me.rpc_address,
            ike_addresses=self.me.ike_addresses,
            ring_revision=ring_revision,
            started_wall_s=self.started_wall_s,
            release=self.me.release,
        )
        result = await self._store.commit(
            Txn(
                compares=(Compare(self.key, Target.MOD_REVISION, seen_revision),),
                success=(Put(self.key, _encode(record), lease.lease_id),),
            )
        )
        if result.succeeded:
            self.key_revision = result.revision
            self._written_ring_revision = ring_revision
        return result.succeeded

    async def _beat(self) -> bool:
        lease = self._lease
        if lease is None:
            return False
        sent_boot_s = self._clock.boot_s()
        ttl_s = await lease.keep_alive()
        if self._lease is lease:  # else the watch has told meanwhile that it is gone
            self._extend(sent_boot_s, ttl_s)
        return True

    async def _report(self) -> bool:
        lease = self._lease
        if lease is None:
            return False
        seen_revision = self.key_revision
        if await self._put(lease, seen_revision):
            return True
        held = await self._store.get(self.key)
        if held is None or held.mod_revision <= seen_revision or not self._take_over(held):
            self._lose()  # somebody else has written my key, or it is gone
        return False

    def _take_over(self, entry: Entry) -> bool:
        """Whether I wrote `entry` under the lease that I keep, perhaps without having heard so; my
        claims compare it from now on."""
        record = decode_member(entry.value)
        mine = record is not None and record.incarnation == self.incarnation
        if record is None or not mine or self._lease is None:
            return False
        if entry.lease_id != self._lease.lease_id:
            return False
        if entry.mod_revision > self.key_revision:
            self.key_revision = entry.mod_revision
            self._written_ring_revision = record.ring_revision
        return True

    def _extend(self, sent_boot_s: float, ttl_s: float) -> None:
        until_s = sent_boot_s + usable_s(ttl_s, self.me.drift, self.me.margin_s)
        self.deadline_boot_s = max(self.deadline_boot_s, until_s)

    def _lose(self) -> None:
        self._lease = None
        self.deadline_boot_s = 0.0
        self._wake.set()

    def _own_key_changed(self, entry: Entry | None, revision: int) -> None:
        if revision <= self.key_revision or self._leaving or self.deposed:
            return  # older than what I wrote myself
        if entry is None:
            self._lose()
            return
        if self._take_over(entry):
            return  # a report whose answer was lost
        record = decode_member(entry.value)
        if record is None or record.incarnation != self.incarnation:
            self._depose(record)

    def _depose(self, record: MemberRecord | None) -> None:
        if self.deposed:
            return
        where = f"{record.host} ({record.rpc_address})" if record is not None else "a later release"
        self.deposed = (
            f"member name {self.me.name!r} was taken over by {where}: "
            "the data directory was copied or this process was replaced; it stops"
        )
        self._lose()
        self._tell_state()
        for listener in self.on_deposed:
            listener(self.deposed)

    def _lease_holds(self) -> bool:
        return not self.deposed and self._clock.boot_s() < self.deadline_boot_s

    def _tell_state(self) -> None:
        self.standing.look()
        now = (self.state, self.store_ok)
        if now != self._told:
            self._told = now
            for listener in self.on_state:
                listener(*now)


async def _revoke(lease: Lease) -> bool:
    await lease.revoke()
    return True
