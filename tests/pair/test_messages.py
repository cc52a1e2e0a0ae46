"""What a peer may send that isn't in the picture: other versions, unknown payloads, fragments.

Sources: RFC 7296 2.2, 2.5, 2.21.2, 2.21.3; RFC 7383 2.6.
"""

import pytest

from proto.ike.core import State, replace
from proto.ike.enums import ExchangeType, NotifyType
from proto.ike.errors import WireError
from proto.ike.events import Dropped, Ended, Established, Failed
from proto.ike.message import decode_clear, encode_clear
from proto.ike.payloads import NotifyPayload, UnknownPayload, VendorIdPayload
from tests.pair.craft import fragments, garbage_fragments, opened, sealed, sealed_garbage
from tests.pair.pair import LOST, ONCE, Pair, exchange, is_response
from tests.pair.parts import SETTINGS

QUIET = replace(SETTINGS, liveness_interval_s=0)
CRITICAL = UnknownPayload(200, True, b"?")
LATER = UnknownPayload(200, False, b"?")
UNSUPPORTED = NotifyPayload(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, bytes((200,)))


def half_open(resumed: bool) -> tuple[Pair, bytes, bytes]:
    """A pair whose client has sent an IKE_AUTH request that didn't arrive; its SPI, and it."""
    pair = Pair(QUIET)
    if resumed:
        pair.connect()
    pair.deliver = lambda side, d: LOST if exchange(d) == ExchangeType.IKE_AUTH else ONCE
    spi = pair.start_resume() if resumed else pair.start()
    pair.run(0.1)
    pair.deliver = lambda side, d: ONCE
    return pair, spi, pair.client.sent[-1].data


def test_a_higher_major_version_is_named_with_what_the_request_had_copied() -> None:
    pair = Pair()  # B4
    pair.start()
    data = bytearray(pair.client.sent[0].data)
    data[17] = 0x30
    (answer,) = pair.inject(pair.gateway, bytes(data)).send
    told = decode_clear(answer.data)
    assert told.payloads == (NotifyPayload(NotifyType.INVALID_MAJOR_VERSION),)
    assert answer.data[:16] == bytes(data[:16])
    assert answer.data[20:24] == bytes(data[20:24])
    assert (told.header.exchange, told.header.version) == (34, 0x20)
    assert answer.data[19] == 0x20
    data[19] = 0
    (answer,) = pair.inject(pair.client, bytes(data)).send
    assert answer.data[19] == 0x28
    data[19] |= 0x20
    assert pair.inject(pair.gateway, bytes(data)).send == ()
    assert pair.gateway.endpoint.spis() == []


def test_a_higher_minor_version_is_taken() -> None:
    pair = Pair()  # RFC 7296 2.5
    pair.start()
    data = bytearray(pair.client.sent[0].data)
    data[17] = 0x21
    assert len(pair.inject(pair.gateway, bytes(data)).send) == 1
    assert pair.gateway.endpoint.half_open == 1


@pytest.mark.parametrize("kind", [ExchangeType.IKE_SA_INIT, ExchangeType.IKE_SESSION_RESUME])
def test_an_unknown_critical_payload_in_a_first_request_is_named_and_leaves_no_state(
    kind: ExchangeType,
) -> None:
    pair = Pair()  # B3
    pair.connect()
    if kind == ExchangeType.IKE_SESSION_RESUME:
        pair.start_resume()
    else:
        pair.start()
    asked = decode_clear(pair.client.sent[-1].data)
    for extra, answered in ((CRITICAL, (UNSUPPORTED,)), (LATER, None)):
        spi_i = bytes(7) + bytes((extra.critical + 1,))
        data = encode_clear(spi_i, bytes(8), kind, 8, 0, [extra, *asked.payloads])
        (answer,) = pair.inject(pair.gateway, data).send
        if answered is not None:
            assert decode_clear(answer.data).payloads == answered
            assert pair.gateway.endpoint.half_open == 0
        else:
            assert pair.gateway.endpoint.half_open == 1


@pytest.mark.parametrize("resumed", [False, True], ids=["full", "resumed"])
def test_an_unknown_critical_payload_in_ike_auth_ends_the_half_open_sa(resumed: bool) -> None:
    pair, spi, request = half_open(resumed)  # B3, B33
    core = pair.client.core(spi)
    writes = len(pair.chains.writes)
    theirs = pair.gateway.core(core.spi_r)
    payloads = [*opened(core, request).payloads, CRITICAL]
    pair.inject(pair.gateway, sealed(core, ExchangeType.IKE_AUTH, 1, payloads))
    assert opened(theirs, pair.gateway.sent[-1].data).payloads == (UNSUPPORTED,)
    assert pair.gateway.core(core.spi_r).state is State.DEAD
    assert len(pair.chains.writes) == writes
    pair.run()
    assert pair.client.endpoint.find(spi) is None


