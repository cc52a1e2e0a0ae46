"""The simulator's loop: time moves only when nothing is left to do, and runs repeat exactly."""

import asyncio
import os
import subprocess
import sys
import threading
import time

import pytest

from tests.sim.loop import SimLoop, Stuck, run
from tests.sim.script_loop import digest
from tests.sim.seams import WALL_START_S, SeededRng, SimClock


def test_a_day_of_sleep_moves_the_virtual_clock_by_a_day():
    async def main(loop: SimLoop) -> float:
        start_s = loop.time()
        await asyncio.sleep(86_400 * 3)
        return loop.time() - start_s

    assert run(main) == pytest.approx(259_200, abs=1e-6)


def test_timers_fire_in_order_of_their_time():
    fired = []

    async def main(loop: SimLoop) -> None:
        for delay_s in (3, 1, 2):
            loop.call_later(delay_s, fired.append, delay_s)
        await asyncio.sleep(4)

    run(main)
    assert fired == [1, 2, 3]


def test_a_timeout_ends_a_wait_at_its_time():
    async def main(loop: SimLoop) -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.5):
                await asyncio.Event().wait()
        return loop.time()

    assert run(main, start_s=0) == pytest.approx(2.5)


def test_waiting_for_nothing_is_an_error_and_not_a_hang():
    async def main(loop: SimLoop) -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck, match="no timer"):
        run(main)


def test_spinning_is_an_error_and_not_a_hang():
    async def main(loop: SimLoop) -> None:
        def again() -> None:
            loop.call_soon(again)

        again()
        await asyncio.Event().wait()

    with pytest.raises(Stuck, match="spinning"):
        run(main)


def test_threads_are_refused():
    async def main(loop: SimLoop) -> list[str]:
        with pytest.raises(RuntimeError, match="one thread"):
            await asyncio.to_thread(time.monotonic)
        refused = []

        def call() -> None:
            try:
                loop.call_soon_threadsafe(print)
            except RuntimeError as error:
                refused.append(str(error))

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        return refused

    assert len(run(main)) == 1


def test_an_exception_that_no_task_caught_fails_the_run():
    async def main(loop: SimLoop) -> None:
        loop.call_later(1, lambda: {}["absent"])
        await asyncio.sleep(2)

    with pytest.raises(KeyError, match="absent"):
        run(main)


def test_tasks_left_behind_are_cancelled_in_the_order_they_were_made():
    ended = []

    async def linger(i: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(i)

    async def main(loop: SimLoop) -> None:
        tasks = [asyncio.create_task(linger(i)) for i in range(20)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in tasks)

    run(main)
    assert ended == list(range(20))


def _digest_in_a_process(seed: int, hash_seed: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.sim.script_loop", str(seed)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stdout.strip()


def test_the_same_seed_gives_the_same_trace_under_every_hash_seed():
    digests = [_digest_in_a_process(7, hash_seed) for hash_seed in ("0", "1", "random")]
    assert digests == [digest(7)] * 3


def test_another_seed_gives_another_trace():
    assert digest(7) != digest(8)


def test_two_sources_of_randomness_do_not_share_their_draws():
    one, same, other = SeededRng(1, "gw1"), SeededRng(1, "gw1"), SeededRng(1, "gw2")
    assert one.bytes(32) == same.bytes(32) != other.bytes(32)


def test_a_drifting_clock_runs_ahead_and_a_wrong_date_stays_wrong():
    async def main(loop: SimLoop) -> tuple[float, float]:
        clock = SimClock(loop, boot_offset_s=500, wall_offset_s=-30, drift=0.01)
        start = clock.now()
        await asyncio.sleep(100)
        now = clock.now()
        assert now.wall_s == pytest.approx(WALL_START_S + loop.time() * 1.01 - 30)
        return now.boot_s - start.boot_s, start.boot_s - loop.time() + 100

    passed_s, boot_offset_s = run(main, start_s=0)
    assert passed_s == pytest.approx(101)
    assert boot_offset_s == pytest.approx(500)
