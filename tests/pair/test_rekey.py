"""Rekeying an IKE SA, from either side, through loss and repeats (RFC 7296 1.3.2, 2.8, 2.18; RFC
5723 4.1, 6.2).
"""

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from proto.ike import record
from proto.ike.core import replace
from proto.ike.effects import InstallChild, PersistKind, RemoveChild, Settlement
from proto.ike.enums import ExchangeType, NotifyType
from proto.ike.events import Ended, Established, Failed, Rekeyed, TicketReceived
from proto.ike.negotiation import proposal
from proto.ike.payloads import (
    KePayload,
    NoncePayload,
    NotifyPayload,
    SaPayload,
)
from tests.pair.craft import opened, sealed
from tests.pair.pair import LOST, ONCE, exchange, is_response
from tests.pair.parts import SETTINGS
from tests.pair.rekeys import (
    BOTH,
    X25519,
    agree,
    child_request,
    expand,
    ike_request,
    mac,
    up,
    works,
)
from tests.pair.states import QUIET


@BOTH
@pytest.mark.parametrize("resumed", [False, True], ids=["full", "resumed"])
def test_b29_an_ike_sa_is_rekeyed(by_client: bool, resumed: bool) -> None:
    at = up(by_client, resumed=resumed)
    before, theirs = at.own, at.theirs
    generation = max(before.generation, theirs.generation)
    at.rekey_ike()
    at.pair.run(80)
    agree(at)
    after = at.own
    assert {after.spi_i, after.spi_r}.isdisjoint((before.spi_i, before.spi_r))
    assert after.initiator
    assert at.theirs.children == theirs.children
    assert after.children == before.children
    assert after.keys != before.keys
    assert at.pair.gateway.live()[0].generation == generation + 1
    assert [event.why for event in at.pair.gateway.of(Ended)] == ["resumed"] * resumed
    assert not at.pair.client.of(Ended)
    assert len(at.side.of(Rekeyed)) == len(at.other.of(Rekeyed)) == 1
    works(at)


@BOTH
def test_b29_message_ids_begin_at_0_and_the_old_ones_go_on(by_client: bool) -> None:
    at = up(by_client)
    before = at.own
    at.rekey_ike()
    at.pair.run(5)
    old_ids = [
        (exchange(d), int.from_bytes(d.data[20:24], "big"))
        for d in at.side.sent
        if d.data[:8] == before.spi_i and not is_response(d)
    ]
    first = 2 if by_client else 0
    assert old_ids[-2:] == [
        (ExchangeType.CREATE_CHILD_SA, first),
        (ExchangeType.INFORMATIONAL, first + 1),
    ]
    for side, core in ((at.side, at.own), (at.other, at.theirs)):
        sent = len(side.sent)
        at.pair.carry_out(side, side.endpoint.probe(core.spi, at.pair.now))
        asked = side.sent[sent].data
        number = int.from_bytes(asked[20:24], "big")
        # a client asks for a ticket first, after a rekey that it didn't begin (R3)
        assert number == (1 if side is at.pair.client and not by_client else 0)
        assert bool(asked[19] & 8) is core.initiator
        at.pair.run()


def test_b29_keys_are_those_of_an_independent_derivation() -> None:
    at = up()
    core = at.own
    private, ni, spi_i = X25519PrivateKey.generate(), b"N" * 32, b"new-spi!"
    asked = [
        proposal(SETTINGS.suites[:1], spi_i),
        NoncePayload(ni),
        KePayload(X25519, private.public_key().public_bytes_raw()),
    ]
    old_end = at.theirs
    at.pair.inject(at.other, sealed(core, ExchangeType.CREATE_CHILD_SA, 2, asked))
    answer = opened(old_end, at.other.sent[-1].data)
    sa, nonce, ke = answer.find(SaPayload), answer.find(NoncePayload), answer.find(KePayload)
    assert sa is not None
    assert nonce is not None
    assert ke is not None
    spi_r, nr = sa.proposals[0].spi, nonce.data
    shared = private.exchange(X25519PublicKey.from_public_bytes(ke.data))
    assert core.keys is not None
    seed = mac(core.keys.d.octets, shared + ni + nr)
    octets = expand(seed, ni + nr + spi_i + spi_r, 3 * 32 + 2 * 36)
    keys = at.theirs.keys
    assert keys is not None
    assert (at.theirs.spi_i, at.theirs.spi_r) == (spi_i, spi_r)
    assert octets == b"".join(
        key.octets for key in (keys.d, keys.ai, keys.ar, keys.ei, keys.er, keys.pi, keys.pr)
    )


