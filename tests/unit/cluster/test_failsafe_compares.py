"""What each compare of the way back saves: something changes between the look and the write."""

import asyncio

import msgspec
import pytest

from cluster.batch import Op, OpKind, Outcome, Pending
from cluster.errors import Conflict
from cluster.failsafe.bury import RECORDS_PER_TXN, bury
from cluster.failsafe.frames import Claim
from cluster.failsafe.gate import home_order
from cluster.failsafe.ledger import Row
from cluster.failsafe.write import Step, next_step
from cluster.layout import FLUSHING, ClusterState
from cluster.store import Delete, Put, Txn, TxnResult
from tests.unit.cluster.fakes import FaultyStore
from tests.unit.cluster.goers import Goer, in_failsafe, version
from tests.unit.cluster.members import Cluster, simulated
from tests.unit.cluster.test_failsafe_ledger import (
    BIG,
    CHAIN,
    KEYS,
    LEASED,
    SHARD,
    Stored,
    claim,
    op_id,
    spi,
)

# -- the steps of a row


async def too_late(stored: Stored, mine: Claim, *, counted: int = 0) -> None:
    """The next step of `mine` comes to the store after another SA has gone on with the chain;
    `counted`: after it was deleted, and counted up to that again.
    """
    row = Row(mine, ((SHARD, spi(1)),) if mine.spi != spi(1) else ())
    step = next_step(
        KEYS,
        row,
        await stored.store.get(KEYS.session(CHAIN)),
        [await stored.store.get(address) for address in mine.addresses],
        lease_id=0,
        shard_revision=stored.shard_revision,
        shard_of=lambda _spi: SHARD,
        answered=True,
    )
    assert isinstance(step, Step)
    if counted:
        await stored.store.commit(Txn((), (Delete(KEYS.session(CHAIN)),)))
    for _ in range(counted or 1):
        await stored.put(KEYS.session(CHAIN), spi(9) + op_id(BIG + 9))
    await stored.put(KEYS.record(SHARD, spi(9)), b"goes on")
    await stored.put(KEYS.ticket(CHAIN), b"goes on")
    before = (await stored.store.scan(KEYS.root)).entries
    assert not (await stored.store.commit(step.txn)).succeeded
    assert (await stored.store.scan(KEYS.root)).entries == before


@pytest.mark.parametrize(
    ("generation", "sa"), [(2, 1), (3, 2), (4, 2)], ids=["write", "resumption", "two of them"]
)
def test_a_chain_that_goes_on_meanwhile_is_not_taken_from_who_has_it(generation: int, sa: int):
    """The step takes it for that of before: it would name the older SA, or bring its record back,
    though shard and addresses are as they were."""

    async def main() -> None:
        stored = Stored()
        await stored.begin(2, 1, 7)
        await too_late(stored, claim(generation, sa, BIG))

    asyncio.run(main())


@pytest.mark.parametrize(("generation", "sa"), [(2, 1), (3, 2)], ids=["write", "resumption"])
def test_a_chain_that_was_counted_up_again_is_not_taken_for_the_one_before(
    generation: int, sa: int
):
    """Another member had claimed it too, and was right: its version is the same, its SA isn't."""

    async def main() -> None:
        stored = Stored()
        await stored.begin(2, 1, 7)
        await too_late(stored, claim(generation, sa, BIG), counted=2)

    asyncio.run(main())


def test_of_two_claims_only_the_older_one_that_was_seen_is_taken_back():
    """The chain is to be deleted and counted up again: not one that has gone on by then."""

    async def main() -> None:
        stored = Stored()
        await stored.begin(3, 8, 7)
        await too_late(stored, claim(3, 2, BIG))

    asyncio.run(main())


@pytest.mark.parametrize("void", [True, False], ids=["revoked", "address taken"])
def test_a_chain_that_goes_on_meanwhile_is_not_ended(void: bool):
    async def main() -> None:
        stored = Stored()
        await stored.begin(2, 1, 7)
        await stored.put(LEASED, CHAIN if void else b"another")
        await too_late(stored, claim(3, 2, BIG, void=void, addresses=(LEASED,)))

    asyncio.run(main())


# -- what is around the steps


async def one_that_answered(cluster: Cluster) -> Goer:
    """In failsafe, for an SA in a shard of its own, and the store doesn't have it yet."""
    a, *_ = await in_failsafe(cluster)
    shard = await cluster.store.commit(Txn((), (Put(KEYS.shard(SHARD), b"is a's"),)))
    a.owned = shard.revision
    a.answer(1, 2, shard_revision=shard.revision)
    return a


