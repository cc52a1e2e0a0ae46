"""The course of a drill: everything up, clients connected, each fault in its turn, all back, read
back. The same for real processes and for the simulator, which each put a `Stage` under it.

Rules: what is done here is recorded as events (phases, faults, what was read back), and everything
is decided from what was recorded. No process is started or ended here but through the stage.
"""

import asyncio
import signal
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from cluster.drill.events import OBSERVED
from cluster.drill.plan import (
    ANY,
    BUSIEST,
    LAST,
    ON_A_GATEWAY,
    TAKES_SERVICE,
    Action,
    Drill,
    Fault,
)
from cluster.seams import Clock
from node.drill.child import CouldNotRun
from node.drill.recorder import Recorder
from node.drill.screen import Screen
from node.observe import EventLog

POLL_S = 0.1
STOP_GATEWAY_S = 8.0

SIGNALS = {
    Action.KILL: signal.SIGKILL,
    Action.STOP: signal.SIGSTOP,
    Action.CONT: signal.SIGCONT,
    Action.TERM: signal.SIGTERM,
}


class Gateway(Protocol):
    """One gateway's process. Implementers: `node.drill.child.Child`, the simulator's."""

    @property
    def running(self) -> bool:
        """It was started and has not ended."""
        ...

    def start(self) -> None:
        """Start it. Raises CouldNotRun."""
        ...

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        ...

    async def ended(self, timeout_s: float) -> int | None:
        """Wait for its end: the exit status, or None if it goes on after `timeout_s`."""
        ...

    def tail(self) -> str:
        """The last lines of its log."""
        ...


class StoreReader(Protocol):
    """The store as a drill uses it itself. Implementers: `StoreAccess`, the simulator's."""

    async def find_sessions(self, spis: Iterable[str]) -> dict[str, bool]:
        """Responder SPI (hex) → whether the store holds it. Raises CouldNotRun."""
        ...

    async def replace_ring(self) -> None:
        """Overwrite the key ring with a fresh one. Raises CouldNotRun."""
        ...


class Stage(Protocol):
    """Store, gateways and clients. Implementers: `node.drill.lab.Lab`, the simulator's."""

    @property
    def gateways(self) -> Mapping[str, Gateway]:
        """By name."""
        ...

    async def start_store(self) -> None:
        """Start every member of the store, on the data it left. Raises CouldNotRun."""
        ...

    def kill_store(self) -> None:
        """SIGKILL to every member of the store; the data stays."""
        ...

    def start_gateways(self) -> None:
        """Start them all."""
        ...

    def start_swarm(self) -> None:
        """Start the clients."""
        ...

    def swarm_tail(self) -> str:
        """The last lines of the clients' log."""
        ...

    def check(self) -> None:
        """Raises CouldNotRun if anything ended that nobody ended."""
        ...


