"""Which shards a member claims, hands over or gives up, and the transactions that do it: pure.

Rules: a plan only proposes; each transaction compares everything the plan relied on, so a plan made
from an old view does nothing. A shard is claimed from an owner whose member key is gone, or holds
another incarnation than the one that owned the shard. An owner hands a shard to a member in one
step, if that is still the same process. Every change of owner raises the fence by one, and a fence
never comes back: it is part of every IV.
"""

from collections.abc import Callable, Mapping

import msgspec

from cluster.errors import UNREADABLE, Incompatible
from cluster.layout import FENCE_MAX, Keys, MemberRecord, ShardRecord
from cluster.shards import rank
from cluster.store import Compare, Put, Target, Txn

CLAIMS_PER_TXN = 40
"""Shards claimed or given up in one transaction (the store takes 128 operations)."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ShardRecord).decode


def decode_shard(value: bytes) -> ShardRecord | None:
    """The record in `value`; None if a later release wrote what this one can't read."""
    try:
        return _decode(value)
    except UNREADABLE:
        return None


class Held(msgspec.Struct, frozen=True):
    """A shard's record, and the store's revision of it (0: never owned)."""

    record: ShardRecord
    revision: int


NEVER = Held(ShardRecord(owner="", incarnation="", fence=0), 0)


class Step(msgspec.Struct, frozen=True):
    """One shard's change: from what was seen to what is to be written."""

    shard: int
    seen: Held
    record: ShardRecord
    relies_on: Compare | None
    """A member's key: of the owner that is gone, or of the heir that is there."""


class Preference:
    """Who should own each shard: the first of its rank over `members`, computed when asked."""

    def __init__(self, members: tuple[str, ...]) -> None:
        self.members = members
        self._first: dict[int, str] = {}

    def first(self, shard: int) -> str:
        """The member that should own `shard`; empty without members."""
        name = self._first.get(shard)
        if name is None:
            name = rank(shard, self.members)[0] if self.members else ""
            self._first[shard] = name
        return name


def next_fence(shard: int, fence: int) -> int:
    """The fence after `fence`. Raises Incompatible if 16 bits don't hold it (it is in every IV)."""
    if fence >= FENCE_MAX:
        raise Incompatible(
            f"shard {shard:04x} has used up its {FENCE_MAX} fences: raise the cluster's epoch"
        )
    return fence + 1


def vacancy(
    keys: Keys,
    held: Held,
    members: Mapping[str, MemberRecord],
    revision_of: Callable[[str], int],
) -> tuple[bool, Compare | None]:
    """Whether nobody who lives owns a shard, and what must still be so when it is claimed."""
    owner = held.record.owner
    if not owner:
        return True, None
    present = members.get(owner)
    if present is not None and present.incarnation == held.record.incarnation:
        return False, None
    # 0 is what an absent key compares equal to, so one compare says both "gone" and "restarted"
    return True, Compare(keys.member(owner), Target.MOD_REVISION, revision_of(owner))


def claim(
    shard: int, held: Held, owner_key: Compare | None, member: str, incarnation: str, at: str = ""
) -> Step:
    """For `member`, whose rpc address is `at`. Raises Incompatible when the shard's fences are used
    up.
    """
    fence = next_fence(shard, held.record.fence)
    record = ShardRecord(member, incarnation, fence, held.record.home, at)
    return Step(shard, held, record, owner_key)


def hand_over(
    shard: int, held: Held, heir: MemberRecord, heir_key: Compare, home: str = ""
) -> Step:
    """From its owner to `heir`, sessions and all; `heir_key`: that it is still there, the same
    process. `home`: see `ShardRecord`. Raises Incompatible when the fences are used up.
    """
    fence = next_fence(shard, held.record.fence)
    record = ShardRecord(heir.name, heir.incarnation, fence, home, heir.rpc_address)
    return Step(shard, held, record, heir_key)


def give_up(shard: int, held: Held) -> Step:
    """The shard without an owner; the fence stays, so that the next owner's is higher."""
    record = held.record
    return Step(shard, held, ShardRecord("", "", record.fence, record.home), None)


def transaction(
    keys: Keys, steps: tuple[Step, ...], member_key: bytes, member_revision: int
) -> Txn:
    """All `steps` with an outcome each, none at all unless my own member key is as I wrote it."""
    return Txn(
        compares=(Compare(member_key, Target.MOD_REVISION, member_revision),),
        success=tuple(_nested(keys, step) for step in steps),
    )


def _nested(keys: Keys, step: Step) -> Txn:
    key = keys.shard(step.shard)
    compares = [Compare(key, Target.MOD_REVISION, step.seen.revision)]
    if step.relies_on is not None:
        compares.append(step.relies_on)
    return Txn(compares=tuple(compares), success=(Put(key, _encode(step.record)),))
