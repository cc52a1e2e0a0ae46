"""node.supervisor: nothing dies unseen, everything ends in order."""

import asyncio
import contextlib
import io
import json
from itertools import pairwise

import pytest

from node.observe import configure_logging
from node.supervisor import RESTART_PAUSE_MAX_S, RESTART_PAUSE_S, STOP_GRACE_S, Supervisor
from tests.sim.loop import SimLoop, run


@pytest.fixture
def lines() -> io.StringIO:
    out = io.StringIO()
    configure_logging("info", "json", out)
    return out


async def _for_ever() -> None:
    await asyncio.Event().wait()


async def _dies() -> None:
    raise ZeroDivisionError("of a bug")


async def test_a_crash_ends_the_process_and_is_logged_with_its_traceback(
    lines: io.StringIO,
) -> None:
    supervisor = Supervisor()
    supervisor.spawn(_for_ever(), "steady")
    supervisor.spawn(_dies(), "faulty")
    crash = await supervisor.ended()
    assert crash is not None
    assert crash.task == "faulty"
    assert isinstance(crash.error, ZeroDivisionError)
    line = json.loads(lines.getvalue())
    assert line["task"] == "faulty"
    assert "ZeroDivisionError: of a bug" in line["exception"]
    assert "_dies" in line["exception"]
    await supervisor.stop()


async def test_the_first_crash_is_the_reason(lines: io.StringIO) -> None:
    supervisor = Supervisor()
    told: list[int] = []
    supervisor.on_crash = lambda: told.append(supervisor.crashes)
    await supervisor.spawn(_dies(), "first")
    await supervisor.spawn(_dies(), "second")
    crash = await supervisor.ended()
    assert crash is not None
    assert crash.task == "first"
    assert supervisor.crashes == 2
    assert told == [1, 2]


async def test_ended_in_order_has_no_crash() -> None:
    supervisor = Supervisor()
    supervisor.spawn(_for_ever(), "steady")
    supervisor.end()
    assert await supervisor.ended() is None
    await supervisor.stop()


async def test_stop_cancels_newest_first_and_waits_for_each() -> None:
    supervisor = Supervisor()
    ended: list[str] = []

    async def task(name: str) -> None:
        try:
            await _for_ever()
        finally:
            await asyncio.sleep(0)
            ended.append(name)

    for name in ("a", "b", "c", "d"):
        supervisor.spawn(task(name), name)
    await asyncio.sleep(0)
    assert supervisor.names() == ("a", "b", "c", "d")
    await supervisor.stop()
    assert ended == ["d", "c", "b", "a"]
    assert supervisor.names() == ()


async def test_a_task_may_stop_the_others_without_cancelling_itself() -> None:
    supervisor = Supervisor()
    supervisor.spawn(_for_ever(), "other")
    done = asyncio.Event()

    async def ends_all() -> None:
        await supervisor.stop()
        done.set()

    task = supervisor.spawn(ends_all(), "ender")
    await task
    assert done.is_set()


async def test_what_is_begun_while_the_rest_ends_never_takes_a_step(lines: io.StringIO) -> None:
    """The tasks end one after the other: an older one may want another begun meanwhile, and isn't
    struck by that."""
    supervisor = Supervisor()
    begun: list[str] = []
    wanted = asyncio.Event()

    async def late() -> None:
        begun.append("late")

    async def older() -> None:
        await wanted.wait()
        supervisor.spawn(late(), "late")
        begun.append("older goes on")
        await _for_ever()

    async def newer() -> None:
        try:
            await _for_ever()
        finally:
            wanted.set()
            await asyncio.sleep(0)

    supervisor.spawn(older(), "older")
    supervisor.spawn(newer(), "newer")
    await asyncio.sleep(0)
    await supervisor.stop()
    task = supervisor.spawn(late(), "later")
    await asyncio.wait((task,))
    assert begun == ["older goes on"]
    assert supervisor.names() == ()
    assert supervisor.crash is None
    assert lines.getvalue() == ""


async def test_a_task_cancelled_before_its_first_step_leaves_no_warning(
    recwarn: pytest.WarningsRecorder,
) -> None:
    supervisor = Supervisor()
    supervisor.spawn(_for_ever(), "never begun")
    await supervisor.stop()
    assert [str(warning.message) for warning in recwarn] == []


def test_a_kept_task_is_restarted_after_growing_pauses_until_it_returns(
    lines: io.StringIO,
) -> None:
    async def main(loop: SimLoop) -> list[float]:
        supervisor = Supervisor()
        runs_s: list[float] = []

        async def fails_often() -> None:
            runs_s.append(loop.time())
            if len(runs_s) == 10:
                await asyncio.sleep(2 * RESTART_PAUSE_MAX_S)  # a long good run: start afresh
            if len(runs_s) < 12:
                raise OSError("not yet")

        await supervisor.keep(fails_often, "stubborn")
        assert supervisor.crash is None
        assert supervisor.crashes == 11
        return runs_s

    runs_s = run(main)
    pauses_s = [round(after - before, 6) for before, after in pairwise(runs_s)]
    growing = [min(RESTART_PAUSE_S * 2**n, RESTART_PAUSE_MAX_S) for n in range(9)]
    afresh = [2 * RESTART_PAUSE_MAX_S + RESTART_PAUSE_S, 2 * RESTART_PAUSE_S]
    assert pauses_s == [round(pause_s, 6) for pause_s in growing + afresh]


def test_a_task_that_refuses_to_end_is_reported_and_left(lines: io.StringIO) -> None:
    async def main(loop: SimLoop) -> float:
        supervisor = Supervisor()
        free = asyncio.Event()

        async def stubborn() -> None:
            while not free.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await free.wait()

        task = supervisor.spawn(stubborn(), "stubborn")
        await asyncio.sleep(0)
        begun_s = loop.time()
        await supervisor.stop()
        took_s = loop.time() - begun_s
        free.set()
        await task
        return took_s

    assert run(main) == STOP_GRACE_S
    assert json.loads(lines.getvalue())["event"] == "task does not end"


async def test_a_contained_failure_goes_to_whoever_answers_for_it(lines: io.StringIO) -> None:
    supervisor = Supervisor()
    failures: list[Exception] = []
    await supervisor.contain(_dies(), "one session", failures.append)
    assert [type(error) for error in failures] == [ZeroDivisionError]
    assert supervisor.crash is None
    assert supervisor.crashes == 1
