"""Exchanges that cross each other: the table of RFC 7296 2.25, and two rekeys at once (2.8.1,
2.8.2), in every order in which their messages can come.
"""

import itertools

import pytest

from proto.ike.agenda import NEVER
from proto.ike.core import SaCore, Settings, State, replace
from proto.ike.effects import Outcome
from proto.ike.enums import ExchangeType, NotifyType, ProtocolId
from proto.ike.events import Ended, Rekeyed
from proto.ike.payloads import DeletePayload, NoncePayload, NotifyPayload
from tests.pair.craft import opened, sealed
from tests.pair.pair import LOST, ONCE, Pair, Side, exchange
from tests.pair.rekeys import (
    AT_ONCE,
    BOTH,
    DELAYS,
    Rekeys,
    Up,
    agree,
    both_rekey_child,
    both_rekey_ike,
    child_request,
    ike_request,
    in_kernel,
    late,
    losing,
    up,
    works,
)
from tests.pair.states import QUIET

BUSY = (NotifyPayload(NotifyType.TEMPORARY_FAILURE),)


def nonces(at: Up, core_i: bytes) -> dict[str, bytes]:
    """By who began it: the lowest nonce of each CREATE_CHILD_SA on the SA `core_i`."""
    found: dict[str, bytes] = {}
    for side in (at.side, at.other):
        for datagram in side.sent:
            if datagram.data[:8] != core_i or exchange(datagram) != ExchangeType.CREATE_CHILD_SA:
                continue
            message = opened(side.core(own_spi(side, datagram.data)), datagram.data)
            nonce = message.find(NoncePayload)
            if nonce is None:
                continue
            began = at.other if message.header.is_response and side is at.side else side
            began = at.side if message.header.is_response and side is at.other else began
            found[began.name] = min(found.get(began.name, nonce.data), nonce.data)
    return found


def own_spi(side: Side, data: bytes) -> bytes:
    """The SPI of `side`'s SA that `data` was sent on."""
    return data[:8] if data[:8] in side.endpoint.spis() else data[8:16]


@BOTH
@pytest.mark.parametrize("seed", range(6))
def test_b30_of_two_ike_rekeys_at_once_the_one_with_the_lowest_nonce_loses(
    by_client: bool, seed: int
) -> None:
    at = up(by_client)
    at.side.rng.bytes(seed)  # other nonces
    first = at.own.spi_i
    children = at.own.children
    both_rekey_ike(at)
    at.pair.run(0.05)
    lowest = nonces(at, first)
    winner = max(lowest, key=lambda name: lowest[name])
    at.pair.run(90)
    agree(at)
    assert at.own.initiator is (winner == at.side.name)
    assert at.own.children == children
    assert not at.side.of(Ended)
    assert not at.other.of(Ended)
    works(at)


@BOTH
@pytest.mark.parametrize("seed", range(4))
def test_b28_of_two_child_rekeys_at_once_the_one_with_the_lowest_nonce_loses(
    by_client: bool, seed: int
) -> None:
    at = up(by_client)
    at.side.rng.bytes(seed)
    (former,) = at.own.children
    both_rekey_child(at)
    at.pair.run(0.03)
    lowest = nonces(at, at.own.spi_i)
    winner = max(lowest, key=lambda name: lowest[name])
    at.pair.run(20)
    agree(at)
    (child,) = at.own.children
    assert child.spi_in != former.spi_in
    assert child.initiator is (winner == at.side.name)
    assert not child.rekeyed
    assert in_kernel(at.side) == [child.spi_in]
    assert in_kernel(at.other) == [child.spi_out]
    works(at)


@pytest.mark.parametrize("delays", DELAYS, ids=str)
@AT_ONCE
def test_b28_b30_b31_two_rekeys_at_once_end_well_in_every_order(
    what: Rekeys, delays: tuple[float, ...]
) -> None:
    """The two requests and the two answers are each late by as much as they like, and so come
    before or after each other and their repeats.
    """
    at = up()
    at.pair.deliver = late(delays)
    what(at)
    at.pair.run(150)
    agree(at)
    assert len(at.own.children) == 1
    assert len(in_kernel(at.side)) == len(in_kernel(at.other)) == 1
    works(at)


@pytest.mark.parametrize("lost", list(itertools.combinations(range(7), 2)), ids=str)
@AT_ONCE
def test_b28_b30_two_rekeys_at_once_end_well_through_loss(
    what: Rekeys, lost: tuple[int, ...]
) -> None:
    at = up()
    at.pair.deliver = losing(lost)
    what(at)
    at.pair.run(150)
    agree(at)
    works(at)


