"""The full handshake, seen from both ends (RFC 7296 1.2, 2.6, 2.7, 2.14, 2.15, 2.21)."""

import pytest

from proto.ike.core import Peer, replace
from proto.ike.effects import Outcome
from proto.ike.enums import ExchangeType, IdType, NotifyType, PayloadType
from proto.ike.events import Dropped, Failed, TicketReceived
from proto.ike.message import decode_clear, encode_clear
from proto.ike.payloads import (
    AuthPayload,
    IdPayload,
    KePayload,
    NoncePayload,
    NotifyPayload,
    SaPayload,
)
from proto.ike.suite import Suite, parse_suite
from proto.secret import Secret
from tests.pair.craft import opened, sealed
from tests.pair.pair import Pair, exchange, is_response
from tests.pair.parts import BOB_ID, GATEWAY_ID, PEER, SETTINGS

ALL_SUITES = [
    *SETTINGS.suites,
    *map(
        parse_suite,
        (
            "aes128gcm16-prfsha256-x25519",
            "aes256gcm16-prfsha512-ecp256",
            "aes128-sha384-prfsha384-ecp384",
            "aes192-sha512-prfsha512-ecp256",
        ),
    ),
]


def flood(pair: Pair, count: int) -> list[Outcome]:
    """`count` first requests of peers that never come back."""
    outcomes = []
    for number in range(count):
        data = encode_clear(
            (1000 + number).to_bytes(8, "big"), bytes(8), ExchangeType.IKE_SA_INIT, 8, 0,
            first_payloads(pair, b"%032d" % number),
        )  # fmt: skip
        outcomes.append(pair.inject(pair.gateway, data, ("198.51.100.7", 4000 + number)))
    return outcomes


def first_payloads(pair: Pair, nonce: bytes) -> list[SaPayload | KePayload | NoncePayload]:
    """SA, KE and Ni as a client of this pair sends them."""
    other = Pair(pair.settings, pair.peer)
    other.start()
    asked = decode_clear(other.client.sent[0].data)
    offer, ke = asked.find(SaPayload), asked.find(KePayload)
    assert offer is not None
    assert ke is not None
    return [offer, ke, NoncePayload(nonce)]


@pytest.mark.parametrize("suite", ALL_SUITES, ids=str)
def test_every_suite_makes_an_sa_that_both_ends_agree_on(suite: Suite) -> None:
    pair = Pair(replace(SETTINGS, suites=(suite,)), replace(PEER, suites=(suite,)))
    spi = pair.connect()
    pair.agree(spi)
    assert pair.client.core(spi).suite == suite
    assert [exchange(d) for d in pair.client.sent] == [
        ExchangeType.IKE_SA_INIT,
        ExchangeType.IKE_AUTH,
    ]
    assert len(pair.gateway.sent) == 2
    assert len(pair.client.of(TicketReceived)) == 1


def test_the_gateways_preference_decides_among_what_the_client_offers() -> None:
    pair = Pair(peer=replace(PEER, suites=tuple(reversed(SETTINGS.suites))))
    spi = pair.connect()
    pair.agree(spi)
    assert pair.client.core(spi).suite == SETTINGS.suites[0]


def test_message_ids_begin_at_0_and_the_flags_say_who_began() -> None:
    pair = Pair()  # B2, B8, R29
    pair.connect()
    heads = [(d.data[19], int.from_bytes(d.data[20:24], "big")) for d in pair.client.sent]
    assert heads == [(0x08, 0), (0x08, 1)]
    heads = [(d.data[19], int.from_bytes(d.data[20:24], "big")) for d in pair.gateway.sent]
    assert heads == [(0x20, 0), (0x20, 1)]


def test_below_the_threshold_nobody_needs_a_cookie() -> None:
    pair = Pair(replace(SETTINGS, cookie_threshold=1))
    pair.connect()
    assert len(pair.client.sent) == 2


