"""Targets for a whole endpoint: what strangers and evil peers send, between genuine messages,
timers and writes under way.

Rules: an input is a script, a step an octet and what that step reads. Whatever isn't genuine and
isn't sealed with an SA's keys is a stranger's: `stranger` holds what it must not do. One SA gets
nothing but genuine messages and a stranger's; at the end it must serve as if nothing had been.
"""

from collections.abc import Callable
from typing import NamedTuple

from proto.ike import cookie
from proto.ike.connection import Connection, Method
from proto.ike.core import SaCore, State, replace
from proto.ike.effects import Datagram, Outcome, Path
from proto.ike.enums import FLAG_INITIATOR, FLAG_RESPONSE, ExchangeType, NotifyType
from proto.ike.errors import TicketRejected, WireError
from proto.ike.half_open import RESUMING_MAX
from proto.ike.message import Message, decode_clear, peek
from proto.ike.payloads import NoncePayload, NotifyPayload, VendorIdPayload, encode_chain
from proto.ike.rounds import Proof
from proto.ike.ticket import open_ticket
from tests.fuzz.target import Choices, Target, block
from tests.pair.authorities import own_key
from tests.pair.craft import iv_for, protections
from tests.pair.pair import LOST, ONCE, Fate, Pair, Side, exchange
from tests.pair.parts import ANY, CLIENT, CLIENT_ID, GATEWAY_ID, PEER, SETTINGS

STEPS_MAX = 48
OCTETS_MAX = 2048
HALF_OPEN_MAX = 4
FIRST = (ExchangeType.IKE_SA_INIT, ExchangeType.IKE_SESSION_RESUME)
PAUSES_S = (0.1, 1.0, 5.0, 35.0)
STRANGER = ("198.51.100.9", 4500)
AMPLIFICATION, AMPLIFICATION_OCTETS = 3, 128
"""A stranger's octets buy at most three times as many, and these."""
QUIET = replace(SETTINGS, liveness_interval_s=0, half_open_max=HALF_OPEN_MAX)

EVERYBODY = Connection("", GATEWAY_ID, ANY, ANY)
PEOPLE = replace(EVERYBODY, name="people", local_auth=Method.CERTIFICATE, remote_auth=(Method.EAP,))
EAP_PEER = replace(PEER, proofs=(Proof(Method.EAP, CLIENT_ID),), remote_auth=Method.CERTIFICATE)
OWN = own_key("ed25519", "vpn.example.com")

View = dict[bytes, tuple[SaCore, Path | None]]


class World(NamedTuple):
    """`side` is under test: SAs in many states, of which `genuine` is not to be spoilt."""

    pair: Pair
    side: Side
    other: Side
    genuine: bytes
    """The client's SPI of the SA that only strangers meddle with."""
    wants_cookies: bool


def build(situation: int, on_gateway: bool) -> World:
    """Established and half-open SAs; by bits of `situation` also ended and resumed ones, and a
    gateway that wants cookies, or one with a certificate that wants EAP.
    """
    threshold = 0 if situation & 1 else HALF_OPEN_MAX
    settings = replace(QUIET, cookie_threshold=threshold)
    if situation & 16:
        settings = replace(settings, connections=(PEOPLE, EVERYBODY))
    pair = Pair(settings)
    pair.client.endpoint.settings = replace(QUIET, half_open_max=0)  # as `node.client` has it
    if situation & 2:
        pair.connect()
        pair.resume()
    if situation & 4:
        ended = pair.connect()
        pair.carry_out(pair.client, pair.client.endpoint.terminate(ended, False, "over", pair.now))
        pair.run(0.1)
    genuine = pair.connect()
    pair.connect()  # the evil one
    if situation & 16:
        with_eap(pair)
    pair.deliver = first_only
    if situation & 8:
        pair.start_resume()
    pair.start()
    pair.run(0.1)
    pair.deliver = lost
    if not on_gateway:
        pair.start()
    sides = (pair.gateway, pair.client) if on_gateway else (pair.client, pair.gateway)
    return World(pair, *sides, genuine, threshold == 0)


def with_eap(pair: Pair) -> None:
    """From here on clients come with EAP; one is in the midst of it."""
    pair.peer = EAP_PEER
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


def script(data: bytes, on_gateway: bool) -> None:
    """Play the steps in `data`, then see whether the genuine SA still serves."""
    choices = Choices(data)
    world = build(choices.byte(), on_gateway)
    for _ in range(STEPS_MAX):
        if not choices:
            break
        STEPS[choices.below(len(STEPS))](world, choices)
    serves(world)


def serves(world: World) -> None:
    """Both ends of the genuine SA agree, a question on it is answered, no IV was used twice."""
    pair = world.pair
    pair.deliver = always
    pair.release()
    pair.run(0.1)
    pair.agree(world.genuine)
    asked = pair.client.endpoint.probe(world.genuine, pair.now)
    assert asked is not None, "a question is outstanding that nobody asked"
    pair.carry_out(pair.client, asked)
    pair.run(60)
    pair.agree(world.genuine)
    assert pair.client.endpoint.probe(world.genuine, pair.now) is not None, "it wasn't answered"
    assert pair.check == []


