"""Child SAs made, rekeyed and deleted on an IKE SA that stands, and rekeys by timers (RFC 7296
1.3.1, 1.3.3, 2.8, 2.17).
"""

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from proto.ike import record
from proto.ike.core import State, replace
from proto.ike.effects import InstallChild, RemoveChild
from proto.ike.enums import ExchangeType, NotifyType, ProtocolId
from proto.ike.events import Ended, Rekeyed
from proto.ike.negotiation import child_proposal
from proto.ike.payloads import (
    KePayload,
    NoncePayload,
    NotifyPayload,
    SaPayload,
)
from proto.ike.suite import Kes
from tests.pair.craft import opened, sealed
from tests.pair.pair import LOST, ONCE, Pair, exchange
from tests.pair.parts import PEER, SETTINGS
from tests.pair.rekeys import BOTH, X25519, Up, agree, child_request, expand, in_kernel, up, works
from tests.pair.states import QUIET


@BOTH
@pytest.mark.parametrize("pfs", [True, False], ids=["pfs", "no-pfs"])
def test_b27_a_child_sa_is_rekeyed_make_before_break(by_client: bool, pfs: bool) -> None:
    at = up(by_client, replace(QUIET, child_pfs=pfs))
    (former,) = at.own.children
    before = {side.name: list(side.kernel) for side in (at.side, at.other)}
    at.rekey_child()
    at.pair.run(5)
    agree(at)
    (child,) = at.own.children
    assert child.spi_in != former.spi_in
    assert child.keymat != former.keymat
    for side, gone in ((at.side, former.spi_in), (at.other, former.spi_out)):
        install, remove = side.kernel[len(before[side.name]) :]
        assert isinstance(install, InstallChild)
        assert remove == RemoveChild(gone)
        assert install.initiator is (side is at.side)
    a, b = (
        next(op for op in reversed(side.kernel) if isinstance(op, InstallChild))
        for side in (at.side, at.other)
    )
    assert (a.keys_in, a.keys_out) == (b.keys_out, b.keys_in)
    request = at.side.sent[-2].data
    assert (opened(at.own, request).find(KePayload) is not None) is pfs
    works(at)


def test_b26_child_keys_are_those_of_an_independent_derivation() -> None:
    for pfs in (True, False):
        at = up()
        core, ni = at.own, b"N" * 32
        private = X25519PrivateKey.generate()
        asked = child_request(nonce=ni)
        if pfs:
            kes = (Kes((X25519,)),)
            asked[0] = child_proposal(SETTINGS.child_suites[:1], b"\xc0\x00\x00\x01", kes)
            asked.append(KePayload(X25519, private.public_key().public_bytes_raw()))
        at.pair.inject(at.other, sealed(core, ExchangeType.CREATE_CHILD_SA, 2, asked))
        answer = opened(at.theirs, at.other.sent[-1].data)
        nonce, ke = answer.find(NoncePayload), answer.find(KePayload)
        assert nonce is not None
        shared = b""
        if pfs:
            assert ke is not None
            shared = private.exchange(X25519PublicKey.from_public_bytes(ke.data))
        assert core.keys is not None
        octets = expand(core.keys.d.octets, shared + ni + nonce.data, 2 * 36)
        install = at.other.kernel[-1]
        assert isinstance(install, InstallChild)
        assert install.spi_out == b"\xc0\x00\x00\x01"
        assert install.keys_in[0].octets + install.keys_out[0].octets == octets


@BOTH
def test_b26_more_child_sas_are_made_and_deleted(by_client: bool) -> None:
    at = up(by_client)
    for _ in range(3):
        outcome = at.side.endpoint.new_child(at.own.spi, at.pair.now)
        at.pair.carry_out(at.side, outcome)
        at.pair.run()
    agree(at)
    assert len(at.own.children) == 4
    kept = record.decode(next(iter(at.pair.chains.records.values())))
    assert [row[0] for row in kept.children] == [
        c.spi_in for c in at.pair.gateway.live()[0].children
    ]
    assert {row[6] for row in kept.children} == ({False} if by_client else {False, True})
    gone = at.own.children[1]
    outcome = at.side.endpoint.delete_child(at.own.spi, gone.spi_in, at.pair.now)
    at.pair.carry_out(at.side, outcome)
    at.pair.run()
    agree(at)
    assert gone.spi_in not in [child.spi_in for child in at.own.children]
    assert len(at.own.children) == len(in_kernel(at.side)) == len(in_kernel(at.other)) == 3
    works(at)


