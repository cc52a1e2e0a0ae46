"""Windows (RFC 7296 2.3): the peer's is used and never exceeded; ours is one, and never said to be
more.
"""

import pytest

from proto.ike import record
from proto.ike.asking import TELL_S
from proto.ike.core import replace
from proto.ike.effects import Outcome
from proto.ike.enums import ExchangeType, NotifyType
from proto.ike.events import ChildRekeyed, Ended, Redirected, Unanswered
from proto.ike.message import peek
from proto.ike.payloads import NotifyPayload
from proto.ike.redirect import parse_target
from proto.ike.requests import WINDOW_MAX
from tests.pair.craft import opened, sealed
from tests.pair.pair import LOST, ONCE, Pair, Side, is_response
from tests.pair.parts import PEER, SETTINGS
from tests.pair.test_adopt import adopts, survivor

QUIET = replace(SETTINGS, liveness_interval_s=0.0)
TARGET = parse_target("192.0.2.3")
INFORMATIONAL = ExchangeType.INFORMATIONAL


def pair_of(size: int = 1) -> tuple[Pair, bytes]:
    """A session whose client takes so many requests at a time; the client's SPI."""
    pair = Pair(QUIET, replace(PEER, follows=True))
    spi = pair.connect()
    if size > 1:
        state(pair, spi, size.to_bytes(4, "big"))
    return pair, spi


def state(pair: Pair, spi: bytes, size: bytes) -> None:
    """The client says how many."""
    asked = (NotifyPayload(NotifyType.SET_WINDOW_SIZE, size),)
    outcome = pair.client.endpoint._on_sa(spi, pair.now, lambda sa, ctx: sa.ask(asked, ctx))
    pair.carry_out(pair.client, outcome)
    pair.run(0.2)


def redirect(pair: Pair, spi: bytes) -> Outcome | None:
    """The gateway asks the client to go elsewhere: a request that changes nothing."""
    outcome = pair.gateway.endpoint.redirect(pair.other_end(spi), TARGET, pair.now)
    pair.carry_out(pair.gateway, outcome)
    return outcome


def requests(side: Side) -> list[int]:
    """Message IDs of a side's requests, repeats too, in the order they left."""
    return [peek(d.data).message_id for d in side.sent if not is_response(d)]


def answered(pair: Pair, spi: bytes, message_id: int) -> None:
    """The client's answer to that one arrives."""
    data = sealed(pair.client.core(spi), INFORMATIONAL, message_id, [], response=True)
    pair.inject(pair.gateway, data)


def test_b9_a_window_grows_and_never_shrinks() -> None:
    pair, spi = pair_of()
    core = pair.gateway.core(pair.other_end(spi))
    assert core.window == 1
    for said, is_now in (
        (b"\x00\x00\x00\x03", 3),
        (b"\x00\x00\x00\x02", 3),
        (b"\x00\x00\x00\x00", 3),
        (b"\x00\x00\x09", 3),
        (b"\x00\x00\x00\x05", 5),
        (b"\xff\xff\xff\xff", WINDOW_MAX),
    ):
        state(pair, spi, said)
        assert pair.gateway.core(core.spi).window == is_now
    assert pair.client.core(spi).window == 1


def test_b9_the_peers_window_is_used_and_never_exceeded() -> None:
    pair, spi = pair_of(3)
    pair.deliver = lambda side, d: LOST
    assert [redirect(pair, spi) is not None for _ in range(4)] == [True, True, True, False]
    answered(pair, spi, 1)  # out of order: the oldest one holds the others
    assert redirect(pair, spi) is None
    answered(pair, spi, 0)
    assert [redirect(pair, spi) is not None for _ in range(3)] == [True, True, False]
    assert requests(pair.gateway) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("size", [1, 5])
def test_b9_several_requests_get_through_loss_in_the_same_octets(size: int) -> None:
    pair, spi = pair_of(size)
    pair.deliver = lambda side, d: LOST
    asked = [redirect(pair, spi) is not None for _ in range(3)]
    assert asked == [True, size > 1, size > 1]
    pair.run(1)
    pair.deliver = lambda side, d: ONCE
    pair.run(60)
    octets = {d.data for d in pair.gateway.sent if not is_response(d)}
    assert len(octets) == sum(asked)
    assert len(pair.client.of(Redirected)) == sum(asked)
    assert [core.state for core in pair.gateway.live()] == [pair.client.core(spi).state]


def test_b9_what_changes_nothing_does_not_wait_for_a_rekey_nor_that_for_it() -> None:
    pair, spi = pair_of(3)
    core = pair.gateway.core(pair.other_end(spi))
    pair.deliver = lambda side, d: LOST
    assert redirect(pair, spi) is not None
    child = core.children[0].spi_in
    pair.carry_out(pair.gateway, pair.gateway.endpoint.rekey_child(core.spi, child, pair.now))
    assert redirect(pair, spi) is not None
    assert requests(pair.gateway) == [0, 1, 2]
    answered(pair, spi, 2)
    answered(pair, spi, 0)
    asking = pair.gateway.core(core.spi).asking
    assert asking is not None, "the rekey is still under way"
    pair.client.endpoint._sas[spi].expected_id = 1  # it has had the one before
    pair.deliver = lambda side, d: ONCE
    pair.run(2)
    assert len(pair.gateway.of(ChildRekeyed)) == 1
    pair.client.endpoint._sas[spi].expected_id = 3  # and the one after it
    pair.run(5)
    (child,) = pair.gateway.core(core.spi).children
    assert pair.client.core(spi).children[0].spi_in == child.spi_out


