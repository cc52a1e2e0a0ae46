"""How SAs end: Deletes, crossing ones too, lifetimes, and writes that the store refuses."""

import pytest

from proto.ike.core import State, replace
from proto.ike.effects import PersistKind, RemoveChild, Settlement
from proto.ike.enums import ExchangeType, NotifyType, ProtocolId
from proto.ike.events import Ended, Established, Failed
from proto.ike.payloads import DeletePayload, NotifyPayload
from tests.pair.craft import opened, sealed
from tests.pair.pair import LOST, ONCE, Pair, Side, exchange, is_response
from tests.pair.parts import SETTINGS

QUIET = replace(SETTINGS, liveness_interval_s=0)
DELETE_IKE = DeletePayload(ProtocolId.IKE, 0, ())


def terminate(pair: Pair, side: Side, spi: bytes, revoke: bool = False) -> None:
    """The operator of `side` ends the SA."""
    pair.carry_out(side, side.endpoint.terminate(spi, revoke, "asked for", pair.now))


def all_gone(pair: Pair) -> None:
    """Neither end, nor kernel, nor store holds anything of it; each told it once."""
    pair.run(10)
    for side in (pair.client, pair.gateway):
        assert side.endpoint.spis() == []
        assert len(side.of(Ended)) == 1
        removed = [op for op in side.kernel if isinstance(op, RemoveChild)]
        assert len(removed) == len(side.kernel) - len(removed) == 1
    assert pair.chains.records == {}
    assert pair.check == []


@pytest.mark.parametrize("by", ["client", "gateway"])
def test_a_delete_ends_both_ends_and_is_answered_empty(by: str) -> None:
    pair = Pair(QUIET)  # B32, R54
    spi = pair.connect()
    ends = {"client": (pair.client, spi), "gateway": (pair.gateway, pair.other_end(spi))}
    (side, own), (other, theirs) = ends.pop(by), *ends.values()
    cores = {s.name: s.core(n) for s, n in ((side, own), (other, theirs))}
    terminate(pair, side, own)
    pair.run(0.1)
    asked, answer = side.sent[-1], other.sent[-1]
    assert opened(cores[side.name], asked.data).payloads == (DELETE_IKE,)
    assert opened(cores[other.name], answer.data).payloads == ()
    assert is_response(answer)
    all_gone(pair)


def test_the_answer_to_a_delete_is_repeated_for_a_while() -> None:
    pair = Pair(QUIET)
    spi = pair.connect()
    pair.deliver = lambda side, d: LOST if is_response(d) else ONCE
    terminate(pair, pair.client, spi)
    pair.run(0.1)
    pair.deliver = lambda side, d: ONCE
    pair.run(1)
    answers = [d.data for d in pair.gateway.sent[2:]]
    assert len(answers) == 2
    assert len(set(answers)) == 1
    all_gone(pair)


@pytest.mark.parametrize("slow_store", [False, True])
def test_deletes_that_cross_end_the_sa_once(slow_store: bool) -> None:
    pair = Pair(QUIET)  # B32
    spi = pair.connect()
    pair.hold_writes = slow_store
    terminate(pair, pair.gateway, pair.other_end(spi))
    terminate(pair, pair.client, spi)
    pair.run(0.1)
    if slow_store:
        pair.run(30)
        assert len(pair.held) == 1
        pair.release()
    kinds = [op.kind for op in pair.chains.writes]
    assert kinds == [PersistKind.CREATE, PersistKind.END]
    all_gone(pair)
    pair.run(60)
    assert [op.kind for op in pair.chains.writes] == kinds


def test_a_delete_that_nobody_answers_ends_the_sa_all_the_same() -> None:
    pair = Pair(QUIET)
    spi = pair.connect()
    pair.deliver = lambda side, d: LOST
    terminate(pair, pair.gateway, pair.other_end(spi))
    pair.run(60)
    assert pair.gateway.endpoint.spis() == []
    assert [e.why for e in pair.gateway.of(Ended)] == ["asked for"]
    assert pair.chains.records == {}


@pytest.mark.parametrize("revoke_on_delete", [False, True])
def test_a_deleted_sessions_ticket_is_good_unless_policy_says_otherwise(
    revoke_on_delete: bool,
) -> None:
    pair = Pair(replace(QUIET, revoke_on_delete=revoke_on_delete))  # R22
    spi = pair.connect()
    ticket = pair.ticket()
    terminate(pair, pair.client, spi)
    pair.run()
    pair.resume(ticket=ticket)
    assert len(pair.gateway.live()) == (0 if revoke_on_delete else 1)


def test_an_operators_revocation_takes_the_tickets_with_it() -> None:
    pair = Pair(QUIET)
    spi = pair.connect()
    ticket = pair.ticket()
    terminate(pair, pair.gateway, pair.other_end(spi), revoke=True)
    pair.run()
    assert pair.chains.version == {}
    again = pair.resume(ticket=ticket)
    assert pair.client.endpoint.find(again) is None
    assert pair.gateway.live() == []


