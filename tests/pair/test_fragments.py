"""Messages that are too long for a datagram leave in fragments, from either end (RFC 7383). B41"""

from collections.abc import Callable

import pytest

from proto.ike import fragment
from proto.ike.core import Peer, replace
from proto.ike.effects import Datagram
from proto.ike.enums import ExchangeType, NotifyType, PayloadType
from proto.ike.events import Failed
from proto.ike.exchanges.informational import TICKET_REQUEST
from proto.ike.message import decode_clear, encode_clear
from proto.ike.names import parse_suite
from proto.ike.payloads import NotifyPayload
from proto.ike.record import decode
from proto.ike.selectors import parse_selector
from tests.pair.craft import fragments, in_fragments, opened, sealed
from tests.pair.natted import HOSTS, IKE, NattedPair
from tests.pair.pair import LOST, ONCE, Pair, Side, exchange, is_response
from tests.pair.parts import PEER, SETTINGS

IP4_OCTETS = 200
MESSAGE_OCTETS = IP4_OCTETS - 20 - 8 - 4
"""What is left beside the headers of IP and UDP and the marker of port 4500."""
SHORT = replace(SETTINGS, fragment_octets=IP4_OCTETS)
SUITES = [PEER.suites[0], parse_suite("aes256-sha256-prfsha256-x25519")]
by_suite = pytest.mark.parametrize("suite", SUITES, ids=str)


def short_pair(settings=SHORT, peer: Peer = PEER) -> Pair:
    """Both ends make fragments of what is longer than `MESSAGE_OCTETS`."""
    pair = Pair(settings, peer)
    pair.client.endpoint.settings = settings
    return pair


def kinds(side: Side) -> list[tuple[int, int]]:
    """(exchange, first payload) of every datagram that a side sent."""
    return [(d.data[18], d.data[16]) for d in side.sent]


def numbers(datagrams: list[Datagram]) -> list[tuple[int, int]]:
    """(fragment number, total) of each."""
    return [
        (int.from_bytes(d.data[32:34], "big"), int.from_bytes(d.data[34:36], "big"))
        for d in datagrams
    ]


def of_auth(side: Side) -> list[Datagram]:
    """What a side sent of IKE_AUTH."""
    return [d for d in side.sent if exchange(d) == ExchangeType.IKE_AUTH]


@by_suite
@pytest.mark.parametrize("resumed", [False, True])
def test_ike_auth_goes_in_fragments_both_ways(suite, resumed: bool) -> None:
    pair = short_pair(replace(SHORT, suites=tuple(SUITES)), replace(PEER, suites=(suite,)))
    spi = pair.connect()
    if resumed:
        for side in (pair.client, pair.gateway):
            side.sent.clear()
        spi = pair.resume()
    pair.agree(spi)
    for side in (pair.client, pair.gateway):
        sent = of_auth(side)
        assert len(sent) > 1
        assert {d.data[16] for d in sent} == {PayloadType.SKF}
        assert all(len(d.data) <= MESSAGE_OCTETS for d in sent)
        assert numbers(sent) == [(n + 1, len(sent)) for n in range(len(sent))]
        assert [d.data[28] != 0 for d in sent] == [True] + [False] * (len(sent) - 1)
        heads = {(*d.data[:16], *d.data[17:24]) for d in sent}
        assert len(heads) == 1
    # the first exchange never is, and short messages aren't
    first = ExchangeType.IKE_SESSION_RESUME if resumed else ExchangeType.IKE_SA_INIT
    assert PayloadType.SKF not in [kind for ex, kind in kinds(pair.client) if ex == first]
    pair.carry_out(pair.client, pair.client.endpoint.probe(spi, pair.now))
    pair.run()
    assert pair.client.sent[-1].data[16] == pair.gateway.sent[-1].data[16] == PayloadType.SK
    assert pair.check == []


def test_who_did_not_agree_gets_whole_messages() -> None:
    pair = short_pair()
    spi = pair.start()
    asked = pair.wire.pop().datagram
    message = decode_clear(asked.data)
    agreed = NotifyPayload(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED)
    payloads = [p for p in message.payloads if p != agreed]
    pair.inject(pair.gateway, encode_clear(spi, bytes(8), message.header.exchange, 8, 0, payloads))
    core = pair.gateway.core(pair.gateway.sent[-1].data[8:16])
    assert not core.fragmentation
    assert agreed not in decode_clear(pair.gateway.sent[-1].data).payloads
    pair.run()
    # it signed other octets than arrived: what is refused is refused in one piece
    assert {d.data[16] for d in of_auth(pair.client)} == {PayloadType.SK}
    assert {d.data[16] for d in of_auth(pair.gateway)} == {PayloadType.SK}