def test_from_the_threshold_on_a_cookie_is_asked_for_and_no_state_kept_before_it() -> None:
    pair = Pair(replace(SETTINGS, cookie_threshold=3))  # B13
    flood(pair, 50)
    assert pair.gateway.endpoint.half_open == 3
    spi = pair.connect()
    pair.agree(spi)
    first, again = (decode_clear(d.data) for d in pair.client.sent[:2])
    asked = decode_clear(pair.gateway.sent[-3].data)
    assert [n.type for n in asked.notifies] == [NotifyType.COOKIE]
    assert asked.header.spi_r == bytes(8)
    # the cookie first, everything else unchanged
    assert again.payloads == (asked.payloads[0], *first.payloads)


def test_a_wrong_cookie_counts_as_none() -> None:
    pair = Pair(replace(SETTINGS, cookie_threshold=0))  # B13
    payloads = first_payloads(pair, b"n" * 32)
    wrong = NotifyPayload(NotifyType.COOKIE, bytes(17))
    for cookie in (wrong, NotifyPayload(NotifyType.COOKIE, b""), None):
        brought = [] if cookie is None else [cookie]
        data = encode_clear(
            b"12345678", bytes(8), ExchangeType.IKE_SA_INIT, 8, 0, [*brought, *payloads]
        )
        pair.inject(pair.gateway, data)
        answer = decode_clear(pair.gateway.sent[-1].data)
        assert [n.type for n in answer.notifies] == [NotifyType.COOKIE]
    assert pair.gateway.endpoint.half_open == 0
    assert len({d.data for d in pair.gateway.sent}) == 1


def test_a_cookie_is_good_at_another_gateway_and_from_another_port_but_not_another_address() -> (
    None
):
    pair = Pair(replace(SETTINGS, cookie_threshold=0))
    second = pair.add_gateway("second", ("192.0.2.3", 500))
    payloads = first_payloads(pair, b"n" * 32)
    data = encode_clear(b"12345678", bytes(8), ExchangeType.IKE_SA_INIT, 8, 0, payloads)
    pair.inject(pair.gateway, data)
    cookie = decode_clear(pair.gateway.sent[0].data).payloads[0]
    data = encode_clear(b"12345678", bytes(8), ExchangeType.IKE_SA_INIT, 8, 0, [cookie, *payloads])
    pair.inject(second, data, ("198.51.100.1", 4500))
    assert second.endpoint.half_open == 0
    pair.inject(second, data, ("192.0.2.2", 4501))
    assert second.endpoint.half_open == 1


@pytest.mark.parametrize("octets", [0, 65, 60_000])
def test_a_cookie_of_impossible_length_is_not_followed(octets: int) -> None:
    pair = Pair()  # B13: 1 to 64 octets
    pair.deliver = lambda side, datagram: ()
    spi = pair.start()
    forged = encode_clear(
        spi, bytes(8), ExchangeType.IKE_SA_INIT, 0x20, 0,
        [NotifyPayload(NotifyType.COOKIE, bytes(octets))],
    )  # fmt: skip
    pair.inject(pair.client, forged)
    assert len(pair.client.sent) == 1


def test_invalid_ke_payload_is_followed_with_the_full_proposal_list_again() -> None:
    suites = (SETTINGS.suites[1], SETTINGS.suites[0])  # B15
    pair = Pair(replace(SETTINGS, suites=SETTINGS.suites[:1]), replace(PEER, suites=suites))
    spi = pair.connect()
    pair.agree(spi)
    first, again = (decode_clear(d.data) for d in pair.client.sent[:2])
    refusal = decode_clear(pair.gateway.sent[0].data)
    assert refusal.payloads == (NotifyPayload(NotifyType.INVALID_KE_PAYLOAD, b"\x00\x1f"),)
    assert again.find(SaPayload) == first.find(SaPayload)
    before, after = first.find(KePayload), again.find(KePayload)
    assert before is not None
    assert after is not None
    assert (before.group, after.group) == (19, 31)


def test_invalid_ke_payload_works_together_with_a_cookie() -> None:
    suites = (SETTINGS.suites[1], SETTINGS.suites[0])  # RFC 7296 2.6.1
    settings = replace(SETTINGS, suites=SETTINGS.suites[:1], cookie_threshold=0)
    pair = Pair(settings, replace(PEER, suites=suites))
    spi = pair.connect()
    pair.agree(spi)
    kinds = [exchange(d) for d in pair.client.sent]
    assert kinds.count(ExchangeType.IKE_SA_INIT) == 3
    assert pair.gateway.endpoint.half_open == 0


