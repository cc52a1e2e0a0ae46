"""What the configuration says of certificates: checked, and made into what `Trust` works with.

Rules: everything that can be told before a peer comes is told when the file is read, one line each:
a file that can't be read or that others may read, a key that isn't the certificate's, a certificate
for nobody we are. What goes by the clock is told where there is one.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from node.sections import CertificateConfig, ClientConfig, ConnectionConfig, GatewayConfig
from node.toml_strict import Problems, file_problem
from node.trust.certificate import Certificate, Unfit
from node.trust.crl import CRL_OCTETS_MAX, decode_crl
from node.trust.names import speaks_for
from node.trust.own import (
    Wrong,
    check_now,
    load_anchors,
    load_certificates,
    load_key,
    names_of,
    pair,
)
from node.trust.path import Anchors
from node.trust.verifier import TrustSettings
from proto.ike.identity import Identity, format_identity, parse_identity

CERTIFICATES_MAX = 16
"""Of ours."""

T = TypeVar("T")


def check_trust(
    config: GatewayConfig | ClientConfig, problems: Problems, now_wall_s: float | None = None
) -> None:
    """Note what is wrong in `problems`; what is out of its time only where the time is given."""
    trust = config.trust
    _read(problems, "trust.ca_file", load_anchors, trust.ca_file)
    _read(problems, "trust.intermediates_file", load_certificates, trust.intermediates_file)
    _read(problems, "trust.ocsp_responders_file", load_certificates, trust.ocsp_responders_file)
    for number, file in enumerate(trust.crl_files, 1):
        _read(problems, f"trust.crl_files[{number}]", _load_crl, file)
    for number, connection in enumerate(_connections(config), 1):
        _read(problems, f"connection[{number}].ca_file", load_anchors, connection.ca_file)
    if len(config.certificate) > CERTIFICATES_MAX:
        given = f"{len(config.certificate)} tables"
        problems.add("certificate", given, f"at most {CERTIFICATES_MAX}")
    identities = _identities(config)
    for number, one in enumerate(config.certificate[:CERTIFICATES_MAX], 1):
        _check_own(f"certificate[{number}]", one, identities, problems, now_wall_s)


def trust_settings(config: GatewayConfig | ClientConfig) -> TrustSettings:
    """What `check_trust` found nothing wrong with. Raises Wrong where files have changed since."""
    trust = config.trust
    return TrustSettings(
        anchors=_anchors(trust.ca_file),
        own_anchors={
            one.name: _anchors(one.ca_file) for one in _connections(config) if one.ca_file
        },
        intermediates=_certificates(trust.intermediates_file),
        own=tuple(
            pair(load_certificates(one.cert_file), load_key(one.key_file))
            for one in config.certificate
        ),
        tls_purposes=trust.tls_certificates,
        check_address=trust.check_id_address,
    )


def responder_certificates(config: GatewayConfig | ClientConfig) -> tuple[Certificate, ...]:
    """OCSP responders whose word is taken. Raises Wrong."""
    return _certificates(config.trust.ocsp_responders_file)


def _load_crl(file: str) -> None:
    """Raises Wrong."""
    wrong = file_problem(file, secret=False)
    if wrong is not None:
        raise Wrong(*wrong)
    try:
        with Path(file).open("rb") as opened:
            decode_crl(opened.read(CRL_OCTETS_MAX + 1))
    except Unfit as error:
        raise Wrong(f"{file}: {error}", "a CRL, PEM or DER") from None


def _anchors(file: str) -> Anchors:
    return Anchors(load_anchors(file) if file else ())


def _certificates(file: str) -> tuple[Certificate, ...]:
    return load_certificates(file) if file else ()


def _connections(config: GatewayConfig | ClientConfig) -> tuple[ConnectionConfig, ...]:
    return config.connection if isinstance(config, GatewayConfig) else ()


def _identities(config: GatewayConfig | ClientConfig) -> tuple[Identity, ...]:
    """Who we are, to anybody; none where one of them is no identity, which is said elsewhere."""
    if isinstance(config, ClientConfig):
        texts = [config.client.identity]
    else:
        texts = [config.ike.identity, *(one.local_identity for one in config.connection)]
    try:
        return tuple(parse_identity(text) for text in texts if text)
    except ValueError:
        return ()


def _read(problems: Problems, key: str, load: Callable[[str], T], file: str) -> T | None:
    try:
        return load(file) if file else None
    except Wrong as wrong:
        problems.add(key, wrong.given, wrong.right)
        return None


def _check_own(
    where: str,
    one: CertificateConfig,
    identities: Sequence[Identity],
    problems: Problems,
    now_wall_s: float | None,
) -> None:
    chain = _read(problems, f"{where}.cert_file", load_certificates, one.cert_file)
    key = _read(problems, f"{where}.key_file", load_key, one.key_file)
    if chain is None or key is None:
        return
    try:
        own = pair(chain, key)
    except Wrong as wrong:
        problems.add(f"{where}.key_file", f"{one.key_file} {wrong.given}", wrong.right)
        return
    if identities and not any(speaks_for(own.certificate, *identity) for identity in identities):
        wanted = " or ".join(format_identity(identity) for identity in identities)
        given = f"{one.cert_file} speaks for {names_of(own)}"
        problems.add(f"{where}.cert_file", given, f"one for {wanted} (subjectAltName)")
    if now_wall_s is not None:
        try:
            check_now(own, now_wall_s)
        except Wrong as wrong:
            problems.add(f"{where}.cert_file", f"{one.cert_file}: {wrong.given}", wrong.right)
