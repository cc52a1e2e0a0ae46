"""The way back, between members on virtual time: who marks what when, and who is waited for."""

import asyncio

import msgspec
import pytest

from cluster.batch import RECORD_OCTETS_MAX, Op, OpKind, Outcome, Pending
from cluster.errors import Conflict
from cluster.failsafe.flush import ROWS_PER_TXN
from cluster.failsafe.gate import home_order
from cluster.failsafe.pledge import Given
from cluster.layout import FLUSHING, NORMAL
from cluster.store import Put, Txn
from tests.unit.cluster.goers import Goer, in_failsafe, until, version
from tests.unit.cluster.members import KEYS, Cluster, simulated
from tests.unit.cluster.test_failsafe_ledger import BIG, CHAIN, claim, op_id, other, spi


@simulated
async def test_all_write_then_all_is_normal(cluster: Cluster) -> None:
    a, b, _ = goers = await in_failsafe(cluster)
    b.answer(3, 2)
    a.way.away = False
    await asyncio.sleep(3)
    assert a.state.state.mode == FLUSHING  # the others aren't there
    assert a.gate.open
    for goer in goers:
        goer.way.away = False
    await asyncio.sleep(5)
    assert await version(cluster) == 3
    for goer in goers:
        assert (goer.state.state.mode, goer.outage.failsafe, goer.gate.open) == (
            NORMAL, False, False,
        )  # fmt: skip
        assert (dict(goer.outage.given), goer.gate.begun_ledger) == ({}, None)


@simulated
async def test_a_chain_that_went_on_meanwhile_was_not_used_twice(cluster: Cluster) -> None:
    a, b, _ = await in_failsafe(cluster)
    a.answer(3, 2)
    rows = [(row, False) for row in a.gate.rows()]
    newer = claim(4, 5, BIG + 4, owner="b", incarnation=b.member.incarnation)
    assert a.gate.ledger.keep(newer)  # b has taken the chain on, and wrote it first
    for _generation in range(4):
        put = Put(KEYS.session(CHAIN), newer.spi + newer.op_id)
        await cluster.store.commit(Txn((), (put,)))
    a.way.away = False
    assert await a.flush._round(rows) == []
    assert "twice" not in a.told
    assert await version(cluster) == 4


@simulated
async def test_an_sa_that_loses_its_chain_is_dropped_wherever_it_is(cluster: Cluster) -> None:
    a, b, c = await in_failsafe(cluster)
    a.answer(2, 2)
    elsewhere = spi(9) + bytes(16)  # the same ticket was used in the store, by nobody of these
    for _generation in range(2):
        await cluster.store.commit(Txn((), (Put(KEYS.session(CHAIN), elsewhere),)))
    for goer in (a, b, c):
        goer.way.away = False
    await asyncio.sleep(5)
    assert await version(cluster) == 2
    assert a.told[0] == "twice"
    assert a.dropped[0] == (spi(9), "resumed elsewhere")


@simulated
async def test_what_nobody_was_answered_for_takes_no_chain_away(cluster: Cluster) -> None:
    goers = {goer.name: goer for goer in await in_failsafe(cluster)}
    home = goers[home_order(CHAIN, goers)[0]]
    ended: list[Outcome | None] = []
    op = Op(OpKind.REDEEM, CHAIN, 1, 3, spi(2), b"record", None, 1e9, issued_wall_s=1.0)
    pending = Pending(
        op, lambda _outcome: None, number=1, op_id=bytes(16), shard_revision=1, epoch=0,
        submitted_s=0.0, sealed=b"sealed",
    )  # fmt: skip
    home.gate.take(pending, lambda _pending, outcome: ended.append(outcome), lambda _pending: True)
    home.gate.stop()  # begun, and nobody has said yet that he keeps it
    assert ended == []
    elsewhere = spi(9) + bytes(16)  # the same ticket was used in the store, by nobody of these
    for _generation in range(2):
        await cluster.store.commit(Txn((), (Put(KEYS.session(CHAIN), elsewhere),)))
    for goer in goers.values():
        goer.way.away = False
    await asyncio.sleep(5)
    session = await cluster.store.get(KEYS.session(CHAIN))
    assert session is not None
    assert (session.version, session.value) == (2, elsewhere)
    assert ended == [Outcome.SUPERSEDED]
    assert "twice" not in home.told


