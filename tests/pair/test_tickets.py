"""Tickets refused: TICKET_NACK at once, whatever the reason (RFC 5723 4.3.2; a.7 item 2)."""

import pytest

from proto.ike.core import replace
from proto.ike.effects import Path
from proto.ike.enums import NotifyType
from proto.ike.errors import Misuse, TicketReason
from proto.ike.events import (
    Dropped,
    Failed,
    TicketRefused,
)
from proto.ike.message import decode_clear, encode_clear
from proto.ike.payloads import NoncePayload, NotifyPayload, Payload
from proto.secret import Secret
from tests.pair.craft import assert_nacked, show
from tests.pair.pair import LOST, Pair
from tests.pair.parts import (
    CLIENT,
    CLIENT_ID,
    GATEWAY,
    SETTINGS,
    Key,
)


def test_every_flipped_bit_of_a_ticket_is_refused() -> None:
    pair = Pair()  # R20, R47
    pair.connect()
    good = pair.ticket().ticket
    reasons = set()
    for bit in range(8 * len(good)):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        outcome = show(pair, bytes(bad))
        (event,) = outcome.events
        assert isinstance(event, TicketRefused)
        reasons.add(event.reason)
        assert decode_clear(outcome.send[0].data).payloads == (
            NotifyPayload(NotifyType.TICKET_NACK),
        )
    assert reasons == {"malformed", "unknown-key", "forged"}
    assert pair.gateway.endpoint.half_open == 0
    pair.agree(pair.resume())


@pytest.mark.parametrize("octets", [b"", b"\x01", bytes(41), bytes(3000)])
def test_what_is_no_ticket_is_refused(octets: bytes) -> None:
    pair = Pair()
    assert_nacked(pair, show(pair, octets), TicketReason.MALFORMED)


def test_a_resumption_without_a_ticket_is_refused() -> None:
    pair = Pair()
    data = encode_clear(b"12345678", bytes(8), 38, 8, 0, [NoncePayload(b"n" * 32)])
    assert_nacked(pair, pair.inject(pair.gateway, data), TicketReason.MALFORMED)


def test_a_ticket_of_another_cluster_is_refused_though_the_key_is_the_same() -> None:
    other = Pair(replace(SETTINGS, realm=b"another"))
    other.connect()
    pair = Pair()
    assert_nacked(pair, show(pair, other.ticket().ticket), TicketReason.FORGED)


def test_a_ticket_of_an_epoch_given_up_is_refused() -> None:
    other = Pair()
    other.connect()
    pair = Pair(replace(SETTINGS, epoch=1))
    assert_nacked(pair, show(pair, other.ticket().ticket), TicketReason.EPOCH)


def test_an_expired_ticket_is_refused_by_the_gateway_and_not_shown_by_the_client() -> None:
    pair = Pair(replace(SETTINGS, liveness_interval_s=0))  # R12, R51
    pair.connect()
    ticket = pair.ticket()
    path = Path(CLIENT, GATEWAY)
    pair.run(3600)
    with pytest.raises(Misuse, match="expired"):
        pair.client.endpoint.resume(ticket, pair.peer, path, pair.now)
    pair.run(SETTINGS.ticket_skew_s + 1)
    assert_nacked(pair, show(pair, ticket.ticket), TicketReason.EXPIRED)


def test_a_ticket_from_the_future_is_refused() -> None:
    pair = Pair()
    pair.boot_s += 1000
    pair.connect()
    pair.boot_s -= 1000
    assert_nacked(pair, show(pair, pair.ticket().ticket), TicketReason.NOT_YET_VALID)


def test_an_unknown_key_is_looked_for_once_and_then_refused() -> None:
    pair = Pair()
    pair.connect()
    stranger = b"\x01" + b"stranger" + pair.ticket().ticket[9:]
    assert_nacked(pair, show(pair, stranger), TicketReason.UNKNOWN_KEY)
    assert pair.looked_up == [b"stranger"]
    assert pair.gateway.ring.asked[-2:] == [b"stranger"] * 2


def test_a_key_that_the_look_finds_serves_the_ticket() -> None:
    pair = Pair()
    pair.connect()
    ring = pair.gateway.ring
    known, ring.key = ring.key, Key(b"the next", Secret(bytes(32)))
    assert known is not None
    pair.learn = lambda key_id: ring.old.update({key_id: known})
    pair.agree(pair.resume())
    assert list(ring.old) == [known.key_id]


@pytest.mark.parametrize("why", ["psk removed", "suite dropped", "identity changed"])
def test_policy_is_asked_again_at_every_resumption(why: str) -> None:
    pair = Pair()
    pair.connect()
    ticket = pair.ticket().ticket
    if why == "psk removed":
        pair.gateway.psks.known.clear()
    elif why == "suite dropped":
        pair.gateway.endpoint.settings = replace(SETTINGS, suites=SETTINGS.suites[1:])
    else:
        local_id = replace(SETTINGS.local_id, data=b"new.example.com")
        pair.gateway.endpoint.settings = replace(SETTINGS, local_id=local_id)
    assert_nacked(pair, show(pair, ticket), TicketReason.POLICY)


def test_after_a_nack_the_client_waits_a_little_and_then_gives_up() -> None:
    pair = Pair()  # R21
    pair.connect()
    pair.gateway.psks.known.pop(CLIENT_ID.data)
    spi = pair.start_resume()
    pair.run(0.1)
    assert pair.client.of(Failed) == []
    pair.run(0.1)
    assert [event.reason for event in pair.client.of(TicketRefused)] == ["TICKET_NACK"]
    (failed,) = pair.client.of(Failed)
    assert (failed.spi, failed.resumed) == (spi, True)
    assert pair.client.endpoint.find(spi) is None


def test_forged_nacks_without_end_do_not_prolong_the_wait() -> None:
    pair = Pair()
    pair.connect()
    pair.deliver = lambda side, datagram: LOST
    spi = pair.start_resume()
    nack = encode_clear(spi, bytes(8), 38, 0x20, 0, [NotifyPayload(NotifyType.TICKET_NACK)])
    for _ in range(4):
        pair.inject(pair.client, nack)
        pair.run(0.05)
    assert pair.client.endpoint.find(spi) is None
    assert len(pair.client.of(TicketRefused)) == 1


def test_a_full_table_is_silent_to_good_tickets_and_still_says_nack_to_bad_ones() -> None:
    pair = Pair(replace(SETTINGS, half_open_max=1))
    pair.connect()
    ticket = pair.ticket().ticket
    assert len(show(pair, ticket).send) == 1
    payloads: list[Payload] = [
        NoncePayload(b"m" * 32),
        NotifyPayload(NotifyType.TICKET_OPAQUE, ticket),
    ]
    other = encode_clear(b"87654321", bytes(8), 38, 8, 0, payloads)
    assert pair.inject(pair.gateway, other).events == (Dropped(b"", "half_open_full"),)
    payloads[1] = NotifyPayload(NotifyType.TICKET_OPAQUE, ticket[:-1] + b"!")
    other = encode_clear(b"87654321", bytes(8), 38, 8, 0, payloads)
    assert len(pair.inject(pair.gateway, other).send) == 1
    assert pair.gateway.endpoint.half_open == 1
