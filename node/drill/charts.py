"""The two drawings of a report as plain numbers: where each line, bar and label goes.

Rules: pure; coordinates are those of the template's SVG (`report.html.j2`), y downwards, rounded to
a tenth so that the page stays small.
"""

import math

import msgspec

from cluster.drill.figures import Histogram, Timeline
from cluster.drill.history import FaultSeen
from cluster.drill.verdict import Spread

WIDTH = 960.0
HEIGHT = 300.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 30.0, 34.0, 28.0
TICKS = 8
LABEL_WIDTH = 120.0
"""Labels of marks closer together than this go on another line."""
LABEL_LINES = 2


class Tick(msgspec.Struct, frozen=True):
    """A grid line and what it says."""

    at: float
    label: str


class Area(msgspec.Struct, frozen=True):
    """One gateway's band: the points of a polygon, and its colour's number."""

    name: str
    colour: int
    points: str


class Mark(msgspec.Struct, frozen=True):
    """A vertical line with a label; `line` staggers labels that would overlap."""

    x: float
    label: str
    line: int
    anchor: str


class Bar(msgspec.Struct, frozen=True):
    """One bin of the histogram."""

    x: float
    y: float
    width: float
    height: float
    title: str


class Drawing(msgspec.Struct, frozen=True):
    """Whatever of this a chart has."""

    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    marks: tuple[Mark, ...]
    areas: tuple[Area, ...] = ()
    bars: tuple[Bar, ...] = ()


class Scale(msgspec.Struct, frozen=True):
    """From values on an axis to a coordinate."""

    low: float
    high: float
    from_at: float
    to_at: float

    def at(self, value: float) -> float:
        """Where `value` is drawn."""
        span = (self.high - self.low) or 1.0
        share = (value - self.low) / span
        return round(self.from_at + share * (self.to_at - self.from_at), 1)


def _across(low: float, high: float) -> Scale:
    return Scale(low, high, LEFT, WIDTH - RIGHT)


def _up(high: float) -> Scale:
    return Scale(0.0, high, HEIGHT - BOTTOM, TOP)


def timeline(line: Timeline, faults: tuple[FaultSeen, ...]) -> Drawing:
    """Sessions in service, one band per gateway, one on top of the other."""
    x = _across(line.t_s[0], line.t_s[-1])
    totals = [sum(levels) for levels in zip(*line.sessions.values(), strict=True)]
    top = max(totals, default=0) or 1
    y = _up(top * 1.04)
    floor = [0] * len(line.t_s)
    areas: list[Area] = []
    for number, (gateway, levels) in enumerate(line.sessions.items()):
        roof = [a + b for a, b in zip(floor, levels, strict=True)]
        upper = [(x.at(t), y.at(level)) for t, level in zip(line.t_s, roof, strict=True)]
        lower = [(x.at(t), y.at(level)) for t, level in zip(line.t_s, floor, strict=True)]
        corners = [*upper, *reversed(lower)]
        areas.append(Area(gateway, number % 8, " ".join(f"{a:g},{b:g}" for a, b in corners)))
        floor = roof
    labelled = [(x.at(f.t_s), f"{f.action} {f.target}".strip()) for f in faults]
    return Drawing(
        x_ticks=_ticks(x, "{:+g} s"),
        y_ticks=_ticks(y, "{:g}", count=5, whole=True),
        marks=_marks(labelled),
        areas=tuple(areas),
    )


def distribution(chart: Histogram, spread: Spread) -> Drawing:
    """Sessions per time without service, with median, 99th percentile and maximum marked."""
    low = chart.first_bin * chart.bin_s
    high = low + len(chart.counts) * chart.bin_s
    x, y = _across(low, high), _up(max(chart.counts) * 1.08)
    bars = []
    for n, count in enumerate(chart.counts):
        begin, end = low + n * chart.bin_s, low + (n + 1) * chart.bin_s
        left, roof = x.at(begin), y.at(count)
        title = f"{count} sessions: {begin:.4g} to {end:.4g} s"
        width, height = round(x.at(end) - left - 1, 1), round(y.at(0) - roof, 1)
        bars.append(Bar(left, roof, max(width, 1.0), height, title))
    quantiles = [("p50", spread.p50_s), ("p99", spread.p99_s), ("max", spread.max_s)]
    return Drawing(
        x_ticks=_ticks(x, "{:g} s"),
        y_ticks=_ticks(y, "{:g}", count=4, whole=True),
        marks=_marks([(x.at(value), f"{name} {value:.2f} s") for name, value in quantiles]),
        bars=tuple(bars),
    )


def _marks(labelled: list[tuple[float, str]]) -> tuple[Mark, ...]:
    """Labels right of their line, or left of it at the right edge; staggered when too close."""
    marks: list[Mark] = []
    for x, label in sorted(labelled):
        anchor = "end" if x > WIDTH - RIGHT - LABEL_WIDTH else "start"
        facing = bool(marks) and marks[-1].anchor != anchor
        near = bool(marks) and x - marks[-1].x < LABEL_WIDTH * (2 if facing else 1)
        line = (marks[-1].line + 1) % LABEL_LINES if near else 0
        marks.append(Mark(x, label, line, anchor))
    return tuple(marks)


def _ticks(scale: Scale, form: str, count: int = TICKS, whole: bool = False) -> tuple[Tick, ...]:
    """Round numbers within the scale, about `count` of them."""
    rough = max((scale.high - scale.low) / count, 1e-9)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(nice * power for nice in (1, 2, 2.5, 5, 10) if nice * power >= rough * (1 - 1e-9))
    if whole:
        step = max(1.0, math.ceil(step))
    first = math.ceil(scale.low / step - 1e-9)
    last = math.floor(scale.high / step + 1e-9)
    values = [round(n * step, 9) for n in range(first, last + 1)]
    return tuple(Tick(scale.at(v), form.format(v).replace("+0 s", "0 s")) for v in values)
