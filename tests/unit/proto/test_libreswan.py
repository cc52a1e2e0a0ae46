"""Two real libreswan 5.2: every message parsed, opened and made again, every key and AUTH
recomputed.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from proto.ike.aead import Protection, protection
from proto.ike.auth import (
    ResumeForm,
    make_resume_auth,
    match_resume_auth,
    psk_auth,
    signed_octets,
)
from proto.ike.enums import AuthMethod, ExchangeType, NotifyType, PayloadType
from proto.ike.fragment import Reassembly, open_fragment
from proto.ike.kdf import (
    SaKeys,
    child_keymat,
    derive_keys,
    skeyseed_init,
    skeyseed_resume,
    split_keymat,
)
from proto.ike.message import (
    Message,
    decode_clear,
    decode_inner,
    encode_clear,
    open_sealed,
    peek,
    seal,
)
from proto.ike.names import parse_child, parse_suite
from proto.ike.negotiation import chosen, select, select_child
from proto.ike.payloads import (
    AuthPayload,
    NoncePayload,
    NotifyPayload,
    SaPayload,
    UnknownPayload,
    encode_chain,
)
from proto.ike.suite import Suite
from proto.secret import Secret
from tests.unit.proto.known import LIBRESWAN, load, octets, secret

SUITES = {
    "gcm128-sha256-x25519": Suite(20, 128, 0, 5, 31),
    "cbc256-sha256-modp2048": Suite(12, 256, 12, 5, 14),
}
CAPTURES = {name: load(f"libreswan/{name}.json") for name in LIBRESWAN}
SAS = [
    pytest.param(capture, sa, id=f"{name}-{i}-{sa['kind']}")
    for name, capture in CAPTURES.items()
    for i, sa in enumerate(capture["ike_sas"])
    if "keys" in sa
]
captures = pytest.mark.parametrize("capture", CAPTURES.values(), ids=CAPTURES)
sas = pytest.mark.parametrize(("capture", "sa"), SAS)


def suite_of(capture: Any) -> Suite:
    """The suite both sides were configured for."""
    return SUITES[capture["meta"]["suite"]]


def derive(capture: Any, sa: Any) -> tuple[Secret, SaKeys]:
    """(SKEYSEED, keys) from what went over the wire and the one secret input."""
    suite, ni, nr = suite_of(capture), octets(sa["ni"]), octets(sa["nr"])
    if sa["kind"] == "IKE_SESSION_RESUME":
        seed = skeyseed_resume(suite.prf, secret(sa["sk_d_old"]), ni, nr)
    else:
        seed = skeyseed_init(suite.prf, ni, nr, secret(sa["g_ir"]))
    return seed, derive_keys(suite, seed, ni, nr, octets(sa["spi_i"]), octets(sa["spi_r"]))


def boxes(capture: Any) -> dict[tuple[str, bool], Protection]:
    """The protection of each SA and direction, under keys derived here: (SPIi, from initiator) →
    it.
    """
    made = {}
    for sa in capture["ike_sas"]:
        if "keys" in sa:
            _, keys = derive(capture, sa)
            suite = suite_of(capture)
            made[sa["spi_i"], True] = protection(suite, keys.ei, keys.ai)
            made[sa["spi_i"], False] = protection(suite, keys.er, keys.ar)
    return made


def messages(capture: Any) -> Iterator[tuple[Any, Message]]:
    """Every message, opened and put together; of fragments the last entry stands for all."""
    opened = boxes(capture)
    reassembly = Reassembly()
    for entry in capture["messages"]:
        data = octets(entry["octets"])
        header = peek(data)
        if header.exchange in (ExchangeType.IKE_SA_INIT, ExchangeType.IKE_SESSION_RESUME):
            yield entry, decode_clear(data, header)
            continue
        box = opened[entry["spi_i"], header.from_initiator]
        if header.next_payload == PayloadType.SK:
            yield entry, open_sealed(data, header, box)
            continue
        if entry["fragment"][0] == 1:
            reassembly = Reassembly()
        whole = reassembly.add(open_fragment(data, header, box))
        assert (whole is not None) == ("plaintext" in entry)
        if whole is not None:
            yield entry, decode_inner(header, *whole)


def the(capture: Any, spi_i: str, exchange: str, response: bool) -> Message:
    """The one message of an exchange of an SA."""
    (found,) = [
        message
        for entry, message in messages(capture)
        if (entry["spi_i"], entry["exchange"], entry["response"]) == (spi_i, exchange, response)
    ]
    return found


@captures
def test_headers_say_what_the_capture_says(capture):
    for entry in capture["messages"]:
        header = peek(octets(entry["octets"]))
        assert header.spi_i.hex() == entry["spi_i"]
        assert header.spi_r.hex() == entry["spi_r"]
        assert ExchangeType(header.exchange).name == entry["exchange"]
        assert header.is_response == entry["response"]
        assert header.from_initiator == entry["from_initiator"]
        assert header.message_id == entry["mid"]


@captures
def test_every_message_opens_parses_and_encodes_to_the_same_octets(capture):
    count = 0
    for entry, message in messages(capture):
        first, chain = encode_chain(message.payloads)
        bodies = [payload["body"] for payload in entry["payloads"]]
        assert [payload.encode().hex() for payload in message.payloads] == bodies
        assert not any(isinstance(payload, UnknownPayload) for payload in message.payloads)
        if "plaintext" in entry:
            assert (first, chain.hex()) == (entry["inner_first_payload"], entry["plaintext"])
        else:
            header = message.header
            again = encode_clear(
                header.spi_i,
                header.spi_r,
                header.exchange,
                header.flags,
                header.message_id,
                message.payloads,
            )
            assert again.hex() == entry["octets"]
        count += 1
    assert count == sum(
        "plaintext" in entry or octets(entry["octets"])[16] not in (46, 53)
        for entry in capture["messages"]
    )


@captures
def test_sealing_with_the_captured_iv_gives_the_captured_octets(capture):
    """Fragments and CBC aside: there the IV or the padding is libreswan's own choice."""
    opened = boxes(capture)
    for entry, message in messages(capture):
        header = message.header
        if header.next_payload != PayloadType.SK:
            continue
        box = opened[entry["spi_i"], header.from_initiator]
        data = octets(entry["octets"])
        iv = data[32 : 32 + box.iv_len]
        again = seal(
            header.spi_i,
            header.spi_r,
            header.exchange,
            header.flags,
            header.message_id,
            message.payloads,
            box,
            iv,
        )
        assert len(again) == len(data)
        if box.counter_iv:
            assert again == data
        assert open_sealed(again, peek(again), box).payloads == message.payloads


