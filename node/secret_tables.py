"""Files that are a list of tables with a secret in each, mode 0600.

Rules: nothing of a table that is wrong is shown, for it may be half a secret; whoever knows which
texts are names may show those.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from node.toml_strict import ConfigError, Problems, convert, file_problem, read_toml

S = TypeVar("S", bound=msgspec.Struct)


def must_be_private(file: Path) -> None:
    """Raises ConfigError where others may read it, or it can't be read."""
    wrong = file_problem(str(file), secret=True)
    if wrong is not None:
        raise ConfigError([f"{wrong[0]} → {wrong[1]}"])


def secret_tables(
    problems: Problems, key: str, cls: type[S], most: int, texts: str
) -> Iterator[tuple[str, S]]:
    """(`key` and number, entry) of each good `[[key]]` table of the file that `problems` are of: 1
    to `most`, which have `texts`. The others are noted in `problems`. Raises ConfigError where
    there is no such file.
    """
    must_be_private(problems.path)
    tables = read_toml(problems.path)
    listed = tables.get(key)
    for other in tables:
        if other != key:
            problems.add(other, "unknown key", f"[[{key}]] tables only")
    if not isinstance(listed, list) or not 0 < len(listed) <= most:
        problems.add(key, "missing", f"1 to {most} [[{key}]] tables with {texts}")
        listed = []
    for number, table in enumerate(listed, 1):
        where = f"{key} {number}"
        if not isinstance(table, dict) or not all(isinstance(v, str) for v in table.values()):
            problems.add(where, "not a table of texts", f"{texts}, both texts")
        elif (entry := convert(cls, table, problems, where + ".")) is not None:
            yield where, entry
