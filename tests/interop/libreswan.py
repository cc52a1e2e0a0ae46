"""One pluto of libreswan's, driven by whack.

Rules: its ESP SAs count as installed (the preload), for there need be no ESP in this kernel; their
keys are read from what it asked of the kernel. A whack that gets no end is given up after a time.
"""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.interop import xfrm
from tests.interop.roots import ROOTS, Debian
from tests.interop.world import CaseFailed, Net, World, call, until
from tests.interop.xfrm import EspKeys

LIBEXEC = "/usr/libexec/ipsec"
WHACK_S = 20
P12_PASSWORD = "interop"  # noqa: S105  of files that are made here
PLUTO = (
    "--nofork", "--config", "/mnt/ipsec.conf", "--secretsfile", "/mnt/ipsec.secrets",
    "--nssdir", "/mnt/nss", "--rundir", "/mnt/run", "--ipsecdir", "/mnt/ipsec.d",
    "--logfile", "/mnt/log",
)  # fmt: skip
SETUP = {
    "logfile": "/mnt/log",
    "uniqueids": "no",
    "nssdir": "/mnt/nss",
    "dnssec-enable": "no",
}


class Pluto:
    """See the module. `connections` by name; `secrets` are lines of ipsec.secrets."""

    def __init__(
        self, world: World, net: Net, debian: Debian,
        connections: Mapping[str, Mapping[str, str]], secrets: str, name: str = "pluto",
        pkcs12: Mapping[str, bytes] | None = None, authority: bytes = b"",
    ) -> None:  # fmt: skip
        """`pkcs12`: by nickname, under `P12_PASSWORD`; `authority`: a certificate, PEM."""
        self._world, self._net, self._debian, self._name = world, net, debian, name
        self.folder = world.folder / name
        for made in ("run", "nss", "ipsec.d/policies"):
            (self.folder / made).mkdir(parents=True, exist_ok=True)
        (self.folder / "ipsec.conf").write_text(_conf(connections))
        (self.folder / "ipsec.secrets").write_text(secrets)
        shutil.copyfile(ROOTS / "fake_xfrm.so", self.folder / "fake_xfrm.so")
        self._run("certutil", "-N", "-d", "sql:/mnt/nss", "--empty-password")
        for nickname, octets in (pkcs12 or {}).items():
            (self.folder / f"{nickname}.p12").write_bytes(octets)
            self._run(
                "pk12util", "-i", f"/mnt/{nickname}.p12", "-d", "sql:/mnt/nss", "-W", P12_PASSWORD
            )
        if authority:
            (self.folder / "ca.crt").write_bytes(authority)
            trust = ("-A", "-n", "ca", "-t", "CT,C,C", "-i", "/mnt/ca.crt", "-d", "sql:/mnt/nss")
            self._run("certutil", *trust)
        self._connections = tuple(connections)
        self.start()

    def start(self) -> None:
        """Start it, as often as it was ended."""
        control = self.folder / "run" / "pluto.ctl"
        control.unlink(missing_ok=True)
        preload = ("LD_PRELOAD=/mnt/fake_xfrm.so", "FAKE_XFRM_LOG=/mnt/xfrm")
        self.program = self._world.start(
            self._name, self._net, "env", *preload, f"{LIBEXEC}/pluto", *PLUTO, root=self._debian
        )
        self.program.up(control.exists, "pluto's control socket")
        self.whack("--listen")
        for connection in self._connections:
            self._run(
                f"{LIBEXEC}/addconn", "--config", "/mnt/ipsec.conf",
                "--ctlsocket", "/mnt/run/pluto.ctl", connection,
            )  # fmt: skip

    def whack(self, *arguments: str) -> str:
        """What whack says."""
        command = ("timeout", str(WHACK_S), f"{LIBEXEC}/whack", "--rundir", "/mnt/run")
        return self._run(*command, *arguments, check=False)

    def initiate(self, name: str, wanted: str = "initiator established IKE SA") -> str:
        """Bring a connection up; what whack says. Raises CaseFailed without `wanted` in it."""
        said = self.whack("--initiate", "--name", name)
        if wanted not in said or "established Child SA" not in said:
            raise CaseFailed(f"pluto didn't say {wanted!r} and a Child SA: {said.strip()[-700:]}")
        return said

    def says(self, pattern: str, more_than: int = 0) -> str:
        """The newest line of its log with the regular expression, once there are enough."""

        def look() -> list[str]:
            found = re.findall(f".*(?:{pattern}).*", self.log)
            return found if len(found) > more_than else []

        try:
            return until(look, f"{pattern!r} in pluto's log")[-1]
        except CaseFailed as error:
            raise CaseFailed(f"{error}: {' / '.join(self.log.splitlines()[-6:])}") from None

    @property
    def log(self) -> str:
        """Its log."""
        file: Path = self.folder / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    def esp_keys(self) -> dict[str, EspKeys]:
        """Every ESP SA that it has installed, by SPI in hexadecimal."""
        return xfrm.esp_keys(self.folder / "xfrm")

    def _run(self, *command: str, check: bool = True) -> str:
        return call(*self._world.inside(self._name, self._net, self._debian, *command), check=check)


def _conf(connections: Mapping[str, Mapping[str, str]]) -> str:
    sections = {"config setup": SETUP, **{f"conn {name}": c for name, c in connections.items()}}
    return "\n".join(
        f"{head}\n" + "".join(f"\t{key}={value}\n" for key, value in keys.items())
        for head, keys in sections.items()
    )
