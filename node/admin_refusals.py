"""How a call of the administration ends that isn't answered: one line, and a code of gRPC's.

Rules: what was to change something says what came of it, in the words of `outcome` alone.
"""

from typing import Any, NoReturn

import grpc
import grpc.aio

from cluster.errors import ClusterError, Conflict, Unavailable, Unknown
from node.admin_view import Command

SPI_OCTETS = 8
_TELLS = {
    Command.TERMINATE: "`standfast sessions list`",
    Command.MOVE: "`standfast shards list`",
    Command.ROTATE: "`standfast keys list`",
    Command.CANCEL: "`standfast keys list`",
    Command.REVOKE_KEY: "`standfast keys list`",
    Command.REWRAP: "the same command again",
    Command.REVOKE: "`standfast revocations list`",
    Command.WRITE_OFF: "`standfast status`",
    Command.ACCEPT_RESTORE: "`standfast status`",
}
"""Where one sees whether it was carried out."""

Context = grpc.aio.ServicerContext[Any, Any]


async def check_spi(spi: bytes, context: Context) -> None:
    """End the call unless an SPI has 8 octets."""
    if len(spi) != SPI_OCTETS:
        await context.abort(
            grpc.StatusCode.INVALID_ARGUMENT, f"an SPI of {len(spi)} octets → {SPI_OCTETS} octets"
        )


async def not_found(spi: bytes, unreachable: list[str], context: Context) -> NoReturn:
    """End the call: the session is at nobody who answered."""
    if unreachable:
        names = ", ".join(unreachable)
        text = f"no session {spi.hex()} at those who answered ({names} did not)"
        await context.abort(grpc.StatusCode.UNAVAILABLE, text)
    await context.abort(grpc.StatusCode.NOT_FOUND, f"no session {spi.hex()}")
    raise AssertionError("abort returned")


async def refuse(error: ClusterError, context: Context) -> NoReturn:
    """End the call with the failure's line."""
    code = grpc.StatusCode.FAILED_PRECONDITION
    if isinstance(error, Unavailable | Unknown):
        code = grpc.StatusCode.UNAVAILABLE
    elif isinstance(error, Conflict):
        code = grpc.StatusCode.ABORTED
    await context.abort(code, str(error))
    raise AssertionError("abort returned")


def outcome(error: ClusterError, command: Command, *, begun: bool = False) -> ClusterError:
    """The failure, and what it leaves behind; `begun`: of several steps some were told of."""
    if isinstance(error, Unknown):
        tells = _TELLS[command]
        return Unknown(f"{error}; it may have been carried out, or not: see {tells}")
    if isinstance(error, Unavailable):
        left = "what is told above was done, the rest was not" if begun else "nothing was changed"
        return Unavailable(f"{error}; {left}")
    return error
