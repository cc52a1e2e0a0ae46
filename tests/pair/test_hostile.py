"""What senders who mean harm can make a gateway do: bounded work, bounded memory, no exception.

Rules: what a peer needs to have proven for it stands in each test's name: nothing (a stranger), its
own key exchange (nobody yet), or its pre-shared key (an evil peer).
"""


from proto.ike.core import replace
from proto.ike.enums import IdType, NotifyType, PayloadType, TsType
from proto.ike.events import Failed
from proto.ike.identity import IDENTITY_MAX
from proto.ike.payloads import IdPayload, TrafficSelector
from proto.ike.selectors import SELECTORS_MAX, parse_selector
from tests.pair.craft import opened
from tests.pair.pair import Pair
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
