"""Datagrams lost, doubled, late or out of order: one SA or a clean failure (RFC 7296 2.1, 2.4)."""

import random
from collections.abc import Callable

import pytest

from proto.ike.core import RetransmitPolicy, State, replace
from proto.ike.effects import Datagram, Settlement
from proto.ike.enums import ExchangeType
from proto.ike.events import Dropped, Ended, Established, Failed, TicketReceived, Unanswered
from tests.pair.pair import LOST, ONCE, Fate, Pair, Side, exchange, is_response
from tests.pair.parts import PEER, SETTINGS

QUIET = replace(SETTINGS, liveness_interval_s=0)
MESSAGES = 4
"""A handshake of either kind has so many."""


def begin(pair: Pair, resumed: bool, deliver: Callable[[Side, Datagram], Fate]) -> bytes:
    """A handshake of either kind under `deliver`, with only its own events recorded."""
    if resumed:
        pair.connect()
        pair.client.events = [e for e in pair.client.events if isinstance(e, TicketReceived)]
        pair.gateway.events.clear()
    pair.deliver = deliver
    return pair.start_resume() if resumed else pair.start()


def one_sa(pair: Pair, spi: bytes) -> None:
    """Exactly one SA of this handshake on each side, and nothing left half-open."""
    pair.agree(spi)
    assert len(pair.client.of(Established)) == len(pair.gateway.of(Established)) == 1
    assert pair.client.of(Failed) == []
    assert pair.check == []
    assert len(pair.chains.records) == 1


@pytest.mark.parametrize("resumed", [False, True], ids=["full", "resumed"])
@pytest.mark.parametrize("lost", range(MESSAGES))
def test_any_one_message_may_be_lost(lost: int, resumed: bool) -> None:
    pair = Pair(QUIET)  # B6
    numbers = iter(range(100))
    spi = begin(pair, resumed, lambda side, d: LOST if next(numbers) == lost else ONCE)
    pair.run(10)
    one_sa(pair, spi)


@pytest.mark.parametrize("resumed", [False, True], ids=["full", "resumed"])
@pytest.mark.parametrize("doubled", range(MESSAGES))
@pytest.mark.parametrize("delay_s", [0.0, 0.001, 0.5, 20.0])
def test_any_one_message_may_come_twice(doubled: int, delay_s: float, resumed: bool) -> None:
    pair = Pair(QUIET)
    numbers = iter(range(100))
    spi = begin(pair, resumed, lambda side, d: (0.0, delay_s) if next(numbers) == doubled else ONCE)
    pair.run(15)
    one_sa(pair, spi)
    pair.run(60)
    one_sa(pair, spi)
    assert pair.gateway.endpoint.half_open == 0
    assert len(pair.gateway.endpoint.spis()) == 1


@pytest.mark.parametrize("resumed", [False, True], ids=["full", "resumed"])
@pytest.mark.parametrize("seed", range(40))
def test_thirty_percent_loss_doubling_and_reordering(seed: int, resumed: bool) -> None:
    pair = Pair(QUIET)
    chance = random.Random(seed)

    def fate(side: Side, datagram: Datagram) -> Fate:
        copies = chance.choices((0, 1, 2), weights=(30, 60, 10))[0]
        return [chance.choice((0.0, 0.003, 0.3, 1.5)) for _ in range(copies)]

    spi = begin(pair, resumed, fate)
    pair.run(30)
    assert pair.check == []
    made = pair.client.of(Established)
    if made:
        one_sa(pair, spi)
    else:
        assert len(pair.client.of(Failed)) == 1
        assert pair.client.endpoint.find(spi) is None
        # the gateway may hold an SA whose answer never arrived, but not more than one
        assert len(pair.gateway.of(Established)) <= 1
    pair.run(60)
    assert pair.gateway.endpoint.half_open == 0


