"""Who is there in a storm, and by which policies: chosen by the seed."""

import random

from tests.sim.world import Size


def size_of(seed: int) -> Size:
    """The topology and the policies of a seed."""
    choose = random.Random(f"{seed}/size").choice
    return Size(
        gateways=choose((1, 2, 3, 3, 4, 5)),
        clients=choose((3, 6, 10)),
        shards=choose((1, 4, 16, 64)),
        mirrors=choose((0, 1, 2)),
        ticket_lifetime_s=choose((30, 300, 3600)),
        half_open_max=choose((8, 64, 4096)),
        cookie_threshold=choose((2, 16, 1024)),
        liveness_interval_s=choose((1, 2, 5)),
        drift_max=choose((0, 1, 5)) / 1000,
    )
