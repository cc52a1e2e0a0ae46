"""What an operator sees and does, by the command line; metrics; what is at rest."""

from typing import Any

import msgspec

from node.session import MemoryTicket
from node.tickets import TicketFile
from tests.e2e.cluster import Cluster, until
from tests.e2e.figures import scrape
from tests.e2e.local import LocalClient


async def test_status_shows_the_cluster(cluster: Cluster) -> None:
    async with LocalClient(cluster.client_file("seen", ("gw2",))) as client:
        await client.connected()

        async def heard() -> dict[str, Any]:
            found: dict[str, Any] = (await cluster.run("status", "-o", "json")).json()
            members = found["members"]
            settled = (
                sum(m["sessions"] for m in members) == 1
                and found["shards_owned"] == found["shards"]
                and {m["ring_revision"] for m in members} == {found["ring_revision"]}
            )
            return found if settled else {}  # each is told by a stream of its own

        status = await until(heard, "the session, every shard's owner and the ring in status")
        assert (status["cluster"], status["mode"], status["state"]) == (
            "sample",
            "normal",
            "normal",
        )
        assert (status["store_kind"], status["store_state"]) == ("etcd", "ok")
        assert (status["shards"], status["shards_owned"]) == (64, 64)
        members = {m["name"]: m for m in status["members"]}
        assert list(members) == ["gw1", "gw2", "gw3"]
        assert {m["state"] for m in members.values()} == {"normal"}
        assert [m["sessions"] for m in members.values()] == [0, 1, 0]
        assert {m["ring_revision"] for m in members.values()} == {status["ring_revision"]}
        table = await cluster.run("status")
        assert table.code == 0
        for text in ("sample, normal", "etcd, ok", "gw1", "gw2", "gw3", cluster.addresses["gw3"]):
            assert text in table.out
        await cluster.run("sessions", "terminate", client.of("established")[0]["spi_r"].hex())


async def test_sessions_are_listed_shown_and_terminated_from_anywhere(cluster: Cluster) -> None:
    async with LocalClient(cluster.client_file("watched", ("gw3",))) as client:
        spi = (await client.connected())["spi_r"].hex()
        table = await cluster.run("sessions", "list")
        (row,) = [line for line in table.out.splitlines() if "watched" in line]
        assert spi in row
        assert "gw3" in row
        shown = (await cluster.run("sessions", "show", spi, "-o", "json")).json()
        assert (shown["spi_r"], shown["member"], shown["how"]) == (spi, "gw3", "full")
        assert shown["identity"] == "rfc822:watched@example.com"
        assert "rfc822:watched@example.com" in (await cluster.run("sessions", "show", spi)).out
        ended = await cluster.run("sessions", "terminate", spi, "-o", "json")
        assert ended.json() == {"spi": spi, "member": "gw3"}
        # its client is told, forgets the ticket, and comes back by a full handshake
        await client.told("established", more_than=1)
        assert client.count("established", how="full") == 2
        (session,) = await cluster.sessions_of("watched")
        assert session["generation"] == 1
        gone = await cluster.run("sessions", "show", spi)
        assert (gone.code, gone.out) == (1, "")
        assert gone.err.strip() == f"standfast: no session {spi}"


async def test_terminate_voids_the_ticket_of_a_client_that_does_not_answer(
    cluster: Cluster,
) -> None:
    tickets = MemoryTicket()
    file = cluster.client_file("stubborn", ("gw1",))
    async with LocalClient(file, tickets) as client:
        spi = (await client.connected())["spi_r"].hex()
        (session,) = await cluster.sessions_of("stubborn")
        client.wire.mute = True
        assert (await cluster.run("sessions", "terminate", spi)).code == 0
    elsewhere = cluster.client_file("stubborn", ("gw2",))
    async with LocalClient(elsewhere, tickets) as client:
        client.session.start()
        await client.told("established")
        assert client.count("connecting", how="resumed") == 1
        assert client.count("failed", how="resumed") == 1
        assert client.of("established")[-1]["how"] == "full"
        (again,) = [s for s in await cluster.sessions_of("stubborn") if s["member"] == "gw2"]
        assert again["chain"] != session["chain"]
        stored = await cluster.stored()
        assert cluster.keys.session(bytes.fromhex(session["chain"])) not in stored


