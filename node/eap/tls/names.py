"""The names in a certificate that an EAP identity, or a server's name, may be (RFC 5216 5.2).

Rules: those of subjectAltName (rfc822Name, dNSName, and the principal name that Windows puts
there); where it has none of them, the subject's common name. The subject as a whole is always one.
Compared without regard to case; who was authenticated is spelled as in the certificate.
"""

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID, ObjectIdentifier

USER_PRINCIPAL_NAME = ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
_UTF8_STRING = 0x0C
_SHORT = 0x80


def names(certificate: x509.Certificate) -> tuple[str, ...]:
    """All of them, the one that names it best first."""
    found = _alternative(certificate)
    if not found:
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        found = [str(attribute.value) for attribute in common]
    subject = certificate.subject.rfc4514_string()
    return tuple(name for name in (*found, subject) if name and name.isprintable())


def server_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """Those that a server may be known by: dNSName (RFC 9190 2.2)."""
    alternative = _extension(certificate)
    return tuple(alternative.get_values_for_type(x509.DNSName)) if alternative else ()


def named(certificate: x509.Certificate, claimed: str) -> str | None:
    """The certificate's spelling of `claimed`, or None where it isn't one of its names."""
    for name in names(certificate):
        if name.casefold() == claimed.casefold():
            return name
    return None


def is_anonymous(claimed: str) -> bool:
    """A network access identifier that says no more than the realm (RFC 9190 2.1.4, RFC 7542)."""
    user, at, _ = claimed.partition("@")
    return not user or (bool(at) and user == "anonymous")


def _alternative(certificate: x509.Certificate) -> list[str]:
    alternative = _extension(certificate)
    if alternative is None:
        return []
    principal = [
        _utf8(other.value)
        for other in alternative.get_values_for_type(x509.OtherName)
        if other.type_id == USER_PRINCIPAL_NAME
    ]
    mail = alternative.get_values_for_type(x509.RFC822Name)
    hosts = alternative.get_values_for_type(x509.DNSName)
    return [name for name in (*mail, *principal, *hosts) if name]


def _extension(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        oid = ExtensionOID.SUBJECT_ALTERNATIVE_NAME
        extension = certificate.extensions.get_extension_for_oid(oid)
    except (x509.ExtensionNotFound, ValueError, x509.DuplicateExtension):
        return None
    value = extension.value
    return value if isinstance(value, x509.SubjectAlternativeName) else None


def _utf8(der: bytes) -> str:
    """The text of a UTF8String of fewer than 128 octets, else nothing."""
    if len(der) < 2 or der[0] != _UTF8_STRING or der[1] >= _SHORT or der[1] != len(der) - 2:
        return ""
    return der[2:].decode("utf-8", "replace")
