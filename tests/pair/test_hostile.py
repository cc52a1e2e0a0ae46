"""What senders who mean harm can make a gateway do: bounded work, bounded memory, no exception.

Rules: what a peer needs to have proven for it stands in each test's name: nothing (a stranger), its
own key exchange (nobody yet), or its pre-shared key (an evil peer).
"""

from proto.ike.core import State, replace
from proto.ike.effects import Outcome
from proto.ike.enums import ExchangeType, IdType, NotifyType, PayloadType, ProtocolId, TsType
from proto.ike.events import Dropped, Failed
from proto.ike.exchanges.informational import DELETE_IKE_SA
from proto.ike.half_open import RESUMING_MAX
from proto.ike.identity import IDENTITY_MAX
from proto.ike.message import decode_clear, encode_clear
from proto.ike.payloads import (
    DeletePayload,
    IdPayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    TrafficSelector,
    VendorIdPayload,
)
from proto.ike.record import decode
from proto.ike.selectors import SELECTORS_MAX, parse_selector
from proto.ike.ticket import TicketForm
from proto.secret import Secret
from tests.pair.craft import fragments, opened, sealed
from tests.pair.pair import LOST, ONCE, Pair, exchange
from tests.pair.parts import CLIENT_ID, PEER, PSK, SETTINGS

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
    settings = replace(SETTINGS, local_id=gateway_id, ticket_form=TicketForm.BY_VALUE)
    pair = Pair(settings, replace(PEER, remote_id=gateway_id))
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


def test_a_stranger_who_heard_a_request_can_have_no_answer_repeated_for_octets_of_his_own() -> None:
    pair = Pair()
    spi = pair.connect()
    heard = pair.client.sent[-1].data
    shortest = heard[:16] + bytes((PayloadType.SK,)) + heard[17:28] + bytes(4) + heard[-16:]
    shortest = shortest[:24] + len(shortest).to_bytes(4, "big") + shortest[28:]
    for forged in (shortest, heard[:40] + bytes((heard[40] ^ 1,)) + heard[41:]):
        assert pair.inject(pair.gateway, forged).events == (Dropped(b"", "integrity"),)
    assert pair.inject(pair.gateway, heard).send[0].data == pair.gateway.sent[-1].data
    pair.agree(spi)


def test_a_stranger_buys_no_first_answer_with_a_nonce_and_an_spi_alone() -> None:
    pair = Pair()  # RFC 7296 2.1
    pair.deliver = lambda side, datagram: LOST
    pair.start()
    whole = pair.client.sent[0].data
    answer = pair.inject(pair.gateway, whole).send[0].data
    nonce = decode_clear(whole).find(NoncePayload)
    assert nonce is not None
    short = encode_clear(whole[:8], bytes(8), ExchangeType.IKE_SA_INIT, 8, 0, [nonce])
    assert pair.inject(pair.gateway, short, ("198.51.100.9", 500)).send == ()
    assert pair.inject(pair.gateway, whole).send[0].data == answer
    assert pair.gateway.endpoint.half_open == 1


def test_a_repeat_in_smaller_fragments_is_answered_at_its_first_one_alone() -> None:
    pair = Pair(replace(SETTINGS, liveness_interval_s=0))  # RFC 7383 2.6.1
    spi = pair.connect()
    core, request = pair.client.core(spi), pair.client.sent[-1].data
    answer = pair.gateway.sent[-1].data
    for size in (200, 128):
        pieces = fragments(core, request, size)
        answers = [pair.inject(pair.gateway, piece).send for piece in pieces]
        assert [datagram.data for datagram in answers[0]] == [answer]
        assert len(pieces) > 1
        assert not any(answers[1:])


def test_fragments_that_were_not_agreed_on_are_not_taken() -> None:
    pair = Pair()  # RFC 7383 2.3
    pair.deliver = lambda side, datagram: LOST
    pair.start()
    asked = decode_clear(pair.client.sent[-1].data)
    payloads = [p for p in asked.payloads if p.__class__ is not NotifyPayload]
    head = asked.header
    without = encode_clear(head.spi_i, head.spi_r, head.exchange, head.flags, 0, payloads)
    pair.inject(pair.gateway, without)
    (spi_r,) = pair.gateway.endpoint.spis()
    core = replace(pair.gateway.core(spi_r), initiator=True)
    request = sealed(core, ExchangeType.IKE_AUTH, 1, [CLIENT_ID, CLIENT_ID])
    dropped = {pair.inject(pair.gateway, f).events for f in fragments(core, request, 128)}
    assert dropped == {(Dropped(b"", "integrity"),)}
    assert pair.gateway.core(spi_r).state is State.INIT_ANSWERED


def test_nobody_yet_collects_few_octets_of_fragments() -> None:
    pair = Pair()
    pair.deliver = lambda side, datagram: LOST if exchange(datagram) == 35 else ONCE
    spi = pair.start()
    pair.run(0.1)
    core = pair.client.core(spi)
    request = sealed(core, ExchangeType.IKE_AUTH, 1, [VendorIdPayload(bytes(20_000))])
    reasons = [pair.inject(pair.gateway, f).events for f in fragments(core, request, 1200)]
    assert (Dropped(b"", "integrity"),) in reasons
    assert pair.gateway.core(pair.other_end(spi)).state is State.INIT_ANSWERED


def test_an_evil_peer_s_several_deletes_are_all_looked_at() -> None:
    pair = Pair()  # RFC 7296 1.4.1; R4
    spi = pair.connect()
    core = pair.client.core(spi)
    child = core.children[0].spi_in
    no_such = DeletePayload(ProtocolId.ESP, 4, (b"none",))
    ah, esp = DeletePayload(ProtocolId.AH, 4, (child,)), DeletePayload(ProtocolId.ESP, 4, (child,))
    ticket = NotifyPayload(NotifyType.TICKET_REQUEST)
    pair.inject(pair.gateway, sealed(core, ExchangeType.INFORMATIONAL, 2, [no_such, ah]))
    gateway = pair.gateway.core(core.spi_r)
    assert len(gateway.children) == 1
    assert opened(gateway, pair.gateway.sent[-1].data).payloads == ()
    pair.inject(pair.gateway, sealed(core, ExchangeType.INFORMATIONAL, 3, [no_such, esp, ticket]))
    answer = opened(gateway, pair.gateway.sent[-1].data)
    ours = DeletePayload(ProtocolId.ESP, 4, (gateway.children[0].spi_in,))
    assert answer.find(DeletePayload) == ours
    assert answer.notify(NotifyType.TICKET_LT_OPAQUE) is not None
    pair.inject(pair.gateway, sealed(core, ExchangeType.INFORMATIONAL, 4, [esp, DELETE_IKE_SA]))
    assert pair.gateway.live() == []


def test_nothing_that_holds_keys_shows_them() -> None:
    pair = Pair()
    pair.hold_writes = True
    pair.start()
    pair.run(0.1)
    ((side, outcome),) = pair.held
    assert outcome.persist is not None
    record = decode(outcome.persist.record)
    shown = repr(outcome) + repr(record) + repr(side.core(outcome.spi)) + repr(pair.peer)
    core = side.core(outcome.spi)
    assert core.keys is not None
    secrets = [getattr(core.keys, name) for name in ("d", "ei", "er", "pi", "pr")] + [PSK]
    for secret in secrets:
        assert secret.octets not in shown.encode()
        assert repr(secret.octets)[2:-1] not in shown
        assert secret.octets.hex() not in shown
