"""SAs that nobody knows of any more: made without the store, and lost with all that kept them.

Rules: a ticket is used once as long as somebody knows of its use. Who knows is the store, once a
chain in it has named the SA, and every process that made or kept it. When all of those are gone the
SA has ended with them, and its generation may go to another one.
"""

from collections.abc import Set as AbstractSet

Life = tuple[str, str]
"""A member and its incarnation."""


class Forgotten:
    """The gateway's SPIs, and who knows of each."""

    def __init__(self) -> None:
        self.named: dict[bytes, None] = {}
        """Those that a chain in the store ever named."""
        self.knowers: dict[bytes, dict[Life, None]] = {}
        """SPI → who made or kept it without the store."""
        self.replaced: dict[bytes, None] = {}
        """Those that were forgotten, and whose generation another SA has."""

    def holds(self, spi: bytes, lives: AbstractSet[Life]) -> bool:
        """Whether that SA is forgotten, given who lives."""
        knowers = self.knowers.get(spi)
        return bool(knowers) and spi not in self.named and lives.isdisjoint(knowers or ())
