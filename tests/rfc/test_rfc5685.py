"""RFC 5685 row by row: REDIRECT in both roles. The numbers D… are those of docs/rfc5685.md."""

import pytest

from proto.ike import redirect
from proto.ike.connection import DEFAULT
from proto.ike.core import Peer, SaCore, connections_of, replace
from proto.ike.effects import Path
from proto.ike.enums import FLAG_RESPONSE, ExchangeType, NotifyType
from proto.ike.errors import WireError
from proto.ike.events import Established, Failed, Redirected, TicketReceived
from proto.ike.message import Message, decode_clear, encode_clear
from proto.ike.payloads import NoncePayload, NotifyPayload
from proto.ike.record import decode
from proto.ike.redirect import parse_target
from tests.pair import test_eap
from tests.pair.pair import Pair
from tests.pair.parts import BOB_PSK, CLIENT, GATEWAY, PEER, SECOND_GATEWAY, SETTINGS

FOLLOWS = replace(PEER, follows=True)
ELSEWHERE = parse_target(SECOND_GATEWAY[0])
SENDS = replace(SETTINGS, redirect=ELSEWHERE)


def first_request(made: Pair) -> Message:
    return decode_clear(made.client.octets()[0])


def answers(made: Pair) -> list[bytes]:
    return made.gateway.octets()


def gateway_core(made: Pair) -> SaCore:
    (core,) = made.gateway.live()
    return core


@pytest.mark.parametrize("resumed", [False, True])
def test_d1_who_follows_says_so_in_the_first_request(resumed: bool) -> None:
    made = Pair(peer=FOLLOWS)
    made.connect()
    if resumed:
        made.client.sent.clear()
        made.start_resume()
    said = first_request(made).notify(NotifyType.REDIRECT_SUPPORTED)
    assert said is not None
    assert said.data == b""


def test_d2_who_follows_is_remembered_and_so_is_it_by_whoever_adopts() -> None:
    made = Pair(peer=FOLLOWS)
    made.connect()
    assert gateway_core(made).follows
    other = Pair()
    other.connect()
    assert not gateway_core(other).follows
    (record,) = made.chains.records.values()
    heir = made.add_gateway("heir", SECOND_GATEWAY)
    heir.spis.fence = 2
    heir.endpoint.adopt(decode(record), made.now)
    assert heir.live()[0].follows


def test_d3_who_does_not_follow_is_served_and_never_redirected() -> None:
    made = Pair(settings=SENDS)
    spi = made.connect()
    made.agree(spi)
    core = gateway_core(made)
    assert made.gateway.endpoint.redirect(core.spi, ELSEWHERE, made.now) is None
    assert not made.gateway.of(Redirected)


@pytest.mark.parametrize("resumed", [False, True])
def test_d4_d23_the_first_answer_holds_target_and_nonce_and_makes_no_sa(resumed: bool) -> None:
    made = Pair(peer=FOLLOWS)
    made.connect()
    ticket = made.ticket()
    sending = Pair(settings=SENDS, peer=FOLLOWS)
    sending.gateway.ring = made.gateway.ring
    if resumed:
        sending.start_resume(ticket=ticket)
    else:
        sending.start()
    sending.run()
    request, (data,) = first_request(sending), answers(sending)
    answer, nonce = decode_clear(data), request.find(NoncePayload)
    assert nonce is not None
    assert (answer.header.exchange, answer.header.spi_r) == (request.header.exchange, bytes(8))
    octets = bytes((1, 4, 192, 0, 2, 3)) + nonce.data
    assert answer.payloads == (NotifyPayload(NotifyType.REDIRECT, octets),)
    assert not sending.gateway.endpoint.spis()
    assert not sending.client.endpoint.spis()
    assert [e.target for e in sending.client.of(Redirected)] == [SECOND_GATEWAY[0]]
    assert [e.target for e in sending.gateway.of(Redirected)] == [SECOND_GATEWAY[0]]


