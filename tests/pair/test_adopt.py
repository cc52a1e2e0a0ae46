"""A survivor goes on with an SA from its record alone: what it takes, repeats, and never does."""

import msgspec
import pytest

from proto.ike import adopt, record
from proto.ike.core import State, replace
from proto.ike.effects import InstallChild, Path, PersistKind, Settlement
from proto.ike.enums import ExchangeType, NotifyType, ProtocolId
from proto.ike.events import Adopted, Answered, Ended, TicketReceived
from proto.ike.payloads import DeletePayload, NotifyPayload
from tests.pair.craft import sealed
from tests.pair.pair import LOST, ONCE, Pair, Side, is_response
from tests.pair.parts import CLIENT, GATEWAY, PEER, SECOND_GATEWAY, SETTINGS
from tests.pair.rekeys import child_request

TICKET_REQUEST = NotifyPayload(NotifyType.TICKET_REQUEST)


def survivor(pair: Pair, fence: int = 2) -> Side:
    """Another gateway, who now owns the shard: the former one is gone, its address taken over."""
    side = pair.add_gateway("survivor", SECOND_GATEWAY)
    side.spis.fence = fence
    pair.sides[GATEWAY] = side
    side.address = GATEWAY
    return side


def adopts(pair: Pair, side: Side) -> str:
    """`side` takes over the one SA in the store; empty, or why not."""
    (octets,) = pair.chains.records.values()
    outcome = side.endpoint.adopt(record.decode(octets), pair.now)
    if isinstance(outcome, str):
        return outcome
    pair.carry_out(side, outcome)
    return ""


def probes(pair: Pair, spi: bytes, times: int = 1) -> int:
    """The client asks for life so often; how many answers came."""
    before = len(pair.client.of(Answered))
    for _ in range(times):
        pair.carry_out(pair.client, pair.client.endpoint.probe(spi, pair.now))
        pair.run(0.5)
    return len(pair.client.of(Answered)) - before


@pytest.mark.parametrize("suite", SETTINGS.suites, ids=str)
def test_a_client_goes_on_at_the_adopter_without_noticing(suite: object) -> None:
    pair = Pair(peer=replace(PEER, suites=(suite,)))
    spi = pair.connect()
    theirs = pair.gateway.core(pair.other_end(spi))
    heir = survivor(pair)
    assert adopts(pair, heir) == ""
    assert probes(pair, spi, 3) == 3
    ours = heir.core(theirs.spi_r)
    # the keys of IKE_AUTH are not kept
    keys = replace(theirs.keys, pi=adopt.NOTHING, pr=adopt.NOTHING)  # type: ignore[type-var]
    assert ours == replace(theirs, keys=keys, handshake=None)
    (event,) = heir.of(Adopted)
    assert (event.spi, event.chain, event.generation) == (ours.spi_r, ours.chain, 1)
    assert pair.check == []


def test_exchanges_without_effect_are_not_in_the_record_and_are_not_missed() -> None:
    pair = Pair()
    spi = pair.connect()
    assert probes(pair, spi, 5) == 5
    heir = survivor(pair)
    assert adopts(pair, heir) == ""
    assert probes(pair, spi, 3) == 3
    assert pair.check == []


def test_a_repeat_of_the_last_journalled_request_gets_its_recorded_answer() -> None:
    pair = Pair()
    spi = pair.connect()
    core = pair.client.core(spi)
    delete = DeletePayload(ProtocolId.ESP, 4, (core.children[0].spi_in,))
    request = sealed(core, ExchangeType.INFORMATIONAL, 2, [delete])
    pair.inject(pair.gateway, request)
    answer = next(d.data for d in reversed(pair.gateway.sent) if is_response(d))
    heir = survivor(pair)
    assert adopts(pair, heir) == ""
    outcome = pair.inject(heir, request)
    assert [d.data for d in outcome.send] == [answer]
    assert outcome.persist is None