@sas
def test_skeyseed_and_all_keys(capture, sa):
    seed, keys = derive(capture, sa)
    assert seed == secret(sa["skeyseed"])
    for short in ("d", "ai", "ar", "ei", "er", "pi", "pr"):
        assert getattr(keys, short).octets.hex() == sa["keys"][f"SK_{short}"], short


@sas
@pytest.mark.parametrize("who", ["initiator", "responder"])
def test_auth_of_both_sides(capture, sa, who):
    suite, (_, keys) = suite_of(capture), derive(capture, sa)
    if who == "initiator":
        sk_p, message, nonce = keys.pi, octets(sa["msg1"]), octets(sa["nr"])
    else:
        sk_p, message, nonce = keys.pr, octets(sa["msg2"]), octets(sa["ni"])
    expected = sa[f"auth_{who}"]
    sent = the(capture, sa["spi_i"], "IKE_AUTH", who == "responder")
    auth = sent.find(AuthPayload)
    identity = sent.identity(PayloadType.IDi if who == "initiator" else PayloadType.IDr)
    assert auth is not None
    assert identity is not None
    assert auth == AuthPayload(AuthMethod.SHARED_KEY_MIC, octets(expected["auth"]))
    assert identity.body.hex() == expected["id_payload_body"]
    signed = signed_octets(message, nonce, suite.prf, sk_p, identity.body)
    assert signed.hex() == expected["signed_octets_rfc7296_2.15"]
    if sa["kind"] == "IKE_SA_INIT":
        psk = Secret(capture["meta"]["psk"].encode())
        assert psk_auth(suite.prf, psk, signed) == auth.data
        return
    args = (suite.prf, sk_p, message, nonce, identity.body)
    forms = tuple(ResumeForm)
    assert match_resume_auth(auth.data, *args, allowed=forms) is ResumeForm.FIRST_MESSAGE
    assert match_resume_auth(auth.data, *args, allowed=(ResumeForm.RFC,)) is None
    (by_rfc,) = [value for key, value in expected.items() if "as RFC 5723" in key]
    assert make_resume_auth(ResumeForm.RFC, *args).hex() == by_rfc