def test_an_unknown_payload_that_is_not_critical_is_passed_over() -> None:
    pair, spi, request = half_open(resumed=False)  # B3, B37
    core = pair.client.core(spi)
    payloads = [LATER, VendorIdPayload(b"someone"), *opened(core, request).payloads]
    pair.inject(pair.gateway, sealed(core, ExchangeType.IKE_AUTH, 1, payloads))
    pair.run()
    pair.agree(spi)


def test_the_payloads_of_ike_auth_may_come_in_any_order() -> None:
    pair, spi, request = half_open(resumed=False)  # B3
    core = pair.client.core(spi)
    payloads = list(reversed(opened(core, request).payloads))
    pair.inject(pair.gateway, sealed(core, ExchangeType.IKE_AUTH, 1, payloads))
    pair.run()
    pair.agree(spi)


def test_an_unknown_critical_payload_on_an_established_sa_is_refused_and_the_sa_goes_on() -> None:
    pair = Pair(QUIET)
    spi = pair.connect()
    core, theirs = pair.client.core(spi), pair.gateway.core(pair.other_end(spi))
    pair.inject(pair.gateway, sealed(core, ExchangeType.INFORMATIONAL, 2, [CRITICAL]))
    assert opened(theirs, pair.gateway.sent[-1].data).payloads == (UNSUPPORTED,)
    assert pair.gateway.core(core.spi_r) == theirs


@pytest.mark.parametrize("resumed", [False, True], ids=["full", "resumed"])
@pytest.mark.parametrize("kind", [ExchangeType.INFORMATIONAL, ExchangeType.CREATE_CHILD_SA])
def test_only_ike_auth_may_follow_a_first_exchange(kind: ExchangeType, resumed: bool) -> None:
    pair, spi, request = half_open(resumed)  # R17
    core = pair.client.core(spi)
    before = pair.gateway.core(core.spi_r)
    assert pair.inject(pair.gateway, sealed(core, kind, 1, [])).events == (
        Dropped(b"", "exchange"),
    )
    assert pair.gateway.core(core.spi_r) == before
    pair.inject(pair.gateway, request)
    pair.run()
    pair.agree(spi)


def test_a_request_that_overtakes_the_ike_auth_answer_waits_for_its_repeat() -> None:
    pair = Pair(QUIET)
    pair.deliver = lambda side, d: (0.1,) if is_response(d) and exchange(d) == 35 else ONCE
    spi = pair.start()
    pair.run(0.05)
    pair.carry_out(pair.gateway, pair.gateway.endpoint.probe(pair.other_end(spi), pair.now))
    pair.run(0.05)
    assert len(pair.client.sent) == 2
    pair.run()
    pair.agree(spi)
    assert is_response(pair.client.sent[-1])


@pytest.mark.parametrize("garbage", ["whole", "fragments"])
def test_a_malformed_request_that_is_authentic_ends_the_sa_at_both_ends(garbage: str) -> None:
    pair = Pair(QUIET)  # RFC 7296 2.21.3
    spi = pair.connect()
    core, theirs = pair.client.core(spi), pair.gateway.core(pair.other_end(spi))
    # the client asks, and what arrives is a malformed form of the same request
    pair.deliver = lambda side, d: LOST if not is_response(d) else ONCE
    pair.carry_out(pair.client, pair.client.endpoint.probe(spi, pair.now))
    if garbage == "whole":
        pair.inject(pair.gateway, sealed_garbage(core, ExchangeType.INFORMATIONAL, 2))
    else:
        for data in garbage_fragments(core, ExchangeType.INFORMATIONAL, 2):
            pair.inject(pair.gateway, data)
    answer = opened(theirs, pair.gateway.sent[-1].data)
    assert answer.payloads == (NotifyPayload(NotifyType.INVALID_SYNTAX),)
    assert pair.chains.records == {}
    assert len(pair.gateway.of(Ended)) == 1
    pair.run(0.1)
    assert len(pair.client.of(Ended)) == 1
    pair.run(10)
    assert pair.client.endpoint.spis() == pair.gateway.endpoint.spis() == []


@pytest.mark.parametrize("resumed", [False, True], ids=["full", "resumed"])
def test_a_malformed_ike_auth_that_is_authentic_ends_the_half_open_sa(resumed: bool) -> None:
    pair, spi, _ = half_open(resumed)  # RFC 7296 2.21.2
    core = pair.client.core(spi)
    theirs, writes = pair.gateway.core(core.spi_r), len(pair.chains.writes)
    pair.inject(pair.gateway, sealed_garbage(core, ExchangeType.IKE_AUTH, 1))
    answer = opened(theirs, pair.gateway.sent[-1].data)
    assert answer.payloads == (NotifyPayload(NotifyType.INVALID_SYNTAX),)
    assert len(pair.chains.writes) == writes
    assert len(pair.gateway.of(Failed)) == 1
    pair.run()
    assert pair.client.endpoint.find(spi) is None


