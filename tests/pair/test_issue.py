"""Tickets asked for, given, and bounded in time (RFC 5723 4.1, 4.2, 6.2)."""

import pytest

from proto.ike.core import SaCore, replace
from proto.ike.enums import NotifyType
from proto.ike.errors import TicketReason
from proto.ike.events import (
    TicketReceived,
)
from tests.pair.craft import assert_nacked, opened, show
from tests.pair.pair import Pair
from tests.pair.parts import (
    SETTINGS,
    WALL_S,
)

TICKET_NOTIFIES = (
    NotifyType.TICKET_LT_OPAQUE,
    NotifyType.TICKET_ACK,
    NotifyType.TICKET_NACK,
)


def ticket_notifies(core: SaCore, data: bytes) -> list[int]:
    """The ticket notifies of an answer."""
    return [n.type for n in opened(core, data).notifies if n.type in TICKET_NOTIFIES]


@pytest.mark.parametrize(
    ("changes", "lifetime_s"),
    [
        ({}, 3600),
        ({"ike_sa_lifetime_s": 600.0}, 600),
        ({"authentication_lifetime_s": 300.0}, 300),
        ({"ticket_lifetime_s": 60.5}, 60),
    ],
)
def test_a_ticket_lives_as_long_as_the_shortest_of_its_bounds(
    changes: dict[str, float], lifetime_s: int
) -> None:
    pair = Pair(replace(SETTINGS, **changes))  # R52, R57, R58
    pair.connect()
    assert abs(pair.ticket().expires_wall_s - (WALL_S + 100 + lifetime_s)) <= 1


def test_no_resumption_moves_the_deadline_of_the_authentication() -> None:
    pair = Pair(replace(SETTINGS, authentication_lifetime_s=1000.0, liveness_interval_s=0))
    pair.connect()  # a.7 item 4
    (core,) = pair.gateway.live()
    deadline = core.auth_deadline_wall_s
    for _ in range(9):
        pair.run(100)
        pair.resume()
        (core,) = pair.gateway.live()
        assert core.auth_deadline_wall_s == deadline
        assert core.expires_wall_s <= deadline
        assert pair.ticket().expires_wall_s <= deadline + 1
    ticket = pair.ticket().ticket
    pair.run(200)
    assert_nacked(pair, show(pair, ticket), TicketReason.EXPIRED)
    assert pair.gateway.live() == []


def test_a_ticket_is_to_be_had_by_informational_too() -> None:
    pair = Pair()  # R1
    spi = pair.connect()
    pair.carry_out(pair.client, pair.client.endpoint.request_ticket(spi, pair.now))
    pair.run()
    core = pair.gateway.core(pair.other_end(spi))
    assert ticket_notifies(core, pair.gateway.sent[-1].data) == [NotifyType.TICKET_LT_OPAQUE]
    first, fresh = (event.ticket for event in pair.client.of(TicketReceived))
    assert first.ticket != fresh.ticket
    pair.agree(pair.resume(ticket=fresh))
    # both named one generation of the chain: the other one is spent with it
    pair.resume(ticket=first)
    assert len(pair.gateway.live()) == 1


def test_a_gateway_does_not_ask_and_a_client_does_not_give() -> None:
    pair = Pair()  # R2
    spi = pair.connect()
    outcome = pair.gateway.endpoint.request_ticket(pair.other_end(spi), pair.now)
    assert outcome is None
    assert len(pair.gateway.sent) == 2


def test_without_a_key_to_seal_with_the_handshake_goes_on_and_says_nack() -> None:
    pair = Pair()  # R4, R6
    pair.gateway.ring.key = None
    spi = pair.connect()
    pair.agree(spi)
    core = pair.gateway.core(pair.other_end(spi))
    assert ticket_notifies(core, pair.gateway.sent[-1].data) == [NotifyType.TICKET_NACK]
    assert pair.client.of(TicketReceived) == []
    pair.carry_out(pair.client, pair.client.endpoint.request_ticket(spi, pair.now))
    pair.run()
    assert ticket_notifies(core, pair.gateway.sent[-1].data) == [NotifyType.TICKET_NACK]


def test_nobody_who_did_not_ask_gets_a_ticket_notify() -> None:
    pair = Pair()  # R4
    spi = pair.connect()
    pair.carry_out(pair.client, pair.client.endpoint.probe(spi, pair.now))
    pair.run()
    core = pair.gateway.core(pair.other_end(spi))
    assert opened(core, pair.gateway.sent[-1].data).payloads == ()
