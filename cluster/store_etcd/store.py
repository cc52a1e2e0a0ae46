"""The five verbs over etcd v3.

Rules: reads are linearizable; a commit is sent at most once unless nothing can have happened, so it
may end as `Unknown`, and then only reading tells. A read that doesn't show the commit yet proves
nothing while a member that was handed it may be asleep: let the next commit compare something
that the doubtful one would have changed.
"""

from collections.abc import AsyncGenerator

from cluster.errors import Trouble
from cluster.seams import Clock
from cluster.store import Changes, Entry, Lease, Mark, Scan, Txn, TxnResult
from cluster.store_etcd import lease as leases
from cluster.store_etcd import watch as watches
from cluster.store_etcd.channels import REQUIRE_LEADER, Endpoint, EtcdOptions, EtcdTls
from cluster.store_etcd.client import Client
from cluster.store_etcd.codec import decode_first, decode_txn, encode_txn
from cluster.store_etcd.scan import read_all
from cluster.txn_rules import check_current
from proto.rpc.etcd import rpc_pb2

UNSOUND_VERSIONS = ("3.5.0", "3.5.1", "3.5.2")


def version_warning(version: str) -> str | None:
    """What a person should know about this etcd, if anything."""
    if version in UNSOUND_VERSIONS:
        return (
            f"etcd {version} can lose data when it crashes under load (fixed in 3.5.3): "
            "use it for trying out only"
        )
    return None


class EtcdStore:
    """A `Store` over etcd v3. Make it where a loop runs."""

    def __init__(self, options: EtcdOptions, clock: Clock, tls: EtcdTls | None = None) -> None:
        self._client = Client(options, clock, tls)
        self._watches = 0

    async def get(self, key: bytes) -> Entry | None:
        """The newest committed entry. Raises Unavailable."""
        answer = await self._range(rpc_pb2.RangeRequest(key=key))
        return decode_first(answer.kvs)

    async def scan(self, prefix: bytes) -> Scan:
        """Everything under `prefix` at one revision, page by page. Raises Unavailable."""
        return await read_all(self._range, prefix)

    async def commit(self, txn: Txn) -> TxnResult:
        """Carry out `txn`. Raises Unavailable and LeaseLost (nothing happened), Unknown (it may
        have), ValueError (against the rules)."""
        check_current(txn)
        request = encode_txn(txn)

        async def attempt(endpoint: Endpoint, timeout_s: float) -> rpc_pb2.TxnResponse:
            answer: rpc_pb2.TxnResponse = await endpoint.txn(
                request, timeout=timeout_s, metadata=REQUIRE_LEADER
            )
            return answer

        answer = await self._client.once(attempt)
        self._client.saw(answer.header)
        return decode_txn(txn, answer, answer.header.revision)

    def watch(self, prefix: bytes, from_revision: int) -> AsyncGenerator[Changes, None]:
        """Changes under `prefix` from `from_revision` (at least 1) on. Raises Compacted."""
        if from_revision < 1:
            raise ValueError(f"a watch from revision {from_revision}")
        self._watches += 1
        return watches.watch(self._client, prefix, from_revision, self._watches)

    async def lease(self, ttl_s: float, lease_id: int = 0) -> Lease:
        """Grant a lease; with an id that exists already, that one. Raises Unavailable."""
        return await leases.grant(self._client, ttl_s, lease_id)

    def held(self, lease_id: int, ttl_s: float) -> Lease:
        """A lease granted before."""
        return leases.EtcdLease(self._client, lease_id, ttl_s)

    async def mark(self, key: bytes) -> Mark:
        """The entry of `key`, with which etcd answers and its revision. Raises Unavailable."""
        answer = await self._range(rpc_pb2.RangeRequest(key=key))
        header = answer.header
        return Mark(header.cluster_id, header.revision, decode_first(answer.kvs))

    def explain(self) -> tuple[Trouble, str]:
        """Why etcd didn't answer lately, and the words of that failure."""
        return self._client.explain()

    async def close(self) -> None:
        """Ends every call and watch."""
        await self._client.close()

    async def compact(self, revision: int) -> None:
        """Forget the history before `revision`. Raises Unavailable, Compacted, ValueError."""

        async def attempt(endpoint: Endpoint, timeout_s: float) -> None:
            await endpoint.compact(
                rpc_pb2.CompactionRequest(revision=revision),
                timeout=timeout_s,
                metadata=REQUIRE_LEADER,
            )

        await self._client.repeat(attempt)

    async def server_version(self) -> str:
        """The version of the etcd member asked first. Raises Unavailable."""
        return (await self._client.repeat(self._client.status)).version

    async def _range(self, request: rpc_pb2.RangeRequest) -> rpc_pb2.RangeResponse:
        async def attempt(endpoint: Endpoint, timeout_s: float) -> rpc_pb2.RangeResponse:
            answer: rpc_pb2.RangeResponse = await endpoint.range(
                request, timeout=timeout_s, metadata=REQUIRE_LEADER
            )
            return answer

        answer = await self._client.repeat(attempt)
        self._client.saw(answer.header)
        return answer
