"""Rotates the keys by schedule: every member watches the clock, one of them acts.

Rules: a ticket key is replaced when about half of its sealing window is over, so that as much is
left for replacing it when that doesn't succeed at once. Each member draws its own moment, hence the
first one usually finishes before the second one looks; where two begin together, the store's
compare makes it one rotation. A rotation that somebody left half-way is taken up. Where nothing can
be agreed, the old key goes on to the end of its window, and people are told in time. Everything is
decided on the ring as it stands in the store. RFC 5723 6.2, 9.5.
"""

import asyncio

import msgspec

from cluster.errors import ClusterError
from cluster.keyring import KEYS_MAX, KeyRing, RingPolicy, shown
from cluster.ring_keeper import RingKeeper
from cluster.rotation import Progress, Rotations, quietly
from cluster.seams import Clock, Rng

LOOK_S = 5.0
"""How often a member looks at the clock, at most; with short windows it looks more often."""
LOOKS_PER_WINDOW = 200
DUE_SHARE = 0.5
"""The share of a sealing window after which every member wants another key."""
JITTER_SHARE = 0.1
"""How much of the window earlier the first member may want it."""
WARN_SHARE = 0.25
"""With less than this left of the window and no successor, people are told."""
TAKE_UP_S = 60.0
"""An announcement this old was left half-way by whoever made it."""
ROTATION_TIMEOUT_S = 30.0
"""How long one try waits for the slowest member."""
RETRY_S = 60.0
"""The pause after a try that failed; less where windows are short."""
JITTER_OCTETS = 4


class ScheduleHooks(msgspec.Struct, frozen=True):
    """Who is told what; each is called from the event loop and doesn't raise."""

    progress: Progress = quietly
    on_trouble: Progress = quietly
    """One line: a try failed, or a key nears its end without a successor."""


def due_wall_s(ring: KeyRing, policy: RingPolicy, share: float) -> float:
    """When a member that drew `share` (0 to 1) is to see to the next ticket key, seconds since
    1970.
    """
    announced, sealing = ring.tickets.announced, ring.tickets.current
    if announced is not None:
        return announced.created_wall_s + TAKE_UP_S * (1 + share)
    if sealing is None:
        return 0.0
    window_s = min(sealing.seals_until_wall_s - sealing.seals_from_wall_s, policy.sealing_period_s)
    return sealing.seals_from_wall_s + window_s * (DUE_SHARE - JITTER_SHARE * share)


def seals_for_s(ring: KeyRing, wall_s: float) -> float:
    """How long the ticket key seals yet, if nobody replaces it; 0: no ticket is issued now."""
    key = ring.tickets.sealing(wall_s)
    return 0.0 if key is None else key.seals_until_wall_s - wall_s


def check_policy(policy: RingPolicy) -> None:
    """Raises ValueError where a schedule would fill the ring with keys that still open."""
    opens_s = policy.sealing_period_s + policy.opening_period_s + policy.margin_s
    shortest_s = policy.sealing_period_s * (DUE_SHARE - JITTER_SHARE)
    kept = opens_s / shortest_s + 2
    if kept > KEYS_MAX:
        raise ValueError(
            f"a ticket key would be replaced every {shortest_s:.0f} s and kept for {opens_s:.0f} "
            f"s: more than the {KEYS_MAX} keys that a ring holds"
        )


class Schedule:
    """One member's part in it."""

    def __init__(
        self,
        *,
        keeper: RingKeeper,
        rotations: Rotations,
        clock: Clock,
        rng: Rng,
        policy: RingPolicy,
        hooks: ScheduleHooks | None = None,
    ) -> None:
        """Raises ValueError: see `check_policy`."""
        check_policy(policy)
        self._keeper = keeper
        self._rotations = rotations
        self._clock = clock
        self._rng = rng
        self._policy = policy
        self._hooks = hooks or ScheduleHooks()
        self._share = 0.0
        self._drawn_for: bytes | None = None
        self._warned_of: tuple[bytes, bool] | None = None
        self._not_before_s = float("-inf")

    async def run(self) -> None:
        """Never returns."""
        pause_s = min(LOOK_S, self._policy.sealing_period_s / LOOKS_PER_WINDOW)
        while True:
            await asyncio.sleep(pause_s)
            self._draw(self._keeper.ring)
            self._warn(self._keeper.ring, self._clock.wall_s())
            if self._clock.boot_s() >= self._not_before_s:
                await self._turn()

    def _due(self, ring: KeyRing, wall_s: float) -> bool:
        return wall_s >= due_wall_s(ring, self._policy, self._share)

    async def _turn(self) -> None:
        """Rotate, if it is time by the installed ring, and by the store's too."""
        if not self._due(self._keeper.ring, self._clock.wall_s()):
            return
        retry_s = min(RETRY_S, self._policy.sealing_period_s * JITTER_SHARE)
        try:
            announced = await self._rotations.announce(self._due)
            if announced is None:
                return  # somebody else was quicker
            rotation = await self._rotations.complete(
                announced, min(ROTATION_TIMEOUT_S, retry_s), self._hooks.progress
            )
        except ClusterError as error:
            self._not_before_s = self._clock.boot_s() + retry_s
            self._hooks.on_trouble(f"the scheduled rotation did not succeed: {error}")
            return
        if rotation.waiting_for:
            names = ", ".join(rotation.waiting_for)
            self._hooks.progress(f"sealing; not reported yet by {names}")

    def _draw(self, ring: KeyRing) -> None:
        """A new moment within the jitter for each sealing key."""
        key = ring.tickets.current
        key_id = b"" if key is None else key.key_id
        if key_id != self._drawn_for:
            self._drawn_for = key_id
            drawn = int.from_bytes(self._rng.bytes(JITTER_OCTETS), "big")
            self._share = drawn / (1 << 8 * JITTER_OCTETS)

    def _warn(self, ring: KeyRing, wall_s: float) -> None:
        """Once when the end is near, once when it has come."""
        left_s = seals_for_s(ring, wall_s)
        key = ring.tickets.current
        if key is None or left_s >= WARN_SHARE * (key.seals_until_wall_s - key.seals_from_wall_s):
            return
        about = (key.key_id, left_s > 0)
        if about != self._warned_of:
            self._warned_of = about
            name = shown(key.key_id)
            line = f"ticket key {name} stops sealing in {left_s:.0f} s and no other could be agreed"
            ended = f"ticket key {name} has ended without a successor: no ticket is issued"
            self._hooks.on_trouble(line if left_s > 0 else ended)
