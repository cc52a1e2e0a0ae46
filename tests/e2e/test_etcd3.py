"""Gateways over the etcd3 package: a killed one's session goes on, and the store may go and return.

One of the two gateways uses our own client, so that both write what the other reads.
"""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.e2e.cluster import HASTY, Cluster
from tests.e2e.local import LocalClient


@pytest_asyncio.fixture
async def mixed(tmp_path: Path) -> AsyncIterator[Cluster]:
    """gw1 and gw2 over etcd3, gw3 over our own client; not started."""
    made = Cluster(tmp_path, store={"kind": "etcd3"})
    made.gateways["gw3"] = made.gateway("gw3", "gw3", store={"kind": "etcd"})
    yield made
    await made.stop()


async def test_sessions_go_on_at_a_gateway_over_the_other_client(mixed: Cluster) -> None:
    await mixed.start()
    async with LocalClient(mixed.client_file("moving", ("gw1", "gw3", "gw2"), **HASTY)) as client:
        await client.connected()
        for killed, heir in (("gw1", "gw3"), ("gw3", "gw2")):
            mixed.gateways.pop(killed).child.kill()
            await mixed.gateways[heir].records("sa_established", how="resumed")
        status = (await mixed.run("status", "-o", "json")).json()
        assert (status["store_kind"], status["store_state"]) == ("etcd3", "ok")
        assert "etcd3, ok" in (await mixed.run("status")).out


async def test_the_store_goes_and_returns_and_the_gateways_end_in_order(mixed: Cluster) -> None:
    await mixed.start()
    gateways = list(mixed.gateways.values())
    mixed.lose_store()
    for gateway in gateways:
        await gateway.records("store_state", state="unavailable")
    await mixed.bring_store_back()
    for gateway in gateways:
        await gateway.records("store_state", state="ok")
    await mixed.settled()
    async with LocalClient(mixed.client_file("later", ("gw2",))) as client:
        await client.connected()
    for gateway in gateways:
        gateway.child.signal(signal.SIGTERM)
    for gateway in gateways:
        assert await gateway.exit_code() == 0
        assert "Traceback" not in gateway.log
