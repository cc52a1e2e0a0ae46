"""node.trust.crl: which lists are taken, what they say of whom, and openssl's lists too."""

from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from node.trust.certificate import CertificateId, Unfit
from node.trust.crl import (
    CRL_OCTETS_MAX,
    ISSUERS_MAX,
    SCOPES_MAX,
    Crl,
    CrlStore,
    Scope,
    check_crl,
    decode_crl,
    issuer_name,
    serials_of,
)
from tests.pki import DAY_S, KINDS, NOW, Authority, openssl, padding, usage

ROOT = Authority.root()
ISSUER = ROOT.own.read
GOOD, BAD = ROOT.issue("good"), ROOT.issue("bad")


def read(octets: bytes, issuer: Authority = ROOT, at: float = NOW) -> Crl:
    parsed = decode_crl(octets)
    crl = check_crl(parsed, issuer.own.read, at)
    return msgspec.structs.replace(crl, serials=frozenset(serials_of(parsed)))


def refused(octets: bytes, issuer: Authority = ROOT, at: float = NOW) -> str:
    with pytest.raises(Unfit) as caught:
        read(octets, issuer, at)
    return str(caught.value)


def point(*urls: str, **changed: object) -> tuple[x509.ExtensionType, bool]:
    given: dict[str, object] = {
        "full_name": [x509.UniformResourceIdentifier(url) for url in urls] or None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
        **changed,
    }
    return x509.IssuingDistributionPoint(**given), True  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_of_every_kind_of_key(kind: str) -> None:
    root = Authority.root("signer", kind)
    bad = root.issue()
    crl = read(root.crl([bad]), root)
    assert crl.serials == {bad.parsed.serial_number}
    assert crl.issuer == root.own.read.issuer_id
    assert (crl.this_update_wall_s, crl.next_update_wall_s) == (NOW - 60, NOW + DAY_S)


def test_pem_and_der() -> None:
    der = ROOT.crl([BAD])
    pem = x509.load_der_x509_crl(der).public_bytes(Encoding.PEM)
    assert read(pem) == read(b"\n" + pem) == read(der)
    assert issuer_name(decode_crl(der)) == ISSUER.subject


