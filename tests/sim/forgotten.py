"""What nobody knows of any more: made without the store, and lost with all that kept it.

Rules: a ticket is used once as long as somebody knows of its use. Who knows is the store, once a
chain in it has named the SA, and every process that made or kept it. When all of those are gone the
SA has ended with them, and its generation may go to another one. So it is with what tickets by
reference point to: once nobody has it, a generation's are refused, also where the store has the
generation itself; what it ever had is never forgotten.
"""

from collections.abc import Set as AbstractSet

Life = tuple[str, str]
"""A member and its incarnation."""
Key = bytes | tuple[bytes, int]
"""An SA's SPI at its gateway; or chain and generation."""


class Forgotten:
    """SAs, or what a generation's tickets by reference point to, and who knows of each."""

    def __init__(self) -> None:
        self.named: dict[Key, None] = {}
        """SAs that a chain in the store ever named; what the store ever had."""
        self.knowers: dict[Key, dict[Life, None]] = {}
        """Who made or kept it without the store."""
        self.replaced: dict[Key, None] = {}
        """SAs that were forgotten, and whose generation another SA has."""

    def holds(self, key: Key, lives: AbstractSet[Life]) -> bool:
        """Whether that is forgotten, given who lives."""
        knowers = self.knowers.get(key)
        return bool(knowers) and key not in self.named and lives.isdisjoint(knowers or ())