@pytest.mark.parametrize("late_s", [0.2, 0.7, 2.0])
@AT_ONCE
def test_b30_two_rekeys_at_once_with_a_slow_store(what: Rekeys, late_s: float) -> None:
    at = up()
    at.pair.hold_writes = True
    what(at)
    for _ in range(12):
        at.pair.run(late_s)
        held, at.pair.held = at.pair.held[:1], at.pair.held[1:]
        for side, outcome in held:
            assert outcome.persist is not None
            at.pair.settle(side, outcome, at.pair.chains.commit(outcome.persist))
    at.pair.release()
    at.pair.run(150)
    agree(at)
    works(at)


def contest(by_client: bool) -> tuple[Up, SaCore, SaCore]:
    """Both rekey at once, and nothing of what `side` says arrives: its SA, and its heir."""
    at = up(by_client)
    at.pair.deliver = lambda side, d: LOST if side is at.side else ONCE
    at.rekey_ike()
    at.pair.run(0.1)
    before, asked = at.own, ike_request(b"new-spi!")
    request = sealed(at.theirs, ExchangeType.CREATE_CHILD_SA, 0 if by_client else 2, asked)
    at.pair.inject(at.side, request, at.other.address)
    (heir,) = at.side.live()
    assert heir.spi != before.spi
    return at, before, heir


def test_an_heir_in_contest_answers_nothing_until_it_is_settled() -> None:
    at, before, heir = contest(by_client=True)
    assert at.side.core(before.spi).state is State.REKEYED
    keys = replace(heir, initiator=not heir.initiator)
    question = sealed(keys, ExchangeType.INFORMATIONAL, 0, [])
    assert at.pair.inject(at.side, question, at.other.address).send == ()
    assert at.side.endpoint.probe(heir.spi, at.pair.now) is None
    # the peer closes the old SA: it has never seen ours, which is forgotten (RFC 7296 2.8.2)
    gone = sealed(
        replace(before, initiator=False), ExchangeType.INFORMATIONAL, 1,
        [DeletePayload(ProtocolId.IKE, 0, ())],
    )  # fmt: skip
    assert len(at.pair.inject(at.side, gone, at.other.address).send) == 1
    assert len(at.pair.inject(at.side, question, at.other.address).send) == 1


@BOTH
def test_an_heir_in_contest_that_is_to_end_waits_until_that_is_settled(by_client: bool) -> None:
    """Seed 6928959 of the storm: its timer was due again at once, without end, and no other SA's
    got a turn: what would have settled it was never given up."""
    at, _, heir = contest(by_client)
    at.side.endpoint.terminate(heir.spi, False, "closed", at.pair.now)
    at.pair.run(600)
    assert [event.spi for event in at.side.of(Ended)] == [heir.spi]
    assert not at.side.live()


@BOTH
def test_an_heir_in_contest_goes_on_when_the_sa_before_it_is_dropped(by_client: bool) -> None:
    at, before, heir = contest(by_client)
    at.side.endpoint.terminate(heir.spi, False, "closed", at.pair.now)
    at.side.endpoint.drop(before.spi, "as the test says")
    at.side.sent.clear()
    at.pair.run(0.1)
    assert [own_spi(at.side, datagram.data) for datagram in at.side.sent] == [heir.spi]


def winning() -> tuple[Up, Outcome]:
    """A gateway whose own rekey has won: it is being written, and replaces what the client's had
    made.
    """
    at = up(by_client=False)
    at.side.rng.bytes(1)
    former = at.own.spi
    both_rekey_ike(at)
    at.pair.hold_writes = True
    for _ in range(20):
        at.pair.run(0.01)
        held, at.pair.held = at.pair.held, []
        for side, outcome in held:
            assert outcome.persist is not None
            if outcome.persist.replaces not in (b"", former):
                return at, outcome
            at.pair.settle(side, outcome, at.pair.chains.commit(outcome.persist))
    raise AssertionError("the client's rekey has won")


def test_an_own_rekey_that_has_won_is_wanted_whoever_asks_until_it_is_written() -> None:
    """Nobody asked for it at the SA that it replaces: half a second without the store cost the
    session."""
    at, outcome = winning()
    assert outcome.persist is not None
    replaced = outcome.persist.replaces
    assert at.side.endpoint.asked_s(replaced) == NEVER
    at.side.endpoint.drop(outcome.spi, "as the test says")
    assert at.side.endpoint.asked_s(replaced) is None


