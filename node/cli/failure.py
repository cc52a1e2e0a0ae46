"""How a command ends that did not do what was asked."""

import enum
from collections.abc import Sequence


class ExitCode(enum.IntEnum):
    """What a command's exit code says."""

    DONE = 0
    REFUSED = 1
    """Asked, and refused or failed."""
    COULD_NOT_RUN = 2
    """Wrongly called, badly configured, or nobody there to ask."""


class Failed(Exception):
    """The command ends with `code`, after printing `lines`."""

    def __init__(self, code: ExitCode, lines: Sequence[str]) -> None:
        super().__init__("; ".join(lines))
        self.code = code
        self.lines = tuple(lines)


def unless_sure(yes: bool, what: str, when: str = "if that is wanted") -> None:
    """Stop before what can't be taken back, unless `--yes` was said. Raises Failed."""
    if not yes:
        raise Failed(ExitCode.COULD_NOT_RUN, [f"{what} → say --yes {when}"])