def test_b26_there_is_a_bound_of_child_sas() -> None:
    at = up()
    for number in range(10):
        spi = b"\xc0\x00\x01" + bytes((number,))
        asked = child_request(spi)
        at.pair.inject(at.other, sealed(at.own, ExchangeType.CREATE_CHILD_SA, 2 + number, asked))
    answer = opened(at.theirs, at.other.sent[-1].data)
    assert answer.payloads == (NotifyPayload(NotifyType.NO_ADDITIONAL_SAS),)
    assert len(at.theirs.children) == 8
    for number in range(10):  # rekeys, whose old ones are never deleted
        spi, old = b"\xc0\x00\x02" + bytes((number,)), at.theirs.children[number].spi_out
        asked = child_request(spi, rekeys=old)
        at.pair.inject(at.other, sealed(at.own, ExchangeType.CREATE_CHILD_SA, 12 + number, asked))
        assert len(at.theirs.children) <= 16


def test_b27_a_child_sa_that_is_not_there_cannot_be_rekeyed() -> None:
    at = up()
    asked = child_request(rekeys=b"\x01\x02\x03\x04")
    at.pair.inject(at.other, sealed(at.own, ExchangeType.CREATE_CHILD_SA, 2, asked))
    answer = opened(at.theirs, at.other.sent[-1].data)
    assert answer.payloads == (
        NotifyPayload(NotifyType.CHILD_SA_NOT_FOUND, b"", ProtocolId.ESP, b"\x01\x02\x03\x04"),
    )


@BOTH
def test_b27_a_peer_without_the_child_sa_makes_us_ask_for_a_new_one(by_client: bool) -> None:
    at = up(by_client)
    (former,) = at.own.children
    at.rekey_child()
    at.pair.wire.clear()
    at.pair.deliver = lambda side, d: LOST
    absent = NotifyPayload(NotifyType.CHILD_SA_NOT_FOUND, b"", ProtocolId.ESP, former.spi_in)
    number = 2 if by_client else 0
    answer = sealed(at.theirs, ExchangeType.CREATE_CHILD_SA, number, [absent], response=True)
    at.pair.inject(at.side, answer, at.other.address)
    assert at.side.kernel[-1] == RemoveChild(former.spi_in)
    assert at.own.children == ()
    at.pair.run(0.1)
    fresh = opened(at.own, at.side.sent[-1].data)
    assert fresh.header.exchange == ExchangeType.CREATE_CHILD_SA
    assert fresh.notify(NotifyType.REKEY_SA) is None
    assert fresh.find(SaPayload) is not None


def test_b15_a_child_sa_with_the_wrong_group_is_asked_for_again() -> None:
    at = up()
    at.other.endpoint.settings = replace(QUIET, suites=(QUIET.suites[1], QUIET.suites[0]))
    at.rekey_child()
    at.pair.run(5)
    agree(at)
    works(at)


@BOTH
@pytest.mark.parametrize("lost", range(4))
def test_b6_every_message_of_a_childs_rekey_may_be_lost(by_client: bool, lost: int) -> None:
    at = up(by_client)
    sent = iter(range(1000))
    at.pair.deliver = lambda side, d: LOST if next(sent) == lost else ONCE
    at.rekey_child()
    at.pair.run(60)
    agree(at)
    assert len(at.own.children) == 1
    works(at)


def test_child_sas_are_inherited_through_several_rekeys_and_a_record_holds_them_all() -> None:
    at = up()
    at.pair.carry_out(at.side, at.side.endpoint.new_child(at.own.spi, at.pair.now))
    at.pair.run()
    for _ in range(3):
        at.rekey_ike()
        at.pair.run(40)
        at = Up(at.pair, at.other, at.side)
        agree(at)
    assert len(at.own.children) == 2
    kept = record.decode(next(iter(at.pair.chains.records.values())))
    assert len(kept.children) == 2
    at.rekey_child(at.own.children[0])
    at.pair.run(5)
    agree(at)
    works(at)


