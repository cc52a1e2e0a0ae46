"""What a drill leaves behind: one self-contained page for people, one JSON file for programs.

Rules: both hold the same figures, from one `Report`. The page loads nothing and runs nothing.
"""

import platform
from pathlib import Path

import jinja2
import msgspec

from cluster.drill import figures
from cluster.drill.figures import Histogram, Timeline
from cluster.drill.history import History
from cluster.drill.interruptions import Interruption, Outcome
from cluster.drill.plan import Drill
from cluster.drill.verdict import Verdict
from node.drill import charts

HTML_NAME = "report.html"
JSON_NAME = "report.json"
ROWS_MAX = 500
"""Sessions listed in the page; the JSON file holds all."""
TEMPLATE = "report.html.j2"


class Facts(msgspec.Struct, frozen=True):
    """Where and how it was run."""

    began: str
    """UTC, ISO 8601."""
    took_s: float
    python: str
    machine: str
    processors: int
    etcd: str


class Report(msgspec.Struct, frozen=True):
    """Everything that the page and the JSON file show. Times are seconds after the first fault."""

    format: int
    name: str
    title: str
    description: str
    gateways: int
    clients: int
    facts: Facts
    verdict: Verdict
    timeline: Timeline
    without_service: Histogram | None
    unreadable_lines: int
    """Lines of the record that could not be read."""


def make(
    drill: Drill, history: History, verdict: Verdict, facts: Facts, unreadable_lines: int
) -> Report:
    """The report on a drill that was run and judged."""
    return Report(
        format=1,
        name=drill.name,
        title=drill.title,
        description=" ".join(drill.description.split()),
        gateways=drill.topology.gateways,
        clients=drill.load.clients,
        facts=facts,
        verdict=verdict,
        timeline=figures.timeline(history, drill.load.liveness_interval_s),
        without_service=figures.histogram(verdict.interruptions),
        unreadable_lines=unreadable_lines,
    )


def facts(began: str, took_s: float, processors: int, etcd: str) -> Facts:
    """What is known of this machine, with what the runner knows."""
    return Facts(
        began=began,
        took_s=round(took_s, 1),
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.release()} {platform.machine()}",
        processors=processors,
        etcd=etcd,
    )


def write(report: Report, folder: Path) -> tuple[Path, Path]:
    """Both files into `folder` (made if need be), older ones replaced: (page, JSON)."""
    folder.mkdir(parents=True, exist_ok=True)
    page, data = folder / HTML_NAME, folder / JSON_NAME
    page.write_text(render(report))
    data.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    return page, data


def render(report: Report) -> str:
    """The page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    verdict = report.verdict
    spread = verdict.without_service
    histogram = report.without_service
    rows = sorted(verdict.interruptions, key=_worst_first)
    return environment.get_template(TEMPLATE).render(
        r=report,
        v=verdict,
        c=charts,
        timeline=charts.timeline(report.timeline, verdict.faults),
        distribution=charts.distribution(histogram, spread) if histogram and spread else None,
        rows=rows[:ROWS_MAX],
        rows_left=max(0, len(rows) - ROWS_MAX),
        breaches_max=ROWS_MAX,
    )


_ORDER = (Outcome.LOST, Outcome.REHANDSHAKED, Outcome.RESUMED, Outcome.KEPT)


def _worst_first(row: Interruption) -> tuple[int, float, str]:
    return _ORDER.index(row.outcome), -(row.without_service_s or 0.0), row.client
