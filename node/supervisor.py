"""Owns every task of the process: none is lost, none dies unseen, all end in a known order.

Rules: nothing else makes tasks. This is the one place that catches every exception: what arrives
here was expected by nobody. It is logged with its traceback, and then the process ends in order,
unless whoever made the task asked for a restart or said what a failure means. Tasks are kept and
cancelled in the order they were made (reversed), never in that of a set: the same seed gives the
same trace. While they end, one after the other, those that still live go on; what one of them wants
begun then never takes a step, and isn't a fault of the one who wanted it.
"""

import asyncio
from collections.abc import Callable, Coroutine

import msgspec
import structlog

STOP_GRACE_S = 5.0
"""How long one task may take to end once it was cancelled."""
RESTART_PAUSE_S = 0.1
"""The pause before the first restart; it doubles with every failure that follows soon."""
RESTART_PAUSE_MAX_S = 10.0
"""The longest pause between two restarts."""


class Crash(msgspec.Struct, frozen=True):
    """Which task died unexpectedly, and of what."""

    task: str
    error: Exception


class Supervisor:
    """Makes tasks, holds them, and says when the process is to end and why."""

    def __init__(self) -> None:
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._serial = 0
        self._end = asyncio.Event()
        self._stopping = False
        self._log = structlog.get_logger("supervisor")
        self.crash: Crash | None = None
        self.crashes = 0
        """Unexpected exceptions so far, restarted and contained ones included."""
        self.on_crash: Callable[[], None] = lambda: None
        """Called at each of them; doesn't raise."""

    def spawn(self, coro: Coroutine[object, object, object], name: str) -> asyncio.Task[None]:
        """Run `coro` as a task; an exception it doesn't handle ends the process in order."""
        return self._start(coro, self._end_process, name)

    def contain(
        self,
        coro: Coroutine[object, object, object],
        name: str,
        failed: Callable[[Exception], None],
    ) -> asyncio.Task[None]:
        """Run `coro`; an exception it doesn't handle is logged and given to `failed`, which limits
        the damage.
        """

        def report(_name: str, error: Exception) -> None:
            failed(error)

        return self._start(coro, report, name)

    def keep(
        self, make: Callable[[], Coroutine[object, object, object]], name: str
    ) -> asyncio.Task[None]:
        """Run `make()`, and again after each unexpected exception, with growing pauses; it may also
        just return.
        """
        return self._start(self._restarting(make, name), self._end_process, name)

    def end(self) -> None:
        """Ask the process to end in order (what SIGTERM does)."""
        self._end.set()

    async def ended(self) -> Crash | None:
        """Wait until the process is to end; the crash that is the reason, or None if it was asked
        to.
        """
        await self._end.wait()
        return self.crash

    def names(self) -> tuple[str, ...]:
        """The tasks that live, oldest first."""
        return tuple(task.get_name() for task in self._tasks.values())

    async def stop(self) -> None:
        """Cancel every task but the caller's, newest first, each one waited for; one that is made
        from now on is cancelled before its first step.
        """
        self._stopping = True
        self._end.set()
        current = asyncio.current_task()
        while waiting := [task for task in self._tasks.values() if task is not current]:
            await self._cancel(waiting[-1])

    async def _cancel(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        await asyncio.wait((task,), timeout=STOP_GRACE_S)
        if not task.done():
            self._log.error("task does not end", task=task.get_name(), grace_s=STOP_GRACE_S)
        self._forget(task)

    def _forget(self, task: asyncio.Task[None]) -> None:
        for serial, held in self._tasks.items():
            if held is task:
                del self._tasks[serial]
                return

    def _start(
        self,
        coro: Coroutine[object, object, object],
        failed: Callable[[str, Exception], None],
        name: str,
    ) -> asyncio.Task[None]:
        self._serial += 1
        serial = self._serial
        task = asyncio.create_task(self._guard(coro, failed, name), name=name)
        self._tasks[serial] = task

        def done(_: asyncio.Task[None]) -> None:
            self._tasks.pop(serial, None)
            coro.close()  # a task cancelled before its first step never touched it

        task.add_done_callback(done)
        if self._stopping:
            task.cancel()
        return task

    async def _guard(
        self,
        coro: Coroutine[object, object, object],
        failed: Callable[[str, Exception], None],
        name: str,
    ) -> None:
        try:
            await coro
        except Exception as error:  # the one place: see the module's rules
            self._note(name, error)
            failed(name, error)

    async def _restarting(
        self, make: Callable[[], Coroutine[object, object, object]], name: str
    ) -> None:
        clock = asyncio.get_running_loop().time
        pause_s = RESTART_PAUSE_S
        while True:
            started_s = clock()
            try:
                await make()
                return
            except Exception as error:  # the one place: see the module's rules
                self._note(name, error)
            if clock() - started_s > RESTART_PAUSE_MAX_S:
                pause_s = RESTART_PAUSE_S
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RESTART_PAUSE_MAX_S)

    def _note(self, name: str, error: Exception) -> None:
        self.crashes += 1
        self.on_crash()
        self._log.error("task died", task=name, exc_info=error)

    def _end_process(self, name: str, error: Exception) -> None:
        if self.crash is None:
            self.crash = Crash(name, error)
        self._end.set()
