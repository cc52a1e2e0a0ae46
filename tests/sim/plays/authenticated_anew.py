"""Gateways want every peer to authenticate anew after a while (RFC 4478); one of them dies
meanwhile."""

import asyncio

from tests.sim.scenario import Scenario
from tests.sim.world import Size, World

LIFETIME_S = 40.0
RECOVER_S = 60.0


async def authenticated_anew(world: World) -> None:
    """Every client has authenticated anew in time, without a moment in which it wasn't served: no
    session ends by its lifetime. Who resumes elsewhere is told what is left.
    """
    await world.begin()
    await world.connect_all()
    for _ in range(3):
        await asyncio.sleep(LIFETIME_S)
        for client in world.clients:
            if not client.session.established:
                world.findings.append(f"{client.name} was not served")
    await world.random.choice(world.gateways).kill()
    await world.until(world.all_served, RECOVER_S, "not every client was served again")
    await asyncio.sleep(2 * LIFETIME_S)
    await world.until(world.all_served, RECOVER_S, "not every client was served in the end")
    for client in world.clients:
        anew = [report for report in client.all("connecting") if report["how"] == "renewed"]
        if len(anew) < 4:
            world.findings.append(f"{client.name} authenticated anew {len(anew)} times")
    for gateway in world.gateways:
        over = [e for e in gateway.recorded() if e.kind == "sa_ended" and e.why == "lifetime over"]
        if over:
            world.findings.append(f"{gateway.name}: {len(over)} sessions ended by their lifetime")


SCENARIO = Scenario(
    authenticated_anew,
    Size(clients=6, settings={"ike": {"authentication_lifetime_s": LIFETIME_S}}),
)
