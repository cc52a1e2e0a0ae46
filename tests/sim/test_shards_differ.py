"""A gateway whose file has another number of shards than its cluster."""

import msgspec

from tests.sim.net import Weather
from tests.sim.scenario import Scenario, run_scenario
from tests.sim.world import Size, World


async def another_number(world: World) -> None:
    """It says so, and goes by the cluster's."""
    await world.begin()
    gateway = world.gateways[0]
    await gateway.kill()
    cluster = msgspec.structs.replace(gateway.config.cluster, shards=4)
    gateway.config = msgspec.structs.replace(gateway.config, cluster=cluster)
    await world.start(gateway)
    told = [line for line in gateway.log.lines if line.startswith("cluster.shards is ignored")]
    if told != [
        "cluster.shards is ignored: the cluster was made with another number"
        " shards=4 the_clusters=16"
    ]:
        world.findings.append(f"it said {told}")
    await world.until(world.all_owned, 30, "not every shard got an owner")


def test_a_number_of_shards_that_is_not_the_clusters_is_said_to_be_ignored() -> None:
    played = Scenario(another_number, size=Size(clients=0), weather=Weather())
    assert run_scenario(played, 1).findings == ()