def test_an_older_request_shown_again_is_answered_at_most_once_and_keeps_nobody_out() -> None:
    pair = Pair()
    spi = pair.connect()
    assert probes(pair, spi, 4) == 4
    asked = [d.data for d in pair.client.sent if not is_response(d)][-4:]
    heir = survivor(pair)
    assert adopts(pair, heir) == ""
    assert len(pair.inject(heir, asked[1]).send) == 1
    assert pair.inject(heir, asked[0]).send == ()
    last = pair.inject(heir, asked[1]).send
    assert len(last) == 1
    assert last == pair.inject(heir, asked[1]).send, "a repeat is the same octets"
    assert probes(pair, spi, 1) == 1
    assert all(pair.inject(heir, data).send == () for data in asked)


def test_what_is_not_authentic_moves_nothing() -> None:
    pair = Pair()
    spi = pair.connect()
    heir = survivor(pair)
    assert adopts(pair, heir) == ""
    core = pair.client.core(spi)
    for ahead in (2, 3, 100, adopt.WINDOW + 2):
        forged = bytearray(sealed(core, ExchangeType.INFORMATIONAL, ahead, []))
        forged[-1] ^= 1
        assert pair.inject(heir, bytes(forged)).send == ()
    too_far = sealed(core, ExchangeType.INFORMATIONAL, 2 + adopt.WINDOW + 1, [])
    assert pair.inject(heir, too_far).send == ()
    assert probes(pair, spi, 1) == 1


def test_a_request_that_was_refused_is_refused_for_ever() -> None:
    """No message ID has two effects: what could have one is in the journal, refused or not."""
    pair = Pair()
    spi = pair.connect()
    core = pair.client.core(spi)
    request = sealed(core, ExchangeType.CREATE_CHILD_SA, 2, child_request(rekeys=b"none"))
    pair.inject(pair.gateway, request)
    assert pair.chains.writes[-1].kind is PersistKind.WRITE
    answer = next(d.data for d in reversed(pair.gateway.sent) if is_response(d))
    heir = survivor(pair)
    assert adopts(pair, heir) == ""
    assert [d.data for d in pair.inject(heir, request).send] == [answer]


def test_a_rekey_whose_answer_was_lost_with_its_gateway_is_answered_by_the_adopter() -> None:
    """Promise 6: the old SA's last answer is in the new one's record."""
    pair = Pair()
    spi = pair.connect()
    pair.deliver = lambda side, d: LOST if side is pair.gateway else ONCE
    pair.carry_out(pair.client, pair.client.endpoint.rekey_ike(spi, pair.now))
    pair.run(0.1)
    answer = pair.gateway.sent[-1].data
    pair.deliver = lambda side, d: ONCE
    heir = survivor(pair)
    assert adopts(pair, heir) == ""
    assert len(heir.of(Adopted)) == 1
    pair.run(2)
    assert heir.octets()[0] == answer
    (core,) = pair.client.live()
    assert core.spi != spi
    assert probes(pair, core.spi, 2) == 2
    pair.run(40)
    assert pair.client.endpoint.spis() == [core.spi_i]
    assert heir.endpoint.spis() == [core.spi_r]
    assert pair.check == []


def test_an_sa_that_its_gateway_rekeyed_is_adopted_as_the_original_initiators() -> None:
    pair = Pair()
    pair.connect()
    (old,) = pair.gateway.live()
    pair.carry_out(pair.gateway, pair.gateway.endpoint.rekey_ike(old.spi, pair.now))
    pair.run(5)
    (theirs,) = pair.gateway.live()
    heir = survivor(pair)
    assert adopts(pair, heir) == ""
    (ours,) = heir.live()
    assert ours.initiator
    assert (ours.spi, ours.children) == (theirs.spi, theirs.children)
    (core,) = pair.client.live()
    assert probes(pair, core.spi, 2) == 2
    (install,) = heir.kernel
    (before,) = [op for op in pair.gateway.kernel if isinstance(op, InstallChild)]
    assert isinstance(install, InstallChild)
    assert install.keys_in == before.keys_in
    assert pair.check == []


