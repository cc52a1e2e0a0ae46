"""RFC 5723 row by row: our gateway up to IKE_AUTH, resumed by the independent client."""

import pytest

from proto.ike.core import State, replace
from proto.ike.events import Established, TicketRefused
from tests.pair.pair import Pair, is_response
from tests.pair.parts import SECOND_GATEWAY, SETTINGS
from tests.rfc import independent
from tests.rfc.independent import (
    COOKIE,
    IKE_SESSION_RESUME,
    INFORMATIONAL,
    INITIATOR,
    NO_SPI,
    NONCE,
    NOTIFY,
    SA,
    TICKET_ACK,
    TICKET_LT_OPAQUE,
    TICKET_NACK,
    TICKET_OPAQUE,
    TICKET_REQUEST,
    Initiator,
    notify,
)
from tests.rfc.talk import (
    ask,
    fresh,
    gateway_core,
    heard,
    present,
    prove,
    resume,
    with_ticket,
    without,
)

ANSWERS = {TICKET_LT_OPAQUE, TICKET_ACK, TICKET_NACK}
AUTHENTICATION_FAILED = 24
NO_PROPOSAL_CHOSEN = 14
NAT_DETECTION = (16388, 16389)


def test_r1_a_ticket_is_to_be_had_in_a_resumption_and_by_informational_after_it() -> None:
    """A client asks in the IKE_AUTH that follows its resumption, and at any time later."""
    pair, client = with_ticket()
    answer = resume(pair, client)
    assert ANSWERS & answer.notifies().keys() == {TICKET_LT_OPAQUE}
    said = client.say([notify(TICKET_REQUEST)], INFORMATIONAL, 2)
    later = client.hear(ask(pair, said))
    assert ANSWERS & later.notifies().keys() == {TICKET_LT_OPAQUE}
    assert later.notifies() != answer.notifies()
    resume(pair, Initiator(client.next(later)), "with the later one")


def test_r4_every_request_for_a_ticket_gets_exactly_one_answer() -> None:
    """A ticket, a refusal or a promise: one of them, once; unasked: none."""
    pair, client = with_ticket()
    present(pair, client)
    answer = prove(pair, client, [*client.auth_payloads(), notify(TICKET_REQUEST)])
    kinds = [int.from_bytes(body[2:4], "big") for kind, body in answer.payloads if kind == NOTIFY]
    assert len(ANSWERS.intersection(kinds)) == len(kinds) == 1
    client = Initiator(client.next(answer))
    present(pair, client, "two")
    assert prove(pair, client, without(client, NOTIFY)).notifies() == {}


def test_r6_a_refused_ticket_changes_nothing_of_the_exchange() -> None:
    """Without a key to seal with: TICKET_NACK beside everything else that a success holds."""
    pair, client = with_ticket()
    present(pair, client)
    pair.gateway.ring.old = {b"key-id-1": pair.gateway.ring.key}  # type: ignore[dict-item]
    pair.gateway.ring.key = None
    answer = client.accept(ask(pair, client.say(client.auth_payloads())))
    assert answer.notifies() == {TICKET_NACK: b""}
    assert SA in [kind for kind, _ in answer.payloads]
    assert gateway_core(pair, client).state is State.ESTABLISHED


def test_r6_a_child_that_fails_is_said_beside_the_ticket() -> None:
    """NO_PROPOSAL_CHOSEN for the Child SA; the IKE SA and its ticket are given all the same."""
    pair, client = with_ticket()
    present(pair, client)
    weak = client.auth_payloads()
    weak = [(k, b.replace(b"\x80\x0e\x01\x00", b"\x80\x0e\x00\xc0")) for k, b in weak]
    answer = client.accept(ask(pair, client.say(weak)))
    assert set(answer.notifies()) == {NO_PROPOSAL_CHOSEN, TICKET_LT_OPAQUE}
    assert gateway_core(pair, client).children == ()


