"""A gateway process without a cluster: production sockets, shell and lane; writes settle at once.

Rules: started as `python -m bench.udp_gateway`; one line on stdin says its key, one line on stdout
where it listens. It ends when stdin does.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path as Folder

import msgspec
import structlog

from bench.handlers import BenchSpis
from bench.load import CHILD, REMOTE_ID, SUITE
from bench.proofs import GatewayProofs
from cluster.keyring import RingPolicy, new_ring
from node.collector import settle_collector
from node.credentials import PskTable
from node.kernel import NullKernel
from node.lane import Lane
from node.metrics import Metrics
from node.observe import EventLog, SparseLog
from node.reporter import Reporter
from node.seams import OsClock, OsRng
from node.shell import Shell
from node.udp import Listen, UdpSockets
from proto.ike.core import Settings
from proto.ike.effects import Path, Persist, Settlement
from proto.ike.endpoint import Endpoint
from proto.ike.enums import PayloadType
from proto.ike.identity import parse_identity
from proto.ike.names import parse_child, parse_suite
from proto.ike.payloads import IdPayload
from proto.ike.selectors import parse_selector
from proto.secret import Secret


class Start(msgspec.Struct, frozen=True):
    """What it is told."""

    psk_hex: str
    papers: str = ""
    """The folder with what certificates and EAP take (`bench.papers`); empty: a key alone will do.
    """


class Listening(msgspec.Struct, frozen=True):
    """What it answers."""

    address: tuple[str, int]


class SettledAtOnce:
    """Implements `node.lane.Commits`: what a write costs is measured elsewhere."""

    def submit(self, persist: Persist, done: Callable[[Settlement], None]) -> None:
        """Durable, says nobody in particular."""
        done(Settlement.DURABLE)


class UdpGateway:
    """The process's one gateway."""

    def __init__(self, start: Start) -> None:
        clock, rng = OsClock(), OsRng()
        ring = new_ring(rng, time.time(), RingPolicy())
        anywhere = (parse_selector("0.0.0.0/0"),)
        psks = (("rfc822:*@example.com", Secret(bytes.fromhex(start.psk_hex))),)
        proofs = GatewayProofs(Folder(start.papers), psks) if start.papers else None
        psk_id = IdPayload(PayloadType.IDr, *parse_identity(REMOTE_ID))
        settings = Settings(
            psk_id, b"bench", (parse_suite(SUITE),), (parse_child(CHILD),), anywhere, anywhere,
            connections=() if proofs is None else proofs.connections(psk_id, anywhere),
        )  # fmt: skip
        credentials = PskTable(psks) if proofs is None else proofs.credentials
        endpoint = Endpoint(settings, rng, credentials, BenchSpis(), ring, ring.cookies)
        self.sockets = UdpSockets(Listen((("127.0.0.1", 0),)), self._receive)
        log = SparseLog(structlog.get_logger("bench"), clock)
        reporter = Reporter(Metrics(), EventLog("", "bench", clock), log, _replaced)
        lane = Lane(
            endpoint, SettledAtOnce(), NullKernel(), self.sockets, clock, reporter,
            errands=None if proofs is None else proofs.errands,
        )  # fmt: skip
        self._shell = Shell(endpoint, lane, clock)

    def _receive(self, data: bytes, path: Path) -> None:
        self._shell.on_datagram(data, path)


def _replaced(_chain: bytes, _spi: bytes) -> None:
    """There is no other member to be told."""


async def serve() -> None:
    """Until stdin ends."""
    gateway = UdpGateway(msgspec.json.decode(sys.stdin.readline(), type=Start))
    settle_collector()
    gateway.sockets.start()
    (address,) = gateway.sockets.addresses
    print(msgspec.json.encode(Listening(address)).decode(), flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
    await ended.wait()
    gateway.sockets.close()


if __name__ == "__main__":
    asyncio.run(serve())
