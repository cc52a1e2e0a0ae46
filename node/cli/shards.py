"""`shards`: who owns what, and moving it."""

from collections.abc import Sequence

from node.admin_view import ShardInfo
from node.cli.admin import Reach, ask
from node.cli.failure import ExitCode, Failed
from node.cli.output import Output, print_json, print_table

COLUMNS = ("SHARD", "OWNER", "FENCE", "SESSIONS", "HOME")


def listed(whom: Reach, output: Output) -> None:
    """Print every shard."""
    found = ask(whom, lambda client: client.shards())
    if output is Output.JSON:
        print_json({"shards": found})
        return
    print_table(COLUMNS, map(_row, found))


def move(whom: Reach, shard: str, member: str, output: Output) -> None:
    """Hand one shard to a member."""
    try:
        number = int(shard, 16)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 16:
        right = "up to four hex digits, as the list shows it"
        raise Failed(ExitCode.COULD_NOT_RUN, [f"SHARD: {shard} → {right}"])
    former = ask(whom, lambda client: client.move_shard(number, member))
    if output is Output.JSON:
        print_json({"shard": number, "former": former, "member": member})
    else:
        print(f"{number:04x}: from {former} to {member}")


def _row(shard: ShardInfo) -> Sequence[str]:
    sessions = "" if shard.sessions_here is None else str(shard.sessions_here)
    return (f"{shard.shard:04x}", shard.owner or "-", str(shard.fence), sessions, shard.home)
