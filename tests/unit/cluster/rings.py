"""One store and several members' keepers of the key ring, on virtual time."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from cluster.keyring import RingPolicy
from cluster.layout import Keys, MemberRecord
from cluster.ring_keeper import RingHooks, RingKeeper
from cluster.rotation import Rotations
from cluster.store import Put, Txn
from cluster.vault import Kek, Keks
from proto.secret import Secret
from tests.sim.loop import run
from tests.unit.cluster.fakes import FaultyStore, LoopClock, SeededRng

KEYS = Keys("sample")
KEK = Kek(Secret(bytes(range(32))))
POLICY = RingPolicy()


class World:
    """One store, several members' keepers."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.store = FaultyStore(self.clock)
        self.troubles: list[str] = []
        self.on_installed: Callable[[], None] = lambda: None
        self.keepers: dict[str, RingKeeper] = {}
        self.made = 0
        self.tasks: list[asyncio.Task[object]] = []

    def keeper(self, name: str, *keks: Kek) -> RingKeeper:
        keeper = RingKeeper(
            store=self.store,
            keys=KEYS,
            keks=Keks(keks or (KEK,)),
            clock=self.clock,
            rng=SeededRng(1, name),
            policy=POLICY,
            hooks=RingHooks(
                on_installed=lambda _revision: self.on_installed(),
                on_trouble=self.troubles.append,
            ),
        )
        self.keepers[name] = keeper
        return keeper

    def spawn(self, coro: object, name: str) -> asyncio.Task[object]:
        task = asyncio.ensure_future(coro)  # type: ignore[call-overload]
        self.tasks.append(task)
        return task  # type: ignore[no-any-return]

    async def join(self, name: str, *, watching: bool = True) -> RingKeeper:
        keeper = self.keeper(name)
        await self.register(name)
        await keeper.load_or_create()
        if watching:
            keeper.start(self.spawn)
        return keeper

    async def register(self, name: str) -> None:
        await self.store.commit(registration(name))

    def rotations(self, keeper: RingKeeper) -> Rotations:
        self.made += 1
        return Rotations(
            keeper=keeper,
            store=self.store,
            keys=KEYS,
            clock=self.clock,
            rng=SeededRng(2, str(self.made)),
            policy=POLICY,
            live_revisions=self.reports,
        )

    def reports(self) -> dict[str, int]:
        return {name: keeper.revision for name, keeper in self.keepers.items()}

    async def settle(self) -> None:
        await asyncio.sleep(0.01)


def registration(name: str) -> Txn:
    record = MemberRecord(name, "00" * 16, "00" * 16, "host", "", (), 0, 0.0, "0.1")
    return Txn((), (Put(KEYS.member(name), msgspec.json.encode(record)),))


def play(story: Callable[[World], Awaitable[None]]) -> None:
    async def main(_loop: object) -> None:
        world = World()
        await story(world)
        for task in world.tasks:
            assert not task.done(), "a watch died"

    run(main)
