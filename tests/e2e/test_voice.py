"""What leaves real gateways' sockets: whose voice it is (promise 5), and how much strangers get out
of one (promise 7)."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest_asyncio

from node.identity import parse_address
from proto.ike.effects import Path as Way
from proto.ike.enums import ExchangeType, NotifyType, PayloadType
from proto.ike.message import decode_clear
from tests.e2e.cluster import Cluster, until
from tests.e2e.local import LocalClient
from tests.sim.checkers import SK_IV, WireChecker

COOKIE_THRESHOLD = 8
STRANGERS = 120


@pytest_asyncio.fixture
async def alone(tmp_path: Path) -> AsyncIterator[Cluster]:
    """One gateway, which soon asks strangers for cookies and remembers nobody for long."""
    changes = {"cookie_threshold": COOKIE_THRESHOLD, "half_open_timeout_s": 60.0}
    made = Cluster(tmp_path, gateways=1, ike=changes)
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


def fences_of(octets: list[bytes]) -> dict[bytes, set[int]]:
    """The gateway's SPI → the fences that its IVs name (epoch 8, fence 16, counter 40 bits)."""
    found: dict[bytes, set[int]] = {}
    for data in octets:
        if data[16] == PayloadType.SK:
            found.setdefault(data[8:16], set()).add(int.from_bytes(data[SK_IV][1:3], "big"))
    return found


async def test_every_iv_names_the_fence_of_the_owner_that_made_it(alone: Cluster) -> None:
    gateway = alone.gateways["gw1"]
    # longer than a gateway takes to be back: a client that gives up resumes, and its SA is another
    patient = alone.client_file("listener", ("gw1",))
    async with LocalClient(patient) as client:
        session = await client.connected()
        (before,) = {record.fence for record in (await alone.shards()).values()}
        gateway.child.kill()
        gateway.child.start()

        async def claimed() -> set[int]:
            fences = {record.fence for record in (await alone.shards()).values()}
            return fences if len(fences) == 1 and before not in fences else set()

        (after,) = await until(claimed, "one owner of all shards, under a new fence")
        assert after > before
        heard_by_then = len(client.wire.received)
        await until(lambda: len(client.wire.received) > heard_by_then + 1, "answers of an adopter")
        assert client.count("established") == 1
        heard = fences_of(client.wire.received)
        assert heard[session["spi_r"]] == {before, after}
        assert fences_of(client.wire.received[-1:])[session["spi_r"]] == {after}
        wire = WireChecker()
        for data, source in zip(client.wire.received, client.wire.came_from, strict=True):
            wire.see(data, Way(source, source))
        assert wire.findings == []


async def test_strangers_get_cookies_and_no_room(alone: Cluster) -> None:
    async with LocalClient(alone.client_file("genuine", ("gw1",))) as client:
        await client.connected()
        first = next(d.data for d in client.wire.sent if d.data[18] == ExchangeType.IKE_SA_INIT)
        before = len(client.wire.received)
        to = parse_address(alone.addresses["gw1"])

        def answers() -> list[bytes]:
            found = client.wire.received[before:]
            return [data for data in found if data[7] == 0xAA and not any(data[:6])]

        def all_answered(count: int) -> bool:
            return len(answers()) == count

        for number in range(STRANGERS):
            client.wire.repeat(number.to_bytes(7, "big") + b"\xaa" + first[8:], to)
            if number % 20 == 19:  # more might not fit into the socket of a gateway that waits
                await until(partial(all_answered, number + 1), "an answer for every stranger")
        assert len(answers()) == STRANGERS
        cookies = [a for a in answers() if decode_clear(a).notify(NotifyType.COOKIE) is not None]
        assert STRANGERS - len(cookies) <= COOKIE_THRESHOLD
        assert all(len(cookie) <= len(first) for cookie in cookies)
        answered = client.count("answered")
        await client.told("answered", more_than=answered + 2)
