"""The ledger of what was done without the store, and what a row of it becomes in the store."""

import asyncio

import pytest

from cluster.batch import ADDRESSES_MAX
from cluster.failsafe.flush import ROWS_PER_TXN
from cluster.failsafe.frames import Claim
from cluster.failsafe.ledger import CHAINS_MAX, GONE_MAX, RESERVED_MAX, Ledger, Live, Row
from cluster.failsafe.write import Fate, Step, next_step
from cluster.layout import Keys
from cluster.store import Entry, Put, Txn, TxnResult
from cluster.store_memory import MemoryStore
from cluster.txn_rules import check_txn
from tests.unit.cluster.fakes import LoopClock

KEYS = Keys("sample")
CHAIN = bytes(15) + b"c"
SHARD = 3
REPLACED = (5, b"replaced")


def op_id(number: int, journal: int = 0) -> bytes:
    return journal.to_bytes(8, "big") + number.to_bytes(8, "big")


def spi(number: int) -> bytes:
    return b"spi" + number.to_bytes(5, "big")


def claim(generation: int, sa: int, number: int, **changed: object) -> Claim:
    values: dict[str, object] = {
        "op_id": op_id(number),
        "chain": CHAIN,
        "generation": generation,
        "spi": spi(sa),
        "shard": SHARD,
        "owner": "a",
        "incarnation": "a1",
        "expires_wall_s": 1e9,
        "record": b"sealed %d" % number,
        "ticket": None,
        "gone": (),
        "void": False,
    }
    values.update(changed)
    return Claim(**values)  # type: ignore[arg-type]


def test_a_home_grants_a_generation_once_and_says_the_same_again():
    ledger = Ledger({})
    assert ledger.grant(op_id(1), CHAIN, 4, spi(1))
    assert ledger.grant(op_id(1), CHAIN, 4, spi(1))
    assert not ledger.grant(op_id(2, 2), CHAIN, 4, spi(2))
    assert not ledger.grant(op_id(3, 3), CHAIN, 3, spi(3))
    assert ledger.grant(op_id(4, 4), CHAIN, 5, spi(4))


def test_what_a_journal_has_given_up_is_not_in_the_way_of_what_it_asks_for_next():
    ledger = Ledger({})
    assert ledger.grant(op_id(1), CHAIN, 4, spi(1))
    assert ledger.grant(op_id(2), CHAIN, 4, spi(2))
    assert not ledger.grant(op_id(3, 2), CHAIN, 4, spi(3))
    assert not ledger.grant(op_id(4), CHAIN, 3, spi(4))
    assert ledger.keep(claim(5, 2, 2))
    assert not ledger.grant(op_id(5), CHAIN, 4, spi(5))


def test_a_home_grants_nothing_that_is_known_to_be_spent():
    ledger = Ledger({CHAIN: Live(5, spi(9))})
    assert not ledger.grant(op_id(1), CHAIN, 4, spi(1))
    assert ledger.grant(op_id(2), CHAIN, 5, spi(1))
    ledger = Ledger({})
    assert ledger.keep(claim(5, 9, 1))
    assert not ledger.grant(op_id(2), CHAIN, 4, spi(1))


def test_of_a_chain_the_newest_is_kept_and_the_older_objected_to():
    ledger = Ledger({})
    assert ledger.keep(claim(2, 1, 10))
    assert ledger.keep(claim(2, 1, 12))
    assert ledger.keep(claim(2, 1, 11))  # late, of the same SA
    assert ledger.rows[CHAIN].claim.number == 12
    assert not ledger.keep(claim(2, 2, 20))  # another SA of that generation
    assert not ledger.keep(claim(1, 3, 30))
    assert ledger.keep(claim(3, 2, 13, shard=4))
    assert ledger.rows[CHAIN].gone == ((SHARD, spi(1)),)


def test_what_lives_here_from_before_is_objected_with():
    ledger = Ledger({CHAIN: Live(3, spi(9))})
    assert not ledger.keep(claim(3, 1, 1))
    assert not ledger.keep(claim(2, 1, 1))
    assert ledger.keep(claim(3, 9, 1))
    assert ledger.keep(claim(4, 2, 2))


def test_what_the_store_carried_out_late_is_overtaken_by_what_is_kept():
    ledger = Ledger({})
    assert ledger.committed(CHAIN, Live(2, spi(1)))
    assert not ledger.keep(claim(2, 2, 1))
    assert ledger.keep(claim(3, 2, 1))
    assert not ledger.committed(CHAIN, Live(2, spi(1)))
    assert not ledger.committed(CHAIN, Live(3, spi(1)))


