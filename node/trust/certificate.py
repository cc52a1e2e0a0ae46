"""One X.509 certificate: what path validation and identity need of it, read once.

Rules: whatever can't be read makes the certificate unfit, at once and as a whole; a critical
extension that nobody here understands too. Who reads it hasn't authenticated it: sizes are bounded.
RFC 5280 4; RFC 4945 5.1.
"""

import hashlib
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    ExtensionOID,
)

from proto.ike.dn import decode_name, format_name
from proto.ike.errors import WireError

T = TypeVar("T", bound=x509.ExtensionType)

CERTIFICATE_OCTETS_MAX = 16_384
NAMES_MAX = 256
"""Names in one subjectAltName, and constraints in one nameConstraints."""
URLS_MAX = 4
"""Of each kind that one certificate may name; more are ignored."""
SERIAL_END = 1 << 160
"""Serial numbers have 20 octets at most (RFC 5280 4.1.2.2)."""
TEXT_MAX = 120
ISSUER_ID_LEN = 8

IPSEC_IKE = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.17")
IKE_INTERMEDIATE = x509.ObjectIdentifier("1.3.6.1.5.5.8.2.2")
"""What older Windows and Apple systems ask of a gateway's certificate."""
IKE_PURPOSES = frozenset((IPSEC_IKE, IKE_INTERMEDIATE, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE))
"""extKeyUsage that is for IKE (RFC 4945 5.1.3.12)."""
TLS_PURPOSES = frozenset((ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH))

_UNDERSTOOD = frozenset(
    (
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.NAME_CONSTRAINTS,
        # no policy is asked for, so none can be missing (RFC 5280 6.1.1 (c) to (f))
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.POLICY_MAPPINGS,
        ExtensionOID.INHIBIT_ANY_POLICY,
        # said where it was got from, not what it is
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.CRL_DISTRIBUTION_POINTS,
        ExtensionOID.AUTHORITY_INFORMATION_ACCESS,
        ExtensionOID.OCSP_NO_CHECK,
    )
)
_WEAK = (hashes.MD5, hashes.SHA1)
UNREADABLE = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises for octets that aren't what they ought to be."""


class Unfit(Exception):
    """A certificate, a list or a response isn't taken; one line says why."""


