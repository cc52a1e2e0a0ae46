"""Brings the programs that interop runs against: a Debian root each, below .tools/interop.

Rules: nothing is installed on this machine and no service is started; a root that is ready stays as
it is, until its list of packages changes. Debian's releases fix the versions: they are read from
the packages, never assumed. Everything that is missing here is said in one line that names it.
"""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
ROOTS = ROOT / ".tools" / "interop"
STEP_S = 900
COMMON = ("iproute2", "procps")
CHARON = (
    "strongswan-charon", "strongswan-swanctl", "libcharon-extra-plugins",
    "libcharon-extauth-plugins", "libstrongswan-extra-plugins", "libstrongswan-standard-plugins",
)  # fmt: skip


class Missing(Exception):
    """What interop needs and can't have here; the message says what, and what to do."""


class Debian(NamedTuple):
    """One root: a release and the packages in it. `peer`: the package whose version counts."""

    name: str
    release: str
    peer: str
    packages: tuple[str, ...]

    @property
    def path(self) -> Path:
        """Where it is."""
        return ROOTS / self.name

    @property
    def version(self) -> str:
        """The peer's version, without Debian's own part."""
        asked = ("dpkg-query", f"--admindir={self.path}/var/lib/dpkg", "-W", "-f${Version}")
        return run(*asked, self.peer).split("-")[0]


BOOKWORM = Debian("bookworm", "bookworm", "strongswan-charon", (*COMMON, *CHARON, "nftables"))
TRIXIE = Debian("trixie", "trixie", "strongswan-charon", (*COMMON, *CHARON, "tcpdump", "tshark"))
LIBRESWAN = Debian("libreswan", "trixie", "libreswan", (*COMMON, "libreswan", "libnss3-tools"))
"""In a root of its own: its package and strongSwan's exclude each other."""
ALL = (BOOKWORM, TRIXIE, LIBRESWAN)


def run(*command: str, stdin: str = "") -> str:
    """The output of one step. Raises Missing with what the step said last."""
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, check=False, timeout=STEP_S,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Missing(f"{' '.join(command[:3])}: {' / '.join(lines[-3:]) or done.returncode}")
    return done.stdout


def check_machine() -> None:
    """Raises Missing where interop can't run at all."""
    if os.geteuid() != 0:
        raise Missing("interop needs root, for network namespaces and chroot: run it as root")
    for tool in ("apt-get", "dpkg-deb", "unshare", "nsenter", "mount", "chroot", "cc"):
        if shutil.which(tool) is None:
            raise Missing(f"interop needs {tool}; it runs on Debian and its relatives")


def prepare(say: Callable[[str], None]) -> None:
    """Make every root that isn't ready, and the preload. Raises Missing."""
    ROOTS.mkdir(parents=True, exist_ok=True)
    for debian in ALL:
        ready = debian.path / ".ready"
        wanted = hashlib.sha256(repr(debian).encode()).hexdigest()
        if not ready.exists() or ready.read_text() != wanted:
            say(f"{debian.path}: {debian.release} with {debian.peer}; takes a minute or so")
            _make(debian)
            ready.write_text(wanted)
    _compile(Path(__file__).with_name("fake_xfrm.c"), ROOTS / "fake_xfrm.so")


def _make(debian: Debian) -> None:
    """From nothing, aside, so that a half-made one is never taken for whole."""
    aside = debian.path.with_suffix(".new")
    _remove(aside)
    mirrors = _mirrors()
    _debootstrap(debian.release, aside, mirrors[0])
    (aside / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    (aside / "usr/sbin/policy-rc.d").chmod(0o755)
    shutil.copyfile("/etc/resolv.conf", aside / "etc/resolv.conf")
    proxies = re.findall(r"^Acquire::\S*[Pp]roxy.*;$", run("apt-config", "dump"), re.MULTILINE)
    settings = ['APT::Install-Recommends "false";', *proxies]
    (aside / "etc/apt/apt.conf.d/99interop").write_text("\n".join(settings) + "\n")
    lines = [f"deb {mirrors[0]} {debian.release} main"]
    lines += [f"deb {mirror} {debian.release}-security main" for mirror in mirrors[1:]]
    (aside / "etc/apt/sources.list").write_text("\n".join(lines) + "\n")
    inside = (
        f"mount -t proc proc {aside}/proc && mount --bind /dev {aside}/dev"
        f" && chroot {aside} apt-get -q update"
        f" && chroot {aside} apt-get -q -y install {' '.join(debian.packages)}"
        f" && chroot {aside} apt-get clean"
    )
    run("unshare", "--mount", "sh", "-c", inside)
    _remove(debian.path)
    aside.rename(debian.path)


def _remove(folder: Path) -> None:
    """Mounts of ours live in namespaces that are gone, so nothing else can hang below it."""
    if folder.exists():
        run("rm", "-rf", "--one-file-system", str(folder))


def _mirrors() -> list[str]:
    """Debian's archive, and that of its security fixes if there is one, as apt knows them here."""
    asked = ("apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(RELEASE)")
    known = dict.fromkeys(line.split()[0] for line in run(*asked).splitlines() if line.strip())
    archive = [uri for uri in known if re.search(r"/debian/?$", uri)]
    if not archive:
        raise Missing("no Debian archive in apt's sources: add one, interop's peers come from it")
    return [archive[0], *[uri for uri in known if re.search(r"/debian-security/?$", uri)][:1]]


def _debootstrap(release: str, target: Path, mirror: str) -> None:
    """With this machine's debootstrap, or with one that is unpacked for the moment."""
    arguments = ("--variant=minbase", release, str(target), mirror)
    if shutil.which("debootstrap") is not None:
        run("debootstrap", *arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        get = f"cd {folder} && (apt-get -q download debootstrap || (apt-get -q update && apt-get -q"
        run("sh", "-c", f"{get} download debootstrap)) && dpkg-deb -x debootstrap_*.deb .")
        found = f"DEBOOTSTRAP_DIR={folder}/usr/share/debootstrap"
        run("env", found, "sh", f"{folder}/usr/sbin/debootstrap", *arguments)


def _compile(source: Path, target: Path) -> None:
    if target.exists() and target.stat().st_mtime > source.stat().st_mtime:
        return
    run("cc", "-shared", "-fPIC", "-O1", "-Wall", str(source), "-o", str(target), "-ldl")
