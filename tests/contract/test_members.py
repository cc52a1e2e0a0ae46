"""Membership and ownership over a store of each kind: what they send is what a real etcd takes."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from cluster.errors import NameTaken
from cluster.heartbeat import Heartbeats, HeartbeatSettings, Vitals
from cluster.layout import Keys
from cluster.link import Frame, Heartbeat
from cluster.member import MemberSettings, Membership
from cluster.ownership import Ownership, OwnershipSettings
from cluster.shards import rank
from cluster.state import StateKeeper
from node.seams import OsClock, OsRng
from tests.contract.conftest import Bench

SHARDS = 64
PATIENCE_S = 60.0
"""Only so that a hang fails."""


class Air:
    """A link to the members of one store in this process: heartbeats, nothing else is sent here."""

    def __init__(self, name: str, heard: dict[str, Heartbeats]) -> None:
        self._name = name
        self._heard = heard

    def send(self, member: str, frame: Frame) -> bool:
        listener = self._heard.get(member)
        if listener is None or not isinstance(frame, Heartbeat):
            return False
        listener.receive(self._name, frame)
        return True

    def on_frame(self, handler: Callable[[str, Frame], None]) -> None:
        """Heartbeats go where they are wanted at once."""

    def set_peers(self, addresses: dict[str, str]) -> None:
        """Nobody is dialled."""

    async def close(self) -> None:
        """Nothing was opened."""


class Member:
    """One member that owns shards, without a process."""

    def __init__(
        self,
        bench: Bench,
        name: str,
        data_dir_id: str = "00",
        heard: dict[str, Heartbeats] | None = None,
    ) -> None:
        """`heard`: the heartbeats of those that hear each other, by name."""
        heard = {} if heard is None else heard
        # a relay takes keys of its own cluster alone
        keys = Keys(bench.root.decode().removeprefix("/standfast/").strip("/"))
        clock = OsClock()
        self.tasks: list[asyncio.Task[None]] = []
        self.state = StateKeeper(bench.store, keys, clock)
        self.member = Membership(
            bench.store,
            keys,
            clock,
            rng=OsRng(),
            spawn=self.spawn,
            me=MemberSettings(
                name=name,
                data_dir_id=data_dir_id,
                host=name,
                rpc_address=f"{name}:1",
                ike_addresses=(),
                release="test",
                lease_ttl_s=30.0,
            ),
        )
        self.heartbeats = Heartbeats(
            Air(name, heard),
            clock,
            self.member,
            vitals=lambda: Vitals(0, 0, ""),
            settings=HeartbeatSettings(),
        )
        heard[name] = self.heartbeats
        self.ownership = Ownership(
            bench.store,
            keys,
            clock,
            spawn=self.spawn,
            membership=self.member,
            heartbeats=self.heartbeats,
            shards=SHARDS,
            unfinished_in=lambda _shard: 0,
            settings=OwnershipSettings(closed_s=0.1),
        )

    async def begin(self) -> "Member":
        await self.state.load_or_create(SHARDS)
        await self.member.join()
        self.spawn(self.heartbeats.run(), "heartbeats")
        await self.ownership.start()
        return self

    async def owns(self, shards: set[int]) -> None:
        """Waits until these and no others are owned."""
        await until(lambda: set(self.ownership.owned) == shards)

    def kill(self) -> None:
        for task in self.tasks:
            task.cancel()

    async def end(self) -> None:
        """Leaves nothing: a lease that ran out later would change the store under another test."""
        self.kill()
        await self.member.leave()

    def spawn(self, coro: Coroutine[object, object, object], name: str) -> "asyncio.Task[None]":
        async def run() -> None:
            await coro

        task = asyncio.create_task(run(), name=name)
        task.add_done_callback(lambda _: coro.close())
        self.tasks.append(task)
        return task


async def until(condition: Callable[[], bool]) -> None:
    """Looks again and again."""
    async with asyncio.timeout(PATIENCE_S):
        for _ in iter(condition, True):
            await asyncio.sleep(0.02)


async def test_members_share_hand_over_and_take_over(bench: Bench) -> None:
    heard: dict[str, Heartbeats] = {}
    one = await Member(bench, "gw1", "01", heard).begin()
    await one.owns(set(range(SHARDS)))
    two = await Member(bench, "gw2", "02", heard).begin()
    wanted = {shard: rank(shard, ("gw1", "gw2"))[0] for shard in range(SHARDS)}
    for member in (one, two):
        name = member.member.me.name
        await member.owns({shard for shard, owner in wanted.items() if owner == name})
    theirs = dict(two.ownership.owned)
    assert await two.ownership.release_all() == len(theirs)
    await two.member.leave()
    await one.owns(set(range(SHARDS)))
    for shard, owned in theirs.items():
        assert one.ownership.fence_of(shard) == owned.fence + 1
    await one.end()
    await two.end()


async def test_a_name_is_refused_or_taken_back(bench: Bench) -> None:
    one = await Member(bench, "gw1", "01").begin()
    await one.owns(set(range(SHARDS)))
    with pytest.raises(NameTaken):
        await Member(bench, "gw1", "02").begin()
    one.kill()
    again = await Member(bench, "gw1", "01").begin()
    await again.owns(set(range(SHARDS)))
    assert {owned.fence for owned in again.ownership.owned.values()} == {2}
    assert again.member.may_claim
    again.member.report_ring(5)
    await until(lambda: again.member.roster.ring_revisions() == {"gw1": 5})
    await again.end()


async def test_a_copy_deposes_the_one_that_still_runs(bench: Bench) -> None:
    one = await Member(bench, "gw1", "01").begin()
    await one.owns(set(range(SHARDS)))
    copy = await Member(bench, "gw1", "01").begin()
    await copy.owns(set(range(SHARDS)))
    await one.owns(set())
    # ownership's watch and the roster's are two streams: either may be told first
    await until(lambda: bool(one.member.deposed))
    await one.end()
    await copy.end()
