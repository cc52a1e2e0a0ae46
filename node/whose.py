"""Which established sessions of this member are whose.

Rules: told of every session that comes, is adopted, gets another SPI, or ends; asked by whoever has
to do with one peer's sessions, so that nobody looks through all of them. A session belongs to the
pair of identities that were authenticated (RFC 7296 2.4): one name may be two people's at two
identities of ours. Who has proven nothing is nobody (RFC 7619 2.5).
"""

from collections.abc import Callable

from proto.ike.connection import Method
from proto.ike.core import SaCore

Pair = tuple[str, bytes]
"""The peer's authenticated identity in text, and the octets of ours."""

_NULL = Method.NULL.value


def pair_of(core: SaCore) -> Pair | None:
    """Whose an established session is; None: nobody's."""
    if core.idr is None or core.auth_method == _NULL:
        return None
    return core.identity, core.idr.data


class Whose:
    """See the module. A session is named by its chain."""

    def __init__(self, find: Callable[[bytes], SaCore | None]) -> None:
        """`find`: the state of an SA."""
        self._find = find
        self._of: dict[Pair, dict[bytes, bytes]] = {}
        self._pairs: dict[bytes, Pair] = {}

    def up(self, chain: bytes, spi: bytes) -> None:
        """The session lives under this SPI from now on."""
        core = self._find(spi)
        pair = None if core is None else pair_of(core)
        if pair is not None:
            self._pairs[chain] = pair
            self._of.setdefault(pair, {})[chain] = spi

    def down(self, chain: bytes, spi: bytes) -> None:
        """The SA is gone; the session too, unless it lives under another SPI."""
        pair = self._pairs.get(chain)
        if pair is None or self._of[pair].get(chain) != spi:
            return
        del self._pairs[chain], self._of[pair][chain]
        if not self._of[pair]:
            del self._of[pair]

    def where(self, chain: bytes) -> bytes | None:
        """Our SPI of that session; None: it isn't here, or nobody's."""
        pair = self._pairs.get(chain)
        return None if pair is None else self._of[pair].get(chain)

    def sessions(self, pair: Pair) -> list[SaCore]:
        """Those of that pair, as they stand."""
        found = [self._find(spi) for spi in self._of.get(pair, {}).values()]
        return [core for core in found if core is not None]
