"""Without etcd: at the start, in the middle of things, and for longer than a lease."""

import asyncio
import signal

import pytest

from node.admin_client import AdminClient, load_credentials
from node.admin_view import ClusterStatus
from node.session import MemoryTicket
from tests.e2e.cluster import SOON, Cluster, until
from tests.e2e.local import LocalClient

PATIENT = {"retransmit_initial_s": 0.3, "retransmit_factor": 1.2, "retransmit_tries": 20}
"""A client that waits longer than the store is away."""
LEASE_S = float(SOON["member"]["lease_ttl_s"])


async def status(cluster: Cluster, gateway: str) -> ClusterStatus:
    """What one member says of itself and the cluster."""
    pki = cluster.files / "pki"
    files = (pki / "ca.crt", pki / "operator.crt", pki / "operator.key")
    address = f"127.0.0.1:{cluster.ports.rpc + int(gateway[2:])}"
    async with AdminClient((address,), load_credentials(*map(str, files))) as client:
        return await client.status()


async def says(cluster: Cluster, gateway: str, store_state: str) -> None:
    """Wait until a member says that of its store."""

    async def look() -> bool:
        return (await status(cluster, gateway)).store_state == store_state

    await until(look, f"{gateway}: store {store_state}")


async def test_gateways_wait_for_a_store_that_is_away(own: Cluster) -> None:
    for gateway in own.gateways.values():
        gateway.child.start()
    for gateway in own.gateways.values():
        await gateway.records("store_state", state="unavailable")
    asked = await own.run("status")
    assert asked.code == 1
    assert asked.err.startswith("standfast: this member is starting: no-answer (")
    gone = own.gateways.pop("gw3")
    gone.child.signal(signal.SIGTERM)
    assert await gone.exit_code() == 0
    assert all(gateway.child.running for gateway in own.gateways.values())
    await own.etcd.start()
    await own.settled("gw1", "gw2")
    async with LocalClient(own.client_file("patient", ("gw2",))) as client:
        await client.connected()


async def incarnations(cluster: Cluster) -> dict[str, str]:
    """Which process has which name."""
    return {name: record.incarnation for name, record in (await cluster.members()).items()}


@pytest.mark.parametrize("lose_leases", [False, True], ids=["leases kept", "leases lost"])
async def test_sessions_outlive_the_store(own: Cluster, lose_leases: bool) -> None:
    await own.start()
    before, shards = await incarnations(own), await own.shards()
    lost = {name: len(g.recorded("shards_lost")) for name, g in own.gateways.items()}
    tickets = MemoryTicket()
    async with (
        LocalClient(own.client_file("steady", ("gw1",))) as steady,
        LocalClient(own.client_file("again", ("gw1",)), tickets) as again,
        LocalClient(own.client_file("again", ("gw2",), **PATIENT), tickets) as back,
        LocalClient(own.client_file("newcomer", ("gw2",), **PATIENT)) as newcomer,
    ):
        spi = (await steady.connected())["spi_r"].hex()
        await again.connected()
        (issued,) = await own.sessions_of("again")
        again.close()
        own.lose_store()
        for name in own.gateways:
            await says(own, name, "unavailable")
        await goes_on(steady)
        for client in (newcomer, back):
            client.session.start()
        await newcomer.told("established", how="full")
        await back.told("established", how="resumed")
        await asyncio.sleep(1.5 * LEASE_S)
        found_away = await status(own, "gw2")
        assert (found_away.store_state, found_away.state) == ("unavailable", "failsafe")
        await own.bring_store_back()
        if lose_leases:
            await end_leases(own)
        for client in (newcomer, back):
            assert client.count("failed") == client.count("unanswered") == 0
        for name in own.gateways:
            await says(own, name, "ok")
            await is_normal(own, name)

        async def rejoined() -> bool:
            return await incarnations(own) == before

        await until(rejoined, "the same processes under the same names")
        assert await own.shards() == shards
        await goes_on(steady)
        found = {s["identity"].partition("@")[0]: s for s in await own.sessions()}
        assert sorted(found) == ["rfc822:again", "rfc822:newcomer", "rfc822:steady"]
        assert found["rfc822:steady"]["spi_r"] == spi
        resumed = found["rfc822:again"]
        assert (resumed["chain"], resumed["generation"]) == (issued["chain"], 2)
    for gateway in own.gateways.values():
        assert gateway.child.running
        assert len(gateway.recorded("shards_lost")) == lost[gateway.name]


async def goes_on(client: LocalClient) -> None:
    """What has an SA is answered, whatever becomes of the store."""
    answered = client.count("answered")
    await client.told("answered", more_than=answered + 3)
    assert client.count("established") == 1
    assert client.count("unanswered") == 0


async def is_normal(cluster: Cluster, gateway: str) -> None:
    """Wait until the store has everything that was done without it."""

    async def look() -> bool:
        found = await status(cluster, gateway)
        return (found.state, found.mode) == ("normal", "normal")

    await until(look, f"{gateway}: normal again")


async def end_leases(cluster: Cluster) -> None:
    """Every member's lease is gone, as after an outage that the store counted in full."""
    entries = await cluster.stored(cluster.keys.members)
    store = cluster.store()
    for entry in entries.values():
        await (await store.lease(LEASE_S, entry.lease_id)).revoke()
    await store.close()