@pytest.mark.parametrize("asking", [False, True], ids=["idle", "asking for life"])
def test_a_revocation_waits_for_no_answer_of_the_peers(asking: bool) -> None:
    pair = Pair(QUIET)
    spi = pair.connect()
    core, gateway_spi = pair.client.core(spi), pair.other_end(spi)
    pair.deliver = lambda side, d: LOST
    if asking:
        pair.carry_out(pair.gateway, pair.gateway.endpoint.probe(gateway_spi, pair.now))
    sent = len(pair.gateway.sent)
    pair.hold_writes = True
    terminate(pair, pair.gateway, gateway_spi, revoke=True)
    assert len(pair.gateway.sent) == sent  # durable first: no Delete yet
    pair.release()
    pair.hold_writes = False
    assert (pair.chains.version, pair.chains.records) == ({}, {})
    # until it is gone the SA answers, but nothing of it is stored and no ticket of it is made
    asked = [NotifyPayload(NotifyType.TICKET_REQUEST)]
    pair.inject(pair.gateway, sealed(core, ExchangeType.INFORMATIONAL, 2, asked))
    (answer,) = opened(pair.gateway.core(gateway_spi), pair.gateway.sent[-1].data).payloads
    assert answer == NotifyPayload(NotifyType.TICKET_NACK)
    delete = DeletePayload(ProtocolId.ESP, 4, (core.children[0].spi_in,))
    pair.inject(pair.gateway, sealed(core, ExchangeType.INFORMATIONAL, 3, [delete]))
    pair.run(60)
    kinds = [op.kind for op in pair.chains.writes]
    assert kinds == [PersistKind.CREATE, PersistKind.REVOKE]
    (ended,) = pair.gateway.of(Ended)
    assert ended.chain
    assert pair.gateway.endpoint.spis() == []


def test_a_revocation_is_not_forgotten_while_it_waits_for_another_write() -> None:
    pair = Pair(QUIET)
    spi = pair.connect()
    core, gateway_spi = pair.client.core(spi), pair.other_end(spi)
    delete = DeletePayload(ProtocolId.ESP, 4, (core.children[0].spi_in,))
    pair.hold_writes = True
    pair.inject(pair.gateway, sealed(core, ExchangeType.INFORMATIONAL, 2, [delete]))
    terminate(pair, pair.gateway, gateway_spi, revoke=True)
    terminate(pair, pair.gateway, gateway_spi)  # a lifetime that ends meanwhile takes nothing back
    pair.hold_writes = False
    pair.release()
    pair.inject(pair.gateway, sealed(core, ExchangeType.INFORMATIONAL, 3, [DELETE_IKE]))
    pair.run(60)
    assert (pair.chains.version, pair.chains.records) == ({}, {})
    assert pair.chains.writes[-1].kind is PersistKind.REVOKE
    assert len(pair.gateway.of(Ended)) == 1


def test_a_child_is_deleted_by_the_peers_inbound_spi_and_the_paired_one_answered() -> None:
    pair = Pair(QUIET)  # B32
    spi = pair.connect()
    core, theirs = pair.client.core(spi), pair.gateway.core(pair.other_end(spi))
    child = core.children[0]
    delete = DeletePayload(ProtocolId.ESP, 4, (child.spi_in,))
    pair.inject(pair.gateway, sealed(core, ExchangeType.INFORMATIONAL, 2, [delete]))
    answer = opened(theirs, pair.gateway.sent[-1].data)
    assert answer.payloads == (DeletePayload(ProtocolId.ESP, 4, (child.spi_out,)),)
    assert pair.gateway.core(theirs.spi_r).children == ()
    assert pair.gateway.kernel[-1] == RemoveChild(child.spi_out)
    assert pair.chains.writes[-1].kind is PersistKind.WRITE
    # already gone: an empty answer
    pair.inject(pair.gateway, sealed(core, ExchangeType.INFORMATIONAL, 3, [delete]))
    assert opened(theirs, pair.gateway.sent[-1].data).payloads == ()
    assert len(pair.chains.writes) == 2


def test_an_sa_ends_with_its_lifetime_and_the_client_is_told() -> None:
    pair = Pair(replace(QUIET, ike_sa_lifetime_s=100.0))
    pair.connect()
    pair.run(98)
    assert len(pair.gateway.live()) == 1
    pair.run(3)
    assert pair.gateway.live() == pair.client.live() == []
    assert [e.why for e in pair.gateway.of(Ended)] == ["lifetime over"]
    all_gone(pair)