@pytest.mark.parametrize("where", ["the same gateway", "another gateway"])
def test_r14_a_used_ticket_sets_up_nothing(where: str) -> None:
    """After one success the ticket is refused by every member, whoever shows it."""
    pair, client = with_ticket()
    second = pair.add_gateway("second", SECOND_GATEWAY)
    resume(pair, client)
    again = Initiator(client.old)
    gateway = pair.gateway if where == "the same gateway" else second
    made = len(gateway.of(Established))
    present(pair, again, "again", gateway)
    answer = prove(pair, again, again.auth_payloads(), gateway)
    assert answer.notifies() == {AUTHENTICATION_FAILED: b""}
    assert len(gateway.of(Established)) == made
    assert gateway_core(pair, client).state is State.ESTABLISHED


def test_r15_showing_a_ticket_does_not_use_it_up() -> None:
    """Only an IKE SA that was set up does: shown twice and never proven, it is still good."""
    pair, client = with_ticket()
    for label in ("first", "second"):
        present(pair, Initiator(client.old), label)
    resume(pair, client, "third")


def test_r17_only_ike_auth_follows() -> None:
    """A sealed INFORMATIONAL on the half-open SA gets silence; IKE_AUTH still goes through."""
    pair, client = with_ticket()
    present(pair, client)
    early = client.say([notify(TICKET_REQUEST)], INFORMATIONAL, 1)
    assert heard(pair, early) == []
    client.accept(ask(pair, client.say(client.auth_payloads())))


def test_r19_a_request_that_names_an_spir_gets_silence() -> None:
    """SPIr is zero in the request."""
    pair, client = with_ticket()
    request = bytearray(client.request(fresh("spi", 8), fresh("nonce")))
    request[8:16] = fresh("some SPIr", 8)
    assert heard(pair, bytes(request)) == []
    assert pair.gateway.endpoint.half_open == 0


def test_r20_a_ticket_is_accepted_or_refused_and_nothing_else() -> None:
    """Whatever stands in TICKET_OPAQUE: Nr, or an unprotected TICKET_NACK with SPIr zero."""
    pair, client = with_ticket()
    good = client.old.ticket
    shown = [b"", b"\0", good[:-1], good + b"\0", good[::-1], good[:9], bytes(len(good)), good * 3]
    for number, ticket in enumerate(shown):
        other = Initiator(client.old._replace(ticket=ticket))
        request = other.request(fresh(f"{number}", 8), fresh(f"n{number}"))
        answer = independent.parse(ask(pair, request))
        assert answer.notifies() == {TICKET_NACK: b""}
        assert (answer.spi_i, answer.spi_r) == (other.spi_i, NO_SPI)
        assert (answer.exchange, answer.flags) == (IKE_SESSION_RESUME, independent.RESPONSE)
    assert len(pair.gateway.of(TicketRefused)) == len(shown)
    resume(pair, client)


def test_r20_of_two_tickets_one_answer_comes() -> None:
    """A request with a good and a bad ticket is accepted or refused once."""
    pair, client = with_ticket()
    answer = present(pair, client, more=(notify(TICKET_OPAQUE, b"bad"),))
    assert answer.notifies() == {}
    assert len(answer.payloads) == 1


def test_r22_a_session_ended_for_good_is_refused() -> None:
    """Where Delete revokes, the ticket of an SA that ended at the responder makes no SA."""
    pair, client = with_ticket(Pair(replace(SETTINGS, revoke_on_delete=True)))
    answer = resume(pair, client)
    delete = (42, b"\x01\0\0\0")
    pair.inject(pair.gateway, client.say([delete], INFORMATIONAL, 2))
    late = Initiator(client.next(answer))
    present(pair, late, "late")
    refused = prove(pair, late, late.auth_payloads())
    assert refused.notifies() == {AUTHENTICATION_FAILED: b""}


