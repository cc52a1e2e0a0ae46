"""`pools`: how full the pools of internal addresses are."""

from collections.abc import Sequence

from node.admin_view import PoolInfo
from node.cli.admin import Reach, ask
from node.cli.output import Output, print_json, print_table

COLUMNS = ("POOL", "ADDRESSES", "SIZE", "USED", "FREE", "FREE WITHOUT ETCD")


def listed(whom: Reach, output: Output) -> None:
    """Print every pool; the last column is of the member that answers."""
    found = ask(whom, lambda client: client.pools())
    if output is Output.JSON:
        print_json({"pools": found})
        return
    print_table(COLUMNS, map(_row, found))


def _row(pool: PoolInfo) -> Sequence[str]:
    free = pool.size - pool.used
    numbers = (pool.size, pool.used, free, pool.free_here)
    return (pool.name, f"{pool.first}-{pool.last}", *map(str, numbers))