def test_only_what_was_answered_here_is_to_be_written():
    ledger = Ledger({})
    mine = claim(1, 1, 1)
    ledger.keep(mine)
    assert list(ledger.unwritten) == []
    ledger.answered(mine)
    assert list(ledger.unwritten) == [CHAIN]
    assert ledger.of_lost({"a": "a0"}) == []
    assert [row.claim for row in ledger.of_lost({"a": "a1"})] == [mine]


class Stored:
    """A store that a row is written to, step by step."""

    def __init__(self) -> None:
        self.store = MemoryStore(LoopClock())
        self.losers: list[bytes] = []

    async def begin(self, version: int, sa: int, number: int) -> None:
        for _ in range(version):
            await self.put(KEYS.session(CHAIN), spi(sa) + op_id(number))
        await self.put(KEYS.record(SHARD, spi(sa)), b"before")
        await self.put(KEYS.record(*REPLACED), b"replaced")
        await self.put(KEYS.shard(SHARD), b"owned")
        entry = await self.store.get(KEYS.shard(SHARD))
        assert entry is not None
        self.shard_revision = entry.mod_revision

    async def put(self, key: bytes, value: bytes) -> None:
        await self.store.commit(Txn((), (Put(key, value),)))

    async def write(self, row: Row, *, lost: bool = False) -> Fate:
        for _ in range(20):
            step = next_step(
                KEYS,
                row,
                await self.store.get(KEYS.session(CHAIN)),
                [await self.store.get(address) for address in row.claim.addresses],
                lease_id=0,
                shard_revision=None if lost else self.shard_revision,
                shard_of=lambda _spi: SHARD,
                answered=True,
            )
            if isinstance(step, Fate):
                return step
            assert isinstance(step, Step)
            result = await self.store.commit(Txn((), (step.txn,)))
            done = result.responses[0]
            assert isinstance(done, TxnResult)
            if step.loser and done.succeeded:
                self.losers.append(step.loser)
            if step.fate is not None and done.succeeded:
                return step.fate
        raise AssertionError("without end")

    async def chain(self) -> tuple[int, bytes]:
        entry = await self.store.get(KEYS.session(CHAIN))
        return (0, b"") if entry is None else (entry.version, entry.value[:8])

    async def leased(self) -> bytes | None:
        entry = await self.store.get(LEASED)
        return None if entry is None else entry.value

    async def records(self) -> dict[bytes, bytes]:
        entries = (await self.store.scan(KEYS.records)).entries
        return {bytes.fromhex(e.key.rpartition(b"/")[2].decode()): e.value for e in entries}


BIG = 1_790_000_000_000_000


@pytest.mark.parametrize("generations", [1, 2, 5])
def test_the_chain_gets_a_version_for_every_generation(generations: int):
    async def main() -> None:
        stored = Stored()
        await stored.begin(2, 1, 7)
        row = Row(claim(2 + generations, 2, BIG), (REPLACED, (SHARD, spi(1))))
        for _ in range(2):  # a second time changes nothing
            assert await stored.write(row) is Fate.DONE
            assert await stored.chain() == (2 + generations, spi(2))
            assert await stored.records() == {spi(2): b"sealed %d" % BIG}
        assert stored.losers == []

    asyncio.run(main())


def test_a_write_changes_the_record_and_not_the_chain():
    async def main() -> None:
        stored = Stored()
        await stored.begin(2, 1, 7)
        assert await stored.write(Row(claim(2, 1, BIG), ())) is Fate.DONE
        assert await stored.chain() == (2, spi(1))
        assert (await stored.records())[spi(1)] == b"sealed %d" % BIG

    asyncio.run(main())


def test_an_end_deletes_the_record_and_a_revocation_the_chain_too():
    async def main() -> None:
        for void in (False, True):
            stored = Stored()
            await stored.begin(2, 1, 7)
            row = Row(claim(3 if void else 2, 1, BIG, record=b"", void=void), (REPLACED,))
            assert await stored.write(row) is Fate.DONE
            assert await stored.chain() == ((0, b"") if void else (2, spi(1)))
            assert await stored.records() == {}

    asyncio.run(main())


def test_of_a_lost_process_the_chain_is_written_and_the_sa_is_dead():
    async def main() -> None:
        stored = Stored()
        await stored.begin(2, 1, 7)
        await stored.put(KEYS.record(SHARD, spi(2)), b"stale")
        assert await stored.write(Row(claim(3, 2, BIG), ((SHARD, spi(1)),)), lost=True) is Fate.DONE
        assert await stored.chain() == (3, spi(2))
        assert spi(2) not in await stored.records()

    asyncio.run(main())


