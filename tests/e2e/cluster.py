"""A sample cluster of real processes in a folder: etcd with TLS, gateways, clients, commands.

Rules: what a test asserts is read from recorded events, from the command line and from the store,
never from log text. Everything listens on loopback, on ports that were free; nothing outlives the
test that started it.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from cluster.layout import Keys, MemberRecord, ShardRecord
from cluster.shards import rank
from cluster.store import Entry
from cluster.store_etcd import EtcdOptions, EtcdStore, EtcdTls
from node.drill.child import Child
from node.etcd_child import LOOPBACK, EtcdChild, TlsFiles, member_ports
from node.sample import Ports, Sample, write_sample
from node.seams import OsClock, OsRng
from node.toml_strict import read_toml
from proto.secret import Secret

NAME = "sample"
SHARDS = 64
DEADLINE_S = 60.0
"""Generous: it decides only how long a test that fails takes."""
POLL_S = 0.03
PORTS_FROM, PORTS_TO, PORTS_STEP = 31_000, 32_500, 30
"""Below the ports that Linux gives out by itself, above those of drills."""
SOON: dict[str, dict[str, Any]] = {
    "store": {"attempt_timeout_s": 0.5, "total_timeout_s": 1.5},
    "member": {"lease_ttl_s": 3, "keep_alive_s": 0.5},
}
"""A lease as short as the configuration admits, so that its end needn't be waited for long."""

HASTY = {"retransmit_tries": 4}
"""A client that soon gives up its gateway, which is going to be lost; the others wait longer than a
gateway on a busy machine is ever silent, for what comes after an SA that is given up is another."""

Event = dict[str, Any]


class Output(msgspec.Struct, frozen=True):
    """What a command left behind."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """What it printed, which must be one JSON document, if it succeeded."""
        assert self.code == 0, self
        return msgspec.json.decode(self.out)


class Begun:
    """A command that goes on, and what it has said so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.said: list[str] = []
        self._process = process

    async def says(self, line: str) -> None:
        """Wait until it says that."""
        assert self._process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            while line not in self.said:
                read = await self._process.stdout.readline()
                assert read, self.said
                self.said.append(read.decode().rstrip("\n"))

    async def ended(self) -> Output:
        """What it left behind; `out` is what nobody has waited for."""
        out, err = await asyncio.wait_for(self._process.communicate(), DEADLINE_S)
        return Output(self._process.returncode or 0, out.decode(), err.decode())


async def until(
    found: Callable[[], Any] | Callable[[], Awaitable[Any]],
    what: str,
    deadline_s: float = DEADLINE_S,
) -> Any:
    """The first true value of `found()`; fails with `what` when that takes too long."""
    end_s = asyncio.get_running_loop().time() + deadline_s
    while True:
        value = found()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        assert asyncio.get_running_loop().time() < end_s, f"in {deadline_s:g} s not: {what}"
        await asyncio.sleep(POLL_S)


def read_events(file: Path) -> list[Event]:
    """Every whole line of a file of events."""
    if not file.exists():
        return []
    lines = file.read_bytes().split(b"\n")[:-1]
    return [msgspec.json.decode(line) for line in lines]


class Process:
    """One process with its configuration and its recorded events."""

    def __init__(self, kind: str, name: str, config: Path, logs: Path, events: Path) -> None:
        self.name = name
        self.config = config
        self.events_file = events / f"{name}.jsonl"
        command = [sys.executable, "-m", "node.cli", kind, "--config", str(config)]
        self.child = Child(name, command, logs / f"{name}.log")

    @property
    def events(self) -> list[Event]:
        """All that it has recorded, whatever its incarnation."""
        return read_events(self.events_file)

    def recorded(self, kind: str, **fields: Any) -> list[Event]:
        """Its events of a kind that have these fields."""
        return [
            event
            for event in self.events
            if event["kind"] == kind and all(event.get(k) == v for k, v in fields.items())
        ]

    async def records(self, kind: str, more_than: int = 0, **fields: Any) -> Event:
        """The newest such event, once there are more than `more_than`."""

        def look() -> list[Event]:
            found = self.recorded(kind, **fields)
            return found if len(found) > more_than else []

        found: list[Event] = await until(look, f"{self.name}: {kind} {fields}\n{self.child.tail()}")
        return found[-1]

    async def exit_code(self) -> int:
        """Its exit code, once it has ended."""
        code = await self.child.ended(DEADLINE_S)
        assert code is not None, f"{self.name} goes on\n{self.child.tail()}"
        return code

    @property
    def log(self) -> str:
        """All its output."""
        return self.child.log.read_text(errors="replace") if self.child.log.exists() else ""


