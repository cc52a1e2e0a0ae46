"""Whatever arrives, in whichever state: no exception, no second answer, no IV twice; and nothing
that wasn't authenticated moves an SA that is.
"""

from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proto.ike.core import SaCore, State
from proto.ike.effects import Outcome
from proto.ike.enums import FLAG_INITIATOR, FLAG_RESPONSE, ExchangeType
from proto.ike.message import encode_clear, seal
from proto.ike.payloads import Payload, decode_chain, encode_chain
from tests.pair.craft import iv_for, opened, protections
from tests.pair.states import PLACES, Case, Place, stop_at
from tests.unit.proto.strategies import chains

EXCHANGES = [*map(int, ExchangeType), 0, 33, 255]
AUTHENTICATED = (State.ESTABLISHED, State.DEAD)


class Sent(NamedTuple):
    """A generated message, before it has SPIs and protection."""

    exchange: int
    response: bool
    from_initiator: bool
    message_id: int
    payloads: tuple[Payload, ...]
    protected: bool
    genuine: bool
    """Made of the payloads that the honest peer would send."""


messages = st.builds(
    Sent,
    st.sampled_from(EXCHANGES),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0, 1, 2, 3, 0xFFFFFFFF]),
    chains,
    st.booleans(),
    st.booleans(),
)


def octets(sent: Sent, case: Case) -> bytes:
    """`sent` as the peer of the side under test would put it on the wire."""
    own = case.side.core(case.spi)
    payloads = sent.payloads
    if sent.genuine and case.other.sent:
        payloads += genuine(case)
    flags = FLAG_RESPONSE if sent.response else 0
    flags |= FLAG_INITIATOR if sent.from_initiator else 0
    head = (own.spi_i, own.spi_r, sent.exchange, flags, sent.message_id)
    if sent.protected and own.keys is not None:
        _, rx = protections(own)
        return seal(*head, payloads, rx, iv_for(rx))
    return encode_clear(*head, payloads)


def genuine(case: Case) -> tuple[Payload, ...]:
    """The payloads of the peer's newest message, sealed or not."""
    data = case.other.sent[-1].data
    if data[16] == 46:
        return () if case.peer is None or case.peer.keys is None else opened_by(case.peer, data)
    return decode_chain(data[16], data[28:])


def opened_by(peer: SaCore, data: bytes) -> tuple[Payload, ...]:
    """Its payloads, where the SA is the peer's."""
    ours = data[:16] == peer.spi_i + peer.spi_r
    return opened(peer, data).payloads if ours else ()


def put(case: Case, data: bytes) -> Outcome:
    """`data` reaches the side under test; writes settle at once unless the case holds them."""
    return case.pair.inject(case.side, data, case.other.address)


@pytest.mark.parametrize("place", PLACES, ids=str)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(batch=st.lists(messages, min_size=1, max_size=4))
def test_a_generated_message_never_raises_and_is_answered_at_most_once(
    place: Place, batch: list[Sent]
) -> None:
    case = stop_at(place)
    for sent in batch:
        before = case.side.endpoint.find(case.spi)
        if before is None:
            break
        outcome = put(case, octets(sent, case))
        assert len(outcome.send) <= 1
        if not sent.protected and before.state in AUTHENTICATED:
            assert case.side.core(case.spi) == before
            assert outcome.persist is None
            assert outcome.kernel == ()
        if sent.response:
            assert not any(d.data[19] & FLAG_RESPONSE for d in outcome.send)
        assert len(case.side.endpoint.spis()) <= 4
    case.pair.run(0.1)
    if place.waiting:
        assert len(case.pair.held) <= 1 + len(batch)
        case.pair.release()
    case.pair.run(120)
    assert case.pair.check == []