def test_an_heir_whose_own_rekey_may_be_written_is_not_compared_with_the_store() -> None:
    """Once the store has it, the audit took the heir for one that went on elsewhere: its Child SAs
    left the kernel, and went on in the next IKE SA."""
    at, outcome = winning()
    assert outcome.persist is not None
    (heir,) = at.side.live()
    assert heir.spi == outcome.persist.replaces
    assert at.side.endpoint.at_rest() == []
    at.pair.held.append((at.side, outcome))
    at.pair.release()
    at.pair.run(150)
    assert [core.spi for core in at.side.endpoint.at_rest()] == [outcome.persist.spi]
    agree(at)


# -- the table of 2.25 ----------------------------------------------------------------------------


def quiet(by_client: bool, settings: Settings = QUIET) -> Up:
    """A pair between which nothing is delivered any more."""
    at = up(by_client, settings)
    at.pair.deliver = lambda side, d: LOST
    return at


def asks(at: Up, payloads: list[object], kind: int = ExchangeType.CREATE_CHILD_SA) -> tuple:
    """What `at.side` answers its peer's request."""
    theirs, own = at.theirs, at.side.live()[0]
    number = 0 if at.other is at.pair.gateway else 2
    data = sealed(theirs, kind, number, payloads)
    outcome = at.pair.inject(at.side, data, at.other.address)
    (datagram,) = outcome.send
    return opened(own, datagram.data).payloads


@BOTH
def test_b31_rekey_of_a_child_that_we_are_closing(by_client: bool) -> None:
    at = quiet(by_client)
    (child,) = at.own.children
    closing = at.side.endpoint.delete_child(at.own.spi, child.spi_in, at.pair.now)
    at.pair.carry_out(at.side, closing)
    assert asks(at, child_request(rekeys=child.spi_out)) == BUSY


@BOTH
def test_b31_rekey_of_a_child_that_we_are_rekeying_is_answered_as_usual(by_client: bool) -> None:
    at = quiet(by_client)
    (child,) = at.own.children
    at.rekey_child()
    assert len(asks(at, child_request(rekeys=child.spi_out))) == 4
    assert len(at.own.children) == 2


@BOTH
def test_b31_b32_close_of_a_child_that_we_are_closing_is_answered_without_a_delete(
    by_client: bool,
) -> None:
    at = quiet(by_client)
    (child,) = at.own.children
    closing = at.side.endpoint.delete_child(at.own.spi, child.spi_in, at.pair.now)
    at.pair.carry_out(at.side, closing)
    delete = DeletePayload(ProtocolId.ESP, 4, (child.spi_out,))
    assert asks(at, [delete], ExchangeType.INFORMATIONAL) == ()
    assert at.own.children == ()


@BOTH
def test_b31_close_of_a_child_that_we_are_rekeying_is_answered_as_usual(by_client: bool) -> None:
    at = quiet(by_client)
    (child,) = at.own.children
    at.rekey_child()
    delete = DeletePayload(ProtocolId.ESP, 4, (child.spi_out,))
    answer = asks(at, [delete], ExchangeType.INFORMATIONAL)
    assert answer == (DeletePayload(ProtocolId.ESP, 4, (child.spi_in,)),)


@BOTH
def test_b31_close_of_a_child_that_is_not_there(by_client: bool) -> None:
    at = quiet(by_client)
    delete = DeletePayload(ProtocolId.ESP, 4, (b"gone",))
    assert asks(at, [delete], ExchangeType.INFORMATIONAL) == ()


@BOTH
@pytest.mark.parametrize("what", ["new", "rekey", "delete"])
def test_b31_rekey_of_the_ike_sa_while_we_change_a_child(by_client: bool, what: str) -> None:
    at = quiet(by_client)
    (child,) = at.own.children
    endpoint, spi = at.side.endpoint, at.own.spi
    if what == "new":
        outcome = endpoint.new_child(spi, at.pair.now)
    elif what == "rekey":
        outcome = endpoint.rekey_child(spi, child.spi_in, at.pair.now)
    else:
        outcome = endpoint.delete_child(spi, child.spi_in, at.pair.now)
    at.pair.carry_out(at.side, outcome)
    assert asks(at, ike_request(b"new-spi!")) == BUSY


@BOTH
@pytest.mark.parametrize("rekey", [False, True], ids=["new", "rekey"])
def test_b31_change_of_a_child_while_we_rekey_the_ike_sa(by_client: bool, rekey: bool) -> None:
    at = quiet(by_client)
    (child,) = at.own.children
    at.rekey_ike()
    assert asks(at, child_request(rekeys=child.spi_out if rekey else b"")) == BUSY


