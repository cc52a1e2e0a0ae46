"""Group commit: what each compare saves, what survives a failing store, order and bounds."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from cluster.batch import BATCH_OPS_MAX, RECORD_OCTETS_MAX
from cluster.expiry import BUCKET_S
from cluster.journal import Journal, JournalHooks, JournalState, Op, OpKind, Outcome
from cluster.keyring import RingPolicy, new_ring
from cluster.layout import Keys
from cluster.link import MirrorEntry
from cluster.records import RecordVault
from cluster.store import Compare, Delete, Entry, Get, Put, Target, Txn
from tests.sim.loop import run
from tests.unit.cluster.fakes import T0, Fault, FaultyStore, FixedState, LoopClock, SeededRng

KEYS = Keys("sample")
RING = new_ring(SeededRng(1), T0, RingPolicy())
SHARD = 7
EXPIRES = T0 + 20_000.0

COMMITTED, SUPERSEDED, FENCED = Outcome.COMMITTED, Outcome.SUPERSEDED, Outcome.FENCED


def chain(number: int) -> bytes:
    return number.to_bytes(16, "big")


def spi(number: int) -> bytes:
    return b"\xaa" + number.to_bytes(7, "big")


def create(number: int, spi_number: int = 0, shard: int = SHARD) -> Op:
    return Op(
        OpKind.CREATE,
        chain(number),
        0,
        shard,
        spi(spi_number or number),
        b"created %d" % number,
        None,
        EXPIRES,
    )


def redeem(number: int, generation: int, new: int, old: int) -> Op:
    return Op(
        OpKind.REDEEM,
        chain(number),
        generation,
        SHARD,
        spi(new),
        b"redeemed",
        (SHARD, spi(old)),
        EXPIRES,
    )


def other(kind: OpKind, number: int, generation: int, record: bytes = b"") -> Op:
    return Op(kind, chain(number), generation, SHARD, spi(number), record, None, EXPIRES)


class Member:
    """One member's journal, with what it believes in the test's hand."""

    def __init__(self, world: "World", name: str, **options: int) -> None:
        self.world = world
        self.states: list[JournalState] = []
        self.mirrored: list[tuple[int, MirrorEntry]] = []
        self.latencies: list[float] = []
        self.watermarks: list[Entry | None] = []
        self.outcomes: list[Outcome] = []
        self.cluster = FixedState(world.state_revision)
        self.owned: dict[int, int] = dict(world.shards)
        self.vault = RecordVault(lambda: RING, world.clock, SeededRng(1, f"{name} vault"))
        self.journal = Journal(
            store=world.store,
            keys=KEYS,
            vault=self.vault,
            cluster=self.cluster,
            shard_revision=self.owned.get,
            clock=world.clock,
            rng=SeededRng(1, name),
            hooks=JournalHooks(
                mirror=lambda shard, entry: self.mirrored.append((shard, entry)),
                on_state=self.states.append,
                on_latency=self.latencies.append,
                on_watermark=self.watermarks.append,
            ),
            **options,
        )
        self.journal.start(world.spawn)

    def post(self, *ops: Op) -> list[Outcome]:
        """Submit in one go; the list fills as they end."""
        for op in ops:
            assert self.journal.submit(op, self.outcomes.append)
        return self.outcomes

    async def do(self, op: Op) -> Outcome:
        ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        assert self.journal.submit(op, ended.set_result)
        return await ended

    async def record(self, number: int) -> bytes | None:
        key = KEYS.record(SHARD, spi(number))
        found = await self.world.store.get(key)
        return None if found is None else self.vault.open_record(found.value, key)


class World:
    """A store in which shard 7 is owned, and members."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.store = FaultyStore(self.clock)
        self.tasks: list[asyncio.Task[object]] = []
        self.state_revision = 0
        self.shards: dict[int, int] = {}

    async def make(self) -> None:
        self.state_revision = await self.put(KEYS.state, b"{}")
        for shard in (SHARD, SHARD + 1):
            self.shards[shard] = await self.put(KEYS.shard(shard), b"gw1")

    async def put(self, key: bytes, value: bytes) -> int:
        txn = Txn((), (Put(key, value),))
        return (await super(FaultyStore, self.store).commit(txn)).revision

    def spawn(self, coro: object, name: str) -> asyncio.Task[object]:
        task = asyncio.ensure_future(coro)  # type: ignore[call-overload]
        self.tasks.append(task)
        return task  # type: ignore[no-any-return]

    def member(self, name: str = "gw1", **options: int) -> Member:
        return Member(self, name, **options)

    async def generation(self, number: int) -> int:
        found = await self.store.get(KEYS.session(chain(number)))
        return found.version if found is not None else 0

    async def alive(self, number: int) -> bytes | None:
        found = await self.store.get(KEYS.session(chain(number)))
        return found.value[:8] if found is not None else None


def play(story: Callable[[World], Awaitable[None]]) -> None:
    async def main(_loop: object) -> None:
        world = World()
        await world.make()
        await story(world)
        for task in world.tasks:
            assert not task.done(), "a lane died"

    run(main)


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
        assert await old.do(redeem(1, 1, 3, 1)) is SUPERSEDED  # an IKE rekey, likewise
        assert await world.alive(1) == spi(2)

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


def without_lanes(entries: tuple[Entry, ...]) -> list[Entry]:
    return [entry for entry in entries if not entry.key.startswith(KEYS.lanes)]


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
        assert 600 <= member.journal.oldest_pending_s < 601
        assert member.states == [JournalState.UNAVAILABLE]
        world.store.down = False
        await member.journal.drained()
        assert outcomes == [COMMITTED] * 498
        assert member.states == [JournalState.UNAVAILABLE, JournalState.OK]
        assert (member.journal.pending, member.journal.oldest_pending_s) == (0, 0.0)
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


def record_key(number: int) -> bytes:
    return KEYS.record(SHARD, spi(number))


def puts(txn: Txn) -> list[Put]:
    nested = [op for op in txn.success if isinstance(op, Txn)]
    return [op for part in nested for op in part.success if isinstance(op, Put)]


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
        seen = [(shard, e.spi, e.generation, bool(e.sealed)) for shard, e in member.mirrored]
        assert seen == [
            (SHARD, spi(1), 1, True),
            (SHARD, spi(2), 2, True),
            (SHARD, spi(1), 2, False),
            (SHARD, spi(2), 2, False),
        ]
        sealed = member.mirrored[0][1].sealed
        assert member.vault.open_record(sealed, record_key(1)) == b"created 1"

    play(story)


# -- what goes over the wire


def test_a_redemption_is_one_nested_transaction_of_two_compares_and_three_operations() -> None:
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
        )
        kinds = [(type(op), op.key) for op in inner.success if not isinstance(op, Txn)]
        assert kinds == [
            (Put, KEYS.session(chain(1))),
            (Put, record_key(2)),
            (Delete, record_key(1)),
        ]
        assert inner.failure == (Get(KEYS.session(chain(1))), Get(KEYS.shard(SHARD)))

    play(story)
