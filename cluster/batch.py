"""Journal operations as transactions of the store, and what the store's answer means: pure.

Every operation is a nested transaction with an outcome of its own:

```
compare  shard key's mod revision = as owned when the operation was submitted     (else FENCED)
         session key's version    = the generation the operation was made for     (else SUPERSEDED)
         of an SA that stands (WRITE, REVOKE, a rekey), its record is there       (else SUPERSEDED)
         of a ticket (REDEEM), session names the SA that it was issued on         (else SUPERSEDED)
         of internal addresses that are taken now, version = 0                    (else SUPERSEDED)
success  CREATE, REDEEM  put session (SPI ‖ operation id), put record [, delete replaced record],
                         put each internal address
         WRITE           put record
         END             delete record
         REVOKE          delete record, delete session, delete ticket, delete each internal address
         CREATE, REDEEM, WRITE of an answer with a ticket by reference: put ticket as well
failure  get session, get shard: tells which of the two, or that it was done already
```

A generation alone doesn't name an SA: a ticket that was used twice, once without the store, has
made two of one generation, and the flush deletes the record of the one that doesn't stand
(`cluster.failsafe.write`); if that was forgotten with all that knew of it, it never had one. A
ticket that is redeemed needs no record, as its SA may have ended, but what the other one issued is
void: else the record of the SA that stands would stay when its chain goes on.

The batch around them compares cluster state, revocation watermark and the journal's own lane key,
and moves the lane key on. So of a batch sent twice (its outcome was unknown) one at most takes
effect, even if the first arrives long after the second.
"""

import enum
from collections.abc import Callable

import msgspec

from cluster.layout import Keys
from cluster.store import Compare, Delete, Entry, Get, Put, Target, Txn, TxnResult

ADDRESSES_MAX = 2
"""Internal addresses of one session: one of each family."""
BATCH_OPS_MAX = 121
"""The store's limit of 128 is shared: operations of the batch (these and the lane's put) plus those
of the largest nested transaction (four, and its internal addresses)."""
BATCH_OCTETS_MAX = 1 << 20
"""Sealed records and keys of one batch; etcd's default limit of a request is half as much more."""
OP_OVERHEAD_OCTETS = 640
"""Keys and framing of one operation, generously."""
RECORD_OCTETS_MAX = 256 << 10
"""The largest record accepted."""
OP_ID_LEN = 16
"""Its last 8 octets are a number, by which operations of all members have an order."""
_SPI_LEN = 8
_AFTER_ALL = b"\xff" * OP_ID_LEN
"""What no operation's id comes after."""


class OpKind(enum.Enum):
    """What an operation does to its chain; means what `proto.ike.effects.PersistKind` means."""

    CREATE = "create"
    REDEEM = "redeem"
    WRITE = "write"
    END = "end"
    REVOKE = "revoke"

    # by identity, in C: looked up for every operation
    __hash__ = object.__hash__


MOVES = (OpKind.CREATE, OpKind.REDEEM, OpKind.REVOKE)
"""What ends a generation of its chain: no ticket of it is good any more."""
ENDS = (OpKind.END, OpKind.REVOKE)
"""What puts nothing: there is no record any more."""
BEGINS = (OpKind.CREATE, OpKind.REDEEM)
"""What begins one: a revocation forbids it. An SA that stands is ended by its owner (REVOKE)."""


class Outcome(enum.Enum):
    """How an operation ended."""

    COMMITTED = "committed"
    """Durable; read back even if every member dies now."""
    SUPERSEDED = "superseded"
    """The chain had moved on: this ticket or this SA is void."""
    FENCED = "fenced"
    """The shard has another owner, or another fence: say nothing, drop the SA."""

    # by identity, in C: looked up for every operation
    __hash__ = object.__hash__


_WRITE = OpKind.WRITE
_END = OpKind.END
_REVOKE = OpKind.REVOKE
_MOD_REVISION = Target.MOD_REVISION
_VERSION = Target.VERSION
_VERSION_ABOVE = Target.VERSION_ABOVE
_VALUE_ABOVE = Target.VALUE_ABOVE
_VALUE_BELOW = Target.VALUE_BELOW
_COMMITTED = Outcome.COMMITTED


class Op(msgspec.Struct, frozen=True, gc=False):
    """One durable write."""

    kind: OpKind
    chain: bytes
    """16 octets."""
    generation: int
    """What the chain's version must be before; 0 with CREATE."""
    shard: int
    spi: bytes
    """The gateway's SPI, 8 octets."""
    record: bytes
    """In clear; empty with END and REVOKE."""
    replaces: tuple[int, bytes] | None
    """(shard, SPI) of the record that goes (REDEEM)."""
    expires_wall_s: float
    op_id: bytes = b""
    """OP_ID_LEN octets that no other operation has; made by the journal if empty."""
    identity: str = ""
    """Whose session it is: for revocations, never stored."""
    authenticated_wall_s: float = 0.0
    """When the session's original authentication was."""
    issued_wall_s: float | None = None
    """When the ticket that is redeemed was issued (REDEEM)."""
    ticket_key: bytes = b""
    """The ring's key that it was sealed under (REDEEM)."""
    ticket: bytes | None = None
    """What the chain's tickets by reference point to from now on, in clear; empty: it goes. None:
    nothing changes. REVOKE deletes it in any case."""
    addresses: tuple[bytes, ...] = ()
    """Keys of the internal addresses that the session has, ADDRESSES_MAX at most."""
    takes: bool = False
    """Are they new to the session? (CREATE, REDEEM)"""

    @property
    def is_rekey(self) -> bool:
        """Is the SA that it `replaces` rekeyed into this one, by no ticket?"""
        return self.kind is OpKind.REDEEM and self.issued_wall_s is None


