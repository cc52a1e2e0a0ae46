"""Group commit: what survives a failing store, order, bounds, leases and mirrors."""

import asyncio
from functools import partial

import pytest

from cluster.batch import BATCH_OPS_MAX, RECORD_OCTETS_MAX, Op, OpKind, Outcome, number_after
from cluster.expiry import BUCKET_S
from cluster.failsafe.ledger import Row
from cluster.failsafe.write import Fate, Step, next_step
from cluster.journal_hooks import JournalState
from tests.unit.cluster.fakes import Fault
from tests.unit.cluster.journal_world import (
    COMMITTED,
    EXPIRES,
    FENCED,
    KEYS,
    SHARD,
    World,
    chain,
    create,
    other,
    play,
    puts,
    record_key,
    redeem,
    rekey,
    spi,
)
from tests.unit.cluster.test_failsafe_ledger import claim

# -- a store that fails


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("kind", list(OpKind))
def test_whatever_becomes_of_the_first_attempt_the_outcome_is_the_truth(
    kind: OpKind, fault: Fault
) -> None:
    async def story(world: World) -> None:
        member = world.member()
        await member.do(create(1))
        world.store.faults.append(fault)
        op = {
            OpKind.CREATE: create(2),
            OpKind.REDEEM: redeem(1, 1, 2, 1),
            OpKind.WRITE: other(OpKind.WRITE, 1, 1, b"child"),
            OpKind.END: other(OpKind.END, 1, 1),
            OpKind.REVOKE: other(OpKind.REVOKE, 1, 1),
        }[kind]
        assert await member.do(op) is COMMITTED
        expected = {
            OpKind.CREATE: (1, b"created 1", b"created 2"),
            OpKind.REDEEM: (2, None, b"redeemed"),
            OpKind.WRITE: (1, b"child", None),
            OpKind.END: (1, None, None),
            OpKind.REVOKE: (0, None, None),
        }[kind]
        found = (await world.generation(1), await member.record(1), await member.record(2))
        assert found == expected

    play(story)


def test_a_batch_that_arrives_late_takes_no_effect() -> None:
    """Its outcome was unknown; it was sent again; a newer record was written; then it arrives. All
    its other compares hold: only the lane's saves the newer record.
    """

    async def story(world: World) -> None:
        member = world.member()
        await member.do(create(1))
        world.store.faults.append(Fault.UNKNOWN_LATE)
        assert await member.do(other(OpKind.WRITE, 1, 1, b"old")) is COMMITTED
        assert await member.do(other(OpKind.WRITE, 1, 1, b"new")) is COMMITTED
        assert await world.store.deliver_late() == [False]
        assert await member.record(1) == b"new"

    play(story)


def test_a_lane_key_that_expired_is_begun_anew() -> None:
    async def story(world: World) -> None:
        member = world.member()
        await member.do(create(1))
        await asyncio.sleep(3 * 86_400)
        assert (await world.store.scan(KEYS.lanes)).entries == ()
        late = Op(OpKind.CREATE, chain(2), 0, SHARD, spi(2), b"x", None, EXPIRES + 4 * 86_400)
        assert await member.do(late) is COMMITTED

    play(story)


def test_what_waits_while_the_store_is_away_is_finished_when_it_is_back() -> None:
    async def story(world: World) -> None:
        member = world.member()
        await member.do(create(1))
        world.store.down = True
        outcomes = member.post(*(create(n) for n in range(2, 500)))
        await asyncio.sleep(600)
        assert outcomes == []
        assert member.journal.pending == 498
        assert member.states == [JournalState.UNAVAILABLE]
        world.store.down = False
        await member.journal.drained()
        assert outcomes == [COMMITTED] * 498
        assert member.states == [JournalState.UNAVAILABLE, JournalState.OK]
        assert member.journal.pending == 0
        assert len((await world.store.scan(KEYS.sessions)).entries) == 499

    play(story)


def test_a_shard_lost_while_the_store_is_away_ends_what_waits_for_it_and_nothing_else() -> None:
    async def story(world: World) -> None:
        member = world.member()
        world.store.down = True
        ours = [create(n) for n in range(1, 200)]
        lost = [create(n, shard=SHARD + 1) for n in range(200, 300)]
        outcomes = member.post(*ours[:100], *lost, *ours[100:])
        await asyncio.sleep(5)
        del member.owned[SHARD + 1]
        await asyncio.sleep(5)
        assert outcomes == [FENCED] * 100  # while the store is still away
        world.store.down = False
        await member.journal.drained()
        assert outcomes[100:] == [COMMITTED] * 199

    play(story)


# -- batches, order and bounds


def test_what_comes_together_goes_together_in_the_largest_batches() -> None:
    async def story(world: World) -> None:
        member = world.member()
        member.post(*(create(n) for n in range(1, 2 * BATCH_OPS_MAX + 2)))
        await member.journal.drained()
        sizes = [len(txn.success) - 1 for txn in world.store.sent]
        assert sizes == [BATCH_OPS_MAX, BATCH_OPS_MAX, 1]
        assert (member.journal.batches, member.journal.ended) == (3, 2 * BATCH_OPS_MAX + 1)
        assert world.store.in_flight_max == 1
        assert len(member.latencies) == member.journal.ended

    play(story)


