"""Certificate revocation lists: what is in one, and all that are held.

Rules: a list counts once its issuer's signature was checked, and never less than an older one of
the same scope. What it says is revoked stays so after its nextUpdate; that something isn't, it only
says until then. Lists in parts, by distribution point or kind of certificate, count for that part.
Indirect ones, deltas and those for some reasons only aren't taken: they'd say less than they seem
to. RFC 5280 5, 6.3.
"""

from collections.abc import Iterator

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtensionOID

from node.trust.certificate import (
    UNREADABLE,
    Certificate,
    CertificateId,
    Unfit,
    one_line,
    weak_hash,
)
from proto.ike.signature import key_problem

CRL_OCTETS_MAX = 8 << 20
ISSUERS_MAX = 256
SCOPES_MAX = 16
"""Lists of one issuer, each for a part."""
SKEW_S = 300.0
"""How far an issuer's clock may be from ours."""

_UNDERSTOOD = frozenset(
    (
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.CRL_NUMBER,
        ExtensionOID.ISSUING_DISTRIBUTION_POINT,
    )
)


class Scope(msgspec.Struct, frozen=True):
    """Which certificates of its issuer a list is about."""

    points: frozenset[str] = frozenset()
    """Those that name one of these distribution points; empty: all."""
    peers_only: bool = False
    authorities_only: bool = False

    def covers(self, certificate: Certificate) -> bool:
        """Is the list about this one?"""
        if self.authorities_only and not certificate.is_ca:
            return False
        if self.peers_only and certificate.is_ca:
            return False
        return not self.points or not self.points.isdisjoint(certificate.crl_urls)


class Crl(msgspec.Struct, frozen=True):
    """One list, whose signature was checked."""

    issuer: bytes
    """`Certificate.issuer_id`."""
    scope: Scope
    this_update_wall_s: float
    next_update_wall_s: float
    serials: frozenset[int] = frozenset()

    def __repr__(self) -> str:
        return f"<Crl of {self.issuer.hex()}, {len(self.serials)} serials>"


def decode_crl(octets: bytes) -> x509.CertificateRevocationList:
    """A list as DER or PEM; nothing is checked yet. Raises Unfit."""
    if len(octets) > CRL_OCTETS_MAX:
        raise Unfit(f"a CRL of {len(octets)} octets")
    try:
        if octets.lstrip().startswith(b"-----BEGIN"):
            return x509.load_pem_x509_crl(octets)
        return x509.load_der_x509_crl(octets)
    except UNREADABLE as error:
        raise Unfit(f"no CRL: {one_line(error)}") from None


def issuer_name(parsed: x509.CertificateRevocationList) -> bytes:
    """Whose it says it is, DER. Raises Unfit."""
    try:
        return parsed.issuer.public_bytes()
    except UNREADABLE as error:
        raise Unfit(f"no CRL: {one_line(error)}") from None


def check_crl(
    parsed: x509.CertificateRevocationList, issuer: Certificate, now_wall_s: float
) -> Crl:
    """The list, still without its serials, if `issuer` has signed it and it says what it seems to.
    Raises Unfit.
    """
    try:
        return _check_crl(parsed, issuer, now_wall_s)
    except UNREADABLE as error:
        raise Unfit(f"CRL of {issuer.text}: {one_line(error)}") from None
    except InvalidSignature:
        raise Unfit(f"CRL of {issuer.text}: not signed by it") from None


def _check_crl(
    parsed: x509.CertificateRevocationList, issuer: Certificate, now_wall_s: float
) -> Crl:
    where = f"CRL of {issuer.text}"
    usage = issuer.usage
    if parsed.issuer.public_bytes() != issuer.subject:
        raise Unfit(f"{where}: another issuer's")
    if usage is not None and not usage.crl_sign:
        raise Unfit(f"{where}: its keyUsage isn't for CRLs")
    if (weak := weak_hash(parsed)) is not None:
        raise Unfit(f"{where}: signed over {weak}")
    if (problem := key_problem(issuer.key)) is not None:
        raise Unfit(f"{where}: {problem}")
    if not parsed.is_signature_valid(issuer.key):  # type: ignore[arg-type]  # key_problem: one of
        raise InvalidSignature
    begins_s, ends = parsed.last_update_utc.timestamp(), parsed.next_update_utc
    if begins_s > now_wall_s + SKEW_S:
        raise Unfit(f"{where}: of a time to come")
    if ends is None:
        raise Unfit(f"{where}: without nextUpdate")
    return Crl(
        issuer=issuer.issuer_id,
        scope=_scope(parsed, where),
        this_update_wall_s=begins_s,
        next_update_wall_s=ends.timestamp(),
    )


def serials_of(parsed: x509.CertificateRevocationList) -> Iterator[int]:
    """What is on the list, about 2 µs each. Raises Unfit."""
    try:
        for entry in parsed:
            yield entry.serial_number
    except UNREADABLE as error:
        raise Unfit(f"a CRL that can't be read: {one_line(error)}") from None


def _scope(parsed: x509.CertificateRevocationList, where: str) -> Scope:
    """Raises Unfit for a list that says less than it seems to."""
    scope = Scope()
    for extension in parsed.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise Unfit(f"{where}: critical extension {extension.oid.dotted_string}")
        point = extension.value
        if isinstance(point, x509.IssuingDistributionPoint):
            if (
                point.indirect_crl
                or point.only_some_reasons is not None
                or point.only_contains_attribute_certs
                or point.relative_name is not None
            ):
                raise Unfit(f"{where}: indirect, or only in part")
            names = [
                name.value
                for name in point.full_name or ()
                if isinstance(name, x509.UniformResourceIdentifier)
            ]
            if point.full_name and not names:
                raise Unfit(f"{where}: for a distribution point without a URL")
            scope = Scope(
                frozenset(names), point.only_contains_user_certs, point.only_contains_ca_certs
            )
    return scope


class CrlStore:
    """Every list that is held."""

    def __init__(self) -> None:
        self._by_issuer: dict[bytes, dict[Scope, Crl]] = {}

    def add(self, crl: Crl) -> bool:
        """Hold it, unless one of the same scope is as new. Beyond a bound the oldest go."""
        held = self._by_issuer.setdefault(crl.issuer, {})
        known = held.get(crl.scope)
        if known is not None and known.this_update_wall_s >= crl.this_update_wall_s:
            return False
        held[crl.scope] = crl
        if len(held) > SCOPES_MAX:
            del held[min(held, key=lambda scope: held[scope].this_update_wall_s)]
        if len(self._by_issuer) > ISSUERS_MAX:
            del self._by_issuer[next(iter(self._by_issuer))]
        return True

    def revoked(self, certificate: CertificateId) -> bool:
        """Is it on any list of its issuer?"""
        held = self._by_issuer.get(certificate.issuer)
        return held is not None and any(certificate.serial in crl.serials for crl in held.values())

    def until_wall_s(self, certificate: Certificate, issuer: Certificate) -> float:
        """Until when lists about `certificate` are fresh; 0: there is none."""
        held = self._by_issuer.get(issuer.issuer_id, {})
        return max(
            (crl.next_update_wall_s for crl in held.values() if crl.scope.covers(certificate)),
            default=0.0,
        )
