"""The machine's facts, which figures mean nothing without."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from node.etcd_child import find_etcd


async def facts() -> dict[str, str | float]:
    """CPU, versions, and how busy the machine is now. Raises EtcdFailed."""
    return {
        "machine_cpu": _cpu(),
        "machine_cores": os.cpu_count() or 0,
        "machine_kernel": platform.release(),
        "machine_python": platform.python_version(),
        "machine_cryptography": version("cryptography"),
        "machine_grpcio": version("grpcio"),
        "machine_etcd": _etcd(await find_etcd()),
        "machine_load_before_1min": round(os.getloadavg()[0], 2),
    }


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