def test_a_malformed_answer_that_is_authentic_ends_the_sa_and_clears_what_it_held() -> None:
    pair = Pair(QUIET)
    spi = pair.connect()
    core, gateway_spi = pair.client.core(spi), pair.other_end(spi)
    pair.deliver = lambda side, d: LOST
    pair.carry_out(pair.gateway, pair.gateway.endpoint.probe(gateway_spi, pair.now))
    data = sealed_garbage(core, ExchangeType.INFORMATIONAL, 0, response=True)
    pair.inject(pair.gateway, data)
    assert [e.spi for e in pair.gateway.of(Ended)] == [gateway_spi]
    assert pair.chains.records == {}
    assert len(pair.gateway.kernel) == 2
    assert pair.gateway.live() == []


@pytest.mark.parametrize("resumed", [False, True], ids=["full", "resumed"])
@pytest.mark.parametrize("order", ["in order", "backwards", "each twice"])
def test_ike_auth_in_fragments(order: str, resumed: bool) -> None:
    pair, spi, request = half_open(resumed)  # B41
    pieces = fragments(pair.client.core(spi), request, 128)
    assert len(pieces) > 2
    if order == "backwards":
        pieces.reverse()
    elif order == "each twice":
        pieces = [piece for piece in pieces for _ in (1, 2)]
    sent = len(pair.gateway.sent)
    for piece in pieces:
        pair.inject(pair.gateway, piece)
    pair.run(0.1)
    pair.agree(spi)
    said = {d.data for d in pair.gateway.sent[sent:]}
    assert len(said) == 1
    # all of them once more: the repeat is answered once
    sent = len(pair.gateway.sent)
    for piece in pieces if order != "each twice" else pieces[::2]:
        pair.inject(pair.gateway, piece)
    assert len(pair.gateway.sent) == sent + 1
    assert pair.gateway.sent[-1].data in said
    assert len([e for e in pair.gateway.of(Established) if e.resumed is resumed]) == 1


def test_a_forged_fragment_does_not_hinder_the_genuine_ones() -> None:
    pair, spi, request = half_open(resumed=False)
    pieces = fragments(pair.client.core(spi), request, 128)
    forged = bytearray(pieces[1])
    forged[-1] ^= 1
    assert pair.inject(pair.gateway, bytes(forged)).events == (Dropped(b"", "integrity"),)
    for piece in pieces:
        pair.inject(pair.gateway, piece)
    pair.run()
    pair.agree(spi)


def test_fragments_of_a_request_and_of_an_answer_are_not_mixed() -> None:
    pair = Pair(QUIET)
    spi = pair.connect()
    core, gateway_spi = pair.client.core(spi), pair.other_end(spi)
    pair.deliver = lambda side, d: LOST
    # message IDs of both directions meet at 2, where they prove the most
    for _ in range(2):
        pair.carry_out(pair.gateway, pair.gateway.endpoint.probe(gateway_spi, pair.now))
        number = int.from_bytes(pair.gateway.sent[-1].data[20:24], "big")
        pair.inject(pair.gateway, sealed(core, ExchangeType.INFORMATIONAL, number, [], True))
    pair.carry_out(pair.gateway, pair.gateway.endpoint.probe(gateway_spi, pair.now))
    # of one length, and each nonsense with a piece of the other
    two, one = [VendorIdPayload(b"v" * 73)] * 2, [VendorIdPayload(b"v" * 150)]
    asked = fragments(core, sealed(core, ExchangeType.INFORMATIONAL, 2, two), 128)
    answered = fragments(core, sealed(core, ExchangeType.INFORMATIONAL, 2, one, True), 128)
    assert len(asked) == len(answered) > 1
    pair.inject(pair.gateway, asked[0])
    sent = len(pair.gateway.sent)
    for piece in answered:
        pair.inject(pair.gateway, piece)
    for piece in asked:
        pair.inject(pair.gateway, piece)
    assert len(pair.gateway.sent) == sent + 1
    assert pair.gateway.endpoint.probe(gateway_spi, pair.now) is not None


def test_what_the_gateway_says_unprotected_holds_no_sealed_part() -> None:
    pair = Pair()
    spi = pair.connect()
    for datagram in pair.gateway.sent:
        if exchange(datagram) == ExchangeType.IKE_SA_INIT:
            decode_clear(datagram.data)
        else:
            with pytest.raises(WireError):
                decode_clear(datagram.data)
    pair.agree(spi)


def test_reserved_header_bits_are_passed_over() -> None:
    pair = Pair()  # B2: X bits and V are ignored on receipt
    pair.start()
    data = bytearray(pair.client.sent[0].data)
    data[19] |= 0xD7 & ~0x20
    assert len(pair.inject(pair.gateway, bytes(data)).send) == 1
    assert pair.gateway.endpoint.half_open == 1


def test_a_first_request_with_an_spi_of_ours_or_a_message_id_gets_silence() -> None:
    pair = Pair()  # R19, B2, B8
    pair.start()
    for place, octet in ((8, 1), (15, 1), (23, 1), (20, 1)):
        data = bytearray(pair.client.sent[0].data)
        data[place] = octet
        assert pair.inject(pair.gateway, bytes(data)).events == (Dropped(b"", "unknown_spi"),)
    assert pair.gateway.endpoint.spis() == []
