"""A run whose trace would differ from process to process on a stock event loop; prints its digest.

Run by `test_loop` in processes of their own, under different hash seeds: `python -m
tests.sim.script_loop SEED`.
"""

import asyncio
import sys

from proto.ike.effects import Path
from tests.sim.loop import SimLoop, run
from tests.sim.net import PacketNet, Weather
from tests.sim.seams import SeededRng
from tests.sim.trace import Trace


async def _cancelled_in_some_order(trace: Trace, n: int) -> None:
    """A task group cancels the others when one fails: in the order of a set of tasks."""

    async def wait_for_ever(i: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            trace.event("cancelled", i)

    async def fail() -> None:
        await asyncio.sleep(1)
        raise LookupError

    try:
        async with asyncio.TaskGroup() as group:
            for i in range(n):
                group.create_task(wait_for_ever(i))
            group.create_task(fail())
    except* LookupError:
        trace.event("group ended")


async def _done_in_some_order(trace: Trace, loop: SimLoop, n: int) -> None:
    """`asyncio.wait` hands back a set of futures."""
    futures = [loop.create_future() for _ in range(n)]
    for i, future in enumerate(futures):
        loop.call_later(0.5, future.set_result, i)
    done, _ = await asyncio.wait(futures)
    for future in done:
        trace.event("done", future.result())


async def _packets(trace: Trace, loop: SimLoop, seed: int) -> None:
    weather = Weather(loss=0.2, duplicate=0.2, reorder=0.2)
    net = PacketNet(loop, SeededRng(seed, "net"), trace, weather)
    a, b = ("192.0.2.1", 500), ("192.0.2.2", 500)
    net.bind(b, lambda data, path: net.send(b"re: " + data, path))
    net.bind(a, lambda data, path: None)
    for i in range(200):
        net.send(b"%d" % i, Path(a, b))
        await asyncio.sleep(0.001)
    await asyncio.sleep(60)


def digest(seed: int) -> str:
    """The whole run's digest."""

    async def main(loop: SimLoop) -> str:
        trace = Trace(loop)
        await _cancelled_in_some_order(trace, 50)
        await _done_in_some_order(trace, loop, 50)
        await _packets(trace, loop, seed)
        return trace.digest()

    return run(main)


if __name__ == "__main__":
    print(digest(int(sys.argv[1])))
