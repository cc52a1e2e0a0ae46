"""This gateway's way to the store: guarded, relayed when it must be, and what is said of it.

Rules: `store` is what every other part is given. The states `relayed` and `store-rewound` come from
here; each change is one line of the log and one event.
"""

import asyncio
import datetime
from collections.abc import Callable, Mapping
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
from node.certificates import ends_wall_s
from node.metrics import Metrics

if TYPE_CHECKING:
    from node.wiring import Node


CERTIFICATE_LOOK_S = 600.0
CERTIFICATE_SOON_S = 14 * 86_400.0
"""How long before its end a certificate is warned of."""


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
        self._ends_wall_s: dict[str, float] = {}
        """Of certificates, by file, as last read."""
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
        store, member = node.config.store.cert_file, node.config.member.cert_file
        shown = {"store.cert_file": store, "member.cert_file": member}
        if store or member:
            node.seams.spawn(self._certificates(shown), "certificates")

    async def _certificates(self, shown: Mapping[str, str]) -> None:
        """Look at the end of the certificates that etcd and other members are shown, for ever."""
        while True:
            self.look_at_certificates(shown)
            await asyncio.sleep(CERTIFICATE_LOOK_S)

    def look_at_certificates(self, shown: Mapping[str, str]) -> None:
        """Name those that have ended, or will soon; `shown`: setting → file, empty if it isn't set.
        One that can't be read is as it was."""
        for file in {file: None for file in shown.values() if file}:
            try:
                self._ends_wall_s[file] = ends_wall_s(file)
            except (OSError, ValueError) as error:
                self._log.warning("a certificate can't be read", file=file, why=str(error))
        ended, soon = [], []
        for file, end_s in self._ends_wall_s.items():
            left_s = end_s - self._clock.wall_s()
            settings = ", ".join(key for key, named in shown.items() if named == file)
            at = datetime.datetime.fromtimestamp(end_s, datetime.UTC)
            line = f"{settings} {file} {'ended' if left_s <= 0 else 'ends'} {at:%Y-%m-%d %H:%M} UTC"
            if left_s <= 0:
                ended.append(line)
            elif left_s <= CERTIFICATE_SOON_S:
                soon.append(line)
        for condition, lines in (
            (Condition.CERTIFICATE, ended),
            (Condition.CERTIFICATE_SOON, soon),
        ):
            self.conditions.put(condition, "; ".join(lines))

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
