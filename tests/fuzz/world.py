"""What a whole endpoint is tried in: SAs in many states, and connections of every kind.

Rules: a situation is one octet, each bit of it something that there is or isn't. One SA is the
genuine one: its peer does nothing but what it should.
"""

import ipaddress
from typing import NamedTuple

from proto.ike.connection import Connection, Method
from proto.ike.core import Peer, SaCore, Settings, replace
from proto.ike.effects import Datagram, Path
from proto.ike.enums import ExchangeType
from proto.ike.names import parse_suite
from proto.ike.pools import Address as Internal
from proto.ike.pools import Pool
from proto.ike.rounds import Proof
from proto.ike.ticket import ClientTicket
from tests.pair.authorities import own_key
from tests.pair.natted import NattedPair
from tests.pair.pair import LOST, ONCE, Fate, Pair, Side, exchange
from tests.pair.parts import ANY, CLIENT_ID, GATEWAY_ID, PEER, SETTINGS, Address

HALF_OPEN_MAX = 4
FIRST = (ExchangeType.IKE_SA_INIT, ExchangeType.IKE_SESSION_RESUME)

COOKIES, RESUMED, ENDED, RESUMING, EAP, HYBRID, ROAMING, POOLS = (1 << bit for bit in range(8))
"""A gateway that wants cookies; SAs that were resumed, that ended, that are being resumed; a
gateway with a certificate, whose clients prove themselves by EAP and then by a key; additional key
exchanges, by errand; NATs, MOBIKE and clients that follow a REDIRECT; internal addresses.
"""

QUIET = replace(SETTINGS, liveness_interval_s=0, half_open_max=HALF_OPEN_MAX)
EVERYBODY = Connection("", GATEWAY_ID, ANY, ANY)
PEOPLE = replace(
    EVERYBODY,
    name="people",
    local_auth=Method.CERTIFICATE,
    remote_auth=(Method.EAP, Method.PSK),
    eap_only=True,
    lifetime_s=7200.0,
)
OWN = own_key("ed25519", "vpn.example.com")
MORE_KES = (parse_suite("aes256gcm16-prfsha256-x25519-ke1_ecp256-ke2_x448"),)
SLOW = (32,)
"""X448 stands for the methods that are computed by errand: the real ones would fill the time."""
OFFICE = Pool(
    "office", 4, (ipaddress.ip_address("10.0.0.53"),), (ipaddress.ip_network("10.0.0.0/8"),),
    ("corp.example",),
)  # fmt: skip


class Book:
    """Internal addresses in order, as many as there are SAs."""

    def __init__(self) -> None:
        self._next = int(ipaddress.IPv4Address("10.9.0.1"))

    def choose(self, pool: str, chain: bytes, wanted: Internal | None) -> Internal | None:
        """A fresh one."""
        self._next += 1
        return ipaddress.ip_address(self._next)


class RoamingPair(NattedPair):
    """One that always has a second way, through the ports that NATs let pass."""

    def start(self, to: Address = ("", 0), peer: Peer | None = None) -> bytes:
        """Begin a full handshake; the client's SPI."""
        path, nat_path = self.paths()
        outcome = self.client.endpoint.connect(peer or self.peer, path, self.now, nat_path)
        self.carry_out(self.client, outcome)
        return outcome.spi

    def start_resume(
        self,
        to: Address = ("", 0),
        peer: Peer | None = None,
        ticket: ClientTicket | None = None,
    ) -> bytes:
        """Begin a resumption, with the newest ticket; the client's SPI."""
        path, nat_path = self.paths()
        outcome = self.client.endpoint.resume(
            ticket or self.ticket(), peer or self.peer, path, self.now, nat_path
        )
        self.carry_out(self.client, outcome)
        return outcome.spi


class World(NamedTuple):
    """`side` is under test: SAs in many states, of which `genuine` is not to be spoilt."""

    pair: Pair
    side: Side
    other: Side
    genuine: bytes
    """The client's SPI of the SA that only strangers meddle with."""
    wants_cookies: bool

    def moves_to(self, number: int) -> Path:
        """One of a few ways on which a client may go on."""
        pair = self.pair
        hosts = ("198.51.100.50", "198.51.100.60", pair.client.address[0])
        local = (hosts[number % 3], 40001)
        pair.sides[local] = pair.client
        return Path(local, (pair.gateway.address[0], 4500))


