"""Errands: what takes too long for the loop is computed elsewhere, and the SA waits in silence."""

import pytest

from proto.ike.core import Settings, replace
from proto.ike.effects import Outcome
from proto.ike.enums import KeMethod, NotifyType
from proto.ike.errands import Errand, Undone
from proto.ike.events import Dropped, Event, Failed, Rekeyed
from proto.ike.exchanges.ike_sa_init import HASHES
from proto.ike.message import decode_clear, encode_clear
from proto.ike.names import parse_suite
from proto.ike.payloads import KePayload, NotifyPayload
from tests.pair.pair import LOST, ONCE, Pair, exchange
from tests.pair.parts import CLIENT, PEER, SETTINGS
from tests.pair.rekeys import handed_out

SUITE = parse_suite("aes256gcm16-prfsha256-ecp384")
SLOW = replace(SETTINGS, suites=(SUITE,), slow_groups=(KeMethod.ECP_384,), liveness_interval_s=0)
SLOW_PEER = replace(PEER, suites=(SUITE,))


def slow_pair(settings: Settings = SLOW) -> Pair:
    """ECP 384 stands for a group that takes its time."""
    return Pair(settings, SLOW_PEER)


def waiting(outcome: Outcome) -> bool:
    """Nothing was answered, since something else comes first."""
    return outcome == Outcome(events=(Dropped(b"", "waiting"),))


def test_a_handshake_with_a_slow_group_is_computed_by_errands_on_both_sides() -> None:
    pair, kinds = slow_pair(), []
    come_to = pair.come_to

    def noted(errand: Errand):
        kinds.append(type(errand).__name__)
        return come_to(errand)

    pair.come_to = noted
    pair.agree(pair.connect())
    # a client's pair; the gateway's pair and secret at once, after a cookie; the client's secret
    assert kinds == ["MakeKey", "Answer", "Agree"]
    assert pair.check == []


def test_a_slow_group_is_served_after_a_cookie_alone() -> None:
    pair = slow_pair()
    pair.start()
    assert not pair.out
    pair.run(0.015)
    (answer,) = pair.gateway.octets()
    assert decode_clear(answer).notify(NotifyType.COOKIE) is not None
    assert pair.gateway.endpoint.half_open == 0


def test_the_gateway_is_silent_until_its_errand_is_done() -> None:
    pair = slow_pair()
    pair.start()
    pair.hold_errands = True
    pair.run(0.1)
    (side, spi, _) = pair.out[0]
    assert side is pair.gateway
    assert pair.gateway.endpoint.unfinished() == [spi]
    said = len(pair.gateway.sent)
    again = pair.inject(pair.gateway, pair.client.octets()[-1])
    assert waiting(again)
    assert len(pair.gateway.sent) == said
    pair.run_errands()
    pair.run()
    (core,) = pair.client.live()
    pair.agree(core.spi)


def test_a_half_open_sa_ends_in_time_though_its_errand_does_not() -> None:
    pair = slow_pair()
    pair.start()
    pair.hold_errands = True
    pair.deliver = lambda side, d: ONCE if pair.boot_s < 100.1 else LOST
    pair.run(SLOW.half_open_timeout_s + 1)
    assert pair.gateway.endpoint.half_open == 0
    assert pair.gateway.of(Failed) == [Failed(pair.out[0][1], False, "no IKE_AUTH", CLIENT[0])]
    said = len(pair.gateway.sent)
    pair.run_errands()  # too late: nobody is there to hear of it
    assert len(pair.gateway.sent) == said


def test_a_value_that_is_no_point_is_refused_once_that_is_known() -> None:
    pair = slow_pair()
    pair.client.endpoint.settings = replace(SLOW, slow_groups=())

    def spoil(side, datagram):
        if side is pair.client and exchange(datagram) == 34:
            ke = decode_clear(datagram.data).find(KePayload)
            assert ke is not None
            data = datagram.data.replace(ke.data, b"\x01" * len(ke.data))
            pair.inject(pair.gateway, data)
            return LOST
        return ONCE

    pair.start()
    pair.run(0.015)  # the cookie is under way
    pair.deliver = spoil
    pair.run(0.1)
    last = decode_clear(pair.gateway.octets()[-1])
    assert last.notify(NotifyType.INVALID_SYNTAX) is not None
    assert last.header.spi_r == bytes(8)
    assert pair.gateway.endpoint.half_open == 0
    assert pair.gateway.endpoint.spis() == []