def test_a_request_with_an_effect_ahead_of_the_record_is_durable_before_its_answer() -> None:
    pair = Pair()
    spi = pair.connect()
    assert probes(pair, spi, 3) == 3
    core = pair.client.core(spi)
    heir = survivor(pair)
    assert adopts(pair, heir) == ""
    delete = DeletePayload(ProtocolId.ESP, 4, (core.children[0].spi_in,))
    request = sealed(core, ExchangeType.INFORMATIONAL, 5, [delete])
    pair.hold_writes = True
    pair.inject(heir, request)
    assert pair.inject(heir, request).send == ()
    assert heir.sent == []
    pair.release()
    (octets,) = pair.chains.records.values()
    kept = record.decode(octets)
    assert (kept.expected_id, kept.fence, kept.children) == (6, 2, ())
    assert kept.last_reply == heir.octets()[-1]
    later = sealed(core, ExchangeType.INFORMATIONAL, 6, [])
    assert len(pair.inject(heir, later).send) == 1


def test_nothing_is_sent_under_an_inherited_esp_key() -> None:
    pair = Pair()
    spi = pair.connect()
    (child,) = pair.gateway.core(pair.other_end(spi)).children
    heir = survivor(pair)
    assert adopts(pair, heir) == ""
    (installed,) = heir.kernel
    assert isinstance(installed, InstallChild)
    assert installed.inbound_only
    assert (installed.spi_in, installed.keymat) == (child.spi_in, child.keymat)


def test_every_iv_of_the_adopter_bears_its_fence() -> None:
    pair = Pair()
    spi = pair.connect()
    heir = survivor(pair, fence=7)
    assert adopts(pair, heir) == ""
    assert probes(pair, spi, 2) == 2
    assert {data[33:35] for data in heir.octets()} == {(7).to_bytes(2, "big")}


def changed(pair: Pair, **fields: object) -> record.Record:
    """The stored record, with other fields."""
    (octets,) = pair.chains.records.values()
    return msgspec.structs.replace(record.decode(octets), **fields)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"epoch": 1}, "epoch"),
        ({"fence": 2}, "fence"),
        ({"fence": 3}, "fence"),
        ({"expires_wall_s": 0.0}, "expired"),
        ({"suite": (999, 256, 0, 5, 31)}, "suite"),
        ({"sk_ei": b"short"}, "suite"),
        ({"next_id": adopt.MESSAGE_ID_MAX}, "message_id"),
    ],
)
def test_what_cant_be_adopted_safely_is_not(fields: dict[str, object], why: str) -> None:
    pair = Pair()
    spi = pair.connect()
    heir = survivor(pair)
    assert heir.endpoint.adopt(changed(pair, **fields), pair.now) == why
    assert heir.endpoint.spis() == []
    assert probes(pair, spi) == 0


def test_an_sa_that_is_held_is_not_adopted_over() -> None:
    pair = Pair()
    pair.connect()
    heir = survivor(pair)
    assert adopts(pair, heir) == ""
    assert adopts(pair, heir) == "held"


def test_an_adopter_leaves_out_message_ids_of_its_own() -> None:
    pair = Pair()
    spi = pair.connect()
    heir = survivor(pair, fence=4)
    assert heir.endpoint.adopt(changed(pair, next_id=5), pair.now)
    progress = heir.endpoint.progress(pair.other_end(spi))
    assert progress is not None
    assert progress.ids == (2, 5 + 3 * adopt.JUMP)
    assert heir.endpoint.is_asking(pair.other_end(spi))


def test_a_silent_client_is_not_asked_and_its_ticket_survives_the_end() -> None:
    pair = Pair()
    spi = pair.connect()
    gateway_spi = pair.other_end(spi)
    heir = survivor(pair)
    pair.deliver = lambda side, _datagram: LOST if side is heir else (0.0,)
    assert adopts(pair, heir) == ""
    pair.run(adopt.SILENT_S - 1)
    assert heir.sent == []
    assert heir.endpoint.probe(gateway_spi, pair.now) is None
    assert heir.core(gateway_spi).state is State.ESTABLISHED
    pair.run(2)
    assert heir.sent == []
    assert pair.chains.writes[-1].kind is PersistKind.END
    (ended,) = heir.of(Ended)
    assert ended.why == "silent since it was adopted"
    pair.deliver = lambda side, _datagram: (0.0,)
    assert pair.client.core(pair.resume(GATEWAY)).state is State.ESTABLISHED


def test_a_client_that_is_heard_stays_without_being_asked() -> None:
    pair = Pair()
    spi = pair.connect()
    heir = survivor(pair)
    assert adopts(pair, heir) == ""
    for _ in range(4):
        pair.run(adopt.SILENT_S / 2)
        assert probes(pair, spi) == 1
    assert heir.core(pair.other_end(spi)).state is State.ESTABLISHED
    assert all(is_response(d) for d in heir.sent)


