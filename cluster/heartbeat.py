"""Heartbeats between members: they suspect, and never decide.

Rules: who is a member, and who is gone, is the store's word alone. A member not heard for
`suspect_after_s` is *suspected*: that starts redirects and stopwatches and makes others stand in
for it, but no claim goes through by it. A member that was itself asleep suspects nobody for what
it missed. A member that left the store's roster keeps being talked to for a while: if it still
lives (the store was away), both sides shall hear so.
"""

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from cluster.link import Heartbeat, Hello, PeerLink
from cluster.member import Membership
from cluster.rewind import NO_EPOCH, Memory
from cluster.seams import Clock
from cluster.standing import State

LINGERING_MAX = 1024
"""Members outside the roster that are talked to; beyond it a greeting isn't heeded."""


class HeartbeatSettings(msgspec.Struct, frozen=True):
    """How often, and how patient. Raises ValueError if a single lost heartbeat would suspect."""

    interval_s: float = 0.2
    suspect_after_s: float = 1.0
    linger_s: float = 15.0
    """How long a member that left the roster is talked to though it isn't heard."""

    def __post_init__(self) -> None:
        if self.interval_s <= 0 or self.suspect_after_s < 2 * self.interval_s:
            raise ValueError(
                f"suspect_after_s: {self.suspect_after_s:g} → at least twice "
                f"heartbeat_interval_s ({self.interval_s:g}), which is above 0"
            )


class Vitals(msgspec.Struct, frozen=True):
    """What a heartbeat says of its sender besides being there."""

    sessions: int
    ring_revision: int
    state: str
    store_answers: bool = False
    """The store answers this member itself."""
    store: Memory | None = None
    """What it has seen of the store."""
    full: bool = False
    """It can keep nothing that is done without the store."""


class Seen(msgspec.Struct, frozen=True):
    """The newest heartbeat of a member, and when it came."""

    beat: Heartbeat
    boot_s: float


