"""An etcd of our own for drills, tests and a first try: started, watched and ended by its pids.

Rules: it listens on loopback only; its data is synced as in production (never without fsync); it
dies with the process that started it where `setpriv` is at hand. Nothing here is for a cluster that
people depend on: that one has an etcd with its own operator.
"""

import asyncio
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgspec

LOOPBACK = "127.0.0.1"
HEALTH_POLL_S = 0.02
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
REQUEST_TIMEOUT_S = 1.0
PORTS_PER_MEMBER = 3
HISTORY_REVISIONS = 100_000
"""Revisions that etcd keeps for watchers when it compacts, every five minutes."""

PROVISIONER = Path(__file__).resolve().parent.parent / "tools" / "get_etcd.py"
"""Only in a checkout, not in an installed package."""


class EtcdFailed(Exception):
    """It did not start, or ended by itself; the message has its log's last line."""


class TlsFiles(msgspec.Struct, frozen=True):
    """PEM files for clients: etcd shows `cert`, and accepts only those that `ca` signed."""

    ca: Path
    cert: Path
    key: Path


class Ports(msgspec.Struct, frozen=True):
    """One member's: clients, the other members, and health and metrics in plain HTTP."""

    client: int
    peer: int
    metrics: int


def free_ports(count: int) -> list[int]:
    """`count` different loopback TCP ports that nobody listens on now."""
    sockets = []
    try:
        for _ in range(count):
            sock = socket.socket()
            sockets.append(sock)
            sock.bind((LOOPBACK, 0))
        return [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


def member_ports(members: int) -> tuple[Ports, ...]:
    """Free ports for `members` members."""
    ports = free_ports(members * PORTS_PER_MEMBER)
    return tuple(
        Ports(*ports[i : i + PORTS_PER_MEMBER]) for i in range(0, len(ports), PORTS_PER_MEMBER)
    )


async def find_etcd() -> Path:
    """The etcd on PATH, or the one that tools/get_etcd.py brings. Raises EtcdFailed."""
    on_path = shutil.which("etcd")
    if on_path is not None:
        return Path(on_path)
    if not PROVISIONER.exists():
        raise EtcdFailed("no etcd on PATH; install one (Debian: etcd-server)")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROVISIONER), stdout=subprocess.PIPE
    )
    out, _ = await process.communicate()
    if process.returncode != 0:
        raise EtcdFailed("no etcd on PATH, and none could be brought (see above)")
    return Path(out.decode().strip())


