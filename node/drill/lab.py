"""The processes of a drill in a folder of their own: etcd, gateways, clients; started and ended.

Rules: everything listens on loopback, on unprivileged ports that were free a moment ago; every
process is ended by its pid, whatever happens. Nothing outside the folder is touched.
"""

import os
import shutil
import signal
import socket
import sys
from pathlib import Path

import msgspec

from cluster.drill.plan import Drill, Scalar, Sections
from cluster.seams import Clock, Rng
from node.drill.child import Child, CouldNotRun
from node.drill.course import STOP_GATEWAY_S
from node.etcd_child import EtcdChild, EtcdFailed, TlsFiles, member_ports
from node.sample import PORTS_PER_CLUSTER, Ports, Sample, ports_from, write_sample
from node.swarm import SwarmConfig
from node.toml_strict import read_toml

CLUSTER = "drill"
LOOPBACK = "127.0.0.1"
FIRST_BASE, LAST_BASE = 11_000, 31_000
"""Below the ports that Linux gives out by itself."""
STOP_SWARM_S = 4.0


class Lab:
    """One drill's cluster and clients."""

    def __init__(self, folder: Path, drill: Drill, clock: Clock, rng: Rng) -> None:
        self.folder = folder
        self.drill = drill
        self.events = folder / "events"
        self.logs = folder / "logs"
        self.cluster = folder / "cluster"
        self._clock = clock
        self._rng = rng
        self._ports = Ports()
        self.etcd: EtcdChild | None = None
        self.gateways: dict[str, Child] = {}
        self.swarm: Child | None = None

    def swarm_tail(self) -> str:
        """The last lines of the clients' log."""
        return self.swarm.tail() if self.swarm else ""

    @property
    def addresses(self) -> dict[str, str]:
        """IKE address → gateway."""
        names = self.drill.topology.names()
        return {f"{LOOPBACK}:{self._ports.ike + n}": name for n, name in enumerate(names, 1)}

    def prepare(self) -> None:
        """Write every file: certificates, keys, configurations. Raises OSError, CouldNotRun."""
        for folder in (self.events, self.logs):
            folder.mkdir(mode=0o700)
        topology, load = self.drill.topology, self.drill.load
        self._ports = _free_base(topology.gateways)
        sample = Sample(CLUSTER, topology.gateways, self._ports, topology.shards)
        write_sample(self.cluster, sample, self._rng, self._clock.wall_s())
        pki = self.cluster / "pki"
        tls = TlsFiles(pki / "ca.crt", pki / "etcd.crt", pki / "etcd.key")
        ports = member_ports(topology.etcd_members)
        self.etcd = EtcdChild(self.folder / "etcd", ports, tls=tls, members=topology.etcd_members)
        for name in topology.names():
            config = self._configure(name, self.etcd.endpoints)
            command = [sys.executable, "-m", "node.cli", "gateway", "--config", str(config)]
            self.gateways[name] = Child(name, command, self.logs / f"{name}.log")
        swarm = SwarmConfig(
            clients=load.clients,
            gateways=tuple(self.addresses),
            psk_file=str(self.cluster / "client-psk.toml"),
            identity_pattern="rfc822:c%04d@example.com",
            remote_identity="fqdn:vpn.example.com",
            liveness_interval_s=load.liveness_interval_s,
            retransmit_initial_s=load.retransmit_initial_s,
            retransmit_factor=load.retransmit_factor,
            retransmit_tries=load.retransmit_tries,
            connect_parallel=load.connect_parallel,
            events=str(self.events / "swarm.jsonl"),
        )
        path = self.folder / "swarm.json"
        path.write_bytes(msgspec.json.encode(swarm))
        command = [sys.executable, "-m", "node.swarm", "--config", str(path)]
        self.swarm = Child("the clients", command, self.logs / "swarm.log")

    def _configure(self, name: str, endpoints: tuple[str, ...]) -> Path:
        """The sample's configuration of one gateway, with what this drill says on top."""
        path = self.cluster / f"{name}.toml"
        tables = read_toml(path)
        ours: Sections = {
            "store": {"endpoints": list(endpoints)},
            "log": {"format": "json"},
            "events": {"file": str(self.events / f"{name}.jsonl"), "who": name},
        }
        topology = self.drill.topology
        for sections in (ours, topology.every, topology.only.get(name, {})):
            for section, keys in sections.items():
                table = tables.setdefault(section, {})
                if not isinstance(table, dict):
                    raise CouldNotRun(f"{path}: {section} is no section")
                table.update(keys)
        path.write_text(_toml(tables))
        return path

    async def start_store(self) -> None:
        """Start etcd, on the data it left if there is any. Raises CouldNotRun."""
        if self.etcd is None:
            raise CouldNotRun("the drill's files were not written")
        try:
            await self.etcd.start()
        except (EtcdFailed, OSError) as error:
            raise CouldNotRun(str(error)) from None

    def kill_store(self) -> None:
        """SIGKILL to every etcd member; the data stays."""
        if self.etcd is not None:
            for member in sorted(self.etcd.pids):
                self.etcd.kill(member)

    def start_gateways(self) -> None:
        """Start them all."""
        for child in self.gateways.values():
            child.start()

    def start_swarm(self) -> None:
        """Start the clients."""
        if self.swarm is not None:
            self.swarm.start()

    def check(self) -> None:
        """Raises CouldNotRun if any process ended that nobody ended."""
        for child in self._children():
            child.check()

    async def stop(self) -> list[str]:
        """End everything, in order where possible; a line for each that had to be forced or that
        ended badly."""
        complaints: list[str] = []
        if self.swarm is not None and await self.swarm.stop(STOP_SWARM_S) is None:
            complaints.append("the clients did not end on SIGTERM")
        ending = [child for child in self.gateways.values() if child.wanted]
        for child in ending:
            child.signal(signal.SIGCONT)
            child.signal(signal.SIGTERM)
        for child in ending:
            complaints += await self._ended(child)
        if self.etcd is not None:
            await self.etcd.stop()
        return complaints

    async def _ended(self, child: Child) -> list[str]:
        status = await child.ended(STOP_GATEWAY_S)
        if status is None:
            child.kill()
            return [f"{child.name} did not end within {STOP_GATEWAY_S:g} s of SIGTERM"]
        return [f"{child.name} ended with status {status}, not 0"] if status else []

    def kill_all(self) -> None:
        """End whatever still runs, now."""
        for child in self._children():
            child.kill()
        self.kill_store()

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _children(self) -> list[Child]:
        return [*self.gateways.values(), *([self.swarm] if self.swarm else [])]


