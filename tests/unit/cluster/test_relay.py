"""Calls through another member: which way is taken, what a lost frame means, what isn't served."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine

import pytest

from cluster.conditions import Condition
from cluster.errors import LeaseLost, Unavailable, Unknown
from cluster.link import Relay
from cluster.relay import FAILURES, SUCCESSES
from cluster.relay_server import WATCH_KEPT_S, WATCHES_MAX
from cluster.relay_wire import (
    PIECE_OCTETS,
    PIECES_MAX,
    UNFINISHED_MAX,
    Assembly,
    CommitCall,
    Failed,
    WatchCall,
    decode_answer,
    decode_call,
    pieces,
    within,
)
from cluster.store import Compare, Delete, Get, Put, Target, Txn
from cluster.store_memory import MemoryStore
from tests.contract.relays import KEYS, RelayPair
from tests.sim.loop import SimLoop, run
from tests.sim.seams import SeededRng, SimClock
from tests.sim.store import FaultyStore

KEY = KEYS.root + b"key"


def put(value: bytes = b"v", key: bytes = KEY) -> Txn:
    return Txn(success=(Put(key, value),))


def conditions(b: "Bench") -> list[Condition]:
    return [each.condition for each in b.pair.direct.conditions.present()]


class Bench:
    """gw1 and gw2 before one store; each has a way that can be cut."""

    def __init__(self, loop: SimLoop) -> None:
        self.clock = SimClock(loop)
        self.shared = MemoryStore(self.clock)
        self.own = FaultyStore(self.shared, SeededRng(1, "gw1"))
        self.other = FaultyStore(self.shared, SeededRng(1, "gw2"))
        self.pair = RelayPair(self.own, self.other, self.clock, SeededRng(1, "numbers"))
        self.store = self.pair.store
        self._relayed = asyncio.Event()
        self.store.on_via.append(lambda _via: self._relayed.set())
        self.pair.spawn(self.pair.direct.run(), "gw1 looks")
        self.pair.spawn(self.pair.theirs.run(), "gw2 looks")

    async def cut(self) -> None:
        """gw1 loses the store, and finds the way through gw2."""
        await asyncio.sleep(1)
        self.own.set_reachable(False)
        async with asyncio.timeout(10):
            await self._relayed.wait()


def bench(test: Callable[[Bench], Coroutine[object, object, None]]) -> Callable[[], None]:
    async def main(loop: SimLoop) -> None:
        made = Bench(loop)
        await test(made)
        await made.pair.close()

    def wrapper() -> None:
        run(main)

    wrapper.__name__ = test.__name__
    wrapper.__doc__ = inspect.getdoc(test)
    return wrapper


# -- which way


@bench
async def test_the_way_is_left_after_failures_and_taken_again_after_answers(b: Bench) -> None:
    ways: list[str] = []
    b.store.on_via.append(ways.append)
    await b.cut()
    assert b.pair.direct.failures >= FAILURES
    assert (await b.store.commit(put())).succeeded
    b.own.set_reachable(True)
    await asyncio.sleep(0.6)
    assert b.store.via == "gw2"  # one answer is not enough
    await asyncio.sleep(SUCCESSES)
    assert ways == ["gw2", ""]
    before = b.pair.asks.sent
    assert (await b.store.get(KEY)) is not None
    assert b.pair.asks.sent == before


@bench
async def test_without_another_member_the_own_way_is_tried_on(b: Bench) -> None:
    b.pair.willing = []
    b.own.set_reachable(False)
    await asyncio.sleep(5)
    assert b.store.via == ""
    with pytest.raises(Unavailable):
        await b.store.get(KEY)


@bench
async def test_a_read_under_way_is_made_again_on_the_new_way(b: Bench) -> None:
    await b.shared.commit(put(b"found"))
    await asyncio.sleep(1)
    lease = await b.store.lease(30)
    b.own.latency_s = 60.0
    reading = asyncio.get_running_loop().create_task(b.store.get(KEY))
    await asyncio.sleep(0.1)
    b.store._go("gw2")
    entry = await reading
    assert entry is not None
    assert entry.value == b"found"
    assert await lease.keep_alive() == 30


@bench
async def test_a_commit_under_way_is_in_doubt_when_the_way_changes(b: Bench) -> None:
    await asyncio.sleep(1)
    b.own.latency_s = 60.0
    writing = asyncio.get_running_loop().create_task(b.store.commit(put()))
    await asyncio.sleep(0.1)
    b.store._go("gw2")
    with pytest.raises(Unknown):
        await writing
    assert Condition.UNKNOWN_OUTCOME in conditions(b)


# -- what is lost


@bench
async def test_a_lost_answer_of_a_commit_is_in_doubt_and_the_deed_is_done(b: Bench) -> None:
    await b.cut()
    b.pair.serves.lose = lambda frame: frame.back
    with pytest.raises(Unknown):
        await b.store.commit(put(b"done"))
    assert Condition.UNKNOWN_OUTCOME in conditions(b)
    entry = await b.shared.get(KEY)
    assert entry is not None
    assert entry.value == b"done"


@bench
async def test_a_call_that_cannot_leave_has_done_nothing(b: Bench) -> None:
    await b.cut()
    b.pair.asks.full = True
    with pytest.raises(Unavailable):
        await b.store.commit(put())
    assert await b.shared.get(KEY) is None


@bench
async def test_a_watch_misses_nothing_when_batches_are_lost(b: Bench) -> None:
    await b.cut()
    seen: list[bytes] = []

    async def watch() -> None:
        async for changes in b.store.watch(KEYS.root, 1):
            seen.extend(change.entry.value for change in changes.changes)

    b.pair.spawn(watch(), "watch")
    await b.shared.commit(put(b"1"))
    await asyncio.sleep(0.1)
    assert seen == [b"1"]
    b.pair.serves.lose = lambda frame: frame.back
    await b.shared.commit(put(b"2"))
    await asyncio.sleep(0.1)
    b.pair.serves.lose = lambda _frame: False
    await asyncio.sleep(3)
    assert seen == [b"1", b"2"]  # nothing came after it: the word "up to here" tells
    b.pair.serves.lose = lambda frame: frame.back
    await b.shared.commit(put(b"3"))
    await asyncio.sleep(0.1)
    b.pair.serves.lose = lambda _frame: False
    await b.shared.commit(put(b"4"))
    b.own.set_reachable(True)
    await asyncio.sleep(5)
    await b.shared.commit(put(b"5"))
    await asyncio.sleep(0.1)
    assert seen == [b"1", b"2", b"3", b"4", b"5"]


@bench
async def test_a_watch_with_steady_news_is_held_on_to(b: Bench) -> None:
    await b.cut()
    clock = b.clock
    late_s: list[float] = []
    held: set[tuple[str, int]] = set()

    async def watch() -> None:
        async for changes in b.store.watch(KEYS.root, 1):
            for change in changes.changes:
                late_s.append(clock.boot_s() - float(change.entry.value))

    b.pair.spawn(watch(), "watch")
    for _ in range(60):
        await b.shared.commit(put(b"%f" % clock.boot_s()))
        await asyncio.sleep(0.5)
        held.update(b.pair.server._watches)
    assert len(late_s) == 60
    assert max(late_s) < 0.2
    assert len(held) == 1


@bench
async def test_a_watch_is_held_on_to_while_its_reader_is_behind(b: Bench) -> None:
    await b.cut()
    seen: list[bytes] = []
    held: set[tuple[str, int]] = set()

    async def watch() -> None:
        async for changes in b.store.watch(KEYS.root, 1):
            seen.extend(change.entry.value for change in changes.changes)
            await asyncio.sleep(1.2)

    b.pair.spawn(watch(), "watch")
    await asyncio.sleep(0.1)
    for number in range(20):
        await b.shared.commit(put(b"%d" % number))
        await asyncio.sleep(0.01)
    for _ in range(60):
        await asyncio.sleep(0.5)
        held.update(b.pair.server._watches)
    assert seen == [b"%d" % number for number in range(20)]
    assert len(held) == 1


@bench
async def test_a_large_scan_comes_in_pieces_and_one_that_lacks_a_piece_does_not_come(
    b: Bench,
) -> None:
    for number in range(10):
        await b.shared.commit(put(bytes(PIECE_OCTETS // 3), KEYS.root + b"%d" % number))
    await b.cut()
    found = await b.store.scan(KEYS.root)
    assert [entry.key for entry in found.entries] == [KEYS.root + b"%d" % n for n in range(10)]
    b.pair.serves.lose = lambda frame: frame.back and frame.part == 1
    with pytest.raises(Unavailable):
        await b.store.scan(KEYS.root)


# -- what isn't served


@bench
async def test_a_relay_makes_no_chain(b: Bench) -> None:
    """gw2, cut off as well, could go through gw3: for gw1 it doesn't."""
    await b.cut()
    b.other.set_reachable(False)
    await asyncio.sleep(3)
    b.store._go("gw2")
    with pytest.raises(Unavailable, match="here either"):
        await b.store.get(KEY)


