"""Tickets by reference between a client and its gateways (RFC 5723 6.1, 9.3; R48 to R50, R66)."""

import pytest

from proto.ike.core import replace
from proto.ike.effects import PersistKind
from proto.ike.enums import IdType, NotifyType, PayloadType
from proto.ike.errors import TicketReason
from proto.ike.events import Established, Failed, TicketReceived
from proto.ike.message import decode_clear, encode_clear
from proto.ike.payloads import IdPayload, NoncePayload, NotifyPayload, Payload
from proto.ike.reference import is_reference
from proto.ike.refusals import Used
from proto.ike.ticket import TICKET_MAX, TicketBody, TicketForm
from tests.pair.craft import assert_nacked, show
from tests.pair.pair import Pair
from tests.pair.parts import CLIENT_ID, PEER, PSK, SECOND_GATEWAY, SETTINGS, Key, Secret
from tests.pair.test_refusals import Against

BY_REFERENCE = replace(SETTINGS, ticket_form=TicketForm.BY_REFERENCE)
DATAGRAM_OCTETS_MAX = 1228
"""Of an IKE message in IPv6's least MTU, behind IPv6, UDP and the non-ESP marker."""


def by_reference() -> Pair:
    """A pair whose client holds a ticket by reference."""
    pair = Pair(BY_REFERENCE)
    pair.connect()
    assert is_reference(pair.ticket().ticket)
    return pair


def test_fifty_resumptions_by_reference_need_one_read_each() -> None:
    pair = by_reference()  # R50, R66
    second = pair.add_gateway("second", SECOND_GATEWAY)
    for number in range(50):
        gateway = (second, pair.gateway)[number % 2]
        spi = pair.resume(gateway.address)
        pair.agree(spi, gateway)
        assert pair.chains.reads == number + 1
    core = second.core(pair.other_end(spi)) if number % 2 == 0 else pair.gateway.live()[-1]
    assert (core.generation, core.resumed) == (51, True)
    assert (core.identity, core.auth_method) == ("rfc822:alice@example.com", "psk")
    assert len(pair.chains.states) == 1
    assert pair.check == []


def test_what_it_points_to_is_durable_before_the_ticket_leaves_and_with_the_sa() -> None:
    pair = Pair(BY_REFERENCE)
    pair.hold_writes = True
    pair.connect()
    (held,) = [outcome.persist for _, outcome in pair.held]
    assert held is not None
    assert held.kind is PersistKind.CREATE
    assert held.ticket
    assert pair.client.of(TicketReceived) == []
    pair.release()
    pair.run()
    pair.agree(pair.resume())
    assert pair.chains.writes[-1].kind is PersistKind.REDEEM
    assert pair.chains.writes[-1].ticket


def test_it_is_good_after_the_sa_has_ended_and_its_record_is_gone() -> None:
    pair = by_reference()
    spi = pair.client.live()[0].spi
    pair.carry_out(pair.client, pair.client.endpoint.terminate(spi, False, "asked for", pair.now))
    pair.run()
    assert pair.chains.records == {}
    pair.agree(pair.resume())


def test_a_ticket_asked_for_later_is_kept_before_it_leaves() -> None:
    pair = by_reference()
    spi = pair.client.live()[0].spi
    first, writes = pair.ticket(), len(pair.chains.writes)
    pair.run(10)
    pair.hold_writes = True
    pair.carry_out(pair.client, pair.client.endpoint.request_ticket(spi, pair.now))
    pair.run(0.2)
    assert pair.ticket() == first
    pair.release()
    pair.run()
    (written,) = pair.chains.writes[writes:]
    assert (written.kind, bool(written.ticket)) == (PersistKind.WRITE, True)
    assert pair.ticket() != first
    pair.agree(pair.resume(ticket=first))  # the earlier one is as good as the later


@pytest.mark.parametrize("form", TicketForm)
def test_the_form_is_chosen_by_size_or_by_configuration(form: TicketForm) -> None:
    long_id = replace(CLIENT_ID, data=b"a" * 470 + b"@example.com")
    settings = replace(SETTINGS, ticket_form=form)
    for peer, is_long in ((PEER, False), (replace(PEER, local_id=long_id), True)):
        pair = Pair(settings, peer)
        pair.gateway.psks.known[long_id.data] = PSK
        pair.connect()
        wanted = form is TicketForm.BY_REFERENCE or (is_long and form is TicketForm.AUTO)
        assert is_reference(pair.ticket().ticket) is wanted
        assert (len(pair.chains.states) == 1) is wanted
        pair.agree(pair.resume())
        shown = [d.data for d in pair.client.sent if d.data[18] == 38]
        fits = [len(data) <= DATAGRAM_OCTETS_MAX - 128 for data in shown]  # and a cookie
        assert all(fits) is (form is not TicketForm.BY_VALUE or not is_long)


def test_what_no_ticket_by_value_can_hold_is_pointed_to() -> None:
    gateway_id = IdPayload(PayloadType.IDr, IdType.ID_KEY_ID, bytes(2 * TICKET_MAX))
    pair = Pair(replace(SETTINGS, local_id=gateway_id), replace(PEER, remote_id=gateway_id))
    pair.connect()
    assert is_reference(pair.ticket().ticket)
    pair.agree(pair.resume())


# -- what is asked for, and what isn't