@pytest.mark.parametrize("nonce", [b"", bytes(16), bytes(32)])
def test_d5_a_redirect_without_our_nonce_is_ignored_and_the_genuine_answer_taken(
    nonce: bytes,
) -> None:
    made = Pair(peer=FOLLOWS)
    spi = made.start()
    forged = encode_clear(
        spi, bytes(8), ExchangeType.IKE_SA_INIT, FLAG_RESPONSE, 0,
        (redirect.redirect(parse_target("203.0.113.66"), nonce),),
    )  # fmt: skip
    made.inject(made.client, forged, GATEWAY)
    assert not made.client.of(Redirected)
    made.run()
    made.agree(spi)


@pytest.mark.parametrize("resumed", [False, True])
def test_d7_d8_the_next_gateway_is_told_who_has_sent_us_and_may_send_us_on(resumed: bool) -> None:
    made = Pair(peer=FOLLOWS)
    made.connect()
    sent = replace(FOLLOWS, redirected_from="192.0.2.1")
    made.client.sent.clear()
    if resumed:
        made.start_resume(peer=sent)
    else:
        made.start(peer=sent)
    request = first_request(made)
    told = request.notify(NotifyType.REDIRECTED_FROM)
    assert told is not None
    assert told.data == bytes((1, 4, 192, 0, 2, 1))
    assert request.notify(NotifyType.REDIRECT_SUPPORTED) is None
    assert redirect.follows(request)  # so the second hop is possible
    on = Pair(settings=SENDS, peer=sent)
    on.start()
    on.run()
    assert on.client.of(Redirected)


def test_d21_a_gateway_does_not_send_back_to_whom_a_client_comes_from() -> None:
    sent = replace(FOLLOWS, redirected_from=SECOND_GATEWAY[0])
    made = Pair(settings=SENDS, peer=sent)
    spi = made.connect()
    made.agree(spi)


def test_d10_at_an_anycast_address_clients_are_redirected_and_at_others_served() -> None:
    settings = replace(SETTINGS, redirect=parse_target("192.0.2.1"), redirect_at=("192.0.2.99",))
    made = Pair(settings=settings, peer=FOLLOWS)
    made.agree(made.connect())
    made.client.sent.clear()
    made.start()
    anycast = Path(("192.0.2.99", 500), CLIENT)
    outcome = made.gateway.endpoint.receive(made.client.octets()[0], anycast, made.now)
    (datagram,) = outcome.send
    assert decode_clear(datagram.data).notify(NotifyType.REDIRECT) is not None
    assert datagram.path == anycast


def test_d11_d12_an_active_session_is_sent_away_without_a_nonce_and_lives_on() -> None:
    made = Pair(peer=FOLLOWS)
    spi = made.connect()
    core = gateway_core(made)
    made.carry_out(made.gateway, made.gateway.endpoint.redirect(core.spi, ELSEWHERE, made.now))
    made.run()
    assert [e.target for e in made.client.of(Redirected)] == [SECOND_GATEWAY[0]]
    assert redirect.redirect(ELSEWHERE).data == bytes((1, 4, 192, 0, 2, 3))
    made.agree(spi)  # whether and when it is deleted, the client decides (D13)


def test_d24_a_client_does_not_redirect_its_gateway() -> None:
    made = Pair(peer=FOLLOWS)
    spi = made.connect()
    assert made.client.endpoint.redirect(spi, ELSEWHERE, made.now) is None
    outcome = made.client.endpoint._on_sa(
        spi, made.now, lambda sa, ctx: sa.ask((redirect.redirect(ELSEWHERE),), ctx)
    )
    made.carry_out(made.client, outcome)
    made.run()
    assert not made.gateway.of(Redirected)
    made.agree(spi)


def sent_away(peer: Peer = FOLLOWS) -> Pair:
    """A gateway that redirects whoever has proven himself."""
    everybody = connections_of(SETTINGS).named(DEFAULT)
    assert everybody is not None
    moved = replace(everybody, redirect=ELSEWHERE)
    return Pair(settings=replace(SETTINGS, connections=(moved,)), peer=peer)


