"""The full handshake, seen from both ends (RFC 7296 1.2, 2.6, 2.7, 2.14, 2.15, 2.21)."""

import pytest

from proto.ike.core import Peer, replace
from proto.ike.enums import ExchangeType, IdType, NotifyType, PayloadType
from proto.ike.events import Dropped, Failed, TicketReceived
from proto.ike.message import decode_clear, encode_clear
from proto.ike.names import parse_suite
from proto.ike.payloads import (
    AuthPayload,
    IdPayload,
    KePayload,
    NoncePayload,
    NotifyPayload,
)
from proto.ike.suite import Suite
from proto.secret import Secret
from tests.pair.craft import first_payloads, opened, sealed
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
            "asks for",
        ),
        (
            replace(PEER, remote_id=IdPayload(PayloadType.IDr, IdType.ID_KEY_ID, GATEWAY_ID.data)),
            "asks for",
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
    assert failed.why.startswith("the gateway's AUTH is wrong")
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
