"""Both ends rekey, often and at once; a gateway dies meanwhile; a copied ticket races a rekey."""

import asyncio

from tests.sim.scenario import Scenario
from tests.sim.world import Size, World

RECOVER_S = 60.0
SETTLE_S = 60.0
"""Until the SAs of clients that went elsewhere are found out to be nobody's."""


async def rekeys(world: World) -> None:
    """Every session is rekeyed many times, by either end, and stays the one that it is: no SA is
    lost, none is left over, and every client resumes with a ticket of its newest SA when its
    gateway dies. Then tickets are copied, and shown in the instant in which their owners rekey.
    """
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(30)
    for client in world.clients:
        count, ways = len(client.all("rekeyed")), [up["how"] for up in client.all("established")]
        if count < 3 or ways != ["full"]:
            world.findings.append(f"{client.name}: {count} rekeys, and {ways}")
    await world.until(world.one_sa_each, 5, "not each client's one SA was in use")
    victim = world.random.choice(world.gateways)
    await victim.kill()
    await world.until(world.all_served, RECOVER_S, "not every client was served again")
    thieves = []
    for number, client in enumerate(world.clients[:4]):
        ticket = client.tickets.load()
        if ticket is None:
            world.findings.append(f"{client.name} has no ticket after its rekeys")
            continue
        thief = world.client(len(world.clients) + number, identity=number)
        thief.tickets.save_copy(ticket)
        client.rekey()
        thief.session.start(number)
        thieves.append(thief)
    await asyncio.sleep(10)
    for thief in thieves:
        thief.session.close()
    await asyncio.sleep(2)
    for thief in thieves:
        thief.vanish()
    await world.until(world.all_served, RECOVER_S, "not every client was served in the end")
    await asyncio.sleep(SETTLE_S)
    await world.until(world.one_sa_each, RECOVER_S, "not each client's one SA was in use")
    world.check_one_sa_each()


SCENARIO = Scenario(
    rekeys,
    Size(
        clients=8,
        ike_rekey_s=4.0,
        child_rekey_s=3.0,
        settings={"ike": {"ike_rekey_s": 5, "child_rekey_s": 3.5}},
    ),
)
