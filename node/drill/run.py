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
from pathlib import Path

from rich.console import Console

from cluster.drill import history
from cluster.drill.plan import Drill, decode_drill
from cluster.drill.verdict import judge_history
from node.drill import report, summary
from node.drill.child import CouldNotRun
from node.drill.course import Course
from node.drill.lab import CLUSTER, Lab
from node.drill.recorder import Recorder
from node.drill.screen import Screen
from node.drill.store_access import StoreAccess
from node.observe import EventLog
from node.seams import OsClock, OsRng

COULD_NOT_RUN = 2


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
    """One run of a drill with real processes."""

    def __init__(self, drill: Drill, folder: Path, console: Console) -> None:
        self.drill = drill
        self.lab = Lab(folder, drill, OsClock(), OsRng())
        self._clock = OsClock()
        self._console = console
        self._screen = Screen(console)
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
            log = EventLog(str(self.lab.events / "drill.jsonl"), "drill", self._clock)
            recorder = Recorder(self.lab.events, self.lab.addresses)
            for address, name in self.lab.addresses.items():
                log.write("topology", member=name, address=address)
            try:
                await self._carry_out(
                    Course(self.drill, self.lab, self._clock, recorder, log, self._screen)
                )
            finally:
                complaints = await self.lab.stop()
        for complaint in complaints:
            _say(self._console, f"  {complaint}", "yellow")
        recorder.poll()
        past = history.build(recorder.events)
        verdict = judge_history(self.drill, past)
        facts = report.facts(
            began.isoformat(timespec="seconds"),
            self._clock.boot_s() - began_s,
            os.cpu_count() or 1,
            f"etcd {self._etcd_version}",
        )
        made = report.make(self.drill, past, verdict, facts, recorder.unreadable)
        page, _ = report.write(made, report_dir)
        summary.show(self._console, verdict, str(page))
        return verdict.exit_code

    async def _carry_out(self, course: Course) -> None:
        await course.begin()
        store = self._open_store()
        try:
            self._etcd_version = await store.version()
            await course.play(store)
        finally:
            await store.close()
        self._screen.begin("ending every process")

    def _open_store(self) -> StoreAccess:
        endpoints = self.lab.etcd.endpoints if self.lab.etcd else ()
        return StoreAccess(CLUSTER, self.lab.cluster, endpoints, self._clock, OsRng())
