"""Targets for what proves an identity: distinguished names and signatures."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from proto.ike.dn import NAME_OCTETS_MAX, RDNS_MAX, decode_name, format_name, parse_name
from proto.ike.enums import AuthMethod, NotifyType
from proto.ike.errors import PeerError, WireError
from proto.ike.signature import (
    ANNOUNCED,
    IDENTIFIERS,
    PrivateKey,
    choose,
    decode_hashes,
    encode_hashes,
    sign,
    verify,
)
from tests.fuzz.target import Choices, Target

# derived, not drawn: a finding can be tried again
KEYS: tuple[PrivateKey, ...] = (
    ec.derive_private_key(0x1234567, ec.SECP256R1()),
    ec.derive_private_key(0x1234567, ec.SECP521R1()),
    ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)),
)
RSA = rsa.RSAPublicNumbers(65537, (1 << 2047) + 0x1234567).public_key()
OCTETS = b"RealMessage | nonce | prf"


def names(data: bytes) -> None:
    """WireError, or a bounded name whose text is printable and, where all of it is text, says it
    all.
    """
    try:
        name = decode_name(data)
    except WireError:
        return
    assert len(data) <= NAME_OCTETS_MAX
    assert sum(map(len, name)) <= RDNS_MAX
    shown = format_name(name)
    assert shown.isprintable() or not shown
    try:
        again = decode_name(parse_name(shown))
    except (ValueError, WireError):
        return  # what the library won't write, such as a country of three letters
    assert format_name(again) == shown


def signatures(data: bytes) -> None:
    """PeerError(AUTHENTICATION_FAILED) for whatever isn't a signature; no other octets pass for
    one, but other forms of its own.
    """
    choices = Choices(data)
    method, key = choices.byte(), KEYS[choices.below(len(KEYS))]
    listed = choices.block()
    try:
        announced = decode_hashes(listed)
    except WireError:
        announced = frozenset(ANNOUNCED)
    assert decode_hashes(encode_hashes(sorted(announced))) == announced
    said = choices.rest()
    for public in (key.public_key(), RSA):
        for agreed in (announced, None):
            with pytest.raises(PeerError) as caught:
                verify(public, method, said, OCTETS, agreed)
            assert caught.value.notify is NotifyType.AUTHENTICATION_FAILED


def _name_seeds() -> list[bytes]:
    texts = ("CN=moon,O=strongSwan,C=CH", "E=a@example.org,CN=x\\, y", "CN=Joe+UID=joe,DC=org")
    return [parse_name(text) for text in texts]


def _signature_seeds() -> list[bytes]:
    """A signature of each kind over something else, and every AlgorithmIdentifier alone."""
    found = []
    for number, key in enumerate(KEYS):
        for announced in (ANNOUNCED, None):
            scheme = choose(key, announced)
            if scheme is not None:
                head = bytes((scheme.method, number, 0, 8)) + encode_hashes()
                found.append(head + sign(key, scheme, OCTETS + b"?"))
    head = bytes((AuthMethod.DIGITAL_SIGNATURE, 0, 0, 8)) + encode_hashes()
    return found + [head + bytes((len(one),)) + one for one in IDENTIFIERS.values()]


TARGETS = (
    Target("names", names, _name_seeds),
    Target("signatures", signatures, _signature_seeds),
)
