"""The load: one process, one initiator's Endpoint with many sessions, orders on stdin.

Rules: started as `python -m bench.load`; the first line on stdin is a `Setup`, every further one an
`Order`, each answered with a `Report` on stdout. It is lean, for it shares the machine with what it
measures: no event loop, one socket, and resumptions are made by `bench.lean`. What isn't answered
is repeated as every initiator does. Each session has an identity of its own, as in life.
"""

import gc
import select
import socket
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path as Folder
from time import perf_counter
from typing import Literal

import msgspec

from bench.lean import LeanSession, Refused
from bench.papers import Way
from bench.procfs import cpu_s
from bench.proofs import LoadProofs, proving
from node.client import NoCookies, NoKeys
from node.seams import OsClock, OsRng
from node.spis import ClientSpis
from proto.ike.core import Peer, RetransmitPolicy, Settings
from proto.ike.effects import Now, Outcome, Path
from proto.ike.endpoint import Endpoint
from proto.ike.enums import PayloadType
from proto.ike.events import (
    Answered,
    Event,
    Failed,
    TicketReceived,
    TicketRefused,
    Unanswered,
)
from proto.ike.identity import parse_identity
from proto.ike.names import parse_child, parse_suite
from proto.ike.payloads import IdPayload
from proto.ike.selectors import parse_selector
from proto.ike.ticket import ClientTicket
from proto.secret import Secret

BUFFER_OCTETS = 4 << 20
DATAGRAM_MAX = 65_535
WAIT_MAX_S = 0.5
REPEAT_S = 1.0
LOOK_EVERY_S = 0.25
"""How often it is looked what is to be repeated."""
SUITE = "aes256gcm16-prfsha256-x25519"
CHILD = "aes256gcm16"
REMOTE_ID = "fqdn:vpn.example.com"


class Setup(msgspec.Struct, frozen=True):
    """Where to, and whose CPU time counts."""

    gateway: tuple[str, int]
    psk_hex: str
    pid: int
    papers: str = ""
    """The folder with what other ways than a pre-shared key take (`bench.papers`)."""


Kind = Literal["handshake", "resume", "probe"]


class Order(msgspec.Struct, frozen=True):
    """`count` times `kind`, never more than `in_flight` at once."""

    kind: Kind
    """`handshake`: new sessions, which stay. `resume`: sessions there are, with their newest
    tickets. `probe`: liveness of sessions there are that were not resumed.
    """
    count: int
    in_flight: int = 64
    gateway: tuple[str, int] | None = None
    """Where from now on everything goes: whoever has adopted the sessions. None: as before."""
    way: Way = "psk"
    """How new sessions are proven."""


class Report(msgspec.Struct, frozen=True):
    """What came of an order."""

    done: int
    failed: int
    repeated: int
    """Datagrams sent again."""
    wall_s: float
    cpu_s: float
    """Used by the process that counts, meanwhile."""
    p50_ms: float
    p99_ms: float


class Slot:
    """One session: its newest SA and ticket, and since when it waits for an answer."""

    __slots__ = ("due_s", "lean", "peer", "since_s", "spi", "ticket")

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.spi = b""
        self.ticket: ClientTicket | None = None
        self.lean: LeanSession | None = None
        """Since its first resumption; from then on it can only be resumed."""
        self.since_s = 0.0
        self.due_s = 0.0
        """When a lean session's datagram is repeated."""