@pytest.mark.parametrize(("version", "octets"), [(4, 1280 - 32), (6, 1280 - 52)])
def test_the_headers_of_ip_and_udp_are_counted(version: int, octets: int) -> None:
    assert fragment.message_octets(1280, HOSTS[version][0]) == octets
    pair = NattedPair(version=version, settings=replace(SETTINGS, fragment_octets=260))
    pair.client.endpoint.settings = pair.settings
    spi = pair.begin()
    pair.agree(spi)
    most = 260 - (32 if version == 4 else 52)
    for side in (pair.client, pair.gateway):
        longest = max(len(d.data) for d in side.sent if d.data[16] == PayloadType.SKF)
        assert most - 16 < longest <= most


# -- repeats


def test_a_request_is_repeated_whole_and_answered_at_its_first_fragment() -> None:
    pair = short_pair()
    pair.deliver = lambda side, d: LOST if is_response(d) and exchange(d) == 35 else ONCE
    pair.start()
    pair.run(0.3)
    asked, answered = of_auth(pair.client), of_auth(pair.gateway)
    pair.run(0.5)
    assert of_auth(pair.client)[len(asked) :] == asked
    assert of_auth(pair.gateway)[len(answered) :] == answered
    assert len(pair.chains.writes) == 1


def test_one_lost_fragment_is_made_good_for_by_the_repeat() -> None:
    lost: list[bytes] = []

    def deliver(side: Side, datagram: Datagram) -> tuple[float, ...]:
        if datagram.data[16] == PayloadType.SKF and len(lost) < 1:
            lost.append(datagram.data)
            return LOST
        return ONCE

    pair = short_pair()
    pair.deliver = deliver
    spi = pair.start()
    pair.run(5)
    pair.agree(spi)
    assert len(lost) == 1
    assert pair.check == []


def small_path(most: int) -> Callable[[Side, Datagram], tuple[float, ...]]:
    """A path that swallows what is longer."""
    return lambda side, d: LOST if len(d.data) > most else ONCE


def test_a_request_that_nobody_answers_is_tried_in_smaller_fragments() -> None:
    """RFC 7383 2.5.2: after two tries, more and smaller ones, and the pauses begin anew."""
    settings = replace(SETTINGS, fragment_octets=900)
    pair = short_pair(settings, many_networks())
    pair.deliver = small_path(fragment.smallest("192.0.2.1"))
    spi = pair.start()
    pair.run(10)
    pair.agree(spi)
    sets = {total for _, total in numbers(of_auth(pair.client))}
    assert len(sets) == 2
    assert pair.check == []
    few = [n for n in numbers(of_auth(pair.client)) if n[1] == min(sets)]
    assert len(few) == 2 * min(sets)


def many_networks() -> Peer:
    """A client with an IKE_AUTH request of more than a kilobyte."""
    return replace(PEER, local_ts=tuple(parse_selector(f"10.{n}.0.0/16") for n in range(60)))


def test_a_peer_that_never_answers_is_given_up_after_the_smaller_ones_too() -> None:
    pair = short_pair(replace(SETTINGS, fragment_octets=900), many_networks())
    pair.deliver = lambda side, d: LOST if exchange(d) == ExchangeType.IKE_AUTH else ONCE
    pair.start()
    pair.run(120)
    (failed,) = pair.client.of(Failed)
    assert failed.why == "no answer"
    totals = [total for number, total in numbers(of_auth(pair.client)) if number == 1]
    assert totals == [min(totals)] * 2 + [max(totals)] * PEER.retransmit.tries


