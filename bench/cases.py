"""What is measured over sockets: the gateway alone, with its durable commit, and its memory.

Rules: CPU is the gateway process's own, user and system, all threads, the least of several runs;
so is every time. What went wrong in a run makes it void: no figure comes of it.
"""

import asyncio
import os
import secrets
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from bench import handlers, papers, ring, takeover
from bench.cluster import MEASURED, Cluster, running_cluster
from bench.figures import Figures
from bench.load import Order, Report, Setup
from bench.piped import Broken, Piped, running
from bench.procfs import cpu_s, rss_octets
from bench.udp_gateway import Listening, Start

IN_FLIGHT = 64
MIRROR = "gw2"


class Size(msgspec.Struct, frozen=True):
    """How much is done of each."""

    operations: int = 5000
    runs: int = 3
    alone: int = 1000
    """Resumptions one at a time, for their latency."""
    warm_up: int = 500
    ring_changes: int = 300
    sessions: tuple[int, int] = (1000, 10_000)
    settle_s: float = 2.0
    """What is given to a gateway to come to rest before its memory is read."""


FULL = Size()
QUICK = Size(
    operations=1500, runs=1, alone=300, warm_up=200, ring_changes=100, sessions=(500, 3000)
)


def run_handlers(size: Size) -> Figures:
    """The core alone."""
    return handlers.measure(min(size.operations, 1000), 2 * size.runs)


async def run_udp(size: Size) -> Figures:
    """Production sockets, shell and lane in a process of its own, whose writes settle at once."""
    psk_hex, count = secrets.token_hex(32), min(size.operations, size.alone)
    with tempfile.TemporaryDirectory(prefix="standfast-bench-") as folder:
        papers.make(Path(folder), time.time())
        async with running("bench.udp_gateway") as gateway, running("bench.load") as load:
            listening = await gateway.ask(Start(psk_hex, folder), Listening)
            load.tell(Setup(listening.address, psk_hex, gateway.pid, folder))
            figures = await _over_udp(load, size)
            for way in papers.PROVEN:
                made = await _runs(load, Order("handshake", count, way=way), size)
                figures[f"handshake_{way}_udp_cpu_us"] = _cpu_us(made)
    return figures


async def _over_udp(load: Piped, size: Size) -> Figures:
    """With a pre-shared key."""
    await _do(load, Order("handshake", IN_FLIGHT))
    probed = await _runs(load, Order("probe", size.operations), size)
    await _do(load, Order("resume", size.warm_up))
    resumed = await _runs(load, Order("resume", size.operations), size)
    made = await _runs(load, Order("handshake", size.operations), size)
    return {
        "handshake_udp_cpu_us": _cpu_us(made),
        "resume_udp_cpu_us": _cpu_us(resumed),
        "liveness_udp_cpu_us": _cpu_us(probed),
    }


async def run_durable(size: Size) -> Figures:
    """The production gateway with one etcd member and one mirror, 64 in flight."""
    async with running_cluster(2, 1) as cluster, running("bench.load") as load:
        load.tell(Setup(cluster.address, cluster.psk_hex, cluster.pid()))
        await _warm_up(load, size)
        resumed, figures = await _resumed(cluster, {MEASURED: load}, size, "resume_durable")
        alone = await _runs(load, Order("resume", size.alone, 1), size)
        made = await _runs(load, Order("handshake", size.operations), size)
        cluster.check()
    return figures | {
        "handshake_durable_cpu_us": _cpu_us(made),
        "handshake_durable_per_s": _per_s(made),
        "resume_p50_ms_1": _least(alone, lambda report: report.p50_ms),
        "resume_p99_ms_1": _least(alone, lambda report: report.p99_ms),
        "resume_p50_ms_64": _least(resumed, lambda report: report.p50_ms),
        "resume_p99_ms_64": _least(resumed, lambda report: report.p99_ms),
    }


async def run_three(size: Size) -> Figures:
    """Both gateways take load, 64 in flight at each, and mirror each other, with a three-member
    etcd: what every process of it takes.
    """
    async with (
        running_cluster(2, 1, etcd_members=3) as cluster,
        running("bench.load") as first,
        running("bench.load") as second,
    ):
        loads = {MEASURED: first, MIRROR: second}
        for name, load in loads.items():
            load.tell(Setup(cluster.address_of(name), cluster.psk_hex, cluster.pid(name)))
            await _warm_up(load, size)
        _, figures = await _resumed(cluster, loads, size, "resume_three_etcd")
        cluster.check()
    return figures