def test_an_sa_whose_lifetime_ends_while_its_client_is_silent_waits_for_that() -> None:
    """It was due again at once for as long: a whole processor."""
    pair = Pair(replace(QUIET, ike_sa_lifetime_s=100.0, liveness_interval_s=30.0))
    pair.connect()
    pair.run(89)
    pair.deliver = lambda side, datagram: LOST
    pair.run(60)
    assert [e.why for e in pair.gateway.of(Ended)] == ["no answer"]
    assert pair.gateway.endpoint.spis() == []


def test_ending_an_sa_while_a_request_of_ours_is_outstanding_waits_for_its_answer() -> None:
    pair = Pair(QUIET)
    spi = pair.connect()
    pair.carry_out(pair.client, pair.client.endpoint.probe(spi, pair.now))
    terminate(pair, pair.client, spi)
    assert len(pair.client.sent) == 3
    pair.run(0.1)
    assert len(pair.client.sent) == 4
    all_gone(pair)


def test_ending_an_sa_while_a_write_is_in_flight_waits_for_the_write() -> None:
    pair = Pair(QUIET)
    spi = pair.connect()
    core, gateway_spi = pair.client.core(spi), pair.other_end(spi)
    delete = DeletePayload(ProtocolId.ESP, 4, (core.children[0].spi_in,))
    pair.hold_writes = True
    pair.inject(pair.gateway, sealed(core, ExchangeType.INFORMATIONAL, 2, [delete]))
    terminate(pair, pair.gateway, gateway_spi)
    pair.run(5)
    assert len(pair.gateway.sent) == 2
    pair.release()
    pair.run(0.1)
    assert [exchange(d) for d in pair.gateway.sent[2:]] == [ExchangeType.INFORMATIONAL] * 2
    assert not is_response(pair.gateway.sent[-1])
    kinds = [op.kind for op in pair.chains.writes]
    assert kinds == [PersistKind.CREATE, PersistKind.WRITE, PersistKind.END]


def test_a_delete_answered_while_a_write_is_in_flight_starts_no_second_one() -> None:
    pair = Pair(QUIET)
    spi = pair.connect()
    core, gateway_spi = pair.client.core(spi), pair.other_end(spi)
    terminate(pair, pair.gateway, gateway_spi)
    pair.wire.clear()
    delete = DeletePayload(ProtocolId.ESP, 4, (core.children[0].spi_in,))
    pair.hold_writes = True
    pair.inject(pair.gateway, sealed(core, ExchangeType.INFORMATIONAL, 2, [delete]))
    pair.inject(pair.gateway, sealed(core, ExchangeType.INFORMATIONAL, 0, [], response=True))
    pair.run(60)
    assert len(pair.held) == 1
    pair.release()
    pair.run(60)
    assert pair.gateway.endpoint.spis() == []
    assert len(pair.gateway.of(Ended)) == 1
    assert pair.chains.writes[-1].kind is PersistKind.END


@pytest.mark.parametrize("resumed", [False, True], ids=["create", "redeem"])
@pytest.mark.parametrize("settlement", [Settlement.REFUSED, Settlement.FENCED])
def test_a_handshake_whose_write_fails_makes_no_sa(settlement: Settlement, resumed: bool) -> None:
    pair = Pair(QUIET)
    if resumed:
        pair.connect()
    established, kernel = len(pair.gateway.of(Established)), len(pair.gateway.kernel)
    pair.hold_writes = True
    spi = pair.start_resume() if resumed else pair.start()
    pair.run(0.1)
    half_open = pair.gateway.core(pair.other_end(spi))
    sent = len(pair.gateway.sent)
    pair.release(settlement)
    pair.run(60)
    said = {d.data for d in pair.gateway.sent[sent:] if exchange(d) == ExchangeType.IKE_AUTH}
    if settlement is Settlement.FENCED:
        assert said == set()
        assert pair.client.of(Failed)[-1].why == "no answer"
    else:
        (data,) = said
        refusal = (NotifyPayload(NotifyType.AUTHENTICATION_FAILED),)
        assert opened(half_open, data).payloads == refusal
        assert "AUTHENTICATION_FAILED" in pair.client.of(Failed)[-1].why
    assert len(pair.gateway.of(Established)) == established
    assert len(pair.gateway.kernel) == kernel
    assert [e.resumed for e in pair.gateway.of(Failed)] == [resumed]
    assert pair.gateway.of(Ended) == []
    assert pair.gateway.endpoint.find(half_open.spi_r) is None
    assert pair.client.endpoint.find(spi) is None


