"""The store down under a load of clients that come back by their tickets: a minute by SIGKILL, then
long enough for every lease by SIGSTOP.

The gateways pledge and go on in failsafe, flush when it is back, and are normal again; nobody is
refused, nobody that stays notices.
"""

import asyncio

import pytest

from cluster.layout import FLUSHING
from tests.e2e.proof import account
from tests.e2e.proof.conftest import WALKING, Stage
from tests.e2e.test_store_away import is_normal, status

pytestmark = pytest.mark.proof
DOWN_S, STOPPED_S = 60.0, 15.0
FULL_EACH = 4
"""Full handshakes of one that comes back, at most. The store goes and comes back, twice: whoever
comes back in that moment may give the gateway up before it answers (it takes two seconds to go into
failsafe), and has spent his ticket there. And each comes back a hundred times in the minute: what
gateways keep of a session without the store (`cluster.failsafe.ledger`) ends there."""
LONG_GAP_S = 2.5
"""Shorter than a client waits before it gives its gateway up."""


async def watch(stage: Stage, seen: dict[tuple[str, str], None]) -> None:
    """Note every (state, mode) that gw1 says it is in, until cancelled."""
    while True:
        found = await status(stage.cluster, "gw1")
        seen[found.state, found.mode] = None
        await asyncio.sleep(0.05)


async def in_failsafe(stage: Stage, away_s: float) -> None:
    """The store is away from now on: each client comes back meanwhile, each gateway says where it
    stands."""
    begun = sum(one.comings for one in stage.load.walking)
    await asyncio.sleep(away_s)
    await stage.load.served("without the store")
    assert sum(one.comings for one in stage.load.walking) > begun + WALKING
    for name in stage.cluster.gateways:
        found = await status(stage.cluster, name)
        assert (found.state, found.store_state) == ("failsafe", "unavailable"), name
        assert "failsafe" in [each.name for each in found.store_conditions]


async def test_clients_come_back_while_the_store_is_down(stage: Stage) -> None:
    cluster = stage.cluster
    seen: dict[tuple[str, str], None] = {}
    watching = asyncio.create_task(watch(stage, seen))
    stage.faults.note("sigkill", "all of etcd")
    cluster.lose_store()
    await in_failsafe(stage, DOWN_S)
    stage.faults.note("start", "all of etcd")
    await cluster.bring_store_back()
    for name in cluster.gateways:
        await is_normal(cluster, name)
    await stage.load.served("the store is back")
    stage.faults.note("sigstop", "all of etcd")
    for member in sorted(cluster.etcd.pids):
        cluster.etcd.pause(member)
    await in_failsafe(stage, STOPPED_S)
    stage.faults.note("sigcont", "all of etcd")
    for member in sorted(cluster.etcd.pids):
        cluster.etcd.resume(member)
    await cluster.etcd.wait_healthy()
    for name in cluster.gateways:
        await is_normal(cluster, name)
    await stage.load.served("the store goes on")
    watching.cancel()
    history = account.read(cluster)
    found = account.rows(history)
    stage.figures.append(account.table("the store down", history))
    stage.figures.append("gw1 was: " + ", ".join("/".join(each) for each in seen))
    account.check(history, full_max=FULL_EACH * WALKING)
    assert not [row for row in found if row.resumed or row.rehandshaked]
    assert max(row.longest_gap_s for row in found) < LONG_GAP_S
    assert not [event for event in history.members if event.kind == "used_twice"]
    assert {("failsafe", "normal"), ("normal", "normal")} <= seen.keys()
    assert FLUSHING in [mode for _state, mode in seen]
    assert await cluster.settled()
    for gateway in cluster.gateways.values():
        assert gateway.child.running
        assert not gateway.recorded("standing", state="isolated")
    held = {session["spi_r"] for session in await cluster.sessions()}
    staying = {one.made[-1][1] for one in stage.load.steady}
    assert staying <= held