@simulated
async def test_a_session_whose_internal_address_is_anothers_ends(cluster: Cluster) -> None:
    a, b, c = await in_failsafe(cluster)
    address = KEYS.address("inner", bytes(4))
    await cluster.store.commit(Txn((), (Put(address, b"another"),)))
    a.answer(1, 2, addresses=(address,))
    for goer in (a, b, c):
        goer.way.away = False
    await asyncio.sleep(5)
    assert [g.state.state.mode for g in (a, b, c)] == [NORMAL] * 3
    assert await version(cluster) == 0
    found = await cluster.store.get(address)
    assert found is not None
    assert found.value == b"another"
    assert a.dropped == [(spi(2), "its internal address is another session's")]


@simulated
async def test_who_is_lost_is_waited_for_until_it_is_written_off(cluster: Cluster) -> None:
    a, b, c = await in_failsafe(cluster)
    b.answer(2, 2)
    lost = claim(2, 2, BIG + 2, owner="b", incarnation=b.member.incarnation)
    assert a.gate.ledger.keep(lost)
    b.kill()
    await asyncio.sleep(20)
    with pytest.raises(Conflict, match="b was a member when the store last answered"):
        await a.flush.write_off("b")  # whether it lives isn't known
    a.way.away = c.way.away = False
    await asyncio.sleep(20)
    assert a.state.state.mode == FLUSHING
    assert a.gate.open
    with pytest.raises(Conflict, match="lives"):
        await a.flush.write_off("c")
    with pytest.raises(Conflict, match="nothing waits"):
        await a.flush.write_off("z")
    await c.flush.write_off("b")
    await asyncio.sleep(3)
    assert (a.state.state.mode, c.state.state.mode) == (NORMAL, NORMAL)
    assert await version(cluster) == 2
    assert (await cluster.store.get(KEYS.record(3, spi(2)))) is None
    assert a.told == ["void"]
    assert dict(a.outage.given) == dict(c.outage.given) == {}


@simulated
async def test_who_is_heard_is_not_written_off_though_the_store_does_not_have_it(
    cluster: Cluster,
) -> None:
    a, b, c = await in_failsafe(cluster)
    a.way.away = c.way.away = False  # b's lease runs out in the store meanwhile
    await until(lambda: a.state.state.mode == FLUSHING and "b" not in a.member.members)
    with pytest.raises(Conflict, match="b lives: it is heard"):
        await a.flush.write_off("b")
    b.way.away = False
    await until(lambda: a.state.state.mode == NORMAL)
    assert not a.state.state.lost
    assert "void" not in [*a.told, *b.told, *c.told]


@simulated
async def test_a_restarted_member_says_that_its_former_life_is_lost(cluster: Cluster) -> None:
    a, b, c = await in_failsafe(cluster)
    lost = claim(1, 2, BIG + 2, owner="b", incarnation=b.member.incarnation)
    assert c.gate.ledger.keep(lost)
    b.kill()
    a.way.away = c.way.away = False
    await asyncio.sleep(5)
    assert a.state.state.mode == FLUSHING
    again = await Goer(cluster, "b", 2, b.book).begin()
    await asyncio.sleep(5)
    assert [g.state.state.mode for g in (a, again, c)] == [NORMAL] * 3
    assert await version(cluster) == 1
    assert dict(again.outage.given) == {}


@simulated
async def test_one_that_dies_before_it_has_written_lets_the_others_go_on(cluster: Cluster) -> None:
    a, b, c = await in_failsafe(cluster)
    a.way.away = c.way.away = False
    state = a.state.state
    b.kill()
    await asyncio.sleep(6)
    state = a.state.state
    marks = msgspec.structs.replace(state, through={"a": 1, "c": 1})
    await a.state.change(state, marks)
    a.gate.stop()
    c.gate.stop()
    await asyncio.sleep(3)
    assert (a.state.state.through, a.gate.open, c.gate.open) == ({}, True, True)


