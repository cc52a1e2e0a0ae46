"""Whether this member's clock agrees with the others', by the times that heartbeats carry.

Rules: a ticket's times are absolute, so whose clock is off issues what others refuse. Off is who
differs by more than `apart_s` from others that agree among themselves and are more than half of all
that are heard, this member counted; it is so until such others agree with it again. Of two members,
or of several that all differ, nobody can tell who is right, and nobody is off.

A heartbeat's way only makes its time look older. So of the last few of a member the one that was
least late counts, and one that waited while this member was asleep doesn't.
"""

import math
from collections import deque
from collections.abc import Callable
from statistics import median

import msgspec

from cluster.link import Heartbeat
from cluster.seams import Clock

BEATS = 8
"""Heartbeats of a member before its clock is judged by: one that was late is among others then."""
HOLDS_S = 1.0
"""How long this clock has to differ: after a pause all that waited is late, and heard at once."""
STALE_S = 2.0
"""Who wasn't heard for so long isn't judged by."""


class _Told(msgspec.Struct):
    """What a process has said of its time."""

    incarnation: str
    differences_s: deque[float]
    boot_s: float = 0.0


class Clocks:
    """See the module."""

    def __init__(self, clock: Clock, apart_s: float) -> None:
        """`apart_s`: what clocks may differ by. Two that are right differ by at most twice that."""
        self._clock = clock
        self._apart_s = apart_s
        self._told: dict[str, _Told] = {}
        self.off_s = 0.0
        """By how much this clock is behind the others' (ahead: below 0), if it is off; else 0."""
        self._apart_since_s = math.inf
        self.on_changed: list[Callable[[], None]] = []
        """Told when this clock is found off, and when it agrees again."""

    def heard(self, sender: str, beat: Heartbeat) -> None:
        """A heartbeat has arrived from a member with that proven name."""
        if not beat.wall_s:
            return  # of a release that doesn't say
        told = self._told.get(sender)
        if told is None or told.incarnation != beat.incarnation:
            told = self._told[sender] = _Told(beat.incarnation, deque(maxlen=BEATS))
        told.differences_s.append(beat.wall_s - self._clock.wall_s())
        told.boot_s = self._clock.boot_s()
        self._judge()

    def differing(self) -> dict[str, float]:
        """The members heard lately whose clocks differ from this one, and by how much they are
        ahead, seconds; sorted by name."""
        found = self._differences()
        return {name: s for name, s in sorted(found.items()) if abs(s) > self._apart_s}

    def _differences(self) -> dict[str, float]:
        since_s = self._clock.boot_s() - STALE_S
        for name in [name for name, told in self._told.items() if told.boot_s < since_s]:
            del self._told[name]
        return {
            name: max(told.differences_s)
            for name, told in self._told.items()
            if len(told.differences_s) == BEATS
        }

    def _judge(self) -> None:
        others = list(self._differences().values())
        if not others or len(others) < len(self._told):
            return  # somebody is only just heard
        middle_s = median(others)
        agreeing = sum(abs(each_s - middle_s) <= self._apart_s for each_s in others)
        if 2 * agreeing <= len(others) + 1:
            return  # nobody can tell
        was_off, apart = bool(self.off_s), abs(middle_s) > self._apart_s
        now_s = self._clock.boot_s()
        self._apart_since_s = min(self._apart_since_s, now_s) if apart else math.inf
        if apart and now_s - self._apart_since_s < HOLDS_S:
            return
        self.off_s = middle_s if apart else 0.0
        if apart != was_off:
            for listener in self.on_changed:
                listener()
