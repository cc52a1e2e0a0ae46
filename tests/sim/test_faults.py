"""Faults do what they say: a paused process stands still, a killed one is gone."""

import asyncio

import pytest

from cluster.errors import Unavailable, Unknown
from cluster.store import Compare, Put, Target, Txn
from cluster.store_memory import MemoryStore
from tests.sim.loop import Process, SimLoop, run
from tests.sim.net import Weather
from tests.sim.scenarios import Scenario, run_scenario
from tests.sim.seams import SeededRng, SimClock
from tests.sim.store import LATE_S_MAX, FaultyStore
from tests.sim.world import Size, World

CALM = Weather()


def test_a_paused_process_stands_still_and_then_does_everything_in_order():
    async def main(loop: SimLoop):
        process, seen = Process(loop), []

        async def tick() -> None:
            for number in range(4):
                seen.append((number, loop.time() - 1000))
                await asyncio.sleep(1)

        task = loop.create_task(tick(), context=process.context)
        await asyncio.sleep(1.5)
        process.pause()
        loop.call_soon(seen.append, "from outside", context=process.context)
        await asyncio.sleep(10)
        while_paused = list(seen)
        process.go_on()
        await task
        return while_paused, seen

    while_paused, seen = run(main)
    assert while_paused == [(0, 0), (1, 1)]
    assert seen[2:] == ["from outside", (2, 11.5), (3, 12.5)]


def test_a_machine_that_sleeps_finds_its_timers_as_it_left_them():
    async def main(loop: SimLoop):
        process, woke = Process(loop), []

        async def wait(for_s: float) -> None:
            await asyncio.sleep(for_s)
            woke.append((for_s, loop.time() - 1000))

        tasks = [loop.create_task(wait(s), context=process.context) for s in (3.0, 1.0, 20.0)]
        other = loop.create_task(wait(5.0))
        await asyncio.sleep(2)
        process.suspend()
        await asyncio.sleep(10)
        process.go_on()
        await asyncio.gather(*tasks, other)
        return woke

    assert run(main) == [(1.0, 1.0), (5.0, 5.0), (3.0, 13.0), (20.0, 30.0)]


def _play(play, size: Size) -> tuple[str, ...]:
    return run_scenario(Scenario(play, size=size, weather=CALM), 1).findings


def test_a_paused_gateway_says_nothing_and_answers_what_came_meanwhile_when_it_goes_on():
    async def play(world: World) -> None:
        await world.begin()
        await world.connect_all()
        (gateway,), (client,) = world.gateways, world.clients
        gateway.process.pause()
        said, before = gateway.node.gateway.lane.sent, len(client.all("answered"))
        await asyncio.sleep(3)
        if gateway.node.gateway.lane.sent != said:
            world.findings.append("it spoke")
        gateway.process.go_on()
        await asyncio.sleep(0.1)
        if len(client.all("answered")) <= before:
            world.findings.append("it did not answer")

    assert _play(play, Size(gateways=1, clients=1)) == ()


@pytest.mark.parametrize(("at", "durable"), [("before_commit", 0), ("after_commit", 1)])
def test_a_kill_in_a_commit_leaves_it_done_or_undone_and_never_answered(at: str, durable: int):
    async def play(world: World) -> None:
        await world.begin()
        (gateway,), (client,) = world.gateways, world.clients
        setattr(gateway.store, at, gateway.cut_down)
        client.session.start()
        await asyncio.sleep(2)
        if gateway.alive or client.session.established:
            world.findings.append("it lived on, or its client was answered")
        if len(world.ledger.durable_replies) != durable:
            world.findings.append(f"{len(world.ledger.durable_replies)} records were written")

    assert _play(play, Size(gateways=1, clients=1)) == ()


def test_a_late_commit_comes_after_its_caller_gave_up():
    async def main(loop: SimLoop):
        store = MemoryStore(SimClock(loop))
        member = FaultyStore(store, SeededRng(1, "gw1"))
        member.late = 1.0
        with pytest.raises(Unknown):
            await member.commit(Txn((Compare(b"k", Target.VERSION, 0),), (Put(b"k", b"late"),)))
        at_once = await store.get(b"k")
        await asyncio.sleep(LATE_S_MAX + 1)
        return at_once, await store.get(b"k")

    at_once, entry = run(main)
    assert at_once is None
    assert entry.value == b"late"


def test_a_watch_that_breaks_says_unavailable():
    async def main(loop: SimLoop):
        store = MemoryStore(SimClock(loop))
        member = FaultyStore(store, SeededRng(1, "gw1"))
        watching = member.watch(b"k", 1)
        member.break_watches()
        await store.commit(Txn(success=(Put(b"k", b"one"),)))
        first = await anext(watching)
        member.break_watches()
        await store.commit(Txn(success=(Put(b"k", b"two"),)))
        with pytest.raises(Unavailable):
            await anext(watching)
        return first.changes[0].entry.value

    assert run(main) == b"one"


def test_an_orderly_end_gives_the_shards_up_and_a_new_life_takes_them_back():
    async def play(world: World) -> None:
        await world.begin()
        (gateway,) = world.gateways
        gateway.end()
        await world.until(lambda: not gateway.alive, 10, "it did not end")
        if any(record.owner for record in world.ledger.fences.values()):
            world.findings.append("it kept shards")
        await world.start(gateway)
        await world.until(world.all_owned, 10, "it did not take its shards back")

    assert _play(play, Size(gateways=1, clients=0)) == ()