def test_b9_nothing_goes_beside_a_change_that_takes_several_requests() -> None:
    pair, spi = pair_of(5)
    sa = pair.gateway.endpoint._sas[pair.other_end(spi)]
    assert sa.core.suite is not None
    sa.core = replace(sa.core, suite=replace(sa.core.suite, addkes=(36,)))
    pair.deliver = lambda side, d: LOST
    assert [redirect(pair, spi) is not None for _ in range(2)] == [True, False]


def test_b9_a_delete_waits_for_room() -> None:
    pair, spi = pair_of(2)
    core = pair.gateway.core(pair.other_end(spi))
    pair.deliver = lambda side, d: LOST
    redirect(pair, spi)
    redirect(pair, spi)
    ended = pair.gateway.endpoint.terminate(core.spi, False, "closed", pair.now)
    pair.carry_out(pair.gateway, ended)
    assert requests(pair.gateway) == [0, 1]
    pair.deliver = lambda side, d: ONCE
    pair.run(30)
    assert pair.gateway.live() == pair.client.live() == []
    assert max(requests(pair.gateway)) == 2


def test_b9_one_that_stays_unanswered_is_a_dead_peers() -> None:
    pair, spi = pair_of(3)
    pair.deliver = lambda side, d: LOST
    redirect(pair, spi)
    redirect(pair, spi)
    answered(pair, spi, 0)
    pair.run(60)
    assert pair.gateway.live() == []
    assert len(pair.gateway.of(Unanswered)) == len(pair.gateway.of(Ended)) == 1


def test_b9_a_rekeyed_sa_begins_with_a_window_of_one() -> None:
    pair, spi = pair_of(4)
    pair.carry_out(pair.client, pair.client.endpoint.rekey_ike(spi, pair.now))
    pair.run(2)
    assert [core.window for core in pair.gateway.live()] == [1]


def test_b9_an_ike_rekey_of_ours_ends_well_with_others_beside_it() -> None:
    pair, spi = pair_of(4)
    core = pair.gateway.core(pair.other_end(spi))
    redirect(pair, spi)
    pair.carry_out(pair.gateway, pair.gateway.endpoint.rekey_ike(core.spi, pair.now))
    redirect(pair, spi)
    pair.run(60)
    (ours,), (theirs,) = pair.gateway.live(), pair.client.live()
    assert (ours.spi_i, ours.spi_r) == (theirs.spi_i, theirs.spi_r)
    assert ours.spi != core.spi


def test_b9_an_adopter_knows_the_window_that_was_written() -> None:
    pair, spi = pair_of(4)
    child = pair.client.core(spi).children[0].spi_in
    pair.carry_out(pair.client, pair.client.endpoint.rekey_child(spi, child, pair.now))
    pair.run()
    (octets,) = pair.chains.records.values()
    assert record.decode(octets).window == 4
    heir = survivor(pair)
    assert adopts(pair, heir) == ""
    assert [core.window for core in heir.live()] == [4]


def test_b9_a_request_beyond_our_window_is_told_of_in_a_request_of_ours() -> None:
    pair, spi = pair_of()
    client = pair.client.core(spi)
    expected = 2
    early = sealed(client, INFORMATIONAL, expected + 4, [])
    forged = early[:-1] + bytes((early[-1] ^ 1,))
    assert pair.inject(pair.gateway, forged).send == ()
    (told,) = pair.inject(pair.gateway, early).send
    said = opened(pair.gateway.core(pair.other_end(spi)), told.data)
    assert not is_response(told)
    assert said.header.exchange == INFORMATIONAL
    assert said.notifies == (NotifyPayload(NotifyType.INVALID_MESSAGE_ID, b"\x00\x00\x00\x06"),)
    pair.run(TELL_S / 2)
    assert pair.inject(pair.gateway, early).send == (), "not again so soon"
    pair.run(TELL_S)
    assert len(pair.inject(pair.gateway, early).send) == 1
    pair.run()
    assert pair.client.endpoint.probe(spi, pair.now) is not None, "the SA goes on"


def test_b9_a_half_open_sa_tells_nobody() -> None:
    pair = Pair(QUIET)
    pair.deliver = lambda side, d: ONCE if peek(d.data).exchange == 34 else LOST
    spi = pair.connect()
    early = sealed(pair.client.core(spi), ExchangeType.IKE_AUTH, 7, [])
    assert pair.inject(pair.gateway, early).send == ()
