"""Additional key exchanges before IKE_AUTH (RFC 9242, RFC 9370), both roles."""

import pytest

from proto.ike.auth import signed_octets
from proto.ike.core import SaCore, Settings, State, replace
from proto.ike.enums import ExchangeType, KeMethod, NotifyType, PayloadType
from proto.ike.events import Dropped, Failed
from proto.ike.kdf import derive_keys, prf, skeyseed_rekey
from proto.ike.message import decode_clear
from proto.ike.names import parse_suite, parse_suites
from proto.ike.payloads import AuthPayload, KePayload, NotifyPayload, SaPayload
from proto.secret import Secret
from tests.pair.craft import opened, sealed
from tests.pair.pair import LOST, ONCE, Pair, Side, exchange, is_response
from tests.pair.parts import PEER, SETTINGS

INTERMEDIATE = ExchangeType.IKE_INTERMEDIATE
ONE = "aes256gcm16-prfsha256-x25519-ke1_mlkem768"
OPEN_TO_BOTH = parse_suites("aes256gcm16-prfsha256-x25519-ke1_mlkem768-ke1_none")
SUITES = [
    ONE,
    "aes256gcm16-prfsha384-x25519-ke1_mlkem1024",
    "aes128gcm16-prfsha256-ecp256-ke1_ecp384",
    "chacha20poly1305-prfsha512-x25519-ke1_mlkem768-ke2_x448",
    "aes256gcm16-prfsha256-x25519-ke2_ecp521-ke5_mlkem768-ke7_x448",
    "aes256-sha256-prfsha256-x25519-ke1_mlkem768",
    "aes128-aesxcbc-prfaesxcbc-x25519-ke1_ecp256",
    "aes256gcm16-prfsha256-x25519-ke1_modp2048",
    "aes256gcm16-prfsha256-modp2048-ke1_modp3072",
]


def hybrid(text: str = ONE, settings: Settings = SETTINGS) -> Pair:
    """Both sides have one suite."""
    suites = (parse_suite(text),)
    return Pair(replace(settings, suites=suites), replace(PEER, suites=suites))


def exchanges(pair: Pair) -> list[int]:
    """The kinds of the client's requests, repeats and fragments left out."""
    kinds: list[int] = []
    for datagram in pair.client.sent:
        kind = (exchange(datagram), datagram.data[20:24])
        if not is_response(datagram) and kind not in kinds:
            kinds.append(kind)
    return [kind for kind, _ in kinds]


@pytest.mark.parametrize("text", SUITES)
@pytest.mark.parametrize("octets", [1280, 65535], ids=["fragments", "whole"])
def test_each_additional_key_exchange_is_an_exchange_before_ike_auth(
    text: str, octets: int
) -> None:
    suite = parse_suite(text)
    suites = (suite,)
    settings = replace(SETTINGS, suites=suites, fragment_octets=octets)
    pair = Pair(settings, replace(PEER, suites=suites))
    pair.client.endpoint.settings = settings
    spi = pair.connect()
    pair.agree(spi)
    assert pair.client.core(spi).suite == suite
    cookie = [34] if suite.ke == KeMethod.MODP_2048 else []
    assert exchanges(pair)[-2 - len(suite.more_kes) :] == [34, *[43] * len(suite.more_kes), 35]
    assert len(exchanges(pair)) == 2 + len(suite.more_kes)
    assert len(cookie) <= 1
    if "sha256-prf" not in text and "xcbc" not in text:
        assert pair.check == []
    first = decode_clear(pair.gateway.octets()[len(cookie)])
    assert first.notify(NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED) is not None


def test_such_a_session_resumes_and_its_ticket_says_how_it_was_set_up() -> None:
    pair = hybrid()
    pair.connect()
    ticket = pair.ticket()
    assert ticket.addkes == (KeMethod.ML_KEM_768,)
    spi = pair.resume()
    pair.agree(spi)
    assert pair.client.core(spi).suite == parse_suite(ONE)
    assert exchanges(pair)[-2:] == [38, 35]
    pair.gateway.endpoint.settings = replace(SETTINGS, suites=(parse_suite(ONE[:-13]),))
    pair.start_resume()
    pair.run()
    assert pair.client.of(Failed)[-1].why == "the gateway refused the ticket"


