"""Pre-shared keys against quantum computers (RFC 8784), both roles."""

import hashlib
import hmac

import pytest

from proto.ike import record
from proto.ike.connection import Connection, Method
from proto.ike.core import Peer, SaCore, Settings, State, replace
from proto.ike.effects import Datagram
from proto.ike.enums import ExchangeType, NotifyType
from proto.ike.errors import TicketReason
from proto.ike.events import Ended, Established, Failed, WithoutPpk
from proto.ike.exchanges.ike_session_resume import is_usable
from proto.ike.kdf import SaKeys, derive_keys, mix_ppk, skeyseed_resume
from proto.ike.message import Message, decode_clear
from proto.ike.names import parse_suite
from proto.ike.payloads import NoncePayload, NotifyPayload
from proto.ike.ppk import Ppk
from proto.ike.rounds import Proof
from proto.ike.ticket import PPK_USED, open_ticket
from proto.secret import Secret
from tests.pair.authorities import own_key
from tests.pair.craft import assert_nacked, opened, sealed, show
from tests.pair.pair import LOST, ONCE, Fate, Pair, Side, exchange
from tests.pair.parts import ANY, CLIENT_ID, GATEWAY_ID, PEER, SECOND_GATEWAY, SETTINGS
from tests.pair.test_eap import ALICE, EAP_PEER, OWN, kinds, talk
from tests.pair.test_eap import CONNECTION as BY_EAP

PPK = Ppk(b"\x02ppk-of-alice", Secret(b"PPK of at least 256 random bits."))
OTHER = Ppk(b"\x01another", Secret(b"Another PPK with 32 octets in it"))
REST = Connection("rest", GATEWAY_ID, ANY, ANY)
MINE = own_key("p256", "machine")
BY_CERTIFICATE = Proof(Method.CERTIFICATE, CLIENT_ID)


def pair_of(
    connection: Connection = REST,
    peer: Peer = PEER,
    ppk: Ppk | None = PPK,
    *,
    required: tuple[bool, bool] = (False, False),
    knows: tuple[Ppk, ...] = (PPK,),
    settings: Settings = SETTINGS,
) -> Pair:
    """`required`: by the client, by the gateway; `knows`: the gateway."""
    connection = replace(connection, ppk_required=required[1])
    settings = replace(settings, connections=(connection,), use_ppk=bool(knows))
    pair = Pair(settings, replace(peer, ppk=ppk, ppk_required=required[0]))
    pair.client.endpoint.settings = replace(settings, connections=(), use_ppk=False)
    pair.gateway.psks.ppks = {ppk.id: ppk.secret for ppk in knows}
    pair.gateway.psks.keys[GATEWAY_ID.data] = OWN
    pair.client.psks.keys[CLIENT_ID.data] = MINE
    pair.authority.trust(OWN, GATEWAY_ID.data)
    pair.authority.trust(MINE, CLIENT_ID.data)
    pair.authority.passwords[ALICE] = pair.authority.says = "swordfish"
    return pair


def first(pair: Pair) -> tuple[Message, Message]:
    """The first exchange."""
    asked, answered = (s.sent[0].data for s in (pair.client, pair.gateway))
    return decode_clear(asked), decode_clear(answered)


def auth_of(pair: Pair, core: SaCore) -> Message:
    """The first request of IKE_AUTH."""
    return opened(core, next(d.data for d in pair.client.sent if exchange(d) == 35))


def both(pair: Pair) -> tuple[SaCore, SaCore]:
    """The SA at both ends."""
    (ours,), (theirs,) = pair.client.live(), pair.gateway.live()
    return ours, theirs


