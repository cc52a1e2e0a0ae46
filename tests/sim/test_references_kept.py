"""What a gateway kept for another, and nobody waited for, is at hand though all is normal."""

import asyncio

from cluster.failsafe.frames import Claim
from tests.sim.scenario import Scenario, run_scenario
from tests.sim.world import Size, World

CHAIN, SPI = bytes(16), b"spi of 8"


def test_what_is_kept_yet_of_a_ticket_by_reference_is_taken_before_the_store_is_asked():
    """It stood still, and the way back was without it. Of other generations the store decides."""

    async def stands_still(world: World) -> None:
        await world.begin()
        await asyncio.sleep(1)
        standby = world.gateways[0].node.standby
        assert standby.kept(CHAIN, 4) is None
        kept = Claim(
            bytes(16), CHAIN, 4, SPI, 3, "gw2", "a former life", 2e9, b"", b"sealed", (), False
        )
        assert standby.gate.ledger.keep(kept)
        assert standby.settled()
        assert standby.kept(CHAIN, 4) == (False, b"sealed")
        assert standby.kept(CHAIN, 3) is None
        assert standby.kept(CHAIN, 5) is None

    assert run_scenario(Scenario(stands_still, size=Size(gateways=2, clients=0)), 1).findings == ()