def test_r23_r43_every_sa_has_spis_of_its_own() -> None:
    """SPIi is echoed; SPIr is new each time, and never one that an older SA had."""
    pair, client = with_ticket()
    seen = {core.spi_r for core in pair.gateway.live()}
    for number in range(200):
        answer = present(pair, Initiator(client.old), str(number))
        assert answer.spi_r not in seen
        seen.add(answer.spi_r)
    assert len(seen) == 201


@pytest.mark.parametrize("source", [("203.0.113.9", 4500), ("2001:db8::9", 61234)])
def test_r24_a_session_resumes_from_any_address(source: tuple[str, int]) -> None:
    """Another address, another port, another IP family; the answers go there."""
    pair, client = with_ticket()
    present(pair, client, source=source)
    said = client.say(client.auth_payloads())
    client.accept(ask(pair, said, source=source))
    assert pair.gateway.sent[-1].path.remote == source


def test_r26_r67_under_a_flood_a_good_ticket_needs_no_cookie_and_a_bad_one_costs_no_state() -> None:
    """Cookies wanted from everybody: a ticket that opens is served; what doesn't leaves nothing."""
    pair, client = with_ticket(Pair(replace(SETTINGS, cookie_threshold=0)))
    for number in range(500):
        bad = Initiator(client.old._replace(ticket=fresh(f"bad{number}", 200)))
        request = bad.request(fresh(f"s{number}", 8), fresh(f"n{number}"))
        answer = ask(pair, request)
        assert set(independent.parse(answer).notifies()) <= {TICKET_NACK, COOKIE}
    assert pair.gateway.endpoint.half_open == 0
    resume(pair, client)


def test_r27_notifies_of_a_first_exchange_may_ride_along() -> None:
    """NAT detection, unknown ones and a vendor id, known to us or not; all of it is signed."""
    pair, client = with_ticket()
    riders = [notify(kind, fresh("hash", 20)) for kind in NAT_DETECTION]
    riders += [notify(40_000, b"unknown"), (43, b"a vendor"), notify(16418)]
    present(pair, client, more=tuple(riders))
    client.accept(ask(pair, client.say(client.auth_payloads())))


def test_r27_the_order_of_nonce_and_ticket_is_not_fixed() -> None:
    """RFC 7296 2: payloads in another order are no error."""
    pair, client = with_ticket()
    client.request(fresh("spi", 8), fresh("nonce"))
    payloads = independent.parse(client.message_1).payloads[::-1]
    client.message_1 = independent.clear(client.ends, IKE_SESSION_RESUME, INITIATOR, payloads)
    client.take(ask(pair, client.message_1))
    client.accept(ask(pair, client.say(client.auth_payloads())))


@pytest.mark.parametrize("octets", [16, 17, 64, 256])
def test_r30_the_keys_stand_before_ike_auth(octets: int) -> None:
    """Both sides hold the same seven keys once Nr is out, from nonces of every length allowed."""
    pair, client = with_ticket()
    request = client.request(fresh("spi", 8), fresh("nonce", octets))
    client.take(ask(pair, request))
    core = gateway_core(pair, client)
    assert core.state is State.RESUME_ANSWERED
    assert core.keys is not None
    ours = [getattr(core.keys, short).octets for short in client.keys._fields]
    assert ours == list(client.keys)
    assert len(set(ours)) >= 5


@pytest.mark.parametrize("protocol", [1, 3])
def test_r61_a_protocol_id_without_an_spi_is_passed_over(protocol: int) -> None:
    """We send 0; of others it is ignored where the SPI is empty (RFC 7296 3.10)."""
    pair, client = with_ticket()
    client.request(fresh("spi", 8), fresh("nonce"))
    payloads = [(NONCE, client.ni), notify(TICKET_OPAQUE, client.old.ticket, protocol)]
    client.message_1 = independent.clear(client.ends, IKE_SESSION_RESUME, INITIATOR, payloads)
    client.take(ask(pair, client.message_1))
    asked = [*without(client, NOTIFY), notify(TICKET_REQUEST, protocol=protocol)]
    answer = client.accept(ask(pair, client.say(asked)))
    assert set(answer.notifies()) == {TICKET_LT_OPAQUE}


