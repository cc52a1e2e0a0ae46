"""OCSP: the request about one certificate, and what a response is worth.

Rules: a response counts when the certificate's issuer has signed it, or a responder that the issuer
has named for that (id-kp-OCSPSigning), or one that the configuration trusts; when it is about this
certificate and this issuer's key; and while it is fresh. A nonce that comes back must be ours; none
may come back, since many responders sign in advance (and those in CERT payloads have none, RFC 4806
5.1). RFC 6960; RFC 8954; RFC 4806.
"""

import datetime
import enum
import hmac
from collections.abc import Iterable, Sequence

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, SignatureAlgorithmOID

from node.trust.certificate import (
    UNREADABLE,
    Certificate,
    Unfit,
    one_line,
    read_certificate,
    weak_hash,
)
from proto.ike.signature import key_problem

OCSP_OCTETS_MAX = 32_768
SINGLES_MAX = 32
"""Certificates that one response may be about."""
RESPONDERS_MAX = 4
"""Certificates in one response that may be the responder's."""
NONCE_OCTETS = 32
SKEW_S = 300.0
"""How far a responder's clock may be from ours."""
AGE_MAX_S = 3600.0
"""How long a response without nextUpdate is fresh: what is newer is always at hand (RFC 6960
4.2.2.1).
"""


class Status(enum.Enum):
    """What a responder says."""

    GOOD = "good"
    REVOKED = "revoked"


class Answer(msgspec.Struct, frozen=True):
    """A response that was checked."""

    status: Status
    this_update_wall_s: float
    until_wall_s: float
    """Fresh until then."""
    der: bytes
    """The OCSPResponse, as it came."""

    def __repr__(self) -> str:
        return f"<Answer {self.status.value}>"


def encode_request(certificate: Certificate, issuer: Certificate, nonce: bytes) -> bytes:
    """An OCSPRequest about `certificate`, DER; names it by SHA-1, as responders look it up (RFC
    5019 2.1.1).
    """
    builder = ocsp.OCSPRequestBuilder().add_certificate(
        certificate.parsed,
        issuer.parsed,
        hashes.SHA1(),  # noqa: S303 - a name, no proof
    )
    if nonce:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def check_response(
    der: bytes,
    certificate: Certificate,
    issuer: Certificate,
    now_wall_s: float,
    *,
    trusted: Sequence[Certificate] = (),
    nonce: bytes = b"",
) -> Answer:
    """What the OCSPResponse `der` says of `certificate`. `nonce`: of our request. Raises Unfit."""
    where = f"OCSP about {certificate.text}"
    if len(der) > OCSP_OCTETS_MAX:
        raise Unfit(f"{where}: {len(der)} octets")
    try:
        response = ocsp.load_der_ocsp_response(der)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise Unfit(f"{where}: {response.response_status.name.lower()}")
        single = _single(response, certificate, issuer)
        _check_signature(response, issuer, trusted, now_wall_s)
        _check_nonce(response, nonce)
        return _fresh(single, der, now_wall_s)
    except Unfit as error:
        text = str(error)
        raise Unfit(text if text.startswith(where) else f"{where}: {text}") from None
    except InvalidSignature:
        raise Unfit(f"{where}: wrong signature") from None
    except UNREADABLE as error:
        raise Unfit(f"{where}: no response: {one_line(error)}") from None


def _single(
    response: ocsp.OCSPResponse, certificate: Certificate, issuer: Certificate
) -> ocsp.OCSPSingleResponse:
    """The part about this certificate (RFC 6960 3.2, 1)."""
    for count, single in enumerate(response.responses):
        if count >= SINGLES_MAX:
            break
        if single.serial_number != certificate.serial:
            continue
        # the library computes what a request would name it by
        asked = (
            ocsp.OCSPRequestBuilder()
            .add_certificate(certificate.parsed, issuer.parsed, single.hash_algorithm)
            .build()
        )
        named = (single.issuer_name_hash, single.issuer_key_hash)
        if named == (asked.issuer_name_hash, asked.issuer_key_hash):
            return single
    raise Unfit("about another certificate")


