"""node.trust.path: which chains hold, and what says no. openssl is asked for its opinion too."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from node.trust.certificate import (
    CERTIFICATE_OCTETS_MAX,
    IKE_INTERMEDIATE,
    IPSEC_IKE,
    NAMES_MAX,
    CertificateId,
    Unfit,
    decode_certificate,
)
from node.trust.path import (
    CERTIFICATES_MAX,
    DEPTH_MAX,
    SIGNATURES_MAX,
    STEPS_MAX,
    Anchors,
    Chain,
    find_chain,
)
from tests.pki import DAY_S, KINDS, NOW, Authority, Issued, key, openssl, padding, usage

ROOT = Authority.root()
ANCHORS = Anchors([ROOT.own.read])


def chain(
    leaf: Issued,
    *others: Issued | Authority,
    anchors: Anchors = ANCHORS,
    at: float = NOW,
    tls_purposes: bool = False,
) -> Chain:
    certificates = [(one.own if isinstance(one, Authority) else one).read for one in others]
    return find_chain(leaf.read, certificates, anchors, at, tls_purposes=tls_purposes)


def refused(leaf: Issued, *others: Issued | Authority, **changed: object) -> str:
    with pytest.raises(Unfit) as caught:
        chain(leaf, *others, **changed)  # type: ignore[arg-type]
    return str(caught.value)


def subjects(found: Chain) -> list[str]:
    return [one.text for one in found.certificates]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("above", KINDS)
def test_every_kind_of_key_signs_and_is_signed(kind: str, above: str) -> None:
    root = Authority.root("a root", above)
    middle = root.authority("middle", kind)
    leaf = middle.issue("leaf", above)
    found = chain(leaf, middle, anchors=Anchors([root.own.read]))
    assert subjects(found) == ["CN=leaf", "CN=middle", "CN=a root"]
    assert found.leaf.key == leaf.key.public_key()


def test_certificates_come_in_any_order_with_others_among_them() -> None:
    first = ROOT.authority("first")
    second = first.authority("second")
    third = second.authority("third")
    leaf = third.issue()
    stray = Authority.root("stray")
    for order in itertools.permutations([first, second, third, stray]):
        found = chain(leaf, *order)
        assert subjects(found) == ["CN=peer", "CN=third", "CN=second", "CN=first", "CN=root"]
    # the peer may send the anchor too, and his own twice (RFC 4945 3.3.10.4)
    assert len(chain(leaf, third, first, ROOT, leaf, second, second).certificates) == 5


def test_what_is_remembered_of_a_chain() -> None:
    middle = ROOT.authority("middle", ends=NOW + 2 * DAY_S)
    leaf = middle.issue(ends=NOW + 5 * DAY_S)
    found = chain(leaf, middle)
    assert found.not_after_wall_s == NOW + 2 * DAY_S
    assert found.ids == (
        CertificateId(middle.own.read.issuer_id, leaf.parsed.serial_number),
        CertificateId(ROOT.own.read.issuer_id, middle.own.parsed.serial_number),
    )
    for one in found.ids:
        assert CertificateId.decode(one.encode()) == one
        assert len(one.encode()) <= 28
    assert CertificateId.decode(CertificateId(b"8 octets", 0).encode()).serial == 0


def test_cross_signed_authorities_lead_to_the_anchor_that_is_trusted() -> None:
    old, new = Authority.root("old"), Authority.root("new")
    middle = new.authority("middle")
    cross = Authority(
        old.issue("new", secret=new.own.key, is_ca=True)
    )  # the new root, signed by the old one
    leaf = middle.issue()
    found = chain(leaf, cross, middle, anchors=Anchors([old.own.read]))
    assert subjects(found) == ["CN=peer", "CN=middle", "CN=new", "CN=old"]
    found = chain(leaf, cross, middle, anchors=Anchors([new.own.read]))
    assert subjects(found) == ["CN=peer", "CN=middle", "CN=new"]
    both = Anchors([old.own.read, new.own.read])
    assert len(chain(leaf, cross, middle, anchors=both).certificates) == 3


def test_two_that_sign_each_other_end_the_search() -> None:
    one, other = Authority.root("one"), Authority.root("other")
    crossed = [
        one.issue("other", secret=other.own.key, is_ca=True),
        other.issue("one", secret=one.own.key, is_ca=True),
    ]
    assert "nobody trusted has issued CN=peer" in refused(one.issue(), *crossed)


def test_an_expired_way_is_left_for_one_that_is_valid() -> None:
    middle = ROOT.authority("middle", ends=NOW - 1)
    again = Authority(ROOT.issue("middle", secret=middle.own.key, is_ca=True))
    leaf = middle.issue()
    assert refused(leaf, middle) == "CN=middle: expired"
    for order in ((middle, again), (again, middle)):
        assert len(chain(leaf, *order).certificates) == 3


def test_a_renewed_anchor_of_the_same_name_is_told_apart_by_its_key() -> None:
    renewed = Authority.root("root")
    both = Anchors([renewed.own.read, ROOT.own.read])
    for root in (ROOT, renewed):
        found = chain(root.issue(identifiers=False), anchors=both)
        assert found.certificates[-1].der == root.own.der


NOT_SIGNATURES = usage("key_agreement", "key_encipherment")
CASES: list[tuple[str, dict[str, object], dict[str, object], str]] = [
    # middle, leaf, what is said; "" = taken
    ("plain", {}, {}, ""),
    ("middle isn't an authority", {"is_ca": False}, {}, "no authority"),
    ("middle has no basicConstraints", {"is_ca": None}, {}, "no authority"),
    (
        "middle may sign lists only",
        {"is_ca": True, "key_usage": usage("crl_sign")},
        {},
        "its keyUsage isn't for certificates",
    ),
    ("middle without keyUsage", {"key_usage": None}, {}, ""),
    ("middle expired", {"ends": NOW - 1}, {}, "CN=middle: expired"),
    ("middle not yet", {"begins": NOW + 1}, {}, "CN=middle: not valid yet"),
    ("leaf expired", {}, {"ends": NOW - 1}, "CN=peer: expired"),
    ("leaf not yet", {}, {"begins": NOW + 1}, "CN=peer: not valid yet"),
    ("leaf for encryption only", {}, {"key_usage": NOT_SIGNATURES}, "isn't for signatures"),
    ("leaf for repudiation only", {}, {"key_usage": usage("content_commitment")}, ""),
    ("leaf without keyUsage", {}, {"key_usage": None}, ""),
    ("no room below middle", {"path_length": 0}, {}, ""),
    ("critical, unknown", {}, {"extensions": [(padding(1)[0], True)]}, "critical extension 1.3.6"),
    (
        "critical in the middle",
        {"extensions": [(padding(1)[0], True)]},
        {},
        "critical extension 1.3.6",
    ),
    ("unknown, not critical", {}, {"extensions": [padding(1)]}, ""),
    (
        "policies",
        {},
        {
            "extensions": [
                (
                    x509.CertificatePolicies(
                        [x509.PolicyInformation(x509.ObjectIdentifier("1.2.3"), None)]
                    ),
                    True,
                )
            ]
        },
        "",
    ),
    (
        "a policy is required",
        {"extensions": [(x509.PolicyConstraints(0, None), True)]},
        {},
        "critical extension 2.5.29.36",
    ),
]


@pytest.mark.parametrize(
    ("middle", "leaf", "said"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_rfc5280_and_openssl_agree(
    middle: dict[str, object], leaf: dict[str, object], said: str, tmp_path: Path
) -> None:
    above = Authority(ROOT.issue("middle", **{"is_ca": True, **middle}))  # type: ignore[arg-type]
    below = above.issue(**leaf)  # type: ignore[arg-type]
    if said:
        assert said in refused(below, above)
    else:
        chain(below, above)
    theirs = openssl_verifies(tmp_path, ROOT.own, [above.own], below)
    # IKE wants signatures; openssl asks for policies only when told to, and for a keyUsage always
    ours_alone = ("isn't for signatures", "critical extension 2.5.29.36")
    theirs_alone = middle.get("key_usage", "") is None
    assert theirs is ((not said or said in ours_alone) and not theirs_alone)


def openssl_verifies(
    folder: Path, root: Issued, others: Sequence[Issued], leaf: Issued, at: float = NOW
) -> bool:
    for stem, several in (("root", [root]), ("others", others), ("leaf", [leaf])):
        (folder / f"{stem}.pem").write_bytes(b"".join(one.pem for one in several))
    what = f"verify -x509_strict -attime {at:.0f} -CAfile root.pem -untrusted others.pem leaf.pem"
    return openssl(folder, what).returncode == 0


@pytest.mark.parametrize("seconds", [-1, 0, 1])
def test_validity_holds_to_the_second(seconds: int) -> None:
    leaf = ROOT.issue(begins=NOW, ends=NOW + 100)
    for edge, inwards in ((NOW, 1), (NOW + 100, -1)):
        if seconds * inwards < 0:
            refused(leaf, at=edge + seconds)
        else:
            chain(leaf, at=edge + seconds)


def test_an_anchor_ends_too() -> None:
    root = Authority.root("short", ends=NOW - 1)
    assert "short: expired" in refused(root.issue(), anchors=Anchors([root.own.read]))


def test_path_length_counts_authorities_that_are_not_self_issued() -> None:
    root = Authority.root("narrow", path_length=1)
    anchors = Anchors([root.own.read])
    first = root.authority("first", path_length=0)
    second = first.authority("second")
    chain(first.issue(), first, anchors=anchors)
    assert "one authority too many" in refused(second.issue(), first, second, anchors=anchors)
    wide = root.authority("wide")  # says nothing of itself, but its root does
    deeper = wide.authority("deeper")
    assert "one authority too many" in refused(deeper.issue(), wide, deeper, anchors=anchors)
    # a key change: first signs itself under a new key (RFC 5280 3.2)
    rolled = Authority(first.issue("first", is_ca=True))
    chain(rolled.issue(), first, rolled, anchors=anchors)


def test_another_keys_signature_and_a_changed_octet() -> None:
    stranger = Authority.root("root")  # the name, and another key
    assert "not signed by CN=root" in refused(stranger.issue())
    leaf = ROOT.issue()
    octets = bytearray(leaf.der)
    octets[-1] ^= 1
    with pytest.raises(Unfit, match="not signed by CN=root"):
        find_chain(decode_certificate(bytes(octets)), [], ANCHORS, NOW)


def test_an_untrusted_root_that_was_sent_is_no_anchor() -> None:
    stranger = Authority.root("stranger")
    assert "nobody trusted" in refused(stranger.issue(), stranger)
    alone = Authority.root("alone", key_usage=None)
    assert "nobody trusted" in refused(alone.own)
    chain(alone.own, anchors=Anchors([alone.own.read]))


@pytest.mark.parametrize(
    ("purposes", "ike", "with_tls"),
    [
        ([], True, True),
        ([IPSEC_IKE], True, True),
        ([IKE_INTERMEDIATE], True, True),
        ([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE], True, True),
        ([ExtendedKeyUsageOID.SERVER_AUTH, IPSEC_IKE], True, True),
        ([ExtendedKeyUsageOID.SERVER_AUTH], False, True),
        ([ExtendedKeyUsageOID.CLIENT_AUTH], False, True),
        ([ExtendedKeyUsageOID.CODE_SIGNING], False, False),
        ([x509.ObjectIdentifier("1.3.6.1.5.5.7.3.5")], False, False),  # ipsecEndSystem, obsolete
    ],
)
def test_purposes(purposes: list[x509.ObjectIdentifier], ike: bool, with_tls: bool) -> None:
    leaf = ROOT.issue(purposes=purposes)
    for tls, taken in ((False, ike), (True, with_tls)):
        if taken:
            chain(leaf, tls_purposes=tls)
        else:
            assert "extKeyUsage" in refused(leaf, tls_purposes=tls)


def test_weak_keys_and_hashes(tmp_path: Path) -> None:
    assert "RSA key of 1024 bits" in refused(ROOT.issue(kind="rsa1024"))
    assert "secp256k1" in refused(ROOT.issue(kind="k256"))
    weak = ROOT.authority("weak", "rsa1024")
    assert "RSA key of 1024 bits" in refused(weak.issue(), weak)
    root = Authority.root("sha1 root", "rsa")
    leaf = root.issue("old", "rsa")
    (tmp_path / "root.pem").write_bytes(root.own.pem + root.own.key_pem)
    (tmp_path / "leaf.key").write_bytes(leaf.key_pem)
    openssl(tmp_path, "req -new -key leaf.key -subj /CN=old -out leaf.csr")
    (tmp_path / "v3").write_text("basicConstraints = CA:FALSE")
    what = "x509 -req -in leaf.csr -sha1 -CA root.pem -set_serial 1 -extfile v3 -outform DER"
    made = openssl(tmp_path, what).stdout
    old = decode_certificate(made)
    at = old.not_before_wall_s
    anchor = Authority.root("sha1 root", "rsa", begins=at - 1, ends=at + DAY_S)
    with pytest.raises(Unfit, match="CN=old: signed over sha1"):
        find_chain(old, [], Anchors([anchor.own.read]), at)


def test_bounds_of_a_search() -> None:
    above = ROOT
    line = []
    for depth in range(DEPTH_MAX - 1):
        above = above.authority(f"level {depth}")
        line.append(above)
    assert len(chain(line[-2].issue(), *line[:-1]).certificates) == DEPTH_MAX
    assert "nobody trusted" in refused(above.issue(), *line)
    # many of one name under different keys: each is tried, not each with each
    twins = [Authority.root("twin", identifiers=False) for _ in range(CERTIFICATES_MAX - 1)]
    said = refused(twins[0].issue(identifiers=False), *twins)
    assert f"in {STEPS_MAX} steps" in said
    bad = [ROOT.own.parsed.subject for _ in range(SIGNATURES_MAX)]
    assert len(bad) == SIGNATURES_MAX
    false = Anchors([Authority.root("many").own.read for _ in range(SIGNATURES_MAX + 1)])
    said = refused(Authority.root("many").issue(identifiers=False), anchors=false)
    assert f"in {SIGNATURES_MAX} signatures" in said


def test_bounds_of_a_certificate() -> None:
    names = [f"fqdn:n{n}.example" for n in range(NAMES_MAX)]
    assert len(ROOT.issue(names=names).read.names) == NAMES_MAX
    with pytest.raises(Unfit, match=f"{NAMES_MAX + 1} names"):
        decode_certificate(ROOT.issue(names=[*names, "fqdn:more.example"]).der)
    huge = ROOT.issue(extensions=[padding(CERTIFICATE_OCTETS_MAX)]).der
    with pytest.raises(Unfit, match="octets"):
        decode_certificate(huge)
    assert len(ROOT.issue(extensions=[padding(3000)]).read.der) > 3000


def test_every_truncation_is_unfit() -> None:
    der = ROOT.issue(names=["fqdn:a.example"], crl_urls=["http://x/"], ocsp_urls=["http://y/"]).der
    for end in range(len(der)):
        with pytest.raises(Unfit):
            decode_certificate(der[:end])
    with pytest.raises(Unfit):
        decode_certificate(der + b"\0")


def test_urls_are_read_and_counted() -> None:
    certificate = ROOT.issue(
        crl_urls=[f"http://crl/{n}" for n in range(6)], ocsp_urls=["http://ocsp/"]
    ).read
    assert certificate.crl_urls == tuple(f"http://crl/{n}" for n in range(4))
    assert certificate.ocsp_urls == ("http://ocsp/",)
    some = x509.DistributionPoint(
        [x509.UniformResourceIdentifier("http://some/")],
        None,
        frozenset([x509.ReasonFlags.key_compromise]),
        None,
    )
    partial = ROOT.issue(extensions=[(x509.CRLDistributionPoints([some]), False)]).read
    assert partial.crl_urls == ()


def test_anchors_name_their_keys_as_rfc7296_does() -> None:
    other = Authority.root("other", "rsa")
    both = Anchors([other.own.read, ROOT.own.read, ROOT.own.read])
    assert len(both.certificates) == 2
    hashes = both.key_hashes()
    assert len(hashes) == 40
    assert other.own.read.key_hash in (hashes[:20], hashes[20:])
    # a subject key identifier by RFC 5280 4.2.1.2 (1) is of the key's bits alone: another hash
    assert other.own.read.key_hash != other.own.read.subject_key_id
    assert key("p256") is key("p256")