@pytest.mark.parametrize("required", [(False, False), (True, False), (False, True), (True, True)])
def test_the_exchange_is_that_of_the_rfc(required: tuple[bool, bool]) -> None:
    pair = pair_of(required=required)  # RFC 8784 3
    pair.agree(pair.connect())
    ours, theirs = both(pair)
    assert ours.ppk
    assert theirs.ppk
    for message in first(pair):
        notify = message.notify(NotifyType.USE_PPK)
        assert notify == NotifyPayload(NotifyType.USE_PPK)
    asked, answered = talk(pair)
    named = asked.notify(NotifyType.PPK_IDENTITY)
    assert named is not None
    assert named.data == PPK.id
    assert (asked.notify(NotifyType.NO_PPK_AUTH) is None) == required[0]
    assert answered.notify(NotifyType.PPK_IDENTITY) == NotifyPayload(NotifyType.PPK_IDENTITY)
    assert not pair.client.of(WithoutPpk)
    assert not pair.gateway.of(WithoutPpk)
    assert pair.check == []


def test_without_ppks_there_is_no_word_of_them() -> None:
    pair = pair_of(ppk=None, knows=())
    pair.agree(pair.connect())
    assert all(message.notify(NotifyType.USE_PPK) is None for message in first(pair))
    assert not {"PPK_IDENTITY", "NO_PPK_AUTH"} & {k for m in talk(pair) for k in kinds(m)}
    assert not both(pair)[0].ppk


def test_the_keys_are_those_of_the_rfcs_formula() -> None:
    # a second computation, of the shared secret that both sides have before the PPK
    pair, plain = pair_of(), pair_of(ppk=None)
    pair.connect()
    plain.connect()
    before, after = both(plain)[0].keys, both(pair)[0].keys
    assert before is not None
    assert after is not None
    for name in ("ai", "ar", "ei", "er"):
        assert getattr(before, name) == getattr(after, name)
    for name in ("d", "pi", "pr"):
        # the first block of prf+ is as long as the key: prf(PPK, SK' | 0x01)
        data = getattr(before, name).octets + b"\x01"
        made = hmac.new(PPK.secret.octets, data, hashlib.sha256).digest()
        assert getattr(after, name) == Secret(made)


@pytest.mark.parametrize("prf_id", [4, 5, 6, 7, 8])
def test_mixing_keeps_the_length_of_every_key(prf_id: int) -> None:
    octets = {4: 16, 5: 32, 6: 48, 7: 64, 8: 16}[prf_id]
    keys = SaKeys(*[Secret(bytes((n,)) * octets) for n in range(7)])
    mixed = mix_ppk(prf_id, PPK.secret, keys)
    assert [len(getattr(mixed, n).octets) for n in ("d", "pi", "pr")] == [octets] * 3
    assert (mixed.ai, mixed.ar, mixed.ei, mixed.er) == (keys.ai, keys.ar, keys.ei, keys.er)


CASES = [
    # the client's PPK, what the gateway knows, required by (client, gateway): set up?, with PPK?
    (None, (PPK,), (False, False), True, False),
    (None, (PPK,), (False, True), False, False),
    (PPK, (), (False, False), True, False),
    (PPK, (), (True, False), False, False),
    (PPK, (OTHER,), (False, False), True, False),
    (PPK, (OTHER,), (True, False), False, False),
    (PPK, (OTHER,), (False, True), False, False),
    (PPK, (OTHER,), (True, True), False, False),
    (OTHER, (PPK, OTHER), (True, True), True, True),
]


