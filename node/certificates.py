"""Looks at the certificates that a configuration names, before anybody is shown them.

Rules: what a peer would refuse later, without saying why, is one line here: a key that isn't the
certificate's, a weak one, another authority's signature, another holder's name, a certificate out
of its time.
Nothing is proven by it: TLS decides (`cluster.identity`).
"""

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from cluster.identity import MEMBER, OPERATOR, Identity, parse_uri
from node.sections import ClientConfig, GatewayConfig, MemberConfig, OperatorConfig, StoreConfig
from node.toml_strict import Problems
from node.trust.config import check_trust
from proto.ike.signature import key_problem


def gateway_problems(path: Path, config: GatewayConfig, now_wall_s: float) -> list[str]:
    """What is wrong with the certificates of the gateway's file `path`: a line each. OSError."""
    problems = Problems(path)
    member, store = config.member, config.store
    holder = Identity(config.cluster.name, MEMBER, member.name)
    if member.cert_file:
        _check("member", member, holder, problems, now_wall_s)
    if store.cert_file and store.cert_file != member.cert_file:
        _check("store", store, None, problems, now_wall_s)
    check_trust(config, problems, now_wall_s)
    return problems.lines


def client_problems(path: Path, config: ClientConfig, now_wall_s: float) -> list[str]:
    """The same for a client's file."""
    problems = Problems(path)
    check_trust(config, problems, now_wall_s)
    return problems.lines


def operator_problems(path: Path, config: OperatorConfig, now_wall_s: float) -> list[str]:
    """The same for an operator's file. Raises OSError."""
    problems = Problems(path)
    holder = Identity(config.cluster, OPERATOR, "")
    _check("operator", config, holder, problems, now_wall_s)
    return problems.lines


def ends_wall_s(file: str, *, authorities: bool) -> dict[str, float]:
    """When what is in `file` ends: the first certificate there (named ""), or each of the
    authorities, by subject. Where several have a subject, the one that lasts longest has taken the
    others' place. Raises OSError, ValueError.
    """
    found = x509.load_pem_x509_certificates(Path(file).read_bytes())
    ends: dict[str, float] = {}
    for one in found if authorities else found[:1]:
        name = one.subject.rfc4514_string() if authorities else ""
        ends[name] = max(ends.get(name, 0.0), one.not_valid_after_utc.timestamp())
    return ends


def _check(
    where: str,
    section: StoreConfig | MemberConfig | OperatorConfig,
    holder: Identity | None,
    problems: Problems,
    now_wall_s: float,
) -> None:
    """`holder`: whom the certificate must name; with an empty name: anybody in that role."""
    authorities = _certificates(f"{where}.ca_file", section.ca_file, problems)
    chain = _certificates(f"{where}.cert_file", section.cert_file, problems)
    public = _public_key(f"{where}.key_file", section.key_file, problems)
    if not authorities or not chain or public is None:
        return
    leaf, key, file = chain[0], f"{where}.cert_file", section.cert_file
    if _spki(leaf.public_key()) != _spki(public):
        right = f"the key of {file}"
        problems.add(f"{where}.key_file", f"{section.key_file} is another certificate's", right)
    if not any(_issued(authority, one) for one in chain for authority in authorities):
        right = "one that an authority in ca_file has signed"
        problems.add(key, f"{file} is signed by {leaf.issuer.rfc4514_string()}", right)
    if (weak := key_problem(leaf.public_key())) is not None:
        given, _, right = weak.partition(" → ")
        problems.add(key, f"{file} has a weak key: {given}", right)
    now = datetime.datetime.fromtimestamp(now_wall_s, datetime.UTC)
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        valid = f"{leaf.not_valid_before_utc:%Y-%m-%d} to {leaf.not_valid_after_utc:%Y-%m-%d}"
        problems.add(key, f"{file} is valid from {valid}", "one that is valid today")
    if holder is not None:
        _check_holder(key, file, leaf, holder, problems)


def _check_holder(
    key: str, file: str, leaf: x509.Certificate, wanted: Identity, problems: Problems
) -> None:
    found = [identity for text in _uris(leaf) if (identity := parse_uri(text)) is not None]
    fits = len(found) == 1 and (found[0].cluster, found[0].role) == (wanted.cluster, wanted.role)
    if fits and wanted.name in ("", found[0].name):
        return
    names = (
        ", ".join(f"{one.role} {one.name} of {one.cluster}" for one in found)
        or "no member and no operator"
    )
    right = f"one for {wanted.role} {wanted.name}".rstrip() + f" of {wanted.cluster}"
    problems.add(key, f"{file} is for {names}", right)


def _certificates(key: str, file: str, problems: Problems) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(Path(file).read_bytes())
    except ValueError:
        problems.add(key, f"{file} holds no certificate", "a certificate as PEM")
        return []


def _public_key(key: str, file: str, problems: Problems) -> PublicKeyTypes | None:
    try:
        return serialization.load_pem_private_key(Path(file).read_bytes(), None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        problems.add(key, f"{file} holds no private key", "a private key as PEM, not encrypted")
        return None


def _spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _issued(authority: x509.Certificate, one: x509.Certificate) -> bool:
    try:
        one.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _uris(leaf: x509.Certificate) -> list[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)
