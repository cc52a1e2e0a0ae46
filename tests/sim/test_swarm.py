"""What a seed makes of a world could stand in a gateway's file, and seeds differ in all of it."""

from pathlib import Path

from cluster.schedule import check_policy
from node.config import ring_policy
from tests.sim.machine import gateway_config
from tests.sim.swarm import POLICIES, size_of

SEEDS = range(300)


def test_every_seed_makes_a_configuration_that_would_be_accepted():
    for seed in SEEDS:
        size = size_of(seed)
        config = gateway_config(1, size.shards, Path("x"), settings=size.settings)
        assert config.ike.cookie_threshold <= config.ike.half_open_max
        check_policy(ring_policy(config.ike, config.keys))


def test_every_value_of_every_policy_comes_up():
    for section, key, values in POLICIES:
        came = [size_of(seed).settings[section].get(key) for seed in SEEDS]
        assert set(values) <= set(came), f"{section}.{key}"
    for name in ("gateways", "clients", "shards", "hosts", "drift_max"):
        assert len({getattr(size_of(seed), name) for seed in SEEDS}) > 1, name
