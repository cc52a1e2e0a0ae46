"""Carries a drill file out against real processes, from the first file written to the verdict.

```
prepare → store → gateways → clients → faults, each at its time → all back → observed → read back
→ everything ended → verdict from the record → report
```

Rules: what is done here is recorded as events too (phases, faults, what was read back), and the
verdict is computed from the record alone. Everything started is ended, whatever happens; a process
that dies unasked ends the drill. Exit codes: 0 kept, 1 broken, 2 could not run.
"""

import asyncio
import datetime
import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from cluster.drill import history
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
    decode_drill,
)
from cluster.drill.verdict import judge_history
from node.drill import report, summary
from node.drill.child import CouldNotRun
from node.drill.lab import CLUSTER, STOP_GATEWAY_S, Lab
from node.drill.recorder import Recorder
from node.drill.screen import Screen
from node.drill.store_access import StoreAccess
from node.observe import EventLog
from node.seams import OsClock, OsRng

POLL_S = 0.1
COULD_NOT_RUN = 2

SIGNALS = {
    Action.KILL: signal.SIGKILL,
    Action.STOP: signal.SIGSTOP,
    Action.CONT: signal.SIGCONT,
    Action.TERM: signal.SIGTERM,
}


def run_drill(
    file: Path, report_dir: Path, console: Console | None = None, keep: bool = False
) -> int:
    """Run the drill in `file` and leave its report in `report_dir`; the exit code.

    `keep`: leave the processes' files (configurations, logs, events) where they are, and say where.
    """
    out = console or Console()
    try:
        drill = decode_drill(file.read_text(), str(file))
        report_dir.mkdir(parents=True, exist_ok=True)  # before a minute's work, not after it
    except OSError as problem:
        why = (problem.strerror or str(problem)).lower()
        _say(out, f"standfast: {problem.filename}: {why}", "red")
        return COULD_NOT_RUN
    except ValueError as problem:  # octets that aren't UTF-8 included
        _say(out, f"standfast: {problem}", "red")
        return COULD_NOT_RUN
    folder = Path(tempfile.mkdtemp(prefix=f"standfast-{drill.name}-"))
    run = DrillRun(drill, folder, out)
    code = COULD_NOT_RUN
    try:
        code = asyncio.run(run.whole(report_dir))
    except CouldNotRun as problem:
        _say(out, f"\nstandfast: could not run: {problem}", "red")
        keep = True
    except OSError as problem:
        _say(out, f"\nstandfast: could not run: {problem}", "red")
    except (KeyboardInterrupt, asyncio.CancelledError):
        _say(out, "\nstandfast: interrupted; everything is being ended", "red")
    finally:
        run.lab.kill_all()
        if keep:
            _say(out, f"the processes' files are in {folder}")
        else:
            run.lab.remove()
    return code


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(text, style=style or None, highlight=False, markup=False, soft_wrap=True)