@bench
async def test_who_relays_and_is_in_doubt_asks_instead_of_refusing(b: Bench) -> None:
    await b.cut()
    b.pair.theirs.doubt()  # as at each change of the cluster's state
    assert not b.pair.theirs.answers
    assert (await b.store.commit(put())).succeeded
    assert b.store.via == "gw2"


@bench
async def test_other_clusters_keys_are_not_touched(b: Bench) -> None:
    await b.cut()
    for call in (
        b.store.get(b"/standfast/another/state"),
        b.store.scan(b"/standfast/"),
        b.store.commit(put(key=b"/standfast/another/ring")),
        b.store.commit(Txn((), (Txn((), (Delete(b"/x"),)),))),
    ):
        with pytest.raises(ValueError, match="outside"):
            await call


@bench
async def test_a_store_behind_what_the_asker_has_seen_is_not_used(b: Bench) -> None:
    await b.cut()
    b.pair.direct.saw(1000)
    with pytest.raises(Unavailable, match="after 1000"):
        await b.store.commit(put())
    assert await b.shared.get(KEY) is None


@bench
async def test_a_lost_lease_is_lost_through_another_member_too(b: Bench) -> None:
    await asyncio.sleep(1)
    lease = await b.store.lease(30)
    await b.cut()
    assert await lease.keep_alive() == 30
    b.shared.revoke(lease.lease_id)
    with pytest.raises(LeaseLost):
        await lease.keep_alive()


