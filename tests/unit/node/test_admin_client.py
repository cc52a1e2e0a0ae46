"""What is said of a call that wasn't answered."""

import asyncio

import grpc
import grpc.aio
import pytest

from node.admin_client import AdminError, _answer


async def late() -> None:
    """A member that doesn't answer in time."""
    nothing = grpc.aio.Metadata()
    raise grpc.aio.AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, nothing, nothing)


async def another_server() -> None:
    """One with a certificate of the same authority that is no gateway, such as etcd."""
    nothing = grpc.aio.Metadata()
    why = "unknown service standfast.admin.v1.Admin"
    raise grpc.aio.AioRpcError(grpc.StatusCode.UNIMPLEMENTED, nothing, nothing, why)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (False, "the member did not answer in time"),
        (True, "the member did not answer in time; it may have been carried out, or not"),
    ],
)
def test_a_change_that_is_not_answered_in_time_may_have_been_made(changes: bool, said: str) -> None:
    with pytest.raises(AdminError) as failed:
        asyncio.run(_answer(late(), changes=changes))
    assert str(failed.value) == said


def test_what_is_no_gateway_is_called_so() -> None:
    with pytest.raises(AdminError, match=r"is no gateway, .*\(unknown service .*→ a gateway's rpc"):
        asyncio.run(_answer(another_server()))
