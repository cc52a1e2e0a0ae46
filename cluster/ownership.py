"""Who owns which shard, and the loop that claims what nobody owns and hands over what moved.

Rules:
- Only the store's word lets a claim through: its transaction compares the shard, the former owner's
  member key (gone, or another incarnation) and this member's own key. Suspicion decides at most who
  tries.
- What this member owns is read from the shard keys alone: a claim whose answer was lost is found.
- Nothing is claimed past the lease deadline. Sessions in shards already owned go on being answered:
  a commit compares the shard's revision and every IV bears the fence, so a deposed owner changes
  nothing and repeats nothing. A rejoin with the same incarnation keeps shards and fences.
- A member that gives its shards up without the store's word (`surrender`) has given them up for
  good: should the store still name it when it is back, it says so there first, and claims them
  like anybody else, under a higher fence. What was pledged to another isn't claimed from it.
- A shard that another live member should own takes no new SPIs, and goes to that one in a single
  transaction as soon as nothing is unfinished in it, sessions and all: a few shards a round. Its
  datagrams aren't answered meanwhile; if it doesn't go, it is open again. A member that has no
  other shards goes on using those: being served comes before balance.
- A member that ends in order gains nothing more. What others still hand to it, who don't know yet,
  it gives up unread, or leaves to the end of its lease.
- Shard keys hang on no lease: a store that forgot its leases has not forgotten the fences.
"""

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from cluster.claims import (
    CLAIMS_PER_TXN,
    NEVER,
    Held,
    Preference,
    Step,
    claim,
    decode_shard,
    give_up,
    hand_over,
    transaction,
    vacancy,
)
from cluster.errors import Incompatible, Unavailable, Unknown
from cluster.follow import follow
from cluster.heartbeat import Heartbeats
from cluster.layout import Keys, ShardRecord
from cluster.member import Membership
from cluster.seams import Clock, Rng, Spawn
from cluster.store import Compare, Entry, Store, Target, TxnResult
from cluster.wake import woken


class OwnershipSettings(msgspec.Struct, frozen=True):
    """How eagerly shards are claimed and moved."""

    round_s: float = 0.25
    """The longest pause between two looks at what could be claimed or given up."""
    listen_s: float = 2.0
    """How long an owner that is gone from the store must have been silent: a member that starts
    anew, or wakes, hears by then of those that go on without the store, and claims nothing of
    theirs."""
    claim_grace_s: float = 5.0
    """How long an owner that is gone from the store but still heard may take to come back."""
    closed_s: float = 0.5
    """How long a shard takes no new SPIs before it may be handed over: what was begun shows by then
    in `unfinished_in`, even if that is counted only now and then; and views of who is there that
    last shorter move nothing."""
    handed_over_per_round: int = 16
    """Shards handed over to their better owner in one round."""
    call_timeout_s: float = 2.0
    """The longest that one transaction may take; its outcome is then read from the shard keys."""


class Owned(msgspec.Struct, frozen=True, gc=False):
    """What owning a shard means: the fence for IVs and records, the revision for compares."""

    fence: int
    revision: int