def _fresh(single: ocsp.OCSPSingleResponse, der: bytes, now_wall_s: float) -> Answer:
    begins_s = single.this_update_utc.timestamp()
    ends: datetime.datetime | None = single.next_update_utc
    until_s = begins_s + AGE_MAX_S if ends is None else ends.timestamp()
    if begins_s > now_wall_s + SKEW_S:
        raise Unfit("of a time to come")
    if until_s < now_wall_s - SKEW_S:
        raise Unfit("out of date")
    if single.certificate_status is ocsp.OCSPCertStatus.REVOKED:
        return Answer(Status.REVOKED, begins_s, until_s, der)
    if single.certificate_status is ocsp.OCSPCertStatus.GOOD:
        return Answer(Status.GOOD, begins_s, until_s, der)
    raise Unfit("unknown to the responder")


def _check_nonce(response: ocsp.OCSPResponse, nonce: bytes) -> None:
    for extension in response.extensions:
        if isinstance(extension.value, x509.OCSPNonce):
            if nonce and not hmac.compare_digest(extension.value.nonce, nonce):
                raise Unfit("another request's nonce")
        elif extension.critical:
            raise Unfit(f"critical extension {extension.oid.dotted_string}")


def _check_signature(
    response: ocsp.OCSPResponse,
    issuer: Certificate,
    trusted: Sequence[Certificate],
    now_wall_s: float,
) -> None:
    """By whom RFC 6960 4.2.2.2 allows. Raises Unfit, InvalidSignature."""
    why: Unfit | InvalidSignature = Unfit("signed by nobody who may")
    for responder in _responders(response, issuer, trusted):
        try:
            _check_responder(responder, now_wall_s)
            _verify(response, responder)
        except (Unfit, InvalidSignature) as error:
            why = error  # another one of that name may have signed it
        else:
            return
    raise why


def _check_responder(responder: Certificate, now_wall_s: float) -> None:
    if (problem := key_problem(responder.key)) is not None:
        raise Unfit(f"responder {responder.text}: {problem}")
    if not responder.not_before_wall_s <= now_wall_s <= responder.not_after_wall_s:
        raise Unfit(f"responder {responder.text}: out of its time")


def _responders(
    response: ocsp.OCSPResponse, issuer: Certificate, trusted: Sequence[Certificate]
) -> Iterable[Certificate]:
    """Who may have signed it, of those whom it names."""
    for one in (issuer, *trusted):
        if _is_named(response, one):
            yield one
    for parsed in response.certificates[:RESPONDERS_MAX]:
        one = read_certificate(parsed)
        if not _is_named(response, one) or one.issuer != issuer.subject:
            continue
        if ExtendedKeyUsageOID.OCSP_SIGNING not in (one.purposes or ()):
            raise Unfit(f"responder {one.text}: not named for that by its issuer")
        if (name := weak_hash(parsed)) is not None:
            raise Unfit(f"responder {one.text}: signed over {name}")
        parsed.verify_directly_issued_by(issuer.parsed)
        yield one


def _is_named(response: ocsp.OCSPResponse, one: Certificate) -> bool:
    by_key, by_name = response.responder_key_hash, response.responder_name
    if by_key is not None:
        return by_key == x509.SubjectKeyIdentifier.from_public_key(one.key).digest  # type: ignore[arg-type]
    return by_name is not None and by_name.public_bytes() == one.subject


def _verify(response: ocsp.OCSPResponse, responder: Certificate) -> None:
    """Raises InvalidSignature, Unfit."""
    key, signature, octets = responder.key, response.signature, response.tbs_response_bytes
    algorithm = response.signature_hash_algorithm
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        key.verify(signature, octets)
        return
    if algorithm is None or isinstance(algorithm, hashes.SHA1 | hashes.MD5):
        raise Unfit("signed over a weak hash")
    if isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, octets, ec.ECDSA(algorithm))
    elif isinstance(key, rsa.RSAPublicKey):
        if response.signature_algorithm_oid == SignatureAlgorithmOID.RSASSA_PSS:
            pss = padding.PSS(padding.MGF1(algorithm), padding.PSS.AUTO)
            key.verify(signature, octets, pss, algorithm)
        else:
            key.verify(signature, octets, padding.PKCS1v15(), algorithm)
