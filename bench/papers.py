"""What the peers of a benchmark prove themselves with, beside a pre-shared key: an authority, keys
and certificates of each kind, a password.

Rules: made anew for each run, in a folder that goes. All peers of a kind share one certificate and
one key: checking it costs as much each time, since nothing of it is remembered.
"""

import datetime
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

Way = Literal["psk", "ecdsa_p256", "rsa_2048", "eap_mschapv2"]
"""How a peer proves who it is."""
PROVEN: tuple[Way, ...] = ("ecdsa_p256", "rsa_2048", "eap_mschapv2")
"""Those that take papers. With EAP the gateway proves itself by ECDSA P-256."""
SIGNED: tuple[Way, ...] = ("ecdsa_p256", "rsa_2048")
PASSWORD = "a password that a benchmark has"  # noqa: S105
DAYS = 2
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def gateway_name(way: Way) -> str:
    """Who the gateway is to peers that prove themselves so: a host name."""
    return f"{way.replace('_', '-')}.vpn.example.com"


def client_name(way: Way) -> str:
    """Who they are; with EAP that is its user's name too."""
    return f"{way.replace('_', '-')}.client.example.com"


def make(folder: Path, now_wall_s: float) -> None:
    """`ca.pem`, and for each name `<name>.pem` and `<name>.key`, mode 0600."""
    now = datetime.datetime.fromtimestamp(now_wall_s, datetime.UTC)
    authority = ec.generate_private_key(ec.SECP256R1())
    root = _named("benchmarks' authority")
    certificate = _certificate(root, root, authority, authority, now, ca=True)
    _write(folder / "ca.pem", certificate)
    for way in PROVEN:
        names = (gateway_name(way), client_name(way)) if way in SIGNED else (gateway_name(way),)
        for name in names:
            key: Key = ec.generate_private_key(ec.SECP256R1())
            if way == "rsa_2048":
                key = rsa.generate_private_key(65_537, 2048)
            made = _certificate(root, _named(name), key, authority, now, ca=False, host=name)
            _write(folder / f"{name}.pem", made)
            _write(
                folder / f"{name}.key",
                key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                ),
            )


def _certificate(
    issuer: x509.Name,
    subject: x509.Name,
    key: Key,
    signer: ec.EllipticCurvePrivateKey,
    now: datetime.datetime,
    *,
    ca: bool,
    host: str = "",
) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=DAYS))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if host:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False
        )
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _named(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _write(file: Path, octets: bytes) -> None:
    file.touch(mode=0o600)
    file.write_bytes(octets)
