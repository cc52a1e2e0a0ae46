"""What goes wrong between a client and several gateways, at the level of messages.

The numbers are those of docs/traps.md.
"""

import hashlib

import pytest

from cluster.keyring import KeyRing, RingPolicy, activate, announce, decode, encode, new_ring
from proto.ike.core import Settings, replace
from proto.ike.effects import PersistKind
from proto.ike.enums import ExchangeType, NotifyType, PayloadType
from proto.ike.errors import TicketReason
from proto.ike.events import Established, TicketReceived, TicketRefused
from proto.ike.message import decode_clear, encode_clear, peek
from proto.ike.payloads import NoncePayload, NotifyPayload
from proto.ike.ticket import TicketForm
from tests.pair.craft import assert_nacked, first_payloads, opened, show
from tests.pair.pair import Pair, Side
from tests.pair.parts import (
    CLIENT_ID,
    GATEWAY_ID,
    SECOND_GATEWAY,
    SETTINGS,
    WALL_S,
    SeededRng,
)

FORMS = [TicketForm.BY_VALUE, TicketForm.BY_REFERENCE]


def two(settings: Settings = SETTINGS) -> tuple[Pair, Side]:
    """A client with a ticket of the first gateway, and a second one."""
    pair = Pair(settings)
    second = pair.add_gateway("second", SECOND_GATEWAY)
    pair.connect()
    return pair, second


@pytest.mark.parametrize("form", FORMS)
def test_trap_01_every_member_answers_with_the_tickets_idr(form: TicketForm) -> None:
    pair, second = two(replace(SETTINGS, ticket_form=form))
    spi = pair.resume(SECOND_GATEWAY)
    pair.agree(spi, second)
    said = opened(second.core(pair.other_end(spi)), second.sent[-1].data)
    idr = said.identity(PayloadType.IDr)
    assert idr == GATEWAY_ID
    # one that goes by a name of its own doesn't even begin: the client must hear no other name
    renamed = replace(SETTINGS, local_id=replace(GATEWAY_ID, data=b"gw2.example.com"))
    second.endpoint.settings = renamed
    assert_nacked(pair, show(pair, pair.ticket().ticket, second), TicketReason.POLICY)


@pytest.mark.parametrize("form", FORMS)
def test_trap_02_a_ticket_that_is_only_shown_is_not_burnt(form: TicketForm) -> None:
    pair, second = two(replace(SETTINGS, ticket_form=form))
    ticket, writes = pair.ticket(), len(pair.chains.writes)
    for number in range(20):  # whoever saw it pass, at every member
        payloads = [
            NoncePayload(b"%032d" % number),
            NotifyPayload(NotifyType.TICKET_OPAQUE, ticket.ticket),
        ]
        data = encode_clear(
            b"copy%04d" % number, bytes(8), ExchangeType.IKE_SESSION_RESUME, 8, 0, payloads
        )
        for gateway in (pair.gateway, second):
            pair.inject(gateway, data, ("198.51.100.9", 4000 + number))
    assert len(pair.chains.writes) == writes
    spi = pair.resume(SECOND_GATEWAY, ticket=ticket)
    pair.agree(spi, second)
    # and at the success it is: both at once, one of them loses with AUTHENTICATION_FAILED
    ticket = pair.ticket()
    pair.hold_writes = True
    for gateway in (pair.gateway, second):
        pair.start_resume(gateway.address, ticket=ticket)
    pair.run()
    losers = {gateway.name: gateway.core(outcome.spi) for gateway, outcome in pair.held}
    assert len(losers) == 2
    pair.release()
    loser = next(g for g in (pair.gateway, second) if not _resumed(g, 3))
    answer = opened(losers[loser.name], loser.sent[-1].data)
    assert answer.payloads == (NotifyPayload(NotifyType.AUTHENTICATION_FAILED),)
    assert len(pair.chains.records) == 1


