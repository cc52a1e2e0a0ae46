"""The journal over a store of each kind: what it sends is what a real etcd takes."""

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio

from cluster.batch import BATCH_OPS_MAX, Op, OpKind, Outcome
from cluster.journal import Journal
from cluster.keyring import RingPolicy, new_ring
from cluster.layout import Keys
from cluster.records import RecordVault
from cluster.store import Put, Txn
from node.seams import OsClock, OsRng
from tests.contract.conftest import Bench
from tests.contract.relays import KEYS as RELAYED_KEYS
from tests.unit.cluster.fakes import FixedState, SeededRng

SHARD = 3
RING = new_ring(SeededRng(1), OsClock().wall_s(), RingPolicy())
RECORD = bytes(range(256)) * 3


class Member:
    """A journal whose shard is owned in the store, under keys of its own."""

    def __init__(self, bench: Bench, keys: Keys, state_revision: int, shard_revision: int) -> None:
        self.store = bench.store
        self.keys = keys
        self.vault = RecordVault(lambda: RING, OsClock(), OsRng())
        self.journal = Journal(
            store=bench.store,
            keys=keys,
            vault=self.vault,
            cluster=FixedState(state_revision),
            shard_revision={SHARD: shard_revision}.get,
            clock=OsClock(),
            rng=OsRng(),
        )
        self.tasks: list[asyncio.Task[object]] = []
        self.journal.start(self.spawn)

    def spawn(self, coro: object, name: str) -> asyncio.Task[object]:
        task = asyncio.ensure_future(coro)  # type: ignore[call-overload]
        self.tasks.append(task)
        return task  # type: ignore[no-any-return]

    async def all(self, ops: list[Op]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for op in ops:
            assert self.journal.submit(op, outcomes.append)
        await self.journal.drained()
        return outcomes

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@pytest_asyncio.fixture
async def member(bench: Bench) -> AsyncIterator[Member]:
    # a relay carries the keys of its own cluster only
    keys = RELAYED_KEYS if bench.kind == "relayed" else Keys(bench.root.hex())
    state = await bench.store.commit(Txn((), (Put(keys.state, b"{}"),)))
    shard = await bench.store.commit(Txn((), (Put(keys.shard(SHARD), b"{}"),)))
    made = Member(bench, keys, state.revision, shard.revision)
    yield made
    await made.stop()


def op(
    kind: OpKind, number: int, generation: int, old: int | None = None, sa: int | None = None
) -> Op:
    """`generation`: the chain's, before; `sa`: which of its SAs asks, by default that one."""
    asks = generation if sa is None else sa
    return Op(
        kind,
        number.to_bytes(16, "big"),
        generation,
        SHARD,
        (number * 100 + asks).to_bytes(8, "big"),
        b"" if kind in (OpKind.END, OpKind.REVOKE) else RECORD,
        None if old is None else (SHARD, (number * 100 + old).to_bytes(8, "big")),
        OsClock().wall_s() + 5000,
    )


async def test_full_batches_of_every_kind_are_taken(member: Member) -> None:
    numbers = range(1, 2 * BATCH_OPS_MAX + 1)
    committed = [Outcome.COMMITTED] * len(numbers)
    assert await member.all([op(OpKind.CREATE, n, 0) for n in numbers]) == committed
    assert await member.all([op(OpKind.REDEEM, n, 1, old=0) for n in numbers]) == committed
    assert member.journal.batches == 4
    records = (await member.store.scan(member.keys.shard_records(SHARD))).entries
    assert len(records) == len(numbers)
    assert {member.vault.open_record(entry.value, entry.key) for entry in records} == {RECORD}
    sessions = (await member.store.scan(member.keys.sessions)).entries
    assert {entry.version for entry in sessions} == {2}


async def test_in_one_batch_each_operation_has_its_own_outcome(member: Member) -> None:
    await member.all([op(OpKind.CREATE, n, 0) for n in range(1, 21)])
    await member.all([op(OpKind.REDEEM, n, 1, old=0) for n in range(1, 11)])
    again = await member.all([op(OpKind.REDEEM, n, 1, old=0) for n in range(1, 21)])
    assert again == [Outcome.SUPERSEDED] * 10 + [Outcome.COMMITTED] * 10
    assert await member.all([op(OpKind.REVOKE, n, 2, sa=1) for n in range(1, 21)]) == (
        [Outcome.COMMITTED] * 20
    )
    assert (await member.store.scan(member.keys.sessions)).entries == ()


async def test_a_shard_that_changed_hands_fences_what_comes_late(member: Member) -> None:
    assert await member.all([op(OpKind.CREATE, 1, 0)]) == [Outcome.COMMITTED]
    await member.store.commit(Txn((), (Put(member.keys.shard(SHARD), b"{} other"),)))
    late = [op(OpKind.CREATE, 2, 0), op(OpKind.WRITE, 1, 1), op(OpKind.REVOKE, 1, 1)]
    assert await member.all(late) == [Outcome.FENCED] * 3
    assert len((await member.store.scan(member.keys.sessions)).entries) == 1


async def test_a_lease_that_was_revoked_is_granted_again(member: Member) -> None:
    await member.all([op(OpKind.CREATE, 1, 0)])
    lease_id = (await member.store.scan(member.keys.sessions)).entries[0].lease_id
    await (await member.store.lease(5000, lease_id)).revoke()
    assert (await member.store.scan(member.keys.sessions)).entries == ()
    assert await member.all([op(OpKind.CREATE, 2, 0)]) == [Outcome.COMMITTED]
    assert (await member.store.scan(member.keys.sessions)).entries[0].lease_id == lease_id
