"""The key ring's parts in one gateway: keeper, rotations, schedule, rewrap, as its file wants them.

Rules: the policy comes from the file alone; members whose files differ agree all the same, for
whoever makes a key writes its windows into the ring.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from cluster.layout import Keys
from cluster.rewrap import Rewrap
from cluster.ring_keeper import RingHooks, RingKeeper
from cluster.rotation import Rotations
from cluster.schedule import Schedule, ScheduleHooks, seals_for_s
from cluster.seams import Clock, Rng, Spawn
from cluster.store import Store
from cluster.vault import Keks
from node.config import ring_policy
from node.sections import GatewayConfig


class KeySeams(msgspec.Struct, frozen=True):
    """What the parts are built on."""

    store: Store
    clock: Clock
    rng: Rng
    spawn: Spawn
    log: Any


class KeyParts:
    """See the module."""

    def __init__(
        self,
        config: GatewayConfig,
        seams: KeySeams,
        keks: Keks,
        *,
        hooks: RingHooks,
        live_revisions: Callable[[], Mapping[str, int]],
    ) -> None:
        policy = ring_policy(config.ike, config.keys)
        keys = Keys(config.cluster.name)
        self._seams = seams
        self._scheduled = config.keys.rotate == "schedule"
        self.keeper = RingKeeper(
            store=seams.store, keys=keys, keks=keks, clock=seams.clock, rng=seams.rng,
            policy=policy, hooks=hooks,
        )  # fmt: skip
        self.rotations = Rotations(
            keeper=self.keeper, store=seams.store, keys=keys, clock=seams.clock, rng=seams.rng,
            policy=policy, live_revisions=live_revisions,
        )  # fmt: skip
        self.rewrap = Rewrap(
            keeper=self.keeper, rotations=self.rotations, store=seams.store, keys=keys,
            rng=seams.rng,
        )  # fmt: skip
        self._schedule = Schedule(
            keeper=self.keeper, rotations=self.rotations, clock=seams.clock, rng=seams.rng,
            policy=policy,
            hooks=ScheduleHooks(progress=self._progress, on_trouble=self._trouble),
        )  # fmt: skip

    def start(self) -> None:
        """Follow the ring, and rotate it if the file says so."""
        self.keeper.start(self._seams.spawn)
        if self._scheduled:
            self._seams.spawn(self._schedule.run(), "key-schedule")

    def seals_for_s(self) -> float:
        """How long tickets can be issued yet, if nobody rotates; seconds."""
        return seals_for_s(self.keeper.ring, self._seams.clock.wall_s())

    def _progress(self, line: str) -> None:
        self._seams.log.info("key rotation", step=line)

    def _trouble(self, line: str) -> None:
        self._seams.log.warning("key rotation", trouble=line)
