"""One gateway as a process of the operating system: data directory, store, sockets, signals.

Rules: everything that needs a file, a port or a signal is here, so that `node.wiring` needs none.
SIGTERM and SIGINT end it in order with exit code 0; a lost name or a dead task ends it with 1.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import structlog

from cluster.errors import ClusterError
from cluster.link import PeerLink
from cluster.seams import Clock
from cluster.store import Store
from cluster.store_etcd import EtcdOptions, EtcdStore, EtcdTls, version_warning
from cluster.store_etcd3 import Etcd3Files, Etcd3Store
from cluster.store_memory import MemoryStore
from cluster.vault import Keks
from node.collector import settle_collector
from node.computing import Workers
from node.data_dir import DataDir
from node.eap.build import serve_eap
from node.errands import Errands
from node.identity import parse_address
from node.kek import read_keks
from node.kernel import NullKernel
from node.life import Identity, Seams
from node.metrics import MetricsServer
from node.ports import listen
from node.rpc import NoLink, RpcServer
from node.seams import OsClock, OsRng
from node.sections import GatewayConfig, StoreConfig
from node.supervisor import Supervisor
from node.threads import OsThreads
from node.trust.fetch import HttpFetch
from node.udp import Receiver, Sockets, UdpSockets
from node.view import View
from node.wiring import Node
from proto.secret import Secret

FAILED = 1
AGAIN = -1
"""No exit code: this life in the cluster is over, the process begins another one."""


async def run_gateway(config: GatewayConfig) -> int:
    """Run a gateway until it is told to end; the exit code.

    Raises ClusterError, ConfigError, OSError.
    """
    log = structlog.get_logger("gateway").bind(member=config.member.name)

    async def keks() -> Keks:
        return await asyncio.to_thread(read_keks, config.cluster)  # a command takes its time

    await keks()  # what is wrong with them is said before anything else is done
    with _naming("member.data_dir: ", right="a folder that this gateway may make and write"):
        data_dir = DataDir(config.member.data_dir, OsRng())
    told = asyncio.Event()
    try:
        while True:
            code = await _live(config, data_dir, keks, told)
            if code != AGAIN or told.is_set():
                return max(0, code)
            log.warning("the store was restored, and that was accepted: beginning anew")
    finally:
        data_dir.close()


async def _live(
    config: GatewayConfig, data_dir: DataDir, keks: Callable[[], Awaitable[Keks]],
    told: asyncio.Event,
) -> int:  # fmt: skip
    """One life in the cluster; the exit code, or AGAIN. `told` is set when a signal ends it.

    Raises ClusterError, ConfigError, OSError.
    """
    clock, rng = OsClock(), OsRng()
    notebook = data_dir.notes if config.store.kind != "memory" else None
    identity = Identity(data_dir.id, await keks(), version("standfast"), keks, notebook)
    log = structlog.get_logger("gateway").bind(member=config.member.name)
    supervisor = Supervisor()

    def end() -> None:
        told.set()
        supervisor.end()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    store = open_store(config.store, clock)
    rpc = RpcServer(config, supervisor.spawn) if config.member.rpc_listen else None
    link: PeerLink = NoLink() if rpc is None else rpc.link

    def open_sockets(receiver: Receiver, esp: Receiver) -> Sockets:
        with _naming("ike.listen: "):
            sockets = UdpSockets(listen(config.ike), receiver, esp)
        sockets.start()
        return sockets

    workers = Workers()
    errands = Errands(supervisor.contain, workers)
    seams = Seams(
        clock, rng, supervisor.spawn, store, link, open_sockets, NullKernel(), log,
        data_dir.pledges, errands, HttpFetch(config.trust.fetch_timeout_s),
    )  # fmt: skip
    node = Node(config, seams, identity)
    eap = serve_eap(errands, config, clock, rng, log, node.metrics, node.trust.trust)
    try:
        return await _serve(node, supervisor, rpc, store)
    finally:
        await supervisor.stop()
        eap.close()
        if rpc is not None:
            await rpc.stop()
        await link.close()
        await store.close()
        await workers.close()


async def _serve(node: Node, supervisor: Supervisor, rpc: RpcServer | None, store: Store) -> int:
    """Start, run until the end is asked for, stop. Raises ClusterError, OSError."""
    log = node.seams.log
    if isinstance(store, MemoryStore):
        supervisor.spawn(store.run(), "memory-store")
        log.warning("in-process store: nothing is shared, and nothing outlives this process")
    if (folder := node.config.ike.key_log_dir) != "":
        log.warning("keys are written down: traffic is an open book", folder=folder)
    if rpc is not None:
        await rpc.start(View(node, node.config.store.kind))
    metrics = _metrics(node)

    def count_crash() -> None:
        node.metrics.task_crashes = supervisor.crashes

    supervisor.on_crash = count_crash
    if isinstance(store, EtcdStore | Etcd3Store):
        node.way.guard.explain = store.explain
    node.way.guard.on_retired.append(lambda _why: supervisor.end())
    failures: list[ClusterError | OSError] = []

    async def life() -> None:
        try:
            await node.start()
            if isinstance(store, EtcdStore | Etcd3Store):
                await _warn_of_version(store, log)
            await node.deposed.wait()
        except (ClusterError, OSError) as error:
            failures.append(error)
        supervisor.end()

    settle_collector()
    living = supervisor.spawn(life(), "life")
    await supervisor.ended()
    living.cancel()  # told to end while it still waits for the store, perhaps
    await asyncio.wait((living,))
    await node.stop()
    if metrics is not None:
        metrics.close()
    if node.way.guard.retired:
        return AGAIN
    for error in failures:
        raise error
    return FAILED if supervisor.crash is not None or node.deposed.is_set() else 0


def open_store(config: StoreConfig, clock: Clock) -> Store:
    """The store that the configuration names. Raises OSError."""
    if config.kind == "memory":
        return MemoryStore(clock)
    options = EtcdOptions(config.endpoints, config.attempt_timeout_s, config.total_timeout_s)
    if config.kind == "etcd3":
        files = None
        if config.ca_file:
            files = Etcd3Files(config.ca_file, config.cert_file, config.key_file)
        return Etcd3Store(options, clock, OsThreads(), files)
    tls = None
    if config.ca_file:
        tls = EtcdTls(
            Path(config.ca_file).read_bytes(),
            Path(config.cert_file).read_bytes(),
            Secret(Path(config.key_file).read_bytes()),
        )
    return EtcdStore(options, clock, tls)


def _metrics(node: Node) -> MetricsServer | None:
    listen = node.config.metrics.listen
    if not listen:
        return None
    with _naming("metrics.listen: ", listen):
        return MetricsServer(node.metrics, *parse_address(listen))


@contextmanager
def _naming(key: str, name: str = "", right: str = "") -> Iterator[None]:
    """Says of an OSError which key of the configuration it is about, and what would be right."""
    try:
        yield
    except OSError as error:
        why = f"{error.strerror} → {right}" if right else error.strerror
        raise OSError(error.errno, why, f"{key}{name or error.filename}") from None


async def _warn_of_version(
    store: EtcdStore | Etcd3Store, log: structlog.typing.FilteringBoundLogger
) -> None:
    try:
        warning = version_warning(await store.server_version())
    except ClusterError:
        return  # it is away: others say so
    if warning is not None:
        log.warning(warning)
