"""The machine's facts, which figures mean nothing without."""

import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

from node.etcd_child import find_etcd

LOOP_COUNT = 100_000
LOOP_RUNS = 7


async def facts() -> dict[str, str | float]:
    """CPU, versions, and how busy the machine is now. Raises EtcdFailed."""
    return {
        "machine_cpu": _cpu(),
        "machine_cores": os.cpu_count() or 0,
        "machine_kernel": platform.release(),
        "machine_python": platform.python_version(),
        "machine_python_loop_ms": _loop_ms(),
        "machine_cryptography": version("cryptography"),
        "machine_grpcio": version("grpcio"),
        "machine_etcd": _etcd(await find_etcd()),
        "machine_load_before_1min": round(os.getloadavg()[0], 2),
    }


def _loop_ms() -> float:
    """CPU time of a fixed loop: tells one build of Python from another (ADR 0018)."""
    taken_s = []
    for _ in range(LOOP_RUNS):
        begin_s = time.process_time()
        _loop(LOOP_COUNT)
        taken_s.append(time.process_time() - begin_s)
    return round(min(taken_s) * 1000, 1)


def _loop(count: int) -> int:
    """Calls, tuples, dictionaries and octets, as in the hot path."""
    seen: dict[bytes, tuple[int, bytes]] = {}
    for number in range(count):
        octets = number.to_bytes(4, "big")
        seen[octets[2:]] = (_sum(number, len(octets)), octets)
    return len(seen)


def _sum(one: int, other: int) -> int:
    return one + other


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _etcd(binary: Path) -> str:
    said = subprocess.run(  # noqa: S603  the etcd that the runs use, no shell
        [str(binary), "--version"], capture_output=True, text=True, check=True
    )
    return said.stdout.splitlines()[0].rpartition(" ")[2]