def test_no_tampered_pointer_makes_anybody_read() -> None:
    pair = by_reference()  # R49, R66
    good = pair.ticket().ticket
    for bit in range(8 * len(good)):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        payloads = decode_clear(show(pair, bytes(bad)).send[0].data).payloads
        assert payloads == (NotifyPayload(NotifyType.TICKET_NACK),)
    assert pair.chains.reads == 0
    assert pair.gateway.endpoint.half_open == 0
    pair.agree(pair.resume())


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (replace(BY_REFERENCE, realm=b"another"), TicketReason.FORGED),
        (replace(BY_REFERENCE, epoch=1), TicketReason.EPOCH),
    ],
    ids=["realm", "epoch"],
)
def test_a_pointer_of_elsewhere_is_refused_unread(settings: object, reason: TicketReason) -> None:
    other = by_reference()
    pair = Pair(BY_REFERENCE)
    pair.gateway.endpoint.settings = settings  # type: ignore[assignment]
    pair.chains = other.chains
    assert_nacked(pair, show(pair, other.ticket().ticket), reason)
    assert pair.chains.reads == 0


def test_an_expired_pointer_is_refused_unread() -> None:
    pair = Pair(replace(BY_REFERENCE, liveness_interval_s=0))
    pair.connect()
    pair.run(SETTINGS.ticket_lifetime_s + SETTINGS.ticket_skew_s + 1)
    assert_nacked(pair, show(pair, pair.ticket().ticket), TicketReason.EXPIRED)
    assert pair.chains.reads == 0


def test_what_is_kept_no_more_means_ticket_nack() -> None:
    pair = by_reference()
    pair.chains.states.clear()
    assert_nacked(pair, show(pair, pair.ticket().ticket), TicketReason.UNRESOLVED)
    assert pair.chains.reads == 1


def test_a_used_one_is_refused_at_its_presentation_by_that_same_read() -> None:
    pair = by_reference()  # R14
    ticket = pair.ticket()
    pair.resume(ticket=ticket)
    reads = pair.chains.reads
    assert_nacked(pair, show(pair, ticket.ticket), TicketReason.REUSED)
    assert pair.chains.reads == reads + 1


def test_one_known_for_used_costs_no_read() -> None:
    pair = by_reference()
    against = pair.gateway.endpoint.refusals = Against()
    against.use = Used.YES
    assert_nacked(pair, show(pair, pair.ticket().ticket), TicketReason.REUSED)
    assert pair.chains.reads == 0
    against.use = Used.MAYBE  # the read that is made anyway confirms it
    pair.agree(pair.resume())
    assert pair.chains.reads == 1


def test_a_revoked_one_is_refused_by_what_is_kept() -> None:
    pair = by_reference()
    against = pair.gateway.endpoint.refusals = Against()
    against.void = True
    assert_nacked(pair, show(pair, pair.ticket().ticket), TicketReason.REVOKED)
    (asked,) = against.asked
    assert isinstance(asked, TicketBody)
    assert asked.identity == "rfc822:alice@example.com"


def test_policy_is_asked_again() -> None:
    pair = by_reference()
    pair.gateway.psks.known.clear()
    assert_nacked(pair, show(pair, pair.ticket().ticket), TicketReason.POLICY)


def test_an_unknown_key_is_looked_for_first_and_then_the_state() -> None:
    pair = by_reference()
    ring = pair.gateway.ring
    known, ring.key = ring.key, Key(b"the next", Secret(bytes(32)))
    assert known is not None
    pair.learn = lambda key_id: ring.old.update({key_id: known})
    pair.agree(pair.resume())
    assert (list(ring.old), pair.chains.reads) == ([known.key_id], 1)


# -- single use


def test_an_operators_revocation_takes_what_is_kept_with_it() -> None:
    pair = by_reference()
    spi = pair.gateway.live()[0].spi
    pair.carry_out(pair.gateway, pair.gateway.endpoint.terminate(spi, True, "asked for", pair.now))
    pair.run()
    assert pair.chains.states == {}
    assert_nacked(pair, show(pair, pair.ticket().ticket), TicketReason.REUSED)


def test_a_ticket_by_value_that_follows_takes_the_place_of_what_was_kept() -> None:
    pair = by_reference()
    pair.gateway.endpoint.settings = SETTINGS
    pair.agree(pair.resume())
    assert pair.chains.writes[-1].ticket == b""
    assert pair.chains.states == {}
    pair.agree(pair.resume())
    assert pair.chains.writes[-1].ticket is None


def test_at_two_gateways_at_once_it_makes_one_sa() -> None:
    pair = by_reference()
    second = pair.add_gateway("second", SECOND_GATEWAY)
    ticket = pair.ticket()
    pair.hold_writes = True
    for gateway in (pair.gateway, second):
        pair.start_resume(gateway.address, ticket=ticket)
    pair.run()
    assert len(pair.held) == 2
    pair.release()
    pair.run()
    made = [e for side in (pair.gateway, second) for e in side.of(Established) if e.resumed]
    assert len(made) == 1
    assert sum(failed.resumed for side in (pair.gateway, second) for failed in side.of(Failed)) == 1
    pair.agree(pair.resume())  # with the winner's ticket: what is kept is the winner's


def test_a_resumption_that_fails_in_ike_auth_leaves_it_unspent() -> None:
    pair = by_reference()  # R15, R33
    ticket = pair.ticket()
    nonce: list[Payload] = [
        NoncePayload(b"q" * 32),
        NotifyPayload(NotifyType.TICKET_OPAQUE, ticket.ticket),
    ]
    pair.inject(pair.gateway, encode_clear(b"87654321", bytes(8), 38, 8, 0, nonce))
    assert pair.gateway.endpoint.half_open == 1
    pair.agree(pair.resume(ticket=ticket))
