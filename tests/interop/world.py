"""One case's own network: namespaces joined by veth pairs, the programs in them, what they wrote.

Rules: every namespace and every process is this runner's own; `close` ends them, and if the runner
itself dies the kernel does (`tests.interop.__main__` gives it a PID namespace). Addresses may
repeat from case to case: namespaces of different cases never meet.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tests.interop.roots import BOOKWORM, Debian

T = TypeVar("T")

POLL_S = 0.02
DEADLINE_S = 20.0
"""Generous: it decides only how long a case that fails takes."""
START_S = 30.0
END_S = 5.0
IS_RESPONSE = ("@th,216,8 & 0x20 == 0x20", "@th,248,8 & 0x20 == 0x20")
"""IKE's flag of responses, behind a UDP header, on port 4500 behind the non-ESP marker too."""


class CaseFailed(Exception):
    """What a case found; the message says what was expected and what came."""


class CouldNotRun(Exception):
    """A program of the case isn't there or doesn't start."""


def until(found: Callable[[], T], what: str, deadline_s: float = DEADLINE_S) -> T:
    """The first true value of `found()`. Raises CaseFailed with `what` if that takes too long."""
    end_s = time.monotonic() + deadline_s
    while True:
        value = found()
        if value:
            return value
        if time.monotonic() > end_s:
            raise CaseFailed(f"in {deadline_s:g} s not: {what}")
        time.sleep(POLL_S)


def expect(condition: object, what: str) -> None:
    """Raises CaseFailed with `what` unless it holds."""
    if not condition:
        raise CaseFailed(what)


def call(*command: str, check: bool = True, timeout_s: float = START_S) -> str:
    """A step's output, both streams. Raises CouldNotRun if it fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=timeout_s
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CouldNotRun(f"{' '.join(command)[:200]}: {error}") from None
    out = done.stdout + done.stderr
    if check and done.returncode != 0:
        raise CouldNotRun(f"{' '.join(command)[:200]}: {out.strip()[-500:]}")
    return out


class Program:
    """A process with its output in a file."""

    def __init__(self, name: str, command: list[str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """It has not ended."""
        return self._process.poll() is None

    @property
    def output(self) -> str:
        """All that it wrote."""
        return self.log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.running:
            self._process.send_signal(number)

    def end(self) -> int:
        """End it in order, by force if that takes too long; its exit status."""
        self.signal(signal.SIGTERM)
        try:
            return self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """End it by force."""
        self.signal(signal.SIGKILL)
        return self._process.wait()

    def up(self, found: Callable[[], T], what: str) -> T:
        """The first true value of `found()`. Raises CouldNotRun if it ends or takes too long."""

        def look() -> T:
            if not self.running:
                raise CouldNotRun(f"{self.name} ended by itself: {self.output.strip()[-500:]}")
            return found()

        try:
            return until(look, what, START_S)
        except CaseFailed as error:
            raise CouldNotRun(f"{self.name}: {error}: {self.output.strip()[-500:]}") from None


class Net:
    """A network namespace, held by a process that sleeps in it. `ip`: that program's place."""

    def __init__(self, name: str, ip: Debian) -> None:
        self.name = name
        self._ip = ip
        self._holder = subprocess.Popen(("unshare", "--net", "sleep", "infinity"))
        until(self._entered, f"a network namespace for {name}")
        self.ip("link set lo up")
        # an address that goes takes no others with it
        self.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/all/promote_secondaries")

    def _entered(self) -> bool:
        try:
            return os.readlink(self.file) != os.readlink("/proc/self/ns/net")
        except OSError:
            return False

    @property
    def file(self) -> str:
        """What names it to the kernel."""
        return f"/proc/{self._holder.pid}/ns/net"

    @property
    def pid(self) -> int:
        """Of the process that holds it."""
        return self._holder.pid

    def enter(self, *command: str) -> list[str]:
        """The command, to be run in here."""
        return ["nsenter", f"--net={self.file}", *command]

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command in here to its end; its output."""
        return call(*self.enter(*command), check=check)

    def ip(self, *lines: str) -> None:
        """Commands of `ip`, a text each."""
        for line in lines:
            self.run("chroot", str(self._ip.path), "ip", *line.split())

    def cut(self, responses_only: bool = False) -> None:
        """From now on no IKE arrives here, or no answers do."""
        wanted = ["", ""] if not responses_only else list(IS_RESPONSE)
        rules = "".join(
            f" add rule inet cut in udp dport {port} {which} counter drop;"
            for port, which in zip((500, 4500), wanted, strict=True)
        )
        chain = "add chain inet cut in { type filter hook input priority 0; };"
        self._nft(f"add table inet cut; flush table inet cut; {chain}{rules}")

    def missed(self) -> int:
        """How many datagrams didn't arrive since the cut."""
        return sum(map(int, re.findall(r"packets (\d+)", self._nft("list table inet cut;"))))

    def mend(self) -> None:
        """IKE arrives again."""
        self._nft("delete table inet cut;")

    def masquerade(self, interface: str) -> None:
        """Forward, and put the address of this interface on what leaves by it."""
        self.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        self._nft(
            "add table ip nat; add chain ip nat out { type nat hook postrouting priority 100; };"
            f" add rule ip nat out oifname {interface} masquerade random;"
        )

    def _nft(self, script: str) -> str:
        return self.run("chroot", str(BOOKWORM.path), "nft", script)

    def close(self) -> None:
        """Let it go: with the last process in it, its interfaces go too."""
        self._holder.kill()
        self._holder.wait()


