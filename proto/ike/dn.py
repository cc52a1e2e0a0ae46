"""Distinguished names as ID_DER_ASN1_DN carries them, and as people write them.

Rules: the text is that of RFC 4514, most specific part first (`CN=moon,O=Example,C=CH`); an
attribute without a name there is written by its number. Two names are the same where attributes and
values are, whatever string type each value has: implementations differ in that. X.501; RFC 4514;
RFC 5280 4.1.2.4, 7.1.
"""

import re

from cryptography import x509
from cryptography.x509.oid import NameOID

from proto.ike.errors import WireError

RIGHT_NAME = "a name such as CN=moon,O=Example,C=CH"
NAME_OCTETS_MAX = 2048
RDNS_MAX = 32
"""Attributes of one name; more buy only work."""

_SEQUENCE = 0x30
_SET = 0x31
_OID = 0x06
_CODECS = {
    0x0C: "utf-8",  # UTF8String
    0x12: "utf-8",  # NumericString; more than ASCII isn't allowed there, and written
    0x13: "utf-8",  # PrintableString
    0x14: "latin-1",  # TeletexString, as everybody reads it
    0x16: "utf-8",  # IA5String
    0x1A: "utf-8",  # VisibleString
    0x1C: "utf-32-be",  # UniversalString
    0x1E: "utf-16-be",  # BMPString
}
_SHORT = {
    "2.5.4.3": "CN",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "E",
}
_OWN_SHORT = {"E": NameOID.EMAIL_ADDRESS}
"""What the library doesn't know by that name."""
_HEX_VALUE = re.compile(r"(?<!\\)=\s*#")
_ESCAPED = frozenset(',+"\\<>;=')

Attribute = tuple[str, str | bytes]
"""(number of the type, value); octets where the value is no string."""
Name = tuple[frozenset[Attribute], ...]
"""The relative names, in the order of the encoding: least specific first."""


def _element(data: bytes, offset: int, end: int) -> tuple[int, int, int]:
    """(tag, start of the contents, their end) of the DER element at `offset`."""
    if end - offset < 2:
        raise WireError("truncated name")
    tag, length = data[offset], data[offset + 1]
    start = offset + 2
    if length & 0x80:
        size = length & 0x7F
        if not 1 <= size <= 2 or end - start < size:
            raise WireError("a name's length is none")
        length = int.from_bytes(data[start : start + size], "big")
        start += size
        if length < (0x80 if size == 1 else 0x100):
            raise WireError("a name's length isn't DER")
    if end - start < length:
        raise WireError("truncated name")
    return tag, start, start + length


def _inside(data: bytes, tag: int, offset: int, end: int) -> tuple[int, int]:
    """Where the contents of the element at `offset` are, which must have `tag`."""
    found, start, stop = _element(data, offset, end)
    if found != tag:
        raise WireError(f"tag {found} in a name, not {tag}")
    return start, stop


def decode_name(data: bytes) -> Name:
    """The name in `data`, one DER element. Raises WireError."""
    if len(data) > NAME_OCTETS_MAX:
        raise WireError(f"name of {len(data)} octets")
    offset, end = _inside(data, _SEQUENCE, 0, len(data))
    if end != len(data):
        raise WireError("octets after a name")
    rdns: list[frozenset[Attribute]] = []
    count = 0
    while offset < end:
        at, offset = _inside(data, _SET, offset, end)
        attributes: list[Attribute] = []
        while at < offset:
            start, at = _inside(data, _SEQUENCE, at, offset)
            attributes.append(_attribute(data, start, at))
            count += 1
            if count > RDNS_MAX:
                raise WireError(f"name of more than {RDNS_MAX} attributes")
        if not attributes:
            raise WireError("a relative name without attributes")
        rdns.append(frozenset(attributes))
    return tuple(rdns)


def _attribute(data: bytes, start: int, end: int) -> Attribute:
    oid_start, oid_end = _inside(data, _OID, start, end)
    tag, value_start, value_end = _element(data, oid_end, end)
    if value_end != end:
        raise WireError("octets after an attribute's value")
    oid = _oid(data[oid_start:oid_end])
    value = data[value_start:value_end]
    codec = _CODECS.get(tag)
    if codec is None:
        return oid, data[oid_end:end]
    try:
        return oid, value.decode(codec)
    except UnicodeDecodeError:
        return oid, data[oid_end:end]


def _oid(octets: bytes) -> str:
    """Dotted. Raises WireError for octets that are no object identifier."""
    if not octets or octets[-1] & 0x80 or len(octets) > 32:
        raise WireError("no object identifier")
    arcs: list[int] = []
    value = 0
    for octet in octets:
        if not value and octet == 0x80:
            raise WireError("an object identifier isn't DER")
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def format_name(name: Name) -> str:
    """RFC 4514 text: printable, and the same for the same name."""
    parts = []
    for rdn in reversed(name):
        shown = sorted(f"{_SHORT.get(oid, oid)}={_value(value)}" for oid, value in rdn)
        parts.append("+".join(shown))
    return ",".join(parts)


def _value(value: str | bytes) -> str:
    if isinstance(value, bytes):
        return "#" + value.hex()
    shown = []
    for at, letter in enumerate(value):
        edge = letter == " " and at in (0, len(value) - 1)
        if letter in _ESCAPED or edge or (letter == "#" and not at):
            shown.append("\\" + letter)
        elif letter.isprintable():
            shown.append(letter)
        else:
            octets = letter.encode("utf-8", "surrogatepass")
            shown.append("".join(f"\\{octet:02x}" for octet in octets))
    return "".join(shown)


def parse_name(text: str) -> bytes:
    """RFC 4514 text → DER; a value in hex (`#…`) isn't read. Raises ValueError saying what would be
    right.
    """
    if _HEX_VALUE.search(text):
        raise ValueError(RIGHT_NAME)  # the library takes the octets, tag and all, for the text
    try:
        name = x509.Name.from_rfc4514_string(text, _OWN_SHORT)
    except ValueError:
        raise ValueError(RIGHT_NAME) from None
    if not name.rdns:
        raise ValueError(RIGHT_NAME)
    return name.public_bytes()
