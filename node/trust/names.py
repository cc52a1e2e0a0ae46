"""Is this identity the certificate's? (RFC 4945 3.1, 5.1.3.6)

Rules: an identity is looked for in its own field alone, whole, without wildcards: a name that only
stands in the subject's CN is nobody's. Letters' case makes no difference in names of hosts and of
mailboxes.
"""

from cryptography import x509

from node.trust.certificate import Certificate
from proto.ike.dn import decode_name
from proto.ike.enums import IdType
from proto.ike.errors import WireError


def speaks_for(certificate: Certificate, id_type: int, data: bytes) -> bool:
    """May the holder of `certificate` call himself by this identity?

    ID_DER_ASN1_DN: the subject, whatever string types its values have. ID_FQDN, ID_RFC822_ADDR and
    the addresses: subjectAltName. ID_KEY_ID, which RFC 4945 leaves open and RFC 7296 4 asks for:
    the subject key identifier.
    """
    if id_type == IdType.ID_DER_ASN1_DN:
        return _same_name(certificate.subject, data)
    if id_type == IdType.ID_FQDN:
        return _listed(certificate, x509.DNSName, data)
    if id_type == IdType.ID_RFC822_ADDR:
        return _listed(certificate, x509.RFC822Name, data)
    if id_type in (IdType.ID_IPV4_ADDR, IdType.ID_IPV6_ADDR):
        return any(
            isinstance(name, x509.IPAddress) and _packed(name) == data for name in certificate.names
        )
    if id_type == IdType.ID_KEY_ID:
        return bool(data) and certificate.subject_key_id == data
    return False


def _listed(
    certificate: Certificate, kind: type[x509.DNSName] | type[x509.RFC822Name], data: bytes
) -> bool:
    if not data.isascii() or b"*" in data:
        return False
    wanted = data.decode().lower()
    return bool(wanted) and any(
        isinstance(name, kind) and name.value.lower() == wanted for name in certificate.names
    )


def _packed(name: x509.IPAddress) -> bytes:
    """The address's octets; none for a network, which is no identity."""
    return getattr(name.value, "packed", b"")


def _same_name(subject: bytes, data: bytes) -> bool:
    try:
        wanted = decode_name(data)
        return bool(wanted) and (subject == data or decode_name(subject) == wanted)
    except WireError:
        return False