class Heartbeats:
    """Sends mine to every live member, keeps the newest of each, suspects the silent ones.

    It also tells the link whom to be connected to (`set_peers`).
    """

    def __init__(
        self,
        link: PeerLink,
        clock: Clock,
        membership: Membership,
        *,
        vitals: Callable[[], Vitals],
        settings: HeartbeatSettings,
    ) -> None:
        self._link = link
        self._clock = clock
        self._membership = membership
        self._roster = membership.roster
        self._me = membership.me.name
        self._vitals = vitals
        self._settings = settings
        self._sequence = 0
        self._awake_s: float | None = None
        """When this member last knew itself awake, once it beats."""
        self._seen: dict[str, Seen] = {}
        self._since: dict[str, float] = {}
        """From when on a member's silence counts."""
        self._lingering: dict[str, tuple[str, float]] = {}
        """Members that left the roster: where they were, and until when they are talked to."""
        self.also: Callable[[], dict[str, str]] = dict
        """Members that are to be reached, in the roster or not: name → rpc address."""
        self._in_failsafe: dict[str, str] = {}
        """Who said so last."""
        self._peers: dict[str, str] = {}
        self._peer_since: dict[str, float] = {}
        """From when on they should have been heard."""
        self._suspected: dict[str, float] = {}
        self.version = 0
        """Counts the changes of who is suspected."""
        self.on_beat: list[Callable[[str, Heartbeat], None]] = []
        """Told (name, heartbeat) of each that comes, from members unknown to the store as well."""
        self.on_suspected: list[Callable[[str], None]] = []
        self.on_unsuspected: list[Callable[[str], None]] = []
        self._roster.on_joined.append(self._joined)
        self._roster.on_gone.append(self._gone)

    @property
    def suspected(self) -> Mapping[str, float]:
        """The suspected members, and since when (boot seconds), in the order it came up."""
        return MappingProxyType(self._suspected)

    def seen(self, name: str) -> Seen | None:
        """The newest heartbeat of a member."""
        return self._seen.get(name)

    def age_s(self, name: str) -> float | None:
        """Seconds since the newest heartbeat of a member; None if there was none."""
        seen = self._seen.get(name)
        return self._clock.boot_s() - seen.boot_s if seen is not None else None

    def hears(self, name: str, incarnation: str) -> bool:
        """Whether this very process has been heard lately, in the store's roster or not."""
        seen = self._seen.get(name)
        if seen is None or seen.beat.incarnation != incarnation:
            return False
        return self._clock.boot_s() - seen.boot_s <= self._settings.suspect_after_s

    def full(self, name: str) -> bool:
        """Whether `name` said last that it can keep nothing."""
        seen = self._seen.get(name)
        return seen is not None and seen.beat.full

    def silent_s(self, name: str) -> float:
        """How long nothing was heard of `name`, be it in the store's roster or not, though it was
        listened for."""
        now_s = self._listening()
        since_s = self._peer_since.setdefault(name, now_s)
        seen = self._seen.get(name)
        return now_s - (since_s if seen is None else max(since_s, seen.boot_s))

    def heard(self, name: str) -> bool:
        """Whether `name` was heard at all since it is listened for."""
        now_s, seen = self._listening(), self._seen.get(name)
        return seen is not None and seen.boot_s >= self._peer_since.get(name, now_s)

    def in_failsafe(self) -> dict[str, str]:
        """The processes heard lately that go on without the store: name → incarnation."""
        patience_s, found = self._settings.suspect_after_s, self._in_failsafe
        if not found:
            return {}
        return {name: life for name, life in found.items() if self.silent_s(name) <= patience_s}

    def reach_the_store(self) -> list[str]:
        """The members heard lately that said that the store answers them; sorted."""
        now_s, patience_s = self._clock.boot_s(), self._settings.suspect_after_s
        return sorted(
            name
            for name, seen in self._seen.items()
            if seen.beat.store_answers and now_s - seen.boot_s <= patience_s
        )

    def receive(self, sender: str, beat: Heartbeat) -> None:
        """A heartbeat has arrived from a member with that proven name."""
        for listener in self.on_beat:
            listener(sender, beat)
        if sender not in self._peers and sender not in self._roster.members:
            return  # proven, but unknown to the store so far: nothing is kept for it
        self._seen[sender] = Seen(beat, self._clock.boot_s())
        if beat.state == State.FAILSAFE.value:
            self._in_failsafe[sender] = beat.incarnation
        elif self._in_failsafe:
            self._in_failsafe.pop(sender, None)
        if sender in self._suspected and self._roster.is_live(sender, beat.incarnation):
            self._clear(sender, told=True)

    def greeted(self, sender: str, hello: Hello) -> None:
        """A member doesn't hear me: it is talked to for a while, whoever it is."""
        if sender not in self._roster.members and len(self._lingering) < LINGERING_MAX:
            until_s = self._clock.boot_s() + self._settings.linger_s
            self._lingering[sender] = (hello.rpc_address, until_s)
            self._connect()

    async def run(self) -> None:
        """Beat for ever."""
        interval_s = self._settings.interval_s
        while True:
            now_s = self._awake_s = self._listening()
            self._end_lingering(now_s)
            self._connect()
            self._send()
            self._look(now_s)
            await asyncio.sleep(interval_s)

    def _listening(self) -> float:
        """The time (boot seconds). If it was I who slept since the last beat, silence counts from
        here on: whoever asks first finds out, for the next beat may be due after a claim.
        """
        now_s, awake_s, settings = self._clock.boot_s(), self._awake_s, self._settings
        slept = awake_s is not None and (
            now_s - awake_s > settings.interval_s + settings.suspect_after_s / 2
        )
        if slept:
            self._since = dict.fromkeys(self._since, now_s)
            self._peer_since = dict.fromkeys(self._peer_since, now_s)
            self._awake_s = now_s
        return now_s

    def _send(self) -> None:
        self._sequence += 1
        vitals = self._vitals()
        store = vitals.store
        beat = Heartbeat(
            incarnation=self._membership.incarnation,
            sequence=self._sequence,
            sessions=vitals.sessions,
            ring_revision=vitals.ring_revision,
            state=vitals.state,
            store_answers=vitals.store_answers,
            store_id=0 if store is None else store.cluster_id,
            store_epoch=NO_EPOCH if store is None else store.epoch,
            store_revision=0 if store is None else store.revision,
            wall_s=self._clock.wall_s(),
            full=vitals.full,
        )
        hello = Hello(self._membership.me.rpc_address)
        for name in self._peers:
            self._link.send(name, beat)
            if name not in self._seen or self.silent_s(name) > self._settings.suspect_after_s:
                self._link.send(name, hello)

    def _look(self, now_s: float) -> None:
        for name, record in self._roster.members.items():
            if name == self._me or name in self._suspected:
                continue
            heard_s = self._since.setdefault(name, now_s)
            seen = self._seen.get(name)
            if seen is not None and seen.beat.incarnation == record.incarnation:
                heard_s = max(heard_s, seen.boot_s)
            if now_s - heard_s > self._settings.suspect_after_s:
                self._suspected[name] = now_s
                self.version += 1
                for listener in self.on_suspected:
                    listener(name)

    def _joined(self, name: str) -> None:
        self._since[name] = self._clock.boot_s()
        self._lingering.pop(name, None)
        self._connect()

    def _gone(self, name: str) -> None:
        self._clear(name, told=False)
        self._since.pop(name, None)
        address = self._peers.get(name)
        if address is not None:
            self._lingering[name] = (address, self._clock.boot_s() + self._settings.linger_s)

    def _clear(self, name: str, *, told: bool) -> None:
        if self._suspected.pop(name, None) is None:
            return
        self.version += 1
        if told:
            for listener in self.on_unsuspected:
                listener(name)

    def _end_lingering(self, now_s: float) -> None:
        patience_s = self._settings.suspect_after_s
        for name, (_, until_s) in list(self._lingering.items()):
            if until_s <= now_s and self.silent_s(name) > patience_s:
                del self._lingering[name]
                self._seen.pop(name, None)
                self._in_failsafe.pop(name, None)

    def _connect(self) -> None:
        """Tell the link whom it is to reach, if that has changed."""
        peers = self.also()
        peers |= {name: address for name, (address, _) in self._lingering.items()}
        for name, record in self._roster.members.items():
            if name != self._me:
                peers[name] = record.rpc_address
        if peers != self._peers:
            now_s = self._clock.boot_s()
            since = {name: self._peer_since.get(name, now_s) for name in peers}
            self._peer_since, self._peers = since, peers
            self._link.set_peers(dict(peers))