@pytest.mark.parametrize(("ppk", "knows", "required", "stands", "used"), CASES)
@pytest.mark.parametrize("proof", [Method.PSK, Method.CERTIFICATE, Method.EAP])
def test_table_1_of_the_rfc(
    proof: Method,
    ppk: Ppk | None,
    knows: tuple[Ppk, ...],
    required: tuple[bool, bool],
    stands: bool,
    used: bool,
) -> None:
    connection, peer = REST, PEER
    if proof is Method.EAP:
        connection, peer = BY_EAP, EAP_PEER
    elif proof is Method.CERTIFICATE:
        connection = replace(REST, local_auth=proof, remote_auth=(proof,))
        peer = replace(PEER, proofs=(BY_CERTIFICATE,), remote_auth=proof)
    pair = pair_of(connection, peer, ppk, required=required, knows=knows)
    spi = pair.start()
    pair.run(60)
    assert (len(pair.client.live()), len(pair.gateway.live())) == (stands, stands)
    if not stands:
        assert pair.client.of(Failed) or pair.gateway.of(Failed)
        return
    pair.agree(spi)
    ours, theirs = both(pair)
    assert (ours.ppk, theirs.ppk) == (used, used)
    # RFC 8784 6: whoever had one and hasn't used it hears of it
    assert bool(pair.client.of(WithoutPpk)) == (ppk is not None and not used)
    if not used and knows:
        assert [event.identity for event in pair.gateway.of(WithoutPpk)] == [theirs.identity]


def test_with_eap_the_gateways_first_proof_is_without_and_its_last_with_the_ppk() -> None:
    pair = pair_of(BY_EAP, EAP_PEER)
    pair.agree(pair.connect())
    messages = [kinds(message) for message in talk(pair)]
    assert messages[0] == ["IDi", "IDr", "TICKET_REQUEST", "SA", "TSi", "TSr"]
    assert messages[1] == ["IDr", "CERT", "AUTH", "EAP"]
    assert messages[-2] == ["AUTH", "PPK_IDENTITY", "NO_PPK_AUTH"]
    assert messages[-1][:2] == ["AUTH", "PPK_IDENTITY"]
    assert both(pair)[0].ppk


def test_an_eap_method_that_makes_no_key_is_confirmed_with_the_mixed_ones() -> None:
    pair = pair_of(BY_EAP, EAP_PEER)
    pair.authority.makes_key = False
    pair.agree(pair.connect())
    assert both(pair)[1].ppk


def test_of_several_proofs_the_first_one_that_has_auth_names_the_ppk() -> None:
    methods = (Method.CERTIFICATE, Method.EAP)
    connection = replace(REST, local_auth=Method.CERTIFICATE, remote_auth=methods)
    proofs = (BY_CERTIFICATE, Proof(Method.EAP, CLIENT_ID))
    peer = replace(PEER, proofs=proofs, remote_auth=Method.CERTIFICATE)
    pair = pair_of(connection, peer, required=(True, True))
    pair.agree(pair.connect())
    messages = [kinds(message) for message in talk(pair)]
    assert "PPK_IDENTITY" in messages[0]
    assert "PPK_IDENTITY" in messages[1]
    assert not any("PPK_IDENTITY" in names for names in messages[2:])
    assert both(pair)[1].ppk


def test_after_additional_key_exchanges_it_is_mixed_into_the_last_keys() -> None:
    suites = (parse_suite("aes256gcm16-prfsha256-x25519-ke1_mlkem768"),)
    pair = pair_of(peer=replace(PEER, suites=suites), settings=replace(SETTINGS, suites=suites))
    spi = pair.start()
    pair.run(0.045)  # IKE_INTERMEDIATE is answered, IKE_AUTH under way
    (gateway_spi,) = pair.gateway.endpoint.spis()
    before = pair.gateway.core(gateway_spi)
    assert before.state is State.INIT_ANSWERED
    assert before.handshake is not None
    assert before.handshake.exchanges == 1
    pair.run()
    pair.agree(spi)
    assert before.keys is not None
    assert pair.gateway.core(gateway_spi).keys == mix_ppk(5, PPK.secret, before.keys)


# -- null authentication --------------------------------------------------------------------------


