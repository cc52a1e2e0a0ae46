"""Additional key exchanges after CREATE_CHILD_SA: IKE_FOLLOWUP_KE (RFC 9370 2.2.4), both roles."""

import itertools
from collections.abc import Sequence

import pytest

from proto.ike.core import SaCore, Settings, State, replace
from proto.ike.dh import KeyExchange
from proto.ike.effects import Datagram, InstallChild
from proto.ike.enums import ExchangeType, KeMethod, NotifyType, PayloadType
from proto.ike.events import ChildRekeyed, Ended, Rekeyed
from proto.ike.exchanges.series import WAIT_S
from proto.ike.message import Message
from proto.ike.names import parse_suite, parse_suites
from proto.ike.payloads import KePayload, NoncePayload, NotifyPayload, Payload, SaPayload
from tests.pair.craft import in_fragments, opened, sealed
from tests.pair.pair import LOST, ONCE, Fate, Pair, Side, exchange, is_response
from tests.pair.parts import PEER
from tests.pair.rekeys import BOTH, Up, agree, expand, handed_out, ike_request, mac, works
from tests.pair.states import QUIET
from tests.pair.test_adopt import adopts, survivor

FOLLOWUP, CREATE = ExchangeType.IKE_FOLLOWUP_KE, ExchangeType.CREATE_CHILD_SA
ADDITIONAL = NotifyType.ADDITIONAL_KEY_EXCHANGE
PLAIN = "aes256gcm16-prfsha256-x25519"
ONE = f"{PLAIN}-ke1_ecp384"
TWO = f"{ONE}-ke2_x448"
NEXT = 3
"""The message ID after IKE_SA_INIT, one IKE_INTERMEDIATE and IKE_AUTH."""
SUITES = [
    ONE,
    TWO,
    "aes256gcm16-prfsha256-x25519-ke1_mlkem768",
    "aes128gcm16-prfsha384-ecp256-ke3_mlkem1024-ke7_x448",
    "aes256gcm16-prfsha256-x25519-ke1_modp2048-ke2_mlkem768",
]


def up(text: str = ONE, by_client: bool = True, settings: Settings = QUIET) -> Up:
    """A session that was set up with these, a side about to begin something."""
    suites = (parse_suite(text),)
    settings = replace(settings, suites=suites)
    pair = Pair(settings, replace(PEER, suites=suites))
    pair.connect()
    sides = (pair.client, pair.gateway)
    return Up(pair, *(sides if by_client else reversed(sides)))


def said(at: Up, core: SaCore, theirs: SaCore) -> list[tuple[int, Message]]:
    """What was said on an SA in exchanges of these kinds, opened, in order of the requests; `core`
    and `theirs` are the ends' views of it.
    """
    found: list[tuple[int, Message]] = []
    for side, view in ((at.side, core), (at.other, theirs)):
        for datagram in side.sent:
            if datagram.data[:8] == core.spi_i and exchange(datagram) in (FOLLOWUP, CREATE):
                found.append((exchange(datagram), opened(view, datagram.data)))
    return sorted(found, key=lambda row: (row[1].header.message_id, row[1].header.is_response))


def names(message: Message) -> list[str]:
    """The payloads of a message."""
    return [
        NotifyType(p.type).name if isinstance(p, NotifyPayload) else PayloadType(p.TYPE).name
        for p in message.payloads
    ]


def rekey(at: Up, what: str) -> None:
    """Begin to rekey the IKE SA, or its Child SA."""
    (at.rekey_ike if what == "ike" else at.rekey_child)()