# -- bounds


@bench
async def test_watches_for_others_are_bounded_and_end_with_their_asker(b: Bench) -> None:
    await asyncio.sleep(1)
    server, said = b.pair.server, []

    def hear(_sender: str, frame: Relay) -> None:
        said.append(decode_answer(frame.octets))

    b.pair.asks.handler = hear
    for number in range(WATCHES_MAX + 1):
        for frame in pieces(number, WatchCall(KEYS.root, 1, 0), back=False):
            server.receive("gw1", frame)
    await asyncio.sleep(0.1)
    assert server.watches == WATCHES_MAX
    assert [type(answer) for answer in said] == [Failed]
    await asyncio.sleep(WATCH_KEPT_S + 1)
    assert server.watches == 0


def test_messages_that_are_never_finished_are_forgotten() -> None:
    assembly = Assembly()
    for number in range(UNFINISHED_MAX + 5):
        assert assembly.take(Relay(number, 0, 2, b"half")) is None
    assert len(assembly) == UNFINISHED_MAX
    assert assembly.take(Relay(0, 1, 2, b"late")) is None
    assert assembly.take(Relay(UNFINISHED_MAX, 1, 2, b" and half")) == b"half and half"


@pytest.mark.parametrize(
    "frame",
    [
        Relay(1, 0, PIECES_MAX + 1, b""),
        Relay(1, 2, 2, b""),
        Relay(1, -1, 2, b""),
        Relay(1, 0, 1, bytes(PIECE_OCTETS + 1)),
    ],
)
def test_a_frame_against_the_bounds_is_dropped(frame: Relay) -> None:
    assembly = Assembly()
    assert assembly.take(frame) is None
    assert len(assembly) == 0


def test_a_transaction_is_within_its_cluster_down_to_the_last_key() -> None:
    inside = KEYS.root + b"a"
    for txn in (
        Txn((Compare(b"/other", Target.VERSION, 0),)),
        Txn((), (), (Get(b"/other"),)),
        Txn((), (Txn((), (Put(inside, b""), Delete(b"/other"))),)),
    ):
        assert not within(txn, KEYS.root)
    assert within(Txn((Compare(inside, Target.VERSION, 0),), (Put(inside, b""),)), KEYS.root)


def test_a_transaction_travels_as_it_is() -> None:
    txn = Txn(
        (Compare(KEY, Target.MOD_REVISION, 7),),
        (Put(KEY, b"\x00\xff", 5), Txn((), (Delete(KEY),), (Get(KEY),))),
        (Get(KEY),),
    )
    sent = CommitCall(txn, 3)
    frames = list(pieces(9, sent, back=False))
    whole = Assembly().take(frames[0])
    assert whole is not None
    assert decode_call(whole) == sent