@pytest.mark.parametrize("place", [p for p in PLACES if p.state in AUTHENTICATED], ids=str)
def test_nothing_unprotected_moves_an_authenticated_sa(place: Place) -> None:
    case = stop_at(place)
    before = case.side.core(case.spi)
    for exchange in EXCHANGES:
        for flags in (0, 8, 0x20, 0x28):
            for message_id in range(4):
                for first, body in (encode_chain(()), encode_chain(genuine(case))):
                    payloads = decode_chain(first, body)
                    data = encode_clear(
                        before.spi_i, before.spi_r, exchange, flags, message_id, payloads
                    )
                    assert put(case, data).send == ()
    assert case.side.core(case.spi) == before


@pytest.mark.parametrize("place", PLACES, ids=str)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_garbage_and_damaged_genuine_messages_leave_no_trace(
    place: Place, data: st.DataObject
) -> None:
    case = stop_at(place)
    before = case.side.core(case.spi)
    said = [d.data for side in (case.pair.client, case.pair.gateway) for d in side.sent]
    waiting = len(case.pair.held)
    for _ in range(5):
        victim = bytearray(data.draw(st.sampled_from(said)))
        match data.draw(st.sampled_from(["garbage", "cut", "bits", "longer"])):
            case "garbage":
                victim = bytearray(data.draw(st.binary(max_size=200)))
            case "cut":
                del victim[data.draw(st.integers(0, len(victim) - 1)) :]
            case "bits":
                for _ in range(data.draw(st.integers(1, 3))):
                    bit = data.draw(st.integers(0, 8 * len(victim) - 1))
                    victim[bit // 8] ^= 1 << bit % 8
            case "longer":
                victim += data.draw(st.binary(min_size=1, max_size=40))
        if bytes(victim) in said:
            continue  # two flips that undo each other
        outcome = put(case, bytes(victim))
        assert len(outcome.send) <= 1
        assert outcome.persist is None
    assert len(case.pair.held) == waiting
    after = case.side.endpoint.find(case.spi)
    if before.keys is not None:
        assert after == before
    assert case.pair.check == []


@pytest.mark.parametrize("resumed", [False, True], ids=["full", "resumed"])
def test_every_cut_and_every_flipped_bit_of_a_normal_run_is_survived(resumed: bool) -> None:
    """The genuine messages follow and are taken, but for first messages: nothing protects those."""
    case = stop_at(
        Place(State.RESUME_ANSWERED, False, resumed=True)
        if resumed
        else Place(State.INIT_ANSWERED, False)
    )
    genuine_auth = case.pair.client.sent[-1].data
    before = case.side.core(case.spi)
    for end in range(len(genuine_auth)):
        assert put(case, genuine_auth[:end]).send == ()
    for bit in range(8 * len(genuine_auth)):
        bad = bytearray(genuine_auth)
        bad[bit // 8] ^= 1 << bit % 8
        outcome = put(case, bytes(bad))
        # another major version is all that may be answered, unprotected and from no state
        assert all(d.data[16] == 41 for d in outcome.send)
        assert outcome.persist is None
    assert case.side.core(case.spi) == before
    case.pair.deliver = lambda side, datagram: (0.0,)
    put(case, genuine_auth)
    case.pair.run()
    case.pair.agree(before.spi_i)
    answer = case.pair.gateway.sent[-1].data
    assert answer[18] == ExchangeType.IKE_AUTH


@pytest.mark.parametrize("initiator", [False, True], ids=["responder", "initiator"])
def test_an_established_sa_survives_every_damaged_form_of_a_question_and_of_its_answer(
    initiator: bool,
) -> None:
    case = stop_at(Place(State.ESTABLISHED, initiator, asking=True))
    pair, before = case.pair, case.side.core(case.spi)
    question = case.side.sent[-1].data
    pair.inject(case.other, question, case.side.address)
    answer = case.other.sent[-1].data
    for end in range(len(answer)):
        put(case, answer[:end])
    for bit in range(8 * len(answer)):
        bad = bytearray(answer)
        bad[bit // 8] ^= 1 << bit % 8
        put(case, bytes(bad))
    assert case.side.core(case.spi) == before
    assert case.side.endpoint.probe(case.spi, pair.now) is None
    put(case, answer)
    assert case.side.endpoint.probe(case.spi, pair.now) is not None
