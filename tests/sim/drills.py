"""Drill files in the simulated world: the same plan, course, record and verdict as with real
processes; only the stage is another one, and so the invariants are looked at on top.

Rules: one machine's clock for all, as a drill has it. A drill that could not be carried out has no
verdict, and its run a finding that says why.
"""

import asyncio
import io
import signal
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import msgspec
from rich.console import Console

from cluster import keyring, vault
from cluster.drill.plan import Drill, decode_drill
from cluster.drill.verdict import Result as Ended
from cluster.drill.verdict import Verdict, judge
from cluster.layout import Keys
from cluster.store import Put, Txn
from node.drill.child import CouldNotRun
from node.drill.course import Course
from node.drill.recorder import Recorder
from node.drill.screen import Screen
from node.observe import EventLog
from node.swarm import in_turn
from tests.sim.machine import CLUSTER, KEK, SimGateway
from tests.sim.net import Weather
from tests.sim.scenario import Result, Scenario, run_scenario
from tests.sim.seams import SimClock
from tests.sim.world import Size, World

POLL_S = 0.02
LOOPBACK = Weather(latency_s=0.0003, jitter_s=0.0002)


class SimChild:
    """A simulated gateway as a drill handles its process (`node.drill.course.Gateway`)."""

    def __init__(self, world: World, gateway: SimGateway) -> None:
        self._world = world
        self.gateway = gateway
        self.wanted = False

    @property
    def running(self) -> bool:
        """See `Gateway.running`."""
        return self.gateway.alive

    def start(self) -> None:
        """See `Gateway.start`."""
        self.wanted = True
        self.gateway.boot(*self._world.next_life(self.gateway))

    def signal(self, number: signal.Signals) -> None:
        """See `Gateway.signal`."""
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.wanted = False
        if not self.gateway.alive:
            return
        acts = {
            signal.SIGKILL: self.gateway.cut_down,
            signal.SIGTERM: self.gateway.end,
            signal.SIGSTOP: self.gateway.process.pause,
            signal.SIGCONT: self.gateway.process.go_on,
        }
        acts[number]()

    async def ended(self, timeout_s: float) -> int | None:
        """See `Gateway.ended`."""
        end_s = self._world.loop.time() + timeout_s
        while self.gateway.alive and self._world.loop.time() < end_s:  # noqa: ASYNC110  as Child
            await asyncio.sleep(POLL_S)
        self.gateway.note_crash()
        return None if self.gateway.alive else int(bool(self.gateway.crashes))

    def tail(self) -> str:
        """See `Gateway.tail`."""
        return "\n".join(self.gateway.log.lines[-12:])


class SimStage:
    """Store, gateways and clients (`node.drill.course.Stage`)."""

    def __init__(self, world: World, drill: Drill, log: EventLog) -> None:
        self._world = world
        self._drill = drill
        self._log = log
        self.gateways = {gateway.name: SimChild(world, gateway) for gateway in world.gateways}
        self._tasks: list[asyncio.Task[None]] = []

    async def start_store(self) -> None:
        """See `Stage.start_store`."""
        if not self._tasks:
            self._tasks.append(asyncio.create_task(self._world.store.run(), name="store"))
        self._world.start_store()

    def kill_store(self) -> None:
        """See `Stage.kill_store`."""
        self._world.kill_store()

    def start_gateways(self) -> None:
        """See `Stage.start_gateways`."""
        for child in self.gateways.values():
            child.start()

    def start_swarm(self) -> None:
        """See `Stage.start_swarm`."""
        self._tasks.append(asyncio.create_task(self._connect(), name="swarm"))

    async def _connect(self) -> None:
        world, under_way = self._world, []
        addresses = tuple(gateway.address for gateway in world.gateways)
        for number in range(self._drill.load.clients):
            while len(under_way) >= self._drill.load.connect_parallel:
                await asyncio.sleep(POLL_S)
                under_way = [client for client in under_way if not client.session.established]
            client = world.client(number, gateways=in_turn(addresses, number))
            client.told = partial(self._write, f"c{number:04d}")
            world.clients.append(client)
            under_way.append(client)
            client.session.start()

    def _write(self, who: str, kind: str, fields: dict[str, object]) -> None:
        self._log.write(kind, who=who, **fields)

    def swarm_tail(self) -> str:
        """See `Stage.swarm_tail`."""
        return ""

    def check(self) -> None:
        """See `Stage.check`."""
        for child in self.gateways.values():
            child.gateway.note_crash()
            if (child.wanted and not child.running) or child.gateway.crashes:
                raise CouldNotRun(f"{child.gateway.name} ended by itself:\n{child.tail()}")


