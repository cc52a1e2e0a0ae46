"""EAP in IKE_AUTH, both roles (RFC 7296 2.16, B23), and EAP alone (RFC 5998)."""

import pytest

from proto.ike.connection import Connection, Method
from proto.ike.core import Peer, Settings, replace
from proto.ike.enums import ExchangeType, NotifyType, PayloadType
from proto.ike.errands import Undone
from proto.ike.errors import TicketReason
from proto.ike.events import Dropped, Failed
from proto.ike.message import Message
from proto.ike.payloads import AuthPayload, CertPayload, EapPayload, NotifyPayload
from proto.ike.proofs import EapAsked
from proto.ike.rounds import Proof
from tests.pair.authorities import own_key, packet
from tests.pair.craft import assert_nacked, opened, sealed, show
from tests.pair.pair import LOST, ONCE, Pair, exchange
from tests.pair.parts import ANY, CLIENT, CLIENT_ID, GATEWAY_ID, PEER, SETTINGS, WALL_S

OWN = own_key("p256", "vpn.example.com")
CONNECTION = Connection(
    "people",
    GATEWAY_ID,
    ANY,
    ANY,
    local_auth=Method.CERTIFICATE,
    remote_auth=(Method.EAP,),
    eap_methods=("password", "other"),
)
BY_EAP = replace(SETTINGS, connections=(CONNECTION,))
ALONE = replace(SETTINGS, connections=(replace(CONNECTION, eap_only=True),))
EAP_PEER = replace(
    PEER, psk=None, proofs=(Proof(Method.EAP, CLIENT_ID),), remote_auth=Method.CERTIFICATE
)
ALONE_PEER = replace(EAP_PEER, remote_auth=Method.EAP)
ALICE = "alice@example.com"


def pair_of(settings: Settings = BY_EAP, peer: Peer = EAP_PEER) -> Pair:
    """Alice has a password, the gateway a certificate."""
    pair = Pair(settings, peer)
    pair.client.endpoint.settings = SETTINGS
    pair.gateway.psks.keys[GATEWAY_ID.data] = OWN
    pair.authority.trust(OWN, GATEWAY_ID.data)
    pair.authority.passwords[ALICE] = pair.authority.says = "swordfish"
    return pair


def talk(pair: Pair) -> list[Message]:
    """What was said in IKE_AUTH, in order of the sides' turns, opened."""
    (client,), (gateway,) = pair.client.live(), pair.gateway.live()
    asked = [opened(client, d.data) for d in pair.client.sent if exchange(d) == 35]
    answered = [opened(gateway, d.data) for d in pair.gateway.sent if exchange(d) == 35]
    return [message for both in zip(asked, answered, strict=True) for message in both]


def kinds(message: Message) -> list[str]:
    """The payloads of a message by their names, notifies by theirs."""
    return [
        NotifyType(p.type).name if isinstance(p, NotifyPayload) else PayloadType(p.TYPE).name
        for p in message.payloads
    ]


def test_r8_r9_the_exchange_is_that_of_the_rfc() -> None:
    pair = pair_of()  # RFC 7296 2.16
    pair.agree(pair.connect())
    assert [kinds(message) for message in talk(pair)] == [
        ["IDi", "IDr", "TICKET_REQUEST", "SA", "TSi", "TSr"],
        ["IDr", "CERT", "AUTH", "EAP"],
        ["EAP"],
        ["EAP"],
        ["EAP"],
        ["EAP"],
        ["EAP"],
        ["EAP"],
        ["AUTH"],
        ["AUTH", "TICKET_LT_OPAQUE", "SA", "TSi", "TSr"],
    ]
    (core,) = pair.gateway.live()
    assert core.auth_method == "eap-password"
    assert core.identity == "rfc822:alice@example.com"
    assert pair.authority.began == [EapAsked("people", ALICE, CLIENT[0], ("password", "other"))]
    assert pair.check == []


def test_a_method_that_makes_no_key_is_confirmed_with_the_keys_of_ike() -> None:
    pair = pair_of()
    pair.authority.makes_key = False
    pair.agree(pair.connect())


def test_many_rounds_are_taken() -> None:
    pair = pair_of()  # B23: at least ten
    pair.authority.rounds = 40
    pair.agree(pair.connect())


def test_r40_the_identity_that_policy_goes_by_is_the_one_that_eap_has_proven() -> None:
    pair = pair_of()  # R40
    pair.authority.passwords["guest"] = pair.authority.passwords.pop(ALICE)
    begin = pair.authority._serve

    def as_guest(step):
        stepped = begin(step)
        if step.asked is not None:
            pair.authority._talking[step.spi] = ("guest", 1)
        return stepped

    pair.authority._serve = as_guest  # type: ignore[method-assign]
    pair.connect()
    (core,) = pair.gateway.live()
    assert core.idi == CLIENT_ID
    assert core.identity == "key_id:guest"
    pair.resume()
    (core,) = pair.gateway.live()
    assert (core.resumed, core.idi, core.identity) == (True, CLIENT_ID, "key_id:guest")
    assert core.auth_method == "eap-password"