@simulated
async def test_a_pledge_to_one_that_is_gone_ends_with_its_writing_off(cluster: Cluster) -> None:
    a = await Goer(cluster, "a").begin()
    b = await Goer(cluster, "b").begin()
    a.outage.pledges.given["z"] = Given("z1", 1, "nowhere:1")
    await asyncio.sleep(1)
    await b.flush.write_off("z") if "z" in b.outage.given else await a.flush.write_off("z")
    await asyncio.sleep(2)
    assert dict(a.outage.given) == {}
    assert (a.state.state.mode, b.state.state.mode) == (NORMAL, NORMAL)


@simulated
async def test_a_state_made_from_an_older_one_does_not_undo_what_came_between(
    cluster: Cluster,
) -> None:
    a = await Goer(cluster, "a").begin()
    older = a.state.state
    await a.state.change(older, msgspec.structs.replace(older, lost={"z": "z1"}))
    with pytest.raises(Conflict):
        await a.state.change(older, msgspec.structs.replace(older, through={"a": 1}))
    assert (a.state.state.lost, a.state.state.through) == ({"z": "z1"}, {})


@simulated
async def test_who_pledged_does_not_begin_anew_before_the_pledgee_knows_that_it_is_over(
    cluster: Cluster,
) -> None:
    a, b, c = await in_failsafe(cluster)
    for goer in (b, c):
        goer.kill()
    a.way.away = False
    await asyncio.sleep(1)
    again = []
    for goer in (b, c):  # each looks at a moment of its own, between two looks of the pledgee
        again.append(await Goer(cluster, goer.name, 2, goer.book).begin())
        await asyncio.sleep(0.03)
    await asyncio.sleep(20)
    assert [g.state.state.mode for g in (a, *again)] == [NORMAL] * 3
    assert not a.outage.failsafe
    assert [dict(g.outage.given) for g in again] == [{}, {}]


@simulated
async def test_a_life_that_is_over_can_be_written_off_under_a_name_that_lives(
    cluster: Cluster,
) -> None:
    a = await Goer(cluster, "a").begin()
    b = await Goer(cluster, "b", 2).begin()
    a.outage.pledges.given["b"] = Given("former life", 1, "nowhere:1")
    await a.flush.write_off("b")
    await asyncio.sleep(2)
    assert dict(a.outage.given) == {}
    assert (a.state.state.mode, b.state.state.mode) == (NORMAL, NORMAL)


@simulated
async def test_a_record_is_not_written_under_a_fence_that_came_after_it(cluster: Cluster) -> None:
    a, b, c = await in_failsafe(cluster)
    revisions = []
    for fence in (b"1", b"2"):  # the shard was another's meanwhile
        done = await cluster.store.commit(Txn((), (Put(KEYS.shard(3), fence),)))
        revisions.append(done.revision)
    b.owned = revisions[1]
    b.answer(1, 2, shard_revision=revisions[0])
    for goer in (a, b, c):
        goer.way.away = False
    await asyncio.sleep(5)
    assert b.state.state.mode == NORMAL
    assert await version(cluster) == 1
    assert await cluster.store.get(KEYS.record(3, spi(2))) is None
    assert b.told == ["void"]


@simulated
async def test_what_none_goes_through_of_is_not_tried_again_without_a_pause(
    cluster: Cluster,
) -> None:
    """Nothing of a round went through: what is known here is old, and news take their time."""
    a, _, _ = await in_failsafe(cluster)
    shard = await cluster.store.commit(Txn((), (Put(KEYS.shard(3), b"was a's"),)))
    a.owned = shard.revision
    a.answer(2, 2, shard=3, record=b"sealed", shard_revision=shard.revision)
    await cluster.store.commit(Txn((), (Put(KEYS.session(CHAIN), spi(1) + bytes(16)),)))
    await cluster.store.commit(Txn((), (Put(KEYS.shard(3), b"is b's"),)))
    a.way.away = False
    with pytest.raises(Conflict, match="other owners"):
        await a.flush._round([(row, False) for row in a.gate.rows()])
    a.owned = None
    assert await a.flush._round([(row, False) for row in a.gate.rows()]) == []
    assert await version(cluster) == 2


