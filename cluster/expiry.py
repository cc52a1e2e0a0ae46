"""One lease per expiry bucket: what nobody comes back for is forgotten, without many leases.

Rules: a bucket's lease has an id that every member computes alike, so granting is idempotent and
nobody has to remember or renew it: its time to live reaches the bucket's end at once, plus a slack
for clocks that disagree. The store may keep keys longer (a change of leader renews leases): expiry
cleans up, it decides nothing.
"""

import hashlib

from cluster.seams import Clock
from cluster.store import Store

BUCKET_S = 3600
"""Width of a bucket: how much longer than needed a key may stay."""
SLACK_S = 300.0
"""For clocks of members that disagree; also the least time to live of a bucket already over."""
LEASES_MAX = 4096
"""Bound of the leases remembered as granted."""


class ExpiryBuckets:
    """The leases of one cluster's buckets, granted when first needed."""

    def __init__(self, store: Store, root: bytes, clock: Clock, bucket_s: int = BUCKET_S) -> None:
        """`root`: the cluster's key prefix; clusters that share a store don't share leases."""
        self._store = store
        self._root = root
        self._clock = clock
        self._bucket_s = bucket_s
        self._granted: dict[int, int] = {}

    def ends_s(self, expires_wall_s: float) -> int:
        """The end of the bucket that `expires_wall_s` falls in, seconds since 1970."""
        return (int(expires_wall_s) // self._bucket_s + 1) * self._bucket_s

    def lease_id(self, ends_s: int) -> int:
        """The lease id of the bucket that ends then: the same at every member, 1 to 2^63 − 1."""
        octets = self._root + ends_s.to_bytes(8, "big")
        digest = hashlib.blake2s(octets, digest_size=8, person=b"sf lease").digest()
        return (int.from_bytes(digest, "big") >> 1) or 1

    def granted(self, expires_wall_s: float) -> int:
        """The lease to put a key under; 0 if it must be granted first."""
        return self._granted.get(self.ends_s(expires_wall_s), 0)

    async def grant(self, expires_wall_s: float) -> int:
        """The same, granted now if need be. Raises Unavailable."""
        ends_s = self.ends_s(expires_wall_s)
        known = self._granted.get(ends_s)
        if known is not None:
            return known
        ttl_s = max(ends_s - self._clock.wall_s(), 0.0) + SLACK_S
        lease_id = (await self._store.lease(ttl_s, self.lease_id(ends_s))).lease_id
        if len(self._granted) >= LEASES_MAX:
            del self._granted[next(iter(self._granted))]
        self._granted[ends_s] = lease_id
        return lease_id

    def forget(self) -> None:
        """Grant again what is needed next: the store said that a lease is gone."""
        self._granted.clear()
