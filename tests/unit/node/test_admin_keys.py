"""Keys through the administration: listed, rotated, taken back, revoked, rewrapped."""

import asyncio

import pytest

from cluster.errors import Conflict, Unavailable, Unknown
from cluster.keyring import RingPolicy, revoke
from node.admin_client import AdminError
from node.admin_refusals import outcome
from node.admin_view import Command
from tests.unit.node.test_admin import NOW, Cluster, cluster

__all__ = ["cluster"]  # a fixture


async def test_keys_are_described_and_never_shown(cluster: Cluster) -> None:
    async with cluster.client(cluster.pki.operator()) as client:
        keys = await client.keys()
    assert {key.purpose for key in keys} == {"ticket", "record", "cookie", "qcd"}
    assert [key.state for key in keys if key.purpose == "ticket"] == ["sealing", "announced"]
    ring = cluster.views["gw1"].ring
    shown = repr(keys)
    for held in (ring.tickets, ring.records, ring.cookie_keys, ring.qcd):
        for key in held.keys:
            assert key.secret.octets.hex()[:16] not in shown
            assert repr(key.secret.octets) not in shown


async def test_a_rotation_streams_its_steps(cluster: Cluster) -> None:
    cluster.views["gw1"].go_on.set()
    async with cluster.client(cluster.pki.operator()) as client:
        steps = [step.line async for step in client.rotate()]
    assert steps == ["announced: key 0102", "activated: key 0102"]


async def test_a_second_rotation_is_refused_and_the_first_survives_its_operator(
    cluster: Cluster,
) -> None:
    view = cluster.views["gw1"]
    async with cluster.client(cluster.pki.operator()) as client:
        first = client.rotate()
        assert (await anext(first)).line == "announced: key 0102"
        with pytest.raises(AdminError, match=r"another rotation is .* → .*keys cancel"):
            await anext(client.rotate())
        await first.aclose()
    assert view.rotations == 0
    view.go_on.set()
    async with asyncio.timeout(60):
        await view.rotated.wait()
    assert view.rotations == 1
    async with cluster.client(cluster.pki.operator()) as client:
        assert [step.line async for step in client.rotate()] == [
            "announced: key 0102",
            "activated: key 0102",
        ]


async def test_a_rotation_that_fails_says_why(cluster: Cluster) -> None:
    view = cluster.views["gw1"]
    view.go_on.set()
    view.failure = Conflict("gw2 has not installed the ring")
    async with cluster.client(cluster.pki.operator()) as client:
        with pytest.raises(AdminError, match="gw2 has not installed the ring"):
            [step async for step in client.rotate()]


async def test_an_operators_word_reaches_the_member(cluster: Cluster) -> None:
    view = cluster.views["gw1"]
    view.go_on.set()
    async with cluster.client(cluster.pki.operator()) as client:
        _ = [step async for step in client.rotate(force=True)]
        _ = [step async for step in client.rotate()]
        assert await client.cancel_rotation() == "0102030405060708"
        assert [step.line async for step in client.revoke_key("0102")] == ["revoked: key 0102"]
        view.failure = Conflict("no rotation is under way")
        with pytest.raises(AdminError, match="no rotation is under way"):
            await client.cancel_rotation()
        with pytest.raises(AdminError, match="no rotation is under way"):
            _ = [step async for step in client.revoke_key("0102")]
    assert view.asked[:4] == [("rotate", True), ("rotate", False), ("cancel",), ("revoke", "0102")]
    why = "no rotation is under way"
    assert view.noted == [
        (Command.ROTATE, "admin", {"force": True}, ""),
        (Command.ROTATE, "admin", {"force": False}, ""),
        (Command.CANCEL, "admin", {"key": "0102030405060708"}, ""),
        (Command.REVOKE_KEY, "admin", {"key": "0102"}, ""),
        (Command.CANCEL, "admin", {}, why),
        (Command.REVOKE_KEY, "admin", {"key": "0102"}, why),
    ]


async def test_a_rewrap_asks_every_member_what_it_holds(cluster: Cluster) -> None:
    one, two = cluster.views["gw1"], cluster.views["gw2"]
    async with cluster.client(cluster.pki.operator()) as client:
        assert [s.line async for s in client.rewrap(b"kek-new.")] == ["held by ['gw1', 'gw2']"]
        two.kek_ids = (b"kek-old.",)  # another one than it was asked for
        assert [s.line async for s in client.rewrap(b"kek-new.")] == ["held by ['gw1']"]
        two.failure = Unavailable("its file can't be read")
        assert [s.line async for s in client.rewrap(b"kek-old.")] == ["held by ['gw1']"]
    assert [asked[0] for asked in one.asked] == ["rewrap"] * 3
    assert one.noted[0] == (Command.REWRAP, "admin", {"kek": b"kek-new.".hex()}, "")
    assert two.asked == []


async def test_a_revoked_key_is_listed_as_such(cluster: Cluster) -> None:
    view = cluster.views["gw1"]
    key_id = view.ring.tickets.keys[0].key_id
    view.ring = revoke(view.ring, key_id, NOW + 2, RingPolicy())
    async with cluster.client(cluster.pki.operator()) as client:
        keys = await client.keys()
    states = [(key.id, key.state) for key in keys if key.purpose == "ticket"]
    assert states[-1] == (key_id[:4].hex(), "revoked")
    assert [state for _, state in states] == ["announced", "revoked"]


async def test_a_step_that_crashes_is_no_success(cluster: Cluster) -> None:
    view = cluster.views["gw1"]
    view.failure = ZeroDivisionError("a fault of ours")  # type: ignore[assignment]
    async with cluster.client(cluster.pki.operator()) as client:
        with pytest.raises(AdminError, match="ended unexpectedly"):
            _ = [step async for step in client.revoke_key("0102")]


async def test_what_fails_on_its_way_says_what_is_left(cluster: Cluster) -> None:
    view = cluster.views["gw1"]
    view.failure = Unavailable("etcd did not answer in 3 s")
    async with cluster.client(cluster.pki.operator()) as client:
        with pytest.raises(AdminError, match=r"in 3 s; nothing was changed$"):
            await client.cancel_rotation()
        with pytest.raises(AdminError, match="in 3 s; what is told above was done, the rest was n"):
            _ = [step async for step in client.revoke_key("0102")]
        view.failure = Unknown("etcd at a: no answer")
        with pytest.raises(AdminError, match="carried out, or not: see `standfast keys list`"):
            _ = [step async for step in client.revoke_key("0102")]
        view.failure = Conflict("there is no ticket key")
        with pytest.raises(AdminError, match=r"no ticket key$"):
            _ = [step async for step in client.revoke_key("0102")]


def test_every_command_has_a_place_where_its_outcome_is_seen() -> None:
    for command in Command:
        assert "it may have been" in str(outcome(Unknown("x"), command))
