"""How a call of the administration ends that isn't answered: one line, and a code of gRPC's."""

from typing import Any, NoReturn

import grpc
import grpc.aio

from cluster.errors import ClusterError, Conflict, Unavailable, Unknown

SPI_OCTETS = 8

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
