"""What etcd refuses about a transaction, said before it is sent.

Rules: the same refusals as etcd 3.4's, or a little stricter (a key deleted twice in one transaction
is refused too), so that code proved on the store in memory runs on etcd. A transaction that does
nothing is refused: etcd has no read in it to make current, and answers it from whichever member was
asked, at the revision of that one. A member of etcd that lags would look like a store that was put
back (`cluster.rewind`).
"""

from cluster.store import MAX_OPS, Delete, Get, Put, Txn

MAX_REQUEST_OCTETS = 1536 * 1024
"""etcd's default limit of one request."""

MAX_DEPTH = 3
"""A transaction, those nested in it, and those in these. etcd has no limit of its own."""

Op = Put | Delete | Get | Txn


def check_txn(txn: Txn) -> None:
    """Refuses what etcd would: too many operations, an empty key, a key written twice, too big;
    and one without operations.

    Raises ValueError.
    """
    operations = _count_operations(txn, 1)
    if operations > MAX_OPS:
        raise ValueError(f"{operations} operations in one transaction, at most {MAX_OPS}")
    _written(txn)
    octets = _octets(txn)
    if octets > MAX_REQUEST_OCTETS:
        raise ValueError(f"{octets} octets in one transaction, at most {MAX_REQUEST_OCTETS}")
    check_current(txn)


def check_current(txn: Txn) -> None:
    """Refuses a transaction that etcd might answer from the past. Raises ValueError."""
    if not (txn.success or txn.failure):
        raise ValueError("a transaction without operations, which may be answered from the past")


def _count_operations(txn: Txn, depth: int) -> int:
    if depth > MAX_DEPTH:
        raise ValueError("transactions are nested twice at most")
    nested = [
        _count_operations(op, depth + 1)
        for op in (*txn.success, *txn.failure)
        if isinstance(op, Txn)
    ]
    own = max(len(txn.compares), len(txn.success), len(txn.failure))
    return own + max(nested, default=0)


def _written(txn: Txn) -> set[bytes]:
    for compare in txn.compares:
        _check_key(compare.key)
    return _branch_written(txn.success) | _branch_written(txn.failure)


def _branch_written(ops: tuple[Op, ...]) -> set[bytes]:
    written: set[bytes] = set()
    for op in ops:
        if isinstance(op, Txn):
            keys = _written(op)
        else:
            _check_key(op.key)
            keys = set() if isinstance(op, Get) else {op.key}
        twice = written & keys
        if twice:
            raise ValueError(f"key {min(twice)!r} is written twice in one transaction")
        written |= keys
    return written


def _check_key(key: bytes) -> None:
    if not key:
        raise ValueError("the empty key")


def _octets(txn: Txn) -> int:
    total = sum(len(compare.key) for compare in txn.compares)
    for op in (*txn.success, *txn.failure):
        if isinstance(op, Txn):
            total += _octets(op)
        else:
            total += len(op.key) + (len(op.value) if isinstance(op, Put) else 0)
    return total
