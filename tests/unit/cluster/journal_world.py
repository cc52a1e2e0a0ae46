"""The journal under test: a store in which a shard is owned, and members with their beliefs."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from cluster.batch import Op, OpKind, Outcome, Pending
from cluster.errors import Unavailable
from cluster.journal import Journal
from cluster.journal_hooks import JournalHooks, JournalState
from cluster.keyring import RingPolicy, new_ring
from cluster.layout import Keys
from cluster.link import MirrorEntry
from cluster.records import RecordVault
from cluster.store import Entry, Put, Txn
from tests.sim.loop import run
from tests.unit.cluster.fakes import T0, FaultyStore, FixedState, LoopClock, SeededRng

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
        issued_wall_s=T0,
    )


def rekey(number: int, generation: int, new: int, old: int) -> Op:
    return msgspec.structs.replace(redeem(number, generation, new, old), issued_wall_s=None)


def other(kind: OpKind, number: int, generation: int, record: bytes = b"", sa: int = 0) -> Op:
    return Op(kind, chain(number), generation, SHARD, spi(sa or number), record, None, EXPIRES)


class Gate:
    """Another way for operations to end: it keeps what it is given until it gives it back."""

    watches = False

    def __init__(self) -> None:
        self.open = False
        self.taken: list[tuple[Pending, Callable[[Pending, Outcome | None], None]]] = []
        self.wanted: Callable[[Pending], bool] = lambda _pending: True

    def take(
        self,
        pending: Pending,
        end: Callable[[Pending, Outcome | None], None],
        wanted: Callable[[Pending], bool],
    ) -> None:
        self.taken.append((pending, end))
        self.wanted = wanted

    def committed(self, generation: int, pending: Pending) -> bool:
        return True

    def close(self) -> None:
        self.open = False
        for pending, end in self.taken:
            end(pending, None)


class Member:
    """One member's journal, with what it believes in the test's hand."""

    def __init__(self, world: "World", name: str, **options: int) -> None:
        self.world = world
        self.states: list[JournalState] = []
        self.mirrored: list[tuple[int, MirrorEntry]] = []
        self.doubted: list[int] = []
        self.latencies: list[float] = []
        self.watermarks: list[Entry | None] = []
        self.deaf = False
        self.banned: tuple[bytes, ...] = ()
        """Chains that are revoked, as the rules say that `obey` reads."""
        self.asked: dict[bytes, float | None] = {}
        """SPI → when its answer was asked for last; others are wanted whoever asks."""
        self.outcomes: list[Outcome] = []
        self.gate = Gate()
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
                doubt=self.doubted.append,
                on_state=self.states.append,
                on_latency=self.latencies.append,
                gate=self.gate,
                obey=self.obey,
                revoked=self.revoked,
                asked=lambda op: self.asked.get(op.spi, float("inf")),
            ),
            **options,
        )
        self.journal.start(world.spawn)

    async def obey(self, watermark: Entry | None) -> None:
        if self.deaf:
            raise Unavailable("the rules can't be read")
        self.watermarks.append(watermark)

    def revoked(self, op: Op) -> bool:
        return bool(self.watermarks) and op.chain in self.banned

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


def without_lanes(entries: tuple[Entry, ...]) -> list[Entry]:
    return [entry for entry in entries if not entry.key.startswith(KEYS.lanes)]


def record_key(number: int) -> bytes:
    return KEYS.record(SHARD, spi(number))


def puts(txn: Txn) -> list[Put]:
    nested = [op for op in txn.success if isinstance(op, Txn)]
    return [op for part in nested for op in part.success if isinstance(op, Put)]
