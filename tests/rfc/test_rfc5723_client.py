"""RFC 5723 row by row: our client, resuming at a gateway that was written from the RFC's text."""

import pytest

from proto.ike.auth import ResumeForm
from proto.ike.core import State, replace
from proto.ike.effects import InstallChild, Path
from proto.ike.errors import Misuse
from proto.ike.events import Established, Failed, TicketReceived, TicketRefused
from proto.ike.suite import Suite
from tests.pair.pair import Pair
from tests.pair.parts import CLIENT, GATEWAY, PEER, SETTINGS
from tests.rfc import independent
from tests.rfc.independent import (
    AUTH,
    CERT,
    COOKIE,
    IDR,
    INFORMATIONAL,
    NONCE,
    NOTIFY,
    SA,
    TICKET_ACK,
    TICKET_LT_OPAQUE,
    TICKET_NACK,
    TICKET_REQUEST,
    notify,
)
from tests.rfc.talk import SPI_R, Called, fresh

IKE_SA_INIT = 34
HOUR = (3600).to_bytes(4, "big")


def ticket(octets: bytes, lifetime: bytes = HOUR) -> independent.Payload:
    """N(TICKET_LT_OPAQUE)."""
    return notify(TICKET_LT_OPAQUE, lifetime + octets)


def stored(called: Called) -> list[bytes]:
    """The tickets that our client was given to keep."""
    return [event.ticket.ticket for event in called.client.of(TicketReceived)]


def test_r31_r60_ike_auth_comes_next_with_a_request_for_a_ticket() -> None:
    """Exchange 35, Message ID 1, straight after Nr; a ticket is asked for at this setup too."""
    called = Called()
    asked = called.accept_ticket()
    assert len(called.client.sent) == 2
    assert asked.notifies() == {TICKET_REQUEST: b""}
    assert SA in [kind for kind, _ in asked.payloads]


def test_r60_a_ticket_is_asked_for_at_the_first_setup() -> None:
    """A full handshake's IKE_AUTH holds the request: what the gateway then issues comes of it."""
    pair = Pair()
    pair.connect()
    assert len(pair.client.of(TicketReceived)) == 1


@pytest.mark.parametrize("form", list(ResumeForm), ids=lambda form: form.value)
@pytest.mark.parametrize("suite", SETTINGS.suites, ids=str)
def test_r32_auth_is_right_in_the_form_that_was_chosen(suite: Suite, form: ResumeForm) -> None:
    """What the independent gateway checks is prf(SK_pi, …); what it proves is prf(SK_pr, …)."""
    called = Called(suite, replace(PEER, suites=(suite,), resume_form=form))
    called.establish(ticket(b"the next"))
    (event,) = called.client.of(Established)
    assert (event.resumed, event.spi_r) == (True, SPI_R)
    assert stored(called) == [b"the next"]


@pytest.mark.parametrize("form", ["key-pad", "first-message", "of another key"])
def test_r32_a_gateway_that_proves_nothing_is_not_believed(form: str) -> None:
    """A wrong AUTH from the gateway: no SA, and its ticket isn't kept (R7)."""
    called = Called()
    called.accept_ticket()
    proof = called.gateway.auth_r(form)
    if form == "of another key":
        proof = called.gateway.auth_i()
    answer = [(k, b) for k, b in called.gateway.auth_payloads() if k != AUTH]
    answer += [(AUTH, b"\2\0\0\0" + proof), ticket(b"poison")]
    called.tell(called.gateway.say(answer))
    assert called.client.of(Established) == []
    assert stored(called) == []
    assert called.client.live() == []


@pytest.mark.parametrize(
    "body", [b"\x02\0\0\0vpn.example.org", b"\x03\0\0\0vpn.example.com", b"\2\0\0\0"]
)
def test_r35_the_gateways_identity_is_the_tickets(body: bytes) -> None:
    """Another IDr, its AUTH right over it: no SA."""
    called = Called()
    called.accept_ticket()
    called.gateway.old = called.gateway.old._replace(idr=body)
    called.tell(called.gateway.say(called.gateway.auth_payloads()))
    assert called.client.of(Established) == []
    assert len(called.client.of(Failed)) == 1


def test_r34_a_certificate_in_the_answer_is_not_looked_at() -> None:
    """CERT has no place there: it neither proves nor hinders anything."""
    called = Called()
    called.establish((CERT, b"\x04" + fresh("certificate", 200)))
    assert [e.identity for e in called.client.of(Established)] == ["fqdn:vpn.example.com"]


