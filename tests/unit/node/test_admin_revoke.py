"""Revoking through the administration: an operator may, a member may not."""

import pytest

from cluster.errors import Conflict
from node.admin_client import AdminError
from node.admin_view import Command, Revoke, Revoked
from tests.unit.node.test_admin import Cluster, cluster, session

__all__ = ["cluster"]  # a fixture


async def test_an_operator_revokes_and_looks_at_what_is_revoked(cluster: Cluster) -> None:
    view = cluster.views["gw1"]
    wanted = Revoke("identity", b"", "rfc822:a@b", 0.0)
    async with cluster.client(cluster.pki.operator()) as client:
        assert await client.revoke(wanted) == Revoked("0102", 0, None)
        assert await client.revocations() == tuple(view.revocations())
        view.failure = Conflict("too many")
        with pytest.raises(AdminError, match="too many"):
            await client.revoke(wanted)
    assert view.asked == [("void", wanted)]
    assert view.noted == [
        (
            Command.REVOKE,
            "admin",
            {"kind": "identity", "sessions": 0, "revocation": "0102"},
            "",
        ),
        (Command.REVOKE, "admin", {"kind": "identity", "sessions": 0}, "too many"),
    ], "whose it is isn't kept anywhere"
    async with cluster.client(cluster.pki.member("gw2")) as client:
        with pytest.raises(AdminError, match="operator's certificate"):
            await client.revoke(wanted)
        with pytest.raises(AdminError, match="operator's certificate"):
            await client.revocations()


async def test_an_operator_is_told_what_a_revocation_hits(cluster: Cluster) -> None:
    one, two = cluster.views["gw1"], cluster.views["gw2"]
    elsewhere = Revoke("session", session(100, "gw2").chain)
    nowhere = Revoke("session", bytes(15) + b"\xff")
    async with cluster.client(cluster.pki.operator()) as client:
        assert await client.revoke(elsewhere) == Revoked("0102", 1, True)
        assert await client.revoke(nowhere) == Revoked("0102", 0, False)
        one.stored = (nowhere.chain,)
        assert await client.revoke(nowhere) == Revoked("0102", 0, True)
        two.held.append(one.held[0])
        assert await client.revoke(Revoke("session", one.held[0].chain)) == Revoked("0102", 2, True)
        await cluster.servers["gw2"].stop(None)
        assert await client.revoke(elsewhere) == Revoked("0102", 0, False, ("gw2",))
        before = Revoke("issued-before", before_wall_s=1.0)
        assert await client.revoke(before) == Revoked("0102", 0, None)
    assert two.asked == [], "it is made once, and counted there"
    async with cluster.client(cluster.pki.member("gw2")) as client:
        assert await client.concerned(Revoke("session", one.held[0].chain)) == 1
