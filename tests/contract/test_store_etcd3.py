"""Where the store over the etcd3 package differs: one member, threads, watches made again.

What it shares with the others is in `test_store`. Rules: no test asserts a duration.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import grpc
import pytest
import pytest_asyncio

from cluster.errors import LeaseLost, Unavailable, Unknown
from cluster.store import Changes, Compare, Get, Put, Target, Txn
from cluster.store_etcd import EtcdOptions
from cluster.store_etcd3 import Etcd3Files, Etcd3Store
from cluster.store_etcd3.watch import INBOX_ANSWERS_MAX
from node.etcd_child import EtcdChild, TlsFiles, member_ports
from node.seams import OsClock
from node.threads import OsThreads
from proto.rpc.etcd import rpc_pb2, rpc_pb2_grpc
from tests.contract.test_store_etcd_stream import (
    PATIENCE_S,
    ScriptedWatch,
    an_exchanged_etcd,
    answer,
    issue,
    key_pem,
    pem,
)
from tests.contract.test_store_faults import (
    Fault,
    Load,
    first_put,
    in_the_end,
    under_load,
    until,
)

HANG_S = 60.0
KEY = b"/k"
T = TypeVar("T")


@pytest_asyncio.fixture
async def child(tmp_path: Path) -> AsyncIterator[EtcdChild]:
    """An etcd of one member, for one test that hurts it."""
    made = EtcdChild(tmp_path, member_ports(1))
    await made.start()
    yield made
    await made.stop()


def store_of(
    child: EtcdChild, attempt_timeout_s: float = 0.5, total_timeout_s: float = 1.0
) -> Etcd3Store:
    options = EtcdOptions(child.endpoints, attempt_timeout_s, total_timeout_s)
    return Etcd3Store(options, OsClock(), OsThreads())


def watch_threads() -> list[str]:
    """The package's: one per watch, as long as its stream lasts."""
    return [t.name for t in threading.enumerate() if t.name.startswith("etcd3_watch_")]


def put(value: bytes) -> Txn:
    return Txn(success=(Put(KEY, value),))


# -- the one member goes away


async def test_while_the_member_is_away_nothing_happens_and_then_it_works_again(
    child: EtcdChild,
) -> None:
    store = store_of(child)
    lease = await in_the_end(lambda: store.lease(60.0))
    await first_put(store, KEY, b"1")
    child.kill(0)
    for call in (store.get(KEY), store.scan(b"/"), lease.keep_alive(), store.lease(5.0)):
        with pytest.raises(Unavailable, match="did not answer"):
            await call
    for _ in range(3):
        with pytest.raises(Unavailable, match="did not answer"):
            await store.commit(put(b"2"))
    child.start_member(0)
    await child.wait_healthy()
    entry = await in_the_end(lambda: store.get(KEY))
    assert entry is not None
    assert (entry.value, entry.version) == (b"1", 1)
    assert await in_the_end(lease.keep_alive) == lease.ttl_s
    await in_the_end(lambda: store.commit(put(b"3")))
    await store.close()


async def test_a_member_that_stops_leaves_one_commit_in_doubt_and_then_none(
    child: EtcdChild,
) -> None:
    """The first was sent; those after it are not until the member has answered something."""
    store = store_of(child)
    await first_put(store, KEY, b"old")
    child.pause(0)
    txn = Txn((Compare(KEY, Target.VERSION, 1),), (Put(KEY, b"mine"),), (Get(KEY),))
    with pytest.raises(Unknown):
        await store.commit(txn)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await store.commit(put(b"never"))
    child.resume(0)
    patient = store_of(child, 2.0, HANG_S)
    load = Load(patient)
    async with asyncio.timeout(HANG_S):
        while not await load.done_once(KEY, 1, b"mine"):
            pass
    entry = await in_the_end(lambda: store.get(KEY))
    assert entry is not None
    assert (entry.value, entry.version) == (b"mine", 2)
    await store.close()
    await patient.close()


async def test_a_member_that_goes_back_during_a_scan_is_not_there() -> None:
    async with an_exchanged_etcd() as address:
        options = EtcdOptions((address,), PATIENCE_S, 2 * PATIENCE_S)
        store = Etcd3Store(options, OsClock(), OsThreads())
        with pytest.raises(Unavailable, match="went back behind revision 10"):
            await store.scan(b"/")
        await store.close()