def test_d15_after_authentication_the_answer_holds_the_target_and_no_child_sa() -> None:
    made = sent_away()
    spi = made.connect()
    assert made.client.core(spi).children == gateway_core(made).children == ()
    assert [type(e) for e in made.client.events] == [Established, Redirected]
    assert not made.client.of(TicketReceived)
    assert [type(e) for e in made.gateway.events] == [Established, Redirected]
    write = made.chains.writes[-1]
    assert write.expires_wall_s <= made.now.wall_s + 31
    made.run(40)
    assert not made.gateway.live()  # it doesn't wait for its Delete for ever (D14)


def test_d18_with_eap_the_last_answer_alone_holds_the_target() -> None:
    moved = replace(test_eap.CONNECTION, redirect=ELSEWHERE)
    peer = replace(test_eap.EAP_PEER, follows=True)
    made = test_eap.pair_of(replace(test_eap.BY_EAP, connections=(moved,)), peer)
    made.connect()
    answers = [test_eap.kinds(message) for message in test_eap.talk(made)[1::2]]
    assert ["REDIRECT" in kinds for kinds in answers] == [False] * (len(answers) - 1) + [True]
    assert made.client.of(Redirected)


def test_d15_who_cannot_prove_himself_learns_no_target() -> None:
    made = sent_away(replace(FOLLOWS, psk=BOB_PSK))
    made.connect()
    assert not made.client.of(Redirected)
    assert not made.gateway.of(Redirected)


def test_d3_who_does_not_follow_is_served_after_authentication_too() -> None:
    made = sent_away(PEER)
    spi = made.connect()
    made.agree(spi)
    assert gateway_core(made).children


def test_d16_a_gateway_that_cannot_prove_itself_sends_nobody_away() -> None:
    made = sent_away()
    spi = made.start()
    made.run(0.03)  # IKE_AUTH is on its way
    sa = made.client.endpoint._sas[spi]
    handshake = sa.core.handshake
    assert handshake is not None
    peer = replace(FOLLOWS, psk=BOB_PSK)
    sa.core = replace(sa.core, handshake=replace(handshake, peer=peer))
    made.run()
    assert not made.client.of(Redirected)
    assert made.client.of(Failed)


def test_d17_the_sa_that_nobody_needs_any_more_can_be_deleted() -> None:
    made = sent_away()
    spi = made.connect()
    made.carry_out(made.client, made.client.endpoint.terminate(spi, False, "left", made.now))
    made.run()
    assert not made.gateway.live()
    assert not made.client.live()


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("192.0.2.7", "0104c0000207"),
        ("2001:db8::7", "021020010db8000000000000000000000007"),
        ("gw2.example.com", "030f6777322e6578616d706c652e636f6d"),
    ],
)
def test_d22_three_kinds_of_gateways(text: str, octets: str) -> None:
    target = parse_target(text)
    assert target.encode().hex() == octets
    assert redirect.decode(target.encode() + bytes(16)) == (target, bytes(16))
    assert target.text == text


@pytest.mark.parametrize(
    "octets",
    [
        "", "01", "0104c00002", "0105c000020700", "0103c00002", "0210c0000207", "0300", "0401c0",
        "0001c0", "0302612f", "0302c3a9", "0104c0000207" + "00" * 15, "0104c0000207" + "00" * 257,
    ],
)  # fmt: skip
def test_d22_d23_lengths_that_do_not_fit_are_refused(octets: str) -> None:
    with pytest.raises(WireError):
        redirect.decode(bytes.fromhex(octets))


@pytest.mark.parametrize("text", ["", "a b", "gw/2", "ü.example", "x" * 254])
def test_what_is_no_target_says_what_is(text: str) -> None:
    with pytest.raises(ValueError, match="an address, or a name"):
        parse_target(text)


def test_d25_a_malformed_redirect_on_an_active_session_changes_nothing() -> None:
    made = Pair(peer=FOLLOWS)
    spi = made.connect()
    core = gateway_core(made)
    bad = NotifyPayload(NotifyType.REDIRECT, b"\x01\x09")
    outcome = made.gateway.endpoint._on_sa(core.spi, made.now, lambda sa, ctx: sa.ask((bad,), ctx))
    made.carry_out(made.gateway, outcome)
    made.run()
    assert not made.client.of(Redirected)
    made.agree(spi)
