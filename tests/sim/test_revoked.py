"""What an operator ends is over, and what he is told that it hits."""

import asyncio

import pytest

from cluster.errors import Conflict
from node.admin_view import Revoke
from node.view import View
from tests.sim.net import Weather
from tests.sim.plays.store_full import set_full
from tests.sim.scenarios import Scenario, run_scenario
from tests.sim.world import Size, World

LATE_S = 0.5
EFFECTIVE_S = 1.0
"""A revocation is effective on every live member within that time."""
GIVEN_UP_S = 70.0
"""The journal waits no longer for the store."""
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


async def as_it_begins(world: World) -> None:
    """A session is in the store, a rule about it right behind, and the rule's news overtake the
    store's answer: when they come, no SA stands yet that they are about."""
    await world.begin()
    (client,), (gateway, other) = world.clients, world.gateways
    way, usual_s = gateway.store, gateway.store.latency_s
    revoking: list[asyncio.Task[str]] = []

    def slow_answer() -> None:
        if b"/rec" not in b"".join(entry.key for entry in world.store._entries.values()):
            way.after_commit = slow_answer  # this one wasn't it
            return
        way.latency_s = 2 * LATE_S
        world.loop.call_later(usual_s, setattr, way, "latency_s", usual_s)
        theirs = View(other.node, "simulated").revoke(Revoke("identity", identity=client.name))
        revoking.append(world.loop.create_task(theirs))

    way.after_commit = slow_answer
    client.session.start(0)
    await world.until(lambda: bool(client.all("established")), 5, "it was not answered")
    first = client.spi_r
    if not revoking or not revoking[0].done():
        world.findings.append("it wasn't revoked before it stood")
    await asyncio.sleep(EFFECTIVE_S)
    if first in gateway.established():
        world.findings.append("it stands, and is revoked")


def test_a_session_that_is_revoked_as_it_begins_ends() -> None:
    played = Scenario(as_it_begins, size=Size(gateways=2, clients=1), weather=Weather())
    assert run_scenario(played, 1).findings == ()


async def as_its_rekey_waits(world: World) -> None:
    """The store takes no write; a client rekeys, falls silent, and an operator terminates it."""
    await world.begin()
    await world.connect_all()
    (client,) = world.clients
    await asyncio.sleep(2)
    holder, spi = world.gateway(world.holders(client)[0]).node, client.spi_r
    core = holder.gateway.endpoint.find(spi)
    assert core is not None
    set_full(world, True)
    client.rekey()
    await asyncio.sleep(0.3)
    assert holder.gateway.endpoint.is_writing(spi)
    for gateway in world.gateways:
        world.net.cut(client.local[0], gateway.host)
    assert holder.gateway.terminate(spi)
    await asyncio.sleep(GIVEN_UP_S)
    set_full(world, False)
    await asyncio.sleep(20)
    if await View(holder, "simulated").stands(core.chain):
        world.findings.append("a ticket of it works")
    world.net.heal()
    await asyncio.sleep(20)
    hows = [up["how"] for up in client.all("established")]
    if hows != ["full", "full"]:
        world.findings.append(f"it came by {hows}")


def test_a_session_that_is_terminated_as_its_rekey_waits_does_not_resume() -> None:
    played = Scenario(as_its_rekey_waits, size=Size(gateways=2, clients=1), weather=Weather())
    assert run_scenario(played, 1).findings == ()


def test_an_operator_is_told_whom_a_revocation_hits() -> None:
    played = Scenario(told_whom_it_hits, size=Size(gateways=2, clients=4))
    assert run_scenario(played, 1).findings == ()


@pytest.mark.parametrize("kind", ["session", "identity"])
def test_an_sa_that_stands_though_revoked_is_found(kind: str) -> None:
    async def deaf(world: World) -> None:
        """Nobody is told of new rules."""
        await world.begin()
        await world.connect_all()
        (gateway,) = world.gateways
        core, _path = next(iter(gateway.node.gateway.endpoint.established()))
        gateway.node.refusals.rules.on_rules.clear()
        await View(gateway.node, "simulated").revoke(Revoke(kind, core.chain, core.identity))
        await asyncio.sleep(2 * EFFECTIVE_S)

    played = Scenario(deaf, size=Size(gateways=1, clients=1), weather=Weather())
    (finding,) = run_scenario(played, 1).findings
    assert finding.startswith("I6")
    assert finding.endswith("gw1, revoked")
