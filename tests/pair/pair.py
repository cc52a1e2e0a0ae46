"""A client and a gateway, joined by a network that a test can cut, on a clock that a test moves."""

import hashlib
import itertools
from collections.abc import Callable

from proto.ike.core import Peer, RetransmitPolicy, Settings
from proto.ike.effects import Datagram, Now, Outcome, Path, Persist, PersistKind, Settlement
from proto.ike.endpoint import Endpoint
from proto.ike.enums import IdType, PayloadType
from proto.ike.events import Event, Established, TicketReceived
from proto.ike.payloads import IdPayload
from proto.ike.selectors import parse_selector
from proto.ike.suite import parse_child, parse_suite
from proto.secret import Secret

GATEWAY, CLIENT = ("192.0.2.1", 500), ("192.0.2.2", 40000)
WALL_S = 1_800_000_000.0
ANY = (parse_selector("0.0.0.0/0"),)
GATEWAY_ID = IdPayload(PayloadType.IDr, IdType.ID_FQDN, b"vpn.example.com")
CLIENT_ID = IdPayload(PayloadType.IDi, IdType.ID_RFC822_ADDR, b"alice@example.com")
PSK = Secret(b"a pre-shared key of more than enough octets")


class SeededRng:
    """SHA-256 in counter mode: the same octets from the same seed."""

    def __init__(self, seed: str) -> None:
        self._seed = seed.encode()
        self._counter = itertools.count()

    def bytes(self, n: int) -> bytes:
        out = b""
        while len(out) < n:
            out += hashlib.sha256(self._seed + b"%d" % next(self._counter)).digest()
        return out[:n]


class Spis:
    """SPIs from a seed; every IV under one fence."""

    def __init__(self, rng: SeededRng, fence: int = 1) -> None:
        self._rng = rng
        self.fence = fence
        self.owns_a_shard = True

    def ike_spi(self) -> bytes | None:
        return self._rng.bytes(8) if self.owns_a_shard else None

    def esp_spi(self, ike_spi: bytes) -> bytes:
        return self._rng.bytes(4)

    def iv_prefix(self, ike_spi: bytes) -> tuple[int, int]:
        return (0, self.fence)


class Key:
    """One ticket key."""

    def __init__(self, key_id: bytes, secret: Secret) -> None:
        self.key_id = key_id
        self.secret = secret


class Ring:
    """Ticket keys and cookie secrets that a test can take away."""

    def __init__(self) -> None:
        self.key: Key | None = Key(b"key-id-1", Secret(bytes(range(32))))
        self.old: dict[bytes, Key] = {}

    def sealing(self, wall_s: float) -> Key | None:
        return self.key

    def opening(self, key_id: bytes, wall_s: float) -> Key | None:
        if self.key is not None and self.key.key_id == key_id:
            return self.key
        return self.old.get(key_id)


class CookieRing:
    """One cookie secret."""

    def sealing(self, wall_s: float) -> tuple[int, Secret]:
        return 1, Secret(bytes(32))

    def opening(self, generation: int, wall_s: float) -> Secret | None:
        return Secret(bytes(32)) if generation == 1 else None


class Psks:
    """Who shares a key with the gateway."""

    def __init__(self) -> None:
        self.known = {CLIENT_ID.data: PSK}

    def psk(self, peer: IdPayload) -> Secret | None:
        return self.known.get(peer.data)


SETTINGS = Settings(
    local_id=GATEWAY_ID,
    realm=b"test",
    suites=tuple(
        parse_suite(text)
        for text in (
            "aes256gcm16-prfsha256-x25519",
            "aes128gcm16-prfsha384-ecp256",
            "chacha20poly1305-prfsha512-ecp384",
            "aes256-sha256-prfsha256-x25519",
        )
    ),
    child_suites=(parse_child("aes256gcm16"), parse_child("aes256-sha256")),
    local_ts=ANY,
    remote_ts=ANY,
)

PEER = Peer(
    local_id=CLIENT_ID,
    remote_id=GATEWAY_ID,
    psk=PSK,
    suites=SETTINGS.suites[:1],
    child_suites=SETTINGS.child_suites[:1],
    local_ts=ANY,
    remote_ts=ANY,
    retransmit=RetransmitPolicy(initial_s=0.5, factor=2.0, tries=4),
)


class Chains:
    """The store's view: version and SPI of every session chain, compared as the journal does."""

    def __init__(self) -> None:
        self.version: dict[bytes, int] = {}
        self.spi: dict[bytes, bytes] = {}
        self.records: dict[bytes, bytes] = {}

    def commit(self, op: Persist) -> Settlement:
        if self.version.get(op.chain, 0) != op.generation:
            return Settlement.REFUSED
        if op.kind in (PersistKind.CREATE, PersistKind.REDEEM):
            self.version[op.chain] = op.generation + 1
            self.spi[op.chain] = op.spi
        if op.kind in (PersistKind.END, PersistKind.REVOKE):
            self.records.pop(op.spi, None)
        else:
            self.records[op.spi] = op.record
        if op.kind is PersistKind.REVOKE:
            self.version.pop(op.chain, None)
        self.records.pop(op.replaces, None)
        return Settlement.DURABLE


