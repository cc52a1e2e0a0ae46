"""The way to the store is looked at before it is believed: rewound, accepted, retired."""

import asyncio

import pytest

from cluster.conditions import Condition, Conditions
from cluster.errors import Compacted, Conflict, Trouble, Unavailable, Unknown
from cluster.guard import FRESH_S, PROBE_S, Guard
from cluster.layout import ClusterState
from cluster.restore import DELETED_PER_TXN, EPOCH_MAX, UNKNOWN_MAX
from cluster.rewind import Memory
from cluster.state import StateKeeper
from cluster.store import Get, Put, Txn
from tests.sim.store import Snapshot
from tests.unit.cluster.fakes import Fault, FaultyStore
from tests.unit.cluster.members import KEYS, Cluster, simulated

KEY = KEYS.root + b"key"


def put(value: bytes = b"v", key: bytes = KEY) -> Txn:
    return Txn(success=(Put(key, value),))


class Book:
    """A notebook that shows what was written."""

    def __init__(self, memory: Memory | None = None) -> None:
        self.memory = memory
        self.sure: list[Memory] = []

    def read(self) -> Memory | None:
        return self.memory

    def write(self, memory: Memory, *, surely: bool) -> None:
        self.memory = memory
        if surely:
            self.sure.append(memory)


class Bench:
    """A guard over a store that fails, is put back, and has a cluster in it."""

    def __init__(self, cluster: Cluster, book: Book | None = None) -> None:
        self.cluster = cluster
        self.store = FaultyStore(cluster.clock)  # type: ignore[arg-type]
        self.book = book or Book()
        self.guard = self.life()

    def life(self, book: Book | None = None, name: str = "gw1") -> Guard:
        """Another process with the same data directory; with another one if `book` is given."""
        clock, book = self.cluster.clock, book or self.book
        return Guard(
            self.store, KEYS, clock, Conditions(clock), book, me=name, data_dir_id=f"{name}'s"
        )

    async def begin(self) -> None:
        """The cluster is made."""
        keeper = StateKeeper(self.store, KEYS, self.cluster.clock)
        await keeper.load_or_create(16)
        await self.guard.commit(put())
        self.cluster.spawn(self.guard.run(), "look")
        await asyncio.sleep(PROBE_S)

    async def away(self) -> None:
        """The store doesn't answer for a while."""
        self.store.down = True
        await asyncio.sleep(2 * PROBE_S)
        self.store.down = False

    def has(self, condition: Condition) -> bool:
        return condition in [each.condition for each in self.guard.conditions.present()]


# -- a store that went back


@simulated
async def test_trap21_nothing_is_claimed_from_a_store_that_went_back(cluster: Cluster) -> None:
    b = Bench(cluster)
    await b.begin()
    copy = Snapshot(b.store)
    await b.guard.commit(put(b"later"))
    told: list[str] = []
    b.guard.on_rewound.append(told.append)
    b.store.down = True
    await asyncio.sleep(2 * PROBE_S)
    copy.put_back()
    b.store.down = False
    sent = len(b.store.sent)
    with pytest.raises(Unavailable, match="store-rewound") as refused:
        await b.guard.commit(put(b"never"))
    assert [put.key for txn in b.store.sent[sent:] for put in txn.success] == [KEYS.state]
    sent = len(b.store.sent)
    assert refused.value.trouble is Trouble.REWOUND
    for call in (b.guard.get(KEY), b.guard.scan(KEY), b.guard.lease(5), b.guard.mark(KEY)):
        with pytest.raises(Unavailable):
            await call
    assert len(b.store.sent) == sent
    assert b.has(Condition.REWOUND)
    assert not b.guard.answers
    assert len(told) == 1
    await asyncio.sleep(5)
    assert len(told) == 1


@simulated
async def test_the_newest_data_put_back_in_place_is_believed_again(cluster: Cluster) -> None:
    b = Bench(cluster)
    await b.begin()
    old = Snapshot(b.store)
    await b.guard.commit(put(b"later"))
    newest = Snapshot(b.store)
    await b.away()
    old.put_back()
    await asyncio.sleep(2 * PROBE_S)
    assert b.guard.rewound
    newest.put_back()
    await asyncio.sleep(2 * PROBE_S)
    assert not b.guard.rewound
    assert not b.has(Condition.REWOUND)
    assert not b.guard.retired
    assert (await b.guard.commit(put(b"on"))).succeeded


@simulated
async def test_the_next_life_remembers(cluster: Cluster) -> None:
    b = Bench(cluster)
    await b.begin()
    copy = Snapshot(b.store)
    await b.guard.commit(put(b"later"))
    b.guard.write_down()
    copy.put_back()
    life = b.life()
    with pytest.raises(Unavailable, match="store-rewound"):
        await life.get(KEY)


