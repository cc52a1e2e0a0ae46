"""Sessions go on at another process: handed over alive, and found again after a kill."""

import signal
from typing import Any

from tests.e2e.cluster import Cluster, until
from tests.e2e.local import LocalClient

PATIENT = {"liveness_interval_s": 0.2, "retransmit_initial_s": 0.2, "retransmit_tries": 12}
"""A client that asks often and waits longer than a lease."""


async def shard_of_a_session(cluster: Cluster, owner: str) -> int:
    """Some shard of `owner` with a session in it, once there is one."""
    address = f"127.0.0.1:{cluster.ports.rpc + int(owner[2:])}"

    async def look() -> list[dict[str, Any]]:
        listed = (await cluster.run("shards", "list", "--address", address, "-o", "json")).json()
        return [one for one in listed["shards"] if one["sessions_here"]]

    found = await until(look, f"a session at {owner}")
    return int(found[0]["shard"])


async def goes_on(client: LocalClient, answers: int = 5) -> None:
    """The client is answered so often again, and hasn't connected anew."""
    before = client.count("answered")
    await until(lambda: client.count("answered") >= before + answers, "answers")
    assert client.count("established") == 1
    assert client.count("unanswered") == 0


async def test_a_client_goes_on_while_its_shard_goes_from_hand_to_hand(own: Cluster) -> None:
    await own.start()
    async with LocalClient(own.client_file("moved", ("gw1",), **PATIENT)) as client:
        await client.connected()
        shard = await shard_of_a_session(own, "gw1")
        for source, heir in (("gw1", "gw2"), ("gw2", "gw3"), ("gw3", "gw1")):
            moved = await own.run("shards", "move", f"{shard:04x}", heir)
            assert moved.code == 0, moved
            assert moved.out == f"{shard:04x}: from {source} to {heir}\n"
            assert await shard_of_a_session(own, heir) == shard
            await goes_on(client)
            (session,) = await own.sessions_of("moved")
            assert session["member"] == heir
        assert {way[1] for way in client.wire.came_from} == {own.ports.ike + 1}
    refused = await own.run("shards", "move", "ffff", "gw1")
    assert (refused.code, "no shard ffff" in refused.err) == (1, True), refused


async def test_a_gateway_that_ends_in_order_leaves_its_sessions_to_others(own: Cluster) -> None:
    await own.start()
    gateway = own.gateways["gw1"]
    async with LocalClient(own.client_file("left", ("gw2",), **PATIENT)) as client:
        await client.connected()
        shard = await shard_of_a_session(own, "gw2")
        assert (await own.run("shards", "move", f"{shard:04x}", "gw1")).code == 0
        await goes_on(client)
        gateway.child.signal(signal.SIGTERM)
        assert await gateway.exit_code() == 0
        await goes_on(client)
        gateway.child.start()
        await own.settled()
        await goes_on(client)


async def test_a_client_goes_on_at_a_gateway_that_was_killed_and_started_again(
    own: Cluster,
) -> None:
    await own.start()
    gateway = own.gateways["gw1"]
    async with LocalClient(own.client_file("loyal", ("gw1",), **PATIENT)) as client:
        await client.connected()
        await goes_on(client)
        gateway.child.kill()
        gateway.child.start()
        await gateway.records("shard_adopted")
        await goes_on(client)
