"""What the cluster knows against a ticket that opens: refused before any work, or asked about once.

R14, R76, R80.
"""

import pytest

from proto.ike.effects import Outcome, Path, PersistKind
from proto.ike.enums import NotifyType
from proto.ike.errors import TicketReason
from proto.ike.events import Established, TicketRefused
from proto.ike.message import decode_clear, peek
from proto.ike.payloads import NotifyPayload
from proto.ike.refusals import Used
from proto.ike.ticket import TicketBody
from tests.pair.pair import Pair
from tests.pair.parts import CLIENT, GATEWAY


class Against:
    """What is known, in the test's hand."""

    def __init__(self) -> None:
        self.void = False
        self.use = Used.NO
        self.asked: list[TicketBody] = []

    def revoked(self, body: TicketBody) -> bool:
        self.asked.append(body)
        return self.void

    def used(self, body: TicketBody) -> Used:
        return self.use


class Told(Pair):
    """A pair whose gateway has something to ask, and a request with a valid ticket."""

    def __init__(self) -> None:
        super().__init__()
        self.against = self.gateway.endpoint.refusals = Against()
        self.connect()
        spi = self.start_resume()
        self.spi, self.request = spi, self.client.octets()[-1]

    def offer(self, *, used: bool | None = None) -> Outcome:
        """The request at the gateway, which must not have seen it."""
        way = Path(GATEWAY, CLIENT)
        return self.gateway.endpoint.receive(self.request, way, self.now, True, used)


def nacked(outcome: Outcome, reason: TicketReason) -> bool:
    """TICKET_NACK and nothing else, for this reason."""
    (event,) = outcome.events
    (sent,) = outcome.send
    message = decode_clear(sent.data, peek(sent.data))
    assert message.payloads == (NotifyPayload(NotifyType.TICKET_NACK),)
    return isinstance(event, TicketRefused) and event.reason == reason.value


def test_a_revoked_ticket_gets_ticket_nack_and_no_state() -> None:
    pair = Told()
    pair.against.void = True
    assert nacked(pair.offer(), TicketReason.REVOKED)
    assert pair.gateway.endpoint.half_open == 0
    assert pair.against.asked[-1].identity == pair.gateway.live()[0].identity


def test_a_ticket_that_was_surely_used_gets_ticket_nack() -> None:
    pair = Told()
    pair.against.use = Used.YES
    assert nacked(pair.offer(), TicketReason.REUSED)
    assert pair.gateway.endpoint.half_open == 0


def test_a_ticket_that_may_have_been_used_is_asked_about_and_nothing_is_said_before() -> None:
    pair = Told()
    pair.against.use = Used.MAYBE
    outcome = pair.offer()
    assert (outcome.send, outcome.events, outcome.persist) == ((), (), None)
    assert outcome.confirm == pair.against.asked[-1]
    assert pair.gateway.endpoint.half_open == 0
    assert nacked(pair.offer(used=True), TicketReason.REUSED)


def test_a_false_positive_costs_the_question_alone() -> None:
    pair = Told()
    pair.against.use = Used.MAYBE
    outcome = pair.offer(used=False)
    assert outcome.confirm is None
    assert pair.gateway.endpoint.half_open == 1
    pair.run()  # the client's own datagram is a repeat now, and is answered
    assert pair.gateway.of(Established)[-1].resumed
    assert pair.client.core(pair.spi).resumed


@pytest.mark.parametrize("use", [Used.YES, Used.MAYBE])
def test_revocation_is_looked_at_first(use: Used) -> None:
    pair = Told()
    pair.against.void, pair.against.use = True, use
    assert nacked(pair.offer(), TicketReason.REVOKED)


def test_a_redemption_says_what_it_uses_up_and_whose_it_is() -> None:
    pair = Told()
    pair.run()
    made, redeemed = pair.chains.writes[0], pair.chains.writes[-1]
    assert (made.kind, made.redeems) == (PersistKind.CREATE, None)
    assert redeemed.kind is PersistKind.REDEEM
    assert redeemed.redeems == pair.against.asked[-1]
    assert made.identity == redeemed.identity == pair.against.asked[-1].identity
    assert made.authenticated_wall_s == redeemed.authenticated_wall_s > 0
