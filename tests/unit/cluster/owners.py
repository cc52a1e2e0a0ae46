"""Whole members on virtual time: membership, heartbeats and ownership joined as a gateway does."""

import asyncio
from collections.abc import Coroutine, Iterable

import msgspec

from cluster.dispatch import Dispatch
from cluster.errors import Incompatible
from cluster.heartbeat import Heartbeats, HeartbeatSettings, Vitals
from cluster.layout import ShardRecord
from cluster.link import Heartbeat, Hello
from cluster.ownership import Ownership, OwnershipSettings
from cluster.shards import rank
from cluster.store import Put, Txn
from tests.sim.seams import SeededRng
from tests.unit.cluster.members import KEYS, Cluster

SHARDS = 64


def assign(shards: int, members: Iterable[str]) -> dict[int, str]:
    """Who should own each shard from 0 to `shards` − 1: the first of its rank."""
    names = tuple(members)
    return {shard: rank(shard, names)[0] for shard in range(shards)}


class Owner:
    """One member that owns shards, with what it was told."""

    def __init__(
        self, cluster: Cluster, name: str, life: int = 1, listen_s: float = 2.0, **changed: object
    ) -> None:
        self.name = name
        self.cluster = cluster
        self.member, self.way = cluster.member(name, life, **changed)
        self.link = cluster.net.join(name)
        self.dispatch = Dispatch(self.link)
        self.rng = SeededRng(life, f"{name}/shards")
        self.sessions: dict[int, int] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.heartbeats = Heartbeats(
            self.link,
            cluster.clock_of(name),
            self.member,
            vitals=lambda: Vitals(0, 0, self.member.state),
            settings=HeartbeatSettings(),
        )
        self.dispatch.on(Heartbeat, self.heartbeats.receive)
        self.dispatch.on(Hello, self.heartbeats.greeted)
        self.ownership = Ownership(
            self.way,
            KEYS,
            cluster.clock_of(name),
            spawn=self._spawn,
            membership=self.member,
            heartbeats=self.heartbeats,
            shards=SHARDS,
            unfinished_in=lambda shard: self.sessions.get(shard, 0),
            settings=OwnershipSettings(listen_s=listen_s),
        )
        self.heartbeats.also = lambda: dict(self.ownership.absent())
        self.gained: list[tuple[int, int]] = []
        self.lost: list[int] = []
        self.refused: list[Incompatible] = []
        self.ownership.on_gained.append(lambda shard, fence: self.gained.append((shard, fence)))
        self.ownership.on_lost.append(self.lost.append)
        self.ownership.on_refused.append(self.refused.append)

    @property
    def owned(self) -> list[int]:
        return sorted(self.ownership.owned)

    async def begin(self) -> "Owner":
        await self.member.join()
        self._spawn(self.heartbeats.run(), "heartbeats")
        await self.ownership.start()
        return self

    def kill(self) -> None:
        """What SIGKILL does: nothing more comes from it, and nothing is said."""
        self.way.away = True
        self.cluster.net.leave(self.link)
        for task in self._tasks:
            task.cancel()
        for task in self.member._tasks:
            task.cancel()

    def _spawn(self, coro: Coroutine[object, object, object], name: str) -> "asyncio.Task[None]":
        task = self.cluster.spawn(coro, f"{self.name} {name}")
        self._tasks.append(task)
        return task


async def shard_records(cluster: Cluster) -> dict[int, ShardRecord]:
    """What the store says of every shard."""
    scan = await cluster.store.scan(KEYS.shards)
    return {
        int(entry.key[len(KEYS.shards) :], 16): msgspec.json.decode(entry.value, type=ShardRecord)
        for entry in scan.entries
    }


async def write_shard(cluster: Cluster, shard: int, record: ShardRecord) -> None:
    """A shard's record as a test wants it."""
    put = Put(KEYS.shard(shard), msgspec.json.encode(record))
    await cluster.store.commit(Txn(success=(put,)))
