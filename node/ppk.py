"""The file of pre-shared keys against quantum computers, mode 0600 (RFC 8784 5).

Rules: an entry has an id, which travels, and a secret, which is random: it must hold where a
group's key doesn't, so it is no password. An entry is for the peers that its pattern fits, and a
PPK_ID is there once. No secret is ever shown.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from node.identity import normal_pattern
from node.secret_tables import secret_tables
from node.toml_strict import ConfigError, Problems, show
from proto.ike.connection import is_like
from proto.ike.enums import PpkIdType
from proto.ike.identity import RIGHT_IDENTITY
from proto.ike.ppk import Ppk
from proto.secret import Secret

PPKS_MAX = 10_000
ID_OCTETS_MAX = 255
SECRET_OCTETS_MIN = 32
"""256 bits, which are 128 against a quantum computer (RFC 8784 6)."""
TYPES = {"opaque": PpkIdType.PPK_ID_OPAQUE, "fixed": PpkIdType.PPK_ID_FIXED}
RIGHT_ID = f"a text of 1 to {ID_OCTETS_MAX} octets"
RIGHT_SECRET = f"either secret or secret_hex, of at least {SECRET_OCTETS_MIN} random octets"


class Ppks:
    """All of one file."""

    def __init__(self, entries: tuple[tuple[str, Ppk], ...] = ()) -> None:
        """`entries`: (pattern of peers, PPK), in the order of the file."""
        self._entries = entries
        self._by_id = {ppk.id: (pattern, ppk.secret) for pattern, ppk in entries}

    def __bool__(self) -> bool:
        return bool(self._entries)

    def find(self, ppk_id: bytes, identity: str) -> Secret | None:
        """The PPK of that PPK_ID, if it is for that peer."""
        pattern, secret = self._by_id.get(ppk_id, ("", None))
        return secret if secret is not None and is_like(identity, pattern) else None

    def first(self, identity: str) -> Ppk | None:
        """The first one for that peer."""
        for pattern, ppk in self._entries:
            if is_like(identity, pattern):
                return ppk
        return None


class _Entry(msgspec.Struct, frozen=True):
    id: Annotated[str, msgspec.Meta(description=RIGHT_ID)]
    type: Annotated[Literal["fixed", "opaque"], msgspec.Meta(description='"fixed" or "opaque"')] = (
        "fixed"
    )
    identity: Annotated[str, msgspec.Meta(description=RIGHT_IDENTITY)] = "*"
    secret: Annotated[str, msgspec.Meta(description=RIGHT_SECRET)] = ""
    secret_hex: Annotated[str, msgspec.Meta(description=RIGHT_SECRET)] = ""


def load_ppks(path: str) -> Ppks:
    """The PPKs of a file `[[ppk]] id, type, identity, secret | secret_hex`. Raises ConfigError."""
    problems = Problems(Path(path))
    found: dict[bytes, tuple[str, Ppk]] = {}
    for where, entry in secret_tables(problems, "ppk", _Entry, PPKS_MAX, "id and secret"):
        _one(entry, where, problems, found)
    problems.settle()
    return Ppks(tuple(found.values()))


def check_ppks(key: str, path: str, *, required: bool, problems: Problems) -> None:
    """Note what is wrong with the file that `key` names, or that there is none where PPKs are
    `required`.
    """
    if not path:
        if required:
            problems.add(key, "missing", "the name of a file with PPKs, since they are required")
        return
    try:
        load_ppks(path)
    except ConfigError as error:
        problems.lines += [f"{problems.path}: {key}: {line}" for line in error.problems]


def _one(
    entry: _Entry, where: str, problems: Problems, found: dict[bytes, tuple[str, Ppk]]
) -> None:
    pattern, name = entry.identity, entry.id.encode()
    if not 1 <= len(name) <= ID_OCTETS_MAX:
        problems.add(f"{where}.id", show(entry.id), RIGHT_ID)
    if pattern != "*":
        try:
            pattern = normal_pattern(pattern)
        except ValueError:
            problems.add(f"{where}.identity", show(entry.identity), RIGHT_IDENTITY)
    try:
        octets = entry.secret.encode() or bytes.fromhex(entry.secret_hex)
    except ValueError:
        octets = b""
    if bool(entry.secret) == bool(entry.secret_hex) or len(octets) < SECRET_OCTETS_MIN:
        problems.add(where, "a secret (not shown)", RIGHT_SECRET)
        return
    ppk_id = bytes((TYPES[entry.type],)) + name
    if ppk_id in found:
        problems.add(f"{where}.id", show(entry.id), "an id once")
    found[ppk_id] = (pattern, Ppk(ppk_id, Secret(octets)))
