"""An operator sends every client to one gateway, while their sessions go on."""

import asyncio

from node.admin_view import Redirect, Redirected
from node.redirects import in_all
from node.view import View
from tests.sim.scenario import Scenario
from tests.sim.world import Size, World


async def redirected(world: World) -> None:
    """Whoever is elsewhere resumes there, by its ticket; whoever is there isn't told. One client
    whose gateway waits for an answer of it is told a little later."""
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(2)
    target = world.gateways[1]
    elsewhere = [one for one in world.clients if target.name not in world.holders(one)]
    here = len(world.clients) - len(elsewhere)
    owner = world.gateway(world.holders(elsewhere[0])[0])
    gateway = owner.node.gateway
    asked = gateway.endpoint.probe(elsewhere[0].spi_r, gateway.now())
    if asked is not None:
        gateway.lane.carry_out(asked)
    what = Redirect(target.host, "*")
    calls = [View(one.node, "simulated").redirect(what, "operator") for one in world.live()]
    done = in_all(await asyncio.gather(*calls))
    if done != Redirected(told=len(elsewhere), there=here):
        world.findings.append(f"{done} of {len(elsewhere)} elsewhere and {here} there")
    await world.until(
        lambda: all(world.holders(one) == [target.name] for one in world.clients),
        20,
        "not all are where they were sent",
    )
    await asyncio.sleep(3)
    world.check_one_sa_each()
    await world.check_records()
    for client in elsewhere:
        if [up["how"] for up in client.all("established")] != ["full", "resumed"]:
            world.findings.append(f"{client.name}: {client.all('established')}")
    counted = sum(one.node.metrics.redirects for one in world.live())
    if counted != len(elsewhere):
        world.findings.append(f"{counted} counted")


SCENARIO = Scenario(redirected, size=Size(clients=9))