def test_null_authentication_with_a_ppk_proves_the_ppk() -> None:
    # RFC 8784 5.2.3: it is required then, and no form without it is shown
    nobody = replace(REST, local_auth=Method.NULL, remote_auth=(Method.NULL,))
    peer = replace(PEER, proofs=(Proof(Method.NULL, CLIENT_ID),), remote_auth=Method.NULL, psk=None)
    pair = pair_of(nobody, peer)
    pair.agree(pair.connect())
    assert "NO_PPK_AUTH" not in kinds(auth_of(pair, both(pair)[0]))
    pair = pair_of(nobody, peer, knows=(OTHER,))
    pair.connect()
    assert not pair.client.live()
    assert not pair.gateway.live()


def test_a_gateway_with_null_authentication_takes_no_form_without_the_ppk() -> None:
    asks = replace(REST, local_auth=Method.NULL)
    pair = pair_of(asks, PEER, knows=(OTHER,))
    pair.connect()
    assert "requires one" in pair.gateway.of(Failed)[0].why


# -- what an attacker does ------------------------------------------------------------------------


def without(pair: Pair, type_: NotifyType, times: int = 99) -> None:
    """Take a notify out of the gateway's first answer, so often."""
    octets = NotifyPayload(type_).encode()
    left = [times]

    def deliver(sender: Side, datagram: Datagram) -> Fate:
        if sender is pair.gateway and exchange(datagram) == ExchangeType.IKE_SA_INIT and left[0]:
            left[0] -= 1
            odd = octets[:2] + (0xFFFF).to_bytes(2, "big")
            pair.inject(pair.client, datagram.data.replace(octets, odd), sender.address)
            return LOST
        return ONCE

    pair.deliver = deliver


def test_who_requires_a_ppk_waits_for_a_better_first_answer() -> None:
    pair = pair_of(required=(True, False))  # RFC 8784 6
    without(pair, NotifyType.USE_PPK, times=2)
    spi = pair.start()
    pair.run(0.1)
    assert pair.client.core(spi).state is State.INIT_SENT
    pair.run(10)
    pair.agree(spi)
    assert pair.client.core(spi).ppk


def test_and_gives_up_if_there_is_none() -> None:
    pair = pair_of(required=(True, False))
    without(pair, NotifyType.USE_PPK)
    pair.start()
    pair.run(60)
    assert [e.why for e in pair.client.of(Failed)] == [
        "the gateway uses no PPKs; configured: required"
    ]
    assert not pair.gateway.of(Established)


def test_a_stripped_use_ppk_is_found_out_by_a_pre_shared_key() -> None:
    pair = pair_of()  # both optional: AUTH covers the first messages
    without(pair, NotifyType.USE_PPK)
    pair.connect()
    assert not pair.client.live()
    assert not pair.gateway.live()


def reseal(pair: Pair, side: Side, drop: NotifyType) -> None:
    """What `side` says in IKE_AUTH arrives without that notify."""

    def deliver(sender: Side, datagram: Datagram) -> Fate:
        if sender is not side or exchange(datagram) != ExchangeType.IKE_AUTH:
            return ONCE
        other = pair.gateway if side is pair.client else pair.client
        (spi,) = side.endpoint.spis()
        core = side.core(spi)
        message = opened(core, datagram.data)
        kept = [p for p in message.payloads if getattr(p, "type", None) != drop]
        assert len(kept) < len(message.payloads)
        answers = message.header.is_response
        data = sealed(core, 35, message.header.message_id, kept, response=answers)
        pair.inject(other, data, side.address)
        return LOST

    pair.deliver = deliver


def test_an_announced_ppk_has_to_be_named() -> None:
    pair = pair_of()
    reseal(pair, pair.client, NotifyType.PPK_IDENTITY)
    pair.connect()
    assert "names none" in pair.gateway.of(Failed)[0].why
    assert not pair.gateway.live()


def test_a_gateway_that_goes_on_without_a_required_ppk_is_told_so() -> None:
    pair = pair_of(required=(True, False))
    reseal(pair, pair.gateway, NotifyType.PPK_IDENTITY)
    pair.connect()
    assert "doesn't use our PPK" in pair.client.of(Failed)[0].why
    assert [event.why for event in pair.gateway.of(Ended)] == ["the peer didn't believe who we are"]