@simulated
async def test_who_starts_holds_to_the_pledges_of_those_that_it_hears(cluster: Cluster) -> None:
    a, b = [await Goer(cluster, name).begin() for name in ("a", "b")]
    await asyncio.sleep(1)
    a.way.away = b.way.away = True
    await asyncio.sleep(8)  # the store has forgotten them
    assert a.outage.failsafe
    assert b.outage.failsafe
    cluster.net.cut("c", "b")
    c = Goer(cluster, "c")
    c.beats.also = lambda: {"a": "a:7401", "b": "b:7401"}
    turning_up = True
    c.outage.listens = lambda: turning_up
    await c.begin()
    assert c.outage.restrained()
    turning_up = False
    assert not c.outage.restrained()
    assert c.outage.may_claim_from("a")
    await asyncio.sleep(1)
    assert c.outage.restrained()
    assert not c.outage.may_claim_from("a")
    assert not c.outage.may_claim_from("b")  # which a relies on; c doesn't hear it
    assert c.outage.may_claim_from("z")
    a.way.away = b.way.away = False
    await asyncio.sleep(8)
    assert (a.outage.failsafe, b.outage.failsafe) == (False, False)
    assert not c.outage.restrained()
    assert c.outage.may_claim_from("a")
    assert c.outage.may_claim_from("b")


@simulated
async def test_what_was_revoked_meanwhile_is_written_as_ended(cluster: Cluster) -> None:
    a, b, c = await in_failsafe(cluster)
    done = await cluster.store.commit(Txn((), (Put(KEYS.shard(3), b"1"),)))
    b.owned = done.revision
    b.answer(1, 2, shard_revision=done.revision)
    b.banned = CHAIN
    await cluster.store.commit(Txn((), (Put(KEYS.watermark, b"a rule"),)))
    b.way.away = False
    with pytest.raises(Conflict):
        await b.flush._round([(row, False) for row in b.gate.rows()])
    assert b.obeyed == 1
    assert await version(cluster) == 0
    for goer in (a, b, c):
        goer.way.away = False
    await asyncio.sleep(5)
    assert b.state.state.mode == NORMAL
    assert await version(cluster) == 0
    assert await cluster.store.get(KEYS.record(3, spi(2))) is None
    assert b.gate.begun_ledger is None


@simulated
async def test_of_an_sa_that_has_gone_since_the_chain_is_written_and_no_record(
    cluster: Cluster,
) -> None:
    a, b, c = await in_failsafe(cluster)
    done = await cluster.store.commit(Txn((), (Put(KEYS.shard(3), b"1"),)))
    b.owned = done.revision
    b.answer(2, 2, shard_revision=done.revision)
    b.ended.append(spi(2))
    for goer in (a, b, c):
        goer.way.away = False
    await asyncio.sleep(5)
    assert b.state.state.mode == NORMAL
    assert await version(cluster) == 2
    assert await cluster.store.get(KEYS.record(3, spi(2))) is None


async def one_is_through_and_the_other_in_failsafe(cluster: Cluster) -> tuple[Goer, Goer]:
    a, b = [await Goer(cluster, name).begin() for name in ("a", "b")]
    await asyncio.sleep(1)
    a.way.away = b.way.away = True
    await until(lambda: bool(a.outage.given))
    a.way.away = False  # in time: only b goes on without the store
    await until(lambda: "a" in a.state.state.through)
    assert (a.outage.failsafe, b.outage.failsafe) == (False, True)
    return a, b


@simulated
async def test_a_word_from_before_is_not_about_what_was_answered_since(cluster: Cluster) -> None:
    a, b = await one_is_through_and_the_other_in_failsafe(cluster)
    a.way.away = True
    await asyncio.sleep(6)
    assert a.outage.failsafe
    mine = a.answer(3, 2)
    assert b.gate.ledger.keep(mine)
    b.way.away = False
    await asyncio.sleep(3)
    assert b.state.state.mode == FLUSHING
    assert b.gate.ledger.rows
    a.way.away = False
    await asyncio.sleep(5)
    assert (a.state.state.mode, b.state.state.mode) == (NORMAL, NORMAL)
    assert await version(cluster) == 3
    assert (a.gate.begun_ledger, b.gate.begun_ledger) == (None, None)


