"""The file of EAP users: names with passwords or their hashes, mode 0600.

Rules: names are compared exactly; one with a Windows domain before it (`DOMAIN\\name`) fits an
entry with it, else one without. A password becomes its hash at once. No value of the file is ever
shown, only names.
"""

from pathlib import Path
from typing import Annotated

import msgspec

from node.eap.mschapv2.crypto import NT_HASH_OCTETS, PASSWORD_CHARACTERS_MAX, nt_password_hash
from node.eap.packet import IDENTITY_OCTETS_MAX
from node.secret_tables import secret_tables
from node.toml_strict import Problems, show
from proto.secret import Secret

USERS_MAX = 10_000
RIGHT_NAME = f"a printable text of 1 to {IDENTITY_OCTETS_MAX} octets"
RIGHT_PASSWORD = f"a text of 1 to {PASSWORD_CHARACTERS_MAX} characters"
RIGHT_HASH = f"{2 * NT_HASH_OCTETS} hex digits"


class User(msgspec.Struct, frozen=True):
    """One who may be authenticated by password."""

    identity: str
    nt_hash: Secret
    """MD4 of the password (RFC 2759 8.3): as good as the password itself."""


class Users:
    """All of one file."""

    def __init__(self, users: tuple[User, ...] = ()) -> None:
        self._by_name = {user.identity: user for user in users}

    def __len__(self) -> int:
        return len(self._by_name)

    def find(self, name: str) -> User | None:
        """Whose name that is, or None."""
        return self._by_name.get(name) or self._by_name.get(without_domain(name))


def without_domain(name: str) -> str:
    r"""`DOMAIN\name` → `name` (RFC 2759 4): the domain takes no part in a response."""
    return name.rpartition("\\")[2]


class _User(msgspec.Struct, frozen=True):
    identity: Annotated[str, msgspec.Meta(description=RIGHT_NAME)]
    password: Annotated[str, msgspec.Meta(description=RIGHT_PASSWORD)] = ""
    nt_hash: Annotated[str, msgspec.Meta(description=RIGHT_HASH)] = ""


def load_users(path: str) -> Users:
    """The users of a file `[[eap_user]] identity, password | nt_hash`. Raises ConfigError."""
    problems = Problems(Path(path))
    found: dict[str, User] = {}
    texts = "identity and password"
    for where, entry in secret_tables(problems, "eap_user", _User, USERS_MAX, texts):
        _one_user(entry, where, problems, found)
    problems.settle()
    return Users(tuple(found.values()))


def _one_user(entry: _User, where: str, problems: Problems, found: dict[str, User]) -> None:
    name = entry.identity
    if not name.isprintable() or not 0 < len(name.encode()) <= IDENTITY_OCTETS_MAX:
        problems.add(f"{where}.identity", show(name), RIGHT_NAME)
    if name in found:
        problems.add(f"{where}.identity", show(name), "a name once")
    nt_hash = parse_password(entry.password, entry.nt_hash, where, problems)
    if nt_hash is not None:
        found[name] = User(name, nt_hash)


def parse_password(password: str, nt_hash: str, where: str, problems: Problems) -> Secret | None:
    """The hash of whichever is given, or None when something was noted in `problems`."""
    if bool(password) == bool(nt_hash):
        given = "both password and nt_hash" if password else "neither"
        problems.add(where, given, "either password or nt_hash, not empty")
        return None
    if password:
        if len(password) <= PASSWORD_CHARACTERS_MAX:
            return nt_password_hash(password)
        problems.add(f"{where}.password", "too long (not shown)", RIGHT_PASSWORD)
        return None
    try:
        octets = bytes.fromhex(nt_hash)
    except ValueError:
        octets = b""
    if len(octets) == NT_HASH_OCTETS:
        return Secret(octets)
    problems.add(f"{where}.nt_hash", "not a hash (not shown)", RIGHT_HASH)
    return None