class Course:
    """One run of a drill on a stage; `play` once."""

    def __init__(
        self,
        drill: Drill,
        stage: Stage,
        clock: Clock,
        recorder: Recorder,
        log: EventLog,
        screen: Screen,
    ) -> None:
        self._drill = drill
        self._stage = stage
        self._clock = clock
        self._recorder = recorder
        self._log = log
        self._screen = screen
        self._last_target = ""
        self._down: set[str] = set()
        """Gateways that a fault took away, and that did not come back yet."""
        self._awaited_dead: dict[str, float] = {}
        """Killed gateways that the others should declare dead, and since when."""
        self._affected: set[str] = set()
        """Clients that a fault took service from, or may have; only counted, never iterated."""

    async def begin(self) -> None:
        """Start the store."""
        self._phase("start", f"starting etcd and {self._drill.topology.gateways} gateways")
        await self._stage.start_store()

    async def play(self, store: StoreReader) -> None:
        """Everything after that, until the sessions were read back. Raises CouldNotRun."""
        self._stage.start_gateways()
        await self._until(self._gateways_ready, self._drill.limits.start_s, self._not_ready)
        await self._connect()
        for fault in self._drill.fault:
            await self._await_turn(fault)
            await self._fault(fault, store)
        await self._recover()
        self._phase(OBSERVED, "reading the sessions back from the store")
        await self._read_back(store)

    async def _connect(self) -> None:
        clients = self._drill.load.clients
        self._phase("connect", f"connecting {clients} clients by full handshakes", clients)
        self._stage.start_swarm()
        await self._until(self._all_connected, self._drill.limits.connect_s, self._not_connected)
        count = self._recorder.per_gateway()
        held = ", ".join(f"{name} {sessions}" for name, sessions in count.items())
        self._screen.line(f"  sessions: {held}")
        self._phase("connected", "steady: every client exchanges liveness")
        self._connected_t = self._mark_t = self._clock.boot_s()

    async def _await_turn(self, fault: Fault) -> None:
        """Wait until it is the fault's time, or its event has come."""
        if fault.at_s is not None:
            due_t = self._connected_t + fault.at_s
            await self._until(lambda: self._clock.boot_s() >= due_t, None)
            return
        came: list[float] = []

        def has_come() -> bool:
            came[:] = [event.t for event in self._recorder.since(self._mark_t, fault.after)][:1]
            return bool(came)

        limit_s = self._drill.limits.fault_s
        await self._until(has_come, limit_s, lambda: f"no event {fault.after!r} was recorded")
        due_t = came[0] + fault.delay_s
        await self._until(lambda: self._clock.boot_s() >= due_t, None)

    async def _fault(self, fault: Fault, store: StoreReader) -> None:
        """Carry it out; the event is recorded just before."""
        target = self._target(fault) if fault.action in ON_A_GATEWAY else ""
        action = fault.action
        self._recorder.poll()
        if action in TAKES_SERVICE or action is Action.STOP_STORE:
            self._affected |= {
                name
                for name, client in self._recorder.clients.items()
                if client.in_service and target in ("", client.gateway)
            }
        self._mark_t = self._clock.boot_s()
        self._log.write("fault", action=action.value, target=target)
        if action in SIGNALS:
            self._stage.gateways[target].signal(SIGNALS[action])
        elif action is Action.START:
            self._start_again(target)
        elif action is Action.REPLACE_RING:
            await store.replace_ring()
        elif action is Action.STOP_STORE:
            self._stage.kill_store()
        else:
            await self._stage.start_store()
        self._after(action, target)
        self._screen.fault(self._mark_t, f"{action.value} {target}".strip())
        if action is Action.TERM:
            await self._ended_in_order(target)

    def _after(self, action: Action, target: str) -> None:
        if action in TAKES_SERVICE:
            self._down.add(target)
        elif action in (Action.CONT, Action.START):
            self._down.discard(target)
            self._awaited_dead.pop(target, None)
        if action is Action.KILL:
            self._awaited_dead[target] = self._mark_t
        if target:
            self._last_target = target

    def _start_again(self, target: str) -> None:
        child = self._stage.gateways[target]
        if child.running:
            raise CouldNotRun(f"{target} was to be started, and runs")
        child.start()

    async def _ended_in_order(self, target: str) -> None:
        status = await self._stage.gateways[target].ended(STOP_GATEWAY_S)
        if status != 0:
            how = "is still there" if status is None else f"ended with status {status}"
            raise CouldNotRun(f"{target} {how} {STOP_GATEWAY_S:g} s after SIGTERM, 0 was expected")

    def _target(self, fault: Fault) -> str:
        running = [name for name in self._stage.gateways if name not in self._down]
        if fault.target == LAST:
            return self._last_target
        if fault.target not in (BUSIEST, ANY):
            return fault.target
        if not running:
            raise CouldNotRun(f"no gateway is left for {fault.action.value} {fault.target}")
        count = self._recorder.per_gateway()
        return max(running, key=lambda name: count[name]) if fault.target == BUSIEST else running[0]

    async def _recover(self) -> None:
        """Wait until every client is back, as long as the drill allows; then watch on."""
        limits, clients = self._drill.limits, self._drill.load.clients
        since_t, affected = self._mark_t, len(self._affected)
        self._phase("recover", f"{affected} clients affected; until all are back", affected)

        def all_back() -> bool:
            back = [
                name
                for name, client in self._recorder.clients.items()
                if client.in_service
                and client.answered_t > since_t
                and client.gateway not in self._down
            ]
            self._screen.done = sum(name in self._affected for name in back)
            return len(back) >= clients

        def settled() -> bool:
            return all_back() and self._deaths_declared() and self._all_started()

        deadline_t = self._clock.boot_s() + limits.recover_s
        if await self._until(all_back, limits.recover_s):
            took_s = self._clock.boot_s() - since_t
            self._screen.line(f"  all {clients} clients in service {took_s:.1f} s after the fault")
        if not await self._until(settled, deadline_t - self._clock.boot_s()):
            self._screen.line(f"  not all is as it should be after {limits.recover_s:g} s")
        end_t = self._clock.boot_s() + limits.settle_s
        await self._until(lambda: self._clock.boot_s() >= end_t, None)

    def _deaths_declared(self) -> bool:
        witnesses = [name for name in self._stage.gateways if name not in self._down]
        for target, since_t in self._awaited_dead.items():
            told = {
                event.who
                for event in self._recorder.since(since_t, "declared_dead")
                if event.member == target
            }
            if not told.issuperset(witnesses):
                return False
        return True

    def _all_started(self) -> bool:
        """Gateways that were started again have said so."""
        again = [fault for fault in self._drill.fault if fault.action is Action.START]
        started = sum(gateway.started for gateway in self._recorder.gateways.values())
        return started >= len(self._stage.gateways) + len(again)

    async def _read_back(self, store: StoreReader) -> None:
        spis = [client.spi_r for client in self._recorder.clients.values() if client.in_service]
        found = await store.find_sessions(spis)
        for spi in sorted(found):
            self._log.write("readback", spi_r=spi, found=found[spi])

    def _gateways_ready(self) -> bool:
        """All have started, and every shard is owned, by all of them where there are enough."""
        gateways = self._recorder.gateways.values()
        shards = self._drill.topology.shards
        owners = sum(gateway.shards > 0 for gateway in gateways)
        return (
            all(gateway.started for gateway in gateways)
            and sum(gateway.shards for gateway in gateways) == shards
            and owners == min(len(gateways), shards)
        )

    def _not_ready(self) -> str:
        held = ", ".join(
            f"{name} {'holds ' + str(now.shards) if now.started else 'has not started'}"
            for name, now in self._recorder.gateways.items()
        )
        tails = "\n".join(child.tail() for child in self._stage.gateways.values())
        return (
            f"the gateways are not ready; of {self._drill.topology.shards} shards {held}:\n{tails}"
        )

    def _all_connected(self) -> bool:
        self._screen.done = self._recorder.in_service()
        return self._screen.done >= self._drill.load.clients

    def _not_connected(self) -> str:
        tail = self._stage.swarm_tail()
        return f"{self._screen.done} of {self._drill.load.clients} clients connected:\n{tail}"

    def _phase(self, name: str, text: str, goal: int = 0) -> None:
        self._log.write("phase", name=name)
        self._screen.begin(text, goal, "back" if name == "recover" else "clients")

    async def _until(
        self,
        done: Callable[[], bool],
        limit_s: float | None,
        why: Callable[[], str] | None = None,
    ) -> bool:
        """Read the record and draw until `done`. After `limit_s`: False, or CouldNotRun if there is
        a `why`. Raises CouldNotRun too when a process has died.
        """
        deadline_t = None if limit_s is None else self._clock.boot_s() + limit_s
        while True:
            self._screen.events(self._recorder.poll())
            self._stage.check()
            finished = done()
            self._screen.draw(self._recorder, self._down, self._drill.load.clients)
            if finished:
                return True
            if deadline_t is not None and self._clock.boot_s() >= deadline_t:
                if why is not None:
                    raise CouldNotRun(f"{why()} (waited {limit_s:g} s)")
                return False
            await asyncio.sleep(POLL_S)
