"""What tickets by reference point to: written with the SA, sealed, read once (RFC 5723 6.1)."""

import msgspec

from cluster.batch import BATCH_OPS_MAX, Op, OpKind
from cluster.layout import Keys
from cluster.references import Kept, References
from cluster.store import Entry
from tests.unit.cluster.fakes import Fault
from tests.unit.cluster.journal_world import (
    COMMITTED,
    FENCED,
    KEYS,
    SHARD,
    SUPERSEDED,
    Member,
    World,
    chain,
    create,
    other,
    play,
    redeem,
)

STATE = b"all that a ticket by value would hold"
REFUSED, NOTHING = Kept(True, b""), Kept(False, b"")


def with_ticket(op: Op, ticket: bytes | None = STATE) -> Op:
    """`op`, whose answer holds a ticket by reference."""
    return msgspec.structs.replace(op, ticket=ticket)


def reader(world: World, member: Member) -> References:
    """Another member's way to what is kept."""
    return References(world.store, KEYS, member.vault)


async def kept(world: World, number: int) -> Entry | None:
    return await world.store.get(KEYS.ticket(chain(number)))


def test_it_is_written_with_the_sa_and_read_by_any_member() -> None:
    async def story(world: World) -> None:
        member = world.member()
        commits = len(world.store.sent)
        assert await member.do(with_ticket(create(1))) is COMMITTED
        assert len(world.store.sent) == commits + 1  # one transaction: both or neither
        references = reader(world, world.member("gw2"))
        assert await references.fetch(chain(1), 1) == Kept(False, STATE)
        found, record = await kept(world, 1), await world.store.get(KEYS.record(SHARD, SPI))
        assert found is not None
        assert record is not None
        assert found.lease_id == record.lease_id  # it goes when the session can't go on
        assert len(world.store.sent) == commits + 2

    play(story)


SPI = create(1).spi


def test_nothing_of_it_is_readable_and_it_opens_in_its_place_alone() -> None:
    async def story(world: World) -> None:
        # R48, R64: who reads the store reads no key
        member = world.member()
        await member.do(with_ticket(create(1)))
        await member.do(create(2))
        found = await kept(world, 1)
        assert found is not None
        assert STATE not in found.value
        await world.put(KEYS.ticket(chain(2)), found.value)
        assert await reader(world, member).fetch(chain(2), 1) == NOTHING
        await world.put(KEYS.ticket(chain(1)), found.value[:-1] + b"!")
        assert await reader(world, member).fetch(chain(1), 1) == NOTHING

    play(story)


def test_each_use_replaces_it_and_the_former_generation_reads_nothing() -> None:
    async def story(world: World) -> None:
        member = world.member()
        references = reader(world, member)
        await member.do(with_ticket(create(1)))
        assert await member.do(with_ticket(redeem(1, 1, 2, 1), b"the next")) is COMMITTED
        assert await references.fetch(chain(1), 1) == REFUSED
        assert await references.fetch(chain(1), 2) == Kept(False, b"the next")
        assert await member.do(with_ticket(redeem(1, 1, 3, 1), b"stolen")) is SUPERSEDED
        assert await references.fetch(chain(1), 2) == Kept(False, b"the next")
        assert await references.fetch(chain(9), 1) == REFUSED

    play(story)


def test_it_outlives_the_record_and_goes_with_the_chain_or_when_told() -> None:
    async def story(world: World) -> None:
        member = world.member()
        references = reader(world, member)
        await member.do(with_ticket(create(1)))
        assert await member.do(other(OpKind.END, 1, 1)) is COMMITTED
        assert await member.record(1) is None
        assert await references.fetch(chain(1), 1) == Kept(False, STATE)
        await member.do(redeem(1, 1, 2, 1))  # by value, and nobody says that it goes
        assert await kept(world, 1) is not None
        child = other(OpKind.WRITE, 1, 2, b"child", sa=2)
        assert await member.do(with_ticket(child)) is COMMITTED
        assert await references.fetch(chain(1), 2) == Kept(False, STATE)
        assert await member.do(with_ticket(redeem(1, 2, 4, 2), b"")) is COMMITTED
        assert await kept(world, 1) is None
        await member.do(with_ticket(create(2)))
        assert await member.do(other(OpKind.REVOKE, 2, 1)) is COMMITTED
        assert await kept(world, 2) is None

    play(story)


def test_a_fenced_owners_state_is_not_kept() -> None:
    async def story(world: World) -> None:
        member = world.member()
        await member.do(with_ticket(create(1)))
        await world.put(KEYS.shard(SHARD), b"gw2")
        late = with_ticket(other(OpKind.WRITE, 1, 1, b"late"), b"late")
        assert await member.do(late) is FENCED
        assert await reader(world, member).fetch(chain(1), 1) == Kept(False, STATE)

    play(story)


def test_where_the_store_does_not_answer_nothing_is_said() -> None:
    async def story(world: World) -> None:
        member = world.member()
        await member.do(with_ticket(create(1)))
        for fault in (Fault.UNAVAILABLE, Fault.UNKNOWN_DONE, Fault.UNKNOWN_LOST):
            world.store.faults.append(fault)
            assert await reader(world, member).fetch(chain(1), 1) is None

    play(story)


def test_a_full_batch_of_resumptions_by_reference_fits_the_stores_limit() -> None:
    async def story(world: World) -> None:
        member = world.member()
        for number in range(1, BATCH_OPS_MAX + 1):
            member.post(with_ticket(create(number)))
        await member.journal.drained()
        batches = member.journal.batches
        for number in range(1, BATCH_OPS_MAX + 1):
            member.post(with_ticket(redeem(number, 1, 1000 + number, number)))
        await member.journal.drained()
        assert member.journal.batches == batches + 1
        assert member.outcomes == [COMMITTED] * 2 * BATCH_OPS_MAX

    play(story)


def test_clusters_that_share_a_store_keep_theirs_apart() -> None:
    assert Keys("one").ticket(chain(1)) != Keys("two").ticket(chain(1))


def test_what_was_done_without_the_store_comes_first_and_is_sealed_as_well() -> None:
    async def story(world: World) -> None:
        member = world.member()
        await member.do(with_ticket(create(1)))
        sealed = member.vault.seal_record(b"since", KEYS.ticket(chain(2)))
        held = {1: None, 2: (False, sealed), 3: (True, sealed), 4: (False, b"")}
        references = References(
            world.store,
            KEYS,
            member.vault,
            lambda found, _generation: held[int.from_bytes(found, "big")],
        )
        assert await references.fetch(chain(1), 1) == Kept(False, STATE)
        world.store.down = True
        assert await references.fetch(chain(1), 1) is None
        assert await references.fetch(chain(2), 1) == Kept(False, b"since")
        assert await references.fetch(chain(3), 1) == REFUSED
        assert await references.fetch(chain(4), 1) == NOTHING

    play(story)
