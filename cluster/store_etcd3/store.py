"""The five verbs over the `etcd3` package.

Rules: as `cluster.store_etcd.store`, and what it says of `Unknown` holds here too. Where the
package's own call drops what the contract needs, its stub is called instead: `transaction()` loses
the revision, `get_prefix()` ignores limit and revision and stumbles over a prefix that ends in ff.
"""

from collections.abc import AsyncGenerator

from cluster.errors import Trouble
from cluster.seams import Clock
from cluster.store import Changes, Entry, Lease, Mark, Scan, Txn, TxnResult
from cluster.store_etcd.channels import REQUIRE_LEADER, EtcdOptions
from cluster.store_etcd.codec import decode_first, decode_txn, encode_txn
from cluster.store_etcd.scan import read_all
from cluster.store_etcd3 import lease as leases
from cluster.store_etcd3 import watch as watches
from cluster.store_etcd3.calls import Calls, Threads
from cluster.store_etcd3.library import Etcd3Client, Etcd3Files, connect, load
from cluster.txn_rules import check_current
from proto.rpc.etcd import rpc_pb2


class Etcd3Store:
    """A `Store` over the `etcd3` package and one member of etcd. Make it where a loop runs.

    It owns `threads`, and closes them with itself. Raises ValueError (not one endpoint),
    ImportError (the package), OSError (a file).
    """

    def __init__(
        self,
        options: EtcdOptions,
        clock: Clock,
        threads: Threads,
        files: Etcd3Files | None = None,
    ) -> None:
        library = load()
        client = connect(library, options, files)
        self._calls = Calls(library, client, options, clock, threads)
        self._streams: dict[int, watches.Stream] = {}

    async def get(self, key: bytes) -> Entry | None:
        """The newest committed entry. Raises Unavailable."""
        answer = await self._calls.repeat(lambda client, _: client.get_response(key))
        return decode_first(answer.kvs)

    async def scan(self, prefix: bytes) -> Scan:
        """Everything under `prefix` at one revision, page by page. Raises Unavailable."""
        return await read_all(self._range, prefix)

    async def commit(self, txn: Txn) -> TxnResult:
        """Carry out `txn`. Raises Unavailable and LeaseLost (nothing happened), Unknown (it may
        have), ValueError (against the rules)."""
        check_current(txn)
        request = rpc_pb2.TxnRequest.FromString(encode_txn(txn))

        def attempt(client: Etcd3Client, timeout_s: float) -> rpc_pb2.TxnResponse:
            return client.kvstub.Txn(request, timeout_s, metadata=REQUIRE_LEADER)

        answer = await self._calls.once(attempt)
        return decode_txn(txn, answer, answer.header.revision)

    def watch(self, prefix: bytes, from_revision: int) -> AsyncGenerator[Changes, None]:
        """Changes under `prefix` from `from_revision` (at least 1) on. Raises Compacted."""
        if from_revision < 1:
            raise ValueError(f"a watch from revision {from_revision}")
        return watches.watch(self._calls, self._streams, prefix, from_revision)

    async def lease(self, ttl_s: float, lease_id: int = 0) -> Lease:
        """Grant a lease; with an id that exists already, that one. Raises Unavailable."""
        return await leases.grant(self._calls, ttl_s, lease_id)

    def held(self, lease_id: int, ttl_s: float) -> Lease:
        """A lease granted before."""
        return leases.Etcd3Lease(self._calls, lease_id, ttl_s)

    async def mark(self, key: bytes) -> Mark:
        """The entry of `key`, with which etcd answers and its revision. Raises Unavailable."""
        answer = await self._range(rpc_pb2.RangeRequest(key=key))
        header = answer.header
        return Mark(header.cluster_id, header.revision, decode_first(answer.kvs))

    def explain(self) -> tuple[Trouble, str]:
        """Why etcd didn't answer lately, and the words of that failure."""
        return self._calls.explain()

    async def close(self) -> None:
        """Ends every call and watch, and the threads."""
        for stream in list(self._streams.values()):
            stream.stop()
        self._calls.close()

    async def compact(self, revision: int) -> None:
        """Forget the history before `revision`. Raises Unavailable, Compacted, ValueError."""
        await self._calls.repeat(lambda client, _: client.compact(revision))

    async def server_version(self) -> str:
        """The version of the etcd member. Raises Unavailable."""

        def attempt(client: Etcd3Client, timeout_s: float) -> str:
            request = rpc_pb2.StatusRequest()
            status = client.maintenancestub.Status(request, timeout_s, metadata=REQUIRE_LEADER)
            return status.version

        return await self._calls.repeat(attempt)

    async def _range(self, request: rpc_pb2.RangeRequest) -> rpc_pb2.RangeResponse:
        return await self._calls.repeat(
            lambda client, timeout_s: client.kvstub.Range(
                request, timeout_s, metadata=REQUIRE_LEADER
            )
        )
