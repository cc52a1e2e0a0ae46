"""RFC 5723 row by row: our gateway, resumed by a client that was written from the RFC's text."""

import pytest

from proto.ike.core import State, replace
from proto.ike.effects import InstallChild, PersistKind
from proto.ike.events import Established, Failed, TicketRefused
from proto.ike.suite import Suite
from tests.pair.pair import Pair
from tests.pair.parts import PEER, SECOND_GATEWAY, SETTINGS
from tests.rfc import independent
from tests.rfc.independent import (
    AUTH,
    CERT,
    COOKIE,
    IDR,
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
)

ANSWERS = {TICKET_LT_OPAQUE, TICKET_ACK, TICKET_NACK}
AUTHENTICATION_FAILED = 24
NO_PROPOSAL_CHOSEN = 14
INITIAL_CONTACT = 16384
NAT_DETECTION = (16388, 16389)


def without(client: Initiator, *kinds: int) -> list[independent.Payload]:
    """The IKE_AUTH payloads, some left out."""
    return [(kind, body) for kind, body in client.auth_payloads() if kind not in kinds]


def changed(client: Initiator, kind: int, body: bytes) -> list[independent.Payload]:
    """The IKE_AUTH payloads, one with another body."""
    return [(k, body if k == kind else b) for k, b in client.auth_payloads()]


def unspent(pair: Pair, client: Initiator) -> None:
    """The ticket still makes an SA."""
    resume(pair, Initiator(client.old, client.form), "afterwards")


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


@pytest.mark.parametrize("text", list(independent.SUITES))
@pytest.mark.parametrize("form", ["rfc", "first-message"])
def test_r32_auth_covers_what_the_rfc_says_or_what_libreswan_says(text: str, form: str) -> None:
    """prf(SK_px, …) over RFC 7296 2.15's octets; over the message alone where that is allowed; the
    answer comes in the form of the question, in every suite."""
    suite: Suite = next(s for s in SETTINGS.suites if str(s) == text)
    pair, client = with_ticket(Pair(peer=replace(PEER, suites=(suite,))), form)
    for label in ("one", "two"):
        client = Initiator(client.next(resume(pair, client, label)), form)


@pytest.mark.parametrize("form", ["key-pad", "first-message"])
def test_r32_another_form_is_refused(form: str) -> None:
    """The pad of a pre-shared key has no place here; a policy of `rfc` alone takes no other."""
    forms = tuple(f for f in SETTINGS.resume_forms if f.value == "rfc")
    pair, client = with_ticket(Pair(replace(SETTINGS, resume_forms=forms)), form)
    present(pair, client)
    answer = prove(pair, client, client.auth_payloads())
    assert answer.notifies() == {AUTHENTICATION_FAILED: b""}
    client.form = "rfc"
    unspent(pair, client)


def test_r32_a_cookie_in_the_request_is_part_of_what_is_signed() -> None:
    """The last request sent is the signed one: with a cookie in front, though none was needed."""
    pair, client = with_ticket()
    request = client.request(fresh("spi", 8), fresh("nonce"), cookie=b"c" * 64)
    client.take(ask(pair, request))
    client.accept(ask(pair, client.say(client.auth_payloads())))


@pytest.mark.parametrize("method", [1, 3, 9, 14])
def test_r32_the_auth_method_octet_chooses_nothing(method: int) -> None:
    """A right value under another method than shared-key MIC is refused."""
    pair, client = with_ticket()
    present(pair, client)
    wrong = changed(client, AUTH, bytes((method, 0, 0, 0)) + client.auth_i())
    assert prove(pair, client, wrong).notifies() == {AUTHENTICATION_FAILED: b""}
    unspent(pair, client)


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


@pytest.mark.parametrize(
    "body",
    [
        b"\x03\0\0\0bob@example.com",
        b"\x03\0\0\0Alice@example.com",
        b"\x03\0\0\0alice@example.com\0",
        b"\x02\0\0\0alice@example.com",
        b"\x0b\0\0\0alice@example.com",
    ],
)
def test_r33_idi_is_the_tickets_octet_for_octet(body: bytes) -> None:
    """Another IDi is refused though AUTH is right over it, and the ticket stays unspent."""
    pair, client = with_ticket()
    present(pair, client)
    client.old = client.old._replace(idi=body)
    writes = len(pair.chains.writes)
    answer = prove(pair, client, client.auth_payloads())
    assert answer.notifies() == {AUTHENTICATION_FAILED: b""}
    assert pair.gateway.of(Failed)[-1].resumed
    assert len(pair.chains.writes) == writes


