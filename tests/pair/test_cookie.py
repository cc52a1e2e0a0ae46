"""Before there is state: cookies, and groups that weren't the right ones (RFC 7296 1.2, 2.6)."""

import pytest

from proto.ike.core import replace
from proto.ike.effects import Outcome
from proto.ike.enums import ExchangeType, NotifyType
from proto.ike.message import decode_clear, encode_clear
from proto.ike.names import parse_suite
from proto.ike.payloads import (
    KePayload,
    NotifyPayload,
    SaPayload,
)
from tests.pair.craft import first_payloads
from tests.pair.pair import Pair, exchange
from tests.pair.parts import PEER, SETTINGS

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
