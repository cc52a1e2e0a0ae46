"""Shards through the administration: listed, and moved by whoever owns them."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from cluster.errors import Conflict, Unknown
from node.admin_client import AdminError
from node.admin_view import Command, ShardInfo
from node.admin_wire import decode_shard, encode_shard
from tests.unit.node.test_admin import Cluster, FakeView, Pki

SHARDS = (ShardInfo(0, "gw1", 4, "", 7), ShardInfo(1, "gw2", 2, "gw2"), ShardInfo(2, "", 9))


class Owner(FakeView):
    """A process that owns a shard."""

    def shards(self) -> Sequence[ShardInfo]:
        return SHARDS

    async def move_shard(self, shard: int, member: str) -> None:
        if self.failure is not None:
            raise self.failure
        self.asked.append((shard, member))


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    cluster = Cluster(Pki(tmp_path))
    cluster.views = {name: Owner(name, ()) for name in ("gw1", "gw2")}
    await cluster.start()
    yield cluster
    await cluster.stop()


async def test_shards_are_listed_as_the_member_knows_them(cluster: Cluster) -> None:
    async with cluster.client(cluster.pki.operator()) as client:
        assert await client.shards() == SHARDS
    assert [decode_shard(encode_shard(one)) for one in SHARDS] == list(SHARDS)


async def test_a_move_is_carried_out_by_the_owner(cluster: Cluster) -> None:
    async with cluster.client(cluster.pki.operator()) as client:
        assert await client.move_shard(0, "gw2") == "gw1"
        assert await client.move_shard(1, "gw1") == "gw2"
    (here,), (there,) = (cluster.views[name].asked for name in ("gw1", "gw2"))
    assert (here, there) == ((0, "gw2"), (1, "gw1"))
    one, two = (cluster.views[name].noted for name in ("gw1", "gw2"))
    assert one == [
        (Command.MOVE, "admin", {"shard": 0, "to": "gw2"}, ""),
        (Command.MOVE, "admin", {"shard": 1, "to": "gw1"}, ""),
    ]
    assert two == [(Command.MOVE, "admin through gw1", {"shard": 1, "to": "gw1"}, "")]


async def test_what_cant_be_moved_says_why(cluster: Cluster) -> None:
    async with cluster.client(cluster.pki.operator()) as client:
        with pytest.raises(AdminError, match="no shard 0003: they go up to 0002"):
            await client.move_shard(3, "gw1")
        with pytest.raises(AdminError, match="shard 0002 has no live owner"):
            await client.move_shard(2, "gw1")
        cluster.views["gw2"].failure = Unknown("not handed over within 10 s")
        with pytest.raises(AdminError, match="gw2: not handed over within 10 s; it may have been"):
            await client.move_shard(1, "gw1")
        cluster.views["gw1"].failure = Conflict("no live member 'gw9'")
        with pytest.raises(AdminError, match="no live member 'gw9'"):
            await client.move_shard(0, "gw9")
    noted = cluster.views["gw1"].noted
    assert [failed.partition(":")[0] for *_, failed in noted] == [
        "shard 0002 has no live owner to hand it over",
        "gw2",
        "no live member 'gw9'",
    ]


async def test_a_member_may_only_ask_the_owner_itself(cluster: Cluster) -> None:
    async with cluster.client(cluster.pki.member("gw2")) as client:
        with pytest.raises(AdminError, match="operator's certificate"):
            await client.shards()
        with pytest.raises(AdminError, match="operator's certificate"):
            await client.move_shard(0, "gw2")
        assert await client.move_shard(0, "gw2", local_only=True) == "gw1"