@simulated
async def test_nothing_is_written_by_a_state_that_is_no_longer_in_force(cluster: Cluster) -> None:
    """An operator has accepted the store: chains are gone, and shards are as they were."""
    a = await one_that_answered(cluster)
    accepted = msgspec.structs.replace(a.state.state, epoch=1)
    await cluster.store.commit(Txn((), (Put(KEYS.state, msgspec.json.encode(accepted)),)))
    a.way.away = False  # and its watch has told nothing yet
    with pytest.raises(Conflict, match="state has changed"):
        await a.flush._round([(row, False) for row in a.gate.rows()])
    assert a.state.state.epoch == 0
    assert await version(cluster) == 0
    assert await cluster.store.get(KEYS.record(SHARD, spi(2))) is None


@simulated
async def test_what_one_state_has_decided_is_not_written_by_the_next(cluster: Cluster) -> None:
    """It may have been written off meanwhile, or the store accepted as an older copy."""
    a = await one_that_answered(cluster)
    a.flush_task.cancel()
    a.way.away = False
    await a.state.change(a.state.state, msgspec.structs.replace(a.state.state, epoch=1))
    with pytest.raises(Conflict, match="state has changed"):
        await a.flush._round([(row, False) for row in a.gate.rows()])
    assert await version(cluster) == 0


@simulated
async def test_whose_lease_has_just_ended_does_not_say_that_all_is_normal(
    cluster: Cluster,
) -> None:
    """It doesn't know yet, and the others may rely on new pledges that it was not asked for."""
    a = await Goer(cluster, "a").begin()
    await asyncio.sleep(1)
    a.flush_task.cancel()
    normal = a.state.state
    roster = {"a": a.member.incarnation}
    await a.state.change(normal, msgspec.structs.replace(normal, mode=FLUSHING, roster=roster))
    await a.flush._flush(a.state.state)  # it has been a member since before all words
    await a.flush._stop_and_mark(a.state.state)
    assert a.flush.waited_for(a.state.state) == []
    await cluster.store.commit(Txn((), (Delete(a.member.key),)))
    with pytest.raises(Conflict, match="what it was made from"):
        await a.flush._perhaps_end()
    assert await stored_state(cluster) == a.state.state
    assert a.state.state.mode == FLUSHING


@simulated
async def test_what_was_written_before_its_rule_came_has_begun(cluster: Cluster) -> None:
    """The rule's news overtake the store's answer: ended as refused, the session, its record and
    its addresses were nobody's. Whoever has the SA ends it."""
    goers = {goer.name: goer for goer in await in_failsafe(cluster)}
    home = goers[home_order(CHAIN, goers)[0]]
    shard = await cluster.store.commit(Txn((), (Put(KEYS.shard(SHARD), b"is the home's"),)))
    home.owned = shard.revision
    ended: list[Outcome | None] = []
    pending = Pending(
        Op(OpKind.CREATE, CHAIN, 0, SHARD, spi(2), b"record", None, 1e9),
        lambda _outcome: None, number=1, op_id=bytes(16), shard_revision=shard.revision, epoch=0,
        submitted_s=0.0, sealed=b"sealed",
    )  # fmt: skip
    home.gate.take(pending, lambda _pending, outcome: ended.append(outcome), lambda _pending: True)
    home.gate.stop()
    commit = home.way.commit

    async def overtaken(txn: Txn) -> TxnResult:
        result = await commit(txn)
        if await cluster.store.get(KEYS.session(CHAIN)) is not None:
            home.banned, home.obeyed = CHAIN, 1
        return result

    home.way.commit = overtaken  # type: ignore[method-assign]
    for goer in goers.values():
        goer.way.away = False
    await asyncio.sleep(8)
    assert home.banned == CHAIN
    assert ended == [Outcome.COMMITTED]
    assert await cluster.store.get(KEYS.record(SHARD, spi(2))) is not None


async def stored_state(cluster: Cluster) -> ClusterState:
    entry = await cluster.store.get(KEYS.state)
    assert entry is not None
    return msgspec.json.decode(entry.value, type=ClusterState)


# -- what a former life left


@pytest.mark.parametrize("records", [1, RECORDS_PER_TXN + 1])
def test_of_a_shard_that_another_claims_just_now_nothing_is_deleted(records: int):
    @simulated
    async def play(cluster: Cluster) -> None:
        store = FaultyStore(cluster.clock)  # type: ignore[arg-type]
        mine = b'{"owner":"a","incarnation":"a1","fence":7}'
        await store.commit(Txn((), (Put(KEYS.shard(SHARD), mine),)))
        for number in range(records):
            await store.commit(Txn((), (Put(KEYS.record(SHARD, spi(number)), b"goes on"),)))
        theirs = b'{"owner":"b","incarnation":"b1","fence":8}'
        store.rival = Txn((), (Put(KEYS.shard(SHARD), theirs),))
        await bury(store, KEYS, {"a1": None})
        assert len((await store.scan(KEYS.shard_records(SHARD))).entries) == records
        shard = await store.get(KEYS.shard(SHARD))
        assert shard is not None
        assert shard.value == theirs

    play()
