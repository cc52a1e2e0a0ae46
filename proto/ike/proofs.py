"""Who has proven what: AUTH of every method but a resumption's, made and checked, and the errands
that tell whom a certificate or an EAP method has authenticated.

Rules: every comparison is constant-time; what a peer is told never says why. A shared secret that
nobody has is compared with as any other: an unknown identity takes as long as a wrong key. RFC 7296
2.15, 2.16; RFC 7427; RFC 7619 2.1; RFC 5998 3.
"""

import hmac

import msgspec

from proto.ike import auth, signature
from proto.ike.connection import Method, OwnKey
from proto.ike.enums import AuthMethod, NotifyType
from proto.ike.errands import Errand, Result
from proto.ike.errors import PeerError
from proto.ike.identity import Identity
from proto.ike.payloads import AuthPayload, CertPayload
from proto.ike.signature import PublicKey
from proto.secret import Secret

_SHARED_KEY_MIC = AuthMethod.SHARED_KEY_MIC
_NULL = AuthMethod.NULL_AUTHENTICATION
_NOBODYS = Secret(bytes(32))

EAP_PREFIX = "eap-"
"""Of a method's name in `SaCore.auth_method`."""

SIGNATURES = (
    AuthMethod.RSA_DIGITAL_SIGNATURE,
    AuthMethod.ECDSA_SHA256_P256,
    AuthMethod.ECDSA_SHA384_P384,
    AuthMethod.ECDSA_SHA512_P521,
    AuthMethod.DIGITAL_SIGNATURE,
)


class CheckChain(Errand, frozen=True):
    """Is the peer whom its certificates say, and are they good today?"""

    connection: str
    """Its name; the default one's for a client."""
    identity: Identity
    """What its ID payload claims: the certificate must be for it (RFC 4945 3.1)."""
    certificates: tuple[CertPayload, ...]
    """As they came, the peer's own first (RFC 7296 3.6)."""
    address: str
    """Where the peer sends from."""
    is_gateway: bool
    """Is the peer a gateway, and we a client of its?"""


class ChainChecked(Result, frozen=True):
    """What came of it."""

    key: PublicKey | None
    """With which AUTH is to be checked; None: refused."""
    why: str = ""
    """Why; one line for the log."""
    subject: str = ""
    """For people."""
    certificate: bytes = b""
    """What its revocation is about, as octets: kept in tickets (RFC 5723 5, note 2)."""
    expires_wall_s: float = float("inf")
    """When the first certificate of the chain does."""


class EapAsked(msgspec.Struct, frozen=True):
    """Whose conversation begins."""

    connection: str
    identity: str
    """What IDi names, without its kind."""
    remote: str
    """The address that the peer comes from."""
    methods: tuple[str, ...]
    """Those that its connection allows; none: all that there are."""


class EapStep(Errand, frozen=True):
    """One round of EAP: what a packet leads to."""

    spi: bytes
    """Ours of the IKE SA: the conversation's name."""
    packet: bytes
    """The other side's; empty: the gateway is to begin."""
    asked: EapAsked | None = None
    """With the first packet only."""


class EapDone(msgspec.Struct, frozen=True):
    """An EAP method has authenticated the other side."""

    identity: str
    """Whom, as the method names it: policy goes by it (RFC 7296 2.16)."""
    method: str
    """By which one, for the ticket."""
    msk: Secret | None
    """The key it has made; None: it makes none."""
    is_safe: bool
    """Mutual, key-making and proof against dictionaries: good enough alone (RFC 5998 4)."""
    lifetime_s: float | None = None
    """After which it has to be repeated, if limited."""
    certificate: bytes = b""
    """See `ChainChecked`, of this and the next one."""
    expires_wall_s: float = float("inf")


class EapStepped(Result, frozen=True):
    """What came of it."""

    packet: bytes = b""
    """The next one of ours; empty: there is none."""
    done: EapDone | None = None
    why: str = ""
    """Not empty: it has failed; a line for the log."""


def begins_with(proof: AuthPayload | None) -> Method:
    """What a request of IKE_AUTH proves, by its AUTH; none at all asks for EAP."""
    if proof is None:
        return Method.EAP
    if proof.method == _SHARED_KEY_MIC:
        return Method.PSK
    return Method.NULL if proof.method == _NULL else Method.CERTIFICATE


def make_shared(
    prf_id: int, secret: Secret, octets: bytes, *, is_null: bool = False
) -> AuthPayload:
    """AUTH with a shared secret: a pre-shared key, an MSK, or SK_pi and SK_pr themselves."""
    method = _NULL if is_null else _SHARED_KEY_MIC
    return AuthPayload(method, auth.psk_auth(prf_id, secret, octets))


def check_shared(
    prf_id: int, secret: Secret | None, octets: bytes, proof: AuthPayload, *, is_null: bool = False
) -> bool:
    """Is it that? `secret` is None where there is none to be had: then it never is."""
    made = make_shared(prf_id, secret or _NOBODYS, octets, is_null=is_null)
    good = hmac.compare_digest(proof.data, made.data)
    return good and proof.method == made.method and secret is not None


def make_signed(own: OwnKey, octets: bytes, announced: frozenset[int] | None) -> AuthPayload:
    """AUTH with our private key, for a peer that `announced` these hashes.

    Raises PeerError AUTHENTICATION_FAILED where it couldn't check it.
    """
    scheme = signature.choose(own.key, announced)
    if scheme is None:
        why = "the peer knows none of the hashes that our key can sign with"
        raise PeerError(NotifyType.AUTHENTICATION_FAILED, why=why)
    return AuthPayload(scheme.method, signature.sign(own.key, scheme, octets))


def check_signed(
    key: PublicKey, octets: bytes, proof: AuthPayload, announced: frozenset[int] | None
) -> None:
    """Raises PeerError AUTHENTICATION_FAILED unless `proof` signs `octets` under `key`.

    `announced`: the peer's hashes; None where one of the two sides announced none.
    """
    ours = None if announced is None else signature.ANNOUNCED
    signature.verify(key, proof.method, proof.data, octets, ours)