def test_b29_the_new_suite_has_the_new_prf_and_the_seed_the_old_one() -> None:
    """From SHA-256 with X25519 to SHA-384 with P-256: the peer wants the latter's group."""
    at = up()
    at.other.endpoint.settings = replace(QUIET, suites=QUIET.suites[1:2])
    at.rekey_ike()
    at.pair.run(40)
    agree(at)
    assert at.own.suite == SETTINGS.suites[1]
    works(at)


def test_the_gateway_answers_a_rekey_once_it_is_durable() -> None:
    at = up()
    former = at.theirs
    at.pair.hold_writes = True
    sent = len(at.other.sent)
    at.rekey_ike()
    at.pair.run(3)
    ((_, outcome),) = at.pair.held
    persist = outcome.persist
    assert persist is not None
    assert (persist.kind, persist.generation) == (PersistKind.REKEY, former.generation)
    assert persist.replaces == former.spi
    assert at.other.sent[sent:] == []
    assert at.theirs.spi == former.spi
    at.pair.release()
    at.pair.run(60)
    agree(at)


@BOTH
def test_a_rekey_that_lost_against_a_resumption_leaves_no_sa(by_client: bool) -> None:
    """The chain has moved on while the rekey was under way: exactly one live SA."""
    at = up(by_client)
    at.pair.hold_writes = True
    at.rekey_ike()
    at.pair.run(0.1)
    assert len(at.pair.held) == 1
    second = at.pair.add_gateway("second", ("192.0.2.3", 500))
    at.pair.hold_writes = False
    spi = at.pair.resume(second.address)
    assert [core.spi_i for core in second.live()] == [spi]
    at.pair.release()
    at.pair.run(0.1)
    assert at.pair.gateway.live() == []
    assert len(second.live()) == 1
    (core,) = second.live()
    assert at.pair.chains.spi[core.chain] == core.spi


def test_a_resumption_that_lost_against_a_rekey_gives_no_sa() -> None:
    """The old ticket is void (R56)."""
    at = up()
    ticket = at.pair.ticket()
    at.rekey_ike()
    at.pair.run(5)
    at.pair.start_resume(ticket=ticket)
    at.pair.run(5)
    assert at.pair.client.of(Failed)[-1].why == "the gateway answered AUTHENTICATION_FAILED"
    assert [core.resumed for core in at.pair.gateway.live()] == [False]


@BOTH
def test_r1_r56_r60_after_a_rekey_the_client_holds_a_ticket_that_works(by_client: bool) -> None:
    at = up(by_client)
    had = len(at.pair.client.of(TicketReceived))
    at.rekey_ike()
    at.pair.run(5)
    assert len(at.pair.client.of(TicketReceived)) == had + 1
    fresh = at.pair.client.of(TicketReceived)[-1]
    assert fresh.spi == at.pair.client.live()[0].spi
    keys = at.pair.client.live()[0].keys
    assert keys is not None
    assert fresh.ticket.sk_d == keys.d
    at.pair.run(60)
    before = at.pair.gateway.live()[0].spi
    spi = at.pair.resume()
    at.pair.agree(spi)
    assert at.pair.gateway.of(Established)[-1].replaced == before
    assert [core.spi for core in at.pair.gateway.live()] == [at.pair.other_end(spi)]


def test_r3_no_ticket_is_asked_for_in_a_rekey_of_the_gateways() -> None:
    at = up(by_client=False)
    core = at.own
    at.rekey_ike()
    request = opened(core, at.side.sent[-1].data)
    assert request.notify(NotifyType.TICKET_REQUEST) is None
    at.pair.run(5)
    asked = [
        opened(at.theirs, d.data).notify(NotifyType.TICKET_REQUEST)
        for d in at.other.sent
        if d.data[:16] == at.own.spi_i + at.own.spi_r and not is_response(d)
    ]
    assert asked == [NotifyPayload(NotifyType.TICKET_REQUEST)]


@BOTH
@pytest.mark.parametrize("lost", range(6))
def test_b6_every_message_of_a_rekey_may_be_lost(by_client: bool, lost: int) -> None:
    at = up(by_client)
    sent = iter(range(1000))
    at.pair.deliver = lambda side, d: LOST if next(sent) == lost else ONCE
    at.rekey_ike()
    at.pair.run(80)
    agree(at)
    works(at)


@BOTH
def test_every_message_of_a_rekey_may_come_twice_and_late(by_client: bool) -> None:
    at = up(by_client)
    at.pair.deliver = lambda side, d: (0.0, 0.03, 0.3)
    at.rekey_ike()
    at.pair.run(90)
    agree(at)
    works(at)
    assert len(at.side.of(Rekeyed)) == 1


