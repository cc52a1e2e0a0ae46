"""Events are read line by line; timeline and histogram show what the record says."""

import pytest

from cluster.drill import figures, history
from cluster.drill.events import decode_lines
from cluster.drill.verdict import judge, percentile
from tests.unit.cluster.drill_record import drill, good_record


def test_lines_that_are_no_events_are_counted_and_fields_unknown_ignored() -> None:
    lines = [
        b'{"t": 1.5, "wall": 2.5, "who": "gw1", "kind": "started", "incarnation": "00"}',
        b'{"t": 1.5, "who": "gw1"',
        b"",
        b'{"t": "soon", "who": "gw1", "kind": "started"}',
    ]
    events, unreadable = decode_lines(lines)
    assert [(e.t, e.who, e.kind) for e in events] == [(1.5, "gw1", "started")]
    assert unreadable == 2


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(n) for n in range(1, 101)]
    assert percentile(values, 0.5) == 50.0
    assert percentile(values, 0.99) == 99.0
    assert percentile([3.0], 0.99) == 3.0


def test_the_timeline_shows_the_gateways_sessions_leave_and_come_back_elsewhere() -> None:
    past = history.build(good_record().events)
    line = figures.timeline(past, 0.2)
    assert len(line.t_s) == len(line.sessions["gw1"])

    def at(gateway: str, t_s: float) -> int:
        index = max(n for n, t in enumerate(line.t_s) if t <= t_s)
        return line.sessions[gateway][index]

    assert [at(g, -1.0) for g in ("gw1", "gw2", "gw3")] == [1, 2, 1]
    assert [at(g, 1.0) for g in ("gw1", "gw2", "gw3")] == [1, 0, 1]
    assert [at(g, 10.0) for g in ("gw1", "gw2", "gw3")] == [2, 0, 2]


def test_the_histogram_holds_every_session_in_bins_of_a_round_width() -> None:
    verdict = judge(drill(4), good_record().events)
    chart = figures.histogram(verdict.interruptions)
    assert chart is not None
    assert sum(chart.counts) == 2
    assert chart.counts[0] == chart.counts[-1] == 1
    assert len(chart.counts) <= figures.BINS_MAX
    assert chart.bin_s == pytest.approx(0.05)
    assert figures.histogram(()) is None
