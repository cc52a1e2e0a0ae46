"""A gateway and some of its clients die together; these begin anew elsewhere, and say so, before
anybody has taken its sessions over."""

import asyncio

from tests.sim.scenario import RECOVER_S, Scenario
from tests.sim.world import Size, World


async def initial_contact_adopted(world: World) -> None:
    """What the clients have lost isn't brought back to life by who adopts it: its record and chain
    go. Sessions of the others live on."""
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(5)  # more than clocks differ by
    doomed = world.gateways[0]
    held = doomed.established()
    lost = [number for number, client in enumerate(world.clients) if client.spi_r in held][:2]
    await doomed.kill()
    former, elsewhere = [], tuple(gateway.address for gateway in world.live())
    for number in lost:
        former.append(world.clients[number].spi_r)
        world.clients[number].vanish()
        again = world.client(100 + number, identity=number, gateways=elsewhere)
        world.clients[number] = again
        again.session.start(0)
    begun = [world.clients[number] for number in lost]
    await world.until(lambda: all(world.holders(one) for one in begun), 4, "not all began anew")
    await world.until(world.all_owned, 30, "not every shard got an owner")
    await world.until(world.all_served, RECOVER_S, "not everybody was served again")
    await asyncio.sleep(3)
    ended = [e for g in world.live() for e in g.recorded() if e.kind == "sa_ended"]
    for spi in former:
        if [e.why for e in ended if bytes.fromhex(e.spi) == spi] != ["the peer began anew"]:
            world.findings.append(f"{spi.hex()} didn't end because its peer began anew")
    world.check_one_sa_each()
    await world.check_records()


SCENARIO = Scenario(initial_contact_adopted, size=Size(clients=12, initial_contact=True))
