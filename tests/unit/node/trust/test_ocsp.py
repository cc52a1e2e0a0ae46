"""node.trust.ocsp: what a response is worth; openssl's responder is asked too."""

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from node.trust.certificate import Certificate, Unfit
from node.trust.ocsp import (
    AGE_MAX_S,
    NONCE_OCTETS,
    OCSP_OCTETS_MAX,
    Answer,
    Status,
    check_response,
    encode_request,
)
from tests.pki import DAY_S, KINDS, NOW, Authority, Issued, openssl

ROOT, OTHER = Authority.root(), Authority.root("other")
LEAF = ROOT.issue()
GOOD, REVOKED, UNKNOWN = (
    ocsp.OCSPCertStatus.GOOD,
    ocsp.OCSPCertStatus.REVOKED,
    ocsp.OCSPCertStatus.UNKNOWN,
)
SIGNING = [ExtendedKeyUsageOID.OCSP_SIGNING]
NONCE = bytes(range(NONCE_OCTETS))


def check(
    der: bytes,
    about: Issued = LEAF,
    issuer: Authority = ROOT,
    at: float = NOW,
    *,
    trusted: tuple[Certificate, ...] = (),
    nonce: bytes = b"",
) -> Answer:
    return check_response(der, about.read, issuer.own.read, at, trusted=trusted, nonce=nonce)


def refused(der: bytes, *given: object, **named: object) -> str:
    with pytest.raises(Unfit) as caught:
        check(der, *given, **named)  # type: ignore[arg-type]
    assert str(caught.value).startswith("OCSP about CN=peer: ")
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("by_name", [False, True])
def test_the_issuers_own_word(kind: str, by_name: bool) -> None:
    root = Authority.root("signer", kind)
    leaf = root.issue()
    answer = check(root.ocsp(leaf, by_name=by_name), leaf, root)
    assert answer.status is Status.GOOD
    assert (answer.this_update_wall_s, answer.until_wall_s) == (NOW - 60, NOW + 3600)
    assert check(root.ocsp(leaf, REVOKED), leaf, root).status is Status.REVOKED
    assert "unknown to the responder" in refused(root.ocsp(leaf, UNKNOWN), leaf, root)


def test_a_responder_that_the_issuer_has_named() -> None:
    named = ROOT.issue("responder", purposes=SIGNING)
    der = ROOT.ocsp(LEAF, signer=named, shown=[named])
    assert check(der).status is Status.GOOD
    assert "signed by nobody who may" in refused(ROOT.ocsp(LEAF, signer=named))
    plain = ROOT.issue("plain")
    assert "not named for that by its issuer" in refused(
        ROOT.ocsp(LEAF, signer=plain, shown=[plain])
    )
    foreign = OTHER.issue("responder", purposes=SIGNING)
    assert "signed by nobody" in refused(ROOT.ocsp(LEAF, signer=foreign, shown=[foreign]))
    fake = Authority.root("root").issue("responder", purposes=SIGNING)
    assert "wrong signature" in refused(ROOT.ocsp(LEAF, signer=fake, shown=[fake]))
    late = ROOT.issue("responder", purposes=SIGNING, ends=NOW - 1)
    assert "out of its time" in refused(ROOT.ocsp(LEAF, signer=late, shown=[late]))
    weak = ROOT.issue("responder", "rsa1024", purposes=SIGNING)
    assert "RSA key of 1024" in refused(ROOT.ocsp(LEAF, signer=weak, shown=[weak]))
    # an intermediate's word about its own issuer's certificates
    below = ROOT.authority("below").issue("responder", purposes=SIGNING)
    assert "signed by nobody" in refused(ROOT.ocsp(LEAF, signer=below, shown=[below]))


def test_a_responder_that_is_trusted() -> None:
    trusted = OTHER.issue("trusted")
    der = ROOT.ocsp(LEAF, signer=trusted)
    assert check(der, trusted=(trusted.read,)).status is Status.GOOD
    assert "signed by nobody" in refused(der)
    namesakes = (OTHER.issue("trusted").read, trusted.read)
    assert check(ROOT.ocsp(LEAF, signer=trusted, by_name=True), trusted=namesakes)


def test_about_whom() -> None:
    assert "about another certificate" in refused(ROOT.ocsp(ROOT.issue("another")))
    # the same serial under another authority
    twin = OTHER.issue(serial=LEAF.parsed.serial_number)
    assert "about another certificate" in refused(OTHER.ocsp(twin))
    namesake = Authority.root("root")
    twin = namesake.issue(serial=LEAF.parsed.serial_number)
    assert "about another certificate" in refused(namesake.ocsp(twin))


