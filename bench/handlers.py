"""The core alone: what one handshake, one resumption and one forged ticket cost the gateway.

Rules: only calls into the gateway's endpoint are timed, in loops of many, so that reading the clock
costs nothing; the client's side of each message is made before. Durable writes are settled at once.
"""

import time
from collections.abc import Callable

import msgspec

from bench.instructions import counted
from cluster.keyring import RingPolicy, new_ring
from cluster.shards import SPI_KEY_LEN, SpiCodec
from node.client import NoCookies, NoKeys
from node.credentials import PskTable
from node.seams import OsRng
from node.spis import ClientSpis
from proto.ike.core import Peer, Settings
from proto.ike.effects import Datagram, Now, Outcome, Path, Settlement
from proto.ike.endpoint import Endpoint
from proto.ike.enums import IdType, PayloadType
from proto.ike.events import TicketReceived
from proto.ike.names import parse_child, parse_suite
from proto.ike.payloads import IdPayload
from proto.ike.selectors import parse_selector
from proto.ike.ticket import ClientTicket
from proto.secret import Secret

GATEWAY, CLIENT = ("192.0.2.1", 500), ("192.0.2.2", 40000)
TO_GATEWAY, TO_CLIENT = Path(GATEWAY, CLIENT), Path(CLIENT, GATEWAY)
COUNTED = 50
"""Resumptions whose instructions are counted: each takes as many as the next."""
SUITE = "aes256gcm16-prfsha256-x25519"


class BenchSpis:
    """Real SPIs of one shard, one fence, without a cluster around."""

    def __init__(self) -> None:
        self._rng = OsRng()
        self._codec = SpiCodec(Secret(self._rng.bytes(SPI_KEY_LEN)), 64)

    def ike_spi(self) -> bytes | None:
        """A fresh SPI of shard 7."""
        return self._codec.ike_spi(7, self._rng.bytes(6))

    def ike_spi_beside(self, ike_spi: bytes) -> bytes:
        """A fresh SPI of shard 7, where all are."""
        return self._codec.ike_spi(7, self._rng.bytes(6))

    def begins(self, ike_spi: bytes, makes: bool) -> bool:
        """There is no other owner."""
        return True

    def esp_spi(self, ike_spi: bytes) -> bytes:
        """A fresh ESP SPI of the same shard."""
        return self._codec.esp_spi(self._codec.shard_of(ike_spi), self._rng.bytes(2))

    def iv_prefix(self, ike_spi: bytes) -> tuple[int, int]:
        """Epoch 0, fence 1."""
        return 0, 1


