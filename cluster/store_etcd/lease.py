"""Leases of etcd.

Rules: a grant with an id of one's own may be repeated, and finds the lease that an earlier attempt
made; each renewal is a stream of its own, so that it has an attempt deadline and another member can
carry it; TTLs are whole seconds, rounded up.
"""

import asyncio
import math

import grpc.aio

from cluster.errors import LeaseLost
from cluster.store_etcd.channels import REQUIRE_LEADER, Endpoint
from cluster.store_etcd.client import CallTimeout, Client
from proto.rpc.etcd import rpc_pb2


class EtcdLease:
    """A `Lease` of an `EtcdStore`."""

    def __init__(self, client: Client, lease_id: int, ttl_s: float) -> None:
        self._client = client
        self.lease_id = lease_id
        self.ttl_s = ttl_s

    async def keep_alive(self) -> float:
        """Renew once; the TTL granted, seconds. Raises LeaseLost, Unavailable."""
        ttl = await self._client.repeat(self._keep_alive)
        if ttl <= 0:
            raise LeaseLost(f"lease {self.lease_id:x} has expired or was revoked")
        return float(ttl)

    async def revoke(self) -> None:
        """End it now, with all its keys. Raises Unavailable; already gone is no error."""

        async def attempt(endpoint: Endpoint, timeout_s: float) -> None:
            await endpoint.revoke(
                rpc_pb2.LeaseRevokeRequest(ID=self.lease_id),
                timeout=timeout_s,
                metadata=REQUIRE_LEADER,
            )

        try:
            await self._client.repeat(attempt)
        except LeaseLost:
            return

    async def _keep_alive(self, endpoint: Endpoint, timeout_s: float) -> int:
        call = endpoint.keep_alive(None, metadata=REQUIRE_LEADER)
        try:
            async with asyncio.timeout(timeout_s):
                await call.write(rpc_pb2.LeaseKeepAliveRequest(ID=self.lease_id))
                answer = await call.read()
        except TimeoutError:
            raise CallTimeout(f"no answer to a keep-alive in {timeout_s:g} s") from None
        finally:
            call.cancel()
        if not isinstance(answer, rpc_pb2.LeaseKeepAliveResponse):
            raise CallTimeout("the keep-alive's stream ended without an answer")
        return answer.TTL


async def grant(client: Client, ttl_s: float, lease_id: int) -> EtcdLease:
    """A new lease, or the one that has this id already. Raises Unavailable."""

    async def attempt(endpoint: Endpoint, timeout_s: float) -> EtcdLease:
        try:
            answer = await endpoint.grant(
                rpc_pb2.LeaseGrantRequest(TTL=max(1, math.ceil(ttl_s)), ID=lease_id),
                timeout=timeout_s,
                metadata=REQUIRE_LEADER,
            )
        except grpc.aio.AioRpcError as error:
            if not lease_id or error.code() is not grpc.StatusCode.FAILED_PRECONDITION:
                raise
        else:
            return EtcdLease(client, answer.ID, float(answer.TTL))
        found = await endpoint.time_to_live(
            rpc_pb2.LeaseTimeToLiveRequest(ID=lease_id),
            timeout=timeout_s,
            metadata=REQUIRE_LEADER,
        )
        if found.TTL <= 0:
            raise CallTimeout(f"lease {lease_id:x} ended while it was looked at")
        return EtcdLease(client, lease_id, float(found.grantedTTL))

    return await client.repeat(attempt)
