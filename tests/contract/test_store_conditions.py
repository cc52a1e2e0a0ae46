"""What is wrong with a real etcd has its name, for as long as it is wrong.

Rules: etcd is brought into each condition for real. No test asserts a duration; HANG_S only ends
one that hangs.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from cluster.batch import Installed, Lane, batch_txn
from cluster.conditions import SLOW_S, Condition, Conditions
from cluster.errors import ClusterError, Compacted, Trouble, Unavailable, Unknown
from cluster.guard import Guard
from cluster.layout import Keys
from cluster.rewind import Memory
from cluster.store import Delete, Put, Txn
from cluster.store_etcd import EtcdOptions, EtcdStore, EtcdTls
from cluster.store_etcd3 import Etcd3Files, Etcd3Store
from node.etcd_child import EtcdChild, TlsFiles, member_ports
from node.pki import Authority
from node.seams import OsClock
from node.threads import OsThreads

HANG_S = 60.0
KEYS = Keys("conditions")
KEY = KEYS.root + b"key"
QUOTA_OCTETS = 4 << 20
BRIEF = (0.5, 1.5)
PATIENT = (20.0, 40.0)
"""Seconds that an attempt and all of them together get: brief where etcd will be silent or is asked
again and again; else a busy machine's pause is taken for what is wrong."""
YEAR_S = 365 * 86_400.0
each_kind = pytest.mark.parametrize("kind", ["etcd", "etcd3"])


