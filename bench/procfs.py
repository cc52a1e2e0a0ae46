"""What the kernel counts of a process: CPU time of all its threads, resident memory."""

import os
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
UTIME, STIME = 11, 12
"""Fields of /proc/PID/stat after the name, which may hold anything, blanks too."""


def cpu_s(pid: int) -> float:
    """User and system time that process `pid` has used, in steps of a tick. Raises OSError."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[UTIME]) + int(fields[STIME])) / TICKS_PER_S


def rss_octets(pid: int) -> int:
    """Resident memory of process `pid`, what it shares included. Raises OSError."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no resident memory told of process {pid}")
