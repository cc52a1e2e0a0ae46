"""A real cluster for a benchmark: etcd over mTLS and real gateway processes.

Rules: made of the same parts as a drill's, in a folder that goes; every process is ended however
the benchmark ends. gw1 is the one that is measured.
"""

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.request import urlopen

import msgspec

from cluster.drill.plan import Drill, Sections, Topology
from cluster.store_etcd import EtcdOptions, EtcdStore, EtcdTls
from cluster.vault import Kek, Keks
from node.drill.child import Child
from node.drill.lab import Lab
from node.identity import load_kek, load_psks, parse_address
from node.seams import OsClock, OsRng
from node.toml_strict import read_toml
from proto.secret import Secret

MEASURED = "gw1"
READY_TIMEOUT_S = 30.0
POLL_S = 0.2
SETTLE_S = 1.5
"""Longer than the gauges' period: what they say after it is true."""
SHARDS = 64


class _Event(msgspec.Struct, frozen=True):
    """What is read of a recorded event."""

    t: float
    kind: str
    revision: int = 0


class NotReady(Exception):
    """The cluster did not come up in time."""


class Cluster:
    """See `running_cluster`."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.etcd_pids = tuple(lab.etcd.pids.values()) if lab.etcd is not None else ()
        pki = lab.cluster / "pki"
        tls = EtcdTls(
            (pki / "ca.crt").read_bytes(),
            (pki / "operator.crt").read_bytes(),
            Secret((pki / "operator.key").read_bytes()),
        )
        endpoints = lab.etcd.endpoints if lab.etcd is not None else ()
        self.store = EtcdStore(EtcdOptions(endpoints), OsClock(), tls)

    @property
    def keks(self) -> Keks:
        """What the cluster's ring is sealed under."""
        return Keks((Kek(load_kek(str(self._lab.cluster / "kek"))),))

    @property
    def gateways(self) -> int:
        """How many there are."""
        return len(self._lab.gateways)

    def installed(self) -> dict[int, list[float]]:
        """The ring's revision → when each gateway installed it, CLOCK_BOOTTIME, seconds."""
        found: dict[int, list[float]] = {}
        for name in self._lab.gateways:
            for line in self.recorded(name):
                event = msgspec.json.decode(line, type=_Event)
                if event.kind == "ring_installed":
                    found.setdefault(event.revision, []).append(event.t)
        return found

    @property
    def address(self) -> tuple[str, int]:
        """Where gw1 takes IKE."""
        return self.address_of(MEASURED)

    def address_of(self, gateway: str) -> tuple[str, int]:
        """Where a gateway takes IKE."""
        return next(
            parse_address(text) for text, name in self._lab.addresses.items() if name == gateway
        )

    def recorded(self, gateway: str) -> list[bytes]:
        """The whole lines of what a gateway has recorded."""
        octets = (self._lab.events / f"{gateway}.jsonl").read_bytes()
        return octets[: octets.rfind(b"\n") + 1].splitlines()

    @property
    def psk_hex(self) -> str:
        """What its clients prove themselves with."""
        ((_, secret),) = load_psks(str(self._lab.cluster / "client-psk.toml"))
        return secret.octets.hex()

    def pid(self, name: str = MEASURED) -> int:
        """A gateway's process."""
        return self._lab.gateways[name].pid

    def check(self) -> None:
        """Raises CouldNotRun if a process ended that should run."""
        self._lab.check()

    async def ready(self) -> None:
        """Wait until every shard has an owner and every gateway owns some. Raises NotReady."""
        await asyncio.sleep(SETTLE_S)
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                while not await self._shards_settled():
                    self.check()
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise NotReady(f"the shards had no owners after {READY_TIMEOUT_S:g} s") from None
        await asyncio.sleep(SETTLE_S)

    async def revision(self) -> int:
        """The store's: each batch of the journal moves it on by one."""
        return (await self.store.scan(b"/nothing/")).revision

    async def _shards_settled(self) -> bool:
        owned = [await self._owned(name) for name in self._lab.gateways]
        return min(owned) > 0 and sum(owned) == SHARDS

    async def _owned(self, name: str) -> float:
        metrics = read_toml(self._lab.cluster / f"{name}.toml")["metrics"]
        listen = metrics["listen"] if isinstance(metrics, dict) else ""
        return await asyncio.to_thread(_gauge, f"http://{listen}/metrics", "standfast_shards_owned")


def _gauge(url: str, name: str) -> float:
    try:
        with urlopen(url, timeout=1.0) as answer:  # noqa: S310  a gateway of ours, on loopback
            text = answer.read().decode()
    except OSError:
        return 0.0
    values = [line.split()[1] for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(values[0]) if values else 0.0


@contextlib.asynccontextmanager
async def running_cluster(
    gateways: int,
    mirrors: int,
    *,
    etcd_members: int = 1,
    events: bool = False,
    profile: Path | None = None,
) -> AsyncIterator[Cluster]:
    """A cluster that is ready, for as long as the block lasts; `events`: they are recorded;
    `profile`: where gw1's profile goes.

    Raises CouldNotRun, NotReady, OSError.
    """
    every: Sections = {
        "member": {"mirrors": mirrors},
        "log": {"level": "warning"},
    }
    if not events:
        every["events"] = {"file": ""}
    drill = Drill("bench", "bench", (), topology=Topology(gateways, etcd_members, SHARDS, every))
    with tempfile.TemporaryDirectory(prefix="standfast-bench-") as name:
        lab = Lab(Path(name), drill, OsClock(), OsRng())
        lab.prepare()
        if profile is not None:
            config = lab.cluster / f"{MEASURED}.toml"
            command = [sys.executable, "-m", "bench.profiled", str(profile), str(config)]
            lab.gateways[MEASURED] = Child(MEASURED, command, lab.logs / f"{MEASURED}.log")
        try:
            await lab.start_store()
            lab.start_gateways()
            cluster = Cluster(lab)
            try:
                await cluster.ready()
                yield cluster
            finally:
                await cluster.store.close()
        finally:
            await lab.stop()
            lab.kill_all()