def test_freshness() -> None:
    der = ROOT.ocsp(LEAF, at=NOW, until=NOW + 100)
    for at, said in (
        (NOW - 301, "of a time to come"),
        (NOW - 299, ""),
        (NOW + 399, ""),
        (NOW + 401, "out of date"),
    ):
        if said:
            assert said in refused(der, at=at)
        else:
            check(der, at=at)
    endless = ROOT.ocsp(LEAF, at=NOW, until=None)
    assert check(endless).until_wall_s == NOW + AGE_MAX_S
    assert "out of date" in refused(endless, at=NOW + DAY_S)


def test_nonces() -> None:
    with_nonce = ROOT.ocsp(LEAF, nonce=NONCE)
    check(with_nonce, nonce=NONCE)
    check(with_nonce)  # in a CERT payload: of somebody else's request
    check(ROOT.ocsp(LEAF), nonce=NONCE)  # signed in advance
    assert "another request's nonce" in refused(with_nonce, nonce=bytes(NONCE_OCTETS))
    assert "another request's nonce" in refused(with_nonce, nonce=NONCE[:-1])


def test_refusals_and_rubbish() -> None:
    for status in (
        ocsp.OCSPResponseStatus.TRY_LATER,
        ocsp.OCSPResponseStatus.UNAUTHORIZED,
        ocsp.OCSPResponseStatus.MALFORMED_REQUEST,
    ):
        der = ocsp.OCSPResponseBuilder.build_unsuccessful(status)
        octets = der.public_bytes(Encoding.DER)
        assert status.name.lower() in refused(octets)
    assert "octets" in refused(bytes(OCSP_OCTETS_MAX + 1))
    der = ROOT.ocsp(LEAF)
    for end in range(len(der)):
        refused(der[:end])
    refused(der + b"\0")
    for at in range(0, len(der), 7):
        changed = bytearray(der)
        changed[at] ^= 0x41
        try:
            assert check(bytes(changed)).der != der
        except Unfit:
            continue


def test_a_request_names_the_certificate_and_brings_a_nonce() -> None:
    request = ocsp.load_der_ocsp_request(encode_request(LEAF.read, ROOT.own.read, NONCE))
    assert request.serial_number == LEAF.parsed.serial_number
    assert isinstance(request.hash_algorithm, hashes.SHA1)
    assert request.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == NONCE
    without = ocsp.load_der_ocsp_request(encode_request(LEAF.read, ROOT.own.read, b""))
    assert not list(without.extensions)


def index(folder: Path, *lines: tuple[str, Issued]) -> None:
    """The database of openssl's responder."""
    rows = [
        f"{kind}\t401231000000Z\t{'240101000000Z' if kind == 'R' else ''}\t"
        f"{one.parsed.serial_number:02X}\tunknown\t/CN=x\n"
        for kind, one in lines
    ]
    (folder / "index.txt").write_text("".join(rows))


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384"])
@pytest.mark.parametrize("delegated", [False, True])
def test_openssls_responder_is_understood_and_understands(
    kind: str, delegated: bool, tmp_path: Path
) -> None:
    ever = {"begins": 0.0, "ends": 4e9}  # openssl goes by the real clock
    root = Authority.root("signer", kind, **ever)
    good, bad, strange = root.issue(), root.issue(), root.issue()
    signer = root.issue("responder", kind, purposes=SIGNING, **ever) if delegated else root.own
    for stem, one in (("ca", root.own), ("signer", signer)):
        one.write(tmp_path, stem)
    index(tmp_path, ("V", good), ("R", bad))
    for one, expected in ((good, Status.GOOD), (bad, Status.REVOKED), (strange, None)):
        request = encode_request(one.read, root.own.read, NONCE)
        (tmp_path / "request.der").write_bytes(request)
        made = openssl(
            tmp_path,
            "ocsp -index index.txt -rsigner signer.pem -rkey signer.key -CA ca.pem -ndays 1"
            " -reqin request.der -respout response.der",
        )
        assert made.returncode == 0, made.stderr
        der = (tmp_path / "response.der").read_bytes()
        at = ocsp.load_der_ocsp_response(der).produced_at_utc.timestamp()
        if expected is None:
            with pytest.raises(Unfit, match="unknown to the responder"):
                check(der, one, root, at)
        else:
            assert check(der, one, root, at, nonce=NONCE).status is expected