# -- the exchanges --------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("text", SUITES)
@pytest.mark.parametrize("what", ["ike", "child"])
def test_a_rekey_has_as_many_key_exchanges_as_the_session(
    what: str, text: str, by_client: bool
) -> None:
    at = up(text, by_client)
    core, theirs, (former,) = at.own, at.theirs, at.own.children
    rekey(at, what)
    at.pair.run(9)
    agree(at)
    assert at.own.suite == parse_suite(text)
    assert (at.own.spi != core.spi) == (what == "ike")
    assert (at.own.children[0].spi_in != former.spi_in) == (what == "child")
    more = parse_suite(text).more_kes
    messages = said(at, core, theirs)
    assert [kind for kind, _ in messages] == [CREATE] * 2 + [FOLLOWUP] * 2 * len(more)
    asked, answered = messages[-2][1], messages[-1][1]
    assert names(asked) == ["KE", "ADDITIONAL_KEY_EXCHANGE"]
    asks_ticket = what == "ike" and by_client
    assert names(answered) == ["KE", *["TICKET_LT_OPAQUE"] * asks_ticket]
    works(at)
    at.pair.agree(at.pair.resume())


def test_the_exchanges_are_those_of_the_rfc_and_each_has_a_link_of_its_own() -> None:
    at = up(TWO)
    core, theirs = at.own, at.theirs
    at.rekey_ike()
    at.pair.run(9)
    messages = [message for _, message in said(at, core, theirs)]
    assert [names(message) for message in messages] == [
        ["SA", "NONCE", "KE", "TICKET_REQUEST"],
        ["SA", "NONCE", "KE", "ADDITIONAL_KEY_EXCHANGE"],
        ["KE", "ADDITIONAL_KEY_EXCHANGE"],
        ["KE", "ADDITIONAL_KEY_EXCHANGE"],
        ["KE", "ADDITIONAL_KEY_EXCHANGE"],
        ["KE", "TICKET_LT_OPAQUE"],
    ]
    links = [message.notify(ADDITIONAL) for message in messages[1:5]]
    assert links[0] == links[1]
    assert links[2] == links[3]
    assert links[0] != links[2]
    methods = [ke.group for message in messages[2:] if (ke := message.find(KePayload))]
    assert methods == [KeMethod.ECP_384] * 2 + [KeMethod.CURVE448] * 2


@pytest.mark.parametrize("what", ["ike", "child"])
def test_the_keys_are_of_all_secrets_in_the_order_of_the_rfc(what: str) -> None:
    # SKEYSEED = prf(SK_d, SK(0) | Ni | Nr | SK(1) | …), KEYMAT likewise, by a second computation
    at = up(TWO)
    core, theirs = at.own, at.theirs
    assert core.keys is not None
    rekey(at, what)
    at.pair.run(0.045)  # the last request is under way
    asking, series = at.side.core(core.spi).asking, at.other.core(theirs.spi).series
    assert asking is not None
    assert series is not None
    assert asking.exchange is not None
    half = asking.exchange
    at.pair.run(9)
    messages = [message for _, message in said(at, core, theirs)]
    ke = messages[-1].find(KePayload)
    assert ke is not None
    secrets = [s.octets for s in (*series.secrets, half.shared(ke.data))]
    assert len(secrets) == 3
    assert [len(secret) for secret in secrets] == [32, 48, 56]
    ni, nr = (m.find(NoncePayload) for m in messages[:2])
    assert ni is not None
    assert nr is not None
    octets = secrets[0] + ni.data + nr.data + secrets[1] + secrets[2]
    new = at.own
    assert new.keys is not None
    if what == "ike":
        seed = mac(core.keys.d.octets, octets)
        keys = expand(seed, ni.data + nr.data + new.spi_i + new.spi_r, 32 * 3 + 2 * 36)
        assert new.keys.d.octets == keys[:32]
        assert new.keys.ei.octets == keys[32:68]
        assert new.keys.er.octets == keys[68:104]
        return
    (child,) = new.children
    assert child.keymat.octets == expand(core.keys.d.octets, octets, 2 * 36)