def test_the_record_of_the_new_sa_answers_a_repeat_of_the_rekey() -> None:
    """Promise 6: the old SA's last answer is durable with the new one."""
    at = up()
    old = at.theirs
    at.pair.deliver = lambda side, d: LOST if side is at.other else ONCE
    at.rekey_ike()
    at.pair.run(0.1)
    kept = record.decode(at.pair.chains.records[at.theirs.spi])
    assert (kept.spi, kept.expected_id, kept.next_id, kept.last_reply) == (at.theirs.spi, 0, 0, b"")
    former = record.decode(kept.former)
    assert former.last_reply == at.other.sent[-1].data
    assert (former.spi_i, former.spi_r, former.expected_id) == (old.spi_i, old.spi_r, 3)
    assert (former.generation, former.children) == (0, ())


def test_the_record_names_the_end_that_began_the_rekey() -> None:
    at = up(by_client=False)
    at.rekey_ike()
    at.pair.run(5)
    kept = record.decode(at.pair.chains.records[at.own.spi])
    assert kept.initiator
    assert kept.spi == kept.spi_i == at.own.spi


@BOTH
def test_an_old_sa_whose_delete_never_comes_is_forgotten(by_client: bool) -> None:
    at = up(by_client)
    old_i = at.own.spi_i
    at.pair.deliver = lambda side, d: (
        LOST if d.data[:8] == old_i and exchange(d) == ExchangeType.INFORMATIONAL else ONCE
    )
    at.rekey_ike()
    at.pair.run(90)
    agree(at)
    works(at)


@BOTH
def test_a_rekeyed_sa_refuses_another_rekey(by_client: bool) -> None:
    at = up(by_client)
    old, peer = at.own, at.theirs
    at.pair.deliver = lambda side, d: LOST if exchange(d) == ExchangeType.INFORMATIONAL else ONCE
    at.rekey_ike()
    at.pair.run(0.1)
    number = 3 if by_client else 1
    for payloads in (ike_request(b"other-sp"), child_request()):
        at.pair.inject(
            at.other, sealed(old, ExchangeType.CREATE_CHILD_SA, number, payloads), at.side.address
        )
        answer = opened(peer, at.other.sent[-1].data)
        assert answer.payloads == (NotifyPayload(NotifyType.TEMPORARY_FAILURE),)
        number += 1


def test_an_operators_end_in_the_middle_of_a_rekey_ends_the_new_sa() -> None:
    at = up(by_client=False)
    at.rekey_ike()
    outcome = at.side.endpoint.terminate(at.own.spi, False, "over", at.pair.now)
    at.pair.carry_out(at.side, outcome)
    at.pair.run(60)
    assert at.side.live() == at.other.live() == []
    assert [event.why for event in at.side.of(Ended)] == ["over"]
    assert [event.why for event in at.other.of(Ended)] == ["deleted by the peer"]
    assert at.pair.chains.records == {}


@BOTH
@pytest.mark.parametrize("settlement", [Settlement.REFUSED, Settlement.FENCED])
def test_a_rekey_that_is_not_written_leaves_nothing(
    by_client: bool, settlement: Settlement
) -> None:
    at = up(by_client)
    at.pair.hold_writes = True
    at.rekey_ike()
    at.pair.run(0.1)
    at.pair.release(settlement)
    assert at.pair.gateway.live() == []
    assert [type(op) for op in at.pair.gateway.kernel] == [InstallChild, RemoveChild]
    assert len(at.pair.gateway.of(Ended)) == 1


@BOTH
@pytest.mark.parametrize("settlement", [Settlement.REFUSED, Settlement.FENCED])
def test_a_session_that_is_revoked_in_the_middle_of_a_rekey_leaves_no_record(
    by_client: bool, settlement: Settlement
) -> None:
    """The rule forbids the rekey, or the journal gives it up, and the SA ended with it: its record
    was whoever's who came to own the shard, once the rule was over, and its ticket worked."""
    at = up(by_client)
    gateway = at.pair.gateway
    (core,) = gateway.live()
    at.pair.hold_writes = True
    at.rekey_ike()
    at.pair.run(0.1)
    at.pair.carry_out(gateway, gateway.endpoint.terminate(core.spi, True, "revoked", at.pair.now))
    sent = len(gateway.sent)
    at.pair.release(settlement)
    assert at.pair.chains.records == at.pair.chains.version == {}
    at.pair.run(1)
    assert len(gateway.sent) == sent + 1
    assert gateway.live() == []
    # one that has answered the gateway's rekey goes on with the heir, until it finds it dead
    assert len(at.pair.client.live()) == (0 if by_client else 1)
    assert [event.why for event in gateway.of(Ended)] == ["revoked"]
