"""Names of algorithms, alone and as sets of alternatives."""

import pytest

from proto.ike.algorithms import IKE_CIPHERS, INTEGS, KES, PRFS
from proto.ike.dh import SUPPORTED
from proto.ike.enums import Encr, Integ, KeMethod, Prf
from proto.ike.names import parse_child, parse_children, parse_suite, parse_suites
from proto.ike.payloads import Transform
from proto.ike.suite import (
    ChildSuite,
    Suite,
    addkes_of,
    holds,
    kes_of,
    offered,
    suite_from,
)

COMBINED = [name for name in IKE_CIPHERS if "gcm" in name or "ccm" in name or "chacha" in name]
OTHERS = [name for name in IKE_CIPHERS if name not in COMBINED]
ENCRS = [*COMBINED, *(f"{encr}-{integ}" for encr in OTHERS for integ in INTEGS)]
NAMES = [f"{encr}-prfsha256-x25519" for encr in ENCRS]
NAMES += [f"aes256gcm16-{prf}-{ke}" for prf in PRFS for ke in KES]
NAMES += [
    "aes256gcm16-prfsha384-x25519-ke1_mlkem768",
    "aes256gcm16-prfsha384-x25519-ke1_mlkem768-ke2_ecp384",
    "aes256gcm16-prfsha384-x25519-ke3_mlkem1024-ke7_x448",
]
CHILD_NAMES = [f"{encr}-{esn}" for encr in ENCRS for esn in ("esn", "noesn")]
CHILD_NAMES += ["null-sha256-noesn", "aes128gmac-esn", "aes256gmac-noesn"]
SETS = [
    "aes256gcm16-aes128gcm16-chacha20poly1305-prfsha256-prfsha384-x25519-ecp256-modp2048",
    "aes256-aes128-sha256-sha512-prfsha256-x25519-ke1_mlkem768-ke1_none",
    "aes256gcm16-prfsha256-x25519-ke2_mlkem768-ke2_mlkem1024-ke5_x448-ke5_none",
]
GCM = parse_suite("aes256gcm16-prfsha256-x25519")
CBC = parse_suite("aes256-sha256-prfsha384-ecp256")
CHACHA = parse_suite("chacha20poly1305-prfsha512-ecp384")
CHILD = parse_child("aes256gcm16")


@pytest.mark.parametrize("name", NAMES)
def test_a_suite_s_name_reads_back(name):
    suite = parse_suite(name)
    assert str(suite) == name
    assert suite_from(suite.numbers) == suite


@pytest.mark.parametrize("name", CHILD_NAMES)
def test_a_child_suite_s_name_reads_back(name):
    assert str(parse_child(name)) == name


@pytest.mark.parametrize("name", SETS)
def test_a_set_s_name_reads_back(name):
    assert str(parse_suites(name)) == name


def test_a_child_set_s_name_reads_back():
    name = "aes256-null-sha256-sha1-noesn-esn"
    assert str(parse_children(name)) == name
    assert str(parse_children("aes256gcm16")) == "aes256gcm16-noesn"


def test_the_parts_may_stand_in_any_order():
    assert parse_suite("x25519-prfsha256-AES256GCM16 ") == GCM
    assert parse_children("esn-aes256gcm16") == parse_children("aes256gcm16-esn")


def test_every_group_that_has_a_name_can_be_computed():
    assert sorted(KES.values()) == sorted(SUPPORTED)


def test_names_stand_for_iana_s_numbers():
    assert Suite(Encr.ENCR_AES_GCM_16, 256, 0, Prf.PRF_HMAC_SHA2_256, KeMethod.CURVE25519) == GCM
    assert Suite(12, 256, Integ.AUTH_HMAC_SHA2_256_128, 6, 19) == CBC
    assert Suite(28, 256, 0, 7, 20) == CHACHA
    assert ChildSuite(20, 256, 0, False) == CHILD
    assert parse_child("aes128-sha512-esn") == ChildSuite(12, 128, 14, True)
    assert parse_suite("aes128ctr-aesxcbc-prfaesxcbc-modp2048") == Suite(13, 128, 5, 4, 14)
    assert parse_suite("aes192ccm8-prfaescmac-x448") == Suite(14, 192, 0, 8, 32)
    assert parse_suite("aes256-aescmac-prfsha1-ecp521") == Suite(12, 256, 8, 2, 21)
    hybrid = "aes256gcm16-prfsha384-x25519-ke2_mlkem768"
    assert parse_suite(hybrid) == Suite(20, 256, 0, 6, 31, (0, 36))
    assert parse_child("null-sha1") == ChildSuite(11, 0, 2, False)
    assert parse_child("aes128gmac") == ChildSuite(21, 128, 0, False)