def test_nothing_is_made_before_the_last_exchange() -> None:
    for what in ("ike", "child"):
        at = up(TWO)
        before, children = [at.own.spi, at.theirs.spi], (at.own.children, at.theirs.children)
        kernel = len(at.side.kernel), len(at.other.kernel)
        at.pair.deliver = lambda side, d: LOST if d.data[23] > 4 else ONCE  # the second followup
        rekey(at, what)
        at.pair.run(0.4)
        assert [at.own.spi, at.theirs.spi] == before
        assert (at.own.children, at.theirs.children) == children
        assert (len(at.side.kernel), len(at.other.kernel)) == kernel
        assert not at.side.of(Rekeyed)
        assert not at.side.of(ChildRekeyed)
        at.pair.deliver = lambda side, d: ONCE
        at.pair.run(9)
        agree(at)


def test_a_new_child_sa_has_them_too() -> None:
    at = up()
    core, theirs = at.own, at.theirs
    at.pair.carry_out(at.side, at.side.endpoint.new_child(core.spi, at.pair.now))
    at.pair.run(9)
    agree(at)
    assert len(at.own.children) == 2
    assert [kind for kind, _ in said(at, core, theirs)] == [CREATE, CREATE, FOLLOWUP, FOLLOWUP]
    installed = [op for op in at.side.kernel if isinstance(op, InstallChild)]
    assert len(installed) == 2


def test_without_forward_secrecy_a_child_sa_has_none() -> None:
    at = up(settings=replace(QUIET, child_pfs=False))
    core, theirs = at.own, at.theirs
    at.rekey_child()
    at.pair.run(9)
    agree(at)
    assert [kind for kind, _ in said(at, core, theirs)] == [CREATE, CREATE]


def test_a_session_without_any_is_rekeyed_without_any() -> None:
    # its peer may not know them: with an unknown type it would pass over the whole proposal
    suites = (parse_suites(f"{ONE}-ke1_none"),)
    pair = Pair(replace(QUIET, suites=suites), replace(PEER, suites=(parse_suite(PLAIN),)))
    pair.connect()
    at = Up(pair, pair.gateway, pair.client)
    core, theirs = at.own, at.theirs
    at.rekey_ike()
    at.pair.run(9)
    assert at.own.spi != core.spi
    (_, asked), *_ = said(at, core, theirs)
    offer = asked.find(SaPayload)
    assert offer is not None
    assert all(t.type < 6 for p in offer.proposals for t in p.transforms)


def test_a_rekey_without_any_is_taken_and_the_session_counts_as_made_by_its_own() -> None:
    at = up()
    spi = b"new-spi!"
    outcome = at.pair.inject(
        at.other, sealed(at.own, CREATE, NEXT, ike_request(spi)), at.side.address
    )
    assert outcome.persist is not None
    new = next(core for core in at.other.live() if core.spi_i == spi)
    assert new.suite == parse_suite(ONE)


# -- what gets lost -------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("lost", range(6))
@pytest.mark.parametrize("what", ["ike", "child"])
def test_every_message_may_be_lost(what: str, lost: int, by_client: bool) -> None:
    at = up(TWO, by_client)
    numbers = itertools.count()
    at.pair.deliver = lambda side, d: LOST if next(numbers) == lost else ONCE
    rekey(at, what)
    at.pair.run(20)
    agree(at)
    assert len(at.side.of(Rekeyed if what == "ike" else ChildRekeyed)) == 1
    works(at)


@pytest.mark.parametrize("what", ["ike", "child"])
def test_every_message_may_come_twice_and_late(what: str) -> None:
    at = up(TWO)
    at.pair.deliver = lambda side, d: (0.0, 0.2, 0.7)
    rekey(at, what)
    at.pair.run(20)
    agree(at)
    works(at)


def followup(at: Up, message_id: int, *payloads: Payload) -> list[Payload]:
    """What the other side answers to such a request."""
    core, theirs = at.own, at.theirs
    data = sealed(core, FOLLOWUP, message_id, payloads)
    (sent,) = at.pair.inject(at.other, data, at.side.address).send
    return list(opened(theirs, sent.data).payloads)


LOST_STATE = [NotifyPayload(NotifyType.STATE_NOT_FOUND)]