def test_most_of_the_lossy_runs_above_end_well() -> None:
    made = 0
    for seed in range(40):
        pair = Pair(QUIET)
        chance = random.Random(seed)
        pair.deliver = lambda side, d, c=chance: ONCE if c.random() >= 0.3 else LOST  # type: ignore[misc]
        pair.start()
        pair.run(30)
        made += len(pair.client.of(Established))
    assert made >= 30


def test_retransmissions_are_bit_identical_and_ever_further_apart() -> None:
    policy = RetransmitPolicy(initial_s=0.5, factor=2.0, tries=4)  # B6
    pair = Pair(peer=replace(PEER, retransmit=policy))
    left: list[float] = []

    def lose(side: Side, datagram: Datagram) -> Fate:
        left.append(pair.boot_s)
        return LOST

    pair.deliver = lose
    spi = pair.start()
    pair.run(7.4)
    assert [at - left[0] for at in left] == pytest.approx([0.0, 0.5, 1.5, 3.5])
    assert len({d.data for d in pair.client.sent}) == 1
    assert pair.client.of(Failed) == []
    pair.run(0.2)
    assert [(e.spi, e.why) for e in pair.client.of(Failed)] == [(spi, "no answer")]
    assert pair.client.endpoint.spis() == []


def test_every_message_of_ours_is_repeated_bit_identical() -> None:
    pair = Pair(QUIET)
    said: set[bytes] = set()

    def lose_the_first(side: Side, datagram: Datagram) -> Fate:
        if datagram.data in said:
            return ONCE
        said.add(datagram.data)
        return LOST

    pair.deliver = lose_the_first
    spi = pair.start()
    pair.run(30)
    pair.agree(spi)
    for side in (pair.client, pair.gateway):
        for kind in (ExchangeType.IKE_SA_INIT, ExchangeType.IKE_AUTH):
            octets = [d.data for d in side.sent if exchange(d) == kind]
            assert len(octets) > 1
            assert len(set(octets)) == 1


def test_a_repeat_is_not_answered_before_the_write_is_durable_and_then_with_the_same_octets() -> (
    None
):
    pair = Pair(QUIET)  # promise 6
    pair.hold_writes = True
    spi = pair.start()
    pair.run(0.1)
    sent = len(pair.gateway.sent)
    pair.replay(pair.client)
    pair.run(3)
    assert len(pair.gateway.sent) == sent
    assert {e.reason for e in pair.gateway.of(Dropped)} == {"waiting"}
    assert pair.gateway.of(Established) == []
    pair.release()
    pair.run()
    pair.agree(spi)
    pair.replay(pair.client)
    assert pair.gateway.sent[-1].data == pair.gateway.sent[sent].data
    assert len(pair.gateway.sent) == sent + 2
    assert len(pair.gateway.of(Established)) == 1


def test_a_repeat_is_known_by_its_octets_not_by_its_message_id() -> None:
    pair = Pair(QUIET)
    pair.connect()
    sent = len(pair.gateway.sent)
    changed = bytearray(pair.client.sent[-1].data)
    changed[-1] ^= 1
    assert pair.inject(pair.gateway, bytes(changed)).send == ()
    assert len(pair.gateway.sent) == sent
    pair.replay(pair.client)
    assert pair.gateway.sent[-1].data == pair.gateway.sent[-2].data


def test_messages_outside_the_window_get_silence() -> None:
    pair = Pair(QUIET)  # B9
    spi = pair.connect()
    for _ in range(3):
        pair.carry_out(pair.client, pair.client.endpoint.probe(spi, pair.now))
        pair.run()
    sent = len(pair.gateway.sent)
    for index in range(1, len(pair.client.sent) - 1):
        pair.replay(pair.client, index)
    assert len(pair.gateway.sent) == sent
    assert {e.reason for e in pair.gateway.of(Dropped)} == {"message_id"}