# -- what must hold -----------------------------------------------------------------------------


def view(side: Side) -> View:
    """Every SA that has keys, and the path of the established ones."""
    paths = {core.spi_i if core.initiator else core.spi_r: p for core, p in established(side)}
    found = {spi: side.core(spi) for spi in side.endpoint.spis()}
    return {spi: (core, paths.get(spi)) for spi, core in found.items() if core.keys is not None}


def established(side: Side) -> list[tuple[SaCore, Path]]:
    """As the endpoint tells them."""
    return list(side.endpoint.established())


def stranger(world: World, data: bytes) -> None:
    """`data` arrives, from somebody who has proven nothing unless `data` itself does: one small
    answer at most, no write, no SA changed, no new one.
    """
    side = world.side
    known = [d.data for one in (world.pair.client, world.pair.gateway) for d in one.sent]
    if data in known:
        anybody(world, data)
        return
    before, count = view(side), len(side.endpoint.spis())
    outcome = anybody(world, data)
    after, grown = view(side), len(side.endpoint.spis()) - count
    for octets in (datagram.data for datagram in outcome.send):
        if side is world.pair.gateway:
            assert len(octets) <= AMPLIFICATION * len(data) + AMPLIFICATION_OCTETS, "amplified"
    assert outcome.persist is None, "a stranger made a gateway write"
    assert outcome.kernel == ()
    proof = proven(world, data)
    for spi, kept in before.items():
        made_way = proof and kept[0].state is State.RESUME_ANSWERED and spi not in after
        assert made_way or after.get(spi) == kept, "a stranger changed an SA"
    assert grown <= (1 if proof else 0), "a stranger made a gateway keep state"


def anybody(world: World, data: bytes) -> Outcome:
    """`data` arrives; what holds whoever sent it: one answer at most, and bounded tables."""
    side = world.side
    outcome = world.pair.inject(side, data, world.other.address)
    assert len(outcome.send) <= 1
    assert len(outcome.events) <= EVENTS_MAX
    chains = 1 + len(world.pair.chains.version)
    assert side.endpoint.half_open <= HALF_OPEN_MAX + RESUMING_MAX * chains
    return outcome


EVENTS_MAX = 4
"""That one datagram may cause."""


def proven(world: World, data: bytes) -> bool:
    """Does `data` show a cookie, a ticket, or anything at all while the gateway asks for none?"""
    try:
        message = decode_clear(data)
    except WireError:
        return False
    if world.side is world.pair.client or message.header.exchange not in FIRST:
        return False
    if message.header.exchange == ExchangeType.IKE_SESSION_RESUME:
        return shows_ticket(world, message)
    return not world.wants_cookies or shows_cookie(world, message)


def shows_ticket(world: World, message: Message) -> bool:
    """It opens."""
    notify, now = message.notify(NotifyType.TICKET_OPAQUE), world.pair.now.wall_s
    if notify is None:
        return False
    try:
        open_ticket(notify.data, world.pair.gateway.ring, SETTINGS.realm, now, 60.0)
    except TicketRejected:
        return False
    return True


def shows_cookie(world: World, message: Message) -> bool:
    """It is of this cluster, for this nonce, SPI and address."""
    notify, nonce = message.notify(NotifyType.COOKIE), message.find(NoncePayload)
    if notify is None or nonce is None:
        return False
    return cookie.verify(
        notify.data,
        world.pair.gateway.cookies,
        world.pair.now.wall_s,
        nonce.data,
        message.header.spi_i,
        CLIENT[0],
    )


# -- the steps ----------------------------------------------------------------------------------


def raw(world: World, choices: Choices) -> None:
    """A stranger's octets, as they stand."""
    stranger(world, choices.block()[:OCTETS_MAX])


def addressed(world: World, choices: Choices) -> None:
    """A stranger's octets under an IKE header with the SPIs of some SA, or with none."""
    spis = world.side.endpoint.spis()
    chosen = choices.below(len(spis) + 2)
    if chosen < len(spis):
        core = world.side.core(spis[chosen])
        head = core.spi_i + core.spi_r
    else:
        head = choices.octets(8).ljust(8, b"s") + bytes(8)
    kind, code, flags, number = (choices.byte() for _ in range(4))
    body = choices.block()[:OCTETS_MAX]
    head += bytes((kind, 0x20, 34 + code % 8, flags)) + (number % 4).to_bytes(4, "big")
    stranger(world, head + (28 + len(body)).to_bytes(4, "big") + body)


def damaged(world: World, choices: Choices) -> None:
    """A genuine message of either side, cut or with octets changed; its length put right or not."""
    sent = [*world.other.sent, *world.side.sent]
    if not sent:
        return
    octets = bytearray(sent[choices.byte() % len(sent)].data)
    how = choices.byte()
    if how & 1:
        del octets[int.from_bytes(choices.octets(2), "big") % len(octets) :]
    if how & 2:
        octets += choices.block()[:OCTETS_MAX]
    for _ in range(how >> 2 & 3):
        place = int.from_bytes(choices.octets(2), "big")
        if octets:
            octets[place % len(octets)] = choices.byte()
    if how & 16 and len(octets) >= 28:
        octets[24:28] = len(octets).to_bytes(4, "big")
    stranger(world, bytes(octets))


