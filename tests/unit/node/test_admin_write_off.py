"""Writing a member off: an operator may, a member may not, and who it was is handed on."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cluster.errors import Conflict
from node.admin_client import AdminError
from node.admin_view import Command
from node.cli.admin import Reach, member_write_off
from node.cli.failure import Failed
from node.cli.output import Output
from tests.unit.node.test_admin import Cluster, FakeView, Pki


class Waiting(FakeView):
    """A member that waits for another one."""

    async def write_off(self, name: str, who: str, progress: Callable[[str], None]) -> None:
        if name != "gw3":
            raise Conflict(f"nothing waits for {name}")
        self.asked.append(("write off", name, who))
        progress("gw3 is written off")


@pytest.fixture
async def waiting(tmp_path: Path) -> AsyncIterator[Cluster]:
    cluster = Cluster(Pki(tmp_path))
    cluster.views = {"gw1": Waiting("gw1", ())}
    await cluster.start()
    yield cluster
    await cluster.stop()


async def test_an_operator_writes_a_member_off(waiting: Cluster) -> None:
    async with waiting.client(waiting.pki.operator()) as client:
        assert [s.line async for s in client.write_off("gw3")] == ["gw3 is written off"]
        with pytest.raises(AdminError, match="nothing waits for gw1"):
            _ = [step async for step in client.write_off("gw1")]
    async with waiting.client(waiting.pki.member("gw2")) as client:
        with pytest.raises(AdminError, match="operator's certificate"):
            _ = [step async for step in client.write_off("gw3")]
    (asked,) = waiting.views["gw1"].asked
    assert asked[:2] == ("write off", "gw3")
    assert asked[2]
    assert waiting.views["gw1"].noted == [
        (Command.WRITE_OFF, "admin", {"member": "gw3"}, ""),
        (Command.WRITE_OFF, "admin", {"member": "gw1"}, "nothing waits for gw1"),
    ]


def test_nobody_is_written_off_in_passing():
    with pytest.raises(Failed, match="--yes"):
        member_write_off(Reach((), "", "", ""), "gw3", Output.TABLE, yes=False)
