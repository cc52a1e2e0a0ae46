"""Rekeys with additional key exchanges that cross (RFC 9370 2.2.4, RFC 7296 2.8): the loser of two
at once is not gone on with, and who is in the midst of one takes no other.
"""

import itertools

import pytest

from proto.ike.core import replace
from proto.ike.enums import NotifyType
from proto.ike.events import ChildRekeyed, Rekeyed
from proto.ike.exchanges.series import WAIT_S
from proto.ike.names import parse_suites
from proto.ike.payloads import NoncePayload, NotifyPayload
from tests.pair.craft import opened, sealed
from tests.pair.pair import LOST, ONCE, exchange, is_response
from tests.pair.rekeys import (
    AT_ONCE,
    BOTH,
    DELAYS,
    Rekeys,
    agree,
    child_request,
    ike_request,
    late,
    losing,
    works,
)
from tests.pair.test_followup import CREATE, FOLLOWUP, NEXT, ONE, PLAIN, TWO, begun, rekey, said, up


@BOTH
@pytest.mark.parametrize("seed", range(4))
@AT_ONCE
def test_of_two_rekeys_at_once_the_loser_is_not_gone_on_with(
    what: Rekeys, seed: int, by_client: bool
) -> None:
    at = up(ONE, by_client)
    at.side.rng.bytes(seed)  # other nonces
    core, theirs = at.own, at.theirs
    what(at)
    at.pair.run(60)
    agree(at)
    messages = said(at, core, theirs)
    followups = [m for kind, m in messages if kind == FOLLOWUP]
    assert len(followups) == 2  # of one of the two, which has made the only SA
    nonces: dict[bool, bytes] = {}
    for kind, message in messages:
        nonce = message.find(NoncePayload)
        if kind == CREATE and nonce is not None:
            began = message.header.from_initiator is not message.header.is_response
            nonces[began] = min(nonces.get(began, nonce.data), nonce.data)
    goes_on = followups[0].header
    winner = goes_on.from_initiator is not goes_on.is_response
    assert nonces[winner] == max(nonces.values())
    works(at)


@pytest.mark.parametrize("delays", DELAYS, ids=str)
@AT_ONCE
def test_two_rekeys_at_once_end_well_in_every_order(
    what: Rekeys, delays: tuple[float, ...]
) -> None:
    at = up()
    at.pair.deliver = late(delays)
    what(at)
    at.pair.run(150)
    agree(at)
    assert len(at.own.children) == 1
    works(at)


@pytest.mark.parametrize("lost", list(itertools.combinations(range(8), 2)), ids=str)
@AT_ONCE
def test_two_rekeys_at_once_end_well_through_loss(what: Rekeys, lost: tuple[int, ...]) -> None:
    at = up()
    at.pair.deliver = losing(lost)
    what(at)
    at.pair.run(150)
    agree(at)
    works(at)


@BOTH
@pytest.mark.parametrize("seed", range(8))
@AT_ONCE
def test_one_with_and_one_without_more_exchanges_end_well(
    what: Rekeys, seed: int, by_client: bool
) -> None:
    # each side's rekey is answered by the other side's taste
    at = up(ONE, by_client)
    at.side.rng.bytes(seed)
    suites = (parse_suites(f"{PLAIN}-ke1_none-ke1_ecp384"),)
    at.side.endpoint.settings = replace(at.side.endpoint.settings, suites=suites)
    suites = (parse_suites(f"{ONE}-ke1_none"),)
    at.other.endpoint.settings = replace(at.other.endpoint.settings, suites=suites)
    what(at)
    at.pair.run(150)
    agree(at)
    assert len(at.own.children) == 1
    works(at)


@pytest.mark.parametrize("what", ["ike", "child"])
def test_a_rekey_of_what_we_are_rekeying_waits(what: str) -> None:
    at = up(TWO)
    rekey(at, what)
    at.pair.run(0.025)  # our CREATE_CHILD_SA is answered, a followup under way
    asking = at.own.asking
    assert asking is not None
    assert asking.series is not None
    theirs, (child,) = at.theirs, at.theirs.children
    request = ike_request(b"new-spi!")
    if what == "child":
        request = child_request(rekeys=child.spi_in)
    data = sealed(theirs, CREATE, 0, request)
    (sent,) = at.pair.inject(at.side, data, at.other.address).send
    assert opened(at.own, sent.data).payloads == (NotifyPayload(NotifyType.TEMPORARY_FAILURE),)
    at.pair.run(9)
    assert len(at.side.of(Rekeyed if what == "ike" else ChildRekeyed)) == 1


def test_what_we_want_waits_until_the_peer_has_finished_or_given_up() -> None:
    at = up()
    begun(at)
    theirs = at.theirs
    child = theirs.children[0].spi_in
    assert at.other.endpoint.rekey_child(theirs.spi, child, at.pair.now) is None
    at.pair.run(WAIT_S - 2)
    assert exchange(at.other.sent[-1]) != CREATE or is_response(at.other.sent[-1])
    at.pair.run(4)
    assert any(exchange(d) == CREATE and not is_response(d) for d in at.other.sent)


def test_b9_in_a_larger_window_a_followup_keeps_its_place() -> None:
    at = up(TWO)
    spi = at.own.spi
    sa = at.side.endpoint._sas[spi]
    sa.core = replace(sa.core, window=3)
    at.pair.deliver = lambda side, d: LOST if d.data[23] == NEXT + 1 and side is at.side else ONCE
    at.pair.carry_out(at.side, at.side.endpoint.probe(spi, at.pair.now))  # gets lost, for now
    at.rekey_child()
    assert at.side.endpoint.probe(spi, at.pair.now) is None
    at.pair.run(0.3)
    ids = [one.message_id for one in sa.requests.under_way()]
    assert max(ids) - min(ids) < 3
    at.pair.deliver = lambda side, d: ONCE
    at.pair.run(9)
    agree(at)
