"""RFC 5723 row by row: our gateway's IKE_AUTH and what comes of it, at the independent client."""

import pytest

from proto.ike.core import State, replace
from proto.ike.effects import InstallChild, PersistKind
from proto.ike.events import Established, Failed
from proto.ike.suite import Suite
from tests.pair.pair import Pair
from tests.pair.parts import PEER, SECOND_GATEWAY, SETTINGS
from tests.rfc import independent
from tests.rfc.independent import (
    AUTH,
    CERT,
    IDR,
    Initiator,
)
from tests.rfc.talk import (
    ask,
    changed,
    fresh,
    gateway_core,
    heard,
    present,
    prove,
    resume,
    unspent,
    with_ticket,
    without,
)

AUTHENTICATION_FAILED = 24


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
