"""Resumption that works: chains, forms of AUTH, other gateways, other addresses (RFC 5723 4.3)."""

import pytest

from proto.ike.auth import ResumeForm
from proto.ike.core import State, replace
from proto.ike.effects import PersistKind, RemoveChild
from proto.ike.enums import ExchangeType, NotifyType, PayloadType
from proto.ike.events import Ended, Established, TicketRefused
from proto.ike.message import decode_clear, encode_clear
from proto.ike.payloads import NoncePayload, NotifyPayload
from proto.ike.suite import Suite
from proto.ike.ticket import ClientTicket
from proto.secret import Secret
from tests.pair.craft import opened, show
from tests.pair.pair import LOST, ONCE, Pair, exchange, is_response
from tests.pair.parts import PEER, SECOND_GATEWAY, SETTINGS, Key


def test_a_chain_of_fifty_resumptions() -> None:
    pair = Pair()  # R13, R36, R43
    pair.connect()
    for generation in range(2, 52):
        spi = pair.resume()
        pair.agree(spi)
        last = pair.gateway.of(Established)[-1]
        assert (last.generation, last.resumed) == (generation, True)
    assert len({e.chain for e in pair.gateway.of(Established)}) == 1
    assert len({e.spi_r for e in pair.gateway.of(Established)}) == 51
    assert len({d.data[:8] for d in pair.client.sent}) == 51
    assert len(pair.gateway.live()) == len(pair.chains.records) == 1
    assert pair.check == []


@pytest.mark.parametrize("suite", SETTINGS.suites, ids=str)
def test_the_suite_is_the_tickets_and_is_not_negotiated(suite: Suite) -> None:
    pair = Pair(peer=replace(PEER, suites=(suite,)))  # R46
    pair.connect()
    spi = pair.resume()
    pair.agree(spi)
    assert pair.client.core(spi).suite == suite
    request, answer = pair.client.sent[-2].data, pair.gateway.sent[-2].data
    kinds = [p.TYPE for p in decode_clear(request).payloads + decode_clear(answer).payloads]
    assert PayloadType.SA not in kinds
    assert PayloadType.KE not in kinds


def test_the_octets_of_a_resumption_are_as_the_rfc_draws_them() -> None:
    pair = Pair()  # R16, R19, R29, R31, R61, R62
    pair.connect()
    spi = pair.resume()
    ticket = pair.client.sent[-2].data
    asked, answer = decode_clear(ticket), decode_clear(pair.gateway.sent[-2].data)
    assert (asked.header.exchange, asked.header.message_id, asked.header.flags) == (38, 0, 8)
    assert asked.header.spi_r == bytes(8)
    assert [type(p) for p in asked.payloads[:2]] == [NoncePayload, NotifyPayload]
    shown = asked.notify(NotifyType.TICKET_OPAQUE)
    assert shown is not None
    assert (shown.protocol, shown.spi) == (0, b"")
    assert (answer.header.spi_i, answer.header.message_id, answer.header.flags) == (spi, 0, 0x20)
    assert answer.header.spi_r not in (bytes(8), spi)
    assert isinstance(answer.payloads[0], NoncePayload)
    assert [exchange(d) for d in pair.client.sent[-2:]] == [38, 35]


@pytest.mark.parametrize("form", list(ResumeForm), ids=lambda form: form.value)
def test_either_form_of_auth_is_taken_and_answered_in_kind(form: ResumeForm) -> None:
    pair = Pair(peer=replace(PEER, resume_form=form))  # R32, a.7 item 1
    pair.connect()
    for _ in range(3):
        pair.agree(pair.resume())


@pytest.mark.parametrize("form", list(ResumeForm), ids=lambda form: form.value)
def test_a_policy_may_refuse_a_form_and_the_ticket_is_then_unspent(form: ResumeForm) -> None:
    other = next(f for f in ResumeForm if f is not form)
    pair = Pair(replace(SETTINGS, resume_forms=(other,)), replace(PEER, resume_form=form))
    pair.connect()
    ticket, writes = pair.ticket(), len(pair.chains.writes)
    spi = pair.resume()
    assert pair.client.endpoint.find(spi) is None
    assert len(pair.chains.writes) == writes
    pair.agree(pair.resume(peer=replace(PEER, resume_form=other), ticket=ticket))


def test_a_ticket_is_good_on_a_gateway_that_has_seen_nothing_but_the_ring() -> None:
    pair = Pair()  # R50
    second = pair.add_gateway("second", SECOND_GATEWAY)
    spi = pair.connect()
    old = pair.other_end(spi)
    spi = pair.resume(SECOND_GATEWAY)
    pair.agree(spi, second)
    (event,) = second.of(Established)
    assert (event.generation, event.resumed, event.replaced) == (2, True, old)
    assert event.identity == "rfc822:alice@example.com"
    assert pair.chains.writes[-1].replaces == old
    assert list(pair.chains.records) == [event.spi]


def test_resumption_goes_from_gateway_to_gateway_and_back() -> None:
    pair = Pair()
    second = pair.add_gateway("second", SECOND_GATEWAY)
    pair.connect()
    for _ in range(5):
        pair.agree(pair.resume(SECOND_GATEWAY), second)
        pair.agree(pair.resume(), pair.gateway)
    assert len(pair.chains.records) == 1
    assert pair.check == []


