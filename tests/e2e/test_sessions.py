"""Sessions of real clients at real gateways: kept over the loss of either, ended in order."""

import signal
import stat
from typing import Any

from proto.ike.ticket import ClientTicket
from tests.e2e.cluster import HASTY, Cluster, Process, until
from tests.e2e.local import LocalClient


async def connect(cluster: Cluster, name: str, *gateways: str, **changes: Any) -> Process:
    """A client process whose SA is up and whose ticket is stored."""
    client = cluster.client(name, gateways, **changes)
    client.child.start()
    await client.records("established", how="full")
    await client.records("ticket")
    return client


async def test_a_client_keeps_its_ticket_in_a_private_file(cluster: Cluster) -> None:
    client = await connect(cluster, "private")
    file = cluster.ticket("private")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert ClientTicket.decode(file.read_bytes()).idi == b"private@example.com"
    await client.records("answered")
    client.child.kill()


async def test_a_killed_client_resumes_from_disk(cluster: Cluster) -> None:
    client = await connect(cluster, "killed", "gw1", "gw2")
    (before,) = await cluster.sessions_of("killed")
    client.child.kill()
    client.child.start()
    await client.records("established", how="resumed")
    await client.records("ticket", more_than=1)

    async def one() -> bool:
        return len(await cluster.sessions_of("killed")) == 1

    await until(one, "the former SA gone")
    (after,) = await cluster.sessions_of("killed")
    assert after["chain"] == before["chain"]
    assert (before["generation"], after["generation"]) == (1, 2)
    assert after["how"] == "resumed"
    assert after["spi_r"] != before["spi_r"]
    assert client.recorded("failed") == client.recorded("ticket_refused") == []
    client.child.kill()


async def test_sigterm_ends_the_session_at_both_ends(cluster: Cluster) -> None:
    client = await connect(cluster, "leaver", "gw2")
    (session,) = await cluster.sessions_of("leaver")
    client.child.signal(signal.SIGTERM)
    assert await client.exit_code() == 0
    assert not cluster.ticket("leaver").exists()
    ended = await cluster.gateways["gw2"].records("sa_ended", spi=session["spi_r"])
    assert ended["why"] == "deleted by the peer"
    assert await cluster.sessions_of("leaver") == []
    records = await cluster.stored(cluster.keys.records)
    assert not [key for key in records if key.endswith(session["spi_r"].encode())]


async def test_sessions_of_a_killed_gateway_go_on_elsewhere(own: Cluster) -> None:
    await own.start()
    client = await connect(own, "survivor", **HASTY)
    at = own.addresses["gw1"]
    assert client.recorded("established")[0]["gateway"] == at
    (before,) = await own.sessions_of("survivor")
    own.gateways["gw1"].child.kill()
    resumed = await client.records("established", how="resumed")
    assert resumed["gateway"] != at
    await client.records("ticket", more_than=1)
    assert client.recorded("unanswered", gateway=at)
    assert len(client.recorded("established", how="full")) == 1
    for name in ("gw2", "gw3"):
        await own.gateways[name].records("declared_dead", member="gw1")
    await own.settled("gw2", "gw3")
    (after,) = await own.sessions_of("survivor")
    assert (after["chain"], after["generation"]) == (before["chain"], 2)
    answered = len(client.recorded("answered"))
    await client.records("answered", more_than=answered + 3)
    assert own.ticket("survivor").exists()


async def test_an_old_sa_at_a_third_gateway_is_dropped_silently(cluster: Cluster) -> None:
    async with (
        LocalClient(cluster.client_file("mover", ("gw1",))) as old,
        LocalClient(cluster.client_file("mover", ("gw2",)), old.tickets) as new,
    ):
        await old.connected()
        (before,) = await cluster.sessions_of("mover")
        old.wire.mute = True
        await new.connected()
        assert new.count("established", how="resumed") == 1
        ended = await cluster.gateways["gw1"].records("sa_ended", spi=before["spi_r"])
        assert ended["why"] == "resumed elsewhere"
        (after,) = await cluster.sessions_of("mover")
        assert after["member"] == "gw2"


async def test_a_gateway_that_was_stopped_past_its_lease_comes_back_empty(own: Cluster) -> None:
    await own.start()
    gateway = own.gateways["gw1"]
    async with LocalClient(own.client_file("dreamer", **HASTY)) as client:
        await client.connected()
        (before,) = await own.sessions_of("dreamer")
        shards = await own.shards()
        gateway.child.signal(signal.SIGSTOP)
        resumed = await client.told("established", how="resumed")
        assert resumed["gateway"] != own.addresses["gw1"]
        await own.settled("gw2", "gw3")
        gateway.child.signal(signal.SIGCONT)
        ended = await gateway.records("sa_ended", spi=before["spi_r"])
        assert ended["why"] in ("shard lost", "resumed elsewhere")
        await own.settled()
        later = await own.shards()
        assert all(later[s].fence > shards[s].fence for s in shards if shards[s].owner == "gw1")
        incarnation = gateway.recorded("started")[0]["incarnation"]
        assert (await own.members())["gw1"].incarnation == incarnation
        (after,) = await own.sessions_of("dreamer")
        assert (after["chain"], after["generation"]) == (before["chain"], 2)
        answered = client.count("answered")
        await client.told("answered", more_than=answered + 3)
        assert client.count("established") == 2
    assert gateway.child.running
    assert "Traceback" not in gateway.log
