"""Drives an endpoint on an event loop: datagrams and timers in, Outcomes carried out. Both roles.

Rules: one timer handle for all SAs, moved only when something became due earlier. It never waits.
What fell due while the host slept is done as soon as it is awake.
"""

import asyncio

from cluster.seams import Clock
from node.lane import Lane
from proto.ike.effects import Now, Path
from proto.ike.endpoint import Endpoint

TIMER_FLOOR_S = 0.001
LOOK_S = 0.5
"""The timer never waits longer: it goes by the loop's clock, which stands still while the host
sleeps, and what is due by the boot clock, which doesn't."""


class Shell:
    """Drives an endpoint: both roles, no cluster. `node.client` uses it as it is."""

    def __init__(self, endpoint: Endpoint, lane: Lane, clock: Clock) -> None:
        self.endpoint = endpoint
        self.lane = lane
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self._armed_s = float("inf")
        lane.on_settled = self.rearm

    def now(self) -> Now:
        """The time, as the core wants it."""
        return Now(self._clock.boot_s(), self._clock.wall_s())

    def on_datagram(self, data: bytes, path: Path) -> None:
        """Hand one datagram to the core and carry its Outcome out."""
        self.lane.carry_out(self.endpoint.receive(data, path, self.now()))
        self.rearm()

    def rearm(self) -> None:
        """Have `on_timer` called when the core wants it; cheap when nothing became earlier."""
        deadline_s = self.endpoint.next_deadline_s()
        if deadline_s >= self._armed_s:
            return
        if self._timer is not None:
            self._timer.cancel()
        now_s = self._clock.boot_s()
        self._armed_s = min(deadline_s, now_s + LOOK_S)
        delay_s = max(TIMER_FLOOR_S, self._armed_s - now_s)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_timer)

    def close(self) -> None:
        """No more timers."""
        if self._timer is not None:
            self._timer.cancel()
        self._armed_s = float("-inf")

    def _on_timer(self) -> None:
        self._armed_s = float("inf")
        for outcome in self.endpoint.on_timer(self.now()):
            self.lane.carry_out(outcome)
        self.rearm()
