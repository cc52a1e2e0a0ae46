"""Pools of internal addresses: their tables in a gateway's file, and what the parts make of them.

Rules: a pool has the same addresses in every gateway's file; `standfast pools` shows one member's.
"""

import ipaddress
from collections.abc import Sequence

from cluster.addresses import Pool, parse_pool
from node.sections import GatewayConfig, PoolConfig
from node.toml_strict import Problems, show
from proto.ike import pools as core


def check_pools(config: GatewayConfig, problems: Problems) -> None:
    """What is wrong with the tables, and with the names that connections have of them."""
    _check_tables(config.pool, problems)
    names = [pool.name for pool in config.pool]
    named = {"ike.pools": config.ike.pools}
    for number, connection in enumerate(config.connection, 1):
        named[f"connection[{number}].pools"] = connection.pools
    for key, wanted in named.items():
        for name in wanted:
            if name not in names:
                problems.add(key, show(name), "the name of a [[pool]] table of this file")


def _check_tables(pools: Sequence[PoolConfig], problems: Problems) -> None:
    known: dict[str, Pool] = {}
    for number, pool in enumerate(pools, 1):
        where = f"pool[{number}]"
        if pool.name in known:
            problems.add(f"{where}.name", show(pool.name), "a name that no other pool has")
        try:
            ours = parse_pool(pool.name, pool.addresses)
        except ValueError as error:
            problems.add(f"{where}.addresses", show(pool.addresses), str(error))
            continue
        for other in known.values():
            if _overlap(ours, other):
                right = f"addresses that pool {other.name} doesn't have"
                problems.add(f"{where}.addresses", show(pool.addresses), right)
        known[pool.name] = ours
        for server in pool.dns:
            try:
                ipaddress.ip_address(server)
            except ValueError:
                problems.add(f"{where}.dns", show(server), "an address such as 10.0.0.53")
        for subnet in pool.subnets:
            try:
                ipaddress.ip_network(subnet)
            except ValueError:
                right = "a network such as 10.0.0.0/8 (no host bits set)"
                problems.add(f"{where}.subnets", show(subnet), right)


def _overlap(a: Pool, b: Pool) -> bool:
    if a.first.version != b.first.version:
        return False
    first, last = max(int(a.first), int(b.first)), min(_last(a), _last(b))
    return first <= last


def _last(pool: Pool) -> int:
    return int(pool.first) + pool.size - 1


def cluster_pools(pools: Sequence[PoolConfig]) -> list[Pool]:
    """The pools as the cluster's address book has them."""
    return [parse_pool(pool.name, pool.addresses) for pool in pools]


def core_pools(pools: Sequence[PoolConfig], names: Sequence[str]) -> tuple[core.Pool, ...]:
    """Those of `names`, in that order, as the core has them."""
    by_name = {pool.name: pool for pool in pools}
    return tuple(
        core.Pool(
            pool.name,
            parse_pool(pool.name, pool.addresses).first.version,
            tuple(ipaddress.ip_address(server) for server in pool.dns),
            tuple(ipaddress.ip_network(subnet) for subnet in pool.subnets),
            pool.domains,
        )
        for pool in (by_name[name] for name in names)
    )
