"""The report holds the verdict's figures, loads and runs nothing, and escapes what it shows."""

import itertools
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from cluster.drill import history
from cluster.drill.verdict import judge_history
from node.drill import charts, report, summary
from tests.unit.cluster.drill_record import FAULT_T, Record, drill, good_record, struck

VOID = {"meta", "br", "img", "link", "input", "hr"}


def made(record: Record, clients: int) -> report.Report:
    plan = drill(clients)
    past = history.build(record.events)
    facts = report.facts("2026-01-02T03:04:05+00:00", 21.25, 2, "etcd 3.4.23")
    return report.make(plan, past, judge_history(plan, past), facts, 0)


def broken_record() -> Record:
    record = good_record()
    struck(record, "c0005", how="full", generation=1)
    record.session("c0006", "gw2", 101.0)
    record.answers("c0006", 101.2, FAULT_T)
    at = record.address("gw3")
    record.add("c0006", FAULT_T + 3, "failed", gateway=at, how="full", why="<b>no</b> & none")
    return record


class Page(HTMLParser):
    """Checks that tags nest, and collects text, tags and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.values: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.values += [value or "" for _, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def test_the_page_shows_the_verdict_and_its_figures() -> None:
    page = Page(report.render(made(good_record(), 4)))
    text = " ".join(page.text.split())
    assert "kept Every promise that was put to the test was kept." in text
    assert "2 sessions affected, of 4 2 resumed 0 re-handshaked 0 lost 1.70 s" in text
    assert "kill gw2 gw1 1.10 s 4.10 s" in text
    assert "gw2 2 0" in text
    assert page.tags.count("svg") == 2


def test_the_page_lists_what_broke_and_escapes_it() -> None:
    html = report.render(made(broken_record(), 6))
    text = " ".join(Page(html).text.split())
    assert "broken Something that was promised or expected did not hold." in text
    assert "promise 1 is broken: Any survivor accepts a resumed session (2 times)" in text
    assert "c0006 +0.000 s lost with a valid ticket: full attempt at gw3 failed: <b>no</b>" in text
    assert "<b>no</b>" not in html
    assert "&lt;b&gt;no&lt;/b&gt; &amp; none" in html


def test_the_page_loads_and_runs_nothing() -> None:
    html = report.render(made(broken_record(), 6))
    page = Page(html)
    assert not {"script", "link", "img", "iframe", "object", "embed"} & set(page.tags)
    assert not [value for value in page.values if "://" in value or value.startswith("//")]
    assert not re.search(r"url\(|@import|\bon[a-z]+=", html)


def test_the_drawings_are_well_formed() -> None:
    html = report.render(made(good_record(), 4))
    drawings = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    timeline, distribution = (
        ET.fromstring(drawing)  # noqa: S314  our own page
        for drawing in drawings
    )
    assert len(timeline.findall("polygon")) == 3
    assert "kill gw2" in [text.text for text in timeline.findall("text")]
    assert len(distribution.findall("rect")) == 2


def test_page_and_json_hold_the_same_figures(tmp_path: Path) -> None:
    whole = made(broken_record(), 6)
    page, data = report.write(whole, tmp_path / "made" / "here")
    assert page.read_text() == report.render(whole)
    assert msgspec.json.decode(data.read_bytes(), type=report.Report) == whole
    loose = msgspec.json.decode(data.read_bytes())
    assert loose["verdict"]["result"] == "broken"
    assert loose["verdict"]["counts"]["lost"] == 1
    assert loose["verdict"]["promises"][0]["state"] == "broken"


def test_a_report_without_any_affected_session_has_no_distribution() -> None:
    record = Record()
    record.fault()
    record.end()
    page = Page(report.render(made(record, 1)))
    assert page.tags.count("svg") == 1
    assert "inconclusive" in page.text


def test_a_timeline_s_bands_stand_on_one_another() -> None:
    whole = made(good_record(), 4)
    drawing = charts.timeline(whole.timeline, whole.verdict.faults)
    ends = [[tuple(map(float, p.split(","))) for p in a.points.split()] for a in drawing.areas]
    steps = len(whole.timeline.t_s)
    for lower, upper in itertools.pairwise(ends):
        assert lower[:steps] == list(reversed(upper[steps:]))
    zero = next(tick.at for tick in drawing.x_ticks if tick.label == "0 s")
    assert drawing.marks[0].x == pytest.approx(zero)


def test_labels_close_together_take_turns() -> None:
    faults = tuple(history.FaultSeen(t, "kill", "gw1") for t in (0.0, 0.1, 0.2))
    whole = made(good_record(), 4)
    assert [mark.line for mark in charts.timeline(whole.timeline, faults).marks] == [0, 1, 0]


def test_the_terminal_shows_the_same_figures() -> None:
    out = StringIO()
    console = Console(file=out, width=140)
    summary.show(console, made(broken_record(), 6).verdict, "report/report.html")
    text = out.getvalue()
    assert "BROKEN" in text
    assert "promise 1: " in text
    assert "report: report/report.html" in text
    row = next(line for line in text.splitlines() if line.startswith("│") and "2.70 s" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        "4",
        "0",
        "2",
        "1",
        "1",
        "1.70 s",
        "2.70 s",
        "2.70 s",
    ]