class KilledAndBack(Fault):
    async def __call__(self, load: Load) -> None:
        for _ in range(2):
            self.child.kill(0)
            before = load.unavailable
            await until(lambda before=before: load.unavailable > before)
            self.child.start_member(0)
            await self.child.wait_healthy()
            await load.at_least(10)


class StoppedAndBack(Fault):
    async def __call__(self, load: Load) -> None:
        self.child.pause(0)
        before = load.unavailable + load.unknown
        await until(lambda: load.unavailable + load.unknown > before)
        self.child.resume(0)


@pytest.mark.parametrize("fault", [KilledAndBack, StoppedAndBack])
async def test_nothing_is_lost_or_done_twice_and_the_watch_goes_on(
    child: EtcdChild, fault: type[Fault]
) -> None:
    store = store_of(child)
    load = await under_load(store, fault(child))
    assert load.unavailable + load.unknown > 0
    await store.close()


# -- watches and their threads


async def test_a_watch_has_at_most_one_thread_and_close_leaves_none(child: EtcdChild) -> None:
    async with asyncio.timeout(HANG_S):
        await until(lambda: not watch_threads())  # those of the test before
    store = store_of(child)
    first = (await in_the_end(lambda: store.commit(put(b"0")))).revision
    seen: list[Changes] = []

    async def follow() -> None:
        async for changes in store.watch(b"/", first):
            seen.append(changes)

    async with asyncio.timeout(HANG_S):
        task = asyncio.create_task(follow())
        await until(lambda: len(seen) == 1)
        assert len(watch_threads()) == 1
        child.kill(0)
        for _ in range(3):
            with pytest.raises(Unavailable):
                await store.get(KEY)
            assert len(watch_threads()) <= 1
        child.start_member(0)
        await child.wait_healthy()
        await in_the_end(lambda: store.commit(put(b"1")))
        await until(lambda: len(seen) > 1)
        await store.close()
        await task
        await until(lambda: not watch_threads())


async def test_a_watch_that_is_left_ends_its_thread(child: EtcdChild) -> None:
    store = store_of(child)
    first = (await in_the_end(lambda: store.commit(put(b"0")))).revision
    for _ in range(5):
        watch = store.watch(b"/", first)
        async with asyncio.timeout(HANG_S):
            await anext(watch)
        await watch.aclose()
    async with asyncio.timeout(HANG_S):
        await until(lambda: not watch_threads())
    await store.close()


async def test_what_the_loop_does_not_fetch_is_bounded_and_asked_for_again(
    child: EtcdChild,
) -> None:
    store = store_of(child, PATIENCE_S, 2 * PATIENCE_S)
    first = (await store.commit(put(b"0"))).revision
    watch = store.watch(b"/", first)
    count = 2 * INBOX_ANSWERS_MAX
    async with asyncio.timeout(HANG_S):
        changes = list((await anext(watch)).changes)
        for i in range(1, count):  # nobody fetches meanwhile
            await store.commit(put(b"%d" % i))
        await until(lambda: not watch_threads())
        while len(changes) < count:
            changes += (await anext(watch)).changes
    assert [change.entry.version for change in changes] == list(range(1, count + 1))
    await watch.aclose()
    await store.close()


