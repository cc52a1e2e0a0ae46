"""Our own certificates: read, checked against themselves, and chosen for a peer.

Rules: a certificate file holds ours first, then those above it; an authority's own certificate in
it isn't sent, since who doesn't have it wouldn't believe it. Among several that speak for an
identity, one wins that the peer can check and whose authority he has asked for (RFC 7296 3.7); his
CERTREQ is advice, so there is always one. What is wrong with the files is one line each.
"""

import datetime
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from node.toml_strict import file_problem
from node.trust.certificate import UNREADABLE, Certificate, Unfit, one_line, read_certificate
from node.trust.names import speaks_for
from node.trust.path import CERTIFICATES_MAX
from proto.ike.enums import CertEncoding, IdType
from proto.ike.identity import Identity
from proto.ike.payloads import CertPayload, CertreqPayload
from proto.ike.signature import PrivateKey, choose, key_problem

FILE_OCTETS_MAX = 1 << 20
HASH_LEN = 20


class Wrong(Exception):
    """A file that isn't what it has to be: (what is given, what would be right)."""

    def __init__(self, given: str, right: str) -> None:
        super().__init__(f"{given} → {right}")
        self.given = given
        self.right = right


class Own(msgspec.Struct, frozen=True, eq=False):
    """One certificate of ours with its key."""

    certificate: Certificate
    above: tuple[Certificate, ...]
    """As the file has them."""
    key: PrivateKey
    asked_by: frozenset[bytes] = frozenset()
    """SHA-1 hashes of the keys above it, by which a CERTREQ asks for it."""

    def __repr__(self) -> str:
        return f"<Own {self.certificate.text}>"

    def payloads(self) -> tuple[CertPayload, ...]:
        """What is sent of it: each but authorities that have issued themselves."""
        sent = (self.certificate, *(one for one in self.above if not one.self_issued))
        return tuple(CertPayload(CertEncoding.X509_SIGNATURE, one.der) for one in sent)


def load_certificates(file: str) -> tuple[Certificate, ...]:
    """The certificates of a PEM file. Raises Wrong."""
    wrong = file_problem(file, secret=False)
    if wrong is not None:
        raise Wrong(*wrong)
    try:
        with Path(file).open("rb") as opened:
            octets = opened.read(FILE_OCTETS_MAX + 1)
        if len(octets) > FILE_OCTETS_MAX:
            raise Wrong(f"{file} has more than {FILE_OCTETS_MAX} octets", "a PEM file")
        return tuple(map(read_certificate, x509.load_pem_x509_certificates(octets)))
    except Unfit as error:
        raise Wrong(f"{file}: {error}", "certificates that can be used") from None
    except UNREADABLE as error:
        raise Wrong(f"{file} holds no certificate ({one_line(error)})", "PEM") from None


def load_anchors(file: str) -> tuple[Certificate, ...]:
    """The authorities of a PEM file. Raises Wrong."""
    found = load_certificates(file)
    for one in found:
        if not one.is_ca:
            raise Wrong(f"{file}: {one.text} is no authority", "certificates of authorities only")
        if (problem := key_problem(one.key)) is not None:
            raise Wrong(f"{file}: {one.text} has a weak key: {problem}", "a stronger authority")
    return found


def load_key(file: str) -> PrivateKey:
    """The private key of a PEM file, mode 0600. Raises Wrong."""
    wrong = file_problem(file, secret=True)
    if wrong is not None:
        raise Wrong(*wrong)
    try:
        key = serialization.load_pem_private_key(Path(file).read_bytes(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Wrong(f"{file} holds no private key", "a private key as PEM, not encrypted") from None
    problem = key_problem(key.public_key())
    if problem is not None or not isinstance(key, PrivateKey):
        raise Wrong(f"{file}: {problem}", "a key of RSA, ECDSA, Ed25519 or Ed448")
    return key


def pair(chain: Sequence[Certificate], key: PrivateKey) -> Own:
    """A certificate with what is above it, as its file has them, and its key. Raises Wrong."""
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if chain[0].spki != public:
        raise Wrong("is another certificate's key", f"the key of {chain[0].text}")
    return Own(chain[0], tuple(chain[1:CERTIFICATES_MAX]), key)


def below(own: Own, anchors: Iterable[Certificate]) -> Own:
    """The same, found by whoever asks for what is above it, of `anchors` too."""
    above = [own.certificate, *own.above]
    issuers = {one.issuer for one in above}
    known = [one for one in anchors if one.subject in issuers]
    hashes = frozenset(one.key_hash for one in (*own.above, *known))
    return msgspec.structs.replace(own, asked_by=hashes)


def check_now(own: Own, now_wall_s: float) -> None:
    """Raises Wrong unless it is valid now."""
    one = own.certificate
    if not one.not_before_wall_s <= now_wall_s <= one.not_after_wall_s:
        begins, ends = one.parsed.not_valid_before_utc, one.parsed.not_valid_after_utc
        valid = f"{begins:%Y-%m-%d} to {ends:%Y-%m-%d}"
        today = datetime.datetime.fromtimestamp(now_wall_s, datetime.UTC)
        raise Wrong(f"{one.text} is valid from {valid}", f"one that is valid on {today:%Y-%m-%d}")


def names_of(own: Own) -> str:
    """The identities that it speaks for, for people."""
    one = own.certificate
    listed = [f"dn:{one.text}"] if one.parsed.subject.rdns else []
    listed += [f"{_KINDS[type(name)]}:{name.value}" for name in one.names if type(name) in _KINDS]
    return ", ".join(listed[:8]) or "nobody"


_KINDS = {x509.DNSName: "fqdn", x509.RFC822Name: "rfc822", x509.IPAddress: "ip"}


def choose_own(
    all_of_ours: Sequence[Own],
    identity: Identity,
    requests: Sequence[CertreqPayload],
    announced: Collection[int] | None,
) -> Own | None:
    """Ours for that identity: one that the peer asked for, if there is such a one, and whose
    signature he can check. `announced`: see `proto.ike.signature.choose`.
    """
    usable = [
        own
        for own in all_of_ours
        if speaks_for(own.certificate, *identity) and choose(own.key, announced) is not None
    ]
    asked = {
        one.data[at : at + HASH_LEN]
        for one in requests
        if one.encoding == CertEncoding.X509_SIGNATURE
        for at in range(0, len(one.data), HASH_LEN)
    }
    return next((own for own in usable if asked & own.asked_by), usable[0] if usable else None)


def exact(all_of_ours: Sequence[Own], identity: Identity) -> Identity:
    """`identity` as our certificate has it: a distinguished name octet for octet, since peers
    compare it so (RFC 4945 3.1.5).
    """
    for own in all_of_ours:
        if identity[0] == IdType.ID_DER_ASN1_DN and speaks_for(own.certificate, *identity):
            return identity[0], own.certificate.subject
    return identity
