"""node.trust.names and constraints: whose identity it is, and who may give it (RFC 4945 3.1; RFC
5280 4.2.1.10).
"""

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from node.trust.certificate import Unfit
from node.trust.names import speaks_for
from node.trust.path import Anchors, find_chain
from proto.ike.identity import parse_identity
from tests.pki import NOW, Authority

ROOT = Authority.root()
LEAF = ROOT.issue(
    "CN=cn.example.com,O=Example,C=CH",
    names=[
        "fqdn:Moon.example.com",
        "fqdn:*.wild.example.com",
        "rfc822:Joe@Example.com",
        "ip:192.0.2.7",
        "ip:2001:db8::7",
        "uri:fqdn.example.com",
    ],
).read
TAKEN = [
    "fqdn:moon.example.com",
    "fqdn:MOON.EXAMPLE.COM",
    "rfc822:joe@example.com",
    "ipv4:192.0.2.7",
    "ipv6:2001:db8::7",
    "dn:CN=cn.example.com,O=Example,C=CH",
]
REFUSED = [
    "fqdn:cn.example.com",  # in the subject only: no identity (RFC 4945 3.1.9)
    "fqdn:example.com",
    "fqdn:sub.moon.example.com",
    "fqdn:moon.example.com.",
    "fqdn:a.wild.example.com",  # no wildcards (3.1.2)
    "fqdn:*.wild.example.com",
    "rfc822:joe@moon.example.com",
    "ipv4:192.0.2.8",
    "ipv6:2001:db8::8",
    "dn:CN=cn.example.com,O=Example",
    "dn:O=Example,CN=cn.example.com,C=CH",
    "dn:CN=CN.example.com,O=Example,C=CH",
    "key_id:cn.example.com",
]


@pytest.mark.parametrize("identity", TAKEN)
def test_its_own(identity: str) -> None:
    assert speaks_for(LEAF, *parse_identity(identity))


@pytest.mark.parametrize("identity", REFUSED)
def test_others(identity: str) -> None:
    assert not speaks_for(LEAF, *parse_identity(identity))


def test_octets_of_another_kind_never_fit() -> None:
    for id_type in range(256):
        for data in (b"", b"\0", b"cn.example.com", b"\xff", b"0\x00", b"0\x801\x00"):
            assert not speaks_for(LEAF, id_type, data)
    # an address as a name, and a name as an address
    assert not speaks_for(LEAF, 2, b"192.0.2.7")
    assert not speaks_for(LEAF, 1, b"moon")
    assert not speaks_for(LEAF, 1, bytes(12) + b"\xc0\x00\x02\x07")


def test_a_key_id_is_the_subject_key_identifier() -> None:
    assert speaks_for(LEAF, 11, LEAF.subject_key_id)
    bare = ROOT.issue(identifiers=False).read
    assert not speaks_for(bare, 11, b"")


def test_a_name_without_attributes_is_nobodys() -> None:
    nobody = ROOT.issue("", names=["fqdn:x.example"]).read
    assert not speaks_for(nobody, 9, nobody.subject)
    assert speaks_for(nobody, 2, b"x.example")


def test_a_subject_in_other_string_types_is_the_same() -> None:
    kind = x509.name._ASN1Type.PrintableString
    printable = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "CH"),
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Example", kind),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, "cn.example.com", kind),
        ]
    ).public_bytes()
    assert printable != LEAF.subject
    assert speaks_for(LEAF, 9, printable)


@given(st.integers(0, 255), st.binary(max_size=64))
def test_any_octets(id_type: int, data: bytes) -> None:
    assert not speaks_for(LEAF, id_type, data)