def test_the_old_sa_goes_silently_and_only_once_the_new_one_is_durable() -> None:
    pair = Pair()  # R38
    old = pair.other_end(pair.connect())
    child = pair.gateway.core(old).children[0]
    pair.hold_writes = True
    spi = pair.start_resume()
    pair.run()
    assert pair.gateway.core(old).state is State.ESTABLISHED
    sent = len(pair.gateway.sent)
    pair.release()
    pair.run()
    pair.agree(spi)
    assert pair.gateway.endpoint.find(old) is None
    assert RemoveChild(child.spi_in) in pair.gateway.kernel
    assert [(e.spi, e.why) for e in pair.gateway.of(Ended)] == [(old, "resumed")]
    assert len(pair.gateway.sent) == sent + 1
    pair.run(30)
    assert all(exchange(d) != ExchangeType.INFORMATIONAL for d in pair.gateway.sent)


def test_a_ticket_that_was_only_shown_is_still_good() -> None:
    pair = Pair()  # R15, R79
    pair.connect()
    pair.deliver = lambda side, d: LOST if exchange(d) == ExchangeType.IKE_AUTH else ONCE
    ticket = pair.ticket()
    lost = pair.resume(ticket=ticket)
    pair.run(60)
    assert pair.client.endpoint.find(lost) is None
    pair.deliver = lambda side, d: ONCE
    spi = pair.resume(ticket=ticket)
    pair.agree(spi)
    shown = [d.data for d in pair.client.sent if exchange(d) == ExchangeType.IKE_SESSION_RESUME]
    assert len({data[:8] for data in shown}) == 2


def test_a_full_handshake_leaves_a_ticket_of_another_session_alone() -> None:
    pair = Pair()  # R11
    pair.connect()
    ticket = pair.ticket()
    pair.connect()
    pair.agree(pair.resume(ticket=ticket))


def test_the_client_may_come_from_another_address() -> None:
    pair = Pair()  # R24
    pair.connect()
    ticket = pair.ticket()
    pair.client.address = ("198.51.100.77", 61_000)
    pair.sides[pair.client.address] = pair.client
    spi = pair.resume(ticket=ticket)
    pair.agree(spi)
    assert pair.gateway.sent[-1].path.remote == pair.client.address


def test_the_client_answers_a_cookie_on_a_resumption() -> None:
    pair = Pair()  # R26
    pair.connect()
    pair.deliver = lambda side, d: LOST
    spi = pair.start_resume()
    asked = encode_clear(
        spi, bytes(8), 38, 0x20, 0, [NotifyPayload(NotifyType.COOKIE, b"a cookie of a peer")]
    )
    pair.deliver = lambda side, d: ONCE
    pair.inject(pair.client, asked)
    first, again = (decode_clear(d.data) for d in pair.client.sent[-2:])
    cookie = NotifyPayload(NotifyType.COOKIE, b"a cookie of a peer")
    assert again.payloads == (cookie, *first.payloads)
    pair.run()
    # RealMessage1 is the one with the cookie, at both ends
    pair.agree(spi)


def test_a_ticket_that_opens_needs_no_cookie_even_above_the_threshold() -> None:
    pair = Pair(replace(SETTINGS, cookie_threshold=0))  # R26: libreswan can't answer one
    pair.connect()
    sent = len(pair.client.sent)
    pair.agree(pair.resume())
    assert len(pair.client.sent) == sent + 2


def test_tickets_of_three_generations_of_keys_are_good_at_once() -> None:
    pair = Pair()  # R53
    tickets = []
    for number in range(3):
        pair.gateway.ring.rotate(Key(b"key-no-%d" % number, Secret(bytes((number,)) * 32)))
        pair.connect()
        tickets.append(pair.ticket())
    assert len({ticket.ticket[1:9] for ticket in tickets}) == 3
    for ticket in tickets:
        pair.agree(pair.resume(ticket=ticket))


def test_the_identity_was_in_no_octet_before_the_sealed_ike_auth() -> None:
    pair = Pair()  # R47, R78
    pair.connect()
    spi = pair.resume()
    for octets in pair.client.octets() + pair.gateway.octets():
        assert b"alice" not in octets
        assert b"example" not in octets
    chain = pair.gateway.of(Established)[0].chain
    assert chain not in pair.ticket().ticket
    inside = opened(pair.client.core(spi), pair.client.sent[-1].data)
    assert PayloadType.CERT not in [p.TYPE for p in inside.payloads]


def test_a_client_resumes_from_its_file_alone_after_a_restart() -> None:
    pair = Pair()  # R10
    pair.connect()
    stored = ClientTicket.decode(pair.ticket().encode())
    fresh = Pair()
    fresh.gateway, fresh.chains = pair.gateway, pair.chains
    fresh.sides = {side.address: side for side in (pair.gateway, fresh.client)}
    spi = fresh.resume(ticket=stored)
    fresh.agree(spi)
    assert fresh.chains.writes[-1].kind is PersistKind.REDEEM


@pytest.mark.parametrize("reordered", [False, True])
def test_a_genuine_answer_that_comes_after_a_forged_nack_wins(reordered: bool) -> None:
    pair = Pair()  # R21, a.7 item 2
    pair.connect()
    spi = pair.start_resume()
    nack = encode_clear(spi, bytes(8), 38, 0x20, 0, [NotifyPayload(NotifyType.TICKET_NACK)])
    pair.inject(pair.client, nack)
    if reordered:
        # the genuine answer to a retransmission, well after the forgery but inside the wait
        pair.deliver = lambda side, d: (0.05,) if is_response(d) else ONCE
    pair.run()
    pair.agree(spi)
    assert pair.client.of(TicketRefused) == []


def test_a_client_that_announces_nothing_is_resumed_and_told_nothing() -> None:
    pair = Pair()  # R27: libreswan sends no notifies there
    pair.connect()
    outcome = show(pair, pair.ticket().ticket)
    answer = decode_clear(outcome.send[0].data)
    assert [type(p) for p in answer.payloads] == [NoncePayload]
    assert not pair.gateway.core(outcome.spi).fragmentation
