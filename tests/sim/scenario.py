"""One scenario: a size, a weather and a play; and how it is run.

Rules: a play drives the world and adds findings; it is ended by the checks that hold for every run.
A run that spins is ended too, and says where it was: nobody waits for it.
"""

import asyncio
import contextlib
import signal
import tempfile
import traceback
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import FrameType

import msgspec

from tests.sim.loop import SimLoop, Stuck, run
from tests.sim.net import Weather
from tests.sim.trace import START_S
from tests.sim.world import ROUGH, Size, World

FOUND_SILENT_S = 100.0
"""Until a gateway has found out that nobody is behind an SA: 60 s of silence, 12 s of asking."""
RECOVER_S = 60.0
"""From a kill until every client is served again: dead peer detection takes 15 s of it."""

CPU_MAX_S = 300.0
"""Processor time of one run, which takes some seconds: beyond it something is spinning."""

PLACES = 6
"""Of a run that spins, the innermost that are shown."""


class Spinning(KeyboardInterrupt):
    """A run has used up its time. Of this family, because an event loop and its tasks let nothing
    else through."""


class Result(msgspec.Struct, frozen=True):
    """How one run ended."""

    findings: tuple[str, ...]
    digest: str
    events: int
    virtual_s: float
    lines: tuple[str, ...]


class Scenario(msgspec.Struct, frozen=True):
    """See the module."""

    play: Callable[[World], Awaitable[None]]
    size: Size | Callable[[int], Size] = Size()
    """Or what the seed makes of it."""
    weather: Weather = ROUGH


def run_scenario(
    scenario: Scenario, seed: int, *, keep: bool = False, cpu_max_s: float = CPU_MAX_S
) -> Result:
    """Play any scenario, for `cpu_max_s` of processor time at most; in the main thread."""
    with tempfile.TemporaryDirectory() as folder:
        worlds: list[World] = []

        async def main(loop: SimLoop) -> None:
            size = scenario.size if isinstance(scenario.size, Size) else scenario.size(seed)
            world = World(loop, seed, Path(folder), size=size, weather=scenario.weather, keep=keep)
            worlds.append(world)
            # a task of its own: what a play dies of is a finding, and the checks go on
            playing = loop.create_task(scenario.play(world))
            await asyncio.wait((playing,))
            error = playing.exception()
            if error is not None:
                world.findings.append(f"the play failed: {error!r}, {_where(error)}")
            world.check_end()
            world.end()

        ended = ""
        try:
            with _bounded(cpu_max_s):
                run(main)
        except (Stuck, Spinning) as error:
            ended = f"stuck: {error}"
        world = worlds[0]
        findings = [*world.findings, *([ended] if ended else [])]
        trace = world.trace
        return Result(
            tuple(findings), trace.digest(), trace.count, world.loop.time() - START_S,
            tuple(trace.lines or ()),
        )  # fmt: skip


@contextlib.contextmanager
def _bounded(cpu_max_s: float) -> Iterator[None]:
    """Raises Spinning within, wherever it is by then; and again if what ends the run spins too."""

    def over(_number: int, frame: FrameType | None) -> None:
        at = [f"{Path(f.filename).name}:{f.lineno}" for f in traceback.extract_stack(frame)]
        raise Spinning(f"{cpu_max_s:g} s of processor time are over, at {' '.join(at[-PLACES:])}")

    before = signal.signal(signal.SIGVTALRM, over)
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_max_s, cpu_max_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)


def _where(error: BaseException) -> str:
    """The innermost line that raised it."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"
