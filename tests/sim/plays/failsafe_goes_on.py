"""Everything that a cluster does without its store, and how it gets back to it."""

import asyncio

from cluster.layout import Keys
from tests.sim.machine import CLUSTER, SimClient
from tests.sim.mirrors import check_mirrors
from tests.sim.outage import in_failsafe, normal_again
from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.world import Size, World


async def failsafe_goes_on(world: World) -> None:
    """The store is away from all. Sessions begin; tickets are taken, those issued meanwhile too;
    one that is shown at two gateways at once is taken once. Then the store is back: it gets all of
    it, and only then is the cluster normal."""
    await world.begin()
    late = [world.clients.pop(), world.clients.pop()]
    await world.connect_all()
    await asyncio.sleep(2)
    await in_failsafe(world)
    for number, client in enumerate(late):
        client.session.start(number)
    world.clients += late
    await world.until(world.all_served, 20, "no session began without the store")
    for client in (world.clients[0], late[0]):
        await resumes(world, client)
        await resumes(world, client)  # by a ticket that was issued without the store
    pair = await twice(world, world.clients[1])
    world.clients[1:2] = pair
    await world.until(world.all_served, 30, "not every client was served without the store")
    ways = sorted(str(client.all("established")[0]["how"]) for client in pair)
    if ways != ["full", "resumed"]:
        world.findings.append(f"one ticket gave {ways} without the store")
    closed = world.clients.pop()
    closed.session.close()
    await asyncio.sleep(2)
    closed.vanish()
    await normal_again(world)
    await asyncio.sleep(1)
    world.check_one_sa_each()
    await world.check_records()
    await resumes(world, late[0])
    await resumes(world, world.clients[0])
    await asyncio.sleep(2)
    world.check_one_sa_each()
    await check_chains(world)
    await asyncio.sleep(10)
    await check_mirrors(world)  # what was written on the way back is in the copies too


async def resumes(world: World, client: SimClient) -> None:
    """The client loses its gateway from sight and goes on at another one, by its ticket."""
    at = world.holders(client)
    before = len(client.all("established"))
    for name in at:
        world.net.cut(client.local[0], world.gateway(name).host)
    await world.until(
        lambda: len(client.all("established")) > before and len(world.holders(client)) == 1,
        RECOVER_S, f"{client.name} did not get on elsewhere",
    )  # fmt: skip
    world.net.heal()
    if client.all("established")[-1]["how"] != "resumed":
        world.findings.append(f"{client.name}: {client.all('established')[-1]}, not resumed")


async def twice(world: World, original: SimClient) -> list[SimClient]:
    """Two copies of a client show its ticket at two gateways in the same instant."""
    ticket = original.tickets.load()
    if ticket is None:
        world.findings.append("no ticket was issued")
        return [original]
    number = int(original.name.removeprefix("rfc822:c").partition("@")[0])
    original.stop()
    original.session.close()
    for gateway in world.gateways:
        world.net.cut(original.local[0], gateway.host)
    pair = [world.client(200 + n, identity=number) for n in range(2)]
    for at, client in enumerate(pair):
        client.tickets.save(ticket)
        client.session.start(at)
    return pair


async def check_chains(world: World) -> None:
    """The store's version of each chain is the generation that its owner holds."""
    keys = Keys(CLUSTER)
    for gateway in world.live():
        for core, _path in gateway.node.gateway.endpoint.established():
            entry = await world.store.get(keys.session(core.chain))
            if entry is None or entry.version != core.generation or entry.value[:8] != core.spi:
                world.findings.append(f"{gateway.name}: chain {core.chain.hex()} is not as stored")


SCENARIO = Scenario(failsafe_goes_on, size=Size(clients=6))
