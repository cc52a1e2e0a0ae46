"""An SA whose session is revoked writes what was under way, and its end; anything else is found."""

import asyncio

import msgspec
import pytest

from cluster.layout import Keys
from cluster.revocation import Rule, RuleKind
from cluster.store import Compare, Delete, Put, Target, Txn
from tests.sim.findings import Findings
from tests.sim.last_words import END_S, LastWords
from tests.sim.loop import SimLoop, run
from tests.sim.machine import CLUSTER
from tests.sim.net import Weather
from tests.sim.scenarios import Scenario, run_scenario
from tests.sim.seams import SimClock
from tests.sim.world import Size, World

KEYS = Keys(CLUSTER)
CHAIN = bytes(16)
SESSION = KEYS.session(CHAIN)
RECORD = KEYS.record(3, bytes(8))
ONE, OTHER = KEYS.lane("one-0"), KEYS.lane("other-0")
STANDS = [f"I6, promise 3: record {bytes(8).hex()} stands, and its session is revoked"]


def _batch(lane: bytes, *ops: Put | Delete, watermark: bool = True) -> Txn:
    compares = (Compare(lane, Target.MOD_REVISION, 0),)
    if watermark:
        compares = (Compare(KEYS.watermark, Target.MOD_REVISION, 0), *compares)
    return Txn(compares, (Put(lane, b""), *ops))


class _Words:
    def __init__(self, loop: SimLoop) -> None:
        self.findings = Findings()
        self.fence = 1
        self._words = LastWords(KEYS, SimClock(loop), self.findings)

    def put(self, value: bytes, lane: bytes = ONE, *more: Put, watermark: bool = True) -> bool:
        op = Put(RECORD, value)
        txn = _batch(lane, op, *more, watermark=watermark)
        ops = [op, *more]
        may = self._words.may_put(op, SESSION, txn, ops, self.fence)
        self._words.went_on(txn, ops, lambda _shard: self.fence)
        return may

    def repeat(self, value: bytes) -> None:
        """The batch comes again, and does nothing: it was carried out, and its answer lost."""
        txn = _batch(ONE, Txn(success=(Put(RECORD, value),)))
        self._words.went_on(txn, [Put(ONE, b"")], lambda _shard: self.fence)

    def end(self) -> None:
        self._words.ended(RECORD)
        self.go_on(Delete(RECORD))

    def go_on(self, *ops: Put | Delete, lane: bytes = ONE) -> None:
        self._words.went_on(_batch(lane, *ops), list(ops), lambda _shard: self.fence)


def test_one_write_that_was_under_way_and_its_repetition_may_come_before_the_end():
    async def main(loop: SimLoop):
        words = _Words(loop)
        assert words.put(b"answer")
        assert words.put(b"answer")
        assert not words.put(b"another")
        words.end()
        await asyncio.sleep(2 * END_S)
        words.go_on()
        words.go_on()
        return words.findings

    assert run(main) == []


def test_who_does_not_hear_how_a_write_ended_has_not_gone_on():
    async def main(loop: SimLoop):
        words = _Words(loop)
        assert words.put(b"answer")
        for _ in range(4):
            await asyncio.sleep(END_S)
            words.repeat(b"answer")
        assert words.findings == []
        for _ in range(2):
            await asyncio.sleep(END_S)
            words.repeat(b"another's")
        return words.findings

    assert run(main) == STANDS


def test_what_begins_or_did_not_read_the_rules_is_no_last_word():
    async def main(loop: SimLoop):
        words = _Words(loop)
        return [
            words.put(b"x", ONE, Put(SESSION, b"")),
            words.put(b"x", watermark=False),
            words.put(b"x", KEYS.member("gw1")),
        ]

    assert run(main) == [False, False, False]


@pytest.mark.parametrize(
    ("lane", "fence", "found"), [(ONE, 1, STANDS), (ONE, 2, []), (OTHER, 1, [])]
)
def test_a_journal_that_goes_on_without_the_end_is_found(lane: bytes, fence: int, found: list[str]):
    async def main(loop: SimLoop):
        words = _Words(loop)
        assert words.put(b"answer")
        words.fence = fence
        words.go_on(lane=lane)
        assert words.findings == []
        await asyncio.sleep(END_S)
        words.go_on(lane=lane)
        return words.findings

    assert run(main) == found


@pytest.mark.parametrize(
    ("new", "watermark", "found"), [(False, True, 0), (False, False, 1), (True, True, 1)]
)
def test_the_ledger_lets_the_last_word_pass_and_nothing_else(
    new: bool, watermark: bool, found: int
):
    """`new`: no record stood there."""

    async def play(world: World) -> None:
        await world.begin()
        await world.connect_all()
        await asyncio.sleep(1)
        ledger = world.ledger
        (entry,) = (await world.store.scan(KEYS.records)).entries
        (session,) = (await world.store.scan(KEYS.sessions)).entries
        chain = session.key[len(KEYS.sessions) :].decode()
        rule = Rule(RuleKind.SESSION.value, chain, 0.0, 0.0, 1e12)
        put = Put(KEYS.revocation("00"), msgspec.json.encode(rule))
        await ledger.commit(Txn(success=(put,)))
        if new:
            ledger.recorded.clear()
        batch = _batch(ONE, Put(entry.key, entry.value), watermark=watermark)
        assert (await ledger.commit(batch)).succeeded

    small = Scenario(play, size=Size(gateways=1, clients=1), weather=Weather())
    findings = run_scenario(small, 1).findings
    assert len([line for line in findings if "was written, and its session" in line]) == found
