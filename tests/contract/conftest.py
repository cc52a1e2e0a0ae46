"""What the contract suites run against: the store in memory, and a real etcd on loopback."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from cluster.relay import FAILURES
from cluster.store import Put, Store, Txn
from cluster.store_etcd import EtcdOptions, EtcdStore
from cluster.store_etcd3 import Etcd3Store
from cluster.store_memory import MemoryStore
from node.etcd_child import EtcdChild, member_ports
from node.seams import OsClock, OsRng
from node.threads import OsThreads
from tests.contract.relays import KEYS, RelayPair

KINDS = ("memory", "etcd", "etcd3", "relayed")


class AnyStore(Store):
    """A store of either kind, with what the suite needs beside the five verbs."""

    async def compact(self, revision: int) -> None:
        """Forget the history up to `revision`."""


class Bench(msgspec.Struct):
    """A store under test, and a folder of keys of its own in it."""

    kind: str
    store: AnyStore
    root: bytes


async def put(bench: Bench, name: bytes, value: bytes = b"v", lease_id: int = 0) -> int:
    """Write one key of the bench's own; at which revision."""
    txn = Txn(success=(Put(bench.root + name, value, lease_id),))
    return (await bench.store.commit(txn)).revision


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def one_etcd(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EtcdChild]:
    """One etcd of one member for the whole run; it holds nothing of the loop it started in."""
    child = EtcdChild(tmp_path_factory.mktemp("etcd"), member_ports(1))
    await child.start()
    yield child
    await child.stop()


@pytest_asyncio.fixture
async def three_etcds(tmp_path: Path) -> AsyncIterator[EtcdChild]:
    """An etcd of three members, for one test that hurts it."""
    child = EtcdChild(
        tmp_path, member_ports(3), members=3, election_timeout_ms=500, heartbeat_ms=50
    )
    await child.start()
    yield child
    for i in sorted(child.pids):
        child.kill(i)


@pytest_asyncio.fixture(params=KINDS)
async def bench(request: pytest.FixtureRequest, one_etcd: EtcdChild) -> AsyncIterator[Bench]:
    """A store of each kind in turn."""
    root = b"/contract/" + os.urandom(6).hex().encode() + b"/"
    if request.param == "memory":
        store = MemoryStore(OsClock())
        timer = asyncio.create_task(store.run())
        yield Bench("memory", store, root)
        await store.close()
        await timer
    elif request.param == "etcd3":
        other = Etcd3Store(options(one_etcd), OsClock(), OsThreads())
        yield Bench("etcd3", other, root)
        await other.close()
    elif request.param == "relayed":
        async for bench in _relayed(root):
            yield bench
    else:
        etcd = EtcdStore(options(one_etcd), OsClock())
        yield Bench("etcd", etcd, root)
        await etcd.close()


async def _relayed(root: bytes) -> AsyncIterator[Bench]:
    """A member's store that goes through another member, for whom it is in memory."""
    shared = MemoryStore(OsClock())
    timer = asyncio.create_task(shared.run())
    pair = RelayPair(shared, shared, OsClock(), OsRng())
    pair.store.shared = shared
    await pair.theirs.verify()
    pair.direct.failures = FAILURES
    pair.store.look()
    assert pair.store.via == "gw2"
    yield Bench("relayed", pair.store, KEYS.root + root)
    await pair.close()
    await timer


def options(child: EtcdChild) -> EtcdOptions:
    """For tests: on a machine with two busy cores half a second is sometimes too short, and a
    commit whose time is up is in doubt."""
    return EtcdOptions(child.endpoints, attempt_timeout_s=20.0, total_timeout_s=40.0)
