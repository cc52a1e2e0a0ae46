"""Addresses as people write them, and the files of key material: pre-shared keys and the KEK.

Rules: a pattern of identities (`proto.ike.identity`) may hold `*` in place of any text. Key
material leaves this file only as `Secret`.
"""

import ipaddress
import re
from pathlib import Path
from typing import Annotated

import msgspec

from node.secret_tables import must_be_private, secret_tables
from node.toml_strict import ConfigError, Problems, read_file, show
from proto.ike.connection import is_like
from proto.ike.identity import ID_TYPES, RIGHT_IDENTITY, format_identity, parse_identity
from proto.secret import Secret

KEK_OCTETS = 32
PSKS_MAX = 10_000
"""Entries of one file of pre-shared keys."""

RIGHT_ADDRESS = "ADDRESS:PORT, such as 127.0.0.1:500 or [::1]:500"

PskTable = tuple[tuple[str, Secret], ...]
"""(pattern, key), in the order of the file."""


def parse_address(text: str) -> tuple[str, int]:
    """`127.0.0.1:500` or `[::1]:500` → (address, port). Raises ValueError saying what is right."""
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > 0xFFFF:
        raise ValueError(RIGHT_ADDRESS)
    try:
        address = ipaddress.IPv6Address(match[1]) if match[1] else ipaddress.IPv4Address(match[2])
    except ValueError:
        raise ValueError(RIGHT_ADDRESS) from None
    return str(address), int(match[3])


def format_address(address: tuple[str, int]) -> str:
    """(address, port) → the text that `parse_address` reads."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Psk(msgspec.Struct, frozen=True):
    identity: Annotated[str, msgspec.Meta(description=RIGHT_IDENTITY)]
    secret: Annotated[str, msgspec.Meta(description="text, not empty")] = ""
    secret_hex: Annotated[str, msgspec.Meta(description="an even number of hex digits")] = ""


def load_psks(path: str) -> PskTable:
    """The pre-shared keys of a file `[[psk]] identity, secret | secret_hex`. Raises ConfigError."""
    problems = Problems(Path(path))
    found: list[tuple[str, Secret]] = []
    for where, entry in secret_tables(problems, "psk", _Psk, PSKS_MAX, "identity and secret"):
        _one_psk(entry, where, problems, found)
    problems.settle()
    return tuple(found)


def _one_psk(entry: _Psk, where: str, problems: Problems, found: list[tuple[str, Secret]]) -> None:
    pattern = ""
    try:
        pattern = normal_pattern(entry.identity)
    except ValueError:
        problems.add(f"{where}.identity", show(entry.identity), RIGHT_IDENTITY)
    if bool(entry.secret) == bool(entry.secret_hex):
        given = "both secret and secret_hex" if entry.secret else "neither"
        problems.add(where, given, "either secret or secret_hex, not empty")
        return
    try:
        octets = entry.secret.encode() or bytes.fromhex(entry.secret_hex)
    except ValueError:
        problems.add(f"{where}.secret_hex", "not hex (not shown)", "an even number of hex digits")
        return
    found.append((pattern, Secret(octets)))


def normal_pattern(text: str) -> str:
    """A pattern as it is; an identity as `format_identity` spells what a peer sends. Raises
    ValueError saying what would be right.
    """
    if "*" not in text:
        return format_identity(parse_identity(text))
    kind, _, rest = text.partition(":")
    if kind not in ID_TYPES or not rest:
        raise ValueError(RIGHT_IDENTITY)
    return text


def one_identity(text: str) -> str:
    """An identity, and no pattern, as `format_identity` spells it. Raises ValueError saying what
    would be right.
    """
    if "*" in text:
        raise ValueError(
            "one identity, letter by letter: `sessions list` shows whose there are; one that has a "
            "* in it is revoked session by session"
        )
    return format_identity(parse_identity(text))


def find_psk(psks: PskTable, identity: str) -> Secret | None:
    """The key for the *peer's* identity: the exact entry, else the first pattern that fits.

    `identity` as `format_identity` spells it.
    """
    for pattern, secret in psks:
        if pattern == identity:
            return secret
    for pattern, secret in psks:
        if "*" in pattern and is_like(identity, pattern):
            return secret
    return None


def load_kek(path: str) -> Secret:
    """The key-encryption key: a file with 32 octets as hex, mode 0600. Raises ConfigError."""
    file = Path(path)
    must_be_private(file)
    return parse_kek(read_file(file), str(file))


def parse_kek(text: bytes, where: str) -> Secret:
    """The key-encryption key from the octets of its file; `where` is named in errors. Raises
    ConfigError.
    """
    try:
        octets = bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        octets = b""
    if len(octets) != KEK_OCTETS:
        raise ConfigError(
            [f"{where}: not a key → {KEK_OCTETS} octets as {2 * KEK_OCTETS} hex digits"]
        )
    return Secret(octets)
