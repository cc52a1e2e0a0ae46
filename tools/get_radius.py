"""Brings FreeRADIUS, eapol_test and hostapd below .tools/radius, and prints that folder.

The tests of EAP run against them.

Rules: Debian's packages with what they need and this machine lacks, unpacked and not installed, so
that no service starts; from an earlier call if they are there. They run with LD_LIBRARY_PATH and
configurations of their own (`tests/e2e/aaa.py`).
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".tools" / "radius"
PACKAGES = ("freeradius", "eapoltest", "hostapd")
PROGRAMS = ("usr/sbin/freeradius", "usr/bin/eapol_test", "usr/sbin/hostapd")
STEP_TIMEOUT_S = 300


class Missing(Exception):
    """They can't be had here; the message says why."""


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


def wanted() -> list[str]:
    """The packages, and those of their dependencies that this machine lacks."""
    install = ("apt-get", "-q", "-s", "--reinstall", "--no-install-recommends", "install")
    planned = run(*install, *PACKAGES)
    return sorted({*PACKAGES, *re.findall(r"^Inst (\S+)", planned, re.MULTILINE)})


def unpack() -> None:
    """Raises Missing."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise Missing(f"no {tool} here")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        try:
            run("apt-get", "-q", "download", *wanted(), cwd=folder)
        except Missing:
            run("apt-get", "-q", "update")
            run("apt-get", "-q", "download", *wanted(), cwd=folder)
        staged = CACHE.with_suffix(".new")
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        for package in sorted(folder.glob("*.deb")):
            run("dpkg-deb", "-x", str(package), str(staged))
        shutil.rmtree(CACHE, ignore_errors=True)
        staged.rename(CACHE)


def main() -> int:
    """The command line; 0 and the folder, or 2 and why there is none."""
    try:
        if not all((CACHE / program).exists() for program in PROGRAMS):
            unpack()
    except Missing as reason:
        print(f"standfast: no {', '.join(PACKAGES)}: {reason}", file=sys.stderr)
        return 2
    print(CACHE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
