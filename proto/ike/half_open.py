"""The responder's half-open IKE SAs: answered once, not authenticated yet.

Rules: full handshakes and resumptions are counted apart, so that a flood of one kind keeps nobody
out who comes with the other; a session has few places, since whoever saw its ticket pass can show
it (RFC 5723 4.3.1: that doesn't use it up). One that failed keeps its place until it is forgotten:
failing is no way to more memory.
"""

from proto.ike.sa import IkeSa

RESUMING_MAX = 4
"""Half-open resumptions of one session; the oldest makes way for a fifth."""
_HANDSHAKE = b""
"""Stands for the chain where there is none: a full handshake."""


class HalfOpen:
    """SAs by what tells a repeat of their first request from a new one, grouped by chain."""

    __slots__ = ("_by_chain", "_chains")

    def __init__(self) -> None:
        self._chains: dict[bytes, bytes] = {}
        self._by_chain: dict[bytes, dict[bytes, IkeSa]] = {}

    def __len__(self) -> int:
        return len(self._chains)

    @property
    def handshakes(self) -> int:
        """How many are full handshakes."""
        return len(self._by_chain.get(_HANDSHAKE, ()))

    def has_room(self, chain: bytes, limit: int) -> bool:
        """May one more resumption of `chain` come in, if there may be `limit` of all chains?"""
        if len(self._chains) < limit or len(self) - self.handshakes < limit:
            return True
        return len(self._by_chain.get(chain, ())) >= RESUMING_MAX

    def find(self, key: bytes) -> IkeSa | None:
        """The SA whose first request had that key."""
        chain = self._chains.get(key)
        return None if chain is None else self._by_chain[chain][key]

    def add(self, sa: IkeSa, chain: bytes) -> IkeSa | None:
        """Take `sa` in under its `half_open_key`; `chain` is empty for a full handshake.

        Returns the SA that has to make way for it, if any: never one whose write is under way.
        """
        group = self._by_chain.setdefault(chain, {})
        oldest = None
        if chain and len(group) >= RESUMING_MAX:
            oldest = next((other for other in group.values() if other.waiting is None), None)
        self._chains[sa.half_open_key] = chain
        group[sa.half_open_key] = sa
        return oldest

    def discard(self, sa: IkeSa) -> None:
        """`sa` is established or gone."""
        key, sa.half_open_key = sa.half_open_key, b""
        chain = self._chains.pop(key, None)
        if chain is None:
            return
        group = self._by_chain[chain]
        del group[key]
        if not group:
            del self._by_chain[chain]
