"""What each operation does, and what each compare saves."""

import asyncio

import pytest

from cluster.batch import Op, OpKind
from cluster.journal_hooks import JournalState
from cluster.store import Compare, Delete, Get, Put, Target, Txn
from tests.unit.cluster.fakes import T0, Fault
from tests.unit.cluster.journal_world import (
    COMMITTED,
    EXPIRES,
    FENCED,
    KEYS,
    SHARD,
    SUPERSEDED,
    World,
    chain,
    create,
    other,
    play,
    record_key,
    redeem,
    rekey,
    spi,
    without_lanes,
)

# -- what each kind does


def test_the_five_kinds_do_to_chain_and_record_what_they_say() -> None:
    async def story(world: World) -> None:
        member = world.member()
        assert await member.do(create(1)) is COMMITTED
        assert (await world.generation(1), await world.alive(1)) == (1, spi(1))
        assert await member.record(1) == b"created 1"

        assert await member.do(other(OpKind.WRITE, 1, 1, b"child")) is COMMITTED
        assert (await world.generation(1), await member.record(1)) == (1, b"child")

        assert await member.do(redeem(1, 1, 2, 1)) is COMMITTED
        assert (await world.generation(1), await world.alive(1)) == (2, spi(2))
        assert await member.record(1) is None
        assert await member.record(2) == b"redeemed"

        ended = Op(OpKind.END, chain(1), 2, SHARD, spi(2), b"", None, EXPIRES)
        assert await member.do(ended) is COMMITTED
        assert (await world.generation(1), await member.record(2)) == (2, None)

        assert await member.do(redeem(1, 2, 3, 2)) is COMMITTED  # its ticket still works
        revoked = Op(OpKind.REVOKE, chain(1), 3, SHARD, spi(3), b"", None, EXPIRES)
        assert await member.do(revoked) is COMMITTED
        assert (await world.generation(1), await member.record(3)) == (0, None)
        assert await member.do(redeem(1, 3, 4, 3)) is SUPERSEDED  # and now it doesn't
        assert await member.record(4) is None

    play(story)


def test_nothing_is_readable_in_the_store() -> None:
    async def story(world: World) -> None:
        await world.member().do(create(1))
        for entry in (await world.store.scan(b"")).entries:
            assert b"created" not in entry.value

    play(story)


# -- what each compare saves


def test_a_ticket_used_at_two_members_at_once_makes_one_session() -> None:
    """Only the chain's version differs between the two: shard, state and watermark are alike."""

    async def story(world: World) -> None:
        one, two = world.member("gw1"), world.member("gw2")
        await one.do(create(1))
        world.store.gate = asyncio.Event()
        both = asyncio.gather(one.do(redeem(1, 1, 2, 1)), two.do(redeem(1, 1, 3, 1)))
        await asyncio.sleep(0.01)
        assert world.store.in_flight == 2
        world.store.gate.set()
        outcomes = await both
        assert sorted(outcome.value for outcome in outcomes) == ["committed", "superseded"]
        winner = (spi(2), spi(3))[outcomes.index(COMMITTED)]
        assert (await world.alive(1), await world.generation(1)) == (winner, 2)
        loser = (3, 2)[outcomes.index(COMMITTED)]
        assert await one.record(loser) is None

    play(story)


def test_the_second_use_of_a_ticket_is_superseded_and_changes_nothing() -> None:
    async def story(world: World) -> None:
        member = world.member()
        await member.do(create(1))
        await member.do(redeem(1, 1, 2, 1))
        assert await member.do(redeem(1, 1, 3, 1)) is SUPERSEDED
        assert (await world.generation(1), await world.alive(1)) == (2, spi(2))
        assert await member.record(2) == b"redeemed"

    play(story)


def test_a_child_change_of_a_session_that_resumed_elsewhere_is_superseded() -> None:
    """The rekey race: without the generation, the old SA's record would come back."""

    async def story(world: World) -> None:
        old, new = world.member("gw1"), world.member("gw2")
        await old.do(create(1))
        await new.do(redeem(1, 1, 2, 1))
        assert await old.do(other(OpKind.WRITE, 1, 1, b"child")) is SUPERSEDED
        assert await old.record(1) is None
        assert await old.do(rekey(1, 1, 3, 1)) is SUPERSEDED  # an IKE rekey, likewise
        assert await world.alive(1) == spi(2)

    play(story)


