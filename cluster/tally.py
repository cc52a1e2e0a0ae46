"""What tells a store from an older copy of itself when its revision doesn't: two small writes.

Rules: each data directory has a number in the store, its tally, that it alone raises. A copy keeps
the one of when it was made, for ever: whatever else goes on there, nobody raises that number, and
whoever finds it below the one that it remembers knows. The other write is for those who can't know,
as they have seen nothing or too little: who has found a store behind says so in that store's
cluster state. It stands there until an operator accepts the store, and in no other copy.
"""

import msgspec

from cluster.errors import Incompatible
from cluster.layout import Behind, ClusterState, Keys
from cluster.store import Compare, Entry, Put, Store, Target, Txn

_encode = msgspec.json.Encoder().encode


async def read_tally(store: Store, key: bytes) -> tuple[int, int]:
    """The number there and the key's revision, both 0 if there is none. Raises Unavailable,
    Incompatible.
    """
    entry = await store.get(key)
    if entry is None:
        return 0, 0
    try:
        return int(entry.value), entry.mod_revision
    except ValueError as error:
        raise Incompatible(f"{key.decode()} holds no number") from error


def raise_tally(key: bytes, number: int, revision: int) -> Txn:
    """Puts `number`, if the key is still at `revision`."""
    compare = Compare(key, Target.MOD_REVISION, revision)
    return Txn((compare,), (Put(key, b"%d" % number),))


def tell_behind(keys: Keys, entry: Entry, state: ClusterState, behind: Behind) -> Txn:
    """Says in the cluster state, `state` as read in `entry`, that its store is behind."""
    compare = Compare(keys.state, Target.MOD_REVISION, entry.mod_revision)
    return Txn(
        (compare,), (Put(keys.state, _encode(msgspec.structs.replace(state, behind=behind))),)
    )
