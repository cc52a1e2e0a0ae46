"""Internal addresses, leased to session chains through the store: no address twice.

```
address/<pool>/<hex>   chain(16)   octets, under the expiry bucket's lease of the chain
```

Rules: an address is put in the transaction that makes its chain, which compares that it is free,
and again with everything that moves the chain on; it goes with the chain, or expires with it. What
a member believes of the free ones only saves it a refusal. Address n of a pool belongs to shard
n mod shards: an owner takes from its own shards first, so that members don't race, and from them
alone while the store answers nobody, for then the shards are all that is agreed. RFC 7296 3.15,
RFC 5723 5 (R44).
"""

import ipaddress
from collections.abc import Callable, Collection
from typing import Protocol

import msgspec

from cluster.follow import follow
from cluster.layout import Keys
from cluster.seams import Clock
from cluster.store import Entry, Store

POOL_ADDRESSES_MAX = 1 << 20
"""Addresses of one pool that are given out; of a larger network the first so many."""
HELD_S = 120.0
"""How long an address that was chosen is kept for its session until the store has it: a write may
wait for the store."""
HELD_MAX = 65_536
"""Addresses chosen and not in the store yet; beyond it none is given out."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Leased(Protocol):
    """An address that a session has. Implementer: `proto.ike.pools.Leased`."""

    @property
    def pool(self) -> str:
        """The pool's name."""
        ...

    @property
    def packed(self) -> bytes:
        """4 or 16 octets."""
        ...


class Pool(msgspec.Struct, frozen=True):
    """A range of addresses under a name."""

    name: str
    first: Address
    size: int

    def index(self, address: Address) -> int | None:
        """The number of `address` in the pool; None: it isn't of it."""
        if address.version != self.first.version:
            return None
        index = int(address) - int(self.first)
        return index if 0 <= index < self.size else None

    def address(self, index: int) -> Address:
        """The address with that number."""
        return self.first + index


def parse_pool(name: str, text: str) -> Pool:
    """`10.0.0.0/16`, `fd00::/64` or `10.0.0.10-10.0.0.99`. Raises ValueError saying what is right.

    Of an IPv4 network its own and the broadcast address are left out, of an IPv6 network the first
    one (RFC 4291 2.6.1).
    """
    try:
        if "-" in text:
            low, high = (ipaddress.ip_address(part.strip()) for part in text.split("-", 1))
            if low.version != high.version or int(low) > int(high):
                raise ValueError
            return Pool(name, low, min(int(high) - int(low) + 1, POOL_ADDRESSES_MAX))
        network = ipaddress.ip_network(text)
    except ValueError:
        right = "a network such as 10.0.0.0/16, or a range such as 10.0.0.10-10.0.0.99"
        raise ValueError(right) from None
    ends = {4: 2, 6: 1}[network.version] if network.num_addresses > 2 else 0
    first = network.network_address + (1 if ends else 0)
    return Pool(name, first, min(network.num_addresses - ends, POOL_ADDRESSES_MAX))


class Usage(msgspec.Struct, frozen=True):
    """How full a pool is."""

    pool: Pool
    used: int
    reserved: int
    """Of the free ones: those of this member's shards."""


class _Taken:
    """The addresses of one pool that sessions have, by number."""

    def __init__(self, pool: Pool, shards: int) -> None:
        self.pool = pool
        self.shards = shards
        self.chains: dict[int, bytes] = {}
        self.per_shard = [0] * shards
        self.next = list(range(shards))
        """By shard: where to look first, so that an address that was given back rests longest."""

    def add(self, index: int, chain: bytes) -> None:
        if index not in self.chains:
            self.per_shard[index % self.shards] += 1
        self.chains[index] = chain

    def remove(self, index: int) -> None:
        if self.chains.pop(index, None) is not None:
            self.per_shard[index % self.shards] -= 1

    def of_shard(self, shard: int) -> int:
        """How many addresses belong to `shard`."""
        return (self.pool.size - shard + self.shards - 1) // self.shards

    def free_in(self, shard: int) -> int:
        return self.of_shard(shard) - self.per_shard[shard]

    def find(self, shard: int) -> int | None:
        """A free one of `shard`, and the place to look after it next time."""
        if self.free_in(shard) <= 0:
            return None
        index = self.next[shard]
        for _ in range(self.of_shard(shard)):
            if index >= self.pool.size:
                index = shard
            if index not in self.chains:
                self.next[shard] = index + self.shards
                return index
            index += self.shards
        return None