@pytest.mark.parametrize(
    ("asks", "expected"),
    [
        ("aes256gcm16-prfsha256-x25519", ()),
        (ONE, (KeMethod.ML_KEM_768,)),
        ("aes256gcm16-prfsha256-x25519-ke1_mlkem1024-ke1_none", ()),
    ],
)
def test_who_may_choose_takes_what_the_other_side_has(asks: str, expected: tuple[int, ...]) -> None:
    pair = Pair(
        replace(SETTINGS, suites=(OPEN_TO_BOTH,)), replace(PEER, suites=(parse_suites(asks),))
    )
    spi = pair.connect()
    pair.agree(spi)
    suite = pair.client.core(spi).suite
    assert suite is not None
    assert suite.addkes == expected


def test_who_demands_it_gets_no_less() -> None:
    for one, other in ((ONE, ONE[:-13]), (ONE[:-13], ONE)):
        pair = Pair(
            replace(SETTINGS, suites=(parse_suite(one),)),
            replace(PEER, suites=(parse_suite(other),)),
        )
        pair.connect()
        assert not pair.client.live()
        answer = decode_clear(pair.gateway.octets()[0])
        assert answer.notify(NotifyType.NO_PROPOSAL_CHOSEN) is not None


def without(pair: Pair, type_: NotifyType, side: Side) -> None:
    """Take a notify out of the first message of `side`."""
    octets = NotifyPayload(type_).encode()

    def deliver(sender: Side, datagram):
        if sender is side and exchange(datagram) == ExchangeType.IKE_SA_INIT:
            odd = octets[:2] + (0xFFFF).to_bytes(2, "big")
            data = datagram.data.replace(octets, odd)
            other = pair.gateway if side is pair.client else pair.client
            pair.inject(other, data, sender.address)
            return LOST
        return ONCE

    pair.deliver = deliver


def test_without_ike_intermediate_the_proposal_is_passed_over() -> None:
    pair = hybrid()
    without(pair, NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED, pair.client)
    pair.connect()
    answer = decode_clear(pair.gateway.octets()[0])
    assert answer.notify(NotifyType.NO_PROPOSAL_CHOSEN) is not None


def test_an_answer_that_chooses_them_without_ike_intermediate_is_ignored() -> None:
    pair = hybrid()
    without(pair, NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED, pair.gateway)
    spi = pair.start()
    pair.run(0.1)
    assert pair.client.core(spi).state is State.INIT_SENT


@pytest.mark.parametrize("lost", range(8))
def test_every_message_may_be_lost(lost: int) -> None:
    pair = hybrid("aes256gcm16-prfsha256-x25519-ke1_mlkem768-ke2_x448")
    pair.client.endpoint.settings = replace(SETTINGS, fragment_octets=65535)
    pair.gateway.endpoint.settings = replace(pair.gateway.endpoint.settings, fragment_octets=65535)
    sent = iter(range(1000))
    pair.deliver = lambda side, datagram: LOST if next(sent) == lost else ONCE
    spi = pair.start()
    pair.run(20)
    pair.agree(spi)
    assert pair.check == []


def test_a_repeat_is_known_though_the_keys_have_changed() -> None:
    """The answer is the same octets (RFC 7296 2.1), under the keys from before the exchange."""
    pair = hybrid("aes256gcm16-prfsha256-x25519-ke1_ecp256")
    pair.start()
    pair.run(0.035)
    (request,) = [d for d in pair.client.sent if exchange(d) == INTERMEDIATE]
    (answer,) = [d for d in pair.gateway.sent if exchange(d) == INTERMEDIATE]
    again = pair.inject(pair.gateway, request.data)
    assert [datagram.data for datagram in again.send] == [answer.data]
    broken = request.data[:-1] + bytes((request.data[-1] ^ 1,))
    assert pair.inject(pair.gateway, broken).events == (Dropped(b"", "integrity"),)