CONSTRAINTS = [
    # permitted, excluded, a name, is it taken?
    (["fqdn:example.com"], None, "fqdn:example.com", True),
    (["fqdn:example.com"], None, "fqdn:a.EXAMPLE.com", True),
    (["fqdn:example.com"], None, "fqdn:badexample.com", False),
    (["fqdn:.example.com"], None, "fqdn:example.com", False),
    (["fqdn:.example.com"], None, "fqdn:a.example.com", True),
    (["fqdn:example.com"], None, "ip:192.0.2.1", True),  # binds names of its kind alone
    (["fqdn:example.com"], ["fqdn:bad.example.com"], "fqdn:x.bad.example.com", False),
    (None, ["fqdn:bad.example.com"], "fqdn:good.example.com", True),
    (["rfc822:example.com"], None, "rfc822:joe@example.com", True),
    (["rfc822:example.com"], None, "rfc822:joe@sub.example.com", False),
    (["rfc822:.example.com"], None, "rfc822:joe@sub.example.com", True),
    (["rfc822:.example.com"], None, "rfc822:joe@example.com", False),
    (["rfc822:joe@example.com"], None, "rfc822:joe@example.com", True),
    (["rfc822:joe@example.com"], None, "rfc822:jim@example.com", False),
    (["net:192.0.2.0/24"], None, "ip:192.0.2.200", True),
    (["net:192.0.2.0/24"], None, "ip:192.0.3.1", False),
    (["net:192.0.2.0/24"], None, "ip:2001:db8::1", False),
    (["net:192.0.2.0/24", "net:2001:db8::/32"], None, "ip:2001:db8::1", True),
    (None, ["net:192.0.2.0/24"], "ip:192.0.2.1", False),
    (["dn:O=Example,C=CH"], None, "dn:CN=x,O=Example,C=CH", True),
    (["dn:O=Other,C=CH"], None, "dn:CN=x,O=Example,C=CH", False),
    (None, ["uri:bad.example.com"], "uri:http://good.example.com/", False),  # not understood
    (["uri:example.com"], None, "fqdn:elsewhere.org", True),
]


@pytest.mark.parametrize(("permitted", "excluded", "name", "taken"), CONSTRAINTS)
def test_name_constraints(
    permitted: list[str] | None, excluded: list[str] | None, name: str, taken: bool
) -> None:
    middle = ROOT.authority("middle", permitted=permitted, excluded=excluded)
    subject = "CN=peer,O=Example,C=CH"
    if permitted and "dn:O=Other" in permitted[0]:
        subject = "CN=peer,O=Other,C=CH"
    leaf = middle.issue(subject, names=[name]).read
    anchors = Anchors([ROOT.own.read])
    if taken:
        find_chain(leaf, [middle.own.read], anchors, NOW)
    else:
        with pytest.raises(Unfit, match="its issuer may not name"):
            find_chain(leaf, [middle.own.read], anchors, NOW)


def test_constraints_hold_for_the_subject_and_its_mailbox() -> None:
    middle = ROOT.authority("middle", excluded=["dn:O=Evil Corp"])
    with pytest.raises(Unfit, match="O=eVIL"):
        find_chain(
            middle.issue("CN=x,O=eVIL  cORP").read,
            [middle.own.read],
            Anchors([ROOT.own.read]),
            NOW,
        )
    mail = ROOT.authority("mail", permitted=["rfc822:example.com"])
    subject = "1.2.840.113549.1.9.1=joe@other.org"
    with pytest.raises(Unfit, match="may not name joe@other"):
        find_chain(mail.issue(subject).read, [mail.own.read], Anchors([ROOT.own.read]), NOW)


def test_constraints_go_all_the_way_down_and_come_from_the_anchor_too() -> None:
    root = Authority.root("narrow", permitted=["fqdn:example.com"])
    middle = root.authority("middle", permitted=["fqdn:a.example.com"])
    lower = middle.authority("lower")
    anchors = Anchors([root.own.read])
    others = [middle.own.read, lower.own.read]
    for host, taken in (("x.a.example.com", True), ("b.example.com", False), ("a.org", False)):
        leaf = lower.issue(names=[f"fqdn:{host}"]).read
        if taken:
            find_chain(leaf, others, anchors, NOW)
        else:
            with pytest.raises(Unfit, match="may not name"):
                find_chain(leaf, others, anchors, NOW)