def test_r34_a_certificate_proves_nothing_and_none_is_sent() -> None:
    """A CERT in the request changes no identity; the answer holds none."""
    pair, client = with_ticket()
    present(pair, client)
    cert = (CERT, b"\x04" + fresh("somebody's certificate", 300))
    said = client.say([client.auth_payloads()[0], cert, *client.auth_payloads()[1:]])
    client.accept(ask(pair, said))
    assert pair.gateway.of(Established)[-1].identity == "rfc822:alice@example.com"


@pytest.mark.parametrize(
    "body", [b"\x02\0\0\0other.example.com", b"\x01\0\0\0\xc0\0\2\1", b"\2\0\0\0"]
)
def test_r35_an_idr_that_is_sent_is_the_tickets(body: bytes) -> None:
    """A client that asks for another gateway is refused, and its ticket unspent."""
    pair, client = with_ticket()
    present(pair, client)
    answer = prove(pair, client, changed(client, IDR, body))
    assert answer.notifies() == {AUTHENTICATION_FAILED: b""}
    unspent(pair, client)


def test_r35_a_client_need_not_send_an_idr_and_every_member_answers_the_same() -> None:
    """IDr is optional in the request; in the answer it is the ticket's, at each gateway."""
    pair, client = with_ticket()
    second = pair.add_gateway("second", SECOND_GATEWAY)
    for label, gateway in (("one", pair.gateway), ("two", second)):
        present(pair, client, label, gateway)
        said = client.say(without(client, IDR))
        client = Initiator(client.next(client.accept(ask(pair, said, gateway))))


def test_r36_a_new_ticket_belongs_to_the_new_sa() -> None:
    """Ten in a row, each resumed with the secret of the SA before: the older secret opens none."""
    pair, client = with_ticket()
    secrets = set()
    for number in range(10):
        secrets.add(client.old.sk_d)
        client = Initiator(client.next(resume(pair, client, str(number))))
    assert len(secrets) == 10
    assert len(pair.gateway.live()) == 1
    stale = Initiator(client.old._replace(sk_d=min(secrets)))
    present(pair, stale, "stale")
    assert heard(pair, stale.say(stale.auth_payloads())) == []


def test_r37_the_first_childs_keys_come_of_the_new_secret_and_these_nonces() -> None:
    """KEYMAT of RFC 7296 2.17, as the independent client computes it; the SPIs are as sent."""
    pair, client = with_ticket()
    resume(pair, client)
    made = [op for op in pair.gateway.kernel if isinstance(op, InstallChild)][-1]
    assert made.keymat.octets == client.child_keymat(len(made.keymat.octets))
    assert made.spi_out == b"\1\2\3\4"


def test_r38_the_old_sa_goes_without_a_word() -> None:
    """Gone once IKE_AUTH succeeded, not before; its peer is told nothing and not heard any more."""
    pair, client = with_ticket()
    old = pair.gateway.live()[0]
    present(pair, client)
    assert pair.gateway.core(old.spi).state is State.ESTABLISHED
    sent = len(pair.gateway.sent)
    client.accept(ask(pair, client.say(client.auth_payloads())))
    assert pair.gateway.endpoint.find(old.spi) is None
    pair.run(20)
    voices = [d.data[8:16] for d in pair.gateway.sent[sent:]]
    assert old.spi not in voices
    probe = pair.client.endpoint.probe(old.spi_i, pair.now)
    assert probe is not None
    assert heard(pair, probe.send[0].data) == []


def test_r39_r50_a_gateway_that_knows_only_the_keys_restores_the_session() -> None:
    """Identity, algorithms and secret come of the ticket alone, at a member that never saw it."""
    pair, client = with_ticket()
    second = pair.add_gateway("second", SECOND_GATEWAY)
    resume(pair, client, gateway=second)
    core = second.core(client.spi_r)
    assert core.identity == "rfc822:alice@example.com"
    assert core.auth_method == "psk"
    assert str(core.suite) == "aes256gcm16-prfsha256-x25519"
    assert pair.chains.writes[-1].kind is PersistKind.REDEEM


def test_r45_the_child_is_negotiated_afresh() -> None:
    """Other selectors than the old Child SA had: they are what the new one gets."""
    pair, client = with_ticket()
    present(pair, client)
    narrow = b"\x01\0\0\0\x07\0\0\x10\0\0\xff\xff\x0a\0\0\x05\x0a\0\0\x05"
    said = client.say(changed(client, independent.TSI, narrow))
    answer = client.accept(ask(pair, said))
    assert answer.the(independent.TSI) == narrow
    (child,) = gateway_core(pair, client).children
    (selector,) = child.remote_ts
    assert selector.start_address == selector.end_address == b"\x0a\0\0\5"


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
    """0, then 1, then 2; a request numbered as if the old SA went on gets silence."""
    pair, client = with_ticket()
    resume(pair, client)
    skipping = client.say([], INFORMATIONAL, 3)
    assert heard(pair, skipping) == []
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
