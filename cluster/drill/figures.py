"""The two series that a report draws: sessions per gateway over time, and times without service.

Rules: pure; times are seconds after the first fault, as in the history.
"""

import itertools
import math

import msgspec

from cluster.drill.history import Client, History
from cluster.drill.interruptions import Interruption

GAP_MIN_S = 1.0
GAP_INTERVALS = 4
"""Two answers further apart than the longer of the two, or than an SA's end, leave a hole in the
timeline.
"""

STEPS = 300
"""Points of the timeline."""
BINS_MAX = 30
BIN_MIN_S = 0.01
"""Finer differences say nothing about a gateway's loss."""
NICE = (1.0, 2.0, 2.5, 5.0, 10.0)


class Timeline(msgspec.Struct, frozen=True):
    """Sessions in service per gateway at each of `t_s`."""

    t_s: tuple[float, ...]
    sessions: dict[str, tuple[int, ...]]


class Histogram(msgspec.Struct, frozen=True):
    """How many sessions were without service for [n × bin_s, (n + 1) × bin_s), from `first_bin`
    on.
    """

    bin_s: float
    first_bin: int
    counts: tuple[int, ...]


def timeline(history: History, liveness_interval_s: float) -> Timeline:
    """Sessions that were being answered, per gateway, from the first session to the end of
    observation.
    """
    gap_s = max(GAP_MIN_S, GAP_INTERVALS * liveness_interval_s)
    starts = [client.sessions[0].t for client in history.clients if client.sessions]
    begin = min(starts, default=history.begin_t)
    step_s = max((history.end_t - begin) / STEPS, 1e-9)
    changes = {gateway: [0] * (STEPS + 2) for gateway in history.gateways}

    def index(t: float) -> int:
        return min(STEPS + 1, max(0, math.ceil((t - begin) / step_s)))

    for client in history.clients:
        for gateway, since, until in _served(client, history.end_t, gap_s):
            row = changes.setdefault(gateway, [0] * (STEPS + 2))
            row[index(since)] += 1
            row[index(until)] -= 1
    sessions: dict[str, tuple[int, ...]] = {}
    for gateway in sorted(changes):
        level, levels = 0, []
        for change in changes[gateway][: STEPS + 1]:
            level += change
            levels.append(level)
        sessions[gateway] = tuple(levels)
    t_s = tuple(round(begin + n * step_s, 4) for n in range(STEPS + 1))
    return Timeline(t_s, sessions)


def _served(client: Client, end_t: float, gap_s: float) -> list[tuple[str, float, float]]:
    """(gateway, from, to) of every stretch in which the client was answered."""
    stretches: list[tuple[str, float, float]] = []
    ends = [session.t for session in client.sessions[1:]] + [end_t]
    for session, end in zip(client.sessions, ends, strict=True):
        marks = [session.t, *(t for t in client.answered if session.t < t <= end)]
        since = marks[0]
        for earlier, later in itertools.pairwise(marks):
            if later - earlier > gap_s:
                stretches.append((session.gateway, since, earlier))
                since = later
        goes_on = end == end_t and end - marks[-1] <= gap_s
        stretches.append((session.gateway, since, end + gap_s if goes_on else marks[-1]))
    return stretches


def histogram(interruptions: tuple[Interruption, ...]) -> Histogram | None:
    """Times without service in at most `BINS_MAX` bins of a round width; None if there are none."""
    times = [
        i.without_service_s for i in interruptions if i.fault and i.without_service_s is not None
    ]
    if not times:
        return None
    least, most = min(times), max(times)
    bin_s = _nice(max((most - least) / (BINS_MAX - 2), BIN_MIN_S))
    first = math.floor(least / bin_s)
    counts = [0] * (math.floor(most / bin_s) - first + 1)
    for time_s in times:
        counts[math.floor(time_s / bin_s) - first] += 1
    return Histogram(bin_s, first, tuple(counts))


def _nice(width: float) -> float:
    """The next round number: 1, 2, 2.5 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(width))
    return next(step * power for step in NICE if step * power >= width * (1 - 1e-9))
