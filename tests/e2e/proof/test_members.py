"""In one cluster's life: SIGKILL and SIGSTOP of each etcd member and of each gateway.

All the while clients ask liveness, and others come back by their tickets. A store of three members
is there as long as two are: nothing that it does to one may be seen by a client.
"""

import asyncio
import signal
import urllib.request

import pytest

from node.etcd_child import LOOPBACK
from tests.e2e.cluster import SOON, until
from tests.e2e.proof import account
from tests.e2e.proof.conftest import Stage

pytestmark = pytest.mark.proof
ETCD_AWAY_S = 3.0
ETCD_STOPPED_S = 10.0
GATEWAY_STOPPED_S = 2.0 * float(SOON["member"]["lease_ttl_s"])


def leader(stage: Stage) -> int:
    """The etcd member that leads; -1: none says so."""
    etcd = stage.cluster.etcd
    for i in sorted(etcd.pids):
        url = f"http://{LOOPBACK}:{etcd.ports[i].metrics}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            if b"\netcd_server_is_leader 1\n" in answer.read():
                return i
    return -1


async def leading(stage: Stage) -> int:
    """The same, once there is one."""
    found: int = await until(lambda: leader(stage) + 1, "a leader")
    return found - 1


async def test_each_etcd_member_is_killed_and_stopped(stage: Stage) -> None:
    etcd, load = stage.cluster.etcd, stage.load
    first = await leading(stage)
    for member in (first, (first + 1) % 3, (first + 2) % 3):
        stage.faults.note("sigkill", f"etcd m{member}")
        etcd.kill(member)
        await asyncio.sleep(ETCD_AWAY_S)
        await load.served(f"etcd m{member} is dead")
        etcd.start_member(member)
        await etcd.wait_healthy()
    first = await leading(stage)
    for member in (first, (first + 1) % 3, (first + 2) % 3):
        stage.faults.note("sigstop", f"etcd m{member}")
        etcd.pause(member)
        await asyncio.sleep(ETCD_STOPPED_S)
        await load.served(f"etcd m{member} is stopped")
        etcd.resume(member)
        await etcd.wait_healthy()
    await load.served("every etcd member is back")
    history = account.read(stage.cluster)
    found = account.rows(history)
    stage.figures.append(account.table("each etcd member", history))
    account.check(history)
    assert not [row for row in found if row.resumed or row.rehandshaked]
    for gateway in stage.cluster.gateways.values():
        assert gateway.child.running
        assert not gateway.recorded("standing", state="isolated")


async def test_each_gateway_is_killed_and_stopped(stage: Stage) -> None:
    cluster, load = stage.cluster, stage.load
    names = tuple(cluster.gateways)
    for name in names:
        gateway, others = cluster.gateways[name], [n for n in names if n != name]
        stage.faults.note("kill", name)
        gateway.child.kill()
        await cluster.settled(*others)
        await load.served(f"{name} is dead")
        gateway.child.start()
        await cluster.settled()
        await load.served(f"{name} is back")
    for name in names:
        gateway, others = cluster.gateways[name], [n for n in names if n != name]
        address = cluster.addresses[name]
        spis = load.held_at(address)
        stage.faults.note("stop", name)
        gateway.child.signal(signal.SIGSTOP)
        await asyncio.sleep(GATEWAY_STOPPED_S)
        await cluster.settled(*others)
        await load.served(f"{name} is stopped")
        heard, lost = load.heard(), len(gateway.recorded("shards_lost"))
        gateway.child.signal(signal.SIGCONT)
        await gateway.records("shards_lost", more_than=lost)
        await cluster.settled()
        await load.served(f"{name} goes on")
        assert load.old_voices(address, spis, heard) == []
    history = account.read(cluster)
    found = account.rows(history)
    stage.figures.append(account.table("each gateway", history))
    account.check(history, full_max=len(found))