class SimStoreReader:
    """The store as the drill itself uses it (`node.drill.course.StoreReader`)."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._keys = Keys(CLUSTER)

    async def find_sessions(self, spis: Iterable[str]) -> dict[str, bool]:
        """See `StoreReader.find_sessions`."""
        chains = (await self._world.store.scan(self._keys.sessions)).entries
        records = (await self._world.store.scan(self._keys.records)).entries
        named = {entry.value[:8].hex() for entry in chains}
        held = {entry.key.rpartition(b"/")[2].decode() for entry in records}
        return {spi: spi in named and spi in held for spi in spis}

    async def replace_ring(self) -> None:
        """See `StoreReader.replace_ring`."""
        rng, clock = self._world.rng("another ring"), SimClock(self._world.loop)
        ring = keyring.new_ring(rng, clock.wall_s(), keyring.RingPolicy())
        sealed = vault.seal(KEK, keyring.encode(ring), self._keys.ring, rng)
        await self._world.ledger.commit(Txn(success=(Put(self._keys.ring, sealed),)))


def load(file: Path) -> Drill:
    """The drill in `file`. Raises OSError, ValueError."""
    return decode_drill(file.read_text(), str(file))


def play_file(file: str, seed: int, *, keep: bool = False) -> Result:
    """The run of a drill file, with a finding if its promises weren't kept."""
    drill = load(Path(file))
    verdict, result = run_drill(drill, seed, keep=keep)
    if verdict is None or verdict.result is Ended.KEPT:
        return result
    ended = f"{verdict.result.name}: {', '.join(verdict.reasons)}"
    return msgspec.structs.replace(result, findings=(ended, *result.findings))


def run_drill(drill: Drill, seed: int, *, keep: bool = False) -> tuple[Verdict | None, Result]:
    """Run a drill; its verdict (None: it could not be carried out), and the run with what the
    invariants say.
    """
    verdicts: list[Verdict] = []

    async def play(world: World) -> None:
        verdicts.append(await _carry_out(world, drill))

    topology, patience = drill.topology, drill.load
    size = Size(
        gateways=topology.gateways,
        clients=0,
        shards=topology.shards,
        settings=topology.every,
        only=topology.only,
        liveness_interval_s=patience.liveness_interval_s,
        retransmit_initial_s=patience.retransmit_initial_s,
        retransmit_factor=patience.retransmit_factor,
        retransmit_tries=patience.retransmit_tries,
        drift_max=0.0,
        apart=0.0,
    )
    result = run_scenario(Scenario(play, size=size, weather=LOOPBACK), seed, keep=keep)
    return verdicts[0] if verdicts else None, result


async def _carry_out(world: World, drill: Drill) -> Verdict:
    clock = SimClock(world.loop)
    log = EventLog(str(world.folder / "drill.jsonl"), "drill", clock)
    swarm = EventLog(str(world.folder / "swarm.jsonl"), "swarm", clock)
    names = {f"{g.host}:{g.address[1]}": g.name for g in world.gateways}
    recorder = Recorder(world.folder, names)
    for address, name in names.items():
        log.write("topology", member=name, address=address)
    screen = Screen(Console(file=io.StringIO()))
    stage = SimStage(world, drill, swarm)
    course = Course(drill, stage, clock, recorder, log, screen)
    await course.begin()
    await course.play(SimStoreReader(world))
    recorder.poll()
    log.close()
    swarm.close()
    return judge(drill, recorder.events)
