"""How many sessions a peer may have: what is asked, and what becomes of one too many."""

import pytest

from proto.ike.connection import Connection, Method
from proto.ike.core import replace
from proto.ike.errands import Undone
from proto.ike.events import Established, Failed, Limited, OverLimit
from proto.ike.limits import Counted, CountSessions
from tests.pair.pair import Pair
from tests.pair.parts import CLIENT_ID, GATEWAY_ID, PEER, SETTINGS

TWO = Connection("two", GATEWAY_ID, SETTINGS.local_ts, SETTINGS.remote_ts, sessions_max=2)


def pair_of(connection: Connection = TWO) -> Pair:
    """Of a gateway with that connection; what it has counted is for the test to say."""
    pair = Pair(replace(SETTINGS, connections=(connection,)))
    pair.client.endpoint.settings = SETTINGS
    pair.hold_errands = True
    return pair


def test_below_the_limit_a_session_begins_and_that_is_told() -> None:
    pair = pair_of()
    spi = pair.start()
    pair.run(0.2)
    ((_, _, asked),) = pair.out
    assert pair.gateway.of(Established) == []
    pair.run_errands(Counted(1))
    pair.run()
    core = pair.gateway.core(pair.other_end(spi))
    assert asked == CountSessions(core.spi, b"", core.identity, GATEWAY_ID.data, False)
    limited = Limited(core.spi, core.identity, GATEWAY_ID.data, 2, False)
    assert pair.gateway.of(Limited) == [limited]
    pair.agree(spi)


def test_one_too_many_is_refused_and_leaves_nothing() -> None:
    pair = pair_of()
    pair.start()
    pair.run(0.2)
    pair.run_errands(Counted(2))
    pair.run()
    (over,) = pair.gateway.of(OverLimit)
    assert (over.identity, over.others, over.most) == ("rfc822:alice@example.com", 2, 2)
    (said,) = [event.why for event in pair.gateway.of(Failed)]
    assert said.startswith("rfc822:alice@example.com has 2 sessions; sessions_max of two ")
    assert [event.why for event in pair.client.of(Failed)] == [
        "the gateway answered AUTHENTICATION_FAILED"
    ]
    assert pair.chains.records == pair.chains.version == {}
    pair.run(60)
    assert pair.gateway.endpoint.spis() == []


def test_a_resumed_session_is_not_counted_and_may_be_refused_with_its_ticket_unused() -> None:
    pair = pair_of()
    spi = pair.start()
    pair.run(0.2)
    pair.run_errands(Counted(0))
    pair.run()
    chain = pair.gateway.core(pair.other_end(spi)).chain
    ticket = pair.ticket()
    for others, stands in ((2, False), (1, True)):
        pair.hold_errands = True
        again = pair.start_resume(ticket=ticket)
        pair.run(0.2)
        ((_, _, asked),) = pair.out
        assert isinstance(asked, CountSessions)
        assert asked.chain == chain
        pair.run_errands(Counted(others))
        pair.run()
        assert (pair.client.endpoint.find(again) is not None) is stands
    assert pair.gateway.live()[0].generation == 2


def test_who_says_that_it_begins_anew_is_asked_for_as_such() -> None:
    pair = pair_of()
    pair.start(peer=replace(PEER, initial_contact=True))
    pair.run(0.2)
    ((_, _, asked),) = pair.out
    assert isinstance(asked, CountSessions)
    assert asked.begins_anew


def test_where_nobody_can_count_no_session_begins() -> None:
    pair = pair_of()
    pair.start()
    pair.run(0.2)
    pair.run_errands(Undone("too many"))
    pair.run()
    assert [event.why for event in pair.client.of(Failed)] == [
        "the gateway answered TEMPORARY_FAILURE"
    ]
    assert pair.gateway.of(OverLimit) == []


@pytest.mark.parametrize(
    ("connection", "told"),
    [
        (replace(TWO, sessions_max=0), []),
        (replace(TWO, remote_auth=(Method.PSK,), oldest_ends=True), [True]),
    ],
)
def test_without_a_limit_or_where_the_oldest_ends_nobody_is_asked(
    connection: Connection, told: list[bool]
) -> None:
    pair = pair_of(connection)
    pair.agree(pair.connect(peer=replace(PEER, local_id=CLIENT_ID)))
    assert pair.out == []
    assert [event.oldest_ends for event in pair.gateway.of(Limited)] == told