def _resumed(gateway: Side, generation: int) -> bool:
    return any(event.generation == generation for event in gateway.of(Established))


def test_trap_03_a_cookie_of_one_member_is_taken_by_another_also_after_a_rotation() -> None:
    """Each has the ring from the store's octets, and nothing else in common."""
    pair = Pair(replace(SETTINGS, cookie_threshold=0))
    second = pair.add_gateway("second", SECOND_GATEWAY)
    rng, policy = SeededRng("ring"), RingPolicy()
    ring = new_ring(rng, WALL_S, policy)
    pair.gateway.endpoint.cookies = decode(encode(ring)).cookies
    for held in (ring, _rotated(ring, rng, policy)):
        second.endpoint.cookies = decode(encode(held)).cookies
        nonce = hashlib.sha256(encode(held)).digest()
        payloads = first_payloads(pair, nonce)
        data = encode_clear(nonce[:8], bytes(8), ExchangeType.IKE_SA_INIT, 8, 0, payloads)
        pair.inject(pair.gateway, data)
        cookie = decode_clear(pair.gateway.sent[-1].data).payloads[0]
        before = second.endpoint.half_open
        data = encode_clear(
            nonce[:8], bytes(8), ExchangeType.IKE_SA_INIT, 8, 0, [cookie, *payloads]
        )
        pair.inject(second, data)
        assert second.endpoint.half_open == before + 1


def _rotated(ring: KeyRing, rng: SeededRng, policy: RingPolicy) -> KeyRing:
    ring = announce(ring, rng, WALL_S, policy)
    key = ring.tickets.announced
    assert key is not None
    return activate(ring, key.key_id, WALL_S, policy)


@pytest.mark.parametrize("form", FORMS)
def test_trap_09_clocks_that_differ_a_little_refuse_nothing_and_a_lot_refuse(
    form: TicketForm,
) -> None:
    settings = replace(SETTINGS, ticket_form=form, liveness_interval_s=0)
    skew_s = settings.ticket_skew_s
    for off_s in (-skew_s, skew_s):
        pair, second = two(settings)
        pair.boot_s += off_s  # the second member's clock, seen from the issuer's
        spi = pair.resume(SECOND_GATEWAY)
        pair.agree(spi, second)
    pair, second = two(settings)
    pair.boot_s -= skew_s + 2
    assert_nacked(pair, show(pair, pair.ticket().ticket, second), TicketReason.NOT_YET_VALID)
    # the end is absolute, and agrees with the lifetime told; the client's own clock doesn't matter
    pair, second = two(settings)
    issued_s = pair.now.wall_s - 1
    lifetime_s = pair.ticket().expires_wall_s - issued_s
    assert abs(lifetime_s - settings.ticket_lifetime_s) <= 1
    pair.run(settings.ticket_lifetime_s - 2)
    assert len(show(pair, pair.ticket().ticket, second).send) == 1
    pair.run(skew_s + 4)
    outcome = pair.inject(
        pair.gateway,
        encode_clear(
            b"too late", bytes(8), ExchangeType.IKE_SESSION_RESUME, 8, 0,
            [NoncePayload(b"l" * 32),
             NotifyPayload(NotifyType.TICKET_OPAQUE, pair.ticket().ticket)],
        ),
    )  # fmt: skip
    assert outcome.events == (TicketRefused(b"", TicketReason.EXPIRED.value),)


