"""proto.ike.dn: distinguished names, from octets to text and back."""

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID, ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from proto.ike.dn import (
    NAME_OCTETS_MAX,
    RDNS_MAX,
    decode_name,
    format_name,
    parse_name,
)
from proto.ike.errors import WireError
from proto.ike.identity import format_identity, parse_identity

MOON = bytes.fromhex("3031 310b 3009 0603 5504 06 1302 4348 3113 3011 0603 5504 0a 0c0a") + (
    b"strongSwan" + bytes.fromhex("310d 300b 0603 5504 03 0c04") + b"moon"
)


def made(*values: tuple[ObjectIdentifier, str, _ASN1Type]) -> bytes:
    return x509.Name([x509.NameAttribute(*value) for value in values]).public_bytes()


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("CN=moon,O=strongSwan,C=CH", MOON),
        ("E=a@example.org", None),
        ("CN=x\\, y,O=a\\+b", None),
        ("CN=Joe+UID=joe,DC=example,DC=org", None),
        ("1.2.3.4=foo", None),
        ("2.999.1=foo", None),
        ("CN=Zoë", None),
        ("CN=\\ x\\ ", None),
        ('CN=\\#x\\=y\\\\\\<\\>\\;\\"', None),
    ],
)
def test_text_and_octets(text: str, octets: bytes | None) -> None:
    der = parse_name(text)
    assert octets in (None, der)
    assert format_name(decode_name(der)) == text


@pytest.mark.parametrize("text", ["", "CN", "=x", "CN=", "XX=y", "CN=a,", "CN=\\zz", "CN=#0c0141"])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a name such as CN="):
        parse_name(text)


def test_attributes_of_one_relative_name_have_no_order() -> None:
    assert decode_name(parse_name("CN=Joe+UID=joe")) == decode_name(parse_name("UID=joe+CN=Joe"))


def test_the_string_type_makes_no_difference() -> None:
    names = {
        decode_name(made((NameOID.COMMON_NAME, "moon", kind)))
        for kind in (
            _ASN1Type.UTF8String,
            _ASN1Type.PrintableString,
            _ASN1Type.T61String,
            _ASN1Type.IA5String,
            _ASN1Type.VisibleString,
            _ASN1Type.BMPString,
            _ASN1Type.UniversalString,
        )
    }
    assert len(names) == 1
    other = made((NameOID.COMMON_NAME, "Moon", _ASN1Type.UTF8String))
    assert decode_name(other) not in names


def test_what_is_no_string_is_shown_as_hex() -> None:
    integer = bytes.fromhex("300e 310c 300a 0603 5504 03 0203 010203")
    assert format_name(decode_name(integer)) == "CN=#0203010203"
    broken = bytes.fromhex("300d 310b 3009 0603 5504 03 0c02 ff41")
    assert format_name(decode_name(broken)) == "CN=#0c02ff41"
    said = made((NameOID.COMMON_NAME, "#0203010203", _ASN1Type.UTF8String))
    assert format_name(decode_name(said)) == "CN=\\#0203010203"


def test_a_terminal_is_safe() -> None:
    name = made((NameOID.COMMON_NAME, "a\x1b[31m\n\u202e", _ASN1Type.UTF8String))
    text = format_name(decode_name(name))
    assert text == "CN=a\\1b[31m\\0a\\e2\\80\\ae"
    assert parse_name(text) == name


def test_every_truncation_and_an_octet_more_is_refused() -> None:
    for end in range(len(MOON)):
        with pytest.raises(WireError):
            decode_name(MOON[:end])
    with pytest.raises(WireError):
        decode_name(MOON + b"\0")


@pytest.mark.parametrize(
    "octets",
    [
        "3002 3000",  # a relative name without attributes
        "3081 02 3100",  # a length that isn't the shortest
        "3080 0000",  # BER's indefinite length
        "300a 3108 3006 0601 80 0c01 41",  # object identifiers that aren't any
        "300a 3108 3006 0600 0c02 4141",
        "300b 3109 3007 0602 8001 0c01 41",
        "3084 00000002 3100",
        "3100",
    ],
)
def test_what_is_not_der_is_refused(octets: str) -> None:
    with pytest.raises(WireError):
        decode_name(bytes.fromhex(octets))


def test_bounds() -> None:
    one = bytes.fromhex("310a 3008 0603 5504 03 0c01 41")
    many = one * (RDNS_MAX + 1)
    assert len(many) > 255
    fine = b"\x30\x82" + (RDNS_MAX * len(one)).to_bytes(2, "big") + one * RDNS_MAX
    assert len(decode_name(fine)) == RDNS_MAX
    with pytest.raises(WireError, match="more than"):
        decode_name(b"\x30\x82" + len(many).to_bytes(2, "big") + many)
    with pytest.raises(WireError, match="octets"):
        decode_name(bytes(NAME_OCTETS_MAX + 1))


@given(st.binary(max_size=64))
def test_any_octets_are_a_name_or_none(data: bytes) -> None:
    try:
        text = format_name(decode_name(data))
    except WireError:
        return
    assert text.isprintable()


@given(
    st.lists(
        st.tuples(
            st.sampled_from([NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME]),
            st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_text_tells_the_whole_name(parts: list[tuple[ObjectIdentifier, str]]) -> None:
    der = made(*((oid, value, _ASN1Type.UTF8String) for oid, value in parts))
    text = format_name(decode_name(der))
    assert decode_name(parse_name(text)) == decode_name(der)
    assert parse_identity(format_identity((9, der))) == (9, der)