def test_a_gateway_that_claims_to_use_it_and_doesnt_is_not_believed() -> None:
    pair = pair_of(knows=(replace(PPK, secret=OTHER.secret),))
    pair.connect()
    assert not pair.client.live()
    assert not pair.gateway.live()


# -- what comes after -----------------------------------------------------------------------------


def test_a_resumption_derives_from_sk_d_without_mixing_again() -> None:
    pair = pair_of(required=(True, True))  # RFC 8784 3, RFC 5723 5.1
    pair.connect()
    ticket = pair.ticket()
    assert ticket.ppk
    first_sent = len(pair.client.sent)
    pair.gateway.psks.ppks.clear()
    spi = pair.resume()
    pair.agree(spi)
    ours = pair.client.core(spi)
    assert ours.ppk
    assert pair.gateway.core(ours.spi_r).ppk
    asked = decode_clear(pair.client.sent[first_sent].data)
    answered = decode_clear(next(d.data for d in pair.gateway.sent if exchange(d) == 38))
    assert asked.notify(NotifyType.USE_PPK) is None
    ni, nr = asked.find(NoncePayload), answered.find(NoncePayload)
    assert ours.suite is not None
    assert ni is not None
    assert nr is not None
    seed = skeyseed_resume(ours.suite.prf, ticket.sk_d, ni.data, nr.data)
    spis = (ours.spi_i, ours.spi_r)
    assert ours.keys == derive_keys(ours.suite, seed, ni.data, nr.data, *spis)
    assert pair.ticket().ppk  # the next one says so too
    assert not pair.client.of(WithoutPpk)


def test_a_ticket_of_a_session_without_a_ppk_is_void_once_one_is_required() -> None:
    pair = pair_of(ppk=None)
    pair.connect()
    ticket = pair.ticket()
    assert not ticket.ppk
    settings = pair.gateway.endpoint.settings
    required = replace(REST, ppk_required=True)
    pair.gateway.endpoint.settings = replace(settings, connections=(required,))
    assert_nacked(pair, show(pair, ticket.ticket), TicketReason.POLICY)


def test_a_client_that_requires_one_presents_no_ticket_without() -> None:
    pair = pair_of(ppk=None)
    pair.connect()
    ticket, now_s = pair.ticket(), pair.now.wall_s
    assert is_usable(ticket, PEER, now_s)
    assert not is_usable(ticket, replace(PEER, ppk=PPK, ppk_required=True), now_s)
    assert is_usable(replace(ticket, ppk=True), replace(PEER, ppk_required=True), now_s)


def test_the_ticket_and_the_record_say_it_and_a_rekey_and_an_heir_keep_it() -> None:
    pair = pair_of()
    spi = pair.connect()
    body = open_ticket(pair.ticket().ticket, pair.gateway.ring, b"test", pair.now.wall_s, 0)
    assert body.flags == PPK_USED
    pair.carry_out(pair.client, pair.client.endpoint.rekey_ike(spi, pair.now))
    pair.run()
    ours, theirs = both(pair)
    assert ours.ppk
    assert theirs.ppk
    assert pair.ticket().ppk
    (written,) = pair.chains.records.values()
    heir = pair.add_gateway("second", SECOND_GATEWAY)
    heir.spis.fence = 2
    outcome = heir.endpoint.adopt(record.decode(written), pair.now)
    assert not isinstance(outcome, str)
    assert heir.core(theirs.spi).ppk


def test_childs_and_rekeys_follow_from_the_mixed_sk_d() -> None:
    pair, plain = pair_of(), pair_of(ppk=None)
    pair.connect()
    plain.connect()
    keymats = [[c.keymat for c in core.children] for p in (pair, plain) for core in both(p)]
    assert keymats[0] == keymats[1]
    assert keymats[2] == keymats[3]
    assert keymats[0] != keymats[2]