def test_r21_a_refusal_ends_the_attempt_and_a_regular_exchange_may_begin() -> None:
    """TICKET_NACK, after a short wait for something better; then IKE_SA_INIT goes out."""
    called = Called()
    called.gateway.see(called.last())
    called.tell(called.gateway.refuse(notify(TICKET_NACK)))
    called.pair.run(1)
    assert len(called.client.of(TicketRefused)) == len(called.client.of(Failed)) == 1
    called.pair.start()
    assert independent.parse(called.last()).exchange == IKE_SA_INIT


def test_r21_a_refusal_that_names_an_spir_is_a_refusal_too() -> None:
    """SPIr is zero in it by RFC 7296 2.6; a peer that fills it in is understood all the same."""
    called = Called()
    called.gateway.see(called.last())
    called.tell(called.gateway.refuse(notify(TICKET_NACK), SPI_R))
    called.pair.run(1)
    assert len(called.client.of(TicketRefused)) == 1


def test_r21_a_good_answer_after_a_forged_refusal_is_taken() -> None:
    """Nobody signed the refusal: what comes within the wait and proves itself wins."""
    called = Called()
    called.gateway.see(called.last())
    called.tell(called.gateway.refuse(notify(TICKET_NACK)))
    called.establish()
    assert len(called.client.of(Established)) == 1
    called.pair.run(1)
    assert called.client.of(TicketRefused) == []


@pytest.mark.parametrize("octets", [1, 16, 64])
def test_r26_a_cookie_is_brought_back_first_and_all_else_stays(octets: int) -> None:
    """The request again: N(COOKIE) before Ni, the rest octet for octet; AUTH covers this one."""
    called = Called()
    first = called.gateway.see(called.last())
    cookie = fresh("cookie", octets)
    called.tell(called.gateway.refuse(notify(COOKIE, cookie)))
    again = called.gateway.see(called.last(), cookie)
    assert again.payloads[1:] == first.payloads
    assert again.spi_i == first.spi_i
    called.tell(called.gateway.answer(SPI_R, fresh("nr")))
    called.gateway.check(called.last())
    called.tell(called.gateway.say(called.gateway.auth_payloads()))
    assert len(called.client.of(Established)) == 1


@pytest.mark.parametrize("octets", [16, 32, 255, 256])
def test_r30_nonces_of_every_length_go_in_whole(octets: int) -> None:
    """Both ends derive the same keys from them."""
    called = Called()
    called.accept_ticket(nr=fresh("nr", octets))
    called.tell(called.gateway.say(called.gateway.auth_payloads()))
    keys = called.client.core(called.spi).keys
    assert keys is not None
    assert [getattr(keys, k).octets for k in called.gateway.keys._fields] == list(
        called.gateway.keys
    )


def test_r27_notifies_in_the_answer_are_no_trouble() -> None:
    """NAT detection, one that nobody knows, a vendor id: all of it under the gateway's AUTH."""
    called = Called()
    riders = (notify(16388, fresh("a", 20)), notify(50_000), (43, b"vendor"))
    called.accept_ticket(more=riders)
    called.tell(called.gateway.say(called.gateway.auth_payloads()))
    assert len(called.client.of(Established)) == 1


def test_r19_r79_a_request_is_repeated_octet_for_octet_and_a_new_attempt_has_a_new_spi() -> None:
    """Silence: the same octets again. A second attempt has another SPIi and another Ni."""
    called = Called()
    called.pair.run(2)
    octets = [datagram.data for datagram in called.client.sent]
    assert len(octets) > 1
    assert len(set(octets)) == 1
    held = called.client.core(called.spi).handshake
    assert held is not None
    called.pair.start_resume(ticket=held.client_ticket)
    one, two = independent.parse(octets[0]), independent.parse(called.last())
    assert one.spi_i != two.spi_i
    assert one.the(NONCE) != two.the(NONCE)
    assert one.notifies() == two.notifies()


def test_r5_after_an_ack_the_ticket_is_asked_for_later() -> None:
    """TICKET_ACK: the SA is up, nothing is kept yet; an INFORMATIONAL of the client's brings it."""
    called = Called()
    called.establish(notify(TICKET_ACK))
    assert stored(called) == []
    outcome = called.client.endpoint.request_ticket(called.spi, called.pair.now)
    called.pair.carry_out(called.client, outcome)
    asked = called.gateway.hear(called.last())
    assert (asked.exchange, asked.message_id) == (INFORMATIONAL, 2)
    assert asked.notifies() == {TICKET_REQUEST: b""}
    called.tell(called.gateway.say([ticket(b"at last")], INFORMATIONAL, 2))
    assert stored(called) == [b"at last"]