@pytest.mark.parametrize("form", FORMS)
def test_trap_10_no_resumption_prolongs_the_authentication_or_passes_policy_by(
    form: TicketForm,
) -> None:
    settings = replace(
        SETTINGS,
        ticket_form=form,
        authentication_lifetime_s=600.0,
        liveness_interval_s=0,
    )
    pair, second = two(settings)
    began_s = pair.now.wall_s - 1
    for number in range(9):
        pair.run(60)
        gateway = (second, pair.gateway)[number % 2]
        spi = pair.resume(gateway.address)
        core = gateway.core(pair.other_end(spi))
        assert abs(core.auth_deadline_wall_s - began_s - 600) < 1
        assert core.expires_wall_s <= core.auth_deadline_wall_s
        assert pair.ticket().expires_wall_s <= core.auth_deadline_wall_s + 1
    # the account is disabled everywhere: its ticket opens, and is refused at each resumption
    second.psks.known.pop(CLIENT_ID.data)
    assert_nacked(pair, show(pair, pair.ticket().ticket, second), TicketReason.POLICY)


@pytest.mark.parametrize("form", FORMS)
def test_trap_11_message_ids_window_and_fragments_begin_anew(form: TicketForm) -> None:
    pair, second = two(replace(SETTINGS, ticket_form=form))
    spi = pair.client.live()[0].spi
    for _ in range(7):
        pair.carry_out(pair.client, pair.client.endpoint.probe(spi, pair.now))
        pair.carry_out(pair.gateway, pair.gateway.endpoint.probe(pair.other_end(spi), pair.now))
        pair.run()
    sent = len(pair.client.sent), len(second.sent)
    spi = pair.resume(SECOND_GATEWAY)
    for side in (pair.client, second):
        spi_of = spi if side is pair.client else pair.other_end(spi)
        pair.carry_out(side, side.endpoint.probe(spi_of, pair.now))
        pair.run()
    ids = [peek(d.data).message_id for d in pair.client.sent[sent[0] :]]
    assert ids == [0, 1, 2, 0]  # RESUME, IKE_AUTH, its own request, its answer to the gateway's
    ids = [peek(d.data).message_id for d in second.sent[sent[1] :]]
    assert ids == [0, 1, 2, 0]
    pair.agree(spi, second)
    assert pair.check == []


@pytest.mark.parametrize("form", FORMS)
def test_trap_21_tickets_of_a_store_that_was_restored_are_refused(form: TicketForm) -> None:
    """The restored store has forgotten which tickets were used: none of them is taken."""
    pair, second = two(replace(SETTINGS, ticket_form=form))
    ticket = pair.ticket()
    versions, states = dict(pair.chains.version), dict(pair.chains.states)
    pair.resume(SECOND_GATEWAY, ticket=ticket)
    pair.chains.version, pair.chains.states = versions, states  # the snapshot of before its use
    for gateway in (pair.gateway, second):
        gateway.endpoint.settings = replace(gateway.endpoint.settings, epoch=1)
        assert_nacked(pair, show(pair, ticket.ticket, gateway), TicketReason.EPOCH)


@pytest.mark.parametrize("resumed", [False, True], ids=["full", "resumed"])
def test_trap_25_an_answer_that_made_state_leaves_after_the_state_and_itself_are_durable(
    resumed: bool,
) -> None:
    pair = Pair()
    if resumed:
        pair.connect()
    tickets = len(pair.client.of(TicketReceived))
    pair.hold_writes = True
    sent = len(pair.gateway.sent)
    if resumed:
        pair.start_resume()
    else:
        pair.start()
    pair.run(3)  # the client repeats its IKE_AUTH: still nothing
    said = [peek(datagram.data).exchange for datagram in pair.gateway.sent[sent:]]
    first = ExchangeType.IKE_SESSION_RESUME if resumed else ExchangeType.IKE_SA_INIT
    assert set(said) == {first}
    ((_, outcome),) = pair.held
    assert outcome.persist is not None
    assert outcome.persist.kind is (PersistKind.REDEEM if resumed else PersistKind.CREATE)
    (answer,) = outcome.send
    assert answer.data in outcome.persist.record  # who adopts it can say it again
    assert len(pair.client.of(TicketReceived)) == tickets
    pair.release()
    pair.run(3)
    assert pair.gateway.sent[sent + 1].data == answer.data
    assert len(pair.client.of(TicketReceived)) == tickets + 1
