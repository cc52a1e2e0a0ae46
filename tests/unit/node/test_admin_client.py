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