class SilentAfterwards(ScriptedWatch):
    """Leaves every stream open when its script is over, as etcd does with one it has cancelled."""

    async def Watch(  # noqa: N802 - the service's name for it
        self, requests: AsyncIterator[rpc_pb2.WatchRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[rpc_pb2.WatchResponse]:
        request = await anext(requests)
        script = self.scripts[len(self.asked)]
        self.asked.append(request.create_request.start_revision)
        for response in script:
            yield response
        await asyncio.Event().wait()


async def found_by(service: ScriptedWatch, count: int) -> list[int]:
    """The revisions of the first `count` changes from revision 10 on."""
    # or it would end the connection because of our pings, and so the silence
    server = grpc.aio.server(options=[("grpc.http2.max_ping_strikes", 0)])
    rpc_pb2_grpc.add_WatchServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    options = EtcdOptions((f"127.0.0.1:{port}",), PATIENCE_S, 2 * PATIENCE_S)
    store = Etcd3Store(options, OsClock(), OsThreads())
    found: list[int] = []
    try:
        async with asyncio.timeout(HANG_S):
            async for changes in store.watch(b"/", 10):
                found += [change.entry.mod_revision for change in changes.changes]
                if len(found) >= count:
                    break
    finally:
        await store.close()
        await server.stop(None)
    return found


async def test_a_watch_that_etcd_cancels_without_a_word_is_asked_for_again() -> None:
    gone = rpc_pb2.WatchResponse(canceled=True, cancel_reason="etcdserver: permission denied")
    refused = rpc_pb2.WatchResponse(created=True, canceled=True, watch_id=-1)
    service = SilentAfterwards(
        [
            [answer(50, created=True), answer(50, 10, 12), gone],
            [refused],
            [answer(60, created=True), answer(60, 12, 15)],
        ]
    )
    assert await found_by(service, 3) == [10, 12, 15]
    assert service.asked == [9, 12, 12]


async def test_a_watch_whose_stream_breaks_goes_on_at_its_last_event_or_progress() -> None:
    service = ScriptedWatch(
        [
            [answer(50, created=True), answer(50, 10, 12)],
            [answer(60, created=True), answer(60, 12, 15), answer(70)],
            [answer(80, created=True), answer(80, 75)],
        ]
    )
    assert await found_by(service, 4) == [10, 12, 15, 75]
    assert service.asked == [9, 12, 70]
    assert {headers["hasleader"] for headers in service.headers} == {"true"}


# -- threads, endpoints, TLS


class HeldThread(OsThreads):
    """One thread that begins nothing before it is let go."""

    def __init__(self) -> None:
        super().__init__(1)
        self.free = asyncio.Event()

    async def call(self, work: Callable[[], T]) -> T:
        await self.free.wait()
        return await super().call(work)


async def test_calls_wait_for_a_thread_and_not_for_ever(child: EtcdChild) -> None:
    options = EtcdOptions(child.endpoints, attempt_timeout_s=5.0, total_timeout_s=5.0)
    thread = HeldThread()
    store = Etcd3Store(options, OsClock(), thread)
    async with asyncio.timeout(HANG_S):
        first = asyncio.create_task(store.get(KEY))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="none of 1 threads to etcd was free in 5 s"):
            await store.commit(put(b"v"))
        thread.free.set()
        assert await first is None
        assert (await store.commit(put(b"v"))).succeeded
    await store.close()


async def test_a_refusal_does_not_count_as_silence(child: EtcdChild) -> None:
    store = store_of(child, PATIENCE_S, 2 * PATIENCE_S)
    with pytest.raises(LeaseLost):
        await store.commit(Txn(success=(Put(KEY, b"v", 12345),)))
    with pytest.raises(ValueError, match="key"):
        await store.get(b"")
    assert (await store.server_version()).startswith("3.")
    await store.close()


async def test_two_endpoints_are_one_too_many() -> None:
    with pytest.raises(ValueError, match="one endpoint, not 2"):
        Etcd3Store(EtcdOptions(("127.0.0.1:1", "127.0.0.1:2")), OsClock(), OsThreads())


async def test_only_certificates_of_etcds_authority_are_let_in(tmp_path: Path) -> None:
    ca = issue("test CA")
    server = issue("etcd", ca)
    files = TlsFiles(tmp_path / "ca", tmp_path / "cert", tmp_path / "key")
    files.ca.write_bytes(pem(ca[0]))
    files.cert.write_bytes(pem(server[0]))
    files.key.write_bytes(key_pem(server[1]))
    child = EtcdChild(tmp_path / "etcd", member_ports(1), tls=files)
    await child.start()
    outcomes = []
    for name, issuer, patience_s in (
        ("gw1", ca, PATIENCE_S),
        ("stranger", issue("another CA"), 1.0),
    ):
        certificate, key = issue(name, issuer)
        (tmp_path / f"{name}.crt").write_bytes(pem(certificate))
        (tmp_path / f"{name}.key").write_bytes(key_pem(key))
        shown = Etcd3Files(
            str(files.ca), str(tmp_path / f"{name}.crt"), str(tmp_path / f"{name}.key")
        )
        options = EtcdOptions(child.endpoints, patience_s, patience_s)
        store = Etcd3Store(options, OsClock(), OsThreads(), shown)
        try:
            outcomes.append((await store.commit(put(b"v"))).succeeded)
        except Unavailable:
            outcomes.append(None)
        await store.close()
    await child.stop()
    assert outcomes == [True, None]
