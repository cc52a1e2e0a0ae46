"""What senders who mean harm can make a gateway do: bounded work, bounded memory, no exception.

Rules: what a peer needs to have proven for it stands in each test's name: nothing (a stranger), its
own key exchange (nobody yet), or its pre-shared key (an evil peer).
"""

from proto.ike.core import replace
from proto.ike.effects import Outcome
from proto.ike.enums import ExchangeType, IdType, NotifyType, PayloadType, TsType
from proto.ike.events import Dropped, Failed
from proto.ike.half_open import RESUMING_MAX
from proto.ike.identity import IDENTITY_MAX
from proto.ike.message import encode_clear
from proto.ike.payloads import (
    IdPayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    TrafficSelector,
)
from proto.ike.selectors import SELECTORS_MAX, parse_selector
from proto.secret import Secret
from tests.pair.craft import opened
from tests.pair.pair import LOST, ONCE, Pair
from tests.pair.parts import PEER, PSK, SETTINGS

NETWORKS = (parse_selector("10.0.0.0/8"), parse_selector("192.168.0.0/16"))


def ranges(count: int) -> tuple[TrafficSelector, ...]:
    """Selectors that differ in each of NETWORKS, and reach into both."""
    return tuple(
        TrafficSelector(
            TsType.TS_IPV4_ADDR_RANGE, 0, 0, 0xFFFF, bytes((10, 0, 0, i)), bytes((192, 168, 0, i))
        )
        for i in range(count)
    )


def test_an_evil_peer_with_many_selectors_gets_as_many_as_a_record_bears() -> None:
    settings = replace(SETTINGS, remote_ts=NETWORKS, local_ts=NETWORKS)
    pair = Pair(settings, replace(PEER, local_ts=ranges(255), remote_ts=ranges(255)))
    pair.connect()
    ((child,),) = [core.children for core in pair.gateway.live()]
    assert 0 < len(child.remote_ts) <= SELECTORS_MAX
    assert 0 < len(child.local_ts) <= SELECTORS_MAX


def test_nobody_yet_with_an_endless_identity_fails_in_few_words() -> None:
    endless = IdPayload(PayloadType.IDi, IdType.ID_KEY_ID, bytes(IDENTITY_MAX + 1))
    pair = Pair(peer=replace(PEER, local_id=endless))
    pair.gateway.psks.known[endless.data] = PSK
    pair.connect()
    (failed,) = pair.gateway.of(Failed)
    assert len(failed.why) < 100
    assert pair.chains.writes == []


def test_a_peer_with_the_longest_identity_can_use_its_ticket() -> None:
    longest = IdPayload(PayloadType.IDi, IdType.ID_KEY_ID, bytes(IDENTITY_MAX))
    pair = Pair(peer=replace(PEER, local_id=longest))
    pair.gateway.psks.known[longest.data] = PSK
    pair.connect()
    pair.agree(pair.resume())


def test_a_ticket_that_no_member_would_open_is_not_issued() -> None:
    gateway_id = IdPayload(PayloadType.IDr, IdType.ID_KEY_ID, bytes(2000))
    pair = Pair(replace(SETTINGS, local_id=gateway_id), replace(PEER, remote_id=gateway_id))
    spi = pair.connect()  # R4, R6
    pair.agree(spi)
    answer = opened(pair.gateway.core(pair.other_end(spi)), pair.gateway.sent[-1].data)
    assert answer.notify(NotifyType.TICKET_NACK) is not None
    assert answer.notify(NotifyType.TICKET_LT_OPAQUE) is None


def test_nobody_yet_who_fails_keeps_its_place_in_the_half_open_table_until_forgotten() -> None:
    wrong = replace(PEER, psk=Secret(b"not the pre-shared key"))
    pair = Pair(replace(SETTINGS, half_open_max=4), wrong)  # promise 7
    for _ in range(10):
        pair.connect()
    assert len(pair.gateway.endpoint.spis()) == 4
    assert "half_open_full" in {e.reason for e in pair.gateway.of(Dropped)}
    pair.run(60)
    assert pair.gateway.endpoint.spis() == []
    assert pair.gateway.endpoint.half_open == 0


def present(pair: Pair, ticket: bytes, count: int) -> list[Outcome]:
    """`ticket` in `count` requests that differ, as one who saw it pass could send them."""
    outcomes = []
    for i in range(count):
        nonce = NoncePayload(i.to_bytes(32, "big"))
        payloads: list[Payload] = [nonce, NotifyPayload(NotifyType.TICKET_OPAQUE, ticket)]
        spi = b"evil" + i.to_bytes(4, "big")
        data = encode_clear(spi, bytes(8), ExchangeType.IKE_SESSION_RESUME, 8, 0, payloads)
        outcomes.append(pair.inject(pair.gateway, data))
    return outcomes


def test_a_stranger_with_somebody_s_ticket_keeps_few_half_open_sas() -> None:
    pair = Pair(replace(SETTINGS, half_open_max=10))
    pair.connect()
    shown = present(pair, pair.ticket().ticket, 100)
    assert all(len(outcome.send) == 1 for outcome in shown)
    assert pair.gateway.endpoint.half_open == RESUMING_MAX
    # neither others nor the ticket's owner are kept out
    pair.agree(pair.connect())
    pair.agree(pair.resume())


def test_strangers_at_the_door_keep_no_ticket_holder_out() -> None:
    pair = Pair(replace(SETTINGS, half_open_max=3, cookie_threshold=3))
    pair.connect()
    pair.deliver = lambda side, datagram: LOST if side is pair.gateway else ONCE
    for _ in range(5):
        pair.start()
        pair.run(0.1)
    assert pair.gateway.endpoint.half_open == 3
    pair.deliver = lambda side, datagram: ONCE
    pair.agree(pair.resume())