class DrillRun:
    """One run of a drill."""

    def __init__(self, drill: Drill, folder: Path, console: Console) -> None:
        self.drill = drill
        self.lab = Lab(folder, drill, OsClock(), OsRng())
        self._clock = OsClock()
        self._console = console
        self._screen = Screen(console)
        self._last_target = ""
        self._down: set[str] = set()
        """Gateways that a fault took away, and that did not come back yet."""
        self._awaited_dead: dict[str, float] = {}
        """Killed gateways that the others should declare dead, and since when."""
        self._affected: set[str] = set()
        """Clients that a fault took service from, or may have; only counted, never iterated."""
        self._etcd_version = ""

    async def whole(self, report_dir: Path) -> int:
        """From the first file to the report; the exit code. Raises CouldNotRun, OSError."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is not None:
            loop.add_signal_handler(signal.SIGTERM, task.cancel)
        began_s, began = self._clock.boot_s(), datetime.datetime.now(datetime.UTC)
        with self._screen:
            self._screen.line(self.drill.title, style="bold")
            self.lab.prepare()
            self._log = EventLog(str(self.lab.events / "drill.jsonl"), "drill", self._clock)
            self._recorder = Recorder(self.lab.events, self.lab.addresses)
            for address, name in self.lab.addresses.items():
                self._log.write("topology", member=name, address=address)
            try:
                await self._carry_out()
            finally:
                complaints = await self.lab.stop()
        for complaint in complaints:
            _say(self._console, f"  {complaint}", "yellow")
        self._recorder.poll()
        past = history.build(self._recorder.events)
        verdict = judge_history(self.drill, past)
        facts = report.facts(
            began.isoformat(timespec="seconds"),
            self._clock.boot_s() - began_s,
            os.cpu_count() or 1,
            f"etcd {self._etcd_version}",
        )
        made = report.make(self.drill, past, verdict, facts, self._recorder.unreadable)
        page, _ = report.write(made, report_dir)
        summary.show(self._console, verdict, str(page))
        return verdict.exit_code

    async def _carry_out(self) -> None:
        topology, limits = self.drill.topology, self.drill.limits
        self._phase("start", f"starting etcd and {topology.gateways} gateways")
        await self.lab.start_store()
        store = self._open_store()
        try:
            self._etcd_version = await store.version()
            self.lab.start_gateways()
            await self._until(self._gateways_ready, limits.start_s, self._not_ready)
            await self._connect()
            for fault in self.drill.fault:
                await self._await_turn(fault)
                await self._fault(fault, store)
            await self._recover()
            self._phase(OBSERVED, "reading the sessions back from the store")
            await self._read_back(store)
        finally:
            await store.close()
        self._screen.begin("ending every process")

    def _open_store(self) -> StoreAccess:
        endpoints = self.lab.etcd.endpoints if self.lab.etcd else ()
        return StoreAccess(CLUSTER, self.lab.cluster, endpoints, self._clock, OsRng())

    async def _connect(self) -> None:
        clients = self.drill.load.clients
        self._phase("connect", f"connecting {clients} clients by full handshakes", clients)
        self.lab.start_swarm()
        await self._until(self._all_connected, self.drill.limits.connect_s, self._not_connected)
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

        limit_s = self.drill.limits.fault_s
        await self._until(has_come, limit_s, lambda: f"no event {fault.after!r} was recorded")
        due_t = came[0] + fault.delay_s
        await self._until(lambda: self._clock.boot_s() >= due_t, None)

    async def _fault(self, fault: Fault, store: StoreAccess) -> None:
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
            self.lab.gateways[target].signal(SIGNALS[action])
        elif action is Action.START:
            self._start_again(target)
        elif action is Action.REPLACE_RING:
            await store.replace_ring()
        elif action is Action.STOP_STORE:
            self.lab.kill_store()
        else:
            await self.lab.start_store()
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
        child = self.lab.gateways[target]
        if child.running:
            raise CouldNotRun(f"{target} was to be started, and runs")
        child.start()

    async def _ended_in_order(self, target: str) -> None:
        status = await self.lab.gateways[target].ended(STOP_GATEWAY_S)
        if status != 0:
            how = "is still there" if status is None else f"ended with status {status}"
            raise CouldNotRun(f"{target} {how} {STOP_GATEWAY_S:g} s after SIGTERM, 0 was expected")

    def _target(self, fault: Fault) -> str:
        running = [name for name in self.lab.gateways if name not in self._down]
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
        limits, clients = self.drill.limits, self.drill.load.clients
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
        witnesses = [name for name in self.lab.gateways if name not in self._down]
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
        again = [fault for fault in self.drill.fault if fault.action is Action.START]
        started = sum(gateway.started for gateway in self._recorder.gateways.values())
        return started >= len(self.lab.gateways) + len(again)

    async def _read_back(self, store: StoreAccess) -> None:
        spis = [client.spi_r for client in self._recorder.clients.values() if client.in_service]
        found = await store.find_sessions(spis)
        for spi in sorted(found):
            self._log.write("readback", spi_r=spi, found=found[spi])

    def _gateways_ready(self) -> bool:
        """All have started, and every shard is owned, by all of them where there are enough."""
        gateways = self._recorder.gateways.values()
        shards = self.drill.topology.shards
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
        tails = "\n".join(child.tail() for child in self.lab.gateways.values())
        return (
            f"the gateways are not ready; of {self.drill.topology.shards} shards {held}:\n{tails}"
        )

    def _all_connected(self) -> bool:
        self._screen.done = self._recorder.in_service()
        return self._screen.done >= self.drill.load.clients

    def _not_connected(self) -> str:
        tail = self.lab.swarm.tail() if self.lab.swarm else ""
        return f"{self._screen.done} of {self.drill.load.clients} clients connected:\n{tail}"

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
            self.lab.check()
            finished = done()
            self._screen.draw(self._recorder, self._down, self.drill.load.clients)
            if finished:
                return True
            if deadline_t is not None and self._clock.boot_s() >= deadline_t:
                if why is not None:
                    raise CouldNotRun(f"{why()} (waited {limit_s:g} s)")
                return False
            await asyncio.sleep(POLL_S)