@BOTH
def test_b31_close_of_a_child_while_we_rekey_the_ike_sa_is_answered_as_usual(
    by_client: bool,
) -> None:
    at = quiet(by_client)
    (child,) = at.own.children
    at.rekey_ike()
    delete = DeletePayload(ProtocolId.ESP, 4, (child.spi_out,))
    answer = asks(at, [delete], ExchangeType.INFORMATIONAL)
    assert answer == (DeletePayload(ProtocolId.ESP, 4, (child.spi_in,)),)
    at.pair.deliver = lambda side, d: ONCE
    assert at.own.children == ()


@BOTH
@pytest.mark.parametrize("ike", [True, False], ids=["ike", "child"])
def test_b31_any_rekey_while_we_close_the_ike_sa(by_client: bool, ike: bool) -> None:
    at = quiet(by_client)
    closing = at.side.endpoint.terminate(at.own.spi, False, "over", at.pair.now)
    at.pair.carry_out(at.side, closing)
    assert asks(at, ike_request(b"new-spi!") if ike else child_request()) == BUSY


@BOTH
def test_b31_close_of_the_ike_sa_while_we_rekey_it(by_client: bool) -> None:
    at = quiet(by_client)
    at.rekey_ike()
    delete = DeletePayload(ProtocolId.IKE, 0, ())
    assert asks(at, [delete], ExchangeType.INFORMATIONAL) == ()
    sent = len(at.side.sent)
    at.pair.run(30)
    assert len(at.side.sent) == sent
    assert at.side.endpoint.spis() == []
    assert len(at.side.of(Ended)) == 1
    assert bool(at.pair.chains.records) is by_client


@BOTH
def test_b31_close_of_the_ike_sa_while_we_close_it(by_client: bool) -> None:
    at = quiet(by_client)
    closing = at.side.endpoint.terminate(at.own.spi, False, "over", at.pair.now)
    at.pair.carry_out(at.side, closing)
    delete = DeletePayload(ProtocolId.IKE, 0, ())
    assert asks(at, [delete], ExchangeType.INFORMATIONAL) == ()
    at.pair.run(30)
    assert at.side.endpoint.spis() == []
    assert len(at.side.of(Ended)) == 1


@BOTH
def test_b31_what_is_refused_for_now_is_asked_for_again_later(by_client: bool) -> None:
    """The peer closes a Child SA as we rekey the IKE SA: TEMPORARY_FAILURE, and then it works."""
    at = up(by_client)
    other = Up(at.pair, at.other, at.side)
    at.pair.carry_out(at.side, at.side.endpoint.new_child(at.own.spi, at.pair.now))
    at.pair.run()
    gone = other.own.children[-1]
    closing = at.other.endpoint.delete_child(other.own.spi, gone.spi_in, at.pair.now)
    at.pair.carry_out(at.other, closing)
    at.rekey_ike()
    at.pair.run(5)
    assert not at.side.of(Rekeyed)
    at.pair.run(60)
    assert len(at.side.of(Rekeyed)) == 1
    agree(at)
    assert len(at.own.children) == 1
    works(at)


@pytest.mark.parametrize("first", ["ike", "child"])
def test_an_ike_rekey_and_a_childs_rekey_that_cross_both_happen(first: str) -> None:
    at = up()
    other = Up(at.pair, at.other, at.side)
    (child,) = at.own.children
    (at.rekey_ike if first == "ike" else at.rekey_child)()
    (other.rekey_child if first == "ike" else other.rekey_ike)()
    at.pair.run(120)
    agree(at)
    (fresh,) = at.own.children
    assert fresh.spi_in != child.spi_in
    assert len(at.side.of(Rekeyed)) == 1
    works(at)


def test_pairs_hold_more_than_one_session_apart() -> None:
    """Two sessions of one client rekey at once; neither touches the other."""
    pair = Pair(QUIET)
    spis = [pair.connect() for _ in range(2)]
    for spi in spis:
        pair.carry_out(pair.client, pair.client.endpoint.rekey_ike(spi, pair.now))
    pair.run(60)
    assert len(pair.client.live()) == len(pair.gateway.live()) == 2
    assert {core.chain for core in pair.gateway.live()} == set(pair.chains.spi)
    assert all(pair.chains.spi[core.chain] == core.spi for core in pair.gateway.live())
