"""An asyncio event loop on virtual time: a day of waiting takes no time, a seed decides everything.

Rules: nothing is waited for, the clock moves to the next timer. No threads, no sockets:
both are refused. What runs in the context of a `Process` stands still while that is paused, and
happens in the same order afterwards: SIGSTOP and SIGCONT. Tasks and futures hash by a serial
number, because asyncio keeps them in sets (`TaskGroup`, `asyncio.wait`) whose order would otherwise
follow memory addresses and differ from run to run.
"""

import asyncio
import contextlib
import contextvars
import gc
import heapq
import itertools
import threading
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")

TURNS_AT_ONE_INSTANT_MAX = 200_000
"""Turns of the loop without the clock moving: beyond it something is spinning."""

CLOCK_RESOLUTION_S = 1e-9

CANCELLED_MAX = 100
"""Cancelled timers that are kept however few others there are."""


class Stuck(Exception):
    """Nothing is ready and no timer is set, or the clock can't move: the run would never end."""


class Process:
    """Everything that was begun in `context`, or by what was begun there: one simulated process."""

    def __init__(self, loop: "SimLoop") -> None:
        self._loop = loop
        self._context = contextvars.copy_context()
        self._context.run(_RUNNING.set, self)
        self.paused = False
        self.parked: list[asyncio.Handle] = []
        """What would have happened while it stood still."""
        self._asleep: tuple[list[asyncio.TimerHandle], float] = [], 0.0

    @property
    def context(self) -> contextvars.Context:
        """A context of this process, to be entered once."""
        return self._context.copy()

    def pause(self) -> None:
        """SIGSTOP: nothing of it happens from now on."""
        self.paused = True

    def suspend(self) -> None:
        """Its machine sleeps: as `pause`, and timers stand still too, because an event loop sets
        them by CLOCK_MONOTONIC. `go_on` wakes it.
        """
        self.paused = True
        self._asleep = self._loop.take_timers(self), self._loop.time()

    def go_on(self) -> None:
        """SIGCONT: what should have happened meanwhile happens now; timers of a machine that slept
        run as long as they had left.
        """
        self.paused = False
        timers, since_s = self._asleep
        self._asleep = [], 0.0
        self._loop.put_timers(timers, self._loop.time() - since_s)
        parked, self.parked = self.parked, []
        self._loop.run_parked(parked)


_RUNNING: contextvars.ContextVar[Process] = contextvars.ContextVar("process")


class _NoSelector:
    """What stands where `select.epoll` would: nothing is ever waited for."""

    def close(self) -> None:
        """Nothing is held."""


class _SerialFuture(asyncio.Future):  # type: ignore[type-arg]
    _serial = 0

    def __hash__(self) -> int:
        if not self._serial:  # few are ever kept in a set
            self._serial = next(self.get_loop()._serials)
        return self._serial


class _SerialTask(asyncio.Task):  # type: ignore[type-arg]
    def __init__(self, serial: int, coro: Any, **kwargs: Any) -> None:
        self._serial = serial  # first: the base class puts the task into a set of all tasks
        super().__init__(coro, **kwargs)

    def __hash__(self) -> int:
        return self._serial


class _Handle(asyncio.Handle):
    """As asyncio's, without what is for debugging."""

    __slots__ = ()

    def __init__(self, callback: Any, args: Any, loop: Any, context: Any) -> None:
        self._context = contextvars.copy_context() if context is None else context
        self._loop, self._callback, self._args = loop, callback, args
        self._cancelled, self._repr, self._source_traceback = False, None, None


class _TimerHandle(asyncio.TimerHandle):
    """Likewise."""

    __slots__ = ()

    def __init__(self, when: float, callback: Any, args: Any, loop: Any, context: Any) -> None:
        self._context = contextvars.copy_context() if context is None else context
        self._loop, self._callback, self._args = loop, callback, args
        self._cancelled, self._repr, self._source_traceback = False, None, None
        self._when, self._scheduled = when, True

    def cancel(self) -> None:
        if not self._cancelled:
            self._cancelled = True
            self._callback = self._args = None
            self._loop._timer_cancelled_count += self._scheduled


Timer = tuple[float, int, asyncio.TimerHandle]
"""With its time first, and a serial number: compared in C, in the order in which they were set."""


