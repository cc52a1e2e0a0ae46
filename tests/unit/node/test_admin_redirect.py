"""Sessions are redirected over the real gRPC server: who may, whom it reaches, what is refused."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from node.admin_client import AdminError
from node.admin_view import Redirect, Redirected
from node.redirects import checked
from tests.unit.node.test_admin import Cluster, FakeView, Pki


class View(FakeView):
    """One that says what it is asked."""

    async def redirect(self, what: Redirect, who: str) -> Redirected:
        self.asked.append((what, who))
        return Redirected(told=len(self.held), there=1, busy=2)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    made = Cluster(Pki(tmp_path))
    made.views = {"gw1": View("gw1", range(3)), "gw2": View("gw2", range(100, 102))}
    await made.start()
    yield made
    await made.stop()


async def test_every_member_does_its_part(cluster: Cluster) -> None:
    what = Redirect("192.0.2.9", "rfc822:*@example.com")
    async with cluster.client(cluster.pki.operator()) as client:
        assert await client.redirect(what) == Redirected(told=5, there=2, busy=4)
    assert cluster.views["gw1"].asked == [(what, "admin")]
    assert cluster.views["gw2"].asked == [(what, "admin through gw1")]


async def test_one_member_alone_and_none_that_is_not_there(cluster: Cluster) -> None:
    async with cluster.client(cluster.pki.operator()) as client:
        done = await client.redirect(Redirect("gw9.example.com", "*", "gw2"))
        assert done == Redirected(told=2, there=1, busy=2)
        with pytest.raises(AdminError, match="no live member gw7"):
            await client.redirect(Redirect("192.0.2.9", "*", "gw7"))
    assert cluster.views["gw1"].asked == []


async def test_a_member_that_does_not_answer_is_named(cluster: Cluster) -> None:
    cluster.views["gw1"].others["gw3"] = "127.0.0.1:1"
    async with cluster.client(cluster.pki.operator()) as client:
        done = await client.redirect(Redirect("192.0.2.9", "*"))
    assert (done.told, done.unreachable) == (5, ("gw3",))


@pytest.mark.parametrize(("to", "identity"), [("not a name", "*"), ("192.0.2.9", "al*ce")])
async def test_what_is_no_gateway_or_no_pattern_reaches_nobody(
    cluster: Cluster, to: str, identity: str
) -> None:
    what = Redirect(to, identity)
    with pytest.raises(ValueError, match=r"such as|NAME"):
        checked(what)
    async with cluster.client(cluster.pki.operator()) as client:
        with pytest.raises(AdminError):
            await client.redirect(what)
    assert cluster.views["gw1"].asked == cluster.views["gw2"].asked == []


async def test_a_member_may_ask_for_ones_own_alone(cluster: Cluster) -> None:
    what = Redirect("192.0.2.9", "*")
    async with cluster.client(cluster.pki.member("gw1"), "gw2") as client:
        assert (await client.redirect(what, local_only=True)).told == 2
        with pytest.raises(AdminError, match="operator"):
            await client.redirect(what)


async def test_an_operator_speaks_for_nobody_else(cluster: Cluster) -> None:
    what = Redirect("192.0.2.9", "*")
    async with cluster.client(cluster.pki.operator()) as client:
        await client.redirect(what, asked_by="somebody")
        await client.redirect(what, local_only=True, asked_by="somebody")
    assert [who for _, who in cluster.views["gw1"].asked] == ["admin", "admin"]
    assert [who for _, who in cluster.views["gw2"].asked] == ["admin through gw1"]


async def test_a_member_that_says_nothing_of_an_operator_is_named_itself(cluster: Cluster) -> None:
    what = Redirect("192.0.2.9", "*")
    async with cluster.client(cluster.pki.member("gw1"), "gw2") as client:
        await client.redirect(what, local_only=True)
    assert cluster.views["gw2"].asked == [(what, "gw1")]