def test_r65_r66_looking_at_a_ticket_asks_nobody_and_writes_nothing() -> None:
    """A good ticket costs no store access before IKE_AUTH; then one write; a bad one none ever."""
    pair, client = with_ticket()
    writes = len(pair.chains.writes)
    for label in ("a", "b", "c"):
        request = Initiator(client.old).request(fresh(label, 8), fresh("n" + label))
        outcome = pair.inject(pair.gateway, request)
        assert outcome.persist is None
        assert outcome.look_up == b""
    flipped = client.old.ticket[:-1] + bytes((client.old.ticket[-1] ^ 1,))
    bad = Initiator(client.old._replace(ticket=flipped)).request(fresh("d", 8), fresh("nd"))
    assert pair.inject(pair.gateway, bad).look_up == b""
    assert len(pair.chains.writes) == writes
    assert pair.looked_up == []
    resume(pair, client)
    assert len(pair.chains.writes) == writes + 1


def test_r29_message_ids_begin_anew() -> None:
    """0, then 1, then 2; a request numbered as if the old SA went on gets no answer."""
    pair, client = with_ticket()
    resume(pair, client)
    skipping = client.say([], INFORMATIONAL, 3)
    assert [said for said in heard(pair, skipping) if is_response(said)] == []
    answer = client.hear(ask(pair, client.say([], INFORMATIONAL, 2)))
    assert (answer.message_id, answer.payloads) == (2, [])


def test_r79_the_same_request_again_gets_the_same_answer_and_a_new_one_another() -> None:
    """A repeat is answered octet for octet; SPIi or Ni changed, it is another attempt."""
    pair, client = with_ticket()
    request = client.request(fresh("spi", 8), fresh("nonce"))
    first = ask(pair, request)
    assert ask(pair, request) == first
    assert pair.gateway.endpoint.half_open == 1
    other = Initiator(client.old).request(fresh("spi", 8), fresh("another nonce"))
    assert ask(pair, other) != first
    client.take(first)
    client.accept(ask(pair, client.say(client.auth_payloads())))


def test_r29_a_repeated_ike_auth_gets_the_same_answer_and_uses_nothing_twice() -> None:
    """A retransmission is no second use: the same octets, one write, one SA."""
    pair, client = with_ticket()
    present(pair, client)
    said = client.say(client.auth_payloads())
    first = ask(pair, said)
    writes = len(pair.chains.writes)
    assert ask(pair, said) == first
    client.accept(first)
    assert len(pair.chains.writes) == writes
    assert len(pair.gateway.live()) == 1


def test_r15_two_attempts_side_by_side_make_one_sa() -> None:
    """Shown twice at once, proven twice: the first proof wins, the second is refused in SK."""
    pair, client = with_ticket()
    other = Initiator(client.old)
    present(pair, client, "one")
    present(pair, other, "two")
    client.accept(ask(pair, client.say(client.auth_payloads())))
    answer = prove(pair, other, other.auth_payloads())
    assert answer.notifies() == {AUTHENTICATION_FAILED: b""}
    assert [core.spi_r for core in pair.gateway.live()] == [client.spi_r]


@pytest.mark.parametrize("octets", [0, 1, 15, 257])
def test_r20_a_nonce_of_impossible_length_gets_no_acceptance(octets: int) -> None:
    """RFC 7296 3.9 allows 16 to 256 octets: others leave no state and no Nr."""
    pair, client = with_ticket()
    request = client.request(fresh("spi", 8), fresh("nonce", octets))
    for datagram in heard(pair, request):
        assert NONCE not in [kind for kind, _ in independent.parse(datagram.data).payloads]
    assert pair.gateway.endpoint.half_open == 0
