"""Gateways as processes: names, data directories, keys, signals, exit codes."""

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from cluster.layout import MemberRecord
from node.etcd_child import free_ports
from proto.ike.enums import ExchangeType
from tests.e2e.cluster import HASTY, Cluster, Process, until
from tests.e2e.local import LocalClient

LONG_LEASE = {"lease_ttl_s": 60}
"""What is done without waiting for its end is done at once."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Three gateways whose leases outlast every test."""
    made = Cluster(tmp_path_factory.mktemp("cluster"), member=LONG_LEASE)
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


def another(made: Cluster, name: str, **changes: dict[str, Any]) -> Process:
    """A gateway beside the three, with gw1's certificate and ports of its own."""
    rpc, ike = free_ports(2)
    places: dict[str, dict[str, Any]] = {
        "member": {"rpc_listen": f"127.0.0.1:{rpc}", "data_dir": f"data/{name}"},
        "ike": {"listen": [f"127.0.0.1:{ike}"]},
        "metrics": {"listen": ""},
    }
    for section, keys in changes.items():
        places[section] = {**places.get(section, {}), **keys}
    return made.gateway("gw1", name, **places)


async def refused(process: Process) -> tuple[int, str]:
    """Start it: its exit code, and the one line that says why it ended."""
    process.child.start()
    code = await process.exit_code()
    said = [line for line in process.log.splitlines() if not line.startswith("{")]
    assert len(said) == 1, process.log
    return code, said[0]


async def member(cluster: Cluster, name: str) -> tuple[MemberRecord, int]:
    """A member's record, and the store's revision of when its key was made."""
    key = cluster.keys.member(name)
    entry = (await cluster.stored(key))[key]
    return msgspec.json.decode(entry.value, type=MemberRecord), entry.create_revision


async def test_a_second_gateway_of_a_live_name_is_refused(cluster: Cluster) -> None:
    before = await member(cluster, "gw1")
    code, said = await refused(another(cluster, "twin"))
    assert code == 1
    assert "'gw1' is taken" in said
    assert await member(cluster, "gw1") == before


async def test_a_data_directory_serves_one_process(cluster: Cluster) -> None:
    code, said = await refused(another(cluster, "double", member={"data_dir": "data/gw1"}))
    assert code == 1
    assert "member.data_dir" in said
    assert "in use" in said
    assert cluster.gateways["gw1"].child.running


async def test_a_wrong_key_encryption_key_changes_nothing(cluster: Cluster) -> None:
    (cluster.files / "other-kek").write_text("5a" * 32)
    (cluster.files / "other-kek").chmod(0o600)
    before = (await cluster.stored(cluster.keys.ring))[cluster.keys.ring]
    code, said = await refused(another(cluster, "wrong", cluster={"kek_file": "other-kek"}))
    assert code == 1
    assert "key-encryption key" in said
    assert (await cluster.stored(cluster.keys.ring))[cluster.keys.ring] == before


async def test_key_files_must_be_there_and_private(cluster: Cluster) -> None:
    (cluster.files / "open-kek").write_text((cluster.files / "kek").read_text())
    (cluster.files / "open-kek").chmod(0o644)
    code, said = await refused(another(cluster, "open", cluster={"kek_file": "open-kek"}))
    assert (code, "cluster.kek_file" in said, "open-kek" in said) == (2, True, True), said
    code, said = await refused(another(cluster, "none", ike={"psk_file": "no-psk.toml"}))
    assert (code, "ike.psk_file" in said, "no-psk.toml" in said) == (2, True, True), said


async def test_a_port_in_use_is_one_line(cluster: Cluster) -> None:
    taken = cluster.addresses["gw2"]
    busy = f"127.0.0.1:{cluster.ports.metrics + 2}"
    code, said = await refused(another(cluster, "same-port", ike={"listen": [taken]}))
    assert (code, "ike.listen" in said, taken in said) == (2, True, True), said
    code, said = await refused(another(cluster, "no-figures", metrics={"listen": busy}))
    assert (code, "metrics.listen" in said, busy in said) == (2, True, True), said


async def test_a_killed_gateway_takes_its_name_back_at_once(cluster: Cluster) -> None:
    gateway = cluster.gateways["gw1"]
    (before, made), shards = await member(cluster, "gw1"), await cluster.shards()
    gateway.child.kill()
    gateway.child.start()

    async def back() -> bool:
        return (await member(cluster, "gw1"))[0].incarnation != before.incarnation

    await until(back, "a new incarnation")
    after, made_again = await member(cluster, "gw1")
    assert made_again == made  # the key was taken over: it never vanished, its lease never ended
    assert after.data_dir_id == before.data_dir_id
    assert gateway.recorded("started")[-1]["incarnation"] == after.incarnation
    await cluster.settled()
    later = await cluster.shards()
    his = [shard for shard, record in shards.items() if record.owner == "gw1"]
    assert his
    for shard in his:
        assert later[shard].fence > shards[shard].fence, shard
        assert later[shard].incarnation != before.incarnation


