"""The key ring's operations on real processes: cancel, force, revoke, schedule, rewrap."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest_asyncio

from cluster.layout import MemberRecord
from cluster.store import Delete, Put, Txn
from cluster.vault import Kek, sealing_kek_id
from node.identity import load_kek
from node.session import MemoryTicket
from tests.e2e.cluster import DEADLINE_S, Cluster, until
from tests.e2e.local import LocalClient

NEW_KEK = "d1" * 32


@pytest_asyncio.fixture
async def alone(tmp_path: Path) -> AsyncIterator[Cluster]:
    """One gateway, for tests in which the others would only watch."""
    made = Cluster(tmp_path, gateways=1)
    await made.start()
    yield made
    await made.stop()


async def ticket_keys(cluster: Cluster) -> dict[str, str]:
    """Id → state of the ticket keys, as the command line lists them."""
    listed = (await cluster.run("keys", "list", "-o", "json")).json()["keys"]
    return {key["id"]: key["state"] for key in listed if key["purpose"] == "ticket"}


def named(keys: dict[str, str], state: str) -> str:
    (found,) = [key_id for key_id, of in keys.items() if of == state]
    return found


async def test_a_revoked_keys_tickets_are_refused_everywhere_and_new_ones_work(
    cluster: Cluster,
) -> None:
    tickets = MemoryTicket()
    async with LocalClient(cluster.client_file("revoked", ("gw1",)), tickets) as client:
        await client.connected()
    former = named(await ticket_keys(cluster), "sealing")
    unsure = await cluster.run("keys", "revoke", former)
    assert (unsure.code, unsure.out) == (2, "")
    assert named(await ticket_keys(cluster), "sealing") == former
    revoked = await cluster.run("keys", "revoke", former, "--yes")
    assert revoked.code == 0, revoked
    steps = [line.partition(":")[0] for line in revoked.out.splitlines()]
    wanted = ["revoked", "useless", "announced", "activated", "retired"]
    assert [s for s in steps if "waiting" not in s] == wanted
    keys = await ticket_keys(cluster)
    assert keys[former] == "revoked"
    assert named(keys, "sealing") != former
    for gateway in ("gw2", "gw3"):  # neither of them has seen the ticket before
        held = MemoryTicket()
        ticket = tickets.load()
        assert ticket is not None
        held.save(ticket)
        async with LocalClient(cluster.client_file("revoked", (gateway,)), held) as client:
            client.session.start()
            await client.told("ticket_refused")
            await client.told("established", how="full")
            await client.told("ticket")
        async with LocalClient(cluster.client_file("revoked", ("gw1",)), held) as client:
            await client.connected()
            assert client.count("established", how="resumed") == 1
    again = await cluster.run("keys", "revoke", "00000000", "--yes")
    assert (again.code, again.out) == (1, "")
    assert again.err == "standfast: there is no ticket key '00000000': see the list of keys\n"


async def test_a_rotation_that_hangs_is_cancelled_or_forced(alone: Cluster) -> None:
    """It hangs by a member that is there and never reports."""
    ghost = MemberRecord("ghost", "00" * 16, "00" * 16, "host-9", "127.0.0.1:9", (), 0, 0.0, "0")
    key = alone.keys.member("ghost")
    store = alone.store()
    try:
        await store.commit(Txn((), (Put(key, msgspec.json.encode(ghost)),)))
        before = await ticket_keys(alone)
        rotation = await alone.begin("keys", "rotate")
        await rotation.says("waiting for ghost (installed by gw1)")
        assert "announced" in (await ticket_keys(alone)).values()
        cancelled = await alone.run("keys", "cancel")
        assert cancelled.code == 0, cancelled
        ended = await rotation.ended()
        assert ended.code == 1
        assert "was cancelled or revoked meanwhile" in ended.err
        assert await ticket_keys(alone) == before
        nothing = await alone.run("keys", "cancel")
        assert (nothing.code, nothing.out) == (1, "")
        assert nothing.err == "standfast: no rotation is under way: there is nothing to cancel\n"
        forced = await alone.run("keys", "rotate", "--force")
        assert forced.code == 0, forced
        assert "forced: not waiting for ghost" in forced.out.splitlines()
        assert "sealing; not reported yet by ghost" in forced.out.splitlines()
        after = await ticket_keys(alone)
        assert named(after, "opening") == named(before, "sealing")
        await store.commit(Txn((), (Delete(key),)))
    finally:
        await store.close()


async def test_keys_are_rotated_by_schedule_and_clients_notice_nothing(tmp_path: Path) -> None:
    short = {"keys": {"ticket_key_sealing_s": 20.0}, "ike": {"ticket_lifetime_s": 20.0}}
    cluster = Cluster(tmp_path, gateways=2, **short)
    try:
        await cluster.start()
        seen: dict[str, None] = {}
        async with LocalClient(cluster.client_file("first", ("gw1",))) as client:
            await client.connected()
            tickets = client.tickets

        async def rotated() -> bool:
            nonlocal tickets
            file = cluster.client_file("first", ("gw1", "gw2")[len(seen) % 2 :][:1])
            async with LocalClient(file, tickets) as client:
                await client.connected()
                assert client.count("established", how="resumed") == 1, client.reports
            seen[named(await ticket_keys(cluster), "sealing")] = None
            return len(seen) > 2

        patience_s = 3 * DEADLINE_S  # these alone take 20 s
        await until(rotated, "two rotations that nobody asked for", patience_s)
    finally:
        await cluster.stop()


async def kek_ids(cluster: Cluster) -> set[bytes]:
    stored = await cluster.stored()
    keys = (cluster.keys.ring, cluster.keys.spi_key)
    return {sealing_kek_id(stored[key].value, key) for key in keys}


def write_key(file: Path) -> Path:
    file.touch(mode=0o600)
    file.write_text(NEW_KEK)
    return file


async def test_the_key_encryption_key_is_changed_under_load(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, cluster={"kek_next_file": "kek.next"})
    try:
        await cluster.start()
        old = Kek(load_kek(str(cluster.files / "kek")))
        steady = cluster.client("steady", ("gw2",))
        steady.child.start()
        await steady.records("ticket")
        ended = asyncio.Event()
        load = asyncio.ensure_future(resume_until(cluster, ended))
        new = write_key(cluster.folder / "new-kek")
        new_id = Kek(load_kek(str(new))).kek_id
        command = ("keys", "rewrap", "--new-kek", str(new))
        early = await cluster.run(*command)
        assert early.code == 1
        assert "nothing was changed: gw1, gw2, gw3: without the key-encryption key" in early.err
        assert await kek_ids(cluster) == {old.kek_id}
        write_key(cluster.files / "kek.next")  # where every gateway's file says; none is restarted
        done = await cluster.run(*command)
        assert done.code == 0, done
        assert await kek_ids(cluster) == {new_id}
        again = await cluster.run(*command)
        assert again.code == 0
        assert "nothing to do" in again.out
        assert (await cluster.run("keys", "rotate")).code == 0
        assert await kek_ids(cluster) == {new_id}
        ended.set()
        assert await load > 0
        assert steady.recorded("unanswered") == steady.recorded("ticket_refused") == []
        await restarts(cluster)
        answered = len(steady.recorded("answered"))
        await steady.records("answered", more_than=answered + 2)
        assert len(steady.recorded("established")) == 1
    finally:
        await cluster.stop()


async def resume_until(cluster: Cluster, ended: asyncio.Event) -> int:
    """Resume again and again, at one gateway after the other; how often."""
    tickets = MemoryTicket()
    resumed = 0
    async with LocalClient(cluster.client_file("busy", ("gw1",)), tickets) as client:
        await client.connected()
    while not ended.is_set():
        gateway = f"gw{resumed % 3 + 1}"
        async with LocalClient(cluster.client_file("busy", (gateway,)), tickets) as client:
            await client.connected()
            assert client.count("established", how="resumed") == 1, client.reports
        resumed += 1
    return resumed


async def restarts(cluster: Cluster) -> None:
    """With the new key alone a gateway starts; with the old one alone it doesn't, and says why."""
    (cluster.files / "kek").rename(cluster.folder / "old-kek")
    before, former = cluster.gateways["gw1"], (await cluster.members())["gw1"].incarnation
    before.child.kill()
    changed = cluster.gateway("gw1", "gw1", cluster={"kek_file": "kek.next", "kek_next_file": ""})
    changed.child.start()

    async def back() -> bool:
        found = (await cluster.members()).get("gw1")
        return found is not None and found.incarnation != former

    await until(back, "gw1 again, with the new key")
    await cluster.settled()
    ring: Any = (await cluster.stored())[cluster.keys.ring]
    cluster.gateways["gw3"].child.kill()
    stale = cluster.gateway(
        "gw3", "gw3", cluster={"kek_file": str(cluster.folder / "old-kek"), "kek_next_file": ""}
    )
    stale.child.start()
    assert await stale.exit_code() == 1
    assert "give it the cluster's own" in stale.log
    assert "Traceback" not in stale.log
    assert (await cluster.stored())[cluster.keys.ring] == ring
