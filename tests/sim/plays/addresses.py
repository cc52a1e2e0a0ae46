"""Internal addresses through a gateway's death and a time without the store (trap 8)."""

import asyncio

from tests.sim.outage import in_failsafe, normal_again
from tests.sim.plays.failsafe_goes_on import resumes
from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.world import Size, World


async def addresses(world: World) -> None:
    """Everybody has an address of his own, and keeps it as his gateway dies. Then the store goes:
    who comes gets one all the same; who resumes keeps his. The store is back, and knows all of it.
    """
    await world.begin()
    late = [world.clients.pop() for _ in range(4)]
    await world.connect_all()
    await asyncio.sleep(2)
    before = {client.name: given(client) for client in world.clients}
    await world.gateways[0].kill()
    await world.until(world.all_served, RECOVER_S, "not every client was served again")
    kept(world, before)
    await asyncio.sleep(10)
    await in_failsafe(world)
    for number, client in enumerate(late):
        client.session.start(number)
    world.clients += late
    await world.until(world.all_served, 20, "no session began without the store")
    await resumes(world, late[0])
    await resumes(world, world.clients[0])
    kept(world, before)
    world.check_addresses()
    await normal_again(world)
    await asyncio.sleep(1)
    await resumes(world, late[0])
    kept(world, before)
    world.check_addresses()
    counts = {sum(use.used for use in g.node.addresses.usage()) for g in world.live()}
    if counts != {len(world.clients)}:
        world.findings.append(f"gateways count {counts} addresses of {len(world.clients)} clients")
    leaver = world.clients.pop()
    leaver.session.close()
    await asyncio.sleep(1)
    leaver.vanish()


def given(client: object) -> object:
    """The addresses that a client was given last."""
    return client.all("configured")[-1]["addresses"]


def kept(world: World, before: dict[str, object]) -> None:
    """Who was connected has the address that he had (R44)."""
    for client in world.clients:
        was = before.get(client.name)
        if was is not None and given(client) != was:
            world.findings.append(f"{client.name} had {was} and has {given(client)}")


SCENARIO = Scenario(addresses, size=Size(gateways=4, clients=12, families=(4,)))
