"""What an operator is told that a revocation hits."""

import asyncio

import pytest

from cluster.errors import Conflict
from node.admin_view import Revoke
from node.view import View
from tests.sim.scenarios import Scenario, run_scenario
from tests.sim.world import Size, World

NOWHERE = b"\xff" * 16


async def told_whom_it_hits(world: World) -> None:
    """Live SAs are counted where they are; a chain outlives its SA for as long as tickets of it."""
    await world.begin()
    await world.connect_all()
    (holder,) = world.holders(world.clients[0])
    gateway = world.gateway(holder)
    view, core = View(gateway.node, "simulated"), gateway.node.gateway.endpoint
    one = next(found for found, _path in core.established())
    about = Revoke("session", one.chain)
    theirs = Revoke("identity", identity=one.identity)
    all_tickets = Revoke("issued-before", before_wall_s=gateway.clock.wall_s())
    counts = [view.concerned(what) for what in (about, theirs, all_tickets)]
    if counts != [1, 1, 0]:
        world.findings.append(f"{counts} are concerned")
    if not await view.stands(one.chain) or await view.stands(NOWHERE):
        world.findings.append("the store's chains are not told")
    if view.concerned(Revoke("session", NOWHERE)):
        world.findings.append("an SA of no chain")
    for wrong in (Revoke("identity", identity="rfc822:*@example.com"), Revoke("session", b"short")):
        with pytest.raises(Conflict):
            view.concerned(wrong)
        with pytest.raises(Conflict):
            await view.revoke(wrong)
    await view.revoke(theirs)
    await asyncio.sleep(1)  # its Delete is answered
    if view.concerned(about):
        world.findings.append("it stands yet")


def test_an_operator_is_told_whom_a_revocation_hits() -> None:
    played = Scenario(told_whom_it_hits, size=Size(gateways=2, clients=4))
    assert run_scenario(played, 1).findings == ()