@pytest.mark.parametrize("changed", [{}, {"record": b""}])
def test_a_reference_works_though_its_sa_is_dead_or_has_ended(changed: dict[str, object]):
    async def main() -> None:
        stored = Stored()
        await stored.begin(2, 1, 7)
        row = Row(claim(3, 2, BIG, ticket=b"pointed to", **changed), ())
        assert await stored.write(row, lost=not changed) is Fate.DONE
        kept = await stored.store.get(KEYS.ticket(CHAIN))
        assert kept is not None
        assert kept.value == b"pointed to"

    asyncio.run(main())


def test_a_record_is_not_written_into_a_shard_that_another_owns_now():
    async def main() -> None:
        stored = Stored()
        await stored.begin(2, 1, 7)
        await stored.put(KEYS.shard(SHARD), b"claimed")
        with pytest.raises(AssertionError, match="without end"):
            await stored.write(Row(claim(3, 2, BIG), ()))
        assert await stored.chain() == (2, spi(1))

    asyncio.run(main())


@pytest.mark.parametrize("void", [False, True])
@pytest.mark.parametrize("generations", [1, 2])
def test_whose_chain_goes_on_leaves_no_record_though_the_row_never_heard_of_it(
    generations: int, void: bool
):
    """Its generation was that of one that is forgotten, and that the row has in its place."""

    async def main() -> None:
        stored = Stored()
        await stored.begin(2, 9, 7)
        row = Row(claim(2 + generations, 2, BIG, void=void), (REPLACED, (SHARD, spi(1))))
        assert await stored.write(row) is Fate.DONE
        assert stored.losers == [spi(9)]
        assert await stored.chain() == ((0, b"") if void else (2 + generations, spi(2)))
        assert list(await stored.records()) == [] if void else [spi(2)]

    asyncio.run(main())


def test_what_a_claim_replaced_goes_though_a_later_one_was_heard_before_it():
    ledger = Ledger({})
    assert ledger.keep(claim(2, 1, 5))
    assert ledger.keep(claim(2, 1, 4, gone=(REPLACED,)))
    assert (ledger.rows[CHAIN].claim.number, ledger.rows[CHAIN].gone) == (5, (REPLACED,))


@pytest.mark.parametrize(("theirs", "fate"), [(BIG - 1, Fate.DONE), (BIG + 1, Fate.LOST)])
def test_of_two_claims_the_newer_one_stands(theirs: int, fate: Fate):
    async def main() -> None:
        stored = Stored()
        await stored.begin(3, 9, theirs)
        assert await stored.write(Row(claim(3, 2, BIG), ())) is fate
        if fate is Fate.DONE:
            assert stored.losers == [spi(9)]
            assert await stored.chain() == (3, spi(2))
            assert spi(9) not in await stored.records()
        else:
            assert await stored.chain() == (3, spi(9))

    asyncio.run(main())


FRESH = b"\xff" * 16


