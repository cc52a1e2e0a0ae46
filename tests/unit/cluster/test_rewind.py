"""What tells a store from an older copy of itself: revision, tally, and the word of who knows."""

import asyncio

import msgspec
import pytest

from cluster.errors import Conflict, LeaseLost, Unavailable
from cluster.guard import PROBE_S, TALLY_S, Guard
from cluster.layout import FORMAT, NORMAL, Behind, ClusterState
from cluster.rewind import NO_EPOCH, Found, Memory, Verdict, judge
from cluster.state import StateKeeper, decode_state
from cluster.store import Put, Txn
from cluster.store_memory import MemoryStore
from cluster.tally import raise_tally, read_tally
from tests.sim.store import Snapshot
from tests.unit.cluster.fakes import Fault
from tests.unit.cluster.members import KEYS, Cluster, simulated
from tests.unit.cluster.test_guard import KEY, Bench, Book, put

MADE_S = 1_790_000_000.0
TOLD = Behind("gw9", "it is at revision 90, after 100", 7, 100, 2)


def state(epoch: int, behind: Behind | None = None, made_s: float = MADE_S) -> ClusterState:
    return ClusterState(FORMAT, NORMAL, epoch, 16, made_s, behind=behind)


# -- the rules

KNOWN = Memory(7, 100, 2, MADE_S, 5)
DOUBTED = Memory(7, 100, 2, MADE_S, 5, "it was at revision 90")
DOUBTED_AND_TOLD = Memory(7, 100, 2, MADE_S, 5, "it was at revision 90", True)


@pytest.mark.parametrize(
    ("memory", "found", "verdict"),
    [
        (KNOWN, Found(7, 100, state(2), 5), Verdict.SAME),
        (KNOWN, Found(7, 101, state(2), 6), Verdict.SAME),
        (KNOWN, Found(7, 99, state(2), 5), Verdict.BEHIND),
        (KNOWN, Found(7, 200, state(2), 4), Verdict.BEHIND),
        (KNOWN, Found(8, 200, state(2), 5), Verdict.BEHIND),
        (KNOWN, Found(7, 200, state(1), 5), Verdict.BEHIND),
        (KNOWN, Found(7, 200, None, 5), Verdict.BEHIND),
        (KNOWN, Found(8, 5, state(3)), Verdict.ACCEPTED),
        (KNOWN, Found(7, 200, state(2, TOLD), 5), Verdict.TOLD),
        (KNOWN, Found(7, 99, state(2, TOLD), 5), Verdict.BEHIND),
        (KNOWN, Found(8, 5, state(3, TOLD)), Verdict.TOLD),
        (DOUBTED, Found(7, 200, state(2), 5), Verdict.BEHIND),
        (DOUBTED, Found(7, 200, state(2, TOLD), 5), Verdict.BEHIND),
        (DOUBTED, Found(8, 5, state(3)), Verdict.ACCEPTED),
        (DOUBTED_AND_TOLD, Found(7, 100, state(2), 5), Verdict.SAME),
        (DOUBTED_AND_TOLD, Found(7, 99, state(2), 5), Verdict.BEHIND),
        (Memory(7, 1, NO_EPOCH), Found(7, 9, state(0)), Verdict.SAME),
    ],
)
def test_what_a_store_is_to_the_one_remembered(
    memory: Memory, found: Found, verdict: Verdict
) -> None:
    judged, why = judge(memory, found)
    assert judged is verdict
    assert bool(why) == (verdict is not Verdict.SAME)


def test_one_that_could_not_be_told_apart_may_have_been_exchanged() -> None:
    assert judge(DOUBTED, Found(7, 100, state(2), 5), exchanged=True)[0] is Verdict.SAME
    assert judge(DOUBTED, Found(7, 99, state(2), 5), exchanged=True)[0] is Verdict.BEHIND


# -- an old copy in which the revision goes on


async def later(b: Bench, commits: int = 3) -> None:
    """What the old copy won't know of."""
    for _ in range(commits):
        await b.guard.commit(put(b"later"))


async def goes_on(b: Bench, commits: int = 20) -> None:
    """Leases run out in the copy, or somebody writes who doesn't know better."""
    for _ in range(commits):
        await MemoryStore.commit(b.store, put(b"somebody"))


async def put_back(b: Bench, copy: Snapshot) -> None:
    await b.away()
    copy.put_back()
    await asyncio.sleep(2 * PROBE_S)


def behind(b: Bench, guard: Guard | None = None) -> bool:
    guard = guard or b.guard
    return bool(guard.rewound) and not guard.answers


