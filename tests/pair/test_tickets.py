"""Tickets asked for, bounded, refused and used once (RFC 5723 4.1, 4.3.2, 6)."""

import pytest

from proto.ike.core import SaCore, replace
from proto.ike.effects import Outcome, Path
from proto.ike.enums import ExchangeType, NotifyType
from proto.ike.errors import Misuse, TicketReason
from proto.ike.events import (
    Dropped,
    Established,
    Failed,
    TicketIssued,
    TicketReceived,
    TicketRefused,
)
from proto.ike.message import decode_clear, encode_clear
from proto.ike.payloads import NoncePayload, NotifyPayload
from proto.secret import Secret
from tests.pair.craft import opened
from tests.pair.pair import LOST, ONCE, Pair, Side, exchange
from tests.pair.parts import (
    BOB_ID,
    BOB_PSK,
    CLIENT,
    CLIENT_ID,
    GATEWAY,
    PEER,
    SECOND_GATEWAY,
    SETTINGS,
    WALL_S,
    Key,
)

TICKET_NOTIFIES = (
    NotifyType.TICKET_LT_OPAQUE,
    NotifyType.TICKET_ACK,
    NotifyType.TICKET_NACK,
)


def show(pair: Pair, ticket: bytes, gateway: Side | None = None) -> Outcome:
    """Present `ticket` out of a client's hands."""
    payloads = [NoncePayload(b"n" * 32), NotifyPayload(NotifyType.TICKET_OPAQUE, ticket)]
    data = encode_clear(b"12345678", bytes(8), ExchangeType.IKE_SESSION_RESUME, 8, 0, payloads)
    return pair.inject(gateway or pair.gateway, data)


def assert_nacked(pair: Pair, outcome: Outcome, reason: TicketReason) -> None:
    """TICKET_NACK at once, unprotected, without state; the reason stays here."""
    (datagram,) = outcome.send
    answer = decode_clear(datagram.data)
    assert answer.payloads == (NotifyPayload(NotifyType.TICKET_NACK),)
    assert (answer.header.spi_i, answer.header.spi_r) == (b"12345678", bytes(8))
    assert outcome.events == (TicketRefused(b"", reason.value),)
    assert outcome.persist is None
    assert pair.gateway.endpoint.half_open == 0


def ticket_notifies(core: SaCore, data: bytes) -> list[int]:
    """The ticket notifies of an answer."""
    return [n.type for n in opened(core, data).notifies if n.type in TICKET_NOTIFIES]


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
    (issued,) = pair.gateway.of(TicketIssued)
    assert issued.lifetime_s == lifetime_s
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
    payloads = [NoncePayload(b"m" * 32), NotifyPayload(NotifyType.TICKET_OPAQUE, ticket)]
    other = encode_clear(b"87654321", bytes(8), 38, 8, 0, payloads)
    assert pair.inject(pair.gateway, other).events == (Dropped(b"", "half_open_full"),)
    payloads[1] = NotifyPayload(NotifyType.TICKET_OPAQUE, ticket[:-1] + b"!")
    other = encode_clear(b"87654321", bytes(8), 38, 8, 0, payloads)
    assert len(pair.inject(pair.gateway, other).send) == 1
    assert pair.gateway.endpoint.half_open == 1
