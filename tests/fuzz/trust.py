"""Targets for what proves an identity: names, signatures, certificates, CRLs, OCSP responses."""

from collections.abc import Coroutine
from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from node.trust.certificate import CERTIFICATE_OCTETS_MAX, NAMES_MAX, Unfit, decode_certificate
from node.trust.crl import check_crl, decode_crl, serials_of
from node.trust.names import speaks_for
from node.trust.ocsp import check_response
from node.trust.path import Anchors
from node.trust.verifier import Trust, TrustSettings, decode_ids, encode_ids
from proto.ike.dn import NAME_OCTETS_MAX, RDNS_MAX, decode_name, format_name, parse_name
from proto.ike.enums import AuthMethod, NotifyType
from proto.ike.errors import PeerError, WireError
from proto.ike.payloads import CertPayload
from proto.ike.signature import (
    ANNOUNCED,
    IDENTIFIERS,
    PrivateKey,
    choose,
    decode_hashes,
    encode_hashes,
    sign,
    verify,
)
from tests import pki
from tests.fuzz.target import Choices, Target, block

# derived, not drawn: a finding can be tried again
KEYS: tuple[PrivateKey, ...] = (
    ec.derive_private_key(0x1234567, ec.SECP256R1()),
    ec.derive_private_key(0x1234567, ec.SECP521R1()),
    ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)),
)
RSA = rsa.RSAPublicNumbers(65537, (1 << 2047) + 0x1234567).public_key()
OCTETS = b"RealMessage | nonce | prf"


def names(data: bytes) -> None:
    """WireError, or a bounded name whose text is printable and, where all of it is text, says it
    all.
    """
    try:
        name = decode_name(data)
    except WireError:
        return
    assert len(data) <= NAME_OCTETS_MAX
    assert sum(map(len, name)) <= RDNS_MAX
    shown = format_name(name)
    assert shown.isprintable() or not shown
    try:
        again = decode_name(parse_name(shown))
    except (ValueError, WireError):
        return  # what the library won't write, such as a country of three letters
    assert format_name(again) == shown


def signatures(data: bytes) -> None:
    """PeerError(AUTHENTICATION_FAILED) for whatever isn't a signature; no other octets pass for
    one, but other forms of its own.
    """
    choices = Choices(data)
    method, key = choices.byte(), KEYS[choices.below(len(KEYS))]
    listed = choices.block()
    try:
        announced = decode_hashes(listed)
    except WireError:
        announced = frozenset(ANNOUNCED)
    assert decode_hashes(encode_hashes(sorted(announced))) == announced
    said = choices.rest()
    for public in (key.public_key(), RSA):
        for agreed in (announced, None):
            with pytest.raises(PeerError) as caught:
                verify(public, method, said, OCTETS, agreed)
            assert caught.value.notify is NotifyType.AUTHENTICATION_FAILED


class Clock:
    """The wall clock of these targets."""

    def boot_s(self) -> float:
        """Unused."""
        return 0.0

    def wall_s(self) -> float:
        """In the certificates' time."""
        return pki.NOW


@cache
def authority() -> pki.Authority:
    """Whom the targets trust; made anew by each process: only what it doesn't sign is tried."""
    return pki.Authority.root()


@cache
def trust() -> Trust:
    """One that trusts it."""
    return Trust(TrustSettings(Anchors([authority().own.read])), Clock())


def certificates(data: bytes) -> None:
    """Unfit, or a bounded certificate that names itself in print and speaks for no identity of
    these octets' making.
    """
    try:
        one = decode_certificate(data)
    except Unfit:
        return
    assert len(one.der) <= CERTIFICATE_OCTETS_MAX
    assert len(one.names) <= NAMES_MAX
    assert one.text.isprintable()
    assert len(one.key_hash) == 20
    assert len(one.issuer_id) == 8
    for id_type in (1, 2, 3, 5, 9, 11, 200):
        speaks_for(one, id_type, data[:64])
    ids = (one.id_below(one),)
    assert decode_ids(encode_ids(ids)) == ids


