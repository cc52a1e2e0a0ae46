"""What a test trusts: certificates by their octets, and an EAP method that two sides play.

Rules: whether a chain is good is looked at elsewhere (`tests/unit/node/trust`); here it is what a
test says. The keys are real, so that every signature is.
"""

import hashlib
from datetime import UTC, datetime
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from proto.ike.connection import OwnKey
from proto.ike.enums import CertEncoding
from proto.ike.errands import Errand, Result
from proto.ike.payloads import CertPayload
from proto.ike.proofs import (
    ChainChecked,
    CheckChain,
    EapAsked,
    EapDone,
    EapStep,
    EapStepped,
)
from proto.ike.signature import PrivateKey
from proto.secret import Secret

KINDS = ("rsa", "p256", "p384", "p521", "ed25519", "ed448")
IDENTITY, METHOD = 1, 250
SAFE_METHOD = "password"


@cache
def own_key(kind: str, name: str) -> OwnKey:
    """A key of that kind, with a certificate for `name` that it has signed itself."""
    key = _key(kind)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    from_s = datetime(2026, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(
        subject, subject, key.public_key(), 1, from_s, from_s.replace(year=2046)
    )
    signed = made.sign(key, None if kind.startswith("ed") else hashes.SHA256())
    der = signed.public_bytes(Encoding.DER)
    return OwnKey(key, (CertPayload(CertEncoding.X509_SIGNATURE, der),))


def _key(kind: str) -> PrivateKey:
    match kind:
        case "rsa":
            return rsa.generate_private_key(65537, 2048)
        case "p256" | "p384" | "p521":
            curves = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}
            return ec.generate_private_key(curves[kind])
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            return ed448.Ed448PrivateKey.generate()


class Authority:
    """Says of chains and EAP packets what a verifier and a back end would."""

    def __init__(self) -> None:
        self.trusted: dict[bytes, bytes] = {}
        """Certificate → the identification data that it is for."""
        self.expires_wall_s: dict[bytes, float] = {}
        self.passwords: dict[str, str] = {}
        """What the gateway knows."""
        self.says = ""
        """What the client would say."""
        self.makes_key = True
        self.is_safe = True
        self.lifetime_s: float | None = None
        self.rounds = 3
        self.checked: list[CheckChain] = []
        self.began: list[EapAsked] = []
        self._talking: dict[bytes, tuple[str, int]] = {}

    def trust(self, own: OwnKey, data: bytes) -> None:
        """`own`'s certificate is for the identity with that data."""
        self.trusted[own.shown[0].data] = data

    def come_to(self, errand: Errand) -> Result | None:
        """What comes of it; None: it isn't one for us."""
        if isinstance(errand, CheckChain):
            return self._check(errand)
        return self._eap(errand) if isinstance(errand, EapStep) else None

    def _check(self, errand: CheckChain) -> ChainChecked:
        self.checked.append(errand)
        ders = [p.data for p in errand.certificates if p.encoding == CertEncoding.X509_SIGNATURE]
        der = ders[0] if ders else b""
        if self.trusted.get(der) != errand.identity[1]:
            return ChainChecked(None, "nobody trusts it")
        key = x509.load_der_x509_certificate(der).public_key()
        until_s = self.expires_wall_s.get(der, float("inf"))
        digest = hashlib.sha256(der).digest()[:12]
        return ChainChecked(key, "", "CN", digest, until_s)  # type: ignore[arg-type]

    # -- EAP: | code | identifier | length 2 | type | data |

    def _eap(self, step: EapStep) -> EapStepped:
        if not step.packet or (step.packet[0] == 2):
            return self._serve(step)
        return self._respond(step)

    def _serve(self, step: EapStep) -> EapStepped:
        """The gateway: as many requests as it is told, each wants the password."""
        if step.asked is not None:
            self.began.append(step.asked)
            self._talking[step.spi] = (step.asked.identity, 1)
            return EapStepped(packet(1, 1, METHOD, b"password?"))
        name, at = self._talking[step.spi]
        if step.packet[5:] != self.passwords.get(name, "nobody's").encode():
            return EapStepped(packet(4, at), why="wrong password")
        if at < self.rounds:
            self._talking[step.spi] = (name, at + 1)
            return EapStepped(packet(1, at + 1, METHOD, b"once more?"))
        return EapStepped(packet(3, at), self._done(name, self.passwords[name]))

    def _respond(self, step: EapStep) -> EapStepped:
        """The client says its password to everything."""
        if step.asked is not None:
            self._talking[step.spi] = (step.asked.identity, 0)
        name, _ = self._talking[step.spi]
        code, number = step.packet[0], step.packet[1]
        if code == 1:
            return EapStepped(packet(2, number, METHOD, self.says.encode()))
        if code == 3:
            return EapStepped(done=self._done(name, self.says))
        return EapStepped(why="the server refused")

    def _done(self, name: str, password: str) -> EapDone:
        msk = Secret(hashlib.sha512(password.encode()).digest()) if self.makes_key else None
        return EapDone(name, SAFE_METHOD, msk, self.is_safe, self.lifetime_s)


def packet(code: int, number: int, kind: int = 0, data: bytes = b"") -> bytes:
    """An EAP packet."""
    body = bytes((kind,)) + data if kind else b""
    return bytes((code, number)) + (4 + len(body)).to_bytes(2, "big") + body
