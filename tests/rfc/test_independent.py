"""The independent peer itself, against the known answers: what it says counts in the other files.

The octets of RFC 5723's own exchange are the house vectors'; two real libreswans' keys and AUTH
come from captures.
"""

from typing import Any

import pytest

from tests.rfc import independent
from tests.rfc.independent import Initiator, Keys, Old, Responder, Suite
from tests.unit.proto.known import LIBRESWAN, load, octets

HOUSE = load("house_resumption_sha256.json")
IN = {name: octets(value) for name, value in HOUSE["inputs"].items()}
MESSAGES = {name: octets(value) for name, value in HOUSE["messages"].items()}
GCM = Suite("sha256", "gcm", 36)
OLD = Old(IN["ticket"], IN["SK_d_old"], GCM, IN["RestOfInitIDPayload"], IN["RestOfRespIDPayload"])
SHORT = ("d", "ai", "ar", "ei", "er", "pi", "pr")
RESUMPTIONS = [
    (name, sa)
    for name in LIBRESWAN
    for sa in load(f"libreswan/{name}.json")["ike_sas"]
    if sa["kind"] == "IKE_SESSION_RESUME" and "keys" in sa
]


def asked(cookie: bytes = b"") -> Initiator:
    """The house vectors' client, answered."""
    client = Initiator(OLD)
    client.request(IN["SPIi"], IN["Ni"], cookie)
    client.take(MESSAGES["resume_response"])
    return client


def test_r16_the_exchange_has_the_house_vectors_octets() -> None:
    """Exchange type 38, octet for octet: both roles, a cookie, each refusal."""
    client, gateway = Initiator(OLD), Responder(OLD)
    request = client.request(IN["SPIi"], IN["Ni"], IN["cookie"])
    assert request == MESSAGES["resume_request_with_cookie"]
    assert client.request(IN["SPIi"], IN["Ni"]) == MESSAGES["resume_request"]
    gateway.see(client.message_1)
    assert gateway.answer(IN["SPIr"], IN["Nr"]) == MESSAGES["resume_response"]
    nack = independent.notify(independent.TICKET_NACK)
    assert gateway.refuse(nack) == MESSAGES["nack_response"]
    cookie = independent.notify(independent.COOKIE, IN["cookie"])
    assert gateway.refuse(cookie) == MESSAGES["cookie_response"]


@pytest.mark.parametrize(
    ("name", "suite"),
    [("AES_GCM_16_256", GCM), ("AES_CBC_128_HMAC_SHA2_256_128", Suite("sha256", "cbc", 16, 32))],
)
def test_r46_the_keys_are_the_house_vectors(name: str, suite: Suite) -> None:
    """SKEYSEED from the old SK_d and both nonces, and seven keys in the RFC's order."""
    client = Initiator(OLD._replace(suite=suite))
    client.request(IN["SPIi"], IN["Ni"])
    client.take(MESSAGES["resume_response"])
    assert client.keys == Keys(*(octets(HOUSE[name][f"SK_{short}"]) for short in SHORT))


@pytest.mark.parametrize("cookie", [False, True])
def test_r32_auth_is_the_house_vectors(cookie: bool) -> None:
    """The whole block is signed under the new SK_p, without a key pad; a cookie is part of it."""
    client = asked(IN["cookie"] if cookie else b"")
    wanted = HOUSE["AUTH_GCM_cookie" if cookie else "AUTH_GCM_nocookie"]
    assert client.auth_i() == octets(wanted["AUTH_i"])
    assert client.auth_r() == octets(wanted["AUTH_r"])
    assert client.auth_i("first-message") == octets(wanted["AUTH_i_firstmessage_only"])
    assert client.auth_r("first-message") == octets(wanted["AUTH_r_firstmessage_only"])
    assert client.auth_i("key-pad") == octets(wanted["AUTH_i_WRONG_keypad"])


def test_r37_the_first_childs_keys_are_the_house_vectors() -> None:
    """KEYMAT comes of the new SK_d and the nonces of this exchange."""
    wanted = octets(HOUSE["first_child_KEYMAT_gcm256"])
    client = asked()
    found = independent.keymat(client.suite, client.keys, client.ni, client.nr, len(wanted))
    assert found == wanted


@pytest.mark.parametrize(
    ("name", "sa"), RESUMPTIONS, ids=[f"{n}-{sa['spi_i']}" for n, sa in RESUMPTIONS]
)
def test_r46_two_real_libreswans_had_these_keys_and_this_auth(name: str, sa: Any) -> None:
    """A captured resumption recomputed from its octets and the old SK_d."""
    suite = Suite("sha256", "gcm", 20) if "gcm128" in name else Suite("sha256", "cbc", 32, 32)
    ids = [octets(sa[f"auth_{who}"]["id_payload_body"]) for who in ("initiator", "responder")]
    request = independent.parse(octets(sa["msg1"]))
    ticket = request.notifies()[independent.TICKET_OPAQUE]
    peer = Responder(Old(ticket, octets(sa["sk_d_old"]), suite, *ids), "first-message")
    peer.see(octets(sa["msg1"]))
    answer = independent.parse(octets(sa["msg2"]))
    assert peer.answer(answer.spi_r, answer.the(independent.NONCE)) == octets(sa["msg2"])
    assert peer.keys == Keys(*(octets(sa["keys"][f"SK_{short}"]) for short in SHORT))
    assert peer.auth_i() == octets(sa["auth_initiator"]["auth"])
    assert peer.auth_r() == octets(sa["auth_responder"]["auth"])