class Ownership:
    """Follows `shard/`, claims, hands over, releases. `start()` after the member has joined."""

    _rests_at: tuple[int, int, int] | None = None
    """What the last plan was made from, by its versions, if it found nobody's shard and none of
    mine that should be another's: it would find the same, and there may be thousands of shards."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        clock: Clock,
        *,
        spawn: Spawn,
        membership: Membership,
        heartbeats: Heartbeats,
        shards: int,
        unfinished_in: Callable[[int], int],
        settings: OwnershipSettings,
    ) -> None:
        """`unfinished_in(shard)` counts what a change of owner would break off: half-open sessions,
        writes under way, sessions not read yet. A shard is handed over when it says 0.
        """
        self._store, self._keys = store, keys
        self._clock, self._spawn = clock, spawn
        self._membership, self._roster = membership, membership.roster
        self._heartbeats = heartbeats
        self._me = membership.me.name
        self._unfinished_in = unfinished_in
        self._settings = settings
        self.shards = shards
        self._held: list[Held] = [NEVER] * shards
        self._owned: dict[int, Owned] = {}
        self._closed: dict[int, float] = {}
        """Shards that should be another's, and since when they take no new SPIs."""
        self.leaving: dict[int, None] = {}
        """Shards whose handing over is under way: nothing that arrives for them is taken."""
        self.wanted: dict[int, str] = {}
        """Shards of mine that an operator wants at another member; see `cluster.moves`."""
        self.handed_over = 0
        """Shards that this member has handed to others."""
        self._absent: dict[str, str] = {}
        self._absent_at, self._changes = (-1, -1), 0
        self._surrendered: dict[int, None] = {}
        """Shards that the store may say are mine, and that I gave up without it."""
        self.may_claim_from: Callable[[str], bool] = lambda _owner: True
        """Whether nothing was promised to that former owner; set when the parts are joined."""
        self._gone_boot_s: dict[str, float] = {}
        self._refused: dict[int, None] = {}
        self._preference = Preference(())
        self._preferred_at = (-1, -1)
        self._open: tuple[int, ...] | None = None
        self._stopping = self._deposed = False
        self._tasks: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self.synced = asyncio.Event()
        """Set once the first scan of the shards was taken in."""
        self.on_gained: list[Callable[[int, int], None]] = []
        """Told (shard, fence)."""
        self.on_lost: list[Callable[[int], None]] = []
        self.on_fence: list[Callable[[int, int], None]] = []
        """Told (shard, fence) when any shard's fence rises, after `on_gained` and `on_lost`."""
        self.on_refused: list[Callable[[Incompatible], None]] = []
        """Told once per shard that can't be claimed any more."""
        self._roster.on_joined.append(self._joined)
        self._roster.on_gone.append(self._gone)
        membership.on_deposed.append(self._drop_all)

    @property
    def owned(self) -> Mapping[int, Owned]:
        """The shards of this member."""
        return MappingProxyType(self._owned)

    def fence_of(self, shard: int) -> int | None:
        """The fence under which this member owns `shard`; None if it doesn't."""
        owned = self._owned.get(shard)
        return owned.fence if owned is not None else None

    def revision_of(self, shard: int) -> int | None:
        """The shard key's revision, for compares; None if this member doesn't own the shard."""
        owned = self._owned.get(shard)
        return owned.revision if owned is not None else None

    def owner_of(self, shard: int) -> str | None:
        """The member that owns `shard`, gone or not; None if nobody does, or out of range."""
        if not 0 <= shard < self.shards:
            return None
        return self._held[shard].record.owner or None

    def known_fence(self, shard: int) -> int:
        """The newest fence of `shard`, whoever owns it; 0 if nobody ever did."""
        return self._held[shard].record.fence if 0 <= shard < self.shards else 0

    def records(self) -> list[ShardRecord]:
        """What the store says of every shard, in order."""
        return [held.record for held in self._held]

    def counts(self) -> dict[str, int]:
        """Shards per owner, sorted by name; those without an owner under the empty name."""
        found: dict[str, int] = {}
        for held in self._held:
            found[held.record.owner] = found.get(held.record.owner, 0) + 1
        return dict(sorted(found.items()))

    def absent(self) -> dict[str, str]:
        """Where the owners are that are gone from the store: they may live without it."""
        at, members = (self._roster.version, self._changes), self._roster.members
        if at != self._absent_at:
            self._absent_at = at
            self._absent = {
                held.record.owner: held.record.at
                for held in self._held
                if held.record.at and held.record.owner not in (*members, self._me)
            }
        return self._absent

    def listens(self) -> bool:
        """Whether an owner that is gone from the store, and wasn't heard since we listen, may yet
        be: it may live without the store, and what it does is not to be crossed."""
        absent = self.absent()
        if not absent:
            return False
        beats, patience_s = self._heartbeats, self._settings.listen_s
        return any(not beats.heard(name) and beats.silent_s(name) < patience_s for name in absent)

    def should_leave(self, shard: int) -> bool:
        """Whether another live member should own this shard of mine: it takes no new SPIs."""
        if self._stopping or shard in self.leaving:
            return True
        preference = self._prefer()
        # without me among the live ones (a rejoin under way) the ranks mean nothing
        return self._me in preference.members and self._first(shard) != self._me

    def choose_shard(self, rng: Rng) -> int | None:
        """A shard for a new SA, each equally likely; None: this member isn't ready, stay silent."""
        self._prefer()
        if self._open is None:
            self._open = tuple(s for s in sorted(self._owned) if not self.should_leave(s))
        open_shards = self._open or self._last_resort()
        if not open_shards:
            return None
        shard = open_shards[int.from_bytes(rng.bytes(4), "big") % len(open_shards)]
        self.begins_in(shard)
        return shard

    def begins_in(self, shard: int) -> bool:
        """What begins now in that shard of mine shows in `unfinished_in` before the shard is given
        up; False: nothing may, the shard is on its way, or may be another's by now: this process
        stood still for longer than its lease and has yet to find out.
        """
        if shard in self.leaving or self._membership.standing.lapsed:
            return False
        self._closed.pop(shard, None)
        return True

    def _last_resort(self) -> tuple[int, ...]:
        """Every shard of mine should be another's, who may wait for years until one is empty."""
        if self._stopping:
            return ()
        return tuple(shard for shard in sorted(self._owned) if shard not in self.leaving)

    async def start(self) -> None:
        """Take in who owns what, then claim from now on."""
        following = follow(self._store, self._keys.shards, self._changed, self.synced.set)
        self._tasks.append(self._spawn(following, "shards"))
        await self.synced.wait()
        self._tasks.append(self._spawn(self._run(), "shard claims"))

    def close(self) -> None:
        """The orderly end begins: nothing that arrives for a shard of mine is taken any more."""
        self._stopping = True
        self._open = None
        self.leaving.update(dict.fromkeys(self._owned))

    async def release_all(self, *, keep: bool = False) -> int:
        """The orderly end: claim no more, hand every shard to who is to have it then, or give it up
        if nobody is there; how many went. Also of one that never got so far as to `start`.

        `keep`: they stay this process', as if it had died. A store that doesn't answer in time
        leaves the rest to the end of the lease.
        """
        self.close()
        if len(self._tasks) > 1:
            task = self._tasks.pop()
            task.cancel()
            await asyncio.wait((task,))
        if keep:
            return 0
        before = len(self._owned)
        self._prefer()
        others = Preference(tuple(n for n in self._preference.members if n != self._me))
        steps = [self._to_heir(shard, others.first(shard)) for shard in sorted(self._owned)]
        await self._carry_out([step for step in steps if step is not None])
        mine = sorted({*self._owned, *self._surrendered})  # nobody there, or gone meanwhile
        await self._carry_out([give_up(s, self._held[s]) for s in mine])
        return before - len(self._owned)

    def surrender(self) -> int:
        """Give up every shard here and now, without the store; how many there were."""
        lost = sorted(self._owned)
        self._surrendered.update(dict.fromkeys(lost))
        self._lose_all(lost)
        return len(lost)

    async def _run(self) -> None:
        while not self._deposed:
            if self._membership.may_claim and not (self._stopping or self._at_rest()):
                await self._carry_out([give_up(s, self._held[s]) for s in self._surrendered])
                self._rests_at = self._seen_at()
                await self._carry_out(self._plan_claims())
                await self._carry_out(self._plan_handing_over())
            await woken(self._wake, self._settings.round_s)

    def _seen_at(self) -> tuple[int, int, int]:
        """The versions of what a plan is made from."""
        return self._changes, self._roster.version, self._heartbeats.version

    def _at_rest(self) -> bool:
        """Whether time alone changes nothing."""
        return self._rests_at == self._seen_at() and not (self._surrendered or self.wanted)

    def _prefer(self) -> Preference:
        """Who should own what, among the live and unsuspected: none is asked to hand over to, or
        waited for, that doesn't answer. Two members of different opinion both try; one wins.
        """
        at = (self._roster.version, self._heartbeats.version)
        if at != self._preferred_at:
            suspected = self._heartbeats.suspected
            members = tuple(name for name in self._roster.members if name not in suspected)
            self._preferred_at = at
            self._open = None
            if members != self._preference.members:
                self._preference = Preference(members)
        return self._preference

    def _first(self, shard: int) -> str:
        """Who should own a shard: where an operator wants it, else the first by rank."""
        preference = self._prefer()
        home = self.wanted.get(shard) or self._held[shard].record.home
        return home if home in preference.members else preference.first(shard)

    def _plan_claims(self) -> list[Step]:
        members = self._roster.members
        steps = []
        for shard in range(self.shards):
            held = self._held[shard]
            vacant, owner_key = vacancy(self._keys, held, members, self._roster.revision_of)
            if vacant:
                self._rests_at = None
            if not vacant or self._first(shard) != self._me:
                continue
            if held.record.owner and not self.may_claim_from(held.record.owner):
                continue
            if self._may_come_back(held.record):
                continue
            try:
                step = claim(
                    shard, held, owner_key, self._me, self._membership.incarnation,
                    self._membership.me.rpc_address,
                )  # fmt: skip
            except Incompatible as error:
                self._refuse(shard, error)
                continue
            steps.append(step)
        return steps

    def _may_come_back(self, record: ShardRecord) -> bool:
        """Whether the owner is gone from the store but alive, or could be, and hasn't had its time
        yet."""
        beats, owner = self._heartbeats, record.owner
        if not owner:
            return False
        if not beats.hears(owner, record.incarnation):
            present = owner in self._roster.members  # in another life: the former one is over
            return not present and beats.silent_s(owner) < self._settings.listen_s
        now_s = self._clock.boot_s()
        gone_s = self._gone_boot_s.setdefault(record.owner, now_s)
        return now_s - gone_s < self._settings.claim_grace_s

    def _refuse(self, shard: int, error: Incompatible) -> None:
        if shard not in self._refused:
            self._refused[shard] = None
            for listener in self.on_refused:
                listener(error)

    def _plan_handing_over(self) -> list[Step]:
        now_s = self._clock.boot_s()
        closed = [shard for shard in sorted(self._owned) if self.should_leave(shard)]
        self._closed = {shard: self._closed.get(shard, now_s) for shard in closed}
        if closed:
            self._rests_at = None
        steps: list[Step] = []
        for shard, since_s in self._closed.items():
            if len(steps) >= self._settings.handed_over_per_round:
                break
            if now_s - since_s >= self._settings.closed_s and not self._unfinished_in(shard):
                step = self._to_heir(shard, self._first(shard))
                if step is not None:
                    self.leaving[shard] = None  # from here on it stays closed, whoever comes
                    steps.append(step)
        self._open = None
        return steps

    def _to_heir(self, shard: int, heir: str) -> Step | None:
        """The step that hands a shard to `heir`; None: it isn't heard, or no fence is left."""
        record = self._roster.members.get(heir)
        if record is None or not self._heartbeats.hears(heir, record.incarnation):
            return None
        heir_key = Compare(
            self._keys.member(heir), Target.MOD_REVISION, self._roster.revision_of(heir)
        )
        home = self._held[shard].record.home
        if shard in self.wanted:
            home = "" if self._preference.first(shard) == heir else heir
        try:
            return hand_over(shard, self._held[shard], record, heir_key, home)
        except Incompatible as error:
            self._refuse(shard, error)
            return None

    async def _carry_out(self, steps: list[Step]) -> None:
        for i in range(0, len(steps), CLAIMS_PER_TXN):
            batch = tuple(steps[i : i + CLAIMS_PER_TXN])
            if not await self._commit(batch):
                break
        if not self._stopping:
            for step in steps:
                self.leaving.pop(step.shard, None)
        self._open = None

    async def _commit(self, steps: tuple[Step, ...]) -> bool:
        """Whether the store answered; what came of each step is taken in."""
        member = self._membership
        if not (member.may_claim or self._stopping):
            return False
        txn = transaction(self._keys, steps, member.key, member.key_revision)
        try:
            async with asyncio.timeout(self._settings.call_timeout_s):
                result = await self._store.commit(txn)
        except (Unavailable, Unknown, TimeoutError):
            return False  # what came of it, if anything, the watch tells
        if not result.succeeded:
            return False  # my own key has moved on: its new revision comes soon
        for step, response in zip(steps, result.responses, strict=True):
            if isinstance(response, TxnResult) and response.succeeded:
                self.handed_over += step.record.owner not in ("", self._me)
                self._take_in(step.shard, Held(step.record, result.revision), result.revision)
        return True

    def _changed(self, key: bytes, entry: Entry | None, revision: int) -> None:
        try:
            shard = int(key[len(self._keys.shards) :], 16)
        except ValueError:
            return
        record = None
        if entry is not None:
            record = decode_shard(entry.value)
            if record is None:
                return
        if not 0 <= shard < self.shards:
            return
        if record is not None:
            self._take_in(shard, Held(record, revision), revision)
        else:
            # nobody of ours deletes it; whoever did, the fence must not start over
            fence = self._held[shard].record.fence
            self._take_in(shard, Held(ShardRecord("", "", fence), 0), revision)

    def _take_in(self, shard: int, held: Held, at_revision: int) -> None:
        """`at_revision`: when it became so; the record's own revision, or that of its deletion."""
        if at_revision <= self._held[shard].revision:
            return  # the answer to my own claim was quicker than the watch
        rose = held.record.fence > self._held[shard].record.fence
        self._held[shard] = held
        self._changes += 1
        record = held.record
        mine = record.owner == self._me and record.incarnation == self._membership.incarnation
        self._surrendered.pop(shard, None)  # the store names another owner, or another fence
        before = self._owned.get(shard)
        if mine and self._stopping and (before is None or before.fence != record.fence):
            self._surrendered[shard] = None
            mine = False
        if mine and not self._deposed:
            self._owned[shard] = Owned(record.fence, held.revision)
        elif before is not None:
            del self._owned[shard]
        self._open = None
        if not record.owner:
            self._wake.set()
        after = self._owned.get(shard)
        if before is not None and (after is None or after.fence != before.fence):
            for lost in self.on_lost:
                lost(shard)
        if after is not None and (before is None or after.fence != before.fence):
            for gained in self.on_gained:
                gained(shard, after.fence)
        if rose:
            for listener in self.on_fence:
                listener(shard, record.fence)

    def _joined(self, name: str) -> None:
        self._gone_boot_s.pop(name, None)
        self._wake.set()

    def _gone(self, name: str) -> None:
        self._gone_boot_s[name] = self._clock.boot_s()
        self._wake.set()

    def _drop_all(self, _why: str) -> None:
        """Another process speaks under my name: it claims all of these under higher fences."""
        self._deposed = True
        self._lose_all(sorted(self._owned))

    def _lose_all(self, lost: list[int]) -> None:
        self._owned.clear()
        self._open = None
        for shard in lost:
            for listener in self.on_lost:
                listener(shard)