def test_a_group_that_was_not_offered_is_not_followed() -> None:
    pair = Pair()
    pair.deliver = lambda side, datagram: ()
    spi = pair.start()
    wanted = NotifyPayload(NotifyType.INVALID_KE_PAYLOAD, (20).to_bytes(2, "big"))
    forged = encode_clear(spi, bytes(8), ExchangeType.IKE_SA_INIT, 0x20, 0, [wanted])
    pair.inject(pair.client, forged)
    assert len(pair.client.sent) == 1


def test_forged_cookies_without_end_are_followed_a_few_times_only() -> None:
    pair = Pair()  # B13: limits on the initiator
    pair.deliver = lambda side, datagram: ()
    spi = pair.start()
    for number in range(50):
        cookie = NotifyPayload(NotifyType.COOKIE, bytes((number,)) * 8)
        forged = encode_clear(spi, bytes(8), ExchangeType.IKE_SA_INIT, 0x20, 0, [cookie])
        pair.inject(pair.client, forged)
    assert 2 <= len(pair.client.sent) <= 8


def test_nothing_in_common_is_refused_and_believed_only_when_nothing_better_comes() -> None:
    pair = Pair(peer=replace(PEER, suites=(parse_suite("aes128-sha256-prfsha256-ecp256"),)))
    pair.connect()  # B33
    refusal = decode_clear(pair.gateway.sent[0].data)
    assert refusal.payloads == (NotifyPayload(NotifyType.NO_PROPOSAL_CHOSEN),)
    assert refusal.header.spi_r == bytes(8)
    assert pair.client.of(Failed) == []
    pair.run(60)
    (failed,) = pair.client.of(Failed)
    assert str(int(NotifyType.NO_PROPOSAL_CHOSEN)) in failed.why
    assert pair.gateway.endpoint.spis() == pair.client.endpoint.spis() == []


def test_a_forged_refusal_does_not_stop_a_handshake_that_goes_on() -> None:
    pair = Pair()
    spi = pair.start()
    refusal = [NotifyPayload(NotifyType.NO_PROPOSAL_CHOSEN)]
    forged = encode_clear(spi, bytes(8), ExchangeType.IKE_SA_INIT, 0x20, 0, refusal)
    pair.inject(pair.client, forged)
    pair.run()
    pair.agree(spi)


@pytest.mark.parametrize(
    ("peer", "why"),
    [
        (replace(PEER, psk=Secret(b"not the key of this peer at all")), "wrong shared key"),
        (replace(PEER, local_id=BOB_ID), "no shared key"),
        (
            replace(PEER, remote_id=IdPayload(PayloadType.IDr, IdType.ID_FQDN, b"other.example")),
            "asked for",
        ),
        (
            replace(PEER, remote_id=IdPayload(PayloadType.IDr, IdType.ID_KEY_ID, GATEWAY_ID.data)),
            "asked for",
        ),
    ],
    ids=["wrong-psk", "unknown-identity", "wrong-idr", "idr-of-another-type"],
)
def test_a_failed_authentication_is_told_inside_sk_and_nothing_is_durable(
    peer: Peer, why: str
) -> None:
    pair = Pair(peer=peer)  # RFC 7296 2.21.2
    spi = pair.start()
    pair.run(0.035)
    half_open = pair.gateway.core(pair.other_end(spi))
    pair.run()
    answer = opened(half_open, pair.gateway.sent[-1].data)
    assert answer.payloads == (NotifyPayload(NotifyType.AUTHENTICATION_FAILED),)
    assert pair.chains.writes == []
    assert pair.gateway.kernel == pair.client.kernel == []
    assert pair.client.of(TicketReceived) == []
    (refused,), (failed,) = pair.gateway.of(Failed), pair.client.of(Failed)
    assert why in refused.why
    assert "AUTHENTICATION_FAILED" in failed.why
    pair.run(60)
    assert pair.gateway.endpoint.spis() == pair.client.endpoint.spis() == []


