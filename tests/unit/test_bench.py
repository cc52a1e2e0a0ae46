"""The benchmarks run and keep what they promise; how long anything takes is nobody's business here.

What needs an etcd is run by `make bench` itself.
"""

import io
import os
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import papers
from bench.cases import Size, run_handlers, run_udp
from bench.figures import AT_MOST, WANTED, compared, shown
from bench.load import Order, Report, Setup
from bench.piped import running
from bench.procfs import cpu_s, rss_octets
from bench.udp_gateway import Listening, Start

TINY = Size(operations=12, runs=1, warm_up=80)
PROMISED = (
    "handshake_handlers_cpu_us",
    "handshake_durable_cpu_us",
    "resume_handlers_cpu_us",
    "resume_udp_cpu_us",
    "resume_durable_cpu_us",
    "resume_durable_per_s",
    "forged_ticket_handlers_cpu_us",
    "resume_p50_ms_1",
    "resume_p99_ms_64",
    "rss_per_session_bytes_1k",
    "rss_per_session_bytes_10k",
)
"""Names that others read out of the results file."""


def test_a_whole_run_has_every_promised_figure_and_every_aim_is_about_one():
    assert set(PROMISED) <= set(WANTED)
    assert set(AT_MOST) <= set(WANTED)


def test_the_handlers_are_measured():
    figures = run_handlers(TINY)
    assert set(figures) == {name for name in WANTED if "_handlers_" in name}
    assert all(value > 0 for value in figures.values())


async def test_a_gateway_over_udp_is_measured():
    figures = await run_udp(TINY)
    assert set(figures) == {name for name in WANTED if "_udp_" in name}


async def test_every_order_to_the_load_is_carried_out_whole():
    psk_hex = "5a" * 32
    async with running("bench.udp_gateway") as gateway, running("bench.load") as load:
        listening = await gateway.ask(Start(psk_hex), Listening)
        load.tell(Setup(listening.address, psk_hex, gateway.pid))
        reports = [
            await load.ask(order, Report)
            for order in (Order("handshake", 5, 2), Order("probe", 7, 5), Order("resume", 12, 3))
        ]
    assert [(report.done, report.failed) for report in reports] == [(5, 0), (7, 0), (12, 0)]
    assert all(0 < report.p50_ms <= report.p99_ms for report in reports)


async def test_peers_are_taken_whatever_they_prove_themselves_with(tmp_path: Path):
    papers.make(tmp_path, time.time())
    psk_hex = "5a" * 32
    async with running("bench.udp_gateway") as gateway, running("bench.load") as load:
        listening = await gateway.ask(Start(psk_hex, str(tmp_path)), Listening)
        load.tell(Setup(listening.address, psk_hex, gateway.pid, str(tmp_path)))
        for way in ("psk", *papers.PROVEN):
            report = await load.ask(Order("handshake", 3, 2, way=way), Report)
            assert (way, report.done, report.failed) == (way, 3, 0)


async def test_a_refused_session_is_told_as_failed():
    async with running("bench.udp_gateway") as gateway, running("bench.load") as load:
        listening = await gateway.ask(Start("5a" * 32), Listening)
        load.tell(Setup(listening.address, "a5" * 32, gateway.pid))
        report = await load.ask(Order("handshake", 3, 3), Report)
    assert (report.done, report.failed) == (0, 3)


def test_the_kernel_s_counts_are_read():
    me = os.getpid()
    before_s = cpu_s(me)
    while cpu_s(me) == before_s:
        sum(range(10_000))
    assert cpu_s(me) > before_s
    assert rss_octets(me) > 1 << 20


def test_figures_are_shown_with_their_aims_and_beside_others():
    new = {"resume_durable_cpu_us": 120.0, "resume_p50_ms_1": 3.0}
    assert _rows(shown(new)) == [
        ["resume_durable_cpu_us", "120.0", "≤", "150"],
        ["resume_p50_ms_1", "3.0"],
    ]
    old = {"resume_durable_cpu_us": 240.0, "machine_cpu": "any"}
    assert _rows(compared(old, new)) == [["resume_durable_cpu_us", "240.0", "120.0", "0.50"]]


def _rows(table: Table) -> list[list[str]]:
    """The words of each row below the head."""
    table.box, table.title = None, None
    console = Console(width=120, file=io.StringIO())
    with console.capture() as captured:
        console.print(table)
    return [line.split() for line in captured.get().splitlines()[1:]]
