"""The audit goes on, whatever the store says."""

import asyncio

import pytest

from cluster.layout import Keys
from node.audit import CYCLE_S, Audit
from proto.ike.core import SaCore, State
from tests.sim.loop import run
from tests.unit.cluster.fakes import FaultyStore, LoopClock

HELD = SaCore(State.ESTABLISHED, False, b"spi-of-i", b"spi-of-r", chain=b"c" * 16)


@pytest.mark.parametrize("down", [True, False], ids=["away", "behind"])
def test_a_round_that_is_told_nothing_is_left_out(down: bool) -> None:
    async def play(loop: asyncio.AbstractEventLoop) -> None:
        store, dropped = FaultyStore(LoopClock()), list[bytes]()
        store.down, store.behind = down, not down
        audit = Audit(
            store,
            Keys("test"),
            shard_of=lambda spi: 1,
            at_rest=lambda: [HELD],
            drop=lambda spi, why: dropped.append(spi),
        )
        task = loop.create_task(audit.run())
        await asyncio.sleep(1.5 * CYCLE_S)
        assert not task.done()
        assert dropped == []
        store.down = store.behind = False
        await asyncio.sleep(2 * CYCLE_S)
        assert dropped == [HELD.spi]  # neither chain nor record is there, twice
        task.cancel()
        await asyncio.wait((task,))

    run(play)