def test_a_followup_of_nothing_gets_state_not_found_and_harms_nothing() -> None:
    at = up()
    link = NotifyPayload(ADDITIONAL, b"a link")
    assert followup(at, NEXT, KePayload(KeMethod.ECP_384, b"\x04" * 96), link) == LOST_STATE
    assert followup(at, NEXT + 1) == LOST_STATE
    assert at.theirs.state is State.ESTABLISHED


def begun(at: Up) -> NotifyPayload:
    """A rekey of the IKE SA is begun by hand, with the next message ID; the link to go on with."""
    request = ike_request(b"new-spi!")
    offer = SaPayload(
        tuple(
            replace(p, transforms=parse_suite(ONE).transforms)
            for p in request[0].proposals  # type: ignore[attr-defined]
        )
    )
    core, theirs = at.own, at.theirs
    data = sealed(core, CREATE, NEXT, [offer, *request[1:]])
    (sent,) = at.pair.inject(at.other, data, at.side.address).send
    link = opened(theirs, sent.data).notify(ADDITIONAL)
    assert link is not None
    return link


def test_another_link_or_none_is_state_not_found_and_the_right_one_is_still_taken() -> None:
    at = up()
    link, key = begun(at), KePayload(KeMethod.ECP_384, fresh_ecp384())
    assert followup(at, NEXT + 1, key, NotifyPayload(ADDITIONAL, b"x" * 16)) == LOST_STATE
    assert followup(at, NEXT + 2, key) == LOST_STATE
    theirs = at.theirs
    data = sealed(at.own, FOLLOWUP, NEXT + 3, [key, link])
    at.pair.inject(at.other, data, at.side.address)
    assert at.other.core(theirs.spi).state is State.REKEYED
    assert [event.former for event in at.other.of(Rekeyed)] == [theirs.spi]


def fresh_ecp384() -> bytes:
    """Somebody's public value."""
    return KeyExchange.generate(KeMethod.ECP_384, Pair().client.rng).public


def test_of_child_sas_begun_without_end_the_last_alone_keeps_its_spi() -> None:
    at = up()
    own, theirs, given = at.own, at.theirs, handed_out(at.other)
    at.pair.deliver = lambda side, d: LOST
    at.pair.carry_out(at.side, at.side.endpoint.new_child(own.spi, at.pair.now))
    asked = opened(own, at.side.sent[-1].data).payloads
    for number in range(3):
        at.pair.inject(at.other, sealed(own, CREATE, NEXT + number, asked), at.side.address)
    kept = [at.other.endpoint.has_child(theirs.spi, spi) for spi in given]
    assert kept == [False, False, True]
    at.pair.boot_s += WAIT_S
    at.pair.run(1)
    assert not at.other.endpoint.has_child(theirs.spi, given[-1])


@BOTH
def test_what_is_asked_for_keeps_its_spi_until_the_answer_says_what_became_of_it(
    by_client: bool,
) -> None:
    at = up(by_client=by_client)
    given = handed_out(at.side)
    at.pair.carry_out(at.side, at.side.endpoint.new_child(at.own.spi, at.pair.now))
    for _ in range(8):
        assert [at.side.endpoint.has_child(at.own.spi, spi) for spi in given] == [True]
        at.pair.run(0.01)
    at.pair.run()
    agree(at)
    assert given[0] in [child.spi_in for child in at.own.children]


@BOTH
@pytest.mark.parametrize("what", ["ike", "child"])
def test_an_endless_link_ends_the_sa_of_who_would_have_to_repeat_it(
    what: str, by_client: bool
) -> None:
    at = up(by_client=by_client)
    endless = NotifyPayload(ADDITIONAL, bytes(65_000))

    def deliver(sender: Side, datagram: Datagram) -> Fate:
        if sender is not at.other or exchange(datagram) != CREATE:
            return ONCE
        said = opened(at.theirs, datagram.data)
        chain = [p for p in said.payloads if p != said.notify(ADDITIONAL)]
        made = (at.theirs, CREATE, said.header.message_id, [*chain, endless], 14_000)
        for piece in in_fragments(*made, response=True):
            at.pair.inject(at.side, piece, at.other.address)
        return LOST

    at.pair.deliver = deliver
    rekey(at, what)
    at.pair.run(1)
    (ended,) = at.side.of(Ended)
    assert "endless" in ended.why