def test_what_is_malformed_takes_no_errand_and_no_place_among_the_half_open() -> None:
    pair = slow_pair()
    pair.client.endpoint.settings = replace(SLOW, slow_groups=())

    def spoil(side, datagram):
        if side is not pair.client or exchange(datagram) != 34:
            return ONCE
        asked = decode_clear(datagram.data)
        odd = [NotifyPayload(HASHES.type, b"\0\2\0") if p == HASHES else p for p in asked.payloads]
        head = asked.header
        data = encode_clear(head.spi_i, head.spi_r, head.exchange, head.flags, 0, odd)
        dropped.extend(pair.inject(pair.gateway, data).events)
        return LOST

    dropped: list[Event] = []
    pair.start()
    pair.run(0.015)  # the cookie is under way
    pair.deliver = spoil
    pair.run(0.1)
    assert dropped == [Dropped(b"", "malformed")]
    assert pair.gateway.endpoint.half_open == 0
    assert pair.gateway.endpoint.spis() == []


def test_a_client_whose_key_pair_cannot_be_made_has_failed() -> None:
    pair = slow_pair()
    pair.hold_errands = True
    spi = pair.start()
    pair.run_errands(Undone("too busy"))
    assert pair.client.of(Failed) == [Failed(spi, False, "too busy")]
    assert not pair.client.sent
    assert pair.client.endpoint.spis() == []


@pytest.mark.parametrize("by", ["client", "gateway"])
def test_rekeys_with_a_slow_group_take_errands(by: str) -> None:
    pair = slow_pair()
    spi = pair.connect()
    side, own = (pair.client, spi) if by == "client" else (pair.gateway, pair.other_end(spi))
    pair.carry_out(side, side.endpoint.rekey_ike(own, pair.now))
    pair.run()
    assert len(side.of(Rekeyed)) == 1
    (new,) = side.live()
    (child,) = new.children
    pair.carry_out(side, side.endpoint.rekey_child(new.spi, child.spi_in, pair.now))
    pair.run()
    (new,) = side.live()
    assert [c.spi_in for c in new.children] != [child.spi_in]
    (theirs,) = pair.gateway.live()
    (ours,) = pair.client.live()
    assert ours.keys == theirs.keys
    assert [c.keymat for c in ours.children] == [c.keymat for c in theirs.children]


def test_an_errand_that_is_out_keeps_no_esp_spi() -> None:
    pair = slow_pair()
    spi = pair.connect()
    given = handed_out(pair.client)
    pair.hold_errands = True
    pair.carry_out(pair.client, pair.client.endpoint.new_child(spi, pair.now))
    assert [pair.client.endpoint.has_child(spi, drawn) for drawn in given] == [False]
    pair.run_errands()
    assert [pair.client.endpoint.has_child(spi, drawn) for drawn in given] == [False, True]


def test_a_rekey_of_ours_whose_key_pair_cannot_be_made_is_tried_later() -> None:
    pair = slow_pair()
    spi = pair.connect()
    pair.hold_errands = True
    pair.carry_out(pair.client, pair.client.endpoint.rekey_ike(spi, pair.now))
    assert pair.client.endpoint.probe(spi, pair.now) is None
    pair.run_errands(Undone("too busy"))
    assert pair.client.of(Rekeyed) == []
    pair.run(30)
    assert len(pair.client.of(Rekeyed)) == 1


def test_an_established_sa_answers_nothing_while_an_errand_is_out_and_then_goes_on() -> None:
    pair = slow_pair()
    spi = pair.connect()
    gateway_spi = pair.other_end(spi)
    pair.hold_errands = True
    pair.carry_out(pair.client, pair.client.endpoint.rekey_ike(spi, pair.now))
    pair.hold_errands = False
    pair.run_errands()
    pair.hold_errands = True
    pair.run(0.05)
    assert [side for side, _, _ in pair.out] == [pair.gateway]
    assert waiting(pair.inject(pair.gateway, pair.client.octets()[-1]))
    assert pair.gateway.endpoint.terminate(gateway_spi, False, "over", pair.now) == Outcome(
        gateway_spi
    )
    pair.run_errands()
    pair.run()
    assert pair.gateway.live() == []


def test_a_refused_errand_of_a_rekey_is_a_temporary_failure() -> None:
    pair = slow_pair()
    spi = pair.connect()
    pair.carry_out(pair.client, pair.client.endpoint.rekey_ike(spi, pair.now))
    pair.hold_errands = True
    pair.run(0.05)
    pair.run_errands(Undone("too busy"))
    pair.run(0.5)
    assert [core.spi for core in pair.client.live()] == [spi]
    pair.run(30)
    assert len(pair.client.of(Rekeyed)) == 1