class Addresses:
    """One member's view of all pools."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        clock: Clock,
        pools: Collection[Pool],
        *,
        shards: int,
        owned: Callable[[], Collection[int]],
        agreed: Callable[[], bool],
    ) -> None:
        """`owned`: this member's shards. `agreed`: does the store decide now, so that the addresses
        of others' shards may be asked for?
        """
        self._store = store
        self._keys = keys
        self._clock = clock
        self._owned = owned
        self._agreed = agreed
        self._shards = shards
        self._pools = {pool.name: _Taken(pool, shards) for pool in pools}
        self._held: dict[tuple[str, int], tuple[bytes, float]] = {}
        """Chosen, and not seen in the store yet → chain, until when on the boot clock."""

    async def run(self) -> None:
        """Follow what the store has, for ever."""
        await follow(self._store, self._keys.addresses, self._changed, lambda: None)

    def choose(self, pool: str, chain: bytes, wanted: Address | None) -> Address | None:
        """A free address for a session that begins, `wanted` if that can be; None: there is none.
        It is kept for the chain until `settle`, or for `HELD_S`.
        """
        taken = self._pools.get(pool)
        self._let_go()
        if taken is None or len(self._held) >= HELD_MAX:
            return None
        index = self._index(taken, wanted)
        if index is None:
            return None
        taken.add(index, chain)
        self._held[pool, index] = (chain, self._clock.boot_s() + HELD_S)
        return taken.pool.address(index)

    def keys(self, leased: Collection[Leased]) -> tuple[bytes, ...]:
        """Their keys in the store."""
        return tuple([self._keys.address(row.pool, row.packed) for row in leased])

    def settle(self, chain: bytes, leased: Collection[Leased], durable: bool) -> None:
        """The write that was to lease these has ended."""
        for row in leased:
            taken = self._pools.get(row.pool)
            index = None if taken is None else taken.pool.index(ipaddress.ip_address(row.packed))
            if taken is None or index is None:
                continue
            held = self._held.get((row.pool, index))
            if held is None or held[0] != chain:
                continue
            del self._held[row.pool, index]
            if not durable:
                taken.remove(index)

    def usage(self) -> list[Usage]:
        """Of every pool, in the order of the file."""
        owned = self._owned()
        return [
            Usage(taken.pool, len(taken.chains), sum(taken.free_in(shard) for shard in owned))
            for taken in self._pools.values()
        ]

    def _index(self, taken: _Taken, wanted: Address | None) -> int | None:
        owned, agreed = self._owned(), self._agreed()
        index = None if wanted is None else taken.pool.index(wanted)
        free = index is not None and index not in taken.chains
        if index is not None and free and (agreed or index % self._shards in owned):
            return index
        for shard in owned:
            index = taken.find(shard)
            if index is not None:
                return index
        if not agreed:
            return None
        # fullest last: who owns those shards is likely to need what is left of them
        for shard in sorted(range(self._shards), key=taken.free_in, reverse=True):
            index = taken.find(shard)
            if index is not None:
                return index
        return None

    def _let_go(self) -> None:
        """Of what was chosen and never written: oldest first."""
        now_s = self._clock.boot_s()
        while self._held:
            (pool, index), (_chain, until_s) = next(iter(self._held.items()))
            if until_s > now_s:
                return
            del self._held[pool, index]
            self._pools[pool].remove(index)

    def _changed(self, key: bytes, entry: Entry | None, _revision: int) -> None:
        try:
            pool, _, digits = key.removeprefix(self._keys.addresses).decode().rpartition("/")
            taken = self._pools.get(pool)
            if taken is None:
                return  # of a pool that this member's file doesn't have
            index = taken.pool.index(ipaddress.ip_address(bytes.fromhex(digits)))
        except ValueError:
            return
        if index is None:
            return
        if entry is not None:
            self._held.pop((pool, index), None)
            taken.add(index, entry.value)
        elif (pool, index) not in self._held:
            taken.remove(index)
