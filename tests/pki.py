"""Certificates for tests: authorities of every key type, what they issue, what they take back.

Everything is made in memory with the library; `pem` and `write` are for programs that read files.
Times are relative to `NOW`.
"""

import datetime
import functools
import ipaddress
import subprocess
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from node.trust.certificate import Certificate, read_certificate
from proto.ike.signature import PrivateKey

NOW = 1_800_000_000.0
DAY_S = 86_400.0
Hash = hashes.SHA256 | hashes.SHA384 | hashes.SHA512

_CURVES: dict[str, ec.EllipticCurve] = {
    "p256": ec.SECP256R1(),
    "p384": ec.SECP384R1(),
    "p521": ec.SECP521R1(),
    "k256": ec.SECP256K1(),
}
KINDS = ("rsa", "p256", "p384", "p521", "ed25519", "ed448")


@functools.cache
def key(kind: str, number: int = 0) -> PrivateKey:
    """A key of that kind, `rsa`, `rsa1024`, `p256`, …; the same for the same number."""
    del number
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:] or 2048))
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "ed448":
        return ed448.Ed448PrivateKey.generate()
    return ec.generate_private_key(_CURVES[kind])


_numbers = iter(range(1, 1 << 30))


def _fresh(kind: str, subject: str) -> PrivateKey:
    """A key of its own; of RSA, which takes its time, the same for the same subject."""
    number = zlib.crc32(subject.encode()) if kind.startswith("rsa") else next(_numbers)
    return key(kind, number)


def name(text: str) -> x509.Name:
    """RFC 4514 text, or a common name alone."""
    return x509.Name.from_rfc4514_string(text if "=" in text or not text else f"CN={text}")


def when(wall_s: float) -> datetime.datetime:
    """As the library wants it."""
    return datetime.datetime.fromtimestamp(wall_s, datetime.UTC)


def general(text: str) -> x509.GeneralName:
    """`fqdn:`, `rfc822:`, `ip:`, `net:` (constraints), `dn:`, `uri:` → a general name."""
    kind, _, value = text.partition(":")
    if kind == "ip":
        return x509.IPAddress(ipaddress.ip_address(value))
    if kind == "net":
        return x509.IPAddress(ipaddress.ip_network(value))
    if kind == "dn":
        return x509.DirectoryName(name(value))
    kinds = {
        "fqdn": x509.DNSName,
        "rfc822": x509.RFC822Name,
        "uri": x509.UniformResourceIdentifier,
    }
    return kinds[kind](value)


def usage(*bits: str) -> x509.KeyUsage:
    """A keyUsage with these bits."""
    every = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement"
        " key_cert_sign crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**{bit: bit in bits for bit in every.split()})


def hash_for(signer: PrivateKey, wanted: Hash | None = None) -> Hash | None:
    """What that key signs over."""
    if isinstance(signer, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
        return None
    return wanted or hashes.SHA256()


def openssl(folder: Path, arguments: str) -> subprocess.CompletedProcess[bytes]:
    """What openssl's command makes of it, in `folder`."""
    return subprocess.run(
        ["openssl", *arguments.split()], cwd=folder, capture_output=True, check=False
    )


class Issued(NamedTuple):
    """A certificate with its key."""

    parsed: x509.Certificate
    key: PrivateKey

    @property
    def read(self) -> Certificate:
        """As `node.trust` sees it."""
        return read_certificate(self.parsed)

    @property
    def der(self) -> bytes:
        """The certificate."""
        return self.parsed.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.parsed.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key, PKCS #8."""
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def write(self, folder: Path, stem: str, above: Sequence["Issued"] = ()) -> tuple[str, str]:
        """The names of a certificate file, with the authorities `above` it, and a key file."""
        cert, secret = folder / f"{stem}.pem", folder / f"{stem}.key"
        cert.write_bytes(b"".join(one.pem for one in (self, *above)))
        secret.touch(mode=0o600)
        secret.write_bytes(self.key_pem)
        return str(cert), str(secret)


class Authority(NamedTuple):
    """One that issues."""

    own: Issued

    @classmethod
    def root(cls, subject: str = "root", kind: str = "p256", **changed: object) -> "Authority":
        """An anchor; see `_certificate` for what may be changed."""
        secret = _fresh(kind, subject)
        given: dict[str, object] = {"is_ca": True, **changed}
        return cls(
            Issued(_certificate(name(subject), secret, name(subject), secret, **given), secret)  # type: ignore[arg-type]
        )

    def authority(
        self, subject: str = "intermediate", kind: str = "p256", **changed: object
    ) -> "Authority":
        """One below this one."""
        return Authority(self.issue(subject, kind, is_ca=True, **changed))

    def issue(
        self,
        subject: str = "peer",
        kind: str = "p256",
        *,
        secret: PrivateKey | None = None,
        **changed: object,
    ) -> Issued:
        """A certificate; see `_certificate` for what may be changed."""
        secret = secret or _fresh(kind, subject)
        issuer = self.own.parsed.subject
        made = _certificate(name(subject), secret, issuer, self.own.key, **changed)  # type: ignore[arg-type]
        return Issued(made, secret)

    def crl(
        self,
        revoked: Sequence[Issued] = (),
        *,
        number: int = 1,
        at: float = NOW - 60,
        until: float | None = NOW + DAY_S,
        extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
        signer: "Issued | None" = None,
        algorithm: Hash | None = None,
    ) -> bytes:
        """A list of what was taken back, DER."""
        signer = signer or self.own
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.own.parsed.subject)
            .last_update(when(at))
            .next_update(when(until if until is not None else NOW + DAY_S))
            .add_extension(x509.CRLNumber(number), critical=False)
        )
        for one in revoked:
            entry = x509.RevokedCertificateBuilder(one.parsed.serial_number, when(at - 60))
            builder = builder.add_revoked_certificate(entry.build())
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        made = builder.sign(signer.key, hash_for(signer.key, algorithm))
        return made.public_bytes(serialization.Encoding.DER)

    def ocsp(
        self,
        about: Issued,
        status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
        *,
        at: float = NOW - 60,
        until: float | None = NOW + 3600,
        nonce: bytes | None = None,
        signer: Issued | None = None,
        shown: Sequence[Issued] = (),
        algorithm: Hash | None = None,
        by_name: bool = False,
    ) -> bytes:
        """An OCSPResponse about a certificate of ours, DER."""
        signer = signer or self.own
        revoked = status is ocsp.OCSPCertStatus.REVOKED
        builder = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                about.parsed,
                self.own.parsed,
                hashes.SHA1(),  # noqa: S303
                status,
                when(at),
                None if until is None else when(until),
                when(at - 60) if revoked else None,
                None,
            )
            .responder_id(
                ocsp.OCSPResponderEncoding.NAME if by_name else ocsp.OCSPResponderEncoding.HASH,
                signer.parsed,
            )
        )
        if shown:
            builder = builder.certificates([one.parsed for one in shown])
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        made = builder.sign(signer.key, hash_for(signer.key, algorithm))
        return made.public_bytes(serialization.Encoding.DER)