def test_an_answer_takes_no_longer_fragments_than_its_request_came_in() -> None:
    pair = Pair()
    spi = pair.connect()
    core = pair.client.core(spi)
    big = [NotifyPayload(50000, bytes(1200)), NotifyPayload(NotifyType.COOKIE2, bytes(60))]
    whole = sealed(core, ExchangeType.INFORMATIONAL, 2, big)
    for piece in fragments(core, whole, 600):
        pair.inject(pair.gateway, piece)
    theirs = pair.gateway.core(core.spi_r)
    outcome = pair.gateway.endpoint.request_ticket(theirs.spi, pair.now)
    assert outcome is None
    channel = pair.gateway.endpoint._sas[theirs.spi]._channel
    assert channel is not None
    assert channel._passes == 600
    # never smaller than what any path takes
    for piece in fragments(core, sealed(core, ExchangeType.INFORMATIONAL, 3, big), 128):
        pair.inject(pair.gateway, piece)
    assert channel._passes == fragment.OCTETS_MIN


@pytest.mark.parametrize(("octets", "pieces_of"), [(65500, 14000), (61700, 544)])
def test_a_request_of_any_length_is_answered_and_so_is_the_next_one(
    octets: int, pieces_of: int
) -> None:
    pair = Pair()
    core = pair.client.core(pair.connect())
    endless = NotifyPayload(NotifyType.COOKIE2, bytes(octets))
    kind = ExchangeType.INFORMATIONAL
    for piece in in_fragments(core, kind, 2, [endless, TICKET_REQUEST], pieces_of):
        pair.inject(pair.gateway, piece)
    answer = opened(pair.gateway.core(core.spi_r), pair.gateway.sent[-1].data)
    assert [notify.type for notify in answer.notifies] == [NotifyType.TICKET_LT_OPAQUE]
    (sent,) = pair.inject(pair.gateway, sealed(core, kind, 3, [])).send
    assert opened(pair.gateway.core(core.spi_r), sent.data).header.message_id == 3


# -- what is put together


def test_the_rest_of_a_message_is_not_waited_for_for_ever() -> None:
    pair = Pair()
    spi = pair.connect()
    core = pair.client.core(spi)
    data = sealed(core, ExchangeType.INFORMATIONAL, 2, [NotifyPayload(50000, bytes(300))])
    first, *rest = fragments(core, data, 128)
    pair.inject(pair.gateway, first)
    pair.boot_s += fragment.REASSEMBLY_S + 1
    sent = len(pair.gateway.sent)
    for piece in rest:
        pair.inject(pair.gateway, piece)
    assert len(pair.gateway.sent) == sent
    pair.inject(pair.gateway, first)
    assert len(pair.gateway.sent) == sent + 1


def test_an_adopter_repeats_an_answer_in_fragments() -> None:
    pair = short_pair()
    spi = pair.connect()
    core = pair.gateway.core(pair.other_end(spi))
    record = decode(pair.chains.records[core.spi])
    answered = of_auth(pair.gateway)
    assert fragment.apart(record.last_reply) == [d.data for d in answered]
    heir = pair.add_gateway("heir", ("192.0.2.3", 500))
    heir.spis.fence = 2
    pair.carry_out(heir, heir.endpoint.adopt(record, pair.now))
    for datagram in of_auth(pair.client):
        pair.inject(heir, datagram.data)
    assert [d.data for d in heir.sent] == [d.data for d in answered]


def test_a_rekey_in_fragments_survives_its_lost_answer() -> None:
    pair = short_pair()
    spi = pair.connect()
    lost = [True]

    def deliver(side: Side, datagram: Datagram) -> tuple[float, ...]:
        first = exchange(datagram) == ExchangeType.CREATE_CHILD_SA and is_response(datagram)
        return LOST if first and lost[0] else ONCE

    pair.deliver = deliver
    pair.carry_out(pair.client, pair.client.endpoint.rekey_ike(spi, pair.now))
    pair.run(0.4)
    lost[0] = False
    pair.run(10)
    (new,) = pair.client.live()
    assert new.spi != spi
    pair.agree(new.spi)
    assert pair.check == []


def test_each_fragment_has_an_iv_of_its_own() -> None:
    pair = short_pair()
    pair.connect()
    for side in (pair.client, pair.gateway):
        ivs = [d.data[36:44] for d in of_auth(side)]
        assert len(set(ivs)) == len(ivs)


def test_the_addresses_are_the_messages_own() -> None:
    pair = NattedPair()
    pair.client.endpoint.settings = pair.gateway.endpoint.settings = replace(
        pair.settings, fragment_octets=IP4_OCTETS
    )
    spi = pair.begin()
    pair.agree(spi)
    assert len({d.path for d in of_auth(pair.client)}) == 1
    assert of_auth(pair.client)[0].path.remote[1] != IKE
