"""Internal addresses and what goes with them, as the core sees them (RFC 7296 2.19, 3.15).

Rules: which address is free is known outside; a write that leases it is made of what is chosen
here, and decides.
"""

import ipaddress
from typing import Protocol

import msgspec

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Pool(msgspec.Struct, frozen=True):
    """What a client gets with an address of it."""

    name: str
    version: int
    """4 or 6."""
    dns: tuple[Address, ...] = ()
    subnets: tuple[Network, ...] = ()
    """What is reached through the gateway; empty: everything."""
    domains: tuple[str, ...] = ()
    """Names that these servers are to be asked for (RFC 8598); empty: all."""


class Leased(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An internal address that a session has."""

    pool: str
    packed: bytes
    """4 or 16 octets."""

    @property
    def address(self) -> Address:
        """The address."""
        return ipaddress.ip_address(self.packed)


class Configured(msgspec.Struct, frozen=True):
    """What a gateway has given its client."""

    addresses: tuple[Address, ...] = ()
    dns: tuple[Address, ...] = ()
    subnets: tuple[Network, ...] = ()
    domains: tuple[str, ...] = ()


class Addresses(Protocol):
    """Which internal addresses are free. Implementer: `node.pools.PoolAddresses`."""

    def choose(self, pool: str, chain: bytes, wanted: Address | None) -> Address | None:
        """A free one of `pool` for a session that begins, `wanted` if that can be; None: there is
        none.
        """
        ...


class NoAddresses:
    """Implements `Addresses` for an endpoint without pools."""

    def choose(self, pool: str, chain: bytes, wanted: Address | None) -> Address | None:
        """None."""
        return None


NO_ADDRESSES = NoAddresses()