class Load:
    """See the module."""

    def __init__(self, setup: Setup) -> None:
        self._pid = setup.pid
        self._psk = Secret(bytes.fromhex(setup.psk_hex))
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self._sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_OCTETS)
        self._sock.bind(("127.0.0.1", 0))
        self._sock.setblocking(False)
        self._gateway = setup.gateway
        self._path = Path(self._sock.getsockname(), setup.gateway)
        self._clock, self._rng = OsClock(), OsRng()
        peer = self._peer(0)
        settings = Settings(
            peer.local_id, b"", peer.suites, peer.child_suites, peer.local_ts, peer.remote_ts,
            liveness_interval_s=0.0,
        )  # fmt: skip
        self._proofs = LoadProofs(Folder(setup.papers) if setup.papers else None)
        self._endpoint = Endpoint(
            settings, self._rng, self._proofs, ClientSpis(self._rng), NoKeys(), NoCookies()
        )
        self._slots: deque[Slot] = deque()
        """Sessions that wait for nothing, the one left alone longest first."""
        self._busy: dict[bytes, Slot] = {}
        self._lean: dict[bytes, Slot] = {}
        """Those that are being resumed, by their SPI, the one that waits longest first."""
        self._look_s = 0.0
        self._taken_s: list[float] = []
        self._failed = 0
        self._lost = ""
        """Why a resumption was refused, the last time."""
        self._repeated = 0
        self._made = 0
        self._way: Way = "psk"
        self._kinds: dict[Kind, Callable[[], None]] = {
            "handshake": self._handshake,
            "resume": self._resume,
            "probe": self._probe,
        }

    def carry_out(self, order: Order) -> Report:
        """Do it all, then tell."""
        start = self._kinds[order.kind]
        self._gateway, self._way = order.gateway or self._gateway, order.way
        self._taken_s, self._failed, self._repeated = [], 0, 0
        cpu_before_s, begin_s = cpu_s(self._pid), perf_counter()
        started = 0
        while (ended := len(self._taken_s) + self._failed) < order.count:
            while started < order.count and started - ended < order.in_flight:
                start()
                started += 1
            self._turn()
        wall_s = perf_counter() - begin_s
        taken_s = sorted(self._taken_s) or [0.0]
        return Report(
            done=len(self._taken_s),
            failed=self._failed,
            repeated=self._repeated,
            wall_s=wall_s,
            cpu_s=cpu_s(self._pid) - cpu_before_s,
            p50_ms=1000 * taken_s[len(taken_s) // 2],
            p99_ms=1000 * taken_s[len(taken_s) * 99 // 100],
        )

    # -- what can be ordered

    def _handshake(self) -> None:
        self._made += 1
        slot = Slot(proving(self._peer(self._made), self._way))
        self._begin(slot, self._endpoint.connect(slot.peer, self._path, self._now()))

    def _resume(self) -> None:
        if not self._slots:
            raise SystemExit(f"no session is left to resume, the last was lost so: {self._lost}")
        slot = self._slots.popleft()
        if slot.lean is None:
            if slot.ticket is None:
                raise ValueError("a session without a ticket can't be resumed")
            self._endpoint.drop(slot.spi, "to be resumed")
            slot.lean = LeanSession(slot.peer, slot.ticket, self._rng)
        data = slot.lean.begin()
        slot.spi = slot.lean.spi
        slot.since_s = perf_counter()
        slot.due_s = slot.since_s + REPEAT_S
        self._lean[slot.spi] = slot
        self._sock.sendto(data, self._path.remote)

    def _probe(self) -> None:
        slot = self._slots.popleft()
        outcome = self._endpoint.probe(slot.spi, self._now())
        if outcome is None:
            raise ValueError("a session that is down can't be probed")
        self._begin(slot, outcome)

    # -- inside

    def _begin(self, slot: Slot, outcome: Outcome) -> None:
        slot.spi = outcome.spi
        slot.since_s = perf_counter()
        self._busy[slot.spi] = slot
        self._send(outcome)

    def _turn(self) -> None:
        """Take what has come, or wait for it; repeat what is due."""
        due_s = self._endpoint.next_deadline_s() - self._clock.boot_s()
        if due_s <= 0:
            for outcome in self._endpoint.on_timer(self._now()):
                self._repeated += len(outcome.send)
                self._take(outcome)
        self._repeat_lean()
        select.select([self._sock], [], [], min(max(due_s, 0.0), WAIT_MAX_S))
        now = self._now()
        while True:
            try:
                data = self._sock.recv(DATAGRAM_MAX)
            except BlockingIOError:
                return
            slot = self._lean.get(data[:8])
            if slot is None:
                self._take(self._endpoint.receive(data, self._path, now))
            else:
                self._lean_answer(slot, data)

    def _lean_answer(self, slot: Slot, data: bytes) -> None:
        if slot.lean is None:
            return
        try:
            following = slot.lean.answer(data)
        except Refused as why:
            del self._lean[slot.spi]
            self._failed, self._lost = self._failed + 1, str(why)
            return
        if following is None:
            self._taken_s.append(perf_counter() - slot.since_s)
            del self._lean[slot.spi]
            self._slots.append(slot)
        elif following:
            self._sock.sendto(following, self._path.remote)

    def _repeat_lean(self) -> None:
        """Say again what wasn't answered; nobody gives up here."""
        now_s = perf_counter()
        if now_s < self._look_s:
            return
        self._look_s = now_s + LOOK_EVERY_S
        for slot in self._lean.values():
            if slot.due_s <= now_s and slot.lean is not None:
                slot.due_s = now_s + REPEAT_S
                self._repeated += 1
                self._sock.sendto(slot.lean.sent, self._path.remote)

    def _take(self, outcome: Outcome) -> None:
        while outcome.errand is not None:
            result = self._proofs.carry_out(outcome.errand)
            following = self._endpoint.done(outcome.spi, result, self._now())
            if following is None:
                return
            outcome = following
        self._send(outcome)
        for event in outcome.events:
            self._observe(event)

    def _observe(self, event: Event) -> None:
        slot = self._busy.get(event.spi)
        if slot is None:
            return
        match event:
            case TicketReceived():
                slot.ticket = event.ticket
                self._end(slot)
            case Answered():
                self._end(slot)
            case Failed() | TicketRefused() | Unanswered():
                del self._busy[slot.spi]
                self._failed += 1
            case _:
                return

    def _end(self, slot: Slot) -> None:
        """It has what it waited for; a ticket comes with what sets a session up."""
        self._taken_s.append(perf_counter() - slot.since_s)
        del self._busy[slot.spi]
        self._slots.append(slot)

    def _send(self, outcome: Outcome) -> None:
        for datagram in outcome.send:
            self._sock.sendto(datagram.data, self._gateway)

    def _now(self) -> Now:
        return Now(self._clock.boot_s(), self._clock.wall_s())

    def _peer(self, number: int) -> Peer:
        local_id = parse_identity(f"rfc822:c{number:05d}@example.com")
        anywhere = (parse_selector("0.0.0.0/0"),)
        return Peer(
            IdPayload(PayloadType.IDi, *local_id),
            IdPayload(PayloadType.IDr, *parse_identity(REMOTE_ID)),
            self._psk,
            (parse_suite(SUITE),),
            (parse_child(CHILD),),
            anywhere,
            anywhere,
            retransmit=RetransmitPolicy(initial_s=1.0),
        )


def main() -> None:
    """Orders from stdin, one a line, until it ends."""
    gc.disable()  # what it makes lives on or is freed by counting
    load = Load(msgspec.json.decode(sys.stdin.readline(), type=Setup))
    for line in sys.stdin:
        report = load.carry_out(msgspec.json.decode(line, type=Order))
        print(msgspec.json.encode(report).decode(), flush=True)


if __name__ == "__main__":
    main()