class SimLoop(asyncio.BaseEventLoop):
    """See the module. `failures` holds what no task caught, in order.

    The loop does what asyncio's own does, and nothing for debugging, threads or descriptors: most
    of a run's time is spent in it.
    """

    def __init__(self, start_s: float = 1000.0) -> None:
        super().__init__()
        self._selector = _NoSelector()
        self.now_s = start_s
        self._turns = 0
        self._timers: list[Timer] = []
        self._serials = itertools.count(1)
        self.failures: list[BaseException | str] = []
        self.set_task_factory(self._make_task)
        self.set_exception_handler(self._note_failure)

    def time(self) -> float:
        """Virtual seconds; starts at `start_s`."""
        return self.now_s

    def create_future(self) -> asyncio.Future[Any]:
        return _SerialFuture(loop=self)

    def _make_task(self, loop: Any, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
        return _SerialTask(next(self._serials), coro, loop=loop, **kwargs)

    def _note_failure(self, _loop: Any, context: dict[str, Any]) -> None:
        self.failures.append(context.get("exception") or str(context["message"]))

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
        when = self.now_s + delay
        timer = _TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._serials), timer))
        return timer

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        timer = _TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._serials), timer))
        return timer

    def _run_once(self) -> None:
        """What is ready now, after what has become due; without either, time goes on."""
        timers = self._timers
        if self._timer_cancelled_count > max(CANCELLED_MAX, len(timers) // 2):
            self._timers = timers = [timer for timer in timers if not timer[2]._cancelled]
            heapq.heapify(timers)
            self._timer_cancelled_count = 0
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
            self._timer_cancelled_count -= 1
        ready = self._ready
        self._turn(timers, bool(ready) or self._stopping)
        due_s = self.now_s + CLOCK_RESOLUTION_S
        while timers and timers[0][0] < due_s:
            timer = heapq.heappop(timers)[2]
            timer._scheduled = False
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(_RUNNING)
            if process is not None and process.paused:
                process.parked.append(handle)
            else:
                handle._run()

    def _turn(self, timers: list[Timer], busy: bool) -> None:
        """The clock moves to the first timer, unless something is ready."""
        if not busy:
            if not timers:
                raise Stuck("nothing is ready and no timer is set")
            if timers[0][0] > self.now_s:
                self.now_s, self._turns = timers[0][0], 0
                return
        self._turns += 1
        if self._turns > TURNS_AT_ONE_INSTANT_MAX:
            raise Stuck(f"the clock stands at {self.now_s} s: something is spinning")

    def run_in(self, context: contextvars.Context, callback: Any, *args: Any) -> None:
        """Call it in `context`, which nobody is in: at once, or when its process goes on."""
        process = context.get(_RUNNING)
        if process is not None and process.paused:
            process.parked.append(_Handle(callback, args, self, context))
        else:
            context.run(callback, *args)

    def take_timers(self, process: Process) -> list[asyncio.TimerHandle]:
        """Stop every timer of `process`."""
        mine = [t for _, _, t in self._timers if t._context.get(_RUNNING) is process]
        self._timers = [t for t in self._timers if t[2]._context.get(_RUNNING) is not process]
        heapq.heapify(self._timers)
        return mine

    def put_timers(self, timers: list[asyncio.TimerHandle], later_s: float) -> None:
        """Let them run on, `later_s` later than they were set to."""
        for timer in timers:
            timer._when += later_s
            heapq.heappush(self._timers, (timer._when, next(self._serials), timer))

    def run_parked(self, handles: list[asyncio.Handle]) -> None:
        """Run what a paused process should have run, in its order."""
        self._ready.extend(handles)  # those cancelled meanwhile are skipped there

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Any:
        # asyncio itself calls this from the loop's own thread to close forgotten generators
        if threading.get_ident() != self._thread_id:
            self._refuse("a call from another thread")
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> NoReturn:
        self._refuse("run_in_executor")

    def _refuse(self, what: str) -> NoReturn:
        raise RuntimeError(f"{what}: the simulation has one thread and no sockets")

    def _write_to_self(self) -> None:
        """Nobody has to be woken."""

    def close(self) -> None:
        self._selector.close()
        super().close()


def run(main: Callable[[SimLoop], Coroutine[Any, Any, T]], start_s: float = 1000.0) -> T:
    """Run `main(loop)` to its end on virtual time, cancel what it left behind, return its result.

    Raises what `main` raises, else the first exception that no task of the run caught; Stuck.
    """
    loop = SimLoop(start_s)
    collecting = gc.isenabled()
    gc.disable()  # when cycles are collected depends on memory, and finalisers can have effects
    try:
        result = loop.run_until_complete(main(loop))
    finally:
        with contextlib.suppress(Stuck):
            _cancel_leftovers(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        if collecting:
            gc.enable()
    for failure in loop.failures:
        if isinstance(failure, BaseException):
            raise failure
        raise RuntimeError(failure)
    return result


def _cancel_leftovers(loop: SimLoop) -> None:
    leftovers = sorted(asyncio.all_tasks(loop), key=hash)
    for task in leftovers:
        task.cancel()
    if leftovers:
        loop.run_until_complete(asyncio.gather(*leftovers, return_exceptions=True))