def _certificate(
    subject: x509.Name,
    secret: PrivateKey,
    issuer: x509.Name,
    signer: PrivateKey,
    *,
    names: Sequence[str] = (),
    is_ca: bool | None = False,
    path_length: int | None = None,
    key_usage: x509.KeyUsage | str | None = "fitting",
    purposes: Sequence[x509.ObjectIdentifier] = (),
    begins: float = NOW - DAY_S,
    ends: float = NOW + 30 * DAY_S,
    permitted: Sequence[str] | None = None,
    excluded: Sequence[str] | None = None,
    crl_urls: Sequence[str] = (),
    ocsp_urls: Sequence[str] = (),
    identifiers: bool = True,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    algorithm: Hash | None = None,
    serial: int | None = None,
) -> x509.Certificate:
    """One certificate. `key_usage`: None leaves it out; `is_ca` None: no basicConstraints."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(secret.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(when(begins))
        .not_valid_after(when(ends))
    )
    added: list[tuple[x509.ExtensionType, bool]] = []
    if is_ca is not None:
        added.append((x509.BasicConstraints(is_ca, path_length), True))
    if isinstance(key_usage, str):
        key_usage = usage("key_cert_sign", "crl_sign") if is_ca else usage("digital_signature")
    if key_usage is not None:
        added.append((key_usage, True))
    if purposes:
        added.append((x509.ExtendedKeyUsage(purposes), False))
    if names:
        added.append((x509.SubjectAlternativeName([general(one) for one in names]), False))
    if permitted is not None or excluded is not None:
        trees = [None if one is None else list(map(general, one)) for one in (permitted, excluded)]
        added.append((x509.NameConstraints(*trees), True))
    if identifiers:
        added.append((x509.SubjectKeyIdentifier.from_public_key(secret.public_key()), False))
        above = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        added.append((above, False))
    added += [*_sources(crl_urls, ocsp_urls), *extensions]
    for extension, critical in added:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer, hash_for(signer, algorithm))


def _sources(
    crl_urls: Sequence[str], ocsp_urls: Sequence[str]
) -> list[tuple[x509.ExtensionType, bool]]:
    """Where it is said whether a certificate was taken back."""
    added: list[tuple[x509.ExtensionType, bool]] = []
    if crl_urls:
        points = [
            x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)
            for url in crl_urls
        ]
        added.append((x509.CRLDistributionPoints(points), False))
    if ocsp_urls:
        access = [
            x509.AccessDescription(
                AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(url)
            )
            for url in ocsp_urls
        ]
        added.append((x509.AuthorityInformationAccess(access), False))
    return added


def padding(octets: int) -> tuple[x509.ExtensionType, bool]:
    """An extension that makes a certificate so much longer, and says nothing."""
    oid = x509.ObjectIdentifier("1.3.6.1.4.1.32473.1")  # RFC 5612: for examples
    return x509.UnrecognizedExtension(oid, bytes(octets)), False
