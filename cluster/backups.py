"""Which members hold copies of a shard, and who is believed about it.

Rules: owner and backups compute the same from the roster alone. Members on another host than the
owner's come first: a copy that dies with its original is worth little.
"""

from collections.abc import Mapping

from cluster.layout import MemberRecord
from cluster.ownership import Ownership
from cluster.roster import Roster
from cluster.shards import rank


def backups(
    shard: int, owner: str, members: Mapping[str, MemberRecord], count: int
) -> tuple[str, ...]:
    """The `count` best members to hold a shard's mirror: by rank after the owner, members on
    another host than the owner's first; fewer if there are fewer.
    """
    ranked = [name for name in rank(shard, members) if name != owner]
    home = members[owner].host if owner in members else None
    ranked.sort(key=lambda name: members[name].host == home)  # stable: rank within each half
    return tuple(ranked[:count])


def is_believed(ownership: Ownership, sender: str, shard: int, fence: int) -> bool:
    """Whether `sender` may speak as the owner of `shard` under `fence`. A higher fence than the
    store has shown here yet is believed: its owner heard of it first.
    """
    known = ownership.known_fence(shard)
    if not 0 <= shard < ownership.shards or fence < known:
        return False
    return fence > known or ownership.owner_of(shard) in (sender, None)


class Backups:
    """The backups of this member's shards, and whether it is one itself; remembered per roster."""

    def __init__(self, roster: Roster, me: str, count: int) -> None:
        self._roster = roster
        self._me = me
        self._count = count
        self._at = -1
        self._chosen: dict[int, tuple[str, ...]] = {}

    def of(self, shard: int) -> tuple[str, ...]:
        """Who holds copies of `shard`, which is this member's."""
        if self._at != self._roster.version:
            self._at = self._roster.version
            self._chosen.clear()
        chosen = self._chosen.get(shard)
        if chosen is None:
            chosen = backups(shard, self._me, self._roster.members, self._count)
            self._chosen[shard] = chosen
        return chosen

    def includes_me(self, shard: int, owner: str) -> bool:
        """Whether this member holds copies for `owner`, if that lives; of a member that is gone,
        whoever has copies keeps them: this is what they are for. So does who has just lost its own
        name, until it is there again.
        """
        members = self._roster.members
        if owner not in members or self._me not in members:
            return True
        return self._me in backups(shard, owner, members, self._count)
