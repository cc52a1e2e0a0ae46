"""Identities as people write them: `kind:text` (RFC 7296 3.5).

Rules: one spelling per identity, for logs, policy and the files of pre-shared keys; what a peer
sent is shown as hex where it isn't printable, or isn't a distinguished name (`proto.ike.dn`).
"""

import ipaddress
import re

from proto.ike.dn import decode_name, format_name, parse_name
from proto.ike.enums import IdType
from proto.ike.errors import WireError

Identity = tuple[int, bytes]
"""ID type (RFC 7296 3.5) and identification data."""

ID_TYPES: dict[str, int] = {
    "ipv4": IdType.ID_IPV4_ADDR,
    "fqdn": IdType.ID_FQDN,
    "rfc822": IdType.ID_RFC822_ADDR,
    "ipv6": IdType.ID_IPV6_ADDR,
    "dn": IdType.ID_DER_ASN1_DN,
    "key_id": IdType.ID_KEY_ID,
    "null": IdType.ID_NULL,
}
_KINDS = {number: kind for kind, number in ID_TYPES.items()}
IDENTITY_MAX = 512
"""Octets of an identity that a peer may have. Records and tickets hold it twice, once as text."""
_PRINTABLE = re.compile(rb"[!-~]+")

NULL_IDENTITY = "null:"
"""Whoever proves nothing (RFC 7619 2.2)."""
RIGHT_IDENTITY = (
    "fqdn:NAME, rfc822:USER@DOMAIN, ipv4:ADDRESS, ipv6:ADDRESS, dn:CN=NAME,O=NAME or key_id:TEXT"
)


def parse_identity(text: str) -> Identity:
    """`kind:text` → (ID type, data). Raises ValueError saying what would be right."""
    kind, _, rest = text.partition(":")
    if text == NULL_IDENTITY:
        return IdType.ID_NULL, b""
    if kind not in ID_TYPES or kind == "null" or not rest:
        raise ValueError(RIGHT_IDENTITY)
    if kind in ("ipv4", "ipv6"):
        family = ipaddress.IPv4Address if kind == "ipv4" else ipaddress.IPv6Address
        try:
            return ID_TYPES[kind], family(rest).packed
        except ValueError:
            raise ValueError(RIGHT_IDENTITY) from None
    if kind == "key_id":
        is_hex = re.fullmatch(r"0x(?:[0-9a-fA-F]{2})+", rest)
        return ID_TYPES[kind], bytes.fromhex(rest[2:]) if is_hex else rest.encode()
    if kind == "dn":
        try:
            return ID_TYPES[kind], parse_name(rest)
        except ValueError:
            raise ValueError(RIGHT_IDENTITY) from None
    if not re.fullmatch(r"[!-~]+", rest) or (kind == "rfc822") != ("@" in rest):
        raise ValueError(RIGHT_IDENTITY)
    return ID_TYPES[kind], rest.encode()


def format_identity(identity: Identity) -> str:
    """(ID type, data) → `kind:text`."""
    id_type, data = identity
    kind = _KINDS.get(id_type, f"type{int(id_type)}")
    if (kind, len(data)) in (("ipv4", 4), ("ipv6", 16)):
        return f"{kind}:{ipaddress.ip_address(data)}"
    if kind == "dn":
        try:
            return f"{kind}:{format_name(decode_name(data))}"
        except WireError:
            return f"{kind}:0x{data.hex()}"
    if (kind, data) == ("null", b""):
        return NULL_IDENTITY
    printable = _PRINTABLE.fullmatch(data) and not data.startswith(b"0x")
    return f"{kind}:{data.decode() if printable else '0x' + data.hex()}"