def test_what_eaps_certificate_says_holds_for_the_session() -> None:
    pair = pair_of()  # RFC 5723 5, note 2
    went_on = pair.authority._serve
    ends_wall_s = WALL_S + 600

    def by_certificate(step):
        stepped = went_on(step)
        if stepped.done is None:
            return stepped
        done = replace(stepped.done, certificate=b"serial", expires_wall_s=ends_wall_s)
        return replace(stepped, done=done)

    pair.authority._serve = by_certificate  # type: ignore[method-assign]
    pair.connect()
    (core,) = pair.gateway.live()
    assert core.certificate == b"serial"
    assert core.auth_deadline_wall_s == ends_wall_s


def failed(pair: Pair) -> tuple[list[str], list[str]]:
    """Why it failed, by the gateway and by the client."""
    pair.connect()
    assert pair.gateway.live() == pair.client.live() == []
    assert pair.chains.writes == []
    return [e.why for e in pair.gateway.of(Failed)], [e.why for e in pair.client.of(Failed)]


def test_r9_a_wrong_password_ends_with_eaps_failure_and_nothing_else() -> None:
    pair = pair_of()
    pair.authority.says = "haddock"
    spi = pair.start()
    pair.run(0.045)
    half_open = pair.gateway.core(pair.other_end(spi))
    pair.run()
    assert opened(half_open, pair.gateway.octets()[-1]).payloads == (EapPayload(packet(4, 1)),)
    assert [e.why for e in pair.gateway.of(Failed)] == [
        "EAP of rfc822:alice@example.com: wrong password"
    ]
    assert [e.why for e in pair.client.of(Failed)] == ["EAP: the server refused"]
    assert pair.chains.writes == []


def test_an_unknown_user_is_told_what_one_with_a_wrong_password_is_told() -> None:
    said = []
    for passwords in ({}, {ALICE: "swordfish"}):
        pair = pair_of()
        pair.authority.passwords, pair.authority.says = passwords, "haddock"
        spi = pair.start()
        pair.run(0.045)
        half_open = pair.gateway.core(pair.other_end(spi))
        pair.run()
        answers = [opened(half_open, octets) for octets in pair.gateway.octets()[2:]]
        said.append([(kinds(answer), answer.find(EapPayload)) for answer in answers])
    assert said[0] == said[1]


def test_a_client_that_made_another_key_is_refused() -> None:
    pair = pair_of()
    respond = pair.authority._respond

    def lie(step):
        stepped = respond(step)
        pair.authority.makes_key = stepped.done is None
        return respond(step) if stepped.done is not None else stepped

    pair.authority._respond = lie  # type: ignore[method-assign]
    said, told = failed(pair)
    assert said == ["AUTH of rfc822:alice@example.com isn't by the key of password"]
    assert told == ["the gateway answered AUTHENTICATION_FAILED"]


def test_a_back_end_that_is_away_refuses_in_time() -> None:
    pair = pair_of()
    pair.start()
    pair.hold_errands = True
    pair.run(0.1)
    pair.run_errands(Undone("an EapStep took more than 10 s"))
    pair.run()
    assert [e.why for e in pair.gateway.of(Failed)] == ["an EapStep took more than 10 s"]


def test_a_repeat_of_an_eap_message_is_answered_again_and_asks_nobody() -> None:
    pair = pair_of()
    pair.start()
    pair.run(0.075)
    asked, said = len(pair.authority.began), pair.gateway.octets()[-1]
    pair.replay(pair.client, -1)
    assert pair.gateway.octets()[-1] == said
    assert len(pair.authority.began) == asked
    pair.run()
    assert len(pair.gateway.live()) == 1


def test_while_the_back_end_thinks_nothing_is_answered() -> None:
    pair = pair_of()
    pair.start()
    pair.hold_errands = True
    pair.run(0.1)
    again = pair.inject(pair.gateway, pair.client.octets()[-1])
    assert again.events == (Dropped(b"", "waiting"),)
    pair.run_errands()
    pair.run(2)
    assert len(pair.gateway.live()) == 1


def test_an_eap_handshake_that_never_ends_is_forgotten_in_time() -> None:
    pair = pair_of()
    pair.authority.rounds = 10**9
    pair.deliver = lambda side, d: ONCE if pair.boot_s < 100.5 else LOST
    pair.start()
    pair.run(BY_EAP.half_open_timeout_s + 1)
    assert pair.gateway.endpoint.half_open == 0
    assert [e.why for e in pair.gateway.of(Failed)] == ["no IKE_AUTH"]


