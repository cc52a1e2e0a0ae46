"""When a peer asked last for the answer that waits for a write: who still waits asks again."""

from proto.ike.agenda import NEVER
from proto.ike.effects import Settlement
from tests.pair.pair import Pair
from tests.pair.parts import PEER, SETTINGS


def test_a_request_whose_answer_waits_was_asked_for_as_often_as_it_is_repeated() -> None:
    pair = Pair(SETTINGS, PEER)
    pair.hold_writes = True
    pair.start()
    pair.run(0.1)
    ((_, outcome),) = pair.held
    gateway = pair.gateway.endpoint
    first_s = gateway.asked_s(outcome.spi)
    assert first_s is not None
    assert first_s <= pair.now.boot_s
    pair.run(PEER.retransmit.initial_s + 0.1)
    again_s = gateway.asked_s(outcome.spi)
    assert again_s is not None
    assert again_s > first_s
    pair.release(Settlement.DURABLE)
    assert gateway.asked_s(outcome.spi) is None
    assert gateway.asked_s(b"nobody's") is None


def test_a_write_that_answers_nobody_is_wanted_whoever_asks() -> None:
    pair = Pair(SETTINGS, PEER)
    spi = pair.other_end(pair.connect())
    pair.hold_writes = True
    outcome = pair.gateway.endpoint.terminate(spi, True, "revoked", pair.now)
    assert outcome is not None
    assert outcome.persist is not None
    assert pair.gateway.endpoint.asked_s(spi) == NEVER