def handed_over(pair: Pair, spi: bytes) -> Side:
    """The former owner lives, and tells how far it came."""
    theirs = pair.other_end(spi)
    progress, asking = (
        pair.gateway.endpoint.progress(theirs),
        pair.gateway.endpoint.is_asking(theirs),
    )
    assert progress is not None
    heir = survivor(pair)
    assert adopts(pair, heir) == ""
    heir.endpoint.catch_up(theirs, progress, not asking, pair.now)
    return heir


def test_told_by_its_predecessor_an_adopter_asks_with_the_next_message_id() -> None:
    pair = Pair()
    spi = pair.connect()
    theirs = pair.other_end(spi)
    for _ in range(2):
        pair.carry_out(pair.gateway, pair.gateway.endpoint.probe(theirs, pair.now))
        pair.run(0.5)
    assert probes(pair, spi, 3) == 3
    heir = handed_over(pair, spi)
    pair.carry_out(heir, heir.endpoint.probe(theirs, pair.now))
    pair.run(0.5)
    assert len(heir.of(Answered)) == 1
    assert probes(pair, spi, 2) == 2
    assert pair.check == []


def test_told_by_its_predecessor_an_adopter_takes_only_the_last_request_again() -> None:
    pair = Pair()
    spi = pair.connect()
    assert probes(pair, spi, 4) == 4
    asked = [d.data for d in pair.client.sent if not is_response(d)][-4:]
    heir = handed_over(pair, spi)
    for data in asked[:3]:
        assert pair.inject(heir, data).send == ()
    assert len(pair.inject(heir, asked[3]).send) == 1
    assert probes(pair, spi, 1) == 1


def test_a_request_under_way_at_the_predecessor_leaves_the_adopter_mute() -> None:
    pair = Pair()
    spi = pair.connect()
    theirs = pair.other_end(spi)
    pair.deliver = lambda side, _datagram: LOST
    pair.carry_out(pair.gateway, pair.gateway.endpoint.probe(theirs, pair.now))
    pair.deliver = lambda side, _datagram: (0.0,)
    heir = handed_over(pair, spi)
    assert heir.endpoint.probe(theirs, pair.now) is None
    assert probes(pair, spi, 2) == 2


def test_news_of_the_predecessor_never_takes_back_what_was_taken_here() -> None:
    pair = Pair()
    spi = pair.connect()
    theirs = pair.other_end(spi)
    progress = pair.gateway.endpoint.progress(theirs)
    assert progress is not None
    heir = survivor(pair)
    assert adopts(pair, heir) == ""
    assert probes(pair, spi, 3) == 3
    elsewhere = progress._replace(path=Path(SECOND_GATEWAY, ("192.0.2.99", 1)))
    heir.endpoint.catch_up(theirs, elsewhere, True, pair.now)
    now = heir.endpoint.progress(theirs)
    assert now is not None
    assert (now.ids[0], now.path) == (5, Path(GATEWAY, CLIENT))


def test_a_fenced_adopter_says_nothing() -> None:
    pair = Pair()
    spi = pair.connect()
    core = pair.client.core(spi)
    heir = survivor(pair)
    assert adopts(pair, heir) == ""
    delete = DeletePayload(ProtocolId.ESP, 4, (core.children[0].spi_in,))
    pair.hold_writes = True
    pair.inject(heir, sealed(core, ExchangeType.INFORMATIONAL, 9, [delete]))
    pair.release(Settlement.FENCED)
    assert heir.sent == []
    assert heir.live() == []


def test_an_adopter_issues_tickets() -> None:
    pair = Pair()
    spi = pair.connect()
    heir = survivor(pair)
    assert adopts(pair, heir) == ""
    pair.carry_out(pair.client, pair.client.endpoint.request_ticket(spi, pair.now))
    had = len(pair.client.of(TicketReceived))
    pair.run(0.5)
    assert len(pair.client.of(TicketReceived)) == had + 1
    assert pair.client.core(pair.resume(GATEWAY)).state is State.ESTABLISHED