class World:
    """See the module. `folder`: where logs, captures and configurations of the case go."""

    def __init__(self, folder: Path, tools: Debian) -> None:
        """`tools`: the root that has `ip` and `tcpdump`."""
        self.folder = folder
        self.tools = tools
        self._nets: list[Net] = []
        self._programs: list[Program] = []
        self.captures: list[Path] = []
        folder.mkdir(parents=True, exist_ok=True)

    def net(self, name: str) -> Net:
        """Another namespace."""
        made = Net(name, self.tools)
        self._nets.append(made)
        return made

    def join(self, left: Net, right: Net, left_if: str = "v0", right_if: str = "v0") -> None:
        """A veth pair between two namespaces, up at both ends."""
        left.ip(f"link add {left_if} type veth peer name {right_if} netns {right.pid}")
        left.ip(f"link set {left_if} up")
        right.ip(f"link set {right_if} up")

    def bridge(self, name: str) -> Net:
        """A namespace with a bridge `br0`, to which others are attached."""
        made = self.net(name)
        made.ip("link add br0 type bridge", "link set br0 up")
        return made

    def attach(self, hub: Net, name: str, *addresses: str) -> Net:
        """Another namespace, on a hub's bridge, with these addresses."""
        made = self.net(name)
        self.join(made, hub, right_if=name)
        hub.ip(f"link set {name} master br0")
        self.address(made, *addresses)
        return made

    def address(self, net: Net, *addresses: str, interface: str = "v0") -> None:
        """Give an interface addresses such as 192.0.2.1/24 or 2001:db8::1/64."""
        for address in addresses:
            nodad = "nodad" if ":" in address else ""
            net.ip(f"addr add {address} dev {interface} {nodad}")

    def start(self, name: str, net: Net, *command: str, root: Debian | None = None) -> Program:
        """Start a program in a namespace, or in a root as well: the case's folder `name` is /mnt
        there, and /run is empty.
        """
        wrapped = net.enter(*command) if root is None else self.inside(name, net, root, *command)
        program = Program(name, wrapped, self.folder / f"{name}.out")
        self._programs.append(program)
        return program

    def inside(self, name: str, net: Net, root: Debian, *command: str) -> list[str]:
        """The command, to be run in a namespace and a root."""
        shown = self.folder / name
        shown.mkdir(exist_ok=True)
        mounts = f"mount --bind {shown} {root.path}/mnt && mount -t tmpfs none {root.path}/run"
        script = f'{mounts} && mkdir {root.path}/run/pluto && exec chroot {root.path} "$@"'
        return net.enter("unshare", "--mount", "sh", "-c", script, "sh", *command)

    def capture(
        self, net: Net, name: str = "wire", interface: str = "v0", packets_max: int = 0
    ) -> Path:
        """Record what passes an interface until the case ends, or the first packets; the file."""
        options = ("-U", "--immediate-mode", "-Z", "root", "-w", "/mnt/pcap")
        limit = ("-c", str(packets_max)) if packets_max else ()
        inside = ("tcpdump", "-i", interface, *options, *limit, "udp or proto 50")
        program = self.start(name, net, *inside, root=self.tools)
        program.up(lambda: "listening on" in program.output, "a capture")
        self.captures.append(self.folder / name / "pcap")
        return self.captures[-1]

    def quiesce(self) -> None:
        """End all programs in order, so that what they wrote is whole."""
        for program in reversed(self._programs):
            program.end()

    def close(self) -> None:
        """End everything, in the reverse order."""
        for program in reversed(self._programs):
            program.kill()
        for net in reversed(self._nets):
            net.close()
