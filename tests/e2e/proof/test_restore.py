"""An old copy of the store is put in its place, as the same etcd cluster and as another one.

Gateways see it, whatever goes on in the copy: sessions that run are answered, nothing is claimed,
and one that has seen nothing doesn't join. Once an operator has accepted it sessions begin again,
by full handshakes at first: no ticket of before is taken, and every one issued since is.
"""

import asyncio

import pytest

from cluster.drill.history import History
from cluster.store import Put, Txn
from node.admin_client import AdminError
from tests.e2e.cluster import SOON, Process, until
from tests.e2e.proof import account
from tests.e2e.proof.conftest import Stage
from tests.e2e.proof.copies import DataCopied, SnapshotRestored
from tests.e2e.test_store_away import is_normal, status

pytestmark = pytest.mark.proof
SINCE_THE_COPY_S = 8.0
BEHIND_S = 3.0 * float(SOON["member"]["lease_ttl_s"])
"""Longer than any lease of a member that the copy brings back."""
WRITES = 5_000
"""More than were made since the copy."""
GATEWAYS = 3
RESTORED, ACCEPTED = "restored", "accepted"
WAYS = {
    "data copied": (DataCopied, "store-rewound"),
    "snapshot": (SnapshotRestored, "wrong-cluster-id"),
}


async def test_an_old_copy_is_put_back_and_accepted(stage: Stage) -> None:
    cluster, load = stage.cluster, stage.load
    for epoch, (way, (kind, condition)) in enumerate(WAYS.items(), 1):
        copy = kind(cluster)
        await copy.make()
        for name in cluster.gateways:
            await is_normal(cluster, name)
        await moves_on(stage)
        stage.faults.note(RESTORED, way)
        cluster.lose_store()
        await copy.put_back()
        await cluster.bring_store_back()
        await noticed(stage, condition)
        await nothing_happens(stage)
        stage.faults.note(ACCEPTED, way)
        accepted = await cluster.run("store", "accept-restore", "--yes")
        assert accepted.code == 0, accepted
        await begun_anew(stage, epoch)
        await cluster.settled()
        for _ in range(3):
            await load.served(f"{way}: accepted")
    history = account.read(cluster)
    stage.figures.append(account.table("an old copy of the store", history))
    assert not account.used_twice(history)
    assert [row.lost for row in account.rows(history) if row.fault.startswith(ACCEPTED)] == [0, 0]
    for since in (fault.t_s for fault in history.faults if fault.action == ACCEPTED):
        tickets_since(history, since)


async def moves_on(stage: Stage) -> None:
    """What the copy won't know of: resumptions, another key, another owner of some shards."""
    cluster = stage.cluster
    await stage.load.served("since the copy")
    rotation = await cluster.run("keys", "rotate")
    assert rotation.code == 0, rotation
    gateway = cluster.gateways["gw3"]
    stage.faults.note("kill", "gw3")
    gateway.child.kill()
    await cluster.settled("gw1", "gw2")
    gateway.child.start()
    await cluster.settled()
    await asyncio.sleep(SINCE_THE_COPY_S)
    await stage.load.served("with another key")


async def noticed(stage: Stage, condition: str) -> None:
    """Every gateway says what it has found."""
    for name in stage.cluster.gateways:

        async def look(name: str = name) -> bool:
            found = await status(stage.cluster, name)
            conditions = [each.name for each in found.store_conditions]
            return found.state == "store-rewound" and condition in conditions

        await until(look, f"{name}: {condition}")


async def nothing_happens(stage: Stage) -> None:
    """Leases run out in the copy, somebody writes there, a gateway starts that has seen nothing."""
    cluster = stage.cluster
    kept = (cluster.keys.shards, cluster.keys.sessions, cluster.keys.records, cluster.keys.ring)
    before = {key: e for key, e in (await cluster.stored()).items() if key.startswith(kept)}
    ups = [len(one.made) for one in stage.load.steady]
    store = cluster.store()
    for _ in range(WRITES // 100):
        puts = [store.commit(Txn((), (Put(b"/elsewhere", b""),))) for _ in range(100)]
        await asyncio.gather(*puts)
    await store.close()
    newcomer = stranger(stage)
    newcomer.child.start()
    await newcomer.records("store_rewound", found=True)
    await asyncio.sleep(BEHIND_S)
    answers = [one.answers for one in stage.load.steady]
    await asyncio.sleep(1.0)
    assert all(
        one.answers > count for one, count in zip(stage.load.steady, answers, strict=True)
    ), "sessions that run are answered"
    assert [len(one.made) for one in stage.load.steady] == ups
    for name in cluster.gateways:
        assert (await status(cluster, name)).state == "store-rewound", name
    after = {key: e for key, e in (await cluster.stored()).items() if key.startswith(kept)}
    assert after == before
    assert not newcomer.recorded("shards_gained")
    newcomer.child.kill()


async def begun_anew(stage: Stage, epoch: int) -> None:
    """Every gateway has ended its life under the former epoch, and is normal in another one."""
    for name in stage.cluster.gateways:

        async def look(name: str = name) -> bool:
            try:
                found = await status(stage.cluster, name)
            except AdminError:
                return False  # between two lives nobody answers there
            return (found.state, found.mode, found.epoch) == ("normal", "normal", epoch)

        await until(look, f"{name}: normal in epoch {epoch}")


def stranger(stage: Stage) -> Process:
    """A gateway with gw1's certificate and name, and a data directory that has seen nothing."""
    number = len(stage.figures) + sum(1 for _ in stage.cluster.events.glob("new*"))
    ports = stage.cluster.ports
    return stage.cluster.gateway(
        "gw1", f"new{number}",
        member={"data_dir": f"data-new{number}", "rpc_listen": f"127.0.0.1:{ports.rpc + 9}"},
        ike={"listen": [f"127.0.0.1:{ports.ike + 9}"]},
        metrics={"listen": ""},
    )  # fmt: skip


def tickets_since(history: History, since: float) -> None:
    """In its life after a restore was accepted no gateway resumes a session that began before; and
    whoever has a ticket of a session that began since isn't refused.

    (With etcd away for long enough the gateways were in failsafe before, and may have gone on to
    take tickets in it until they heard of it.)
    """
    ends = [fault.t_s for fault in history.faults if fault.action == RESTORED and fault.t_s > since]
    end = min(ends, default=history.end_t)
    lives: dict[str, float] = {}
    for event in history.members:
        if event.kind == "started" and since < event.t < end:
            lives.setdefault(event.who, event.t)
    assert len(lives) >= GATEWAYS, lives
    made = [
        event
        for event in history.members
        if event.kind == "sa_established" and lives.get(event.who, end) < event.t < end
    ]
    begun = {event.chain for event in made if event.how == "full"}
    assert begun
    assert {event.chain for event in made if event.how == "resumed"} <= begun
    for client in history.clients:
        full = [s.t for s in client.sessions if since < s.t < end and s.how == "full"]
        assert full, client.name
        refused = [t for t, _by in client.refused if full[0] < t < end]
        assert not refused, (client.name, refused)