@simulated
async def test_who_answered_writes_it_though_all_is_said_to_be_normal(cluster: Cluster) -> None:
    a, b = await one_is_through_and_the_other_in_failsafe(cluster)
    a.way.away = True
    await asyncio.sleep(6)
    a.answer(3, 2)
    a.way.away = b.way.away = False
    normal = msgspec.structs.replace(a.state.state, mode=NORMAL, roster={}, through={})
    await a.state.change(a.state.state, normal)  # by one that knew of no later pledge
    await asyncio.sleep(6)
    assert (a.state.state.mode, b.state.state.mode) == (NORMAL, NORMAL)
    assert await version(cluster) == 3


@simulated
async def test_who_is_through_and_asks_in_vain_says_it_for_that_round_too(cluster: Cluster) -> None:
    a, b = await one_is_through_and_the_other_in_failsafe(cluster)
    cluster.net.cut("a", "b")
    a.outage.pledges.round += 1
    b.outage.pledges.given["a"] = Given(a.member.incarnation, a.outage.pledges.round)
    b.way.away = False
    await until(lambda: a.state.state.mode == b.state.state.mode == NORMAL)
    modes: list[str] = []
    a.state.on_changed.append(lambda state: modes.append(state.mode))
    await asyncio.sleep(10)
    assert modes == []  # what they said before, when they could be heard, begins no other way back


@simulated
async def test_what_is_kept_for_one_that_the_way_back_is_not_about_is_kept_on(
    cluster: Cluster,
) -> None:
    a, b, c = await in_failsafe(cluster)
    state = a.state.state
    own = {goer.name: goer.member.incarnation for goer in (a, c)}
    kept = b.answer(3, 2)
    assert a.gate.ledger.keep(kept)
    b.kill()
    for goer in (a, c):
        goer.way.away = False
    await asyncio.sleep(0.05)
    await a.state.change(
        a.state.state, msgspec.structs.replace(state, mode=FLUSHING, roster=own)
    )  # as others began it, who didn't know b
    await until(lambda: a.state.state.mode == NORMAL)
    await asyncio.sleep(1)
    assert [row.claim for row in a.gate.ledger.rows.values()] == [kept]
    for goer in (a, c):
        goer.outage.pledges.write_off("b")  # as its next life says that it needs no pledge
    await asyncio.sleep(5)
    assert a.state.state.roster["b"] == b.member.incarnation
    await a.flush.write_off("b")
    await asyncio.sleep(3)
    assert (a.state.state.mode, c.state.state.mode) == (NORMAL, NORMAL)
    assert await version(cluster) == 3
    assert (a.gate.begun_ledger, c.gate.begun_ledger) == (None, None)


@simulated
async def test_all_of_whom_something_is_awaited_have_restarted_and_all_is_normal(
    cluster: Cluster,
) -> None:
    goers = await in_failsafe(cluster)
    goers[0].way.away = False
    await until(lambda: goers[0].state.state.mode == FLUSHING)
    for goer in goers:
        goer.kill()
    again = [await Goer(cluster, goer.name, 2, goer.book).begin() for goer in goers]
    await asyncio.sleep(5)
    assert [goer.state.state.mode for goer in again] == [NORMAL] * 3


@simulated
async def test_rows_that_fill_no_transaction_together_are_written_in_several(
    cluster: Cluster,
) -> None:
    """The largest records that are accepted, each beside a ticket of an operation before."""
    goers = a, *_ = await in_failsafe(cluster)
    shard = await cluster.store.commit(Txn((), (Put(KEYS.shard(3), b"is a's"),)))
    a.owned = shard.revision
    largest = bytes(RECORD_OCTETS_MAX)
    for number in range(ROWS_PER_TXN + 1):
        each = {"chain": other(number), "shard_revision": shard.revision}
        a.answer(1, number, record=b"", ticket=largest, **each)
        a.answer(1, number, record=largest, op_id=op_id(BIG + 2), **each)
    for goer in goers:
        goer.way.away = False
    await asyncio.sleep(5)
    assert not a.flush_task.done()
    assert a.state.state.mode == NORMAL
    for prefix in (KEYS.shard_records(3), KEYS.tickets):
        written = (await cluster.store.scan(prefix)).entries
        assert [entry.value for entry in written] == [largest] * (ROWS_PER_TXN + 1)