@simulated
async def test_an_old_copy_that_goes_on_past_what_was_seen_is_not_believed(
    cluster: Cluster,
) -> None:
    b = Bench(cluster)
    await b.begin()
    copy = Snapshot(b.store)
    await later(b)
    await put_back(b, copy)
    assert behind(b)
    await goes_on(b)
    await asyncio.sleep(5)
    assert behind(b)
    with pytest.raises(Unavailable, match="store-rewound"):
        await b.life().get(KEY)  # nor by the next life
    newcomer = b.life(Book(), "gw2")
    with pytest.raises(Unavailable, match="gw1 says: it is at revision"):
        await newcomer.get(KEY)  # nor by who has seen nothing


@simulated
async def test_an_old_copy_that_has_long_gone_on_is_known_by_the_tally(cluster: Cluster) -> None:
    """Nobody was there who could see how far it was when it came back."""
    b = Bench(cluster)
    await b.begin()
    copy = Snapshot(b.store)
    await asyncio.sleep(2 * TALLY_S)
    b.guard.write_down()
    b.store.down = True
    copy.put_back()
    b.store.down = False
    await goes_on(b, 100)
    with pytest.raises(Unavailable, match="this member's tally there is"):
        await b.life().get(KEY)


@simulated
async def test_the_tally_is_raised_for_ever_and_an_answer_that_was_lost_does_no_harm(
    cluster: Cluster,
) -> None:
    b = Bench(cluster)
    await b.begin()
    await asyncio.sleep(TALLY_S / 2)
    b.store.faults += [Fault.UNKNOWN_DONE, Fault.UNAVAILABLE, Fault.UNKNOWN_LOST]
    await asyncio.sleep(6 * TALLY_S)
    assert not b.store.faults
    assert b.guard.answers
    entry = await b.store.get(KEYS.tally("gw1's"))
    assert entry is not None
    assert b.guard.memory is not None
    assert b.guard.memory.tally == int(entry.value) >= 4


@simulated
async def test_a_tally_that_arrives_late_does_not_make_the_right_store_look_old(
    cluster: Cluster,
) -> None:
    b = Bench(cluster)
    await b.begin()
    b.store.faults.append(Fault.UNKNOWN_LATE)
    await asyncio.sleep(6 * TALLY_S)
    assert await b.store.deliver_late() == [False]
    b.guard.write_down()
    assert await b.life().get(KEY) is not None


@simulated
async def test_a_copy_that_comes_between_look_and_raise_keeps_its_own_tally(
    cluster: Cluster,
) -> None:
    """Else it would have the number that this member remembers, and be believed."""
    b = Bench(cluster)
    await b.begin()
    copy = Snapshot(b.store)
    await asyncio.sleep(4 * TALLY_S)
    key = KEYS.tally("gw1's")
    number, revision = await read_tally(b.store, key)
    copy.put_back()
    await b.store.commit(raise_tally(key, number + 1, revision))
    assert (await read_tally(b.store, key))[0] < number


@simulated
async def test_who_finds_a_store_behind_does_not_undo_that_it_was_accepted_just_now(
    cluster: Cluster,
) -> None:
    b = Bench(cluster)
    await b.begin()
    copy = Snapshot(b.store)
    await later(b)
    read = await b.store.get(KEYS.state)
    assert read is not None
    accepted = msgspec.structs.replace(decode_state(read.value), epoch=1)
    b.store.rival = Txn(success=(Put(KEYS.state, msgspec.json.encode(accepted)),))
    await put_back(b, copy)
    entry = await b.store.get(KEYS.state)
    assert entry is not None
    assert decode_state(entry.value) == accepted


@simulated
async def test_a_copy_that_cant_be_written_to_stays_behind_until_it_was_exchanged(
    cluster: Cluster,
) -> None:
    b = Bench(cluster)
    await b.begin()
    copy = Snapshot(b.store)
    await later(b)
    newest = Snapshot(b.store)
    b.store.faults += [Fault.UNAVAILABLE] * 1000
    await put_back(b, copy)
    assert behind(b)
    await goes_on(b)
    await asyncio.sleep(5)
    assert behind(b)
    with pytest.raises(Unavailable, match="store-rewound"):
        await b.life().get(KEY)
    await put_back(b, newest)
    assert not behind(b)
    b.store.faults.clear()
    assert (await b.guard.commit(put(b"on"))).succeeded


@simulated
async def test_what_another_store_answers_than_the_one_that_was_asked_is_not_believed(
    cluster: Cluster,
) -> None:
    """A call is repeated until it is answered: by the copy, perhaps, that has come meanwhile."""
    b = Bench(cluster)
    await b.begin()
    copy = Snapshot(b.store)
    lease = await b.guard.lease(60)
    await later(b)
    b.store.read_gate = asyncio.Event()
    reading = asyncio.get_running_loop().create_task(b.guard.get(KEY))
    await asyncio.sleep(0.3)
    copy.put_back()
    b.store.read_gate.set()
    with pytest.raises(Unavailable, match="store-rewound"):
        await reading
    with pytest.raises(Unavailable, match="store-rewound"):
        await lease.keep_alive()