def test_the_largest_batch_of_the_largest_operations_is_what_the_store_takes() -> None:
    async def story(world: World) -> None:
        member = world.member()
        numbers = range(1, 2 * BATCH_OPS_MAX)
        member.post(*(create(n) for n in numbers))
        await member.journal.drained()
        world.store.sent.clear()
        member.post(*(redeem(n, 1, 10_000 + n, n) for n in numbers))
        await member.journal.drained()
        assert member.outcomes == [COMMITTED] * (2 * len(numbers))
        assert len(world.store.sent[0].success) == BATCH_OPS_MAX + 1

    play(story)


def test_large_records_make_smaller_batches() -> None:
    async def story(world: World) -> None:
        member = world.member()
        record = bytes(RECORD_OCTETS_MAX)
        ops = [
            Op(OpKind.CREATE, chain(n), 0, SHARD, spi(n), record, None, EXPIRES)
            for n in range(1, 11)
        ]
        member.post(*ops)
        await member.journal.drained()
        assert member.outcomes == [COMMITTED] * 10
        assert [len(txn.success) - 1 for txn in world.store.sent] == [3, 3, 3, 1]
        assert len(member.mirrored) == 10  # sealed once each, also where a batch was full

    play(story)


def test_a_record_too_large_is_refused() -> None:
    async def story(world: World) -> None:
        member = world.member()
        op = other(OpKind.WRITE, 1, 1, bytes(RECORD_OCTETS_MAX + 1))
        with pytest.raises(ValueError, match="octets"):
            member.journal.submit(op, member.outcomes.append)
        assert member.journal.pending == 0

    play(story)


@pytest.mark.parametrize("lanes", [1, 3])
def test_operations_on_one_chain_never_share_a_batch_and_keep_their_order(lanes: int) -> None:
    async def story(world: World) -> None:
        member = world.member(lanes=lanes)
        ops = [create(1), *(other(OpKind.WRITE, 1, 1, b"%d" % n) for n in range(5))]
        crowd = [create(n) for n in range(2, 400)]
        member.post(*ops[:2], *crowd[:200], *ops[2:4], *crowd[200:], *ops[4:])
        await member.journal.drained()
        assert member.outcomes == [COMMITTED] * 404
        assert await member.record(1) == b"4"
        for txn in world.store.sent:
            written = [put.key for put in puts(txn)]
            assert len(written) == len(set(written))
        ours = [put for txn in world.store.sent for put in puts(txn) if put.key == record_key(1)]
        key = record_key(1)
        values = [member.vault.open_record(put.value, key) for put in ours]
        assert values == [b"created 1", b"0", b"1", b"2", b"3", b"4"]

    play(story)


def test_two_chains_that_name_one_record_do_not_poison_a_batch() -> None:
    async def story(world: World) -> None:
        member = world.member()
        outcomes = member.post(create(1, spi_number=5), create(2, spi_number=5), create(3))
        await member.journal.drained()
        assert outcomes == [COMMITTED] * 3

    play(story)


def test_several_lanes_are_several_batches_in_flight() -> None:
    async def story(world: World) -> None:
        member = world.member(lanes=3)
        world.store.gate = asyncio.Event()
        member.post(*(create(n) for n in range(1, 4 * BATCH_OPS_MAX)))
        await asyncio.sleep(0.01)
        assert world.store.in_flight == 3
        world.store.gate.set()
        await member.journal.drained()
        assert member.outcomes == [COMMITTED] * (4 * BATCH_OPS_MAX - 1)

    play(story)


def test_a_full_queue_refuses_and_takes_again_once_there_is_room() -> None:
    async def story(world: World) -> None:
        member = world.member(queue_max=10)
        member.post(*(create(n) for n in range(1, 11)))
        assert not member.journal.submit(create(11), member.outcomes.append)
        await member.journal.drained()
        assert member.outcomes == [COMMITTED] * 10
        assert await member.do(create(11)) is COMMITTED

    play(story)


def test_an_operation_submitted_from_a_callback_is_carried_out() -> None:
    async def story(world: World) -> None:
        member = world.member()

        def then(outcome: Outcome) -> None:
            member.outcomes.append(outcome)
            member.journal.submit(other(OpKind.WRITE, 1, 1, b"next"), member.outcomes.append)

        member.journal.submit(create(1), then)
        await member.journal.drained()
        assert member.outcomes == [COMMITTED, COMMITTED]
        assert await member.record(1) == b"next"

    play(story)


# -- leases and mirrors