class Cluster:
    """Three gateways by default, one etcd, as many clients as a test makes."""

    def __init__(
        self, folder: Path, gateways: int = 3, etcd_members: int = 1, **changes: dict[str, Any]
    ) -> None:
        """`changes`: section → keys, on top of the sample's gateway files."""
        self.folder = folder
        self.files = folder / "cluster"
        self.logs = folder / "logs"
        self.events = folder / "events"
        for made in (self.logs, self.events):
            made.mkdir(mode=0o700)
        self.clock, self.rng = OsClock(), OsRng()
        self.keys = Keys(NAME)
        self.ports = _free_ports(gateways)
        sample = Sample(NAME, gateways, self.ports, SHARDS)
        write_sample(self.files, sample, self.rng, self.clock.wall_s())
        pki = self.files / "pki"
        tls = TlsFiles(pki / "ca.crt", pki / "etcd.crt", pki / "etcd.key")
        self.etcd = EtcdChild(
            folder / "etcd", member_ports(etcd_members), tls=tls, members=etcd_members
        )
        names = [f"gw{n}" for n in range(1, gateways + 1)]
        self._processes: list[Process] = []
        self._changes = changes
        self.gateways = {name: self.gateway(name, name) for name in names}
        self.addresses = {
            name: f"{LOOPBACK}:{self.ports.ike + n}" for n, name in enumerate(names, 1)
        }

    # -- files ----------------------------------------------------------------------------------

    def gateway(
        self,
        sample: str,
        name: str,
        pools: Sequence[dict[str, Any]] = (),
        **changes: dict[str, Any],
    ) -> Process:
        """A gateway from the sample's file `sample`, with `changes` and `[[pool]]` tables; its
        events are `name`'s.
        """
        tables = read_toml(self.files / f"{sample}.toml")
        ours: dict[str, dict[str, Any]] = {
            "store": {"endpoints": list(self.etcd.endpoints)},
            "log": {"format": "json"},
            "events": {"file": str(self.events / f"{name}.jsonl"), "who": name},
        }
        for sections in (SOON, ours, self._changes, changes):
            for section, keys in sections.items():
                tables[section] = {**_table(tables, section), **keys}
        config = self.files / f"{name}.toml"
        config.write_text(to_toml(tables) + "".join(to_toml({"[pool]": pool}) for pool in pools))
        return self._made("gateway", name, config)

    def client(self, name: str, gateways: tuple[str, ...] = (), **changes: Any) -> Process:
        """A client called `name` that knows these gateways, in this order; all by default."""
        return self._made("client", name, self.client_file(name, gateways, **changes))

    def client_file(self, name: str, gateways: tuple[str, ...] = (), **changes: Any) -> Path:
        """The configuration of that client."""
        tables = read_toml(self.files / "client.toml")
        ours: dict[str, Any] = {
            "identity": f"rfc822:{name}@example.com",
            "gateways": [self.addresses[g] for g in gateways or tuple(self.gateways)],
            "ticket_file": f"tickets/{name}",
            "liveness_interval_s": 0.2,
            "retransmit_initial_s": 0.2,
            "retransmit_factor": 1.5,
            "retransmit_tries": 12,
        }
        tables["client"] = {**_table(tables, "client"), **ours, **changes}
        tables["events"] = {"file": str(self.events / f"{name}.jsonl"), "who": name}
        config = self.files / f"{name}.client.toml"
        config.write_text(to_toml(tables))
        return config

    def ticket(self, name: str) -> Path:
        """Where that client keeps its ticket."""
        return self.files / "tickets" / name

    def _made(self, kind: str, name: str, config: Path) -> Process:
        process = Process(kind, name, config, self.logs, self.events)
        self._processes.append(process)
        return process

    # -- processes ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start etcd and every gateway, and wait until all shards are where they belong, and have
        been recorded there: what a test counts from here on is the test's own.
        """
        await self.etcd.start()
        for gateway in self.gateways.values():
            gateway.child.start()
        await until(self._balanced, "every shard with the member that should own it")
        await until(self._told, "every gateway says so, too")

    async def settled(self, *names: str) -> dict[str, int]:
        """Wait until these members (all by default) own all shards; how many each."""
        wanted = sorted(names or tuple(self.gateways))

        async def look() -> dict[str, int]:
            counts = await self.shard_counts()
            return counts if sorted(counts) == wanted else {}

        found: dict[str, int] = await until(look, f"all shards with {wanted}")
        return found

    async def _balanced(self) -> bool:
        for gateway in self.gateways.values():
            gateway.child.check()
        names = tuple(sorted(self.gateways))
        if sorted(await self.members()) != list(names):
            return False
        shards = await self.shards()
        return [shards[s].owner for s in sorted(shards)] == [
            rank(shard, names)[0] for shard in range(SHARDS)
        ]

    async def _told(self) -> bool:
        counts = await self.shard_counts()
        return all(
            sum(event["count"] for event in gateway.recorded("shards_gained"))
            - sum(event["count"] for event in gateway.recorded("shards_lost"))
            == counts.get(name, 0)
            for name, gateway in self.gateways.items()
        )

    async def stop(self) -> None:
        """End everything, by force."""
        for process in self._processes:
            process.child.kill()
        for member in sorted(self.etcd.pids):
            self.etcd.kill(member)

    def lose_store(self) -> None:
        """SIGKILL to every etcd member; their data stays."""
        for member in sorted(self.etcd.pids):
            self.etcd.kill(member)

    async def bring_store_back(self) -> None:
        """Start them on the data they left."""
        for member in range(len(self.etcd.ports)):
            self.etcd.start_member(member)
        await self.etcd.wait_healthy()

    async def run(self, *arguments: str, operator: bool = True) -> Output:
        """Run `standfast` with these arguments, as an operator of the cluster, to its end."""
        return await (await self.begin(*arguments, operator=operator)).ended()

    async def begin(self, *arguments: str, operator: bool = True) -> Begun:
        """As `run`, without waiting for its end."""
        named = ["--config", str(self.files / "operator.toml")] if operator else []
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-u", "-m", "node.cli", *arguments, *named,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        return Begun(process)

    async def sessions(self) -> list[dict[str, Any]]:
        """The cluster's sessions, as the command line lists them."""
        listed: list[dict[str, Any]] = (await self.run("sessions", "list", "-o", "json")).json()[
            "sessions"
        ]
        return listed

    async def sessions_of(self, name: str) -> list[dict[str, Any]]:
        """The sessions of the client of that name."""
        return [s for s in await self.sessions() if s["identity"] == f"rfc822:{name}@example.com"]

    # -- the store ------------------------------------------------------------------------------

    def store(self) -> EtcdStore:
        """A connection to etcd, to be closed."""
        pki = self.files / "pki"
        key = Secret((pki / "operator.key").read_bytes())
        tls = EtcdTls((pki / "ca.crt").read_bytes(), (pki / "operator.crt").read_bytes(), key)
        return EtcdStore(EtcdOptions(self.etcd.endpoints, 10.0, 40.0), self.clock, tls)

    async def stored(self, prefix: bytes = b"") -> dict[bytes, Entry]:
        """Every entry under `prefix` (everything by default)."""
        store = self.store()
        try:
            scan = await store.scan(prefix or self.keys.root)
        finally:
            await store.close()
        return {entry.key: entry for entry in scan.entries}

    async def members(self) -> dict[str, MemberRecord]:
        """The live members, as the store has them."""
        entries = await self.stored(self.keys.members)
        records = [msgspec.json.decode(e.value, type=MemberRecord) for e in entries.values()]
        return {record.name: record for record in records}

    async def shards(self) -> dict[int, ShardRecord]:
        """Who owns which shard, as the store has it."""
        entries = await self.stored(self.keys.shards)
        return {
            int(key.rpartition(b"/")[2], 16): msgspec.json.decode(entry.value, type=ShardRecord)
            for key, entry in entries.items()
        }

    async def shard_counts(self) -> dict[str, int]:
        """Shards per live owner; those without one under the empty name."""
        counts: dict[str, int] = {}
        members = await self.members()
        shards = await self.shards()
        for record in shards.values():
            member = members.get(record.owner)
            lives = member is not None and member.incarnation == record.incarnation
            owner = record.owner if lives else ""
            counts[owner] = counts.get(owner, 0) + 1
        if len(shards) < SHARDS:
            counts[""] = counts.get("", 0) + SHARDS - len(shards)
        return counts


