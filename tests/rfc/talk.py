"""Puts the independent peer into the place of our client or of our gateway in a pair.

Rules: what the independent peer gets to know is what the RFC lets its role know: the octets on the
wire, the old SA's SK_d, and what is stored with a ticket.
"""

import hashlib

from proto.ike.core import Peer, SaCore
from proto.ike.effects import Datagram, Outcome
from proto.ike.suite import Suite
from proto.ike.ticket import ClientTicket
from proto.secret import Secret
from tests.pair.pair import LOST, Pair, Side
from tests.pair.parts import CLIENT, CLIENT_ID, GATEWAY, GATEWAY_ID, PEER, Address
from tests.rfc.independent import SUITES, Initiator, Old, Parsed, Payload, Responder

IDI, IDR = CLIENT_ID.body, GATEWAY_ID.body
SPI_R = bytes.fromhex("d0d1d2d3d4d5d6d7")


def fresh(label: str, n: int = 32) -> bytes:
    """Octets that come of a label and never of two: nonces and SPIs of the independent peer."""
    return hashlib.shake_256(label.encode()).digest(n)


# -- the independent client at our gateway --------------------------------------------------------
def held(pair: Pair, spi: bytes = b"") -> Old:
    """What the independent client takes over from ours: its newest ticket and the SA's secret."""
    core = pair.client.core(spi) if spi else pair.client.live()[-1]
    assert core.suite is not None
    assert core.keys is not None
    old = Old(pair.ticket().ticket, core.keys.d.octets, SUITES[str(core.suite)], IDI, IDR)
    pair.deliver = lambda side, datagram: LOST  # nothing reaches our own client any more
    return old


def with_ticket(pair: Pair | None = None, form: str = "rfc") -> tuple[Pair, Initiator]:
    """A pair after a full handshake, and the independent client that goes on from there."""
    pair = pair or Pair()
    return pair, Initiator(held(pair, pair.connect()), form)


def ask(pair: Pair, data: bytes, gateway: Side | None = None, source: Address = CLIENT) -> bytes:
    """`data` reaches the gateway; the one datagram that then left it."""
    (datagram,) = heard(pair, data, gateway, source)
    return datagram.data


def heard(
    pair: Pair, data: bytes, gateway: Side | None = None, source: Address = CLIENT
) -> list[Datagram]:
    """`data` reaches the gateway; what then left it."""
    gateway = gateway or pair.gateway
    before = len(gateway.sent)
    pair.inject(gateway, data, source)
    return gateway.sent[before:]


def present(
    pair: Pair,
    client: Initiator,
    label: str = "one",
    gateway: Side | None = None,
    source: Address = CLIENT,
    more: tuple[Payload, ...] = (),
) -> Parsed:
    """IKE_SESSION_RESUME up to its acceptance."""
    request = client.request(fresh("spi" + label, 8), fresh("nonce" + label), more=more)
    return client.take(ask(pair, request, gateway, source))


def prove(
    pair: Pair, client: Initiator, payloads: list[Payload], gateway: Side | None = None
) -> Parsed:
    """An IKE_AUTH of these payloads; the answer, opened and otherwise unchecked."""
    return client.hear(ask(pair, client.say(payloads), gateway))


def resume(
    pair: Pair, client: Initiator, label: str = "one", gateway: Side | None = None
) -> Parsed:
    """A whole resumption; what the gateway answered, checked."""
    present(pair, client, label, gateway)
    said = client.say(client.auth_payloads())
    return client.accept(ask(pair, said, gateway))


def gateway_core(pair: Pair, client: Initiator) -> SaCore:
    """Our gateway's state of the SA that the independent client set up."""
    return pair.gateway.core(client.spi_r)


def without(client: Initiator, *kinds: int) -> list[Payload]:
    """The IKE_AUTH payloads, some left out."""
    return [(kind, body) for kind, body in client.auth_payloads() if kind not in kinds]


def changed(client: Initiator, kind: int, body: bytes) -> list[Payload]:
    """The IKE_AUTH payloads, one with another body."""
    return [(k, body if k == kind else b) for k, b in client.auth_payloads()]


def unspent(pair: Pair, client: Initiator) -> None:
    """The ticket still makes an SA."""
    resume(pair, Initiator(client.old, client.form), "afterwards")


# -- our client at the independent gateway --------------------------------------------------------
OPAQUE = b"as opaque a ticket as any: " + bytes(range(40))


def foreign_ticket(suite: Suite = PEER.suites[0], ticket: bytes = OPAQUE) -> ClientTicket:
    """A ticket that no gateway of ours issued, as our client stores it."""
    return ClientTicket(
        ticket=ticket,
        expires_wall_s=2_000_000_000.0,
        suite=(suite.encr, suite.key_bits, suite.integ, suite.prf, suite.ke),
        sk_d=Secret(fresh("old SK_d", 64)),
        idi_type=CLIENT_ID.id_type,
        idi=CLIENT_ID.data,
        idr_type=GATEWAY_ID.id_type,
        idr=GATEWAY_ID.data,
        auth_method="psk",
    )


class Called:
    """Our client, resuming at an independent gateway that a test plays by hand."""

    def __init__(
        self, suite: Suite = PEER.suites[0], peer: Peer = PEER, ticket: bytes = OPAQUE
    ) -> None:
        stored = foreign_ticket(suite, ticket)
        old = Old(stored.ticket, stored.sk_d.octets, SUITES[str(suite)], IDI, IDR)
        self.gateway = Responder(old, peer.resume_form.value)
        self.pair = Pair(peer=peer)
        self.pair.deliver = lambda side, datagram: LOST
        self.spi = self.pair.start_resume(GATEWAY, ticket=stored)
        self.client = self.pair.client

    def last(self) -> bytes:
        """What our client sent last."""
        return self.client.sent[-1].data

    def tell(self, data: bytes) -> Outcome:
        """`data` reaches our client."""
        return self.pair.inject(self.client, data, GATEWAY)

    def accept_ticket(self, nr: bytes = b"", more: tuple[Payload, ...] = ()) -> Parsed:
        """See the request, answer Nr, and check the IKE_AUTH request that follows."""
        self.gateway.see(self.last())
        self.tell(self.gateway.answer(SPI_R, nr or fresh("nr"), more))
        return self.gateway.check(self.last())

    def establish(self, *more: Payload) -> None:
        """The whole exchange, with `more` at the end of the last answer."""
        self.accept_ticket()
        self.tell(self.gateway.say([*self.gateway.auth_payloads(), *more]))