class Bench:
    """One gateway and one client, and the clock between them."""

    def __init__(self, count: int) -> None:
        rng, psk = OsRng(), Secret(b"a pre-shared key of more than enough octets")
        idi = IdPayload(PayloadType.IDi, IdType.ID_RFC822_ADDR, b"alice@example.com")
        idr = IdPayload(PayloadType.IDr, IdType.ID_FQDN, b"vpn.example.com")
        anywhere = (parse_selector("0.0.0.0/0"),)
        suites, child = (parse_suite(SUITE),), (parse_child("aes256gcm16"),)
        self.peer = Peer(idi, idr, psk, suites, child, anywhere, anywhere)
        settings = Settings(
            idr, b"bench", suites, child, anywhere, anywhere,
            half_open_max=2 * count, cookie_threshold=2 * count, half_open_source_max=2 * count,
            cookie_source_threshold=2 * count,
        )  # fmt: skip
        self.now = Now(1000.0, time.time())
        ring = new_ring(rng, self.now.wall_s, RingPolicy())
        psks = PskTable((("rfc822:alice@example.com", psk),))
        self.gateway = Endpoint(settings, rng, psks, BenchSpis(), ring, ring.cookies)
        self.survivor = Endpoint(settings, rng, psks, BenchSpis(), ring, ring.cookies)
        """Another member: it has the ring, and none of the SAs."""
        self.client = Endpoint(settings, rng, psks, ClientSpis(rng), NoKeys(), NoCookies())

    def taken(self, datagrams: list[bytes]) -> list[Outcome]:
        """Each datagram through the gateway, its write settled at once."""
        receive, settle, now = self.gateway.receive, self.gateway.settle, self.now
        outcomes = []
        for data in datagrams:
            outcome = receive(data, TO_GATEWAY, now)
            if outcome.persist is not None:
                settle(outcome.spi, Settlement.DURABLE, now)
            outcomes.append(outcome)
        return outcomes

    def measured(self, datagrams: list[bytes]) -> tuple[list[Outcome], float]:
        """The same, and what it cost the gateway: seconds of CPU."""
        begin = time.process_time()
        outcomes = self.taken(datagrams)
        return outcomes, time.process_time() - begin

    def answers(self, outcomes: list[Outcome]) -> list[Outcome]:
        """The client takes what the gateway sent."""
        sent = [outcome.send[0].data for outcome in outcomes]
        return [self.client.receive(data, TO_CLIENT, self.now) for data in sent]

    def exchange(self, first: list[Outcome]) -> tuple[list[ClientTicket], float]:
        """Both exchanges of a handshake for each of `first`; the tickets, the gateway's cost."""
        asked = [_only(outcome.send).data for outcome in first]
        outcomes, one = self.measured(asked)
        asked = [_only(outcome.send).data for outcome in self.answers(outcomes)]
        outcomes, two = self.measured(asked)
        tickets = [
            event.ticket
            for outcome in self.answers(outcomes)
            for event in outcome.events
            if isinstance(event, TicketReceived)
        ]
        return tickets, one + two

    def resumed(self, tickets: list[ClientTicket]) -> tuple[list[ClientTicket], float]:
        """A resumption with each of `tickets`; the new ones, and the gateway's cost."""
        resume = self.client.resume
        return self.exchange([resume(t, self.peer, TO_CLIENT, self.now) for t in tickets])


class Counting(Bench):
    """What it costs is bytecode instructions."""

    def measured(self, datagrams: list[bytes]) -> tuple[list[Outcome], float]:
        """See `Bench.measured`."""
        outcomes: list[Outcome] = []
        return outcomes, counted(lambda: outcomes.extend(self.taken(datagrams)))


def _only(send: tuple[Datagram, ...]) -> Datagram:
    (datagram,) = send
    return datagram


def measure(count: int = 1000, runs: int = 5) -> dict[str, float]:
    """CPU of the handlers, µs each, least of `runs`; and a resumption's instructions."""
    full, resumed, forged = [], [], []
    for _ in range(runs):
        bench = Bench(count)
        first = [bench.client.connect(bench.peer, TO_CLIENT, bench.now) for _ in range(count)]
        tickets, spent_s = bench.exchange(first)
        full.append(spent_s)
        bench.gateway = bench.survivor
        forged.append(_forged(bench, tickets[0], count))
        resumed.append(bench.resumed(tickets)[1])
    us: Callable[[list[float]], float] = lambda taken: round(min(taken) / count * 1e6, 1)  # noqa: E731
    return {
        "handshake_handlers_cpu_us": us(full),
        "resume_handlers_cpu_us": us(resumed),
        "resume_handlers_instructions": _instructions(),
        "forged_ticket_handlers_cpu_us": us(forged),
    }


def _instructions() -> float:
    """Of one resumption, the handlers warm."""
    bench = Counting(COUNTED)
    first = [bench.client.connect(bench.peer, TO_CLIENT, bench.now) for _ in range(COUNTED)]
    tickets, _ = bench.exchange(first)
    bench.gateway = bench.survivor
    tickets, _ = bench.resumed(tickets)
    _, instructions = bench.resumed(tickets)
    return round(instructions / COUNTED)


def _forged(bench: Bench, ticket: ClientTicket, count: int) -> float:
    """A ticket of the right shape under a key that exists, its last octet changed."""
    octets = ticket.ticket[:-1] + bytes((ticket.ticket[-1] ^ 1,))
    forged = msgspec.structs.replace(ticket, ticket=octets)
    outcome = bench.client.resume(forged, bench.peer, TO_CLIENT, bench.now)
    return bench.measured([_only(outcome.send).data] * count)[1]