def to_toml(tables: dict[str, Any]) -> str:
    """Sections of plain values as TOML; JSON spells those alike."""
    lines: list[str] = []
    for section, table in tables.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {msgspec.json.encode(value).decode()}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _table(tables: dict[str, Any], section: str) -> dict[str, Any]:
    table = tables.get(section, {})
    assert isinstance(table, dict)
    return table


def _free_ports(gateways: int) -> Ports:
    """Ports that nobody uses now, in TCP and UDP."""
    bases = range(PORTS_FROM, PORTS_TO, PORTS_STEP)
    first = os.getpid() % len(bases)
    for base in (*bases[first:], *bases[:first]):
        ports = Ports(base, base + 1, base + 1, base + 10, base + 20)
        numbers = range(1, gateways + 1)
        wanted = [(socket.SOCK_DGRAM, ports.ike + n) for n in numbers]
        wanted += [(socket.SOCK_STREAM, ports.rpc + n) for n in numbers]
        wanted += [(socket.SOCK_STREAM, ports.metrics + n) for n in numbers]
        if all(_is_free(kind, port) for kind, port in wanted):
            return ports
    raise AssertionError(f"no free ports from {PORTS_FROM} to {PORTS_TO}")


def _is_free(kind: socket.SocketKind, port: int) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
