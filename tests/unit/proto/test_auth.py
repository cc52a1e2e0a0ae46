"""AUTH: the house vectors in both forms, with and without a cookie, and what must not pass."""

import pytest

from proto.ike.auth import (
    ResumeForm,
    make_resume_auth,
    match_resume_auth,
    psk_auth,
    signed_octets,
)
from proto.ike.kdf import prf
from proto.secret import Secret
from tests.unit.proto.known import load, octets, secret

HOUSE = load("house_resumption_sha256.json")
KEYS = HOUSE["AES_GCM_16_256"]
INPUTS = {name: octets(value) for name, value in HOUSE["inputs"].items()}
MESSAGES = {name: octets(value) for name, value in HOUSE["messages"].items()}
PRF = 5

# round → request, expected values
ROUNDS = {"AUTH_GCM_nocookie": "resume_request", "AUTH_GCM_cookie": "resume_request_with_cookie"}


def side(round_: str, who: str):
    """(SK_p, own message, the other side's nonce, ID body, expected values) of one side."""
    if who == "i":
        message, nonce, id_body = MESSAGES[ROUNDS[round_]], "Nr", "RestOfInitIDPayload"
    else:
        message, nonce, id_body = MESSAGES["resume_response"], "Ni", "RestOfRespIDPayload"
    return secret(KEYS[f"SK_p{who}"]), message, INPUTS[nonce], INPUTS[id_body], HOUSE[round_]


@pytest.mark.parametrize("round_", ROUNDS)
@pytest.mark.parametrize("who", ["i", "r"])
def test_r32_house_auth_in_both_forms(round_, who):
    sk_p, message, nonce, id_body, expected = side(round_, who)
    assert prf(PRF, sk_p, id_body).hex() == expected[f"MACedIDFor{who.upper()}"]
    args = (PRF, sk_p, message, nonce, id_body)
    assert make_resume_auth(ResumeForm.RFC, *args).hex() == expected[f"AUTH_{who}"]
    first = expected[f"AUTH_{who}_firstmessage_only"]
    assert make_resume_auth(ResumeForm.FIRST_MESSAGE, *args).hex() == first


@pytest.mark.parametrize("round_", ROUNDS)
@pytest.mark.parametrize("who", ["i", "r"])
@pytest.mark.parametrize("form", ResumeForm)
def test_each_form_is_recognised_where_it_is_allowed(round_, who, form):
    args = side(round_, who)[:4]
    received = make_resume_auth(form, PRF, *args)
    (other,) = set(ResumeForm) - {form}
    assert match_resume_auth(received, PRF, *args, allowed=tuple(ResumeForm)) is form
    assert match_resume_auth(received, PRF, *args, allowed=(form,)) is form
    assert match_resume_auth(received, PRF, *args, allowed=(other,)) is None
    assert match_resume_auth(received, PRF, *args, allowed=()) is None


@pytest.mark.parametrize("round_", ROUNDS)
def test_r32_the_key_pad_variant_fails(round_):
    sk_p, message, nonce, id_body, expected = side(round_, "i")
    wrong = octets(expected["AUTH_i_WRONG_keypad"])
    assert psk_auth(PRF, sk_p, signed_octets(message, nonce, PRF, sk_p, id_body)) == wrong
    args = (sk_p, message, nonce, id_body)
    assert match_resume_auth(wrong, PRF, *args, allowed=tuple(ResumeForm)) is None


def test_the_cookie_round_s_auth_covers_the_last_request_only():
    without = side("AUTH_GCM_nocookie", "i")
    with_cookie = side("AUTH_GCM_cookie", "i")
    received = octets(HOUSE["AUTH_GCM_nocookie"]["AUTH_i"])
    forms = tuple(ResumeForm)
    assert match_resume_auth(received, PRF, *without[:4], allowed=forms) is ResumeForm.RFC
    assert match_resume_auth(received, PRF, *with_cookie[:4], allowed=forms) is None


@pytest.mark.parametrize("changed", range(4))
def test_the_rfc_form_binds_key_message_nonce_and_identity(changed):
    args = list(side("AUTH_GCM_nocookie", "i")[:4])
    received = make_resume_auth(ResumeForm.RFC, PRF, *args)
    value = args[changed]
    args[changed] = Secret(value.octets + b"x") if isinstance(value, Secret) else value + b"x"
    assert match_resume_auth(received, PRF, *args, allowed=tuple(ResumeForm)) is None


@pytest.mark.parametrize("received", [b"", b"\0", bytes(32), bytes(33)])
def test_auth_of_any_length_is_compared_without_failing(received):
    args = side("AUTH_GCM_nocookie", "i")[:4]
    assert match_resume_auth(received, PRF, *args, allowed=tuple(ResumeForm)) is None
