"""Revoking through the administration: an operator may, a member may not."""

import pytest

from cluster.errors import Conflict
from node.admin_client import AdminError
from node.admin_view import Revoke
from tests.unit.node.test_admin import Cluster, cluster

__all__ = ["cluster"]  # a fixture


async def test_an_operator_revokes_and_looks_at_what_is_revoked(cluster: Cluster) -> None:
    view = cluster.views["gw1"]
    wanted = Revoke("identity", b"", "rfc822:a@b", 0.0)
    async with cluster.client(cluster.pki.operator()) as client:
        assert await client.revoke(wanted) == "0102"
        assert await client.revocations() == tuple(view.revocations())
        view.failure = Conflict("too many")
        with pytest.raises(AdminError, match="too many"):
            await client.revoke(wanted)
    assert view.asked == [("void", wanted)]
    async with cluster.client(cluster.pki.member("gw2")) as client:
        with pytest.raises(AdminError, match="operator's certificate"):
            await client.revoke(wanted)
        with pytest.raises(AdminError, match="operator's certificate"):
            await client.revocations()
