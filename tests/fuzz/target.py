"""What a fuzz target is, and how octets become decisions.

Rules: a target's invariant is its docstring; `check` raises for anything that breaks it and returns
for all else. It depends on its octets alone, so that a finding can be tried again.
"""

from collections.abc import Callable
from typing import NamedTuple

Check = Callable[[bytes], None]


class Target(NamedTuple):
    """One decoder, or one way into an endpoint."""

    name: str
    check: Check
    seeds: Callable[[], list[bytes]]
    """Inputs to begin with: real ones."""
    weight: int = 1
    """Its share of the time."""


class Choices:
    """Decisions read from octets, front to back; past their end every decision is 0."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offset = 0

    def __bool__(self) -> bool:
        """Something is left."""
        return self._offset < len(self._data)

    def byte(self) -> int:
        """0 to 255."""
        return (self.octets(1) or b"\0")[0]

    def below(self, n: int) -> int:
        """0 to n - 1."""
        return self.byte() % n

    def octets(self, n: int) -> bytes:
        """The next `n` octets, or what is left."""
        taken = self._data[self._offset : self._offset + n]
        self._offset += n
        return taken

    def block(self) -> bytes:
        """As many octets as the two before them say."""
        return self.octets(int.from_bytes(self.octets(2), "big"))

    def rest(self) -> bytes:
        """All that is left."""
        return self.octets(len(self._data))


def block(octets: bytes) -> bytes:
    """What `Choices.block` reads as `octets`."""
    return len(octets).to_bytes(2, "big") + octets