@sas
def test_child_keymat_and_the_choice_of_proposals(capture, sa):
    suite, (_, keys) = suite_of(capture), derive(capture, sa)
    name = "aes128gcm16" if suite.encr == 20 else "aes256-sha256"
    wanted = parse_child(f"{name}-{'esn' if sa['child']['esn'] else 'noesn'}")
    offer = the(capture, sa["spi_i"], "IKE_AUTH", False).find(SaPayload)
    answer = the(capture, sa["spi_i"], "IKE_AUTH", True).find(SaPayload)
    assert offer is not None
    choice = select_child(offer, [wanted])
    assert choice is not None
    assert choice.peer_spi.hex() == sa["child"]["spi_i"]
    assert choice.reply(octets(sa["child"]["spi_r"])) == answer
    keymat = child_keymat(wanted, suite.prf, keys.d, octets(sa["ni"]), octets(sa["nr"]))
    child = split_keymat(wanted, keymat)
    parts = (child.encr_i, child.integ_i, child.encr_r, child.integ_r)
    assert b"".join(part.octets for part in parts).hex() == sa["child"]["keymat"]


def test_our_choice_from_libreswan_s_offer_is_libreswan_s_own():
    capture = CAPTURES["psk-gcm128-sha256-x25519"]
    spi_i = capture["ike_sas"][0]["spi_i"]
    offer = the(capture, spi_i, "IKE_SA_INIT", False).find(SaPayload)
    answer = the(capture, spi_i, "IKE_SA_INIT", True).find(SaPayload)
    assert offer is not None
    assert answer is not None
    suite = parse_suite("aes128gcm16-prfsha256-x25519")
    selected = select(offer, [parse_suite("aes256gcm16-prfsha256-x25519"), suite])
    assert selected is not None
    assert selected[0] == suite
    assert chosen(selected[1], [suite]) == chosen(answer, [suite]) == suite


@sas
def test_the_ticket_presented_is_the_ticket_issued_without_its_lifetime(capture, sa):
    issued = the(capture, sa["spi_i"], "IKE_AUTH", True).notify(NotifyType.TICKET_LT_OPAQUE)
    assert issued is not None
    assert int.from_bytes(issued.data[:4], "big") == sa["ticket_lifetime_s"]
    assert issued.data[4:].hex() == sa["ticket_issued"]
    asked = the(capture, sa["spi_i"], "IKE_AUTH", False).notify(NotifyType.TICKET_REQUEST)
    assert asked == NotifyPayload(NotifyType.TICKET_REQUEST)


def test_a_refused_resumption_and_one_that_is_asked_for_a_cookie():
    nacked = [m for _, m in messages(CAPTURES["nack-gcm128-sha256-x25519"])]
    answers = [m for m in nacked if m.header.exchange == 38 and m.header.is_response]
    assert [m.payloads for m in answers] == [(NotifyPayload(NotifyType.TICKET_NACK),)]
    asked = [m for _, m in messages(CAPTURES["cookie-gcm128-sha256-x25519"])]
    requests = [m for m in asked if m.header.exchange == 38 and not m.header.is_response]
    answers = [m for m in asked if m.header.exchange == 38 and m.header.is_response]
    assert len(requests) == len(answers) == 3
    for request, answer in zip(requests, answers, strict=True):
        assert request.find(NoncePayload) is not None
        assert [type(p) for p in request.payloads] == [NoncePayload, NotifyPayload]
        assert [notify.type for notify in answer.notifies] == [NotifyType.COOKIE]