def test_r2_a_gateway_that_asks_for_a_ticket_gets_none() -> None:
    """Only clients ask: an INFORMATIONAL with TICKET_REQUEST from the gateway is answered empty."""
    called = Called()
    called.establish(ticket(b"the next"))
    head = (called.gateway.ends, INFORMATIONAL, 0, 0)
    keys = called.gateway.keys
    called.tell(
        independent.seal(called.gateway.suite, keys.er, keys.ar, head, [notify(TICKET_REQUEST)])
    )
    answer = called.gateway.hear(called.last())
    assert (answer.flags, answer.payloads) == (0x28, [])


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0\x0e", HOUR])
def test_r62_a_ticket_notify_without_a_ticket_brings_none(data: bytes) -> None:
    """Fewer octets than a lifetime and one more: nothing is kept, and the SA is up."""
    called = Called()
    called.establish(notify(TICKET_LT_OPAQUE, data))
    assert len(called.client.of(Established)) == 1
    assert stored(called) == []


def test_r61_r62_the_lifetime_is_relative_and_the_rest_is_the_ticket() -> None:
    """Four octets in network order from now on, then octets to the payload's end; Protocol ID 3
    with no SPI is passed over."""
    called = Called()
    data = (0x01020304).to_bytes(4, "big") + b"\0\1\2"
    called.establish(notify(TICKET_LT_OPAQUE, data, protocol=3))
    (event,) = called.client.of(TicketReceived)
    assert event.ticket.ticket == b"\0\1\2"
    assert event.ticket.expires_wall_s == called.pair.now.wall_s + 0x01020304


def test_r12_a_ticket_that_is_over_at_once_is_never_shown() -> None:
    """Lifetime 0: the ticket is known to be expired the moment it comes."""
    called = Called()
    called.establish(ticket(b"over", bytes(4)))
    (event,) = called.client.of(TicketReceived)
    sent = len(called.client.sent)
    path = Path(CLIENT, GATEWAY)
    with pytest.raises(Misuse, match="expired"):
        called.client.endpoint.resume(event.ticket, PEER, path, called.pair.now)
    assert len(called.client.sent) == sent


def test_r10_r36_what_is_stored_with_a_ticket_is_of_the_new_sa() -> None:
    """The new SK_d, the algorithms and both identities: enough to resume from the file alone."""
    called = Called()
    called.establish(ticket(b"the next"))
    (event,) = called.client.of(TicketReceived)
    kept = type(event.ticket).decode(event.ticket.encode())
    assert kept.sk_d.octets == called.gateway.keys.d
    assert (kept.idi, kept.idr) == (b"alice@example.com", b"vpn.example.com")
    assert kept.auth_method == "psk"
    gateway = independent.Responder(
        called.gateway.old._replace(ticket=b"the next", sk_d=called.gateway.keys.d)
    )
    spi = called.pair.start_resume(ticket=kept)
    gateway.see(called.last())
    called.tell(gateway.answer(fresh("another SPIr", 8), fresh("another nr")))
    gateway.check(called.last())
    called.tell(gateway.say(gateway.auth_payloads()))
    assert called.client.core(spi).state is State.ESTABLISHED


def test_r18_without_a_ticket_there_is_no_exchange_38() -> None:
    """A gateway that gave no ticket is never asked to resume: the first message is IKE_SA_INIT."""
    pair = Pair()
    pair.start()
    assert [independent.parse(octets).exchange for octets in pair.client.octets()] == [IKE_SA_INIT]


def test_r37_the_first_childs_keys_come_of_the_new_secret_and_these_nonces() -> None:
    """KEYMAT of RFC 7296 2.17, as the independent gateway computes it."""
    called = Called()
    called.establish()
    (made,) = [op for op in called.client.kernel if isinstance(op, InstallChild)]
    assert made.keymat.octets == called.gateway.child_keymat(len(made.keymat.octets))
    assert made.spi_out == b"\5\6\7\x08"


@pytest.mark.parametrize("kind", [4, 11, 14, 24])
def test_r68_an_unprotected_notify_ends_no_sa(kind: int) -> None:
    """INVALID_IKE_SPI, INVALID_SPI and others, unproven, of any exchange: the SA stands."""
    called = Called()
    called.establish(ticket(b"the next"))
    for exchange in (35, 37, 38):
        for flags in (0x00, 0x20):
            forged = independent.clear(called.gateway.ends, exchange, flags, [notify(kind)])
            called.tell(forged)
    called.pair.run(5)
    assert called.client.core(called.spi).state is State.ESTABLISHED
    assert [e for e in called.client.events if isinstance(e, Failed)] == []