def test_openssls_list(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(ROOT.own.pem)
    (tmp_path / "ca.key").write_bytes(ROOT.own.key_pem)
    serial = f"{BAD.parsed.serial_number:040X}"  # of odd length openssl can't read it
    (tmp_path / "index.txt").write_text(
        f"R\t301231000000Z\t240101000000Z\t{serial}\tunknown\t/CN=bad\n"
    )
    (tmp_path / "crlnumber").write_text("01\n")
    (tmp_path / "conf").write_text(
        "[ca]\ndefault_ca = a\n[a]\ndatabase = index.txt\ncrlnumber = crlnumber\n"
        "default_md = sha256\ndefault_crl_days = 1\n"
    )
    made = openssl(tmp_path, "ca -gencrl -config conf -cert ca.pem -keyfile ca.key -out crl.pem")
    assert made.returncode == 0, made.stderr
    octets = (tmp_path / "crl.pem").read_bytes()
    at = decode_crl(octets).last_update_utc.timestamp()
    assert read(octets, at=at).serials == {BAD.parsed.serial_number}
    # and ours, by openssl
    (tmp_path / "ours.der").write_bytes(ROOT.crl([BAD]))
    looked = openssl(tmp_path, "crl -inform DER -in ours.der -CAfile ca.pem -noout")
    assert b"verify OK" in looked.stderr


def test_whose_list_it_is() -> None:
    namesake = Authority.root("root")
    assert "not signed by it" in refused(namesake.crl())
    assert "another issuer's" in refused(Authority.root("other").crl())
    changed = bytearray(ROOT.crl())
    changed[-1] ^= 1
    assert refused(bytes(changed))
    mute = Authority.root("mute", key_usage=usage("key_cert_sign"))
    assert "its keyUsage isn't for CRLs" in refused(mute.crl(), mute)
    silent = Authority.root("silent", key_usage=None)
    read(silent.crl(), silent)


def test_its_time() -> None:
    assert "of a time to come" in refused(ROOT.crl(at=NOW + 301))
    read(ROOT.crl(at=NOW + 299))
    read(ROOT.crl(until=NOW - 1))  # what it revokes stays revoked


@pytest.mark.parametrize(
    "changed",
    [
        {"indirect_crl": True},
        {"only_some_reasons": frozenset([x509.ReasonFlags.key_compromise])},
        {"only_contains_attribute_certs": True},
    ],
)
def test_lists_that_say_less_than_they_seem_to(changed: dict[str, object]) -> None:
    assert "indirect, or only in part" in refused(ROOT.crl(extensions=[point(**changed)]))


def test_critical_extensions() -> None:
    assert "critical extension" in refused(ROOT.crl(extensions=[(padding(3)[0], True)]))
    read(ROOT.crl(extensions=[padding(3)]))
    delta = x509.DeltaCRLIndicator(1)
    assert "critical extension 2.5.29.27" in refused(ROOT.crl(extensions=[(delta, True)]))


def test_scopes() -> None:
    here, there = "http://crl/1", "http://crl/2"
    leaf = ROOT.issue(crl_urls=[here]).read
    middle = ROOT.authority(crl_urls=[there]).own.read
    parts = {
        "all": ([], True, True),
        "here": ([point(here)], True, False),
        "there": ([point("http://crl/3", there)], False, True),
        "peers": ([point(only_contains_user_certs=True)], True, False),
        "authorities": ([point(only_contains_ca_certs=True)], False, True),
    }
    for extensions, of_leaf, of_middle in parts.values():
        scope = read(ROOT.crl(extensions=extensions)).scope
        assert (scope.covers(leaf), scope.covers(middle)) == (of_leaf, of_middle)
        store = CrlStore()
        store.add(read(ROOT.crl(extensions=extensions)))
        assert bool(store.until_wall_s(leaf, ISSUER)) is of_leaf
        assert bool(store.until_wall_s(middle, ISSUER)) is of_middle


def test_a_store_holds_the_newest_of_each_scope() -> None:
    store = CrlStore()
    bad = BAD.read.id_below(ISSUER)
    assert not store.revoked(bad)
    assert store.add(read(ROOT.crl(at=NOW - 60)))
    assert not store.revoked(bad)
    assert store.add(read(ROOT.crl([BAD], at=NOW - 50, until=NOW + 10)))
    assert store.revoked(bad)
    assert not store.revoked(GOOD.read.id_below(ISSUER))
    assert store.until_wall_s(BAD.read, ISSUER) == NOW + 10
    # an older one, in which it wasn't revoked yet
    assert not store.add(read(ROOT.crl(at=NOW - 55)))
    assert not store.add(read(ROOT.crl(at=NOW - 50)))
    assert store.revoked(bad)
    # by another authority that has the same serial
    assert not store.revoked(CertificateId(b"another1", bad.serial))
    assert store.until_wall_s(BAD.read, Authority.root("other").own.read) == 0


def test_bounds() -> None:
    with pytest.raises(Unfit, match="octets"):
        decode_crl(bytes(CRL_OCTETS_MAX + 1))
    store = CrlStore()
    first = Crl(b"issuer 0", Scope(), NOW, NOW + 1, frozenset([1]))
    store.add(first)
    for n in range(SCOPES_MAX):
        store.add(Crl(b"issuer 0", Scope(frozenset([str(n)])), NOW + 1 + n, NOW, frozenset()))
    assert not store.revoked(CertificateId(b"issuer 0", 1))  # the oldest went
    store.add(Crl(b"issuer 0", Scope(), NOW + 99, NOW, frozenset([1])))
    assert store.revoked(CertificateId(b"issuer 0", 1))
    for n in range(1, ISSUERS_MAX + 1):
        store.add(Crl(b"%08d" % n, Scope(), NOW, NOW, frozenset()))
    assert not store.revoked(CertificateId(b"issuer 0", 1))


def test_every_truncation_is_unfit() -> None:
    der = ROOT.crl([BAD], extensions=[point("http://crl/")])
    for end in range(len(der)):
        refused(der[:end])
    refused(der + b"\0")
