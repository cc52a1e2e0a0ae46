"""What a row of the ledger becomes in the store, step by step: pure.

The chain's version is its generation, so its key is put once for every generation that began
without the store; the last put brings the record. Steps are proposed from what was read and compare
it, so any of them may be repeated, lost or overtaken by another member's.

```
version < the row's generation     put session; with the last one the record   compare session
        = , and it is the row's SA put or delete the record                    and shard
        = or >, and another SA     the older of the two goes, or the row's if nobody was answered:
                                   if it is the row's, void it; else delete the chain, and count
                                   up again
the row ends its chain             delete session, record, ticket and internal addresses
an address is another chain's      the same: the row is void with its chain
```

In each step that takes the chain from the SA that it names, that one's record goes too, whether or
not the row knows of it: its generation may be that of one that was forgotten.

No internal address is taken from a chain that has it: who chose one without the store, from shards
that he took for his own, or for a chain that has expired since, may have been mistaken.

What a lost process had answered for is void but for its chain: its SA is declared dead, its record
goes, its ticket works: what one by reference points to is written with the chain, and so it is for
an SA that has ended.
"""

import enum
from collections.abc import Callable, Sequence

import msgspec

from cluster.failsafe.ledger import Row
from cluster.layout import Keys
from cluster.store import Compare, Delete, Entry, Put, Target, Txn

_SPI_LEN = 8


class Fate(enum.Enum):
    """What has become of a row."""

    DONE = "done"
    LOST = "lost"
    """The chain names another SA, which stands: ours is void."""
    TAKEN = "taken"
    """An internal address of it is another chain's: it is void, with its chain."""
    REVOKED = "revoked"
    """A rule is about its session: it is written as ended."""


class Step(msgspec.Struct, frozen=True):
    """The next transaction of a row."""

    txn: Txn
    fate: Fate | None
    """What has become of the row once it has succeeded; None: there is more to do."""
    loser: bytes = b""
    """The SPI of an SA from which it takes the chain away, and of which the row doesn't know."""
    twice: bool = False
    """Has that one the row's own generation, so that a ticket was used twice?"""


def number_of(value: bytes) -> int:
    """The number of the operation that wrote a session's value: see `frames.Claim.number`."""
    return int.from_bytes(value[-8:], "big")


def next_step(
    keys: Keys,
    row: Row,
    session: Entry | None,
    leased: Sequence[Entry | None],
    *,
    lease_id: int,
    shard_revision: int | None,
    shard_of: Callable[[bytes], int],
    answered: bool,
    revoked: bool = False,
) -> Step | Fate:
    """What to do for `row`, given what the store has of its chain and, `leased`, of each of its
    internal addresses. `shard_revision`: the record's shard's, as owned; None: its process is lost,
    or the shard is. `answered`: whether somebody may have been told that it stands.
    `revoked`: whether it is to end by a rule.
    """
    claim = row.claim
    key = keys.session(claim.chain)
    version = session.version if session is not None else 0
    loser = _unknown(row, session)
    if claim.void:
        return _end(keys, row, session, leased, shard_of, Fate.DONE)
    if revoked:
        return _end(keys, row, session, leased, shard_of, Fate.REVOKED)
    ours = session is not None and session.value[:_SPI_LEN] == claim.spi
    if session is not None and version >= claim.generation and not ours:
        if not answered or number_of(session.value) > claim.number:
            return Fate.LOST
        other = session.value[:_SPI_LEN]
        there = (_as_seen(key, session),)
        gone = (Delete(key), *_record(keys, other, shard_of))
        return Step(Txn(there, gone), None, loser=other, twice=True)
    if any(entry is not None and entry.value != claim.chain for entry in leased):
        return _end(keys, row, session, leased, shard_of, Fate.TAKEN)
    # not by its version: another member may delete the chain and count up to the same
    compares: tuple[Compare, ...] = (_as_seen(key, session),)
    put: tuple[Put | Delete, ...] = ()
    if version < claim.generation:
        for address, entry in zip(claim.addresses, leased, strict=True):
            compares += (_as_seen(address, entry),)
        taken = tuple(Put(address, claim.chain, lease_id) for address in claim.addresses)
        put = (Put(key, claim.spi + claim.op_id, lease_id), *taken, *_record(keys, loser, shard_of))
    if version + 1 < claim.generation:
        return Step(Txn(compares, put), None, loser)
    ticket = _ticket(keys, row, lease_id)
    if shard_revision is None or not claim.record:
        return Step(Txn(compares, (*put, *_gone(keys, row), *ticket)), Fate.DONE, loser)
    compares += (Compare(keys.shard(claim.shard), Target.MOD_REVISION, shard_revision),)
    record = Put(keys.record(claim.shard, claim.spi), claim.record, lease_id)
    success = (*put, record, *_replaced(keys, row), *ticket)
    return Step(Txn(compares, success), Fate.DONE, loser)


def _as_seen(key: bytes, entry: Entry | None) -> Compare:
    """Nobody has written `key` since `entry` was read of it."""
    return Compare(key, Target.MOD_REVISION, 0 if entry is None else entry.mod_revision)


def _unknown(row: Row, session: Entry | None) -> bytes:
    """The SPI that the chain names, if neither `row` has it nor any that went by it; else empty."""
    if session is None:
        return b""
    named = session.value[:_SPI_LEN]
    return b"" if named in (row.claim.spi, *(spi for _, spi in row.gone)) else named


def _end(
    keys: Keys,
    row: Row,
    session: Entry | None,
    leased: Sequence[Entry | None],
    shard_of: Callable[[bytes], int],
    fate: Fate,
) -> Step | Fate:
    """The chain goes with all that it has: no address that is another's by now."""
    if session is None:
        return fate
    claim, loser = row.claim, _unknown(row, session)
    key = keys.session(claim.chain)
    there = (_as_seen(key, session),)
    mine = [entry.key for entry in leased if entry is not None and entry.value == claim.chain]
    gone = (Delete(key), *_gone(keys, row), *_record(keys, loser, shard_of))
    ticket = Delete(keys.ticket(claim.chain))
    return Step(Txn(there, (*gone, ticket, *map(Delete, mine))), fate, loser)


def _record(keys: Keys, spi: bytes, shard_of: Callable[[bytes], int]) -> tuple[Delete, ...]:
    """The record of that SA goes, if there is one to go."""
    return (Delete(keys.record(shard_of(spi), spi)),) if spi else ()


def _gone(keys: Keys, row: Row) -> tuple[Delete, ...]:
    claim = row.claim
    return Delete(keys.record(claim.shard, claim.spi)), *_replaced(keys, row)


def _replaced(keys: Keys, row: Row) -> tuple[Delete, ...]:
    return tuple(Delete(keys.record(shard, spi)) for shard, spi in row.gone)


def _ticket(keys: Keys, row: Row, lease_id: int) -> tuple[Put | Delete, ...]:
    sealed, key = row.claim.ticket, keys.ticket(row.claim.chain)
    if sealed is None:
        return ()
    return (Put(key, sealed, lease_id),) if sealed else (Delete(key),)
