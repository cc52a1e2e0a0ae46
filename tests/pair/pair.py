"""A client and its gateways, joined by a network that a test can cut, on a clock that a test moves.

Rules: the shell's part is played here and nowhere else: write, settle, kernel, send, events. Every
datagram that leaves is seen by the wire checker; `Pair.check` holds what it found.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from proto.ike.core import Peer, SaCore, Settings, State
from proto.ike.effects import Datagram, KernelOp, Now, Outcome, Path, Settlement
from proto.ike.endpoint import Endpoint
from proto.ike.enums import FLAG_RESPONSE, PayloadType
from proto.ike.errands import Computation, Errand, Result, Undone
from proto.ike.events import Event, TicketReceived
from proto.ike.ticket import ClientTicket
from tests.pair.authorities import Authority
from tests.pair.parts import (
    CLIENT,
    GATEWAY,
    PEER,
    SETTINGS,
    WALL_S,
    Address,
    Chains,
    CookieRing,
    Psks,
    Ring,
    SeededRng,
    Spis,
)
from tests.sim.checkers import WireChecker

E = TypeVar("E", bound=Event)
ONCE = (0.0,)
LOST: tuple[float, ...] = ()
PROTECTED = (bytes((PayloadType.SK,)), bytes((PayloadType.SKF,)))
Fate = Sequence[float]
"""What becomes of a datagram: one further delay, in seconds, for each copy that arrives."""
STEPS_MAX = 100_000


class Side:
    """One endpoint with all it said and did."""

    def __init__(self, name: str, settings: Settings, address: Address, ring: Ring) -> None:
        self.name, self.address = name, address
        self.rng = SeededRng(name)
        self.spis, self.ring, self.psks = Spis(self.rng), ring, Psks()
        self.cookies = CookieRing()
        self.endpoint = Endpoint(settings, self.rng, self.psks, self.spis, self.ring, self.cookies)
        self.events: list[Event] = []
        self.kernel: list[KernelOp] = []
        self.sent: list[Datagram] = []

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    def live(self) -> list[SaCore]:
        """The established SAs."""
        return [core for core, _ in self.endpoint.established()]

    def core(self, spi: bytes) -> SaCore:
        """The state of an SA that there must be."""
        found = self.endpoint.find(spi)
        assert found is not None, f"{self.name} has no SA {spi.hex()}"
        return found

    def octets(self) -> list[bytes]:
        """What was sent, without the addresses."""
        return [datagram.data for datagram in self.sent]


class Flight(NamedTuple):
    """A datagram under way."""

    at_s: float
    order: int
    source: Side
    datagram: Datagram


class Pair:
    """See the module. `deliver` decides what becomes of each datagram."""

    def __init__(self, settings: Settings = SETTINGS, peer: Peer = PEER) -> None:
        self.settings, self.peer = settings, peer
        self.gateway = Side("gateway", settings, GATEWAY, Ring())
        self.client = Side("client", settings, CLIENT, Ring())
        self.sides = {GATEWAY: self.gateway, CLIENT: self.client}
        self.chains = Chains()
        self.boot_s = 100.0
        self.latency_s = 0.01
        self.wire: list[Flight] = []
        self.deliver: Callable[[Side, Datagram], Fate] = lambda side, datagram: ONCE
        self.hold_writes = False
        self.held: list[tuple[Side, Outcome]] = []
        self.authority = Authority()
        """Of both sides: whom they trust, and how EAP goes."""
        self.hold_errands = False
        self.out: list[tuple[Side, bytes, Errand]] = []
        """Errands that are held: whose, of which SA, what."""
        self.looked_up: list[bytes] = []
        self.learn: Callable[[bytes], None] = self.looked_up.append
        """What a look at the ring does; the datagram is then presented again."""
        self._checker = WireChecker()
        self._order = itertools.count()

    def add_gateway(self, name: str, address: Address) -> Side:
        """Another member of the cluster: same settings, ring and chains, no SA in common."""
        side = Side(name, self.settings, address, self.gateway.ring)
        self.sides[address] = side
        return side

    @property
    def now(self) -> Now:
        """The same clock for all."""
        return Now(self.boot_s, WALL_S + self.boot_s)

    @property
    def check(self) -> list[str]:
        """What the wire checker found; empty is good. AEAD suites only."""
        return self._checker.findings

    # -- the shell's part -----------------------------------------------------------------------

    def carry_out(self, side: Side, outcome: Outcome | None) -> None:
        """As the shell does: write, settle, kernel, send, events."""
        if outcome is None:
            return
        if outcome.errand is not None:
            self.out.append((side, outcome.spi, outcome.errand))
            if not self.hold_errands:
                self.run_errands()
        elif outcome.persist is None:
            self._effects(side, outcome)
        elif self.hold_writes:
            self.held.append((side, outcome))
        else:
            self.settle(side, outcome, self.chains.commit(outcome.persist))

    def settle(self, side: Side, outcome: Outcome, settlement: Settlement) -> None:
        """Tell the endpoint how a write ended, and carry out what is then to be done."""
        more = side.endpoint.settle(outcome.spi, settlement, self.now)
        if settlement is Settlement.DURABLE:
            self._effects(side, outcome)
        self.carry_out(side, more)

    def release(self, settlement: Settlement | None = None) -> None:
        """End every held write: as the store says, or as told."""
        self.hold_writes = False
        held, self.held = self.held, []
        for side, outcome in held:
            assert outcome.persist is not None
            self.settle(side, outcome, settlement or self.chains.commit(outcome.persist))

    def run_errands(self, result: Result | None = None) -> None:
        """Carry out what is held, or end it with `result`."""
        self.hold_errands = False
        out, self.out = self.out, []
        for side, spi, errand in out:
            done = result or self.come_to(errand)
            self.carry_out(side, side.endpoint.done(spi, done, self.now))

    def come_to(self, errand: Errand) -> Result:
        """What comes of an errand."""
        if isinstance(errand, Computation):
            return errand.run()
        return self.authority.come_to(errand) or Undone("nobody does it")

    def _effects(self, side: Side, outcome: Outcome) -> None:
        side.kernel.extend(outcome.kernel)
        for datagram in outcome.send:
            side.sent.append(datagram)
            if datagram.data[16:17] in PROTECTED:
                # what is unprotected comes from no state (INVALID_MAJOR_VERSION): it is no voice
                self._checker.see(datagram.data, datagram.path)
            for delay_s in self.deliver(side, datagram):
                at_s = self.boot_s + self.latency_s + delay_s
                self.wire.append(Flight(at_s, next(self._order), side, datagram))
        side.events.extend(outcome.events)

    # -- time and the network -------------------------------------------------------------------

    def run(self, seconds: float = 1.0) -> None:
        """Let everything happen that happens within `seconds`."""
        until_s = self.boot_s + seconds
        for _ in range(STEPS_MAX):
            at_s = min((flight.at_s for flight in self.wire), default=float("inf"))
            for side in self.sides.values():
                at_s = min(at_s, side.endpoint.next_deadline_s())
            if at_s > until_s:
                self.boot_s = until_s
                return
            self.boot_s = max(self.boot_s, at_s)
            due = sorted(f for f in self.wire if f.at_s <= self.boot_s)
            self.wire = [f for f in self.wire if f.at_s > self.boot_s]
            for flight in due:
                self.arrive(flight.source, flight.datagram)
            for side in self.sides.values():
                for outcome in side.endpoint.on_timer(self.now):
                    self.carry_out(side, outcome)
        raise AssertionError("the endpoints never come to rest")

    def arrive(self, source: Side, datagram: Datagram) -> None:
        """A datagram reaches whom it is addressed to, now."""
        target = self.sides.get(datagram.path.remote)
        if target is not None:
            self.inject(target, datagram.data, source.address, datagram.path.remote)

    def inject(
        self, target: Side, data: bytes, source: Address = CLIENT, at: Address | None = None
    ) -> Outcome:
        """`data` reaches `target` (`at`: at that address of it); a look at the ring is made where
        it is asked for.
        """
        path = Path(at or target.address, source)
        outcome = target.endpoint.receive(data, path, self.now)
        if outcome.look_up:
            self.learn(outcome.look_up)
            outcome = target.endpoint.receive(data, path, self.now, ring_is_fresh=True)
        if outcome.fetch is not None:
            asked = outcome.fetch
            kept = self.chains.fetch(asked.chain, asked.generation)
            outcome = target.endpoint.receive(data, path, self.now, True, *kept)
        self.carry_out(target, outcome)
        return outcome

    def replay(self, source: Side, index: int = -1) -> None:
        """What `source` sent as its `index`-th arrives once more, now."""
        self.arrive(source, source.sent[index])

    # -- what a test starts ---------------------------------------------------------------------

    def start(self, to: Address = GATEWAY, peer: Peer | None = None) -> bytes:
        """Begin a full handshake; the client's SPI."""
        outcome = self.client.endpoint.connect(peer or self.peer, Path(CLIENT, to), self.now)
        self.carry_out(self.client, outcome)
        return outcome.spi

    def start_resume(
        self, to: Address = GATEWAY, peer: Peer | None = None, ticket: ClientTicket | None = None
    ) -> bytes:
        """Begin a resumption, with the client's newest ticket unless told; the client's SPI."""
        outcome = self.client.endpoint.resume(
            ticket or self.ticket(), peer or self.peer, Path(CLIENT, to), self.now
        )
        self.carry_out(self.client, outcome)
        return outcome.spi

    def connect(self, to: Address = GATEWAY, peer: Peer | None = None) -> bytes:
        """A full handshake; the client's SPI."""
        spi = self.start(to, peer)
        self.run()
        return spi

    def resume(
        self, to: Address = GATEWAY, peer: Peer | None = None, ticket: ClientTicket | None = None
    ) -> bytes:
        """A resumption; the client's SPI."""
        spi = self.start_resume(to, peer, ticket)
        self.run()
        return spi

    def ticket(self) -> ClientTicket:
        """The client's newest ticket."""
        return self.client.of(TicketReceived)[-1].ticket

    def other_end(self, spi: bytes) -> bytes:
        """The gateway's SPI of the client's SA `spi`."""
        return self.client.core(spi).spi_r

    def agree(self, spi: bytes, gateway: Side | None = None) -> None:
        """Both ends hold the client's SA `spi`, under one set of keys and algorithms."""
        ours = self.client.core(spi)
        theirs = (gateway or self.gateway).core(ours.spi_r)
        assert ours.state is theirs.state is State.ESTABLISHED
        assert (ours.spi_i, ours.spi_r) == (theirs.spi_i, theirs.spi_r)
        assert (ours.suite, ours.keys) == (theirs.suite, theirs.keys)


def is_response(datagram: Datagram) -> bool:
    """By its R flag."""
    return datagram.data[19] & FLAG_RESPONSE != 0


def exchange(datagram: Datagram) -> int:
    """Its exchange type."""
    return datagram.data[18]