@simulated
async def test_word_that_a_lease_is_lost_is_not_the_copys_to_give(cluster: Cluster) -> None:
    b = Bench(cluster)
    await b.begin()
    copy = Snapshot(b.store)
    lease = await b.guard.lease(60)
    await later(b)
    copy.put_back()  # too quick for anybody to see the store away
    with pytest.raises(Unavailable, match="store-rewound"):
        await lease.keep_alive()


@simulated
async def test_a_lease_that_is_lost_is_told(cluster: Cluster) -> None:
    b = Bench(cluster)
    await b.begin()
    lease = await b.guard.lease(60)
    await lease.revoke()
    with pytest.raises(LeaseLost):
        await lease.keep_alive()
    assert b.guard.answers


# -- who has seen nothing, or too little


@simulated
async def test_what_others_have_seen_counts(cluster: Cluster) -> None:
    b = Bench(cluster)
    await b.begin()
    copy = Snapshot(b.store)
    await later(b)
    memory = b.guard.memory
    assert memory is not None
    other = b.life(Book(), "gw2")
    copy.put_back()
    assert await other.get(KEY) is not None
    other.heard(memory.cluster_id, memory.epoch + 1, memory.revision)
    other.heard(memory.cluster_id + 1, memory.epoch, memory.revision)
    other.doubt()
    assert await other.get(KEY) is not None  # that was about other stores
    other.heard(memory.cluster_id, memory.epoch, memory.revision)
    other.doubt()
    with pytest.raises(Unavailable, match="it is at revision"):
        await other.get(KEY)


@simulated
async def test_who_went_on_in_an_old_copy_begins_anew_when_the_right_data_are_back(
    cluster: Cluster,
) -> None:
    b = Bench(cluster)
    await b.begin()
    copy = Snapshot(b.store)
    await asyncio.sleep(2 * TALLY_S)
    newest = Snapshot(b.store)
    copy.put_back()  # too quick for anybody to see the store away
    book = Book()
    misled = b.life(book, "gw2")
    cluster.spawn(misled.run(), "look of gw2")
    for _ in range(50):
        await misled.commit(put(b"astray"))
    await asyncio.sleep(TALLY_S + 2 * PROBE_S)
    assert behind(b)
    misled.doubt()  # as when it sees the cluster's state change
    await asyncio.sleep(2 * PROBE_S)
    assert behind(b, misled)
    assert b.guard.memory is not None
    assert book.memory is not None
    assert book.memory.revision == b.guard.memory.revision  # not how far it went astray
    told: list[str] = []
    misled.on_retired.append(told.append)
    await put_back(b, newest)
    assert not behind(b)
    assert not b.guard.retired
    assert told == ["the right data are back in the place of an older copy"]
    assert (await b.life(book, "gw2").commit(put(b"on"))).succeeded


@simulated
async def test_a_newcomer_accepts_under_an_epoch_that_is_above_every_one_seen(
    cluster: Cluster,
) -> None:
    b = Bench(cluster, Book(Memory(0, 1, 4)))
    await StateKeeper(b.store, KEYS, cluster.clock).load_or_create(16)
    with pytest.raises(Unavailable, match="after epoch 4"):
        await b.guard.get(KEY)
    newcomer = b.life(Book(), "gw2")
    assert await newcomer.accept(16, lambda _line: None) == 5
    entry = await b.store.get(KEYS.state)
    assert entry is not None
    assert decode_state(entry.value).behind is None
    await b.guard.get(KEY)


@simulated
async def test_another_clusters_store_is_left_alone(cluster: Cluster) -> None:
    """A gateway whose file names the wrong etcd: that one isn't behind, it is another."""
    b = Bench(cluster, Book(Memory(99, 1_000, 0, MADE_S - 5)))
    await StateKeeper(b.store, KEYS, cluster.clock).load_or_create(16)
    with pytest.raises(Unavailable, match="cluster id"):
        await b.guard.get(KEY)
    assert len(b.store.sent) == 1, "nothing was written there but the state"
    copied = Bench(cluster, Book(Memory(99, 1_000, 0, cluster.clock.wall_s())))
    await StateKeeper(copied.store, KEYS, cluster.clock).load_or_create(16)
    with pytest.raises(Unavailable, match="cluster id"):
        await copied.guard.get(KEY)  # the same cluster's, restored as another etcd cluster
    with pytest.raises(Unavailable, match="gw1 says: it has cluster id"):
        await copied.life(Book(), "gw2").get(KEY)
    with pytest.raises(Conflict, match="nothing to accept"):
        await b.life(Book(), "gw3").accept(16, lambda _line: None)
