"""Brings FreeRADIUS, eapol_test and hostapd below .tools/radius, and prints that folder.

The tests of EAP run against them.

Rules: Debian's packages with what they need and this machine lacks, unpacked and not installed, so
that no service starts; from an earlier call if they are there. They run with LD_LIBRARY_PATH and
configurations of their own (`tests/e2e/aaa`).
"""

import re
import shutil
import sys
import tempfile
from pathlib import Path

from packages import Missing, needed, run, unpack

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".tools" / "radius"
PACKAGES = ("freeradius", "eapoltest", "hostapd")
PROGRAMS = ("usr/sbin/freeradius", "usr/bin/eapol_test", "usr/sbin/hostapd")


def wanted() -> list[str]:
    """The packages, and those of their dependencies that this machine lacks."""
    install = ("apt-get", "-q", "-s", "--reinstall", "--no-install-recommends", "install")
    planned = run(*install, *PACKAGES)
    return sorted({*PACKAGES, *re.findall(r"^Inst (\S+)", planned, re.MULTILINE)})


def bring() -> None:
    """Raises Missing."""
    needed()
    with tempfile.TemporaryDirectory() as name:
        staged = CACHE.with_suffix(".new")
        shutil.rmtree(staged, ignore_errors=True)
        unpack(wanted, Path(name), staged)
        shutil.rmtree(CACHE, ignore_errors=True)
        staged.rename(CACHE)


def main() -> int:
    """The command line; 0 and the folder, or 2 and why there is none."""
    try:
        if not all((CACHE / program).exists() for program in PROGRAMS):
            bring()
    except Missing as reason:
        print(f"standfast: no {', '.join(PACKAGES)}: {reason}", file=sys.stderr)
        return 2
    print(CACHE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