@pytest.mark.parametrize(
    ("name", "encr", "integ"),
    [
        ("aes256gcm16", 36, 0),
        ("aes128gcm8", 20, 0),
        ("aes192gcm12", 28, 0),
        ("chacha20poly1305", 36, 0),
        ("aes256-sha256", 32, 32),
        ("aes192-sha384", 24, 48),
        ("aes128-sha512", 16, 64),
        ("aes128-sha1", 16, 20),
        ("aes128-aesxcbc", 16, 16),
        ("aes256-aescmac", 32, 16),
        ("aes128ctr-sha256", 20, 32),
        ("aes256ccm16", 35, 0),
        ("aes128ccm8", 19, 0),
        ("aes128gmac", 20, 0),
        ("null-sha256", 0, 32),
    ],
)
def test_key_lengths_in_octets(name, encr, integ):
    child = parse_child(name)
    assert (child.encr_key_octets, child.integ_key_octets) == (encr, integ)
    if name.split("-")[0] in IKE_CIPHERS:
        suite = parse_suite(f"{name}-prfsha256-x25519")
        assert (suite.encr_key_octets, suite.integ_key_octets) == (encr, integ)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "aes256gcm16"),
        ("des-sha256-prfsha256-x25519", "aes256gcm16"),
        ("null-sha256-prfsha256-x25519", "aes256gcm16"),
        ("aes128gmac-prfsha256-x25519", "aes256gcm16"),
        ("aes256gcm16", "prfsha256"),
        ("aes256gcm16-x25519", "prfsha256"),
        ("aes256gcm16-prfsha256", "x25519"),
        ("aes256gcm16-prfsha256-modp1024", "x25519"),
        ("aes256gcm16-prfsha256-x25519-noesn", "x25519"),
        ("aes256gcm16-prfmd5-prfsha256-x25519", "'prfmd5' is nothing known"),
        ("aes256gcm16-sha256-prfsha256-x25519", "leave out"),
        ("aes256-prfsha256-x25519", "sha256"),
        ("aes256-aes256gcm16-sha256-prfsha256-x25519", "two proposals"),
        ("aes256gcm16-prfsha256-x25519-x25519", "twice"),
        ("aes256gcm16-prfsha256-x25519-ke1_modp1024", "mlkem768"),
        ("aes256gcm16-prfsha256-x25519-ke8_x448", "nothing known"),
        ("aes256gcm16-prfsha256-x25519-ke1_none", "leave it out"),
        ("aes256gcm16-prfsha256-x25519-ke1_x25519", "two key exchanges"),
        ("aes256gcm16-prfsha256-x25519-ke1_x448-ke2_x448", "two key exchanges"),
    ],
)
def test_an_unknown_suite_is_one_line_that_says_what_is_known(text, told):
    for parse in (parse_suite, parse_suites):
        with pytest.raises(ValueError, match=told) as caught:
            parse(text)
        assert "\n" not in str(caught.value)
        assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", SETS)
def test_one_suite_has_one_algorithm_of_each_kind(text):
    with pytest.raises(ValueError, match="more than one"):
        parse_suite(text)


@pytest.mark.parametrize("text", ["", "aes256", "aes256gcm16-sha256", "aes256gcm16-x25519"])
def test_an_unknown_child_suite_is_one_line(text):
    for parse in (parse_child, parse_children):
        with pytest.raises(ValueError, match=repr(text)):
            parse(text)


@pytest.mark.parametrize(
    "text", ["aes256gcm16-aes128gcm16", "aes256-sha1-sha256", "null-sha1-esn-noesn"]
)
def test_one_child_suite_has_one_algorithm_of_each_kind(text):
    with pytest.raises(ValueError, match="more than one"):
        parse_child(text)
    assert len(offered(parse_children(text).alternatives)) > 2


def test_chacha_has_no_key_length_attribute():
    """RFC 7634 5."""
    assert CHACHA.transforms[0] == Transform(1, 28)


def test_a_set_holds_what_can_be_put_together_from_it():
    some = parse_suites(
        "aes256gcm16-chacha20poly1305-prfsha256-x25519-ecp256-ke1_mlkem768-ke1_none"
    )
    inside = [
        "aes256gcm16-prfsha256-x25519",
        "chacha20poly1305-prfsha256-ecp256-ke1_mlkem768",
    ]
    outside = [
        "aes128gcm16-prfsha256-x25519",
        "aes256gcm16-prfsha384-x25519",
        "aes256gcm16-prfsha256-ecp384",
        "aes256-sha256-prfsha256-x25519",
        "aes256gcm16-prfsha256-x25519-ke1_mlkem1024",
        "aes256gcm16-prfsha256-x25519-ke2_mlkem768",
        "aes256gcm16-prfsha256-x25519-ke1_mlkem768-ke2_x448",
    ]
    assert all(holds((some,), parse_suite(text)) for text in inside)
    assert not any(holds((some, GCM), parse_suite(text)) for text in outside)
    assert holds((some, CBC), CBC)
    demanded = parse_suites("aes256gcm16-prfsha256-x25519-ke1_mlkem768")
    assert not demanded.holds(GCM)


def test_a_child_set_holds_what_can_be_put_together_from_it():
    some = parse_children("aes256-aes128-sha256-sha1")
    assert all(some.holds(parse_child(f"{encr}-sha1")) for encr in ("aes256", "aes128"))
    for text in ("aes192-sha1", "aes256-sha512", "aes256gcm16", "aes256-sha1-esn"):
        assert not some.holds(parse_child(text))
    assert CHILD.holds(CHILD)
    assert not CHILD.holds(parse_child("aes128gcm16"))


def test_the_groups_of_several_sets():
    sets = tuple(parse_suites(text) for text in SETS)
    assert kes_of((*sets, CBC)) == (31, 19, 14)
    assert addkes_of(sets) == ((36, 0), (36, 37, 0), (0,), (0,), (32, 0))
    assert addkes_of((GCM,)) == ()


def test_an_unknown_number_still_has_a_name():
    assert str(Suite(99, 1, 98, 97, 96, (95,))) == "encr99-1-integ98-prf97-ke96-ke1_ke95"