class Pending(msgspec.Struct, eq=False):
    """An operation on its way."""

    op: Op
    done: Callable[[Outcome], None]
    number: int
    """See `number_after`."""
    op_id: bytes
    shard_revision: int
    epoch: int
    submitted_s: float
    doubtful: bool = False
    """The store may have carried it out."""
    only_asks: bool = False
    """It is revoked by now: the store says whether it has carried it out, and doesn't any more."""
    record_key: bytes = b""
    replaced_key: bytes = b""
    sealed: bytes | None = None
    sealed_ticket: bytes = b""


def journal_of(op_id: bytes) -> bytes:
    """Which journal made the operation: its first octets are no other one's."""
    return op_id[:-8]


def number_after(last: int, wall_s: float) -> int:
    """Of an operation that begins at `wall_s`, after one of the same member with the number `last`:
    the time in microseconds, so that later ones have higher ones, whoever carries them out.
    """
    return max(last + 1, int(wall_s * 1e6))


class Lane:
    """The order of one journal's batches: each moves `key` on, and compares what the last left."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.lease_id = 0
        self.revision = 0
        self.batches = 0


class Installed(msgspec.Struct, frozen=True):
    """The revisions of the cluster state and of the watermark that this member acts by."""

    state: int
    watermark: int


def batch_txn(keys: Keys, installed: Installed, lane: Lane, ops: tuple[Txn, ...]) -> Txn:
    """The transaction around `ops`; its failure branch reads what it compared, in that order."""
    return Txn(
        (
            Compare(keys.state, _MOD_REVISION, installed.state),
            Compare(keys.watermark, _MOD_REVISION, installed.watermark),
            Compare(lane.key, _MOD_REVISION, lane.revision),
        ),
        (Put(lane.key, b"%d" % lane.batches, lane.lease_id), *ops),
        (Get(keys.state), Get(keys.watermark), Get(lane.key)),
    )


def op_txn(keys: Keys, pending: Pending, lease_id: int) -> Txn:
    """The nested transaction of one operation; `lease_id` is its expiry bucket's."""
    op = pending.op
    session = keys.session(op.chain)
    shard = keys.shard(op.shard)
    record = pending.record_key
    if pending.only_asks:
        never = Compare(session, _VERSION, 0), Compare(session, _VERSION_ABOVE, 0)
        return Txn(never, (), (Get(session), Get(shard)))
    success: tuple[Put | Delete, ...]
    compares: tuple[Compare, ...] = (
        Compare(shard, _MOD_REVISION, pending.shard_revision),
        Compare(session, _VERSION, op.generation),
    )
    ticket = () if op.ticket is None else _keep(keys, pending, lease_id)
    if op.kind is _WRITE:
        compares += (Compare(record, _VERSION_ABOVE, 0),)
        success = (Put(record, pending.sealed or b"", lease_id), *ticket)
    elif op.kind is _END:
        success = (Delete(record),)
    elif op.kind is _REVOKE:
        compares += (Compare(record, _VERSION_ABOVE, 0),)
        success = (Delete(record), Delete(session), Delete(keys.ticket(op.chain)))
        if op.addresses:
            success += tuple([Delete(address) for address in op.addresses])
    else:
        success = (
            Put(session, op.spi + pending.op_id, lease_id),
            Put(record, pending.sealed or b"", lease_id),
            *ticket,
        )
        if op.replaces is not None:
            if op.is_rekey:
                compares += (Compare(pending.replaced_key, _VERSION_ABOVE, 0),)
            else:
                issuer = op.replaces[1]
                compares += (
                    Compare(session, _VALUE_ABOVE, issuer),
                    Compare(session, _VALUE_BELOW, issuer + _AFTER_ALL),
                )
            success += (Delete(pending.replaced_key),)
        if op.addresses:
            success += tuple([Put(address, op.chain, lease_id) for address in op.addresses])
            if op.takes:
                compares += tuple([Compare(address, _VERSION, 0) for address in op.addresses])
    return Txn(compares, success, (Get(session), Get(shard)))


def _keep(keys: Keys, pending: Pending, lease_id: int) -> tuple[Put | Delete]:
    """What tickets by reference point to: from now on, or no more."""
    key, sealed = keys.ticket(pending.op.chain), pending.sealed_ticket
    return (Put(key, sealed, lease_id),) if sealed else (Delete(key),)


def outcome_of(pending: Pending, result: TxnResult) -> Outcome:
    """What the nested transaction's result means for its operation."""
    if result.succeeded:
        return _COMMITTED
    session, shard = entry(result, 0), entry(result, 1)
    if session is not None and session.value[_SPI_LEN:] == pending.op_id:
        return _COMMITTED  # an earlier attempt, whose outcome was unknown, did it
    if shard is None or shard.mod_revision != pending.shard_revision:
        return Outcome.FENCED
    if session is None and pending.op.kind is _REVOKE:
        return _COMMITTED  # gone is what was wanted
    return Outcome.SUPERSEDED


def committed_at(result: TxnResult) -> int:
    """The store's revision of an operation that was COMMITTED: now, or by an earlier attempt."""
    session = None if result.succeeded else entry(result, 0)
    return result.revision if session is None else session.mod_revision


def entry(result: TxnResult, index: int) -> Entry | None:
    """What the Get at `index` of the branch taken read."""
    found = result.responses[index]
    return found if isinstance(found, Entry) else None


def nested(result: TxnResult, index: int) -> TxnResult:
    """The result of the transaction nested at `index` of the branch taken."""
    found = result.responses[index]
    if not isinstance(found, TxnResult):
        raise TypeError("the store answered a nested transaction with something else")
    return found
