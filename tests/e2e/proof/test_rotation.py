"""A rotation of the ticket keys in the middle of a failover, while clients come back by tickets.

The dead gateway can't report the new key; it is waited for until its lease has ended, and its
clients' tickets, sealed under the former key, are taken by everybody meanwhile and afterwards.
"""

import pytest

from tests.e2e.proof import account
from tests.e2e.proof.conftest import Stage

pytestmark = pytest.mark.proof


async def ticket_keys(stage: Stage) -> dict[str, str]:
    """Each ticket key and its state."""
    keys = (await stage.cluster.run("keys", "list", "-o", "json")).json()["keys"]
    return {key["id"]: key["state"] for key in keys if key["purpose"] == "ticket"}


async def test_keys_are_rotated_while_a_gateway_is_dead(stage: Stage) -> None:
    cluster, load = stage.cluster, stage.load
    for name in cluster.gateways:
        gateway, others = cluster.gateways[name], [n for n in cluster.gateways if n != name]
        before = await ticket_keys(stage)
        (former,) = [key for key, state in before.items() if state == "sealing"]
        stage.faults.note("kill", name)
        gateway.child.kill()
        rotation = await cluster.run("keys", "rotate")
        assert rotation.code == 0, rotation
        after = await ticket_keys(stage)
        assert after[former] == "opening"
        assert [state for key, state in after.items() if key not in before] == ["sealing"]
        await cluster.settled(*others)
        await load.served(f"{name} is dead, the keys are new")
        gateway.child.start()
        await cluster.settled()
        await load.served(f"{name} is back")
    history = account.read(cluster)
    stage.figures.append(account.table("a rotation after each kill", history))
    installed = {e.revision for e in history.members if e.kind == "ring_installed"}
    assert len(installed) > len(cluster.gateways)
    account.check(history, full_max=len(cluster.gateways))
    struck = [row for row in account.rows(history) if row.affected]
    assert struck
    assert sum(row.resumed for row in struck) > 0
    assert sum(row.rehandshaked for row in struck) == 0