@pytest.mark.parametrize(
    "op",
    [other(OpKind.WRITE, 1, 2, b"child"), other(OpKind.REVOKE, 1, 2), rekey(1, 2, 3, 1)],
    ids=["write", "revoke", "rekey"],
)
def test_of_two_sas_of_one_generation_the_one_that_was_dropped_writes_nothing(op: Op) -> None:
    """A ticket was used twice, once without the store: the flush has deleted the chain and this
    SA's record, and counted the chain up again for the other SA, to the same generation."""

    async def story(world: World) -> None:
        member = world.member()
        for _generation in range(2):
            await world.put(KEYS.session(chain(1)), spi(2) + bytes(16))
        await world.put(record_key(2), b"the other's")
        assert await member.do(op) is SUPERSEDED
        assert (await world.generation(1), await world.alive(1)) == (2, spi(2))
        assert await world.store.get(record_key(1)) is None
        assert await world.store.get(record_key(3)) is None
        assert member.doubted == [SHARD]

    play(story)


@pytest.mark.parametrize("issuer", [0, 9], ids=["before", "after"])
def test_a_ticket_is_void_whose_generation_the_chain_gave_to_another_sa(issuer: int) -> None:
    """The SA that issued it was made without the store, and forgotten with all that knew of it. The
    record of the one that stands would stay, and nobody would tell its owner."""

    async def story(world: World) -> None:
        member = world.member()
        await member.do(create(1))
        assert await member.do(redeem(1, 1, 5, issuer)) is SUPERSEDED
        assert await member.record(1) == b"created 1"
        assert await member.record(5) is None
        assert (await world.generation(1), await world.alive(1)) == (1, spi(1))

    play(story)


def test_a_ticket_is_redeemed_whose_sa_has_no_record_any_more() -> None:
    async def story(world: World) -> None:
        member = world.member()
        await member.do(create(1))
        await member.do(other(OpKind.END, 1, 1))
        assert await member.do(redeem(1, 1, 2, 1)) is COMMITTED

    play(story)


def test_a_chain_is_created_once() -> None:
    async def story(world: World) -> None:
        member = world.member()
        await member.do(create(1))
        assert await member.do(create(1, spi_number=9)) is SUPERSEDED
        assert await world.alive(1) == spi(1)

    play(story)


@pytest.mark.parametrize("kind", list(OpKind))
def test_a_fenced_owners_late_commit_fails(kind: OpKind) -> None:
    """He believes himself owner still: only the shard's revision in the store tells."""

    async def story(world: World) -> None:
        member = world.member()
        await member.do(create(1))
        await world.put(KEYS.shard(SHARD), b"gw2")
        before = (await world.store.scan(KEYS.root)).entries
        op = {
            OpKind.CREATE: create(2),
            OpKind.REDEEM: redeem(1, 1, 2, 1),
            OpKind.WRITE: other(OpKind.WRITE, 1, 1, b"late"),
            OpKind.END: other(OpKind.END, 1, 1),
            OpKind.REVOKE: other(OpKind.REVOKE, 1, 1),
        }[kind]
        assert await member.do(op) is FENCED
        after = (await world.store.scan(KEYS.root)).entries
        assert without_lanes(after) == without_lanes(before)

    play(story)


def test_a_shard_taken_back_under_a_new_fence_is_not_the_shard_of_before() -> None:
    async def story(world: World) -> None:
        member = world.member()
        world.store.down = True
        outcomes = member.post(create(1))
        await asyncio.sleep(0.01)
        member.owned[SHARD] = await world.put(KEYS.shard(SHARD), b"gw1 again")
        world.store.down = False
        await member.journal.drained()
        assert outcomes == [FENCED]
        assert await world.generation(1) == 0
        assert await member.do(create(2)) is COMMITTED

    play(story)


def test_an_operation_on_a_shard_of_somebody_else_is_fenced_without_asking_the_store() -> None:
    async def story(world: World) -> None:
        member = world.member()
        outcomes = member.post(create(1, shard=50))
        assert outcomes == []  # never called from inside `submit`
        await asyncio.sleep(0)
        assert outcomes == [FENCED]
        assert world.store.sent == []

    play(story)


