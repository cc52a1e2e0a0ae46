"""Tickets by reference, with real processes: read back at another gateway, their issuer dead."""

from collections.abc import AsyncIterator

import pytest_asyncio

from node.session import MemoryTicket
from proto.ike.reference import is_reference
from proto.ike.ticket import ClientTicket
from tests.e2e.cluster import HASTY, Cluster, until
from tests.e2e.local import LocalClient


@pytest_asyncio.fixture
async def cluster(tmp_path_factory) -> AsyncIterator[Cluster]:
    """Three gateways that give out nothing but references."""
    made = Cluster(tmp_path_factory.mktemp("cluster"), ike={"tickets": "by-reference"})
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


def loaded(client: LocalClient) -> ClientTicket:
    """The client's ticket, which must be one by reference."""
    ticket = client.tickets.load()
    assert ticket is not None
    assert is_reference(ticket.ticket)
    return ticket


async def test_a_killed_gateways_references_are_resolved_elsewhere_and_once(
    cluster: Cluster,
) -> None:
    file = cluster.client_file("pointer", ("gw1", "gw2"), **HASTY)
    async with LocalClient(file) as client:
        await client.connected()
        first = loaded(client)
        (before,) = await cluster.sessions_of("pointer")
        kept = cluster.keys.ticket(bytes.fromhex(before["chain"]))
        state = (await cluster.stored(kept))[kept].value
        assert first.sk_d.octets not in state
        cluster.gateways["gw1"].child.kill()
        await client.told("established", how="resumed")
        await client.told("ticket", more_than=1)
        second = loaded(client)
        assert second != first
        client.session.close()
        await cluster.gateways["gw2"].records("sa_ended", why="deleted by the peer")
    # its record is gone, and what its last ticket points to is not
    assert not await cluster.stored(cluster.keys.records)
    assert (await cluster.stored(kept))[kept].value != state
    gateway = cluster.gateways["gw3"]
    for ticket, how in ((first, "full"), (second, "resumed")):
        copy = MemoryTicket()
        copy.save(ticket)
        async with LocalClient(cluster.client_file("pointer", ("gw3",)), copy) as client:
            client.session.start()
            await client.told("established", how=how)
    await gateway.records("ticket_refused", reason="reused")
    assert len(gateway.recorded("ticket_refused", reason="reused")) == 1


async def test_a_revoked_session_leaves_nothing_to_point_to(cluster: Cluster) -> None:
    async with LocalClient(cluster.client_file("ended", ("gw1",))) as client:
        await client.connected()
        ticket = loaded(client)
        (session,) = await cluster.sessions_of("ended")
        kept = cluster.keys.ticket(bytes.fromhex(session["chain"]))
        assert kept in await cluster.stored(kept)
        client.wire.mute = True
        assert (await cluster.run("sessions", "terminate", session["spi_r"])).code == 0

        async def gone() -> bool:
            return kept not in await cluster.stored(kept)

        await until(gone, "what the ticket pointed to gone")
    copy = MemoryTicket()
    copy.save(ticket)
    async with LocalClient(cluster.client_file("ended", ("gw2",)), copy) as client:
        client.session.start()
        await client.told("ticket_refused")
        await client.told("established", how="full")