def at_intermediate(text: str = ONE) -> tuple[Pair, bytes, SaCore]:
    """IKE_SA_INIT is done, the first IKE_INTERMEDIATE lost; the gateway's SPI, the client's SA."""
    pair = hybrid(text)
    pair.deliver = lambda side, d: LOST if exchange(d) == INTERMEDIATE else ONCE
    pair.start()
    pair.run(0.05)
    (spi,) = pair.gateway.endpoint.spis()
    (client_spi,) = pair.client.endpoint.spis()
    return pair, spi, pair.client.core(client_spi)


@pytest.mark.parametrize(
    "payloads",
    [
        (),
        (KePayload(KeMethod.CURVE25519, bytes(32)),),
        (KePayload(KeMethod.ML_KEM_768, b"\xff" * 1184),),
        (KePayload(KeMethod.ML_KEM_768, bytes(1183)),),
    ],
    ids=["none", "another method", "not reduced", "too short"],
)
def test_another_ke_than_was_agreed_on_ends_the_handshake(payloads: tuple[KePayload, ...]) -> None:
    pair, spi, client = at_intermediate()
    core = pair.gateway.core(spi)
    pair.inject(pair.gateway, sealed(client, INTERMEDIATE, 1, payloads))
    said = opened(core, pair.gateway.octets()[-1])
    assert said.notify(NotifyType.INVALID_SYNTAX) is not None
    assert pair.gateway.core(spi).state is State.DEAD


def test_ike_auth_before_they_are_done_is_refused() -> None:
    pair, spi, client = at_intermediate()
    core = pair.gateway.core(spi)
    pair.inject(pair.gateway, sealed(client, ExchangeType.IKE_AUTH, 1, ()))
    said = opened(core, pair.gateway.octets()[-1])
    assert said.notify(NotifyType.AUTHENTICATION_FAILED) is not None
    assert pair.gateway.core(spi).state is State.DEAD


def test_rfc9242_5_there_are_no_more_of_these_exchanges_than_were_agreed_on() -> None:
    pair = hybrid("aes256gcm16-prfsha256-x25519-ke1_ecp256")
    pair.deliver = lambda side, d: LOST if exchange(d) == ExchangeType.IKE_AUTH else ONCE
    pair.start()
    pair.run(0.1)
    (spi,) = pair.gateway.endpoint.spis()
    (client_spi,) = pair.client.endpoint.spis()
    core, client = pair.gateway.core(spi), pair.client.core(client_spi)
    ke = [KePayload(KeMethod.ECP_256, bytes(64))]
    pair.inject(pair.gateway, sealed(client, INTERMEDIATE, 2, ke))
    said = opened(core, pair.gateway.octets()[-1])
    assert said.notify(NotifyType.INVALID_SYNTAX) is not None


def test_an_answer_of_another_method_fails_the_client() -> None:
    pair, spi, client = at_intermediate("aes256gcm16-prfsha256-x25519-ke1_ecp256")
    gateway = pair.gateway.core(spi)
    odd = sealed(gateway, INTERMEDIATE, 1, [KePayload(KeMethod.ECP_384, bytes(96))], True)
    pair.inject(pair.client, odd, pair.gateway.address)
    (failed,) = pair.client.of(Failed)
    assert failed.spi == client.spi
    assert "method 19" in failed.why