def build(situation: int, on_gateway: bool) -> World:
    """Established and half-open SAs, and what the bits of `situation` name."""
    pair = situated(situation)
    if situation & RESUMED:
        pair.connect()
        pair.resume()
    if situation & ENDED:
        ended = pair.connect()
        pair.carry_out(pair.client, pair.client.endpoint.terminate(ended, False, "over", pair.now))
        pair.run(0.1)
    genuine = pair.connect()
    pair.connect()  # the evil one
    if situation & EAP:
        with_eap(pair)
    pair.deliver = first_only
    if situation & RESUMING:
        pair.start_resume()
    pair.start()
    pair.run(0.1)
    pair.deliver = lost
    if not on_gateway:
        pair.start()
    sides = (pair.gateway, pair.client) if on_gateway else (pair.client, pair.gateway)
    return World(pair, *sides, genuine, bool(situation & COOKIES))


def situated(situation: int) -> Pair:
    """The two sides, without any SA."""
    settings, peer = _settings(situation), _peer(situation)
    roams = situation & ROAMING
    pair = RoamingPair(False, False, 4, settings, peer) if roams else Pair(settings, peer)
    pair.client.endpoint.settings = replace(  # as `node.client` has it
        QUIET, half_open_max=0, suites=settings.suites, mobike=settings.mobike,
        nat_traversal=settings.nat_traversal,
    )  # fmt: skip
    pair.gateway.endpoint._addresses = Book()
    return pair


def _settings(situation: int) -> Settings:
    settings = replace(QUIET, cookie_threshold=0 if situation & COOKIES else HALF_OPEN_MAX)
    people, everybody = PEOPLE, EVERYBODY
    if situation & POOLS:
        people, everybody = (replace(one, pools=(OFFICE,)) for one in (people, everybody))
    if situation & EAP:
        settings = replace(settings, connections=(people, everybody))
    elif situation & POOLS:
        settings = replace(settings, connections=(everybody,))
    if situation & HYBRID:
        settings = replace(settings, suites=MORE_KES, slow_groups=SLOW)
    if situation & ROAMING:
        settings = replace(settings, nat_traversal=True, mobike=True)
    return settings


def _peer(situation: int) -> Peer:
    peer = PEER
    if situation & HYBRID:
        peer = replace(peer, suites=MORE_KES)
    if situation & ROAMING:
        peer = replace(peer, follows=True)
    return replace(peer, families=(4,)) if situation & POOLS else peer


def with_eap(pair: Pair) -> None:
    """From here on clients come with EAP and a key; one is in the midst of it."""
    proofs = (Proof(Method.EAP, CLIENT_ID), Proof(Method.PSK, CLIENT_ID, PEER.psk))
    pair.peer = replace(pair.peer, proofs=proofs, remote_auth=Method.CERTIFICATE)
    pair.gateway.psks.keys[GATEWAY_ID.data] = OWN
    pair.authority.trust(OWN, GATEWAY_ID.data)
    pair.authority.passwords["alice@example.com"] = pair.authority.says = "swordfish"
    pair.start()
    pair.run(0.045)


def first_only(side: Side, datagram: Datagram) -> Fate:
    """First exchanges arrive, and nothing else."""
    return ONCE if exchange(datagram) in FIRST else LOST


def lost(side: Side, datagram: Datagram) -> Fate:
    """Nothing arrives but by a step."""
    return LOST


def always(side: Side, datagram: Datagram) -> Fate:
    """Everything arrives."""
    return ONCE


def evil(world: World) -> list[SaCore]:
    """The SAs under test, other than the genuine one, whose keys their peer has."""
    found = [world.side.core(spi) for spi in world.side.endpoint.spis()]
    return [core for core in found if core.keys is not None and core.spi_i != world.genuine]