@pytest.mark.parametrize("stage", ["in EAP", "after EAP"])
def test_something_else_than_the_next_step_is_refused(stage: str) -> None:
    pair = pair_of()
    spi = pair.start()
    pair.run(0.045 if stage == "in EAP" else 0.105)
    client = pair.client.core(spi)
    pair.deliver = lambda side, d: LOST
    message_id = pair.client.endpoint._sas[spi].requests.next_id
    wrong = [] if stage == "in EAP" else [EapPayload(packet(2, 9, 250, b"x"))]
    pair.wire.clear()
    pair.inject(pair.gateway, sealed(client, ExchangeType.IKE_AUTH, message_id - 1, wrong))
    (event,) = pair.gateway.of(Failed)
    why = {
        "in EAP": "rfc822:alice@example.com goes on without EAP",
        "after EAP": "AUTH of rfc822:alice@example.com isn't by the key of password",
    }
    assert event.why == why[stage]


def test_a_peer_that_shows_a_key_is_not_one_for_eap() -> None:
    pair = pair_of(peer=PEER)
    said, _ = failed(pair)
    assert "begins with psk" in said[0]


def test_a_gateway_that_proves_nothing_before_eap_is_not_believed() -> None:
    pair = pair_of(ALONE, replace(EAP_PEER, remote_auth=Method.CERTIFICATE))
    spi = pair.start()
    pair.run(0.025)
    pair.wire.clear()
    gateway = pair.gateway.core(pair.other_end(spi))
    naked = [GATEWAY_ID, EapPayload(packet(1, 1, 250, b"password?"))]
    pair.inject(pair.client, sealed(gateway, ExchangeType.IKE_AUTH, 1, naked, response=True))
    assert [e.why for e in pair.client.of(Failed)] == ["the gateway answered no AUTH"]


# -- EAP alone (RFC 5998) -----------------------------------------------------------------------


def test_eap_alone_leaves_auth_and_certificates_of_the_gateway_out() -> None:
    pair = pair_of(ALONE, ALONE_PEER)
    pair.agree(pair.connect())
    said = [kinds(message) for message in talk(pair)]
    assert said[0] == [
        "IDi", "IDr", "EAP_ONLY_AUTHENTICATION", "TICKET_REQUEST", "SA", "TSi", "TSr",
    ]  # fmt: skip
    assert said[1] == ["IDr", "EAP"]
    assert pair.authority.checked == []


def test_a_gateway_that_does_not_want_it_proves_itself_and_that_is_verified() -> None:
    pair = pair_of(BY_EAP, ALONE_PEER)
    pair.agree(pair.connect())
    assert kinds(talk(pair)[1]) == ["IDr", "CERT", "AUTH", "EAP"]
    assert [errand.is_gateway for errand in pair.authority.checked] == [True]
    pair = pair_of(BY_EAP, ALONE_PEER)
    pair.authority.trusted.clear()
    pair.connect()
    assert pair.client.live() == []


def test_a_peer_that_does_not_ask_for_it_gets_the_gateways_proof() -> None:
    pair = pair_of(ALONE, EAP_PEER)
    pair.agree(pair.connect())
    assert kinds(talk(pair)[1]) == ["IDr", "CERT", "AUTH", "EAP"]


@pytest.mark.parametrize("lack", ["key", "safety"])
def test_eap_alone_wants_a_method_that_proves_both_sides(lack: str) -> None:
    pair = pair_of(ALONE, ALONE_PEER)
    pair.authority.makes_key = lack != "key"
    pair.authority.is_safe = lack != "safety"
    said, _ = failed(pair)
    assert said == ["EAP: password of rfc822:alice@example.com can't prove both sides"]


@pytest.mark.parametrize("lack", ["key", "safety"])
def test_a_client_wants_that_too(lack: str) -> None:
    pair = pair_of(ALONE, ALONE_PEER)
    respond = pair.authority._respond

    def unsafe(step):
        stepped = respond(step)
        if stepped.done is None:
            return stepped
        done = replace(stepped.done, is_safe=lack == "key", msk=None)
        return replace(stepped, done=done)

    pair.authority._respond = unsafe  # type: ignore[method-assign]
    pair.connect()
    assert [e.why for e in pair.client.of(Failed)] == ["EAP: password can't prove both sides"]


def test_a_resumption_says_nothing_of_eap_and_needs_none() -> None:
    pair = pair_of(ALONE, ALONE_PEER)  # RFC 5998 3
    pair.connect()
    began = len(pair.authority.began)
    pair.resume()
    (core,) = pair.gateway.live()
    assert core.resumed
    assert len(pair.authority.began) == began
    asked = opened(pair.client.live()[-1], pair.client.octets()[-1])
    assert "EAP_ONLY_AUTHENTICATION" not in kinds(asked)
    assert asked.find(AuthPayload) is not None
    assert asked.find(CertPayload) is None


def test_a_ticket_is_refused_once_its_connection_wants_another_proof() -> None:
    pair = pair_of()
    pair.connect()
    ticket = pair.ticket().ticket
    today = replace(CONNECTION, remote_auth=(Method.PSK,))
    other = pair_of(replace(BY_EAP, connections=(today,)))
    other.gateway.endpoint.tickets = pair.gateway.ring
    assert_nacked(other, show(other, ticket), TicketReason.POLICY)
