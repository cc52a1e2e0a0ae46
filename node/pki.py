"""Certificates for a sample cluster: an authority, its members, etcd and an operator.

Rules: P-256 throughout; who a certificate speaks for is its URI name,
`standfast://<cluster>/<role>/<name>`, and nothing else (`cluster.identity` reads it). Loopback
names are added so that a sample runs on one machine. A sample's authority lives beside its cluster;
a real one doesn't.
"""

import datetime
import ipaddress
from collections.abc import Sequence

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cluster.identity import MEMBER, OPERATOR, Identity, server_name, uri
from proto.secret import Secret

ETCD = "etcd"
"""The role of a member of the store; it gives no right towards gateways."""
AUTHORITY_DAYS = 3650
LEAF_DAYS = 825
_BACKDATED = datetime.timedelta(hours=1)
"""Clocks of a cluster differ: a certificate is valid a little before it is made."""


class Issued(msgspec.Struct, frozen=True):
    """A certificate and its key, as PEM."""

    certificate: bytes
    key: Secret


class Authority:
    """A certificate authority of one cluster, held in memory."""

    def __init__(self, cluster: str, now_wall_s: float) -> None:
        """Make the authority's key and certificate, valid from `now_wall_s` on."""
        self._cluster = cluster
        self._now = datetime.datetime.fromtimestamp(now_wall_s, datetime.UTC)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(f"standfast {cluster} authority")
        certificate = (
            _builder(self._name, self._name, self._key.public_key(), self._now, AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(authority=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        self.issued = Issued(_pem(certificate), _key_pem(self._key))

    def member(self, name: str, hosts: Sequence[str] = ()) -> Issued:
        """A gateway's certificate: server and client, towards members and etcd."""
        return self._issue(MEMBER, name, hosts, server=True)

    def etcd(self, name: str, hosts: Sequence[str] = ()) -> Issued:
        """An etcd member's certificate; it is a client too, of its own gateway."""
        return self._issue(ETCD, name, hosts, server=True)

    def operator(self, name: str) -> Issued:
        """An operator's certificate: client only."""
        return self._issue(OPERATOR, name, (), server=False)

    def _issue(self, role: str, name: str, hosts: Sequence[str], *, server: bool) -> Issued:
        identity = Identity(cluster=self._cluster, role=role, name=name)
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri(identity))]
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if server:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
            names.append(x509.DNSName(server_name(identity)))
            names += [_host(host) for host in ("localhost", "127.0.0.1", "::1", *hosts)]
        certificate = (
            _builder(self._name, _name(name), key.public_key(), self._now, LEAF_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        return Issued(_pem(certificate), _key_pem(key))


def _builder(
    issuer: x509.Name,
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> Secret:
    return Secret(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
