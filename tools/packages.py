"""Debian's packages, unpacked and not installed, for the other tools here: no service starts, and
nothing but `apt-get update` needs root.
"""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

STEP_TIMEOUT_S = 300


class Missing(Exception):
    """Something can't be had here, or not this way; the message says why."""


def run(*command: str, cwd: Path | None = None) -> str:
    """What one step printed. Raises Missing with its last line of complaint."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed commands, no shell
            command, cwd=cwd, capture_output=True, text=True, check=False, timeout=STEP_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise Missing(f"{' '.join(command[:2])}: {lines[-1] if lines else done.returncode}")
    return done.stdout


def needed() -> None:
    """Raises Missing unless this is a Debian."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise Missing(f"no {tool} here")


def unpack(wanted: Callable[[], list[str]], folder: Path, into: Path) -> None:
    """Download the packages `wanted` (asked again once apt knows more) to `folder` and unpack them
    below `into`. Raises Missing.
    """
    folder.chmod(0o755)  # apt's own user writes there
    try:
        run("apt-get", "-q", "download", *wanted(), cwd=folder)
    except Missing:
        run("apt-get", "-q", "update")
        run("apt-get", "-q", "download", *wanted(), cwd=folder)
    packages = sorted(folder.glob("*.deb"))
    if not packages:
        raise Missing(f"apt-get downloaded none of {', '.join(wanted())}")
    into.mkdir(parents=True, exist_ok=True)
    for package in packages:
        run("dpkg-deb", "-x", str(package), str(into))
