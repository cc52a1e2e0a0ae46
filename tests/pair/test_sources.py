"""Half-open handshakes are bounded by where they come from; who holds a ticket is served all the
same (RFC 8019 4). B42
"""

import pytest

from proto.ike.core import replace
from proto.ike.effects import Outcome
from proto.ike.enums import ExchangeType, NotifyType
from proto.ike.events import Dropped
from proto.ike.half_open import source_of
from proto.ike.message import decode_clear, encode_clear
from proto.ike.payloads import NotifyPayload
from tests.pair.craft import first_payloads
from tests.pair.pair import Pair, is_response
from tests.pair.parts import SECOND_GATEWAY, SETTINGS

SOFT, HARD = 3, 5
BOUNDED = replace(SETTINGS, cookie_source_threshold=SOFT, half_open_source_max=HARD)


def knock(pair: Pair, number: int, host: str, cookie: bytes = b"", gateway=None) -> Outcome:
    """A first request of somebody at `host`."""
    nonce = number.to_bytes(32, "big")
    payloads = first_payloads(pair, nonce)
    if cookie:
        payloads.insert(0, NotifyPayload(NotifyType.COOKIE, cookie))
    spi = b"%08d" % number
    data = encode_clear(spi, bytes(8), ExchangeType.IKE_SA_INIT, 8, 0, payloads)
    return pair.inject(gateway or pair.gateway, data, (host, 1000 + number))


def cookie_in(outcome: Outcome) -> bytes:
    """What is to be brought, or nothing."""
    wanted = decode_clear(outcome.send[0].data).notify(NotifyType.COOKIE)
    return b"" if wanted is None else wanted.data


@pytest.mark.parametrize(
    ("hosts", "other"),
    [
        (["198.51.100.1"] * 6, "198.51.100.2"),
        ([f"2001:db8:0:1::{n}" for n in range(1, 7)], "2001:db8:0:2::1"),
    ],
    ids=["an IPv4 address", "an IPv6 network"],
)
def test_b42_a_source_with_many_handshakes_gets_cookies_and_then_nothing(
    hosts: list[str], other: str
) -> None:
    pair = Pair(BOUNDED)
    for number, host in enumerate(hosts[:SOFT]):
        assert not cookie_in(knock(pair, number, host))
    for number, host in enumerate(hosts[SOFT:HARD], SOFT):
        wanted = cookie_in(knock(pair, number, host))
        assert wanted
        assert pair.gateway.endpoint.half_open == number
        assert not cookie_in(knock(pair, number, host, wanted))
    refused = knock(pair, HARD, hosts[HARD])
    assert refused == Outcome(events=(Dropped(b"", "source_full"),))
    # others aren't kept out by them
    assert not cookie_in(knock(pair, 100, other))
    assert pair.gateway.endpoint.half_open == HARD + 1


def test_b42_room_that_is_left_is_there_again_whatever_became_of_the_handshake() -> None:
    pair = Pair(BOUNDED)
    pair.connect()  # established: doesn't count
    host = pair.client.address[0]
    for number in range(SOFT):
        assert not cookie_in(knock(pair, number, host))
    assert cookie_in(knock(pair, 50, host))
    pair.run(SETTINGS.half_open_timeout_s + 1)
    assert pair.gateway.endpoint.half_open == 0
    assert not cookie_in(knock(pair, 51, host))
    table = pair.gateway.endpoint._half_open
    assert table.of_source(host) == 1
    pair.run(SETTINGS.half_open_timeout_s + 1)
    assert table._by_source == table._sources == {}


def test_b42_a_ticket_is_served_without_a_cookie_however_many_come_from_there() -> None:
    pair = Pair(replace(BOUNDED, cookie_threshold=0))
    spi = pair.connect()
    pair.agree(spi)
    host = pair.client.address[0]
    for number in range(HARD):
        knock(pair, number, host, cookie_in(knock(pair, number, host)))
    assert knock(pair, 90, host).events == (Dropped(b"", "source_full"),)
    sent = len(pair.gateway.sent)
    spi = pair.resume()
    pair.agree(spi)
    assert pair.gateway.core(pair.other_end(spi)).resumed
    first = next(d for d in pair.gateway.sent[sent:] if is_response(d))
    assert decode_clear(first.data).notify(NotifyType.COOKIE) is None


def test_b13_a_cookie_of_one_member_is_taken_by_another() -> None:
    pair = Pair(replace(BOUNDED, cookie_threshold=0))
    second = pair.add_gateway("second", SECOND_GATEWAY)
    wanted = cookie_in(knock(pair, 1, "198.51.100.1"))
    assert wanted
    assert not cookie_in(knock(pair, 1, "198.51.100.1", wanted, second))
    assert second.endpoint.half_open == 1
    # it is for that address, and for that request
    assert cookie_in(knock(pair, 1, "198.51.100.2", wanted))
    assert cookie_in(knock(pair, 2, "198.51.100.1", wanted, second))


def test_what_somebody_has_to_himself_is_one_source() -> None:
    assert source_of("192.0.2.7") == "192.0.2.7"
    assert source_of("2001:db8::1") == source_of("2001:db8:0:0:ffff::9") == "2001:db8::/64"
    assert source_of("fe80::1%eth0") == "fe80::/64"
