"""Everything under a prefix at one revision, read page by page: for each of the stores over etcd.

Rules: every page after the first asks for the first one's revision. If that was compacted
meanwhile, the scan begins again. If etcd hasn't come to it yet, its data went back during the scan
(an older copy was started): nothing that was read counts, and whoever scans once more sees the
store as it is now.
"""

from collections.abc import Awaitable, Callable

from cluster.errors import Compacted, Unavailable
from cluster.store import Entry, Scan
from cluster.store_etcd.client import FutureRevision
from cluster.store_etcd.codec import decode_entry, range_end
from proto.rpc.etcd import rpc_pb2

SCAN_PAGE = 500
"""Entries read at once: half a megabyte of records fits an attempt."""
SCAN_RESTARTS_MAX = 3
"""How often a scan begins again because its revision was compacted under it."""

Ask = Callable[[rpc_pb2.RangeRequest], Awaitable[rpc_pb2.RangeResponse]]


async def read_all(ask: Ask, prefix: bytes) -> Scan:
    """Scan by calls to `ask`. Raises Unavailable, Compacted, and what `ask` raises."""
    for _ in range(SCAN_RESTARTS_MAX):
        try:
            return await _read_once(ask, prefix)
        except Compacted:
            continue
    return await _read_once(ask, prefix)


async def _read_once(ask: Ask, prefix: bytes) -> Scan:
    entries: list[Entry] = []
    start, end, revision = prefix or b"\0", range_end(prefix), 0
    while True:
        request = rpc_pb2.RangeRequest(key=start, range_end=end, limit=SCAN_PAGE, revision=revision)
        try:
            answer = await ask(request)
        except FutureRevision as error:
            raise Unavailable(f"etcd went back behind revision {revision} in a scan") from error
        revision = revision or answer.header.revision
        entries += map(decode_entry, answer.kvs)
        if not answer.more:
            return Scan(tuple(entries), revision)
        start = entries[-1].key + b"\0"
