"""An operator accepts a store that was put back: the epoch is raised, and nothing comes back.

Rules: whatever the old copy brings back can be older than what was given out since, so none of it
is used again. Session chains, records, tickets, internal addresses and lanes are deleted first,
key by key. Then one transaction raises the epoch and takes the ring and the SPI key away, for they
may hold keys that were revoked since, and lack some that were made: the members make new ones.
Every IV and every ticket bears the epoch, so fences and generations that come back bring nothing
with them.
Interrupted, it is begun again: the epoch moves last. Shard keys stay, members' keys go with their
leases.
"""

from collections.abc import Callable, Sequence

import msgspec

from cluster.attempts import attempts
from cluster.errors import Conflict, Unknown
from cluster.layout import FORMAT, ClusterState, Keys
from cluster.rewind import Memory
from cluster.seams import Clock
from cluster.state import decode_state
from cluster.store import Compare, Delete, Entry, Put, Store, Target, Txn

EPOCH_MAX = 255
"""The epoch is 8 bits of every IV."""
DELETED_PER_TXN = 100
UNKNOWN_MAX = 5
"""Answers lost in a row; then it gives up, and may be begun again."""

_encode = msgspec.json.Encoder().encode


async def accept(
    store: Store, keys: Keys, clock: Clock, memory: Memory, *, shards: int,
    progress: Callable[[str], None],
) -> int:  # fmt: skip
    """Make `store`, which is behind `memory`, the one that counts; the new epoch.

    `shards`: for a store that holds no cluster at all. Raises Conflict, Unavailable, Unknown,
    Incompatible.
    """
    entry = await store.get(keys.state)
    state = None if entry is None else decode_state(entry.value)
    epoch = max(memory.epoch, *_epochs(state)) + 1
    if epoch > EPOCH_MAX:
        raise Conflict(f"epoch {EPOCH_MAX} is the last one: make a new cluster, under another name")
    for what, prefix in (
        ("sessions", keys.sessions),
        ("records", keys.records),
        ("tickets by reference", keys.tickets),
        ("internal addresses", keys.addresses),
        ("lanes", keys.lanes),
    ):
        found = (await store.scan(prefix)).entries
        await _delete(store, keys, entry, found)
        progress(f"{what} of former epochs deleted: {len(found)}")
    fresh = ClusterState(
        format=FORMAT,
        mode="normal",
        epoch=epoch,
        shards=shards if state is None else state.shards,
        created_wall_s=clock.wall_s() if state is None else state.created_wall_s,
    )
    await _commit(
        store,
        Txn(
            (_as_seen(keys, entry),),
            (
                Put(keys.state, _encode(fresh)),
                Delete(keys.ring),
                Delete(keys.ring_mark),  # so nobody puts the former ring back
                Delete(keys.spi_key),
            ),
        ),
        done=lambda now: now is not None and decode_state(now.value).epoch >= epoch,
        keys=keys,
    )
    progress(f"epoch {epoch}: every ticket and session of before is void; keys are made anew")
    return epoch


def _epochs(state: ClusterState | None) -> tuple[int, int]:
    """What the store is at, and what somebody has seen who found it behind."""
    if state is None:
        return 0, 0
    return state.epoch, 0 if state.behind is None else state.behind.epoch


def _as_seen(keys: Keys, entry: Entry | None) -> Compare:
    return Compare(keys.state, Target.MOD_REVISION, entry.mod_revision if entry is not None else 0)


async def _delete(store: Store, keys: Keys, state: Entry | None, found: Sequence[Entry]) -> None:
    for start in range(0, len(found), DELETED_PER_TXN):
        batch = found[start : start + DELETED_PER_TXN]
        txn = Txn((_as_seen(keys, state),), tuple(Delete(entry.key) for entry in batch))
        await _commit(store, txn, done=lambda _now: False, keys=keys)


async def _commit(
    store: Store, txn: Txn, *, done: Callable[[Entry | None], bool], keys: Keys
) -> None:
    """Carry out `txn`; an answer that is lost is asked for. Raises Conflict, Unavailable,
    Unknown.
    """
    for attempt in attempts(UNKNOWN_MAX):  # deleting twice is deleting once
        answered = False
        with attempt:
            if (await store.commit(txn)).succeeded:
                return
            answered = True
        with attempt:
            if done(await store.get(keys.state)):
                return
        if answered:
            raise Conflict("somebody else has changed the cluster's state meanwhile: look again")
    raise Unknown("the store's answers are lost again and again: try later")
