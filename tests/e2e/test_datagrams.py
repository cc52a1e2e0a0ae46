"""Datagrams at real sockets: at the wrong member, twice at the same instant, and hostile ones."""

import random
from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio

from node.identity import parse_address
from node.session import MemoryTicket
from proto.ike.effects import Address
from tests.e2e.cluster import Cluster, until
from tests.e2e.figures import scrape
from tests.e2e.local import LocalClient

HALF_OPEN_S = 2.0
SEED = 5723
ROUNDS = 4


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Three gateways that soon forget who knocked and went."""
    folder = tmp_path_factory.mktemp("cluster")
    made = Cluster(folder, ike={"half_open_timeout_s": HALF_OPEN_S})
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


def address(cluster: Cluster, gateway: str) -> Address:
    """Where a gateway listens."""
    return parse_address(cluster.addresses[gateway])


async def test_a_datagram_at_the_wrong_member_is_answered_from_there(cluster: Cluster) -> None:
    async with LocalClient(cluster.client_file("roamer", ("gw1",))) as client:
        spi = (await client.connected())["spi_r"].hex()
        wrong = address(cluster, "gw2")
        client.wire.detour = wrong
        before = client.count("answered")
        await client.told("answered", more_than=before + 3)
        assert client.wire.came_from[-1] == wrong
        assert client.count("unanswered") == 0
        (session,) = await cluster.sessions_of("roamer")
        assert (session["spi_r"], session["member"]) == (spi, "gw1")


@pytest.mark.parametrize("number", range(ROUNDS))
async def test_a_ticket_shown_at_two_gateways_at_once_makes_one_sa(
    cluster: Cluster, number: int
) -> None:
    name = f"twice{number}"
    async with LocalClient(cluster.client_file(name, ("gw3",))) as first:
        await first.connected()
        ticket = first.tickets.load()
    assert ticket is not None
    (issued,) = await cluster.sessions_of(name)
    copies = (MemoryTicket(), MemoryTicket())
    for copy in copies:
        copy.save(ticket)
    async with (
        LocalClient(cluster.client_file(name, ("gw1",)), copies[0]) as one,
        LocalClient(cluster.client_file(name, ("gw2",)), copies[1]) as other,
    ):
        one.session.start()
        other.session.start()
        for client in (one, other):
            await client.told("established")
        won = [c for c in (one, other) if c.count("established", how="resumed") == 1]
        assert len(won) == 1
        (lost,) = [c for c in (one, other) if c not in won]
        (failed,) = lost.of("failed", how="resumed")
        assert "AUTHENTICATION_FAILED" in failed["why"]
        assert lost.count("established", how="full") == 1
        # the SA that the ticket was issued on goes without a word
        ended = await cluster.gateways["gw3"].records("sa_ended", spi=issued["spi_r"])
        assert ended["why"] == "resumed elsewhere"
        chain = [s for s in await cluster.sessions_of(name) if s["chain"] == issued["chain"]]
        assert [(s["generation"], s["how"]) for s in chain] == [(2, "resumed")]


def hostile(genuine: list[bytes], rng: random.Random) -> list[bytes]:
    """Garbage; genuine datagrams cut short, with a bit flipped, lengthened, and as they were."""
    made = [b"", b"\x00", rng.randbytes(28), rng.randbytes(1400), bytes(28), b"\xff" * 65_000]
    made += [rng.randbytes(rng.randrange(1, 600)) for _ in range(200)]
    for data in genuine:
        made += [data[: rng.randrange(len(data))] for _ in range(20)]
        made += [data + rng.randbytes(rng.randrange(1, 40)) for _ in range(5)]
        for _ in range(40):
            at = rng.randrange(8 * len(data))
            flipped = bytearray(data)
            flipped[at // 8] ^= 1 << at % 8
            made.append(bytes(flipped))
        made += [data] * 5
    rng.shuffle(made)
    return made


async def test_hostile_datagrams_leave_no_trace(cluster: Cluster) -> None:
    rng = random.Random(SEED)
    target = address(cluster, "gw1")
    before = await scrape(cluster, "gw1")
    file = cluster.client_file("genuine", ("gw1",))
    async with LocalClient(file) as first:
        await first.connected()
    async with LocalClient(file, first.tickets) as client, LocalClient(file) as stranger:
        await client.connected()
        assert client.count("established", how="resumed") == 1

        async def gone_through(count: int) -> bool:
            """Most of what left; the next would not fit into the socket of a gateway that waits
            for its turn at a busy machine."""
            found = await scrape(cluster, "gw1")
            taken = found["standfast_datagrams_in_total"] - before["standfast_datagrams_in_total"]
            return taken >= 0.9 * count

        genuine = [d.data for d in (*first.wire.sent, *client.wire.sent)]
        wave = hostile(genuine, rng)
        for number, data in enumerate(wave):
            wire = (client.wire, stranger.wire)[number % 2]
            wire.repeat(data, target)
            if number % 50 == 0:
                await until(partial(gone_through, number + 1), "so much taken by the gateway")
        answered = client.count("answered")
        await client.told("answered", more_than=answered + 2)
        assert client.count("unanswered") == client.count("failed") == 0
        assert client.count("established") == 1

        async def forgotten() -> dict[str, float]:
            found = await scrape(cluster, "gw1")
            quiet = found["standfast_half_open_sessions"] == 0 and await gone_through(len(wave))
            return found if quiet else {}

        after = await until(forgotten, "no half-open SA left")
        sessions = await cluster.sessions_of("genuine")
        assert [s["generation"] for s in sessions] == [2]
    dropped = {
        name: count - before.get(name, 0)
        for name, count in after.items()
        if name.startswith("standfast_datagrams_dropped_total")
    }
    # a replay is old, or not the last request octet for octet: which one, the timing decides
    for reasons in (("malformed",), ("unknown_spi",), ("message_id", "integrity")):
        labels = [f'standfast_datagrams_dropped_total{{reason="{reason}"}}' for reason in reasons]
        assert sum(dropped.get(label, 0) for label in labels) > 0, dropped
    assert "Traceback" not in cluster.gateways["gw1"].log
    assert cluster.gateways["gw1"].child.running
