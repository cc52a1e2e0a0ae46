"""A ticket makes one SA, whoever is offered it and when; what fails spends nothing."""

import pytest

from proto.ike.core import replace
from proto.ike.enums import NotifyType
from proto.ike.events import (
    Established,
    Failed,
)
from proto.ike.payloads import NotifyPayload
from tests.pair.craft import opened
from tests.pair.pair import LOST, ONCE, Pair, exchange
from tests.pair.parts import (
    BOB_ID,
    BOB_PSK,
    GATEWAY,
    PEER,
    SECOND_GATEWAY,
)


def test_a_second_use_is_refused_inside_sk_and_makes_no_sa() -> None:
    pair = Pair()  # R14
    second = pair.add_gateway("second", SECOND_GATEWAY)
    pair.connect()
    ticket = pair.ticket()
    live = pair.resume(ticket=ticket)
    for gateway in (pair.gateway, second):
        established = len(gateway.of(Established))
        spi = pair.start_resume(gateway.address, ticket=ticket)
        pair.run(0.025)
        half_open = gateway.core(pair.other_end(spi))
        pair.run()
        answer = opened(half_open, gateway.sent[-1].data)
        assert answer.payloads == (NotifyPayload(NotifyType.AUTHENTICATION_FAILED),)
        assert len(gateway.of(Established)) == established
        assert pair.client.endpoint.find(spi) is None
        assert gateway.of(Failed)[-1].resumed
    pair.agree(live)
    assert pair.check == []


@pytest.mark.parametrize("first", ["gateway", "second"])
def test_two_gateways_at_the_same_instant_make_exactly_one_sa(first: str) -> None:
    pair = Pair()  # promise 3
    second = pair.add_gateway("second", SECOND_GATEWAY)
    pair.connect()
    ticket, before = pair.ticket(), len(pair.client.of(Established))
    pair.hold_writes = True
    spis = [pair.start_resume(to, ticket=ticket) for to in (GATEWAY, SECOND_GATEWAY)]
    pair.run()
    assert [side.name for side, _ in pair.held] == ["gateway", "second"]
    assert len(pair.client.of(Established)) == before
    if first == "second":
        pair.held.reverse()
    pair.release()
    pair.run()
    made = [e for side in (pair.gateway, second) for e in side.of(Established) if e.resumed]
    assert len(made) == 1
    assert sum(pair.client.endpoint.find(spi) is not None for spi in spis) == 1
    assert len(pair.client.of(Established)) == before + 1
    assert len(pair.chains.records) == 1
    assert pair.check == []


def test_a_lost_refusal_is_said_again_with_the_same_octets() -> None:
    pair = Pair()  # B6
    pair.connect()
    ticket = pair.ticket()
    pair.resume(ticket=ticket)
    sent = len(pair.gateway.sent)
    lose = iter([True])
    pair.deliver = lambda side, d: (
        LOST if side is pair.gateway and exchange(d) == 35 and next(lose, False) else ONCE
    )
    pair.resume(ticket=ticket)
    assert len({d.data for d in pair.gateway.sent[sent + 1 :]}) == 1
    assert len(pair.gateway.sent[sent + 1 :]) == 2
    assert "AUTHENTICATION_FAILED" in pair.client.of(Failed)[-1].why
    pair.run(30)
    assert len(pair.gateway.endpoint.spis()) == 1


def test_another_idi_than_the_tickets_is_refused_and_the_ticket_unspent() -> None:
    pair = Pair()  # R33
    pair.gateway.psks.known[BOB_ID.data] = BOB_PSK
    pair.connect()
    ticket, writes = pair.ticket(), len(pair.chains.writes)
    pair.resume(peer=replace(PEER, local_id=BOB_ID, psk=BOB_PSK), ticket=ticket)
    assert pair.gateway.of(Failed)[-1].why == "IDi isn't the ticket's"
    assert len(pair.chains.writes) == writes
    pair.agree(pair.resume(ticket=ticket))


def test_another_idr_than_the_tickets_is_refused_and_the_ticket_unspent() -> None:
    pair = Pair()  # R35
    pair.connect()
    ticket, writes = pair.ticket(), len(pair.chains.writes)
    other = replace(PEER.remote_id, data=b"other.example.com")
    pair.resume(peer=replace(PEER, remote_id=other), ticket=ticket)
    assert "asked for" in pair.gateway.of(Failed)[-1].why
    assert len(pair.chains.writes) == writes
    pair.agree(pair.resume(ticket=ticket))
