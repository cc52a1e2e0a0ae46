"""What is unfinished as an SA is to go to another owner: of a rekey that the peer has answered, and
we haven't heard of, the heir would know nothing.
"""

import pytest

from proto.ike.core import replace
from proto.ike.effects import Datagram
from proto.ike.enums import ExchangeType
from proto.ike.events import Rekeyed, Unanswered
from tests.pair.pair import LOST, ONCE, Fate, Side, exchange, is_response
from tests.pair.rekeys import BOTH, Up, up
from tests.pair.states import QUIET
from tests.pair.test_adopt import adopts, survivor
from tests.pair.test_errands import slow_pair
from tests.pair.test_followup import ONE
from tests.pair.test_followup import up as hybrid

WHAT = pytest.mark.parametrize("what", ["ike", "child"])
SILENCE_S = 30.0
"""Longer than a request is repeated."""


def rekey(at: Up, what: str) -> None:
    """The gateway begins to rekey the IKE SA, or its Child SA."""
    (at.rekey_ike if what == "ike" else at.rekey_child)()


@WHAT
def test_a_rekey_of_ours_is_unfinished_until_its_answer_is_here(what: str) -> None:
    at = up(by_client=False)
    gateway, spi = at.side.endpoint, at.own.spi
    assert gateway.unfinished() == []
    at.pair.deliver = lambda side, d: LOST if side is at.other and is_response(d) else ONCE
    rekey(at, what)
    at.pair.run(1)
    assert gateway.unfinished() == [spi]
    assert gateway.has_begun()
    at.pair.deliver = lambda side, d: ONCE
    at.pair.run(5)
    assert gateway.unfinished() == []
    assert not gateway.has_begun()


@WHAT
def test_so_it_is_between_its_key_exchanges(what: str) -> None:
    at = hybrid(ONE, by_client=False)
    spi = at.own.spi

    def deliver(side: Side, datagram: Datagram) -> Fate:
        last = exchange(datagram) == ExchangeType.IKE_FOLLOWUP_KE and is_response(datagram)
        return LOST if last else ONCE

    at.pair.deliver = deliver
    rekey(at, what)
    at.pair.run(1)
    assert at.side.endpoint.unfinished() == [spi]


def test_a_peer_that_is_silent_ends_the_wait_with_the_sa() -> None:
    at = up(by_client=False)
    at.pair.deliver = lambda side, d: LOST
    at.rekey_ike()
    at.pair.run(1)
    assert at.side.endpoint.unfinished()
    at.pair.run(SILENCE_S)
    assert at.side.of(Unanswered)
    assert at.side.endpoint.unfinished() == []


def test_what_asks_and_makes_nothing_is_not_unfinished() -> None:
    at = up(by_client=False)
    at.pair.deliver = lambda side, d: LOST
    at.pair.carry_out(at.side, at.side.endpoint.probe(at.own.spi, at.pair.now))
    assert at.side.endpoint.is_asking(at.own.spi)
    assert at.side.endpoint.unfinished() == []


@WHAT
def test_no_rekey_of_ours_begins_while_the_shard_is_on_its_way(what: str) -> None:
    at = up(by_client=False)
    spis, sent = at.side.spis, len(at.side.sent)
    spis.stays = False
    rekey(at, what)
    at.pair.run(5)
    assert len(at.side.sent) == sent
    assert at.side.endpoint.unfinished() == []
    spis.stays = True  # it wasn't taken after all
    at.pair.run(5)
    assert len(at.side.sent) > sent
    assert bool(at.side.of(Rekeyed)) == (what == "ike")


def test_none_begins_whose_key_pair_is_made_when_the_shard_is_on_its_way() -> None:
    pair = slow_pair()
    gateway, own = pair.gateway, pair.other_end(pair.connect())
    pair.hold_errands = True
    pair.carry_out(gateway, gateway.endpoint.rekey_ike(own, pair.now))
    gateway.spis.stays = False
    sent = len(gateway.sent)
    pair.run_errands()
    pair.run(5)
    assert len(gateway.sent) == sent
    gateway.spis.stays = True
    pair.run(5)
    assert gateway.of(Rekeyed)


@BOTH
def test_the_heir_deletes_a_child_that_was_rekeyed_as_the_shard_went(by_client: bool) -> None:
    """Its Delete doesn't begin any more, or isn't sure to have arrived."""
    at = up(by_client)
    pair, gateway, client = at.pair, at.pair.gateway, at.pair.client
    (core,) = gateway.live()
    pair.deliver = lambda side, d: LOST if exchange(d) == ExchangeType.INFORMATIONAL else ONCE
    at.rekey_child()
    gateway.spis.stays = False
    pair.run(0.1)
    pair.deliver = lambda side, d: ONCE
    progress = gateway.endpoint.progress(core.spi)
    assert progress is not None
    assert not gateway.endpoint.is_asking(core.spi)
    heir = survivor(pair)
    assert adopts(pair, heir) == ""
    assert len(heir.core(core.spi).children) == 2
    heir.endpoint.catch_up(core.spi, progress, True, pair.now)
    pair.run(5)
    (kept,), (theirs,) = heir.core(core.spi).children, client.live()[0].children
    assert (kept.spi_in, kept.spi_out) == (theirs.spi_out, theirs.spi_in)


def test_what_waited_for_the_shard_to_stay_is_done_with_by_the_peers_own_rekey() -> None:
    at = up(False, replace(QUIET, ike_rekey_s=100.0))
    pair, gateway, client = at.pair, at.pair.gateway, at.pair.client
    gateway.spis.stays = False
    pair.run(103)
    Up(pair, client, gateway).rekey_ike()
    pair.run(1)
    rekeyed = len(gateway.of(Rekeyed))
    gateway.spis.stays = True
    pair.run(10)
    assert len(gateway.of(Rekeyed)) == rekeyed
