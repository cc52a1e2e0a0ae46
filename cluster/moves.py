"""An operator's word on where a shard is to be.

Rules: only the owner can move a shard, and it does so as when it balances: when nothing is
unfinished in the shard, in one transaction. One word at a time stands on a shard. Where the
operator wants it, if that isn't where it belongs by rank, stays written in the shard's record, so
that balancing doesn't take it back.
"""

import asyncio
from collections.abc import Mapping

from cluster.errors import Conflict, Unknown
from cluster.layout import MemberRecord
from cluster.ownership import Ownership


async def move(
    ownership: Ownership,
    members: Mapping[str, MemberRecord],
    shard: int,
    heir: str,
    at_most_s: float,
) -> None:
    """Hand `shard`, which is this member's, to `heir`. Raises Conflict: not ours, no such
    member, or it is being moved already; Unknown: it hasn't gone in time, and may yet if it was on
    its way.
    """
    if heir not in members:
        raise Conflict(f"no live member {heir!r}: {', '.join(members)}")
    if ownership.owner_of(shard) == heir:
        return
    if ownership.fence_of(shard) is None:
        raise Conflict(f"shard {shard:04x} isn't this member's")
    already = ownership.wanted.get(shard)
    if already is not None:
        raise Conflict(f"shard {shard:04x} is being moved to {already!r} already")
    gone = asyncio.Event()

    def lost(which: int) -> None:
        if which == shard:
            gone.set()

    ownership.on_lost.append(lost)
    ownership.wanted[shard] = heir
    try:
        async with asyncio.timeout(at_most_s):
            await gone.wait()
    except TimeoutError:
        raise Unknown(
            f"shard {shard:04x} was not handed over within {at_most_s:g} s: sessions are being set "
            "up or rekeyed in it, or the store doesn't answer"
        ) from None
    finally:
        ownership.wanted.pop(shard, None)
        ownership.on_lost.remove(lost)
    if ownership.owner_of(shard) != heir:
        raise Conflict(f"shard {shard:04x} went to {ownership.owner_of(shard)!r} instead")