@pytest.mark.parametrize("resumed", [False, True])
def test_a_gateway_that_proves_nothing_is_not_believed_and_its_ticket_not_kept(
    resumed: bool,
) -> None:
    pair = Pair()  # R7
    if resumed:
        pair.connect()
    kept = len(pair.client.of(TicketReceived))
    pair.deliver = lambda side, d: () if is_response(d) and exchange(d) == 35 else (0.0,)
    spi = pair.start_resume() if resumed else pair.start()
    pair.run()
    gateway = pair.gateway.core(pair.other_end(spi))
    answer = opened(gateway, pair.gateway.sent[-1].data)
    assert answer.notify(NotifyType.TICKET_LT_OPAQUE) is not None
    forged = [
        AuthPayload(p.method, bytes(len(p.data))) if isinstance(p, AuthPayload) else p
        for p in answer.payloads
    ]
    pair.inject(pair.client, sealed(gateway, ExchangeType.IKE_AUTH, 1, forged, response=True))
    (failed,) = pair.client.of(Failed)
    assert failed.why == "the gateway's AUTH is wrong"
    assert len(pair.client.of(TicketReceived)) == kept
    assert pair.client.endpoint.find(spi) is None


def test_an_init_without_sa_or_with_a_point_off_the_curve_gets_one_stateless_answer() -> None:
    pair = Pair()
    offer, ke, nonce = first_payloads(pair, b"n" * 32)
    assert isinstance(ke, KePayload)
    zero = KePayload(ke.group, bytes(32))
    for payloads in (
        [nonce],
        [offer, nonce],
        [offer, zero, nonce],
        [offer, KePayload(31, b"x"), nonce],
    ):
        data = encode_clear(b"12345678", bytes(8), ExchangeType.IKE_SA_INIT, 8, 0, payloads)
        outcome = pair.inject(pair.gateway, data)
        assert len(outcome.send) == 1
        assert decode_clear(outcome.send[0].data).payloads == (
            NotifyPayload(NotifyType.INVALID_SYNTAX),
        )
    assert pair.gateway.endpoint.spis() == []


@pytest.mark.parametrize("octets", [15, 257])
def test_a_nonce_of_impossible_length_gets_silence(octets: int) -> None:
    pair = Pair()  # B16
    offer, ke, nonce = first_payloads(pair, b"n" * 32)
    good = encode_clear(b"12345678", bytes(8), ExchangeType.IKE_SA_INIT, 8, 0, [offer, ke, nonce])
    other = encode_clear(
        b"12345678", bytes(8), ExchangeType.IKE_SA_INIT, 8, 0,
        [offer, ke, NoncePayload(bytes(octets))],
    )  # fmt: skip
    assert pair.inject(pair.gateway, other).events == (Dropped(b"", "malformed"),)
    assert len(pair.inject(pair.gateway, good).send) == 1


def test_two_clients_behind_one_address_with_one_spi_are_told_apart_by_their_nonces() -> None:
    pair = Pair()  # B7
    answers = []
    for nonce in (b"a" * 32, b"b" * 32, b"a" * 32):
        payloads = first_payloads(pair, nonce)
        data = encode_clear(b"12345678", bytes(8), ExchangeType.IKE_SA_INIT, 8, 0, payloads)
        answers.append(pair.inject(pair.gateway, data).send[0].data)
    assert answers[0] == answers[2] != answers[1]
    assert answers[0][8:16] != answers[1][8:16]
    assert pair.gateway.endpoint.half_open == 2


def test_nobody_answers_a_first_request_while_no_shard_is_owned() -> None:
    pair = Pair()
    pair.gateway.spis.owns_a_shard = False
    pair.start()
    pair.run(60)
    assert pair.gateway.sent == []
    assert {event.reason for event in pair.gateway.of(Dropped)} == {"no_shard"}
    assert len(pair.client.of(Failed)) == 1
    assert not any(is_response(d) for d in pair.client.sent)