@simulated
async def test_an_answer_out_of_the_past_is_found_though_nothing_had_failed(
    cluster: Cluster,
) -> None:
    """The exchange was too quick for anybody to see the store away."""
    b = Bench(cluster)
    await b.begin()
    copy = Snapshot(b.store)
    for _ in range(3):
        await b.guard.commit(put(b"later"))
    copy.put_back()
    with pytest.raises(Unknown, match="store-rewound"):
        await b.guard.commit(put(b"slipped in"))
    with pytest.raises(Unavailable, match="store-rewound"):
        await b.guard.commit(put())


@simulated
async def test_a_watch_ends_when_the_store_went_back(cluster: Cluster) -> None:
    b = Bench(cluster)
    await b.begin()
    copy = Snapshot(b.store)
    revision = (await b.guard.commit(put(b"later"))).revision
    watching = asyncio.get_running_loop().create_task(anext(b.guard.watch(KEY, revision + 1)))
    await asyncio.sleep(0.1)
    await b.away()
    copy.put_back()
    with pytest.raises(Unavailable, match="not believed"):
        await watching


@simulated
async def test_quiet_makes_the_next_call_ask_first(cluster: Cluster) -> None:
    b = Bench(cluster)
    await b.guard.commit(put())
    marks = b.store.marks
    await b.guard.commit(put())
    assert b.store.marks == marks
    await asyncio.sleep(FRESH_S + 0.1)
    await b.guard.commit(put())
    assert b.store.marks == marks + 1


# -- accepting


@simulated
async def test_accepting_raises_the_epoch_and_takes_everything_of_before_away(
    cluster: Cluster,
) -> None:
    b = Bench(cluster, Book(Memory(0, 1, 4)))
    keeper = StateKeeper(b.store, KEYS, cluster.clock)
    await keeper.load_or_create(16)  # epoch 0: this member has seen 4
    many = DELETED_PER_TXN + 3
    for number in range(many):
        await b.store.commit(put(key=KEYS.session(number.to_bytes(16, "big"))))
    await b.store.commit(put(key=KEYS.record(3, bytes(8))))
    await b.store.commit(put(key=KEYS.address("pool", bytes(4))))
    await b.store.commit(put(key=KEYS.lane("old-0")))
    await b.store.commit(put(key=KEYS.ring))
    await b.store.commit(put(key=KEYS.spi_key))
    await b.store.commit(put(key=KEYS.shard(3)))
    steps: list[str] = []
    assert await b.guard.accept(64, steps.append) == 5
    assert f"sessions of former epochs deleted: {many}" in steps
    left = [e.key for e in (await b.store.scan(KEYS.root)).entries]
    assert left == [KEYS.shard(3), KEYS.state]
    state = await StateKeeper(b.store, KEYS, cluster.clock).load_or_create(64)
    assert (state.epoch, state.shards) == (5, 16)
    assert not b.guard.retired  # nothing of before was in use here
    assert b.book.sure[-1].epoch == 5
    assert await b.guard.get(KEY) is None


@simulated
async def test_a_store_that_is_not_behind_is_not_accepted(cluster: Cluster) -> None:
    b = Bench(cluster)
    await b.begin()
    with pytest.raises(Conflict, match=r"if it answers, isn.t behind: nothing to accept"):
        await b.guard.accept(16, lambda _line: None)
    assert await b.store.get(KEY) is not None


@simulated
async def test_the_last_epoch_is_the_last(cluster: Cluster) -> None:
    b = Bench(cluster, Book(Memory(0, 1000, EPOCH_MAX)))
    with pytest.raises(Conflict, match="the last one"):
        await b.guard.accept(16, lambda _line: None)
    assert await b.store.get(KEYS.state) is None


@simulated
async def test_a_lost_answer_does_not_raise_the_epoch_twice(cluster: Cluster) -> None:
    b = Bench(cluster, Book(Memory(0, 1000, 0)))
    b.store.faults.append(Fault.UNKNOWN_DONE)
    assert await b.guard.accept(16, lambda _line: None) == 1
    state: ClusterState = await StateKeeper(b.store, KEYS, cluster.clock).load_or_create(16)
    assert state.epoch == 1


@simulated
async def test_answers_lost_again_and_again_end_it(cluster: Cluster) -> None:
    b = Bench(cluster, Book(Memory(0, 1000, 0)))
    b.store.faults.extend([Fault.UNKNOWN_LOST] * UNKNOWN_MAX)
    with pytest.raises(Unknown, match="lost again and again"):
        await b.guard.accept(16, lambda _line: None)
    assert len(b.store.sent) == UNKNOWN_MAX
    assert await b.store.get(KEYS.state) is None


@simulated
async def test_what_became_of_the_last_lost_answer_is_asked_too(cluster: Cluster) -> None:
    b = Bench(cluster, Book(Memory(0, 1000, 0)))
    b.store.faults.extend([*[Fault.UNKNOWN_LOST] * (UNKNOWN_MAX - 1), Fault.UNKNOWN_DONE])
    assert await b.guard.accept(16, lambda _line: None) == 1
    assert len(b.store.sent) == UNKNOWN_MAX


