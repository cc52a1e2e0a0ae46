"""Who is there in a storm, and by which policies: chosen by the seed.

Rules: every choice has a source of randomness of its own, named after what it decides: one more
policy doesn't change what a seed makes of the others. What a gateway's file could not hold isn't
chosen.
"""

import random

from cluster.drill.plan import Scalar, Sections
from cluster.schedule import check_policy
from node.config import ring_policy
from node.sections import IkeConfig, KeysConfig
from tests.sim.world import Size

TICKETS: tuple[Scalar, ...] = ("auto", "by-value", "by-reference")

POLICIES: tuple[tuple[str, str, tuple[Scalar, ...]], ...] = (
    ("cluster", "when_isolated", ("stop", "stop", "keep")),
    ("cluster", "failsafe_tickets", ("accept", "refuse")),
    ("member", "mirrors", (0, 1, 2)),
    ("member", "lease_ttl_s", (5, 5, 8)),
    ("ike", "ticket_lifetime_s", (30, 300, 3600)),
    ("ike", "half_open_max", (8, 64, 4096)),
    ("ike", "half_open_timeout_s", (10, 30)),
    ("ike", "cookie_threshold", (2, 16, 1024)),
    ("ike", "resume_auth", ("both", "rfc")),
    ("ike", "revoke_on_delete", (False, True)),
    ("ike", "ike_rekey_s", (0, 0, 15, 60)),
    ("ike", "child_rekey_s", (0, 0, 10, 60)),
    ("ike", "tickets", TICKETS),
    ("ike", "ticket_octets_max", (1000, 64)),
    ("keys", "rotate", ("schedule", "schedule", "manual")),
    ("keys", "ticket_key_sealing_s", (120, 86_400)),
)
"""Section and key of a gateway's configuration, and what a seed may set it to."""


def size_of(seed: int) -> Size:
    """The topology and the policies of a seed."""
    gateways = _choose(seed, "gateways", (1, 2, 3, 3, 4, 5))
    return Size(
        gateways=gateways,
        clients=_choose(seed, "clients", (3, 6, 10)),
        shards=_choose(seed, "shards", (1, 4, 16, 64)),
        hosts=_choose(seed, "hosts", (0, 0, 2)),
        settings=_settings(seed),
        only={"gw1": {"ike": {"tickets": _choose(seed, "tickets of gw1", TICKETS)}}},
        liveness_interval_s=_choose(seed, "liveness_interval_s", (1, 2, 5)),
        ike_rekey_s=_choose(seed, "ike_rekey_s", (0, 0, 10, 40)),
        child_rekey_s=_choose(seed, "child_rekey_s", (0, 0, 8, 40)),
        families=_choose(seed, "families", ((), (4,))),
        drift_max=_choose(seed, "drift_max", (0, 1, 5)) / 1000,
    )


def _settings(seed: int) -> Sections:
    settings: Sections = {}
    for section, key, values in POLICIES:
        settings.setdefault(section, {})[key] = _choose(seed, f"{section}.{key}", values)
    ike, keys = settings["ike"], settings["keys"]
    ike["cookie_threshold"] = min(ike["cookie_threshold"], ike["half_open_max"])
    try:
        policy = ring_policy(
            IkeConfig((), "", "", ticket_lifetime_s=ike["ticket_lifetime_s"]),
            KeysConfig(ticket_key_sealing_s=keys["ticket_key_sealing_s"]),
        )
        check_policy(policy)
    except ValueError:  # more keys than a ring holds
        del keys["ticket_key_sealing_s"]
    return settings


def _choose(seed: int, name: str, values):
    return random.Random(f"{seed}/{name}").choice(values)
