"""Targets for a whole endpoint: what strangers and evil peers send, between genuine messages,
timers and writes under way.

Rules: an input is a script, a step an octet and what that step reads. Whatever isn't genuine and
isn't sealed with an SA's keys is a stranger's: `stranger` holds what it must not do. One SA gets
nothing but genuine messages and a stranger's; at the end it must serve as if nothing had been.
"""

from collections.abc import Callable

from proto.ike import cookie
from proto.ike.core import SaCore, State
from proto.ike.effects import Outcome, Path
from proto.ike.enums import FLAG_INITIATOR, FLAG_RESPONSE, ExchangeType, NotifyType
from proto.ike.errors import TicketRejected, WireError
from proto.ike.half_open import RESUMING_MAX
from proto.ike.message import Message, decode_clear, peek
from proto.ike.payloads import NoncePayload
from proto.ike.redirect import parse_target
from proto.ike.ticket import open_ticket
from tests.fuzz import scripts
from tests.fuzz.target import Choices, Target
from tests.fuzz.world import FIRST, HALF_OPEN_MAX, World, always, build, evil
from tests.pair.craft import iv_for, protections
from tests.pair.pair import Side
from tests.pair.parts import SECOND_GATEWAY, SETTINGS

STEPS_MAX = 48
OCTETS_MAX = 2048
SAS_MAX = 16
PAUSES_S = (0.1, 1.0, 5.0, 35.0)
AMPLIFICATION, AMPLIFICATION_OCTETS = 3, 128
"""A stranger's octets buy at most three times as many, and these."""
EXCHANGES = 11
"""The exchange types tried, from IKE_SA_INIT to IKE_FOLLOWUP_KE."""
ELSEWHERE = parse_target(SECOND_GATEWAY[0])

View = dict[bytes, tuple[SaCore, Path | None]]


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
    pair.run_errands()
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
        world.other.address[0],
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
    head += bytes((kind, 0x20, 34 + code % EXCHANGES, flags)) + (number % 4).to_bytes(4, "big")
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
    if kind == 0 and len(pair.client.endpoint.spis()) < SAS_MAX:
        pair.start()
    elif kind == 1 and len(pair.client.endpoint.spis()) < SAS_MAX:
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


def sealed(world: World, choices: Choices) -> None:
    """An evil peer's content, sealed with the keys it has; as a fragment or whole."""
    cores = evil(world)
    if not cores:
        return
    core = cores[choices.below(len(cores))]
    how, code, number, first = (choices.byte() for _ in range(4))
    _, rx = protections(core)
    plaintext = filled_in(core, choices.block()[:OCTETS_MAX])
    flags = (FLAG_RESPONSE if how & 1 else 0) | (0 if core.initiator else FLAG_INITIATOR)
    numbers = bytes((0, how >> 4 & 3, 0, how >> 6)) if how & 2 else b""
    sk_len = 4 + len(numbers) + rx.sealed_len(len(plaintext))
    head = core.spi_i + core.spi_r
    head += bytes((53 if numbers else 46, 0x20, 34 + code % EXCHANGES, flags))
    head += expected(world, core, number % 8).to_bytes(4, "big") + (28 + sk_len).to_bytes(4, "big")
    aad = head + bytes((first, 0)) + sk_len.to_bytes(2, "big") + numbers
    data = aad + rx.seal(aad, iv_for(rx), plaintext)
    assert peek(data).length == len(data)
    anybody(world, data)


def errands(world: World, choices: Choices) -> None:
    """Errands are out from here on, or come back."""
    if choices.byte() & 1:
        world.pair.hold_errands = True
    else:
        world.pair.run_errands()


def change(world: World, choices: Choices) -> None:
    """The side under test wants something of an SA whose peer is an evil one."""
    kind, number = choices.below(7), choices.byte()
    cores = evil(world)
    if not cores:
        return
    core, endpoint, now = cores[number % len(cores)], world.side.endpoint, world.pair.now
    child = core.children[-1].spi_in if core.children else b""
    match kind:
        case 0:
            outcome = endpoint.rekey_ike(core.spi, now)
        case 1:
            outcome = endpoint.new_child(core.spi, now)
        case 2:
            outcome = endpoint.rekey_child(core.spi, child, now)
        case 3:
            outcome = endpoint.delete_child(core.spi, child, now)
        case 4:
            outcome = endpoint.redirect(core.spi, ELSEWHERE, now)
        case 5:
            outcome = endpoint.move(core.spi, world.moves_to(number), now)
        case _:
            outcome = endpoint.terminate(core.spi, bool(number & 128), "over", now)
    world.pair.carry_out(world.side, outcome)


def filled_in(core: SaCore, plaintext: bytes) -> bytes:
    """`plaintext` with what the peer knows and no fuzzer finds: SPIs of a Child SA, a COOKIE2, a
    link.
    """
    if core.series is not None:
        plaintext = plaintext.replace(scripts.LINK, core.series.link)
    if core.children:
        plaintext = plaintext.replace(scripts.CHILD_OF_PEER, core.children[-1].spi_out)
        plaintext = plaintext.replace(scripts.CHILD_OF_OURS, core.children[-1].spi_in)
    nonce = core.asking.nonce if core.asking is not None else b""
    return plaintext.replace(scripts.ASKED, nonce) if nonce else plaintext


def expected(world: World, core: SaCore, number: int) -> int:
    """The message ID that `number` means: itself, that of the request that is expected (6), or of
    the one that was sent last (7).
    """
    progress = world.side.endpoint.progress(core.spi)
    if number < scripts.NEXT or progress is None:
        return number
    theirs, ours = progress.ids
    return theirs if number == scripts.NEXT else max(0, ours - 1)


STEPS: tuple[Callable[[World, Choices], None], ...] = (
    raw,
    addressed,
    damaged,
    honest,
    time,
    writes,
    begin,
    sealed,
    errands,
    change,
)
"""By number: octets of the corpus stand for these, so new ones go to the end."""


def as_gateway(data: bytes) -> None:
    """See the module, for a gateway."""
    script(data, on_gateway=True)


def as_client(data: bytes) -> None:
    """See the module, for a client."""
    script(data, on_gateway=False)


TARGETS = (
    Target("gateway", as_gateway, scripts.seeds, 8),
    Target("client", as_client, scripts.seeds, 4),
)
