"""This gateway's way to the store: guarded, relayed when it must be, and what is said of it.

Rules: `store` is what every other part is given. The states `relayed` and `store-rewound` come from
here; each change is one line of the log and one event.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from cluster.conditions import FIXES, Condition, Conditions, Present
from cluster.guard import Guard
from cluster.layout import Keys
from cluster.link import PeerLink, Relay
from cluster.relay import RelayedStore
from cluster.relay_server import RelayServer
from cluster.rewind import Notebook
from cluster.seams import Clock, Rng, Spawn
from cluster.standing import Standing, State
from cluster.store import Store
from node.admin_view import StoreConditionInfo
from node.metrics import Metrics

if TYPE_CHECKING:
    from node.wiring import Node


class WaySeams(msgspec.Struct, frozen=True):
    """What the way is built on."""

    store: Store
    clock: Clock
    rng: Rng
    spawn: Spawn
    link: PeerLink
    log: Any


class StoreWay:
    """See the module."""

    def __init__(
        self, seams: WaySeams, keys: Keys, me: str, data_dir_id: str, notebook: Notebook | None
    ) -> None:
        self._log = seams.log
        self._clock = seams.clock
        self.conditions = Conditions(seams.clock)
        self.guard = Guard(
            seams.store, keys, seams.clock, self.conditions, notebook,
            me=me, data_dir_id=data_dir_id,
        )  # fmt: skip
        self.relay = RelayedStore(self.guard, seams.clock, seams.rng, link=seams.link, me=me)
        self.server = RelayServer(self.guard, keys, seams.clock, link=seams.link, spawn=seams.spawn)
        self.conditions.on_changed.append(self._condition)

    @property
    def store(self) -> Store:
        """What the other parts use."""
        return self.relay

    @property
    def away(self) -> bool:
        """Whether the store is known not to answer, itself or through another member."""
        return self.conditions.unanswered and not self.relay.via

    def start(self, node: "Node") -> None:
        """Begin to look, to ask and to serve."""
        self._standing: Standing = node.membership.standing
        self._write = node.events.write
        node.dispatch.on(Relay, self._receive)
        self.relay.candidates = node.heartbeats.reach_the_store
        self.relay.on_via.append(self._via)
        self.guard.on_rewound.append(self._rewound)
        node.heartbeats.on_beat.append(
            lambda _sender, beat: self.guard.heard(
                beat.store_id, beat.store_epoch, beat.store_revision
            )
        )
        node.state.on_changed.append(lambda _state: self.guard.doubt())
        node.seams.spawn(self.guard.run(), "store-way")

    async def accept_restore(self, shards: int, who: str, progress: Callable[[str], None]) -> int:
        """Make the store, which is behind, the one that counts; the new epoch. Raises
        ClusterError."""
        epoch = await self.guard.accept(shards, progress)
        self._write("restore_accepted", name=who, count=epoch)
        return epoch

    def measure(self, metrics: Metrics, standing: str) -> None:
        """Set the gauges."""
        metrics.standing = standing
        metrics.store_conditions = tuple(each.condition.value for each in self.conditions.present())
        metrics.store_compactions = self.conditions.compactions

    def condition_infos(self) -> tuple[StoreConditionInfo, ...]:
        """What is wrong with the store, for `status`."""
        now_s = self._clock.boot_s()
        return tuple(
            StoreConditionInfo(
                each.condition.value,
                each.detail,
                FIXES[each.condition],
                now_s - each.since_boot_s,
            )
            for each in self.conditions.present()
        )

    def _receive(self, sender: str, frame: Relay) -> None:
        if frame.back:
            self.relay.receive(sender, frame)
        else:
            self.server.receive(sender, frame)

    def _via(self, via: str) -> None:
        if via:
            self._standing.enter(State.RELAYED, f"through {via}")
            self._log.warning("the store is reached through another member", via=via)
        else:
            self._standing.leave(State.RELAYED)
            self._log.info("the store is reached directly, or not at all")
        self._write("store_via", member=via)

    def _rewound(self, why: str) -> None:
        if why:
            self._standing.enter(State.STORE_REWOUND, why)
        else:
            self._standing.leave(State.STORE_REWOUND)
        self._write("store_rewound", found=bool(why), why=why)

    def _condition(self, condition: Condition, how: Present | None) -> None:
        if how is None:
            self._log.info("store condition over", condition=condition.value)
        else:
            self._log.warning("store condition", condition=condition.value, line=how.line)