async def test_a_gateway_that_was_replaced_ends_by_itself(cluster: Cluster) -> None:
    gateway, heir = cluster.gateways["gw1"], another(cluster, "heir")
    copied = cluster.files / "data" / "heir"
    copied.mkdir(mode=0o700)
    (copied / "id").write_text((cluster.files / "data" / "gw1" / "id").read_text())
    heir.child.start()
    assert await gateway.exit_code() == 1
    assert "deposed" in gateway.log
    await cluster.settled()
    incarnation = heir.recorded("started")[-1]["incarnation"]
    assert (await member(cluster, "gw1"))[0].incarnation == incarnation
    heir.child.signal(signal.SIGTERM)
    assert await heir.exit_code() == 0
    gateway.child.start()
    await cluster.settled()


async def test_a_gateway_ends_in_order(cluster: Cluster) -> None:
    gateway = cluster.gateways["gw3"]
    async with LocalClient(cluster.client_file("orphan", ("gw3", "gw2"), **HASTY)) as client:
        await client.connected()
        gateway.child.signal(signal.SIGTERM)
        assert await gateway.exit_code() == 0
        assert cluster.keys.member("gw3") not in await cluster.stored(cluster.keys.members)
        assert "gw3" not in await cluster.shard_counts()
        assert [e["kind"] for e in gateway.events][-1] == "stopped"
        await cluster.settled("gw1", "gw2")
        resumed = await client.told("established", how="resumed")
        assert resumed["gateway"] == cluster.addresses["gw2"]
    gateway.child.start()
    await cluster.settled()


def authentications(client: LocalClient) -> list[bytes]:
    """Every IKE_AUTH request that left; an IKE_SA_INIT may have been sent again before, too."""
    return [d.data for d in client.wire.sent if d.data[18] == ExchangeType.IKE_AUTH]


async def test_a_gateway_on_its_way_out_takes_nobody_in(own: Cluster) -> None:
    await own.start()
    gateway, *others = own.gateways.values()
    async with (
        LocalClient(own.client_file("early", ("gw1",), retransmit_tries=9)) as early,
        LocalClient(own.client_file("late", ("gw1",), retransmit_tries=9)) as late,
    ):
        for other in others:  # nobody pledges: without the store no write ends
            other.child.signal(signal.SIGSTOP)
        own.etcd.pause(0)  # a write that waits keeps the gateway from ending at once
        early.session.start()
        await until(lambda: early.wire.received, "IKE_SA_INIT answered")
        await until(lambda: len(authentications(early)) > 1, "IKE_AUTH sent again")
        gateway.child.signal(signal.SIGTERM)
        await gateway.records("stopping")
        late.session.start()
        assert await gateway.exit_code() == 0
        assert late.wire.received == []
        assert early.count("established") == 0
        await asyncio.sleep(0)


async def test_a_write_that_ends_in_failsafe_on_the_way_out_is_not_lost(own: Cluster) -> None:
    """It was begun before: it is finished, answered, and goes on at another gateway."""
    await own.start()
    gateway = own.gateways["gw1"]
    async with (
        LocalClient(own.client_file("early", ("gw1", "gw2"), retransmit_tries=9)) as early,
        LocalClient(own.client_file("late", ("gw1",), retransmit_tries=9)) as late,
    ):
        own.etcd.pause(0)
        early.session.start()
        await until(lambda: len(authentications(early)) > 1, "IKE_AUTH sent again")
        gateway.child.signal(signal.SIGTERM)
        await gateway.records("stopping")
        late.session.start()
        assert await gateway.exit_code() == 0
        assert late.wire.received == []
        await early.told("established", how="full", gateway=own.addresses["gw1"])
        await early.told("established", how="resumed", gateway=own.addresses["gw2"])
        assert early.count("established", how="full") == 1
    own.etcd.resume(0)


async def test_one_gateway_alone_needs_no_store(own: Cluster) -> None:
    none: dict[str, Any] = {"kind": "memory", "endpoints": []}
    gateway = own.gateway("gw1", "gw1", store=none)
    gateway.child.start()
    async with LocalClient(own.client_file("lonely", ("gw1",))) as client:
        await client.connected()
        (session,) = await own.sessions_of("lonely")
        assert session["member"] == "gw1"

        async def all_owned() -> dict[str, Any]:
            found: dict[str, Any] = (await own.run("status", "-o", "json")).json()
            return found if found["shards_owned"] == 64 else {}

        status = await until(all_owned, "64 shards owned, in status")
        assert status["store_kind"] == "memory"
        assert [m["name"] for m in status["members"]] == ["gw1"]
    assert "nothing is shared" in gateway.log
    gateway.child.signal(signal.SIGTERM)
    assert await gateway.exit_code() == 0