def _toml(tables: dict[str, object]) -> str:
    """Sections of plain values as TOML."""
    lines: list[str] = []
    for section, table in tables.items():
        lines.append(f"[{section}]")
        if isinstance(table, dict):
            lines += [f"{key} = {_value(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _value(value: Scalar) -> str:
    """A value as TOML spells it: JSON does, for the kinds that a drill file may hold."""
    return msgspec.json.encode(value).decode()


def _free_base(gateways: int) -> Ports:
    """Ports of a sample that nobody uses now, in TCP and UDP."""
    bases = range(FIRST_BASE, LAST_BASE, PORTS_PER_CLUSTER)
    first = os.getpid() % len(bases)  # drills started together look in different places
    for base in (*bases[first:], *bases[:first]):
        ports = ports_from(base)
        wanted = [(socket.SOCK_DGRAM, ports.ike + n) for n in range(1, gateways + 1)]
        wanted += [(socket.SOCK_STREAM, ports.rpc + n) for n in range(1, gateways + 1)]
        wanted += [(socket.SOCK_STREAM, ports.metrics + n) for n in range(1, gateways + 1)]
        if all(_is_free(kind, port) for kind, port in wanted):
            return ports
    raise CouldNotRun(f"no free ports on {LOOPBACK} from {FIRST_BASE} to {LAST_BASE}")


def _is_free(kind: socket.SocketKind, port: int) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