def other(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_a_full_ledger_keeps_what_it_has_and_no_other_chain():
    ledger = Ledger({})
    for number in range(CHAINS_MAX):
        assert ledger.keep(claim(1, 1, 1, chain=other(number)))
    assert not ledger.keep(claim(1, 1, 1, chain=FRESH))
    assert ledger.keep(claim(1, 1, 2, chain=other(7)))


def test_a_full_home_grants_no_other_chain():
    ledger = Ledger({})
    for number in range(RESERVED_MAX):
        assert ledger.grant(op_id(1), other(number), 1, spi(1))
    assert not ledger.grant(op_id(1), FRESH, 1, spi(1))
    assert ledger.grant(op_id(1), other(7), 1, spi(1))


def test_a_chain_moves_on_as_often_as_one_step_can_delete_what_went():
    ledger, moves = Ledger({}), GONE_MAX + 1
    for one in range(1, moves + 1):
        assert ledger.keep(claim(one, one, one))
    assert not ledger.keep(claim(moves + 1, moves + 1, moves + 1))
    assert ledger.keep(claim(moves, moves, moves + 2))  # of the same SA
    assert len(ledger.rows[CHAIN].gone) == GONE_MAX


@pytest.mark.parametrize("void", [False, True])
def test_so_many_steps_as_are_made_at_once_fit_one_transaction(void: bool):
    """Of chains that have as much as any can have."""
    steps = []
    for number in range(ROWS_PER_TXN):
        addresses = tuple(KEYS.address("office", bytes([number, n])) for n in range(ADDRESSES_MAX))
        gone = tuple((SHARD, spi(1 + GONE_MAX * number + n)) for n in range(GONE_MAX))
        mine = claim(
            2, 1_000_000 + number, BIG, chain=other(number), ticket=b"t", void=void,
            addresses=addresses,
        )  # fmt: skip
        step = next_step(
            KEYS,
            Row(mine, gone),
            Entry(KEYS.session(mine.chain), spi(2_000_000 + number) + op_id(1), 1, 1, 1),
            [Entry(address, mine.chain, 1, 1, 1) for address in addresses],
            lease_id=1,
            shard_revision=2,
            shard_of=lambda _spi: SHARD,
            answered=True,
        )
        assert isinstance(step, Step)
        steps.append(step.txn)
    check_txn(Txn((), tuple(steps)))


def test_a_write_that_changes_no_reference_leaves_what_the_store_has():
    ledger = Ledger({})
    assert ledger.kept(CHAIN, 2) is None
    assert ledger.keep(claim(2, 1, 1))  # of an SA from before: no ticket was issued since
    assert ledger.kept(CHAIN, 2) is None
    assert ledger.kept(CHAIN, 1) == (True, b"")
    assert ledger.keep(claim(2, 1, 2, ticket=b"sealed"))
    assert ledger.keep(claim(2, 1, 3))
    assert ledger.kept(CHAIN, 2) == (False, b"sealed")
    assert ledger.keep(claim(2, 1, 4, ticket=b""))  # it goes
    assert ledger.kept(CHAIN, 2) == (False, b"")
    assert ledger.keep(claim(2, 1, 5, record=b"", void=True))
    assert ledger.kept(CHAIN, 2) == (True, b"")


LEASED = KEYS.address("office", b"\x0a\x09\x00\x01")
OTHER_CHAIN = bytes(15) + b"d"


def test_an_internal_address_that_another_chain_has_makes_it_void():
    known = Ledger({OTHER_CHAIN: Live(1, spi(9), (LEASED,))})
    assert not known.keep(claim(1, 1, 1, addresses=(LEASED,)))
    told = Ledger({})
    assert told.committed(OTHER_CHAIN, Live(1, spi(9), (LEASED,)))
    assert not told.keep(claim(1, 1, 1, addresses=(LEASED,)))
    kept = Ledger({})
    assert kept.keep(claim(1, 1, 1, addresses=(LEASED,)))
    assert kept.keep(claim(2, 2, 2, addresses=(LEASED,)))  # its own, at the next generation
    assert not kept.keep(claim(1, 3, 3, chain=OTHER_CHAIN, addresses=(LEASED,)))
    assert kept.keep(claim(2, 2, 4, void=True, addresses=(LEASED,)))
    assert kept.keep(claim(1, 3, 5, chain=OTHER_CHAIN, addresses=(LEASED,)))


def test_an_internal_address_of_a_chain_that_ended_in_the_store_is_free():
    ledger = Ledger({})
    assert ledger.committed(OTHER_CHAIN, Live(1, spi(9), (LEASED,)))
    assert ledger.committed(OTHER_CHAIN, Live(2, spi(9), (LEASED,)), void=True)
    assert ledger.keep(claim(1, 1, 1, addresses=(LEASED,)))


def test_the_store_gets_the_internal_addresses_with_the_chain_and_loses_them_with_it():
    async def main() -> None:
        stored = Stored()
        await stored.begin(0, 9, 7)
        row = Row(claim(2, 1, 1, addresses=(LEASED,)), ())
        assert await stored.write(row) is Fate.DONE
        assert await stored.leased() == CHAIN
        void = Row(claim(2, 1, 2, void=True, addresses=(LEASED,)), ())
        assert await stored.write(void) is Fate.DONE
        assert await stored.leased() is None

    asyncio.run(main())


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("void", [False, True])
def test_no_internal_address_is_taken_from_a_chain_that_has_it(version: int, void: bool):
    """The session that was given it twice ends, with its chain; the other one keeps it."""

    async def main() -> None:
        stored = Stored()
        await stored.begin(version, 1, 7)
        await stored.put(LEASED, b"another")
        row = Row(claim(2, 2, BIG, void=void, addresses=(LEASED,)), ((SHARD, spi(1)),))
        assert await stored.write(row) is (Fate.DONE if void else Fate.TAKEN)
        assert await stored.leased() == b"another"
        assert await stored.chain() == (0, b"")
        assert spi(2) not in await stored.records()

    asyncio.run(main())


def test_an_internal_address_that_is_taken_meanwhile_is_not_written_over():
    """Between what was read and what is written: each is compared."""

    async def main() -> None:
        stored = Stored()
        await stored.begin(0, 9, 7)
        row = Row(claim(1, 1, 1, addresses=(LEASED,)), ())
        step = next_step(
            KEYS, row, None, [None], lease_id=0, shard_revision=stored.shard_revision,
            shard_of=lambda _spi: SHARD, answered=True,
        )  # fmt: skip
        assert isinstance(step, Step)
        await stored.put(LEASED, b"another")
        assert not (await stored.store.commit(step.txn)).succeeded
        assert await stored.leased() == b"another"

    asyncio.run(main())