def test_rfc9242_what_auth_covers_is_computed_by_hand() -> None:
    """One exchange, seen on the wire: IntAuth and the client's AUTH, from the RFC's text."""
    pair, spi, client = at_intermediate("aes256gcm16-prfsha256-x25519-ke1_ecp256")
    before = pair.gateway.core(spi)
    keys, suite, handshake = before.keys, before.suite, before.handshake
    assert keys is not None
    assert suite is not None
    assert handshake is not None
    pair.deliver = lambda side, datagram: ONCE
    pair.run()
    final = pair.client.core(client.spi)
    chunks = []
    for core, side in ((client, pair.client), (before, pair.gateway)):
        data = next(d.data for d in side.sent if exchange(d) == INTERMEDIATE)
        body = opened(core, data).payloads[0].encode()
        plain = bytes((0, 0)) + (4 + len(body)).to_bytes(2, "big") + body
        head = data[:24] + (28 + 4 + len(plain)).to_bytes(4, "big")
        generic = bytes((PayloadType.KE, 0)) + (4 + len(plain)).to_bytes(2, "big")
        chunks.append(head + generic + plain)
    between = prf(suite.prf, keys.pi, chunks[0]) + prf(suite.prf, keys.pr, chunks[1])
    between += (2).to_bytes(4, "big")
    told = next(d.data for d in pair.client.sent if exchange(d) == ExchangeType.IKE_AUTH)
    request = opened(final, told)
    proof, idi = request.find(AuthPayload), request.identity(PayloadType.IDi)
    assert proof is not None
    assert idi is not None
    assert final.keys is not None
    first, nonce = handshake.message_1, handshake.nonce_r
    covered = signed_octets(first, nonce, suite.prf, final.keys.pi, idi.body) + between
    assert proof.data == shared_key_mic(covered, suite.prf)


def shared_key_mic(octets: bytes, prf_id: int) -> bytes:
    """AUTH of the client's pre-shared key."""
    return prf(prf_id, Secret(prf(prf_id, PEER.psk, b"Key Pad for IKEv2")), octets)


def test_rfc9370_the_keys_after_an_exchange() -> None:
    """SKEYSEED(1) = prf(SK_d(0), SK(1) | Ni | Nr), and all keys of it."""
    pair, spi, client = at_intermediate("aes256gcm16-prfsha256-x25519-ke1_ecp256")
    core, handshake = pair.gateway.core(spi), client.handshake
    assert core.keys is not None
    assert core.suite is not None
    assert core.handshake is not None
    assert handshake is not None
    assert handshake.exchange is not None
    ke = [KePayload(KeMethod.ECP_256, handshake.exchange.public)]
    pair.inject(pair.gateway, sealed(client, INTERMEDIATE, 1, ke))
    answer = opened(core, pair.gateway.octets()[-1]).find(KePayload)
    assert answer is not None
    shared = handshake.exchange.shared(answer.data)
    nonces = (core.handshake.nonce_i, core.handshake.nonce_r)
    seed = skeyseed_rekey(core.suite.prf, core.keys.d, shared, *nonces)
    assert pair.gateway.core(spi).keys == derive_keys(
        core.suite, seed, *nonces, core.spi_i, core.spi_r
    )


def test_the_first_offer_holds_each_method_once_and_the_answer_one_of_each() -> None:
    pair = hybrid("aes256gcm16-prfsha256-x25519-ke1_mlkem768-ke2_x448")
    pair.connect()
    for octets in (pair.client.octets()[0], pair.gateway.octets()[0]):
        offer = decode_clear(octets).find(SaPayload)
        assert offer is not None
        assert [t.id for t in offer.proposals[0].transforms if t.type >= 6] == [36, 32]


@pytest.mark.parametrize("by_client", [True, False], ids=["client", "gateway"])
def test_a_session_that_was_set_up_so_is_rekeyed_and_resumes(by_client: bool) -> None:
    """The old SK_d goes into the new keys, and with it what the additional exchange has given."""
    pair = hybrid()
    spi = pair.connect()
    side = pair.client if by_client else pair.gateway
    own = spi if by_client else pair.other_end(spi)
    pair.carry_out(side, side.endpoint.rekey_ike(own, pair.now))
    pair.run(5)
    (core,) = pair.client.live()
    assert core.spi != spi
    assert str(core.suite) == ONE
    (other,) = pair.gateway.live()
    assert (other.keys, other.suite) == (core.keys, core.suite)
    new = core.children[0].spi_in
    pair.carry_out(pair.client, pair.client.endpoint.rekey_child(core.spi, new, pair.now))
    pair.run(5)
    (core,) = pair.client.live()
    assert [child.spi_in for child in core.children] != [new]
    pair.agree(pair.resume())
    assert exchanges(pair)[-2:] == [38, 35]