class CertificateId(msgspec.Struct, frozen=True, order=True):
    """What a revocation is about."""

    issuer: bytes
    """`issuer_id` of who issued it."""
    serial: int

    def encode(self) -> bytes:
        """`| issuer 8 | serial … |`, for a ticket."""
        return self.issuer + self.serial.to_bytes((self.serial.bit_length() + 7) // 8 or 1, "big")

    @classmethod
    def decode(cls, octets: bytes) -> "CertificateId":
        """Takes any octets."""
        return cls(octets[:ISSUER_ID_LEN], int.from_bytes(octets[ISSUER_ID_LEN:], "big"))


class Certificate(msgspec.Struct, frozen=True, eq=False):
    """See the module. Compared by identity; `der` says what it is."""

    parsed: x509.Certificate
    der: bytes
    subject: bytes
    """DER, and `issuer` too."""
    issuer: bytes
    spki: bytes
    """SubjectPublicKeyInfo, DER."""
    key: PublicKeyTypes
    serial: int
    not_before_wall_s: float
    not_after_wall_s: float
    is_ca: bool
    path_length: int | None
    """How many CAs may come below it; None: any number."""
    usage: x509.KeyUsage | None
    purposes: frozenset[x509.ObjectIdentifier] | None
    """extKeyUsage; None: any."""
    subject_key_id: bytes
    authority_key_id: bytes
    """Of the issuer's key; empty where it isn't said."""
    names: tuple[x509.GeneralName, ...]
    """subjectAltName."""
    constraints: x509.NameConstraints | None
    crl_urls: tuple[str, ...]
    ocsp_urls: tuple[str, ...]
    no_ocsp_check: bool

    def __repr__(self) -> str:
        return f"<Certificate {self.text}>"

    @property
    def text(self) -> str:
        """Its subject, for people: printable, and not too long."""
        try:
            shown = format_name(decode_name(self.subject))[:TEXT_MAX]
        except WireError:
            shown = ""
        return shown or f"serial {self.serial:x}"

    @property
    def self_issued(self) -> bool:
        """Are issuer and subject one? (RFC 5280 3.2)"""
        return self.subject == self.issuer

    @property
    def issuer_id(self) -> bytes:
        """Names it as an issuer: the first 8 octets of SHA-256(subject ‖ SubjectPublicKeyInfo)."""
        return hashlib.sha256(self.subject + self.spki).digest()[:ISSUER_ID_LEN]

    @property
    def key_hash(self) -> bytes:
        """SHA-1 of SubjectPublicKeyInfo, as CERTREQ names an anchor (RFC 7296 3.7)."""
        return hashlib.sha1(self.spki, usedforsecurity=False).digest()

    def id_below(self, issuer: "Certificate") -> CertificateId:
        """Its name in a revocation, issued by `issuer`."""
        return CertificateId(issuer.issuer_id, self.serial)


def decode_certificate(der: bytes) -> Certificate:
    """Raises Unfit."""
    if len(der) > CERTIFICATE_OCTETS_MAX:
        raise Unfit(f"a certificate of {len(der)} octets")
    try:
        return read_certificate(x509.load_der_x509_certificate(der), der)
    except UNREADABLE as error:
        raise Unfit(f"a certificate that can't be read: {one_line(error)}") from None


def read_certificate(parsed: x509.Certificate, der: bytes = b"") -> Certificate:
    """The same of one that the library has read. Raises Unfit, and what the library raises."""
    found = {extension.oid: extension for extension in parsed.extensions}
    for oid, extension in found.items():
        if extension.critical and oid not in _UNDERSTOOD:
            raise Unfit(f"critical extension {oid.dotted_string}")
    if parsed.version is not x509.Version.v3:
        raise Unfit(f"a certificate of version {parsed.version.value + 1}")
    serial = parsed.serial_number
    if not 0 <= serial < SERIAL_END:
        raise Unfit("a certificate with no serial number")
    key = parsed.public_key()
    basic = _value(found, x509.BasicConstraints)
    purposes = _value(found, x509.ExtendedKeyUsage)
    names = _value(found, x509.SubjectAlternativeName)
    subject_key = _value(found, x509.SubjectKeyIdentifier)
    authority_key = _value(found, x509.AuthorityKeyIdentifier)
    return Certificate(
        parsed=parsed,
        der=der or parsed.public_bytes(Encoding.DER),
        subject=parsed.subject.public_bytes(),
        issuer=parsed.issuer.public_bytes(),
        spki=key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        key=key,
        serial=serial,
        not_before_wall_s=parsed.not_valid_before_utc.timestamp(),
        not_after_wall_s=parsed.not_valid_after_utc.timestamp(),
        is_ca=basic is not None and basic.ca,
        path_length=None if basic is None else basic.path_length,
        usage=_value(found, x509.KeyUsage),
        purposes=None if purposes is None else frozenset(purposes),
        subject_key_id=b"" if subject_key is None else subject_key.digest,
        authority_key_id=(authority_key and authority_key.key_identifier) or b"",
        names=_bounded(() if names is None else tuple(names)),
        constraints=_constraints(_value(found, x509.NameConstraints)),
        crl_urls=_crl_urls(_value(found, x509.CRLDistributionPoints)),
        ocsp_urls=_ocsp_urls(_value(found, x509.AuthorityInformationAccess)),
        no_ocsp_check=ExtensionOID.OCSP_NO_CHECK in found,
    )


def weak_hash(signed: x509.Certificate | x509.CertificateRevocationList) -> str | None:
    """The name of the hash that it is signed with, where that proves nothing any more."""
    algorithm = signed.signature_hash_algorithm
    return algorithm.name if isinstance(algorithm, _WEAK) else None


def one_line(error: Exception) -> str:
    """What a library says, for a log."""
    return (str(error).splitlines() or [type(error).__name__])[0][:80]


def _value(found: Mapping[x509.ObjectIdentifier, object], kind: type[T]) -> T | None:
    extension = found.get(kind.oid)
    value = extension.value if isinstance(extension, x509.Extension) else None
    return value if isinstance(value, kind) else None


def _bounded(names: tuple[x509.GeneralName, ...]) -> tuple[x509.GeneralName, ...]:
    if len(names) > NAMES_MAX:
        raise Unfit(f"a certificate with {len(names)} names")
    return names


def _constraints(constraints: x509.NameConstraints | None) -> x509.NameConstraints | None:
    if constraints is not None:
        for trees in (constraints.permitted_subtrees, constraints.excluded_subtrees):
            _bounded(tuple(trees or ()))
    return constraints


def _crl_urls(points: x509.CRLDistributionPoints | None) -> tuple[str, ...]:
    """Where the full list is: points for some reasons only, or of another issuer, aren't."""
    return tuple(
        name.value
        for point in points or ()
        if point.reasons is None and point.crl_issuer is None
        for name in point.full_name or ()
        if isinstance(name, x509.UniformResourceIdentifier)
    )[:URLS_MAX]


def _ocsp_urls(access: x509.AuthorityInformationAccess | None) -> tuple[str, ...]:
    return tuple(
        one.access_location.value
        for one in access or ()
        if one.access_method == AuthorityInformationAccessOID.OCSP
        and isinstance(one.access_location, x509.UniformResourceIdentifier)
    )[:URLS_MAX]