def test_what_is_not_gone_on_with_is_forgotten() -> None:
    at = up()
    link = begun(at)
    assert at.theirs.series is not None
    at.pair.boot_s += WAIT_S - 1
    at.pair.run(0)
    assert at.theirs.series is not None
    at.pair.run(2)
    assert at.theirs.series is None
    key = KePayload(KeMethod.ECP_384, fresh_ecp384())
    assert followup(at, NEXT + 1, key, link) == LOST_STATE


@pytest.mark.parametrize("payloads", [[], [KePayload(KeMethod.CURVE448, bytes(56))]], ids=str)
def test_another_method_or_none_ends_the_sa(payloads: Sequence[Payload]) -> None:
    at = up()
    link = begun(at)
    answered = followup(at, NEXT + 1, *payloads, link)
    assert answered == [NotifyPayload(NotifyType.INVALID_SYNTAX)]
    assert not at.other.live()


def losing(at: Up, times: int) -> None:
    """The other side loses what it knew, so often, as the followup comes."""
    left = [times]

    def deliver(sender: Side, datagram: Datagram) -> Fate:
        if exchange(datagram) == FOLLOWUP and not is_response(datagram) and left[0]:
            left[0] -= 1
            (theirs,) = at.other.live()
            sa = at.other.endpoint._sas[theirs.spi]
            sa.core = replace(sa.core, series=None)
        return ONCE

    at.pair.deliver = deliver


@BOTH
@pytest.mark.parametrize("what", ["ike", "child"])
def test_who_is_told_state_not_found_begins_again(what: str, by_client: bool) -> None:
    at = up(TWO, by_client)
    before = at.own.spi, at.own.children[0].spi_in
    losing(at, 2)
    rekey(at, what)
    at.pair.run(9)
    assert (at.own.spi, at.own.children[0].spi_in) == before
    at.pair.run(60)
    assert (at.own.spi, at.own.children[0].spi_in) != before
    agree(at)
    works(at)


def test_and_ends_the_sa_when_that_never_ends() -> None:
    at = up()
    losing(at, 10_000)
    at.rekey_ike()
    at.pair.run(600)
    assert [event.why for event in at.side.of(Ended)] == ["out of step with the peer"]
    assert not at.other.live()


@pytest.mark.parametrize("what", ["ike", "child"])
def test_an_adopter_has_lost_it_and_the_peer_begins_again(what: str) -> None:
    at = up(TWO)
    at.pair.deliver = lambda side, d: LOST if exchange(d) == FOLLOWUP else ONCE
    rekey(at, what)
    at.pair.run(0.2)
    heir = survivor(at.pair)
    assert adopts(at.pair, heir) == ""
    at.pair.deliver = lambda side, d: ONCE
    at.pair.run(60)
    (ours,), (theirs,) = at.side.live(), heir.live()
    assert len(at.side.of(Rekeyed if what == "ike" else ChildRekeyed)) == 1
    assert ours.spi_i == theirs.spi_i
    assert ours.suite == theirs.suite
    assert at.pair.check == []


def test_an_answer_without_a_link_ends_the_sa() -> None:
    at = up()
    core, theirs = at.own, at.theirs

    def deliver(sender: Side, datagram: Datagram) -> Fate:
        if sender is not at.other or exchange(datagram) != CREATE:
            return ONCE
        message = opened(theirs, datagram.data)
        kept = [p for p in message.payloads if not isinstance(p, NotifyPayload)]
        data = sealed(theirs, CREATE, message.header.message_id, kept, response=True)
        at.pair.inject(at.side, data, at.other.address)
        return LOST

    at.pair.deliver = deliver
    at.rekey_ike()
    at.pair.run(1)
    assert at.side.core(core.spi).state is State.DEAD
