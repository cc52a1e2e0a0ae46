"""Members that can go on without the store, with all that it takes and nothing else."""

import asyncio
from collections.abc import Callable

from cluster.dispatch import Dispatch
from cluster.failsafe.flush import Flush, FlushParts
from cluster.failsafe.frames import Claim
from cluster.failsafe.gate import Gate, Me
from cluster.failsafe.ledger import Live, Row
from cluster.failsafe.outage import MemoryBook, Outage
from cluster.heartbeat import Heartbeats, HeartbeatSettings, Vitals
from cluster.link import Heartbeat, Hello
from cluster.state import StateKeeper
from cluster.store import Entry
from tests.unit.cluster.members import KEYS, Cluster
from tests.unit.cluster.test_failsafe_ledger import BIG, CHAIN, claim


class Goer:
    """One member with everything that it needs to go on without the store, and nothing else."""

    def __init__(self, cluster: Cluster, name: str, life: int = 1, book: MemoryBook | None = None):
        self.name, self.cluster = name, cluster
        self.book = book or MemoryBook()
        self.member, self.way = cluster.member(name, life)
        self.link = cluster.net.join(name)
        self.tasks: list[asyncio.Task[None]] = []
        self.told: list[str] = []
        self.dropped: list[tuple[bytes, str]] = []
        self.ended: list[bytes] = []
        self.banned = b""
        """A chain that is revoked, as the rules say that `obey` reads."""
        self.owned: int | None = None
        """The revision under which the shard of its claims is this member's."""
        clock = cluster.clock_of(name)
        self.beats = Heartbeats(
            self.link, clock, self.member, settings=HeartbeatSettings(),
            vitals=lambda: Vitals(0, 0, self.member.state, full=self.gate.full),
        )  # fmt: skip
        self.state = StateKeeper(self.way, KEYS, clock)
        self.outage = Outage(self.link, clock, self.member, self.book)
        self.outage.hears = self.beats.hears
        self.outage.in_failsafe = self.beats.in_failsafe
        self.gate = Gate(self.link, clock, Me(name, self.member.incarnation, False), self)
        self.gate.bound = lambda other: other in self.outage.given
        self.gate.on_first = lambda: self.outage.set_alone(True)
        self.gate.writable = lambda: not self.outage.unwritable
        self.outage.on_failsafe.append(self.failsafe)
        self.beats.also = self.outage.pledgees
        self.flush = Flush(
            FlushParts(
                self.way, KEYS, clock, self.member, self.state, self.outage, self.gate,
                lambda _shard: self.owned, lambda _spi: 3, self, self,
            )
        )  # fmt: skip
        dispatch = Dispatch(self.link)
        dispatch.on(Heartbeat, self.beats.receive)
        dispatch.on(Hello, self.beats.greeted)
        self.outage.listen(dispatch)
        self.gate.listen(dispatch)

    async def begin(self) -> "Goer":
        await self.state.load_or_create(4)
        await self.member.join()
        runs = (self.state.run, self.beats.run, self.outage.run, self.gate.run)
        self.tasks = [self.cluster.spawn(run(), self.name) for run in runs]
        self.go_on()
        return self

    def go_on(self) -> None:
        """Flush, from now on or again."""
        self.flush_task = self.cluster.spawn(self.flush.run(), self.name)
        self.tasks.append(self.flush_task)

    def kill(self) -> None:
        self.way.away = True
        self.cluster.net.leave(self.link)
        for task in (*self.tasks, *self.member._tasks):
            task.cancel()

    def failsafe(self, begins: bool) -> None:
        if begins:
            self.gate.begin(tuple(self.outage.pledges.roster))

    def heard(self, name: str) -> bool:
        life = self.outage.pledges.roster.get(name, "")
        return self.beats.hears(name, life) and not self.beats.full(name)

    def elsewhere(self, name: str) -> bool:
        return name != self.name

    def live(self) -> dict[bytes, Live]:
        return {}

    def may_be_over(self, chain: bytes, generation: int, issued_wall_s: float) -> bool:
        return False

    watermark = obeyed = 0

    async def obey(self, watermark: Entry | None) -> None:
        self.obeyed += 1
        self.watermark = 0 if watermark is None else watermark.mod_revision

    def revoked(self, row: Row) -> bool:
        return self.obeyed > 0 and row.claim.chain == self.banned

    def answers(self, row: Row) -> bool:
        return row.claim.spi not in self.ended

    def used_twice(self, row: Row) -> None:
        self.told.append("twice")

    def void(self, chain: bytes, spi: bytes, why: str) -> None:
        assert chain == CHAIN
        self.told.append("void")
        self.dropped.append((spi, why))

    def buried(self, records: int) -> None:
        self.told.append(f"buried {records}")

    def answer(self, generation: int, sa: int, **changed: object) -> Claim:
        """Have answered for something without the store."""
        mine = claim(
            generation, sa, BIG + generation, owner=self.name, incarnation=self.member.incarnation,
            **changed,
        )  # fmt: skip
        assert self.gate.ledger.keep(mine)
        self.gate.ledger.answered(mine)
        return mine


async def in_failsafe(cluster: Cluster, names: str = "abc") -> list[Goer]:
    goers = [await Goer(cluster, name).begin() for name in names]
    await asyncio.sleep(1)
    for goer in goers:
        goer.way.away = True
    await asyncio.sleep(6)
    assert all(goer.outage.failsafe for goer in goers)
    return goers


async def until(done: Callable[[], bool]) -> None:
    """Within ten seconds of virtual time."""
    for _ in range(100):
        if done():
            return
        await asyncio.sleep(0.1)
    raise AssertionError("it doesn't come to that")


async def version(cluster: Cluster) -> int:
    entry = await cluster.store.get(KEYS.session(CHAIN))
    return 0 if entry is None else entry.version