def test_r43_a_gateway_that_answers_with_spir_zero_is_not_taken() -> None:
    """The responder's SPI is new and not zero; such an answer is no acceptance."""
    called = Called()
    called.gateway.see(called.last())
    called.tell(called.gateway.answer(bytes(8), fresh("nr")))
    assert len(called.client.sent) == 1
    called.establish()
    assert len(called.client.of(Established)) == 1


def test_r28_nothing_of_the_old_path_is_kept_with_a_ticket() -> None:
    """Address, port and NAT status are no part of what the client stores."""
    called = Called()
    called.establish(ticket(b"the next"))
    (event,) = called.client.of(TicketReceived)
    file = event.ticket.encode()
    for address in (CLIENT, GATEWAY):
        assert address[0].encode() not in file
    assert b"nat" not in file.lower()


def test_r16_r20_a_ticket_too_long_for_one_datagram_is_shown_whole() -> None:
    """It is the gateway's business how long its tickets are: 1500 octets go out in one message."""
    called = Called(ticket=fresh("long", 1500))
    called.establish()
    assert len(called.client.of(Established)) == 1
    kinds = [kind for kind, _ in called.gateway.see(called.client.sent[0].data).payloads]
    assert kinds[:2] == [NONCE, NOTIFY]
    assert IDR not in kinds


@pytest.mark.parametrize(
    ("exchange", "flags", "message_id"),
    [(34, 0x20, 0), (35, 0x20, 0), (38, 0x20, 1), (38, 0x28, 0), (38, 0x00, 0)],
)
def test_r16_r29_only_the_exchange_itself_is_an_answer(
    exchange: int, flags: int, message_id: int
) -> None:
    """Nr under another exchange type, Message ID or flags is passed over; the right one counts."""
    called = Called()
    called.gateway.see(called.last())
    wrong = bytearray(called.gateway.answer(fresh("wrong", 8), fresh("wrong nr")))
    wrong[18:20] = bytes((exchange, flags))
    wrong[20:24] = message_id.to_bytes(4, "big")
    called.tell(bytes(wrong))
    assert len(called.client.sent) == 1
    called.establish()
    assert len(called.client.of(Established)) == 1


def test_r4_a_refused_new_ticket_is_no_refusal_of_the_one_that_was_shown() -> None:
    """TICKET_NACK inside SK: the SA is up, and nothing new to keep."""
    called = Called()
    called.establish(notify(TICKET_NACK))
    assert len(called.client.of(Established)) == 1
    assert called.client.of(TicketRefused) == called.client.of(TicketReceived) == []
    called.pair.run(1)
    assert called.client.core(called.spi).state is State.ESTABLISHED


def test_r6_r7_without_a_child_the_sa_and_its_ticket_are_taken() -> None:
    """NO_PROPOSAL_CHOSEN beside a right AUTH: the exchange succeeded, so the ticket is kept."""
    called = Called()
    called.accept_ticket()
    answer = [(k, b) for k, b in called.gateway.auth_payloads() if k in (IDR, AUTH)]
    called.tell(called.gateway.say([*answer, notify(14), ticket(b"the next")]))
    assert called.client.core(called.spi).children == ()
    assert stored(called) == [b"the next"]


def test_r68_an_unprotected_refusal_of_ike_auth_is_not_believed() -> None:
    """AUTHENTICATION_FAILED that nobody sealed: the sealed answer after it is taken."""
    called = Called()
    called.accept_ticket()
    forged = bytearray(independent.clear(called.gateway.ends, 35, 0x20, [notify(24)]))
    forged[20:24] = (1).to_bytes(4, "big")
    called.tell(bytes(forged))
    called.tell(called.gateway.say(called.gateway.auth_payloads()))
    assert len(called.client.of(Established)) == 1


def test_r7_a_sealed_refusal_ends_it_and_its_ticket_is_not_kept() -> None:
    """AUTHENTICATION_FAILED inside SK with a ticket beside it: no SA and nothing to keep."""
    called = Called()
    called.accept_ticket()
    called.tell(called.gateway.say([notify(24), ticket(b"poison")]))
    assert len(called.client.of(Failed)) == 1
    assert stored(called) == []