def test_one_request_of_ours_at_a_time() -> None:
    pair = Pair(QUIET)  # B9
    spi = pair.connect()
    first = pair.client.endpoint.probe(spi, pair.now)
    assert first is not None
    assert pair.client.endpoint.probe(spi, pair.now) is None
    assert pair.client.endpoint.request_ticket(spi, pair.now) is None
    # and the peer's request is answered meanwhile
    pair.carry_out(pair.gateway, pair.gateway.endpoint.probe(pair.other_end(spi), pair.now))
    pair.run(0.1)
    assert is_response(pair.client.sent[-1])
    pair.carry_out(pair.client, first)
    pair.run()
    again = pair.client.endpoint.probe(spi, pair.now)
    assert again is not None
    assert again.send[0].data[20:24] == (3).to_bytes(4, "big")


def test_a_dead_gateway_is_told_by_silence_alone() -> None:
    pair = Pair(QUIET)  # R68, B10
    spi = pair.connect()
    pair.deliver = lambda side, d: LOST
    pair.carry_out(pair.client, pair.client.endpoint.probe(spi, pair.now))
    pair.run(7.4)
    assert pair.client.of(Unanswered) == []
    pair.run(0.2)
    assert [e.spi for e in pair.client.of(Unanswered)] == [spi]
    assert [e.why for e in pair.client.of(Ended)] == ["no answer"]
    pair.run(30)
    assert pair.client.endpoint.spis() == []


def test_a_dead_client_is_noticed_by_the_gateway_and_its_record_goes() -> None:
    pair = Pair(replace(SETTINGS, liveness_interval_s=60.0))
    pair.connect()
    (core,) = pair.gateway.live()
    pair.deliver = lambda side, d: LOST
    pair.run(58.5)
    assert len(pair.gateway.sent) == 2
    pair.run(0.8)
    assert len(pair.gateway.sent) == 3
    pair.run(60)
    assert [e.spi for e in pair.gateway.of(Unanswered)] == [core.spi_r]
    assert [e.spi for e in pair.gateway.of(Ended)] == [core.spi_r]
    assert pair.chains.records == {}
    assert len(pair.gateway.kernel) == 2
    assert pair.gateway.endpoint.spis() == []
    # the chain stays: the client may come back with its ticket
    pair.deliver = lambda side, d: ONCE
    pair.agree(pair.resume())


def test_a_client_that_is_heard_is_not_asked() -> None:
    pair = Pair(replace(SETTINGS, liveness_interval_s=60.0))
    spi = pair.connect()
    for _ in range(10):
        pair.run(50)
        pair.carry_out(pair.client, pair.client.endpoint.probe(spi, pair.now))
    pair.run()
    assert all(is_response(d) for d in pair.gateway.sent)
    heard_s = pair.boot_s
    while all(is_response(d) for d in pair.gateway.sent):
        pair.run(1)
    assert 58 <= pair.boot_s - heard_s <= 62


def test_the_half_open_table_is_bounded_and_forgets() -> None:
    pair = Pair(replace(QUIET, half_open_max=2, half_open_timeout_s=30.0))  # promise 7
    pair.deliver = lambda side, d: LOST if side is pair.gateway else ONCE
    for _ in range(5):
        pair.start()
        pair.run(0.1)
    assert pair.gateway.endpoint.half_open == 2
    assert "half_open_full" in {e.reason for e in pair.gateway.of(Dropped)}
    pair.run(29)
    assert pair.gateway.endpoint.half_open == 2
    pair.run(20)
    assert pair.gateway.endpoint.half_open == 0
    assert pair.gateway.endpoint.spis() == []
    assert {e.why for e in pair.gateway.of(Failed)} == {"no IKE_AUTH"}
    pair.deliver = lambda side, d: ONCE
    pair.agree(pair.connect())


def test_a_write_that_takes_longer_than_the_half_open_time_does_not_lose_the_handshake() -> None:
    policy = RetransmitPolicy(initial_s=1.0, factor=2.0, tries=8)
    pair = Pair(QUIET, replace(PEER, retransmit=policy))
    pair.hold_writes = True
    spi = pair.start()
    pair.run(100)
    assert pair.gateway.core(pair.other_end(spi)).state is State.INIT_ANSWERED
    pair.release(Settlement.DURABLE)
    pair.run(100)
    pair.agree(spi)