@simulated
async def test_a_store_that_goes_away_after_a_lost_answer_leaves_the_epoch_in_doubt(
    cluster: Cluster,
) -> None:
    b = Bench(cluster, Book(Memory(0, 1000, 0)))
    b.store.faults.append(Fault.UNKNOWN_DONE)
    b.store.down_next = True
    with pytest.raises(Unknown, match="the store is down"):
        await b.guard.accept(16, lambda _line: None)


@simulated
async def test_somebody_else_s_change_meanwhile_ends_it(cluster: Cluster) -> None:
    b = Bench(cluster, Book(Memory(0, 1, 4)))
    await StateKeeper(b.store, KEYS, cluster.clock).load_or_create(16)
    entry = await b.store.get(KEYS.state)
    assert entry is not None
    session = KEYS.session(bytes(16))
    await b.store.commit(put(key=session))
    b.store.rival = put(entry.value, KEYS.state)
    with pytest.raises(Conflict, match="somebody else has changed"):
        await b.guard.accept(16, lambda _line: None)
    assert await b.store.get(session) is not None  # it may be of the epoch that has begun


@simulated
async def test_somebody_else_s_change_after_all_is_deleted_ends_it_too(cluster: Cluster) -> None:
    b = Bench(cluster, Book(Memory(0, 1, 4)))
    await StateKeeper(b.store, KEYS, cluster.clock).load_or_create(16)
    entry = await b.store.get(KEYS.state)
    assert entry is not None
    await b.store.commit(put(key=KEYS.ring))
    b.store.rival = put(entry.value, KEYS.state)
    with pytest.raises(Conflict, match="somebody else has changed"):
        await b.guard.accept(16, lambda _line: None)
    assert await b.store.get(KEYS.ring) is not None


@simulated
async def test_who_lived_under_the_former_epoch_begins_anew(cluster: Cluster) -> None:
    b = Bench(cluster)
    await b.begin()
    other = b.life()
    other._memory = None
    copy = Snapshot(b.store)
    await b.guard.commit(put(b"later"))
    await b.away()
    copy.put_back()
    await asyncio.sleep(2 * PROBE_S)
    told: list[str] = []
    b.guard.on_retired.append(told.append)
    await b.guard.accept(16, lambda _line: None)
    await asyncio.sleep(1)
    assert told == ["epoch 1 after 0"]
    sent = len(b.store.sent)
    with pytest.raises(Unavailable, match="over: epoch 1 after 0"):
        await b.guard.commit(put())
    assert len(b.store.sent) == sent
    assert (await b.life().commit(put())).succeeded


# -- what is told


@simulated
async def test_conditions_come_and_go_with_the_answers(cluster: Cluster) -> None:
    b = Bench(cluster)
    await b.begin()
    b.store.down = True
    with pytest.raises(Unavailable):
        await b.guard.get(KEY)
    assert b.has(Condition.NO_ANSWER)
    assert b.guard.failures == 1
    b.store.down = False
    await b.guard.get(KEY)
    assert b.guard.conditions.present() == ()
    assert b.guard.failures == 0


@simulated
async def test_compaction_is_told_and_forgotten(cluster: Cluster) -> None:
    b = Bench(cluster)
    await b.begin()
    await b.store.compact((await b.guard.commit(put())).revision)
    with pytest.raises(Compacted):
        await anext(b.guard.watch(KEY, 1))
    assert b.has(Condition.COMPACTED)
    await asyncio.sleep(61)
    assert b.guard.conditions.present() == ()
    assert b.guard.conditions.compactions == 1


@simulated
async def test_a_write_whose_answer_is_lost_is_named_for_a_minute_after_the_last(
    cluster: Cluster,
) -> None:
    b = Bench(cluster)
    await b.begin()
    for _ in range(2):
        b.store.faults.append(Fault.UNKNOWN_DONE)
        with pytest.raises(Unknown):
            await b.guard.commit(put())
        await b.guard.commit(put())  # that etcd answers again doesn't tell what became of the other
        assert b.has(Condition.UNKNOWN_OUTCOME)
        assert not b.has(Condition.NO_ANSWER)
        await asyncio.sleep(40)
    assert b.has(Condition.UNKNOWN_OUTCOME)
    await asyncio.sleep(25)
    assert b.guard.conditions.present() == ()


@simulated
async def test_a_slow_store_is_named_after_a_few_commits(cluster: Cluster) -> None:
    b = Bench(cluster)
    await b.begin()
    b.store.gate = asyncio.Event()

    async def slow() -> None:
        writing = asyncio.get_running_loop().create_task(b.guard.commit(put()))
        await asyncio.sleep(0.3)
        gate, b.store.gate = b.store.gate, asyncio.Event()
        assert gate is not None
        gate.set()
        await writing

    await slow()
    await slow()
    assert not b.has(Condition.SLOW)
    await slow()
    assert b.has(Condition.SLOW)
    b.store.gate = None
    for _ in range(3):
        await b.guard.commit(Txn((), (Get(KEY),)))
    assert not b.has(Condition.SLOW)