def test_a_changed_cluster_state_holds_everything_until_it_is_installed() -> None:
    async def story(world: World) -> None:
        member = world.member()
        await member.do(create(1))
        revision = await world.put(KEYS.state, b"{} new")
        outcomes = member.post(create(2), other(OpKind.WRITE, 1, 1, b"late"))
        await asyncio.sleep(30)
        assert outcomes == []
        assert member.states[-1] is JournalState.HELD
        assert await world.generation(2) == 0
        assert await member.record(1) == b"created 1"
        member.cluster.revision = revision
        await member.journal.drained()
        assert outcomes == [COMMITTED, COMMITTED]
        assert member.states[-1] is JournalState.OK

    play(story)


def test_a_mode_other_than_normal_holds_everything() -> None:
    async def story(world: World) -> None:
        member = world.member()
        normal = member.cluster.state
        member.cluster.state = type(normal)(1, "flushing", 0, 64, T0)
        outcomes = member.post(create(1))
        await asyncio.sleep(10)
        assert (outcomes, member.journal.state) == ([], JournalState.HELD)
        member.cluster.state = normal
        await member.journal.drained()
        assert outcomes == [COMMITTED]

    play(story)


def test_what_was_made_in_an_older_epoch_is_void() -> None:
    async def story(world: World) -> None:
        member = world.member()
        world.store.down = True
        outcomes = member.post(create(1))
        await asyncio.sleep(0.01)
        member.cluster.state = type(member.cluster.state)(1, "normal", 1, 64, T0)
        world.store.down = False
        await member.journal.drained()
        assert outcomes == [FENCED]
        assert await world.generation(1) == 0

    play(story)


def test_nobody_commits_past_a_watermark_that_he_was_not_told_of() -> None:
    async def story(world: World) -> None:
        member = world.member()
        await member.do(create(1))
        sent = len(world.store.sent)
        await world.put(KEYS.watermark, b"revoked")
        assert await member.do(create(2)) is COMMITTED
        assert [mark.value for mark in member.watermarks if mark is not None] == [b"revoked"]
        assert len(world.store.sent) == sent + 2  # refused once, told, sent again
        assert await member.do(create(3)) is COMMITTED
        assert len(world.store.sent) == sent + 3

    play(story)


# -- what goes over the wire


def test_a_redemption_is_one_nested_transaction_of_four_compares_and_three_operations() -> None:
    async def story(world: World) -> None:
        member = world.member()
        await member.do(create(1))
        await member.do(redeem(1, 1, 2, 1))
        outer = world.store.sent[-1]
        assert [compare.key for compare in outer.compares[:2]] == [KEYS.state, KEYS.watermark]
        inner = outer.success[1]
        assert isinstance(inner, Txn)
        assert inner.compares == (
            Compare(KEYS.shard(SHARD), Target.MOD_REVISION, world.shards[SHARD]),
            Compare(KEYS.session(chain(1)), Target.VERSION, 1),
            Compare(KEYS.session(chain(1)), Target.VALUE_ABOVE, spi(1)),
            Compare(KEYS.session(chain(1)), Target.VALUE_BELOW, spi(1) + b"\xff" * 16),
        )
        kinds = [(type(op), op.key) for op in inner.success if not isinstance(op, Txn)]
        assert kinds == [
            (Put, KEYS.session(chain(1))),
            (Put, record_key(2)),
            (Delete, record_key(1)),
        ]
        assert inner.failure == (Get(KEYS.session(chain(1))), Get(KEYS.shard(SHARD)))

    play(story)


def test_a_lagging_member_commits_nothing_that_a_revocation_forbids() -> None:
    async def story(world: World) -> None:
        member = world.member()
        await member.do(create(1))
        member.banned = (chain(1), chain(2))
        await world.put(KEYS.watermark, b"revoked")
        ends = member.post(redeem(1, 1, 9, 1), create(2), create(3))
        await member.journal.drained()
        assert sorted(end.value for end in ends) == ["committed", "superseded", "superseded"]
        assert [await world.generation(n) for n in (1, 2, 3)] == [1, 0, 1]
        # its own end, and what an SA that stands writes until then, is no beginning
        assert await member.do(other(OpKind.WRITE, 1, 1, b"last")) is COMMITTED
        assert await member.do(other(OpKind.REVOKE, 1, 1)) is COMMITTED

    play(story)