def test_sessions_hang_on_one_lease_per_bucket_however_many_they_are() -> None:
    async def story(world: World) -> None:
        one, two = world.member("gw1"), world.member("gw2")
        one.post(*(create(n) for n in range(1, 300)))
        two.post(*(create(n) for n in range(300, 400)))
        await one.journal.drained()
        await two.journal.drained()
        leases = {entry.lease_id for entry in (await world.store.scan(KEYS.sessions)).entries}
        assert len(leases) == 1
        assert leases != {0}
        assert len(set(world.store.granted)) == 2  # that one and the lanes'

    play(story)


def test_what_nobody_comes_back_for_is_forgotten_after_its_time_and_not_before() -> None:
    async def story(world: World) -> None:
        member = world.member()
        await member.do(create(1))
        await asyncio.sleep(EXPIRES - world.clock.wall_s())
        assert await world.generation(1) == 1
        assert await member.record(1) is not None
        await asyncio.sleep(2 * BUCKET_S)
        assert await world.generation(1) == 0
        assert await member.record(1) is None

    play(story)


def test_a_lease_that_is_gone_is_granted_again() -> None:
    async def story(world: World) -> None:
        member = world.member()
        await member.do(create(1))
        lease_id = (await world.store.scan(KEYS.sessions)).entries[0].lease_id
        world.store.revoke(lease_id)
        assert await member.do(create(2)) is COMMITTED
        found = await world.store.get(KEYS.session(chain(2)))
        assert found is not None
        assert found.lease_id == lease_id

    play(story)


def test_the_mirrors_get_what_the_store_gets() -> None:
    async def story(world: World) -> None:
        member = world.member()
        world.store.faults.append(Fault.UNKNOWN_DONE)
        await member.do(create(1))
        await member.do(redeem(1, 1, 2, 1))
        await member.do(Op(OpKind.END, chain(1), 2, SHARD, spi(2), b"", None, EXPIRES))
        seen = [(shard, e.spi, bool(e.sealed)) for shard, e in member.mirrored]
        assert seen == [
            (SHARD, spi(1), True),
            (SHARD, spi(2), True),
            (SHARD, spi(1), False),
            (SHARD, spi(2), False),
        ]
        sealed = member.mirrored[0][1].sealed
        assert member.vault.open_record(sealed, record_key(1)) == b"created 1"

    play(story)


def test_the_mirrors_get_the_revision_that_the_store_has() -> None:
    async def story(world: World) -> None:
        member = world.member()
        world.store.faults.append(Fault.UNKNOWN_DONE)  # so that it is found done, by reading
        await member.do(create(1))
        await member.do(create(2))
        await member.do(other(OpKind.WRITE, 2, 1, b"again"))
        offered = {entry.spi: entry for _, entry in member.mirrored}
        for number in (1, 2):
            found = await world.store.get(record_key(number))
            assert found is not None
            assert offered[spi(number)].revision == found.mod_revision
            assert offered[spi(number)].sealed == found.value

    play(story)


def test_what_the_store_refused_is_never_mirrored_and_what_is_not_known_is_told() -> None:
    async def story(world: World) -> None:
        member = world.member()
        await member.do(create(1))
        await member.do(redeem(1, 1, 2, 1))
        member.mirrored.clear()
        assert await member.do(redeem(1, 1, 3, 1)) is Outcome.SUPERSEDED
        assert (member.mirrored, member.doubted) == ([], [])  # nothing was written, for certain
        assert await member.do(other(OpKind.WRITE, 1, 1, b"late")) is Outcome.SUPERSEDED
        assert (member.mirrored, member.doubted) == ([], [SHARD])
        assert await member.do(rekey(1, 1, 3, 1)) is Outcome.SUPERSEDED
        assert (member.mirrored, member.doubted) == ([], [SHARD, SHARD])

    play(story)


def test_operations_of_all_members_have_an_order_and_one_of_before_takes_no_chain_back() -> None:
    """So that what was done without the store, and comes to it late, is not taken for newer."""

    async def story(world: World) -> None:
        await world.member().do(create(1))
        before = int(world.clock.wall_s() * 1e6)
        await asyncio.sleep(0.001)
        for generation, name in ((1, "gw2"), (2, "gw3")):
            member = world.member(name)
            assert await member.do(redeem(1, generation, generation + 1, generation)) is (
                Outcome.COMMITTED
            )
        found = await world.store.get(KEYS.session(chain(1)))
        assert found is not None
        row = Row(claim(2, 9, before, chain=chain(1)), ())
        step = partial(
            next_step, KEYS, leased=(), lease_id=0, shard_revision=1, shard_of=lambda _spi: SHARD,
            answered=True,
        )  # fmt: skip
        assert step(row, found) is Fate.LOST
        late = number_after(0, world.clock.wall_s()) + 1
        taken = step(Row(claim(2, 9, late, chain=chain(1)), ()), found)
        assert isinstance(taken, Step)
        assert taken.loser == spi(3)

    play(story)


def test_a_clock_that_is_set_back_brings_no_number_again() -> None:
    assert number_after(0, 7.5) == 7_500_000
    assert number_after(7_500_000, 7.5) == 7_500_001
    assert number_after(7_500_001, 3.0) == 7_500_002