class Way:
    """A member's guarded way to a real etcd."""

    def __init__(self, store: EtcdStore | Etcd3Store, memory: Memory | None = None) -> None:
        clock = OsClock()
        self.store = store
        self.guard = Guard(store, KEYS, clock, Conditions(clock))
        self.guard.explain = store.explain
        self.guard._memory = memory

    def names(self) -> list[str]:
        return [each.condition.value for each in self.guard.conditions.present()]

    async def stands(self) -> None:
        """Write until it is answered: the connection stands."""
        async with asyncio.timeout(HANG_S):
            while True:
                try:
                    await self.guard.commit(put())
                    return
                except (Unavailable, Unknown):
                    await asyncio.sleep(0.05)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Write until it holds; what fails is told by the conditions."""
        async with asyncio.timeout(HANG_S):
            while not holds():
                try:
                    async with asyncio.timeout(2.0):
                        await self.guard.commit(put())
                except (ClusterError, TimeoutError):
                    pass
                await asyncio.sleep(0.05)


def put(value: bytes = b"v") -> Txn:
    return Txn(success=(Put(KEY, value),))


def made(
    child: EtcdChild,
    kind: str,
    tls: EtcdTls | None,
    files: TlsFiles | None,
    patience: tuple[float, float],
) -> EtcdStore | Etcd3Store:
    options = EtcdOptions(child.endpoints, *patience)
    if kind == "etcd":
        return EtcdStore(options, OsClock(), tls)
    shown = None if files is None else Etcd3Files(str(files.ca), str(files.cert), str(files.key))
    one = EtcdOptions(child.endpoints[-1:], *patience)
    return Etcd3Store(one, OsClock(), OsThreads(), shown)


@asynccontextmanager
async def way_to(
    child: EtcdChild, kind: str = "etcd", *, tls: EtcdTls | None = None,
    files: TlsFiles | None = None, memory: Memory | None = None,
    patience: tuple[float, float] = PATIENT,
) -> AsyncIterator[Way]:  # fmt: skip
    """`tls`: what is shown to etcd, and `files`: the same for the store that reads files."""
    way = Way(made(child, kind, tls, files, patience), memory)
    looking = asyncio.create_task(way.guard.run())
    yield way
    looking.cancel()
    await asyncio.wait((looking,))
    await way.store.close()


@asynccontextmanager
async def etcd(folder: Path, *extra: str, tls: TlsFiles | None = None) -> AsyncIterator[EtcdChild]:
    child = EtcdChild(folder, member_ports(1), extra=extra, tls=tls)
    await child.start()
    yield child
    for i in sorted(child.pids):
        child.kill(i)


@each_kind
async def test_a_majority_that_stands_still_is_no_leader(three_etcds: EtcdChild, kind: str) -> None:
    async with way_to(three_etcds, kind, patience=BRIEF) as way:
        await way.stands()
        for i in (0, 1):
            three_etcds.pause(i)
        await way.until(lambda: Condition.NO_LEADER.value in way.names())
        assert not way.guard.answers
        for i in (0, 1):
            three_etcds.resume(i)
        await way.until(lambda: way.guard.answers)
        # a write of the meantime may be in doubt
        assert way.names() in ([], [Condition.UNKNOWN_OUTCOME.value])


async def test_a_write_that_etcd_was_sent_and_never_answered_is_an_unknown_outcome(
    tmp_path: Path,
) -> None:
    async with etcd(tmp_path) as child, way_to(child, patience=BRIEF) as way:
        await way.stands()
        child.pause(0)
        with pytest.raises(Unknown):
            await way.guard.commit(put())
        assert way.names() == [Condition.NO_ANSWER.value, Condition.UNKNOWN_OUTCOME.value]
        child.resume(0)
        await way.until(lambda: way.guard.answers)
        assert way.names() == [Condition.UNKNOWN_OUTCOME.value]  # to be seen for a while


@each_kind
async def test_a_full_etcd_refuses_writes_and_keeps_leases(tmp_path: Path, kind: str) -> None:
    async with (
        etcd(tmp_path, f"--quota-backend-bytes={QUOTA_OCTETS}") as child,
        way_to(child, kind) as way,
    ):
        lease = await way.guard.lease(30)

        async def fill() -> None:
            for _ in range(1024):  # etcd looks at its size now and then only
                await way.guard.commit(put(bytes(200_000)))

        with pytest.raises(Unavailable) as refused:
            await fill()
        assert refused.value.trouble is Trouble.NO_SPACE
        assert way.names() == [Condition.NO_SPACE.value]
        assert "etcdctl alarm disarm" in way.guard.conditions.present()[0].line
        entry = await way.guard.get(KEY)  # it is refused, and so it hasn't happened
        assert entry is not None
        with pytest.raises(Unavailable):
            await way.guard.commit(put(b"never"))
        assert (await way.guard.get(KEY)) == entry
        # etcd doesn't look for room at what is nested: what refuses a batch is the Put of its lane
        with pytest.raises(Unavailable):
            await way.guard.commit(batch_txn(KEYS, Installed(0, 0), Lane(KEYS.root), (put(b"x"),)))
        assert (await way.guard.commit(Txn(success=(Delete(KEY),)))).succeeded
        with pytest.raises(Unavailable):
            await way.guard.lease(30)
        assert await lease.keep_alive() == 30
        assert way.names() == [Condition.NO_SPACE.value]  # that it answers doesn't make it well
        assert way.guard.failures == 0  # and doesn't send anybody to another member


@each_kind
async def test_an_etcd_that_gets_on_by_fits_and_starts_is_slow(tmp_path: Path, kind: str) -> None:
    """As on a disk whose writes take long: everything is answered, and takes its time."""
    async with etcd(tmp_path) as child, way_to(child, kind) as way:

        async def stutter() -> None:
            while True:
                child.pause(0)
                await asyncio.sleep(3 * SLOW_S)
                child.resume(0)
                await asyncio.sleep(SLOW_S / 10)

        await way.stands()
        stuttering = asyncio.create_task(stutter())
        await way.until(lambda: Condition.SLOW.value in way.names())
        stuttering.cancel()
        await asyncio.wait((stuttering,))
        child.resume(0)
        await way.until(lambda: Condition.SLOW.value not in way.names())
        assert way.guard.answers


async def test_lost_history_is_named_compacted(tmp_path: Path) -> None:
    async with etcd(tmp_path) as child, way_to(child) as way:
        for _ in range(3):
            revision = (await way.guard.commit(put())).revision
        await way.store.compact(revision)
        with pytest.raises(Compacted):
            await anext(way.guard.watch(KEY, 1))
        assert way.names() == [Condition.COMPACTED.value]
        assert way.guard.conditions.compactions == 1


async def test_another_etcd_in_its_place_is_a_wrong_cluster_id(tmp_path: Path) -> None:
    async with etcd(tmp_path / "one") as one, etcd(tmp_path / "two") as two:
        async with way_to(one) as way:
            await way.guard.commit(put())
            memory = way.guard.memory
        async with way_to(two, memory=memory) as way:
            with pytest.raises(Unavailable, match="cluster id"):
                await way.guard.commit(put())
            assert way.names() == [Condition.OTHER_CLUSTER.value]
            assert await way.store.get(KEY) is None


def issued(folder: Path, authority: Authority, name: str) -> tuple[TlsFiles, EtcdTls]:
    """A certificate of `authority` as files for etcd, and as octets for us."""
    folder.mkdir(exist_ok=True)
    made = authority.etcd(name, ["127.0.0.1", "localhost"])
    files = TlsFiles(folder / "ca.crt", folder / f"{name}.crt", folder / f"{name}.key")
    files.ca.write_bytes(authority.issued.certificate)
    files.cert.write_bytes(made.certificate)
    files.key.write_bytes(made.key.octets)
    return files, EtcdTls(authority.issued.certificate, made.certificate, made.key)


@each_kind
async def test_an_etcd_whose_certificate_has_ended_is_named(tmp_path: Path, kind: str) -> None:
    now_s = OsClock().wall_s()
    good = Authority("conditions", now_s)
    ended = Authority("conditions", now_s - 50 * YEAR_S)
    files, _ = issued(tmp_path / "ended", ended, "etcd")
    shown, ours = issued(tmp_path / "good", good, "gw1")
    ours = EtcdTls(ended.issued.certificate, ours.cert, ours.key)
    shown.ca.write_bytes(ours.ca)
    async with (
        etcd(tmp_path / "data", tls=files) as child,
        way_to(child, kind, tls=ours, files=shown, patience=BRIEF) as way,
    ):
        # who has had no answer in time yet says only that
        await way.until(lambda: way.names() == [Condition.ETCD_CERTIFICATE.value])
        assert "expired" in way.guard.conditions.present()[0].detail


@each_kind
async def test_our_own_certificate_that_has_ended_is_refused_by_etcd(
    tmp_path: Path, kind: str
) -> None:
    now_s = OsClock().wall_s()
    good = Authority("conditions", now_s)
    files, _ = issued(tmp_path / "good", good, "etcd")
    late = Authority("conditions", now_s - 3 * YEAR_S)
    shown, ours = issued(tmp_path / "late", late, "gw1")
    files.ca.write_bytes(late.issued.certificate)  # whom etcd trusts: ten years, our leaf only two
    ours = EtcdTls(good.issued.certificate, ours.cert, ours.key)
    shown.ca.write_bytes(ours.ca)
    async with (
        etcd(tmp_path / "data", tls=files) as child,
        way_to(child, kind, tls=ours, files=shown, patience=BRIEF) as way,
    ):
        # who has had no answer in time yet says only that
        await way.until(lambda: way.names() == [Condition.ETCD_CERTIFICATE.value])


@each_kind
async def test_an_etcd_that_denies_us_is_named(tmp_path: Path, kind: str) -> None:
    async with etcd(tmp_path) as child:
        await _lock(child.endpoints[0])
        async with way_to(child, kind) as way:
            with pytest.raises(Unavailable) as refused:
                await way.guard.commit(put())
            assert refused.value.trouble is Trouble.DENIED
            assert way.names() == [Condition.DENIED.value]


async def _lock(endpoint: str) -> None:
    """Demand a user's name and password from whoever comes, as `etcdctl auth enable` does."""

    def text(field: int, value: bytes) -> bytes:
        return bytes((field << 3 | 2, len(value))) + value

    root = text(1, b"root")
    async with grpc.aio.insecure_channel(endpoint) as channel:
        for method, request in (
            ("UserAdd", root + text(2, b"secret")),
            ("RoleAdd", root),
            ("UserGrantRole", root + text(2, b"root")),
            ("AuthEnable", b""),
        ):
            try:
                await channel.unary_unary(f"/etcdserverpb.Auth/{method}")(request)
            except grpc.aio.AioRpcError as error:
                if "already exists" not in (error.details() or ""):
                    raise