@pytest.mark.parametrize("settlement", [Settlement.REFUSED, Settlement.FENCED])
@pytest.mark.parametrize("kind", [PersistKind.WRITE, PersistKind.END, PersistKind.REVOKE])
def test_an_sa_whose_write_fails_is_dropped_in_silence(
    kind: PersistKind, settlement: Settlement
) -> None:
    pair = Pair(replace(QUIET, revoke_on_delete=kind is PersistKind.REVOKE))
    spi = pair.connect()
    core, gateway_spi = pair.client.core(spi), pair.other_end(spi)
    child = core.children[0]
    # a question of ours is under way as well: it must not be asked again by the dead
    pair.deliver = lambda side, d: LOST
    pair.carry_out(pair.gateway, pair.gateway.endpoint.probe(gateway_spi, pair.now))
    sent = len(pair.gateway.sent)
    delete = DELETE_IKE
    if kind is PersistKind.WRITE:
        delete = DeletePayload(ProtocolId.ESP, 4, (child.spi_in,))
    pair.hold_writes = True
    pair.inject(pair.gateway, sealed(core, ExchangeType.INFORMATIONAL, 2, [delete]))
    (held,) = pair.held
    assert held[1].persist is not None
    assert held[1].persist.kind is kind
    pair.release(settlement)
    pair.run(60)
    assert len(pair.gateway.sent) == sent
    assert pair.gateway.kernel[-1] == RemoveChild(child.spi_out)
    assert [(e.spi, e.why) for e in pair.gateway.of(Ended)] == [(gateway_spi, settlement.value)]
    assert pair.gateway.endpoint.spis() == []


def test_an_sa_that_the_chain_no_longer_names_is_dropped_at_its_next_write() -> None:
    pair = Pair(QUIET)
    second = pair.add_gateway("second", ("192.0.2.3", 500))
    spi = pair.connect()
    core, gateway_spi = pair.client.core(spi), pair.other_end(spi)
    pair.resume(second.address)
    delete = DeletePayload(ProtocolId.ESP, 4, (core.children[0].spi_in,))
    pair.inject(pair.gateway, sealed(core, ExchangeType.INFORMATIONAL, 2, [delete]))
    pair.run()
    assert pair.gateway.endpoint.find(gateway_spi) is None
    assert [e.why for e in pair.gateway.of(Ended)] == [Settlement.REFUSED.value]
    assert len(second.live()) == 1


def test_a_dropped_sa_is_forgotten_without_a_word_on_the_wire() -> None:
    pair = Pair(QUIET)
    spi = pair.connect()
    gateway_spi, sent = pair.other_end(spi), len(pair.gateway.sent)
    pair.carry_out(pair.gateway, pair.gateway.endpoint.drop(gateway_spi, "shard lost"))
    assert pair.gateway.endpoint.drop(gateway_spi, "again") is None
    pair.run(10)
    assert len(pair.gateway.sent) == sent
    assert len(pair.gateway.kernel) == 2
    assert list(pair.chains.records) == [gateway_spi]
    assert pair.client.core(spi).state is State.ESTABLISHED


def test_who_ends_by_himself_just_now_is_not_said_to_be_terminated() -> None:
    """The end that is being written leaves his ticket, and no other comes to what has ended."""
    pair = Pair(QUIET)
    spi = pair.connect()
    theirs = pair.other_end(spi)
    pair.hold_writes = True
    terminate(pair, pair.client, spi)
    pair.run(0.1)
    assert [held.persist.kind for _, held in pair.held if held.persist] == [PersistKind.END]
    assert pair.gateway.endpoint.terminate(theirs, True, "over", pair.now) is None
    pair.release()
    pair.run(60)
    assert pair.gateway.endpoint.spis() == []


def test_a_child_that_its_peer_deletes_while_our_delete_is_under_way_is_removed_once() -> None:
    pair = Pair(QUIET)
    spi = pair.connect()
    theirs = pair.gateway.core(pair.other_end(spi))
    (child,) = theirs.children
    terminate(pair, pair.gateway, theirs.spi_r)
    delete = DeletePayload(ProtocolId.ESP, 4, (child.spi_out,))
    request = sealed(pair.client.core(spi), ExchangeType.INFORMATIONAL, 2, [delete])
    pair.inject(pair.gateway, request)
    pair.run()
    assert pair.gateway.endpoint.find(theirs.spi_r).state is State.DEAD  # type: ignore[union-attr]
    removed = [op.spi_in for op in pair.gateway.kernel if isinstance(op, RemoveChild)]
    assert removed == [child.spi_in]


def test_what_was_terminated_while_a_write_waited_is_revoked_before_a_next_request() -> None:
    pair = Pair(QUIET)
    spi = pair.connect()
    theirs, core = pair.other_end(spi), pair.client.core(spi)
    pair.hold_writes = True
    delete = DeletePayload(ProtocolId.ESP, 4, (core.children[0].spi_in,))
    pair.inject(pair.gateway, sealed(core, ExchangeType.INFORMATIONAL, 2, [delete]))
    outcome = pair.gateway.endpoint.terminate(theirs, True, "over", pair.now)
    pair.carry_out(pair.gateway, outcome)
    pair.release()
    assert not pair.chains.records  # no timer had to come
