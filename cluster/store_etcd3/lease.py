"""Leases through the `etcd3` package.

Rules: as `cluster.store_etcd.lease`: a grant with an id of one's own may be repeated, and finds the
lease that an earlier attempt made; a renewal is one short stream; TTLs are whole seconds, rounded
up.
"""

import math

import grpc

from cluster.errors import LeaseLost
from cluster.store_etcd.channels import REQUIRE_LEADER
from cluster.store_etcd3.calls import Calls, NoAnswer, status_of
from cluster.store_etcd3.library import Etcd3Client
from proto.rpc.etcd import rpc_pb2


class Etcd3Lease:
    """A `Lease` of an `Etcd3Store`."""

    def __init__(self, calls: Calls, lease_id: int, ttl_s: float) -> None:
        self._calls = calls
        self.lease_id = lease_id
        self.ttl_s = ttl_s

    async def keep_alive(self) -> float:
        """Renew once; the TTL granted, seconds. Raises LeaseLost, Unavailable."""
        ttl = await self._calls.repeat(self._keep_alive)
        if ttl <= 0:
            raise LeaseLost(f"lease {self.lease_id:x} has expired or was revoked")
        return float(ttl)

    async def revoke(self) -> None:
        """End it now, with all its keys. Raises Unavailable; already gone is no error."""

        def attempt(client: Etcd3Client, _timeout_s: float) -> None:
            client.revoke_lease(self.lease_id)

        try:
            await self._calls.repeat(attempt)
        except LeaseLost:
            return

    def _keep_alive(self, client: Etcd3Client, _timeout_s: float) -> int:
        for answer in client.refresh_lease(self.lease_id):
            return answer.TTL
        raise NoAnswer("the keep-alive's stream ended without an answer")


async def grant(calls: Calls, ttl_s: float, lease_id: int) -> Etcd3Lease:
    """A new lease, or the one that has this id already. Raises Unavailable."""

    def attempt(client: Etcd3Client, timeout_s: float) -> Etcd3Lease:
        try:
            made = client.lease(max(1, math.ceil(ttl_s)), lease_id)
        except calls.library.failure as error:
            if not lease_id or status_of(error).code() is not grpc.StatusCode.FAILED_PRECONDITION:
                raise
        else:
            return Etcd3Lease(calls, made.id, float(made.ttl))
        # by the stub: the package would ask for the names of all keys under the lease as well
        found = client.leasestub.LeaseTimeToLive(
            rpc_pb2.LeaseTimeToLiveRequest(ID=lease_id), timeout_s, metadata=REQUIRE_LEADER
        )
        if found.TTL <= 0:
            raise NoAnswer(f"lease {lease_id:x} ended while it was looked at")
        return Etcd3Lease(calls, lease_id, float(found.grantedTTL))

    return await calls.repeat(attempt)