async def _resumed(
    cluster: Cluster, loads: Mapping[str, Piped], size: Size, name: str
) -> tuple[list[Report], Figures]:
    """Resumptions, 64 in flight at each gateway that takes load; the CPU that all of these take
    for one, and the other processes, and how many share a batch.
    """
    pids = {
        "mirror": tuple(map(cluster.pid, {MEASURED, MIRROR} - loads.keys())),
        "load": tuple(load.pid for load in loads.values()),
        "etcd": cluster.etcd_pids,
    }
    order = Order("resume", size.operations // len(loads), IN_FLIGHT)
    revision = await cluster.revision()
    before_s = {who: sum(map(cpu_s, pids[who])) for who in pids}
    reports = [await _at_once(loads.values(), order) for _ in range(size.runs)]
    batches = await cluster.revision() - revision
    operations = sum(report.done for report in reports)
    figures = {
        f"{name}_{who}_cpu_us": round(
            (sum(map(cpu_s, pids[who])) - before_s[who]) / operations * 1e6, 1
        )
        for who in pids
        if pids[who]
    }
    return reports, figures | {
        f"{name}_cpu_us": _cpu_us(reports),
        f"{name}_per_s": _per_s(reports),
        f"{name}_batch_ops": round(operations / batches, 1),
    }


async def _at_once(loads: Iterable[Piped], order: Order) -> Report:
    """One order for each of `loads`, as one report; its latencies are those of who was slower."""
    reports = await asyncio.gather(*(_do(load, order) for load in loads))
    return Report(
        done=sum(report.done for report in reports),
        failed=sum(report.failed for report in reports),
        repeated=sum(report.repeated for report in reports),
        wall_s=max(report.wall_s for report in reports),
        cpu_s=sum(report.cpu_s for report in reports),
        p50_ms=max(report.p50_ms for report in reports),
        p99_ms=max(report.p99_ms for report in reports),
    )


async def run_ring(size: Size) -> Figures:
    """Changes of the key ring, each seen by three members, with resumptions under way at one."""
    async with (
        running_cluster(3, 1, etcd_members=3, events=True) as cluster,
        running("bench.load") as load,
    ):
        load.tell(Setup(cluster.address, cluster.psk_hex, cluster.pid()))
        await _warm_up(load, size)
        quiet_s = await ring.changes(cluster, size.ring_changes)
        changing = asyncio.create_task(ring.changes(cluster, size.ring_changes))
        while not changing.done():
            await _do(load, Order("resume", size.warm_up))
        busy_s = await changing
        cluster.check()
    return {
        "ring_change_visible_p99_ms": ring.p99_ms(quiet_s),
        "ring_change_visible_busy_p99_ms": ring.p99_ms(busy_s),
    }


async def profile_durable(size: Size, profile: Path) -> float:
    """Write a profile of the gateway under resumptions as above; CPU of each, µs."""
    async with running_cluster(2, 1, profile=profile) as cluster, running("bench.load") as load:
        load.tell(Setup(cluster.address, cluster.psk_hex, cluster.pid()))
        await _warm_up(load, size)
        os.kill(cluster.pid(), signal.SIGUSR2)
        resumed = await _runs(load, Order("resume", size.operations), size)
        os.kill(cluster.pid(), signal.SIGUSR2)
    return _cpu_us(resumed)


async def run_takeover(size: Size) -> Figures:
    """gw1 dies with all its sessions, most of which have come further than their records."""
    sessions = size.sessions[1]
    async with running_cluster(2, 1, events=True) as cluster, running("bench.load") as load:
        load.tell(Setup(cluster.address, cluster.psk_hex, cluster.pid()))
        await _do(load, Order("handshake", sessions))
        await _do(load, Order("probe", sessions // 2))
        await asyncio.sleep(size.settle_s)
        taken = await takeover.takeover(cluster, load, sessions)
    return {
        "takeover_sessions": sessions,
        "takeover_loaded_s": round(taken.loaded_s, 3),
        "takeover_answered_s": round(taken.answered_s, 3),
    }


async def run_memory(size: Size) -> Figures:
    """What a gateway grows by for each session: one gateway with an etcd, hence no mirrors."""
    few, many = size.sessions
    async with running_cluster(1, 0) as cluster, running("bench.load") as load:
        load.tell(Setup(cluster.address, cluster.psk_hex, cluster.pid()))
        await _warm_up(load, size)
        empty = await _at_rest(cluster, size)
        await _do(load, Order("handshake", few))
        at_few = await _at_rest(cluster, size)
        await _do(load, Order("handshake", many - few))
        at_many = await _at_rest(cluster, size)
    return {
        "rss_per_session_bytes_1k": round((at_few - empty) / few),
        "rss_per_session_bytes_10k": round((at_many - empty) / many),
    }


async def _at_rest(cluster: Cluster, size: Size) -> int:
    await asyncio.sleep(size.settle_s)
    cluster.check()
    return rss_octets(cluster.pid())


async def _warm_up(load: Piped, size: Size) -> None:
    await _do(load, Order("handshake", IN_FLIGHT))
    await _do(load, Order("resume", size.warm_up))


async def _runs(load: Piped, order: Order, size: Size) -> list[Report]:
    return [await _do(load, order) for _ in range(size.runs)]


async def _do(load: Piped, order: Order) -> Report:
    """One order. Raises Broken if a single operation failed."""
    report = await load.ask(order, Report)
    if report.failed:
        raise Broken(f"{order.kind}: {report.failed} of {order.count} failed")
    return report


def _least(reports: Sequence[Report], value: Callable[[Report], float]) -> float:
    return round(min(map(value, reports)), 2)


def _cpu_us(reports: Sequence[Report]) -> float:
    return round(min(report.cpu_s / report.done for report in reports) * 1e6, 1)


def _per_s(reports: Sequence[Report]) -> float:
    return round(max(report.done / report.wall_s for report in reports))