def honest(world: World, choices: Choices) -> None:
    """A genuine message of the other side's, new or repeated, arrives."""
    sent = world.other.sent
    if sent:
        anybody(world, sent[-1 - choices.byte() % len(sent)].data)


def time(world: World, choices: Choices) -> None:
    """Time goes by, timers fire; nothing arrives."""
    world.pair.run(PAUSES_S[choices.below(len(PAUSES_S))])


def writes(world: World, choices: Choices) -> None:
    """Writes are under way from here on, or end."""
    if choices.byte() & 1:
        world.pair.hold_writes = True
    else:
        world.pair.release()


def begin(world: World, choices: Choices) -> None:
    """The client begins something; its request waits to be delivered."""
    pair, kind = world.pair, choices.below(4)
    if kind == 0 and len(pair.client.endpoint.spis()) < 16:
        pair.start()
    elif kind == 1 and len(pair.client.endpoint.spis()) < 16:
        pair.start_resume()
    elif kind == 2:
        for core in evil(world):
            pair.carry_out(pair.client, pair.client.endpoint.request_ticket(core.spi_i, pair.now))
    else:
        for core in evil(world):
            pair.carry_out(
                world.side,
                world.side.endpoint.probe(core.spi_i if core.initiator else core.spi_r, pair.now),
            )


def evil(world: World) -> list[SaCore]:
    """The SAs under test, other than the genuine one, whose keys their peer has."""
    cores = [core for core, _ in view(world.side).values()]
    return [core for core in cores if core.spi_i != world.genuine]


def sealed(world: World, choices: Choices) -> None:
    """An evil peer's content, sealed with the keys it has; as a fragment or whole."""
    cores = evil(world)
    if not cores:
        return
    core = cores[choices.below(len(cores))]
    how, code, number, first = (choices.byte() for _ in range(4))
    _, rx = protections(core)
    plaintext = choices.block()[:OCTETS_MAX]
    flags = (FLAG_RESPONSE if how & 1 else 0) | (0 if core.initiator else FLAG_INITIATOR)
    numbers = bytes((0, how >> 4 & 3, 0, how >> 6)) if how & 2 else b""
    sk_len = 4 + len(numbers) + rx.sealed_len(len(plaintext))
    head = core.spi_i + core.spi_r
    head += bytes((53 if numbers else 46, 0x20, 34 + code % 8, flags))
    head += (number % 6).to_bytes(4, "big") + (28 + sk_len).to_bytes(4, "big")
    aad = head + bytes((first, 0)) + sk_len.to_bytes(2, "big") + numbers
    data = aad + rx.seal(aad, iv_for(rx), plaintext)
    assert peek(data).length == len(data)
    anybody(world, data)


STEPS: tuple[Callable[[World, Choices], None], ...] = (
    raw,
    addressed,
    damaged,
    honest,
    time,
    writes,
    begin,
    sealed,
)
"""By number: octets of the corpus stand for these, so new ones go to the end."""


def as_gateway(data: bytes) -> None:
    """See the module, for a gateway."""
    script(data, on_gateway=True)


def as_client(data: bytes) -> None:
    """See the module, for a client."""
    script(data, on_gateway=False)


# -- seeds --------------------------------------------------------------------------------------


def seeds() -> list[bytes]:
    """Each step once and in a sensible order, in every situation."""
    pair = Pair(QUIET)
    pair.start()
    init = pair.client.sent[0].data
    first, body = encode_chain((NotifyPayload(NotifyType.TICKET_OPAQUE, bytes(60)),))
    question = b"\x07\x00\x00\x03\x02\x00" + block(b"")
    vendor, inside = encode_chain((VendorIdPayload(b"standfast"),))
    told = b"\x07\x00\x00\x03\x03" + bytes((vendor,)) + block(inside)
    piece = b"\x07\x00\x92\x03\x03" + bytes((vendor,)) + block(inside)
    nack = b"\x01\x63" + b"evil-spi" + bytes((first, 4, 8, 0)) + block(body)
    auth = b"\x03\x00"
    steps = [
        b"\x00" + block(init),
        nack,
        b"\x02\x00\x14\x00\x20\xff",
        auth,
        question + told,
        piece,
        b"\x05\x01" + auth + b"\x05\x00" + auth,
        b"\x06\x00\x03\x00\x04\x00\x03\x00",
        b"\x06\x01\x03\x00\x03\x01\x04\x01",
        b"\x06\x03\x03\x00\x06\x02\x03\x00",
        b"\x04\x03",
    ]
    return [bytes((situation,)) + step for situation, step in enumerate(steps)] + [
        b"\x0f" + b"".join(steps),
        b"\x0e" + b"".join(reversed(steps)),
        b"\x1f" + b"".join(steps),
        b"\x10" + b"".join(reversed(steps)),
    ]


TARGETS = (
    Target("gateway", as_gateway, seeds, 8),
    Target("client", as_client, seeds, 4),
)