class Side:
    """One endpoint with all it said and did."""

    def __init__(self, name: str, settings: Settings, address: tuple[str, int]) -> None:
        self.name, self.address = name, address
        self.rng = SeededRng(name)
        self.spis, self.ring, self.psks = Spis(self.rng), Ring(), Psks()
        self.endpoint = Endpoint(
            settings, self.rng, self.psks, self.spis, self.ring, CookieRing()
        )
        self.events: list[Event] = []
        self.kernel: list[object] = []
        self.sent: list[Datagram] = []

    def of(self, kind: type[Event]) -> list[Event]:
        """The events of one kind, in order."""
        return [event for event in self.events if type(event) is kind]


class Pair:
    """See the module. `deliver` decides what of the traffic arrives: (from, datagram) → copies."""

    def __init__(self, settings: Settings = SETTINGS, peer: Peer = PEER) -> None:
        self.peer = peer
        self.gateway = Side("gateway", settings, GATEWAY)
        self.client = Side("client", settings, CLIENT)
        self.chains = Chains()
        self.boot_s = 100.0
        self.latency_s = 0.01
        self.wire: list[tuple[float, int, Side, Datagram]] = []
        self.deliver: Callable[[Side, Datagram], int] = lambda side, datagram: 1
        self.hold_writes = False
        self.held: list[tuple[Side, Outcome]] = []
        self._order = itertools.count()

    @property
    def now(self) -> Now:
        return Now(self.boot_s, WALL_S + self.boot_s)

    def carry_out(self, side: Side, outcome: Outcome | None) -> None:
        """As the shell does: write, settle, kernel, send, events."""
        if outcome is None:
            return
        if outcome.persist is not None:
            if self.hold_writes:
                self.held.append((side, outcome))
                return
            self.settle(side, outcome, self.chains.commit(outcome.persist))
            return
        self._effects(side, outcome)

    def settle(self, side: Side, outcome: Outcome, settlement: Settlement) -> None:
        """Tell the endpoint how a write ended, and carry out what is then to be done."""
        more = side.endpoint.settle(outcome.spi, settlement, self.now)
        if settlement is Settlement.DURABLE:
            self._effects(side, outcome)
        self.carry_out(side, more)

    def _effects(self, side: Side, outcome: Outcome) -> None:
        side.kernel.extend(outcome.kernel)
        for datagram in outcome.send:
            side.sent.append(datagram)
            for _ in range(self.deliver(side, datagram)):
                at = self.boot_s + self.latency_s
                self.wire.append((at, next(self._order), side, datagram))
        side.events.extend(outcome.events)

    def run(self, seconds: float = 1.0) -> None:
        """Let everything happen that happens within `seconds`."""
        until = self.boot_s + seconds
        while True:
            at = min((entry[0] for entry in self.wire), default=float("inf"))
            for side in (self.client, self.gateway):
                at = min(at, side.endpoint.next_deadline_s())
            if at > until:
                self.boot_s = until
                return
            self.boot_s = max(self.boot_s, at)
            due = sorted(e for e in self.wire if e[0] <= self.boot_s)
            self.wire = [e for e in self.wire if e[0] > self.boot_s]
            for _, _, source, datagram in due:
                self.arrive(source, datagram)
            for side in (self.client, self.gateway):
                for outcome in side.endpoint.on_timer(self.now):
                    self.carry_out(side, outcome)

    def arrive(self, source: Side, datagram: Datagram) -> None:
        """A datagram reaches the other side, now."""
        target = self.gateway if source is self.client else self.client
        path = Path(target.address, source.address)
        self.carry_out(target, target.endpoint.receive(datagram.data, path, self.now))

    def connect(self) -> bytes:
        """A full handshake; the client's SPI."""
        path = Path(CLIENT, GATEWAY)
        outcome = self.client.endpoint.connect(self.peer, path, self.now)
        self.carry_out(self.client, outcome)
        self.run()
        return outcome.spi

    def resume(self) -> bytes:
        """A resumption with the client's newest ticket; the client's SPI."""
        path = Path(CLIENT, GATEWAY)
        outcome = self.client.endpoint.resume(self.ticket(), self.peer, path, self.now)
        self.carry_out(self.client, outcome)
        self.run()
        return outcome.spi

    def ticket(self):  # type: ignore[no-untyped-def]
        received = self.client.of(TicketReceived)
        last = received[-1]
        assert isinstance(last, TicketReceived)
        return last.ticket

    def established(self, side: Side) -> list[Established]:
        return [e for e in side.events if isinstance(e, Established)]