@pytest.mark.parametrize("fault", [Fault.UNKNOWN_DONE, Fault.UNKNOWN_LOST])
def test_what_is_revoked_while_its_outcome_is_unknown_is_asked_for_and_not_done(
    fault: Fault,
) -> None:
    """What the store has must end as committed: somebody has to end it."""

    async def story(world: World) -> None:
        member = world.member()
        await member.do(create(1))
        world.store.faults.append(fault)
        ends = member.post(redeem(1, 1, 9, 1))
        await asyncio.sleep(0.01)
        member.banned = (chain(1),)
        await world.put(KEYS.watermark, b"revoked")
        await member.journal.drained()
        done = fault is Fault.UNKNOWN_DONE
        assert ends == [COMMITTED if done else SUPERSEDED]
        assert await world.generation(1) == 1 + done
        assert await world.alive(1) == spi(9 if done else 1)

    play(story)


@pytest.mark.parametrize("fault", [Fault.UNKNOWN_DONE, Fault.UNKNOWN_LOST])
def test_what_is_revoked_and_in_doubt_as_the_store_goes_away_is_asked_for_when_it_is_back(
    fault: Fault,
) -> None:
    async def story(world: World) -> None:
        member = world.member()
        member.banned = (chain(1),)
        world.store.faults.append(fault)
        ends = member.post(create(1))
        await asyncio.sleep(0.01)
        member.watermarks.append(None)  # the watch tells of the rule
        member.gate.open = True
        await asyncio.sleep(5)
        ((pending, _end),) = member.gate.taken
        assert (ends, pending.only_asks) == ([], True)
        member.gate.close()
        await member.journal.drained()
        done = fault is Fault.UNKNOWN_DONE
        assert ends == [COMMITTED if done else SUPERSEDED]
        assert await world.alive(1) == (spi(1) if done else None)

    play(story)


def test_what_is_revoked_and_in_doubt_without_the_store_makes_way_for_its_chain() -> None:
    """Else the end of the SA before waits for as long as the store is away. What it leaves in the
    store, its chain's end takes away from there."""

    async def story(world: World) -> None:
        member = world.member()
        await member.do(create(1))
        member.banned = (chain(1),)
        world.store.faults.append(Fault.UNKNOWN_DONE)
        ends = member.post(redeem(1, 1, 9, 1))
        await asyncio.sleep(0.01)
        member.gate.open = True
        await asyncio.sleep(1)
        ((pending, end),) = member.gate.taken
        member.watermarks.append(None)
        assert member.gate.wanted(pending)
        assert pending.only_asks
        member.post(other(OpKind.REVOKE, 1, 1))
        assert not member.gate.wanted(pending)
        end(pending, None)
        await asyncio.sleep(1)
        assert ends == [SUPERSEDED]
        assert member.gate.taken[1][0].op.kind is OpKind.REVOKE

    play(story)


def test_what_was_carried_out_without_the_store_has_begun_though_it_is_revoked_by_then() -> None:
    """Others keep it, or the store has it: whoever has its SA ends it."""

    async def story(world: World) -> None:
        member = world.member()
        member.banned = (chain(1), chain(2))
        member.gate.open = True
        ends = member.post(create(1), create(2))
        await asyncio.sleep(0.01)
        (first, end), (second, _) = member.gate.taken
        member.watermarks.append(None)
        end(first, COMMITTED)
        member.owned.clear()
        end(second, COMMITTED)
        assert ends == [COMMITTED, FENCED]

    play(story)


def test_while_the_rules_cannot_be_read_nothing_is_committed() -> None:
    async def story(world: World) -> None:
        member = world.member()
        await member.do(create(1))
        member.deaf = True
        member.banned = (chain(2),)
        await world.put(KEYS.watermark, b"revoked")
        ends = member.post(create(2), create(3))
        await asyncio.sleep(5)
        assert ends == []
        assert await world.generation(3) == 0
        member.deaf = False
        await member.journal.drained()
        assert sorted(end.value for end in ends) == ["committed", "superseded"]
        assert await world.generation(2) == 0

    play(story)
