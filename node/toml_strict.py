"""TOML into frozen structs, strictly: every mistake becomes one line that says what would be right.

Rules: a problem reads `file: key: given → what would be right`. All problems of a file are found in
one go. What would be right is the `description` of the field's type; a field whose type is marked
`extra={"path": True}` is made absolute, relative to the folder of the file. A field that is a tuple
of structs is an array of tables, whose rows are counted from 1.
"""

import difflib
import os
import stat
import tomllib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

S = typing.TypeVar("S", bound=msgspec.Struct)

GIVEN_CHARACTERS_MAX = 60
"""How much of a wrong value is shown."""
FILE_OCTETS_MAX = 1 << 20
"""No configuration or secret file is larger."""


Homes = Mapping[str, Sequence[str]]
"""Key → the tables that it is known in, as TOML writes them."""


class ConfigError(Exception):
    """What is wrong with a configuration: one line per problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class Problems:
    """Collects what is wrong with one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[str] = []

    def add(self, key: str, given: str, right: str) -> None:
        """Note one problem."""
        self.lines.append(f"{self.path}: {key}: {given} → {right}")

    def settle(self) -> None:
        """Raise ConfigError if anything was noted."""
        if self.lines:
            raise ConfigError(self.lines)


def show(value: object) -> str:
    """A value as TOML would spell it, shortened."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, str):
        text = msgspec.json.encode(value).decode()
    elif isinstance(value, Mapping):
        text = "a table"
    elif isinstance(value, list | tuple):
        text = "[" + ", ".join(show(item) for item in value) + "]"
    else:
        text = str(value)
    shown = text.replace("\n", " ")
    if len(shown) > GIVEN_CHARACTERS_MAX:
        return shown[: GIVEN_CHARACTERS_MAX - 1] + "…"
    return shown


def read_file(path: Path) -> bytes:
    """The octets of `path`. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            octets = file.read(FILE_OCTETS_MAX + 1)
    except OSError as error:
        raise ConfigError([f"{path}: {_reason(error)} → a readable file"]) from None
    if len(octets) > FILE_OCTETS_MAX:
        raise ConfigError([f"{path}: too large → at most {FILE_OCTETS_MAX} octets"])
    return octets


def read_toml(path: Path) -> dict[str, object]:
    """The tables of the TOML file `path`. Raises ConfigError."""
    try:
        return tomllib.loads(read_file(path).decode())
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: not UTF-8 → TOML, which is UTF-8 text"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: not TOML: {error} → valid TOML"]) from None


def file_problem(path: str, secret: bool) -> tuple[str, str] | None:
    """What is wrong with a file that the configuration names: (given, what would be right)."""
    if os.path.isdir(path):
        return f"{path} is a folder", "a file"
    try:
        with open(path, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except OSError as error:
        return f"{path}: {_reason(error)}", "a readable file"
    if secret and mode & 0o077:
        return f"{path} has mode {mode:04o}", f"mode 0600 (chmod 600 {path})"
    return None


def convert(
    cls: type[S],
    table: Mapping[str, object],
    problems: Problems,
    where: str = "",
    homes: Homes | None = None,
) -> S | None:
    """`table` as a `cls`; None when a value is missing or can't be one, as is noted in `problems`.

    Unknown keys are noted and left out, so that the rest can be looked at in the same go. `homes`:
    in which tables of the file a key is known, where `table` is one of several.
    """
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = {field.encode_name: field for field in msgspec.structs.fields(cls)}
    homes = _homes(hints) if homes is None else homes
    for key in table:
        if key not in fields:
            _unknown(where + key, homes.get(key, ()), list(fields), problems)
    values: dict[str, object] = {}
    usable = True
    for key, field in fields.items():
        if key in table:
            values[key] = _value(hints[field.name], table[key], problems, where + key, homes)
            usable = usable and values[key] is not None
        elif field.required:
            problems.add(where + key, "missing", _right(hints[field.name]))
            usable = False
    return cls(**values) if usable else None


def _homes(hints: Mapping[str, object]) -> Homes:
    """Key → the tables of a file that have it."""
    found: dict[str, list[str]] = {}
    for name, hint in hints.items():
        row = _table_of(hint)
        cls = hint if row is None else row
        if isinstance(cls, type) and issubclass(cls, msgspec.Struct):
            for key in cls.__struct_encode_fields__:
                found.setdefault(key, []).append(f"[{name}]" if row is None else f"[[{name}]]")
    return found


def _value(hint: object, given: object, problems: Problems, key: str, homes: Homes) -> object:
    """None: it can't be one, as is noted; TOML has no null."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        if not isinstance(given, Mapping):
            problems.add(key, show(given), f"a table, [{key}]")
            return None
        return convert(hint, given, problems, key + ".", homes)
    row = _table_of(hint)
    if row is not None:
        if not isinstance(given, list):
            problems.add(key, show(given), f"tables, [[{key}]]")
            return None
        rows = [_value(row, one, problems, f"{key}[{n}]", homes) for n, one in enumerate(given, 1)]
        return None if None in rows else tuple(rows)
    try:
        value: object = msgspec.convert(given, typing.cast(type[object], hint), strict=True)
    except msgspec.ValidationError:
        problems.add(key, show(given), _right(hint))
        return None
    meta = _meta(hint)
    if meta is not None and (meta.extra or {}).get("path"):
        return _absolute(value, problems)
    return value


def _absolute(value: object, problems: Problems) -> object:
    """A file's name, or several, relative to the folder of the file that names them."""
    if isinstance(value, str) and value:
        return os.path.normpath(problems.path.parent.absolute() / value)
    if isinstance(value, tuple):
        return tuple(_absolute(one, problems) for one in value)
    return value


def _table_of(hint: object) -> type[msgspec.Struct] | None:
    """The struct of each table in an array of tables; None: the hint is something else."""
    kinds = typing.get_args(hint) if typing.get_origin(hint) is tuple else ()
    if kinds and isinstance(kinds[0], type) and issubclass(kinds[0], msgspec.Struct):
        return kinds[0]
    return None


def _unknown(key: str, homes: Sequence[str], known: list[str], problems: Problems) -> None:
    near = difflib.get_close_matches(key.rpartition(".")[2], known, n=1)
    right = f"did you mean {near[0]}?" if near else f"one of {', '.join(known)}"
    if homes:
        right = f"a key of {', '.join(homes)}"
    problems.add(key, "unknown key", right)


def _meta(hint: object) -> msgspec.Meta | None:
    for extra in getattr(hint, "__metadata__", ()):
        if isinstance(extra, msgspec.Meta):
            return extra
    return None


def _right(hint: object) -> str:
    meta = _meta(hint)
    return (meta.description if meta is not None else None) or "a table"


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
