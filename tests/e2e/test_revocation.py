"""Tickets that were used, and sessions that were revoked, are refused at every gateway."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from node.session import MemoryTicket
from proto.ike.ticket import ClientTicket
from tests.e2e.cluster import Cluster, until
from tests.e2e.local import LocalClient

NAMES = ("gw1", "gw2", "gw3")
TOLD_S = 1.0
"""By then members that reach each other know, as is promised. Nothing says that they do, and who
asks by showing the ticket tells them."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Three gateways whose leases outlast a pause."""
    made = Cluster(tmp_path_factory.mktemp("cluster"), member={"lease_ttl_s": 60})
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


async def refused(
    cluster: Cluster, name: str, gateway: str, ticket: ClientTicket, reason: str
) -> None:
    """`ticket`, shown at `gateway`, gets TICKET_NACK for `reason`; its bearer begins anew."""
    process, copy = cluster.gateways[gateway], MemoryTicket()
    copy.save(ticket)
    before = len(process.recorded("ticket_refused", reason=reason))
    async with LocalClient(cluster.client_file(name, (gateway,)), copy) as client:
        client.session.start()
        await client.told("ticket_refused")
        assert client.count("established", how="resumed") == 0
    await process.records("ticket_refused", before, reason=reason)  # after the answer has left
    assert len(process.recorded("ticket_refused", reason=reason)) == before + 1


async def test_a_ticket_used_at_one_gateway_is_refused_at_sight_at_all(cluster: Cluster) -> None:
    """R14."""
    async with LocalClient(cluster.client_file("once", ("gw1",))) as client:
        await client.connected()
        first = client.tickets.load()
    assert first is not None
    copy = MemoryTicket()
    copy.save(first)
    async with LocalClient(cluster.client_file("once", ("gw2",)), copy) as client:
        client.session.start()
        await client.told("established", how="resumed")
        await client.told("ticket")
        second = client.tickets.load()
    assert second is not None
    await asyncio.sleep(TOLD_S)
    for name in NAMES:
        await refused(cluster, "once", name, first, "reused")
    # the one that took its place is as good as ever
    copy.save(second)
    async with LocalClient(cluster.client_file("once", ("gw3",)), copy) as client:
        client.session.start()
        await client.told("established", how="resumed")


async def test_a_revoked_identity_s_session_ends_and_its_tickets_work_nowhere(
    cluster: Cluster,
) -> None:
    """R22, R76."""
    name, identity = "leaked", "rfc822:leaked@example.com"
    async with LocalClient(cluster.client_file(name, ("gw1",))) as client:
        await client.connected()
        ticket = client.tickets.load()
        assert ticket is not None
        (session,) = await cluster.sessions_of(name)
        made = (await cluster.run("revoke", "identity", identity, "--yes", "-o", "json")).json()
        ended = await cluster.gateways["gw1"].records("sa_ended", spi=session["spi_r"])
        assert ended["why"] == "revoked by an operator"
        # its client is told; who proves himself anew is let in
        await client.told("established", more_than=1)
        assert client.count("established", how="full") == 2
    await asyncio.sleep(TOLD_S)
    for gateway in NAMES:
        await refused(cluster, name, gateway, ticket, "revoked")
    listed = (await cluster.run("revocations", "list", "-o", "json")).json()["revocations"]
    (rule,) = [one for one in listed if one["id"] == made["revocation"]]
    assert (rule["kind"], len(rule["about"])) == ("identity", 32)
    assert rule["about"] in (await cluster.run("revocations", "list")).out
    stored = await cluster.stored(cluster.keys.revocations)
    assert not [entry for entry in stored.values() if b"leaked" in entry.value]


async def test_a_gateway_that_was_stopped_meanwhile_commits_nothing_past_a_revocation(
    cluster: Cluster,
) -> None:
    async with LocalClient(cluster.client_file("asleep", ("gw2",))) as client:
        await client.connected()
        ticket = client.tickets.load()
    assert ticket is not None
    (session,) = await cluster.sessions_of("asleep")
    chain = session["chain"]
    lagging, copy = cluster.gateways["gw1"], MemoryTicket()
    copy.save(ticket)
    async with LocalClient(cluster.client_file("asleep", ("gw1",)), copy) as client:
        lagging.child.signal(signal.SIGSTOP)
        client.session.start()  # its request waits in the socket of the one that sleeps
        address = f"127.0.0.1:{cluster.ports.rpc + 2}"
        revoked = await cluster.run("revoke", "session", chain, "--address", address)
        assert revoked.code == 0, revoked
        lagging.child.signal(signal.SIGCONT)
        await client.told("established")
        assert client.count("established", how="resumed") == 0
    assert lagging.recorded("sa_established", chain=chain) == []
    key = cluster.keys.session(bytes.fromhex(chain))

    async def gone() -> bool:
        return key not in await cluster.stored(key)

    await until(gone, "the chain of the revoked session gone")


async def test_tickets_issued_before_a_time_are_refused_and_sessions_go_on(
    cluster: Cluster,
) -> None:
    async with LocalClient(cluster.client_file("old", ("gw3",))) as client:
        await client.connected()
        ticket = client.tickets.load()
        assert ticket is not None
        made = await cluster.run("revoke", "issued-before", "2020-01-01T00:00:00Z", "--yes")
        assert made.code == 0
        bad = await cluster.run("revoke", "issued-before", "yesterday")
        assert bad.code == 2
        assert "TIME: yesterday →" in bad.err
        answered = client.count("answered")
        await client.told("answered", more_than=answered)
        (session,) = await cluster.sessions_of("old")
    copy = MemoryTicket()
    copy.save(ticket)
    async with LocalClient(cluster.client_file("old", ("gw1",)), copy) as client:
        client.session.start()
        assert (await client.told("established"))["how"] == "resumed"
    later = await cluster.run("revoke", "issued-before", "2999-01-01T00:00:00Z", "--yes")
    assert (later.code, "a time that has passed" in later.err) == (1, True)
    assert session["member"] == "gw3"