async def test_a_rotation_refuses_no_ticket(cluster: Cluster) -> None:
    file = cluster.client_file("rotated", ("gw1", "gw2"))
    tickets = TicketFile(str(cluster.ticket("rotated")))
    async with LocalClient(file, tickets) as client:
        await client.connected()
    before = (await cluster.run("keys", "list", "-o", "json")).json()["keys"]
    rotation = await cluster.run("keys", "rotate")
    assert rotation.code == 0, rotation
    steps = [line.partition(":")[0] for line in rotation.out.splitlines()]
    assert [s for s in steps if "waiting" not in s] == ["announced", "activated", "retired"]
    after = (await cluster.run("keys", "list", "-o", "json")).json()["keys"]
    states = {key["id"]: key["state"] for key in after if key["purpose"] == "ticket"}
    (former,) = [k["id"] for k in before if (k["purpose"], k["state"]) == ("ticket", "sealing")]
    assert states[former] == "opening"
    assert sorted(states.values()) == ["opening", "sealing"]
    assert former in (await cluster.run("keys", "list")).out
    for gateway in cluster.gateways.values():
        await gateway.records("ring_installed", more_than=2)
    elsewhere = cluster.client_file("rotated", ("gw2",))
    async with LocalClient(elsewhere, tickets) as client:
        await client.connected()
        assert client.count("established", how="resumed") == 1
    lines = (await cluster.run("keys", "rotate", "-o", "json")).out.splitlines()
    assert all(msgspec.json.decode(line)["line"] for line in lines)


async def test_metrics_show_what_happened(cluster: Cluster) -> None:
    accepted = 'standfast_resumptions_total{outcome="accepted"}'
    forged = 'standfast_resumptions_total{outcome="forged"}'
    before = await scrape(cluster, "gw1")
    async with LocalClient(cluster.client_file("counted", ("gw1",))) as client:
        await client.connected()
        ticket = client.tickets.load()
        assert ticket is not None
    async with LocalClient(cluster.client_file("counted", ("gw1",)), client.tickets) as client:
        await client.connected()
        other = MemoryTicket()
        flipped = ticket.ticket[:-1] + bytes((ticket.ticket[-1] ^ 1,))
        other.save(msgspec.structs.replace(ticket, ticket=flipped))
        async with LocalClient(cluster.client_file("counted", ("gw1",)), other) as forger:
            forger.session.start()
            await forger.told("ticket_refused")
        status = (await cluster.run("status", "-o", "json")).json()

        async def fresh() -> dict[str, float]:
            found = await scrape(cluster, "gw1")
            newest = found["standfast_ring_revision"] == status["ring_revision"]
            return found if newest and found["standfast_sessions"] >= 1 else {}

        after = await until(fresh, "session and ring revision in the metrics")
    assert after[accepted] == before.get(accepted, 0) + 1
    assert after[forged] == before.get(forged, 0) + 1
    assert after["standfast_commit_seconds_count"] >= before["standfast_commit_seconds_count"] + 2
    assert after["standfast_commit_seconds_sum"] > before["standfast_commit_seconds_sum"]
    assert after['standfast_store_state{state="ok"}'] == 1
    mine = {m["name"]: m["shards"] for m in status["members"]}["gw1"]
    assert after["standfast_shards_owned"] == mine


async def test_nothing_in_the_store_is_readable(cluster: Cluster) -> None:
    async with LocalClient(cluster.client_file("canary-identity", ("gw1",))) as client:
        await client.connected()
        ticket = client.tickets.load()
        assert ticket is not None
        psk = next(
            line.split('"')[1]
            for line in (cluster.files / "psk.toml").read_text().splitlines()
            if line.startswith("secret_hex")
        )
        kek = (cluster.files / "kek").read_text().strip()
        stored = await cluster.stored()
        assert [key for key in stored if key.startswith(cluster.keys.records)]
        everything = b"\n".join(key + b"=" + entry.value for key, entry in stored.items())
        secrets = {
            "pre-shared key": bytes.fromhex(psk),
            "key-encryption key": bytes.fromhex(kek),
            "SK_d": ticket.sk_d.octets,
            "identity": b"canary-identity",
        }
        for name, octets in secrets.items():
            for spelled in (octets, octets.hex().encode(), octets.hex().upper().encode()):
                assert spelled not in everything, name