# -- timers ---------------------------------------------------------------------------------------


@BOTH
def test_rekeys_are_begun_by_whoever_is_set_to_up_to_a_tenth_early(by_client: bool) -> None:
    timers = replace(QUIET, ike_rekey_s=1000.0, child_rekey_s=300.0)
    pair = Pair(QUIET)
    sides = (pair.client, pair.gateway) if by_client else (pair.gateway, pair.client)
    sides[0].endpoint.settings = timers
    pair.connect()
    at = Up(pair, *sides)
    first, (child,) = at.own.spi, at.own.children
    pair.run(269)
    assert at.own.children == (child,)
    pair.run(32)
    assert at.own.children[0].spi_in != child.spi_in
    pair.run(598)
    assert at.own.spi == first
    pair.run(140)
    assert at.own.spi != first
    agree(at)
    pair.run(10_000)
    agree(at)
    assert 9 <= len(at.side.of(Rekeyed)) <= 12
    works(at)


def test_a_rekeyed_sa_lives_on_past_the_first_ones_lifetime() -> None:
    settings = replace(QUIET, ike_sa_lifetime_s=1000.0, authentication_lifetime_s=3500.0)
    pair = Pair(settings)
    pair.client.endpoint.settings = replace(settings, ike_rekey_s=700.0)
    pair.connect()
    at = Up(pair, pair.client, pair.gateway)
    pair.run(3300)
    agree(at)
    pair.run(300)
    assert pair.gateway.live() == []
    assert pair.gateway.of(Ended)[-1].why == "lifetime over"


def test_a_peer_that_is_busy_for_minutes_is_given_up() -> None:
    at = up()
    at.pair.deliver = lambda side, d: LOST
    at.rekey_ike()
    busy, number = [NotifyPayload(NotifyType.TEMPORARY_FAILURE)], 2
    for _ in range(600):
        asked = at.side.sent[-1]
        if exchange(asked) == ExchangeType.INFORMATIONAL:
            break
        if int.from_bytes(asked.data[20:24], "big") == number:
            answer = sealed(at.theirs, ExchangeType.CREATE_CHILD_SA, number, busy, response=True)
            at.pair.inject(at.side, answer, at.other.address)
            number += 1
        at.pair.run(1)
    assert number == 2 + 18
    assert exchange(at.side.sent[-1]) == ExchangeType.INFORMATIONAL
    at.pair.run(60)
    assert [event.why for event in at.side.of(Ended)] == ["out of step with the peer"]


def test_peers_of_a_session_keep_their_retransmission_policy_through_a_rekey() -> None:
    at = up()
    at.rekey_ike()
    at.pair.run(40)
    at.pair.deliver = lambda side, d: LOST
    sent = len(at.side.sent)
    at.pair.carry_out(at.side, at.side.endpoint.probe(at.own.spi, at.pair.now))
    at.pair.run(60)
    assert len(at.side.sent) - sent == PEER.retransmit.tries
    assert at.side.endpoint.spis() == []


def test_what_is_left_of_a_rekeyed_sa_holds_nothing() -> None:
    at = up()
    old = at.theirs.spi
    at.pair.deliver = lambda side, d: LOST if exchange(d) == ExchangeType.INFORMATIONAL else ONCE
    at.rekey_ike()
    at.pair.run(0.1)
    left = at.other.core(old)
    assert (left.state, left.generation, left.children) == (State.REKEYED, 0, ())


@BOTH
def test_a_shard_without_a_free_esp_spi_keeps_the_child_sas_that_it_has(by_client: bool) -> None:
    at = up(by_client)
    gateway = at.pair.gateway
    gateway.spis.has_esp_spis = False
    before = at.own.children
    at.rekey_child()
    at.pair.run(30)
    assert at.own.children == before
    agree(at)
    works(at)
    gateway.spis.has_esp_spis = True
    at.rekey_child()
    at.pair.run(5)
    assert at.own.children != before
    agree(at)