class EtcdChild:
    """`members` etcd processes on loopback that form one cluster. `ports`: `member_ports()`."""

    def __init__(
        self,
        folder: Path,
        ports: tuple[Ports, ...],
        *,
        tls: TlsFiles | None = None,
        binary: Path | None = None,
        members: int = 1,
        election_timeout_ms: int = 300,
        heartbeat_ms: int = 50,
        extra: tuple[str, ...] = (),
    ) -> None:
        """`extra`: more options for each etcd."""
        if len(ports) != members:
            raise ValueError(f"{len(ports)} sets of ports for {members} members")
        self.folder = folder
        self.ports = ports
        self.tls = tls
        self.binary = binary
        self.election_timeout_ms = election_timeout_ms
        self.heartbeat_ms = heartbeat_ms
        self.extra = extra
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def endpoints(self) -> tuple[str, ...]:
        """host:port of each member, for clients."""
        return tuple(f"{LOOPBACK}:{ports.client}" for ports in self.ports)

    @property
    def pids(self) -> dict[int, int]:
        """The process id of each member that was started and not yet ended by us."""
        return {i: process.pid for i, process in self._processes.items()}

    async def start(self) -> None:
        """Starts every member and waits until all are healthy. Raises EtcdFailed."""
        if self.binary is None:
            self.binary = await find_etcd()
        for i in range(len(self.ports)):
            self.start_member(i)
        await self.wait_healthy()

    def start_member(self, i: int) -> None:
        """Starts member `i` on the data it left, or on none; returns before it is healthy."""
        if i in self._processes:
            raise ValueError(f"etcd member {i} runs already")
        if self.binary is None:
            raise ValueError("no binary: call start() first")
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._log_file(i).open("ab") as log:
            self._processes[i] = subprocess.Popen(  # noqa: S603 - fixed arguments, no shell
                [*_dies_with_us(), str(self.binary), *self._arguments(i)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def wait_healthy(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Until each running member answers a linearizable read. Raises EtcdFailed."""
        try:
            async with asyncio.timeout(timeout_s):
                for i in sorted(self._processes):
                    while not await self._healthy(i):
                        self._check_running(i)
                        await asyncio.sleep(HEALTH_POLL_S)
        except TimeoutError:
            raise EtcdFailed(f"etcd is not healthy after {timeout_s:g} s") from None

    def kill(self, i: int) -> None:
        """SIGKILL to member `i`; its data stays."""
        process = self._processes.pop(i)
        process.kill()
        process.wait()

    def pause(self, i: int) -> None:
        """SIGSTOP to member `i`: it holds its connections and answers nothing."""
        self._processes[i].send_signal(signal.SIGSTOP)

    def resume(self, i: int) -> None:
        """SIGCONT to member `i`."""
        self._processes[i].send_signal(signal.SIGCONT)

    async def stop(self) -> None:
        """Ends every member in order, with SIGKILL to those that don't end in time."""
        processes = [self._processes.pop(i) for i in sorted(self._processes)]
        for process in processes:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                while any(process.poll() is None for process in processes):  # noqa: ASYNC110
                    await asyncio.sleep(HEALTH_POLL_S)
        except TimeoutError:
            for process in processes:
                process.kill()
        for process in processes:
            process.wait()

    def _log_file(self, i: int) -> Path:
        return self.folder / f"etcd-{i}.log"

    def _check_running(self, i: int) -> None:
        status = self._processes[i].poll()
        if status is not None:
            lines = self._log_file(i).read_text(errors="replace").strip().splitlines()
            raise EtcdFailed(
                f"etcd member {i} ended with status {status}: {lines[-1] if lines else 'no log'}"
            )

    async def _healthy(self, i: int) -> bool:
        request = b"GET /health HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\n\r\n"
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(LOOPBACK, self.ports[i].metrics)
                try:
                    writer.write(request)
                    answer = await reader.read()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False
        return b'"health":"true"' in answer

    def _arguments(self, i: int) -> list[str]:
        ports = self.ports[i]
        scheme = "http" if self.tls is None else "https"
        client = f"{scheme}://{LOOPBACK}:{ports.client}"
        peer = f"http://{LOOPBACK}:{ports.peer}"
        cluster = ",".join(f"m{j}=http://{LOOPBACK}:{p.peer}" for j, p in enumerate(self.ports))
        arguments = [
            f"--name=m{i}",
            f"--data-dir={self.folder / f'm{i}'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster={cluster}",
            f"--listen-metrics-urls=http://{LOOPBACK}:{ports.metrics}",
            f"--election-timeout={self.election_timeout_ms}",
            f"--heartbeat-interval={self.heartbeat_ms}",
            "--grpc-keepalive-min-time=500ms",
            "--auto-compaction-mode=revision",
            f"--auto-compaction-retention={HISTORY_REVISIONS}",
            *self.extra,
        ]
        if self.tls is not None:
            arguments += [
                "--client-cert-auth",
                f"--trusted-ca-file={self.tls.ca}",
                f"--cert-file={self.tls.cert}",
                f"--key-file={self.tls.key}",
            ]
        return arguments


def _dies_with_us() -> list[str]:
    setpriv = shutil.which("setpriv")
    return [] if setpriv is None else [setpriv, "--pdeathsig", "KILL", "--"]
