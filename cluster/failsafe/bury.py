"""What a former life of this member left in the store, if that life went on without the store.

Rules: the records that it left are of before: what was done since was kept by others, who may have
ended too, and nobody here can tell. So these SAs are declared dead and never adopted stale: their
records go, and the shards are given up with the last of them, so that nothing of that life comes
after. Chains stay, for tickets. Any step may be repeated.
"""

from collections.abc import Collection

import msgspec

from cluster.claims import Held, decode_shard, give_up
from cluster.layout import Keys
from cluster.store import Compare, Delete, Put, Store, Target, Txn

RECORDS_PER_TXN = 100
"""Records deleted in one transaction: a store takes 128 operations."""

_encode = msgspec.json.Encoder().encode


async def bury(store: Store, keys: Keys, lives: Collection[str]) -> int:
    """Delete the records of all shards that a process in `lives` owned last, and give these shards
    up; how many records there were. Raises ClusterError: not everything was done.
    """
    buried = 0
    for entry in (await store.scan(keys.shards)).entries:
        record = decode_shard(entry.value)
        if record is not None and record.owner and record.incarnation in lives:
            shard = int(entry.key[len(keys.shards) :], 16)
            buried += await _bury(store, keys, shard, Held(record, entry.mod_revision))
    return buried


async def _bury(store: Store, keys: Keys, shard: int, held: Held) -> int:
    """Of a shard that is another's by now nothing is deleted."""
    there = (Compare(keys.shard(shard), Target.MOD_REVISION, held.revision),)
    given_up = Put(keys.shard(shard), _encode(give_up(shard, held).record))
    gone = [Delete(e.key) for e in (await store.scan(keys.shard_records(shard))).entries]
    rest = gone
    while len(rest) > RECORDS_PER_TXN:
        await store.commit(Txn(there, tuple(rest[:RECORDS_PER_TXN])))
        rest = rest[RECORDS_PER_TXN:]
    await store.commit(Txn(there, (*rest, given_up)))
    return len(gone)