def chains(data: bytes) -> None:
    """Unfit for whatever CERT payloads a stranger makes up."""
    choices = Choices(data)
    payloads = []
    while choices and len(payloads) < 20:
        encoding = choices.byte()
        payloads.append(CertPayload(encoding if encoding > 20 else 4, choices.block()))
    identity = (2, b"peer.example.com")
    with pytest.raises(Unfit):
        at_once(trust().check(payloads, identity, "", "192.0.2.7"))


def at_once(coro: Coroutine[object, object, object]) -> None:
    """Run what waits for nobody."""
    with pytest.raises(StopIteration):
        coro.send(None)


def lists(data: bytes) -> None:
    """Unfit for whatever list its issuer hasn't signed; serials or Unfit in it."""
    try:
        parsed = decode_crl(data)
        serials = list(serials_of(parsed))
    except Unfit:
        return
    assert all(isinstance(serial, int) for serial in serials)
    with pytest.raises(Unfit):
        check_crl(parsed, authority().own.read, pki.NOW)


def responses(data: bytes) -> None:
    """Unfit for whatever response nobody entitled has signed."""
    issuer = authority().own.read
    with pytest.raises(Unfit):
        check_response(data, issuer, issuer, pki.NOW, nonce=bytes(32))


@cache
def stranger() -> pki.Authority:
    """Whom nobody trusts, under the name of whom they do."""
    return pki.Authority.root()


def _certificate_seeds() -> list[bytes]:
    names = ["fqdn:peer.example.com", "rfc822:a@b.example", "ip:192.0.2.7", "dn:CN=x"]
    return [
        stranger().own.der,
        stranger().issue(names=names, crl_urls=["http://crl/"], ocsp_urls=["http://ocsp/"]).der,
        stranger().authority(permitted=["fqdn:example.com"], excluded=["net:10.0.0.0/8"]).own.der,
        stranger().issue(kind="ed25519", purposes=[]).der,
    ]


def _chain_seeds() -> list[bytes]:
    middle = stranger().authority("middle")
    leaf = middle.issue(names=["fqdn:peer.example.com"])
    several = (leaf.der, middle.own.der, stranger().own.der)
    return [b"".join(bytes((4,)) + block(der) for der in several[:count]) for count in (1, 2, 3)]


def _list_seeds() -> list[bytes]:
    return [stranger().crl(), stranger().crl([stranger().own])]


def _response_seeds() -> list[bytes]:
    named = stranger().issue("responder")
    return [
        stranger().ocsp(stranger().own),
        stranger().ocsp(named, nonce=bytes(32), signer=named, shown=[named]),
    ]


def _name_seeds() -> list[bytes]:
    texts = ("CN=moon,O=strongSwan,C=CH", "E=a@example.org,CN=x\\, y", "CN=Joe+UID=joe,DC=org")
    return [parse_name(text) for text in texts]


def _signature_seeds() -> list[bytes]:
    """A signature of each kind over something else, and every AlgorithmIdentifier alone."""
    found = []
    for number, key in enumerate(KEYS):
        for announced in (ANNOUNCED, None):
            scheme = choose(key, announced)
            if scheme is not None:
                head = bytes((scheme.method, number, 0, 8)) + encode_hashes()
                found.append(head + sign(key, scheme, OCTETS + b"?"))
    head = bytes((AuthMethod.DIGITAL_SIGNATURE, 0, 0, 8)) + encode_hashes()
    return found + [head + bytes((len(one),)) + one for one in IDENTIFIERS.values()]


TARGETS = (
    Target("names", names, _name_seeds),
    Target("signatures", signatures, _signature_seeds),
    Target("certificates", certificates, _certificate_seeds),
    Target("chains", chains, _chain_seeds),
    Target("crls", lists, _list_seeds),
    Target("ocsp-responses", responses, _response_seeds),
)
