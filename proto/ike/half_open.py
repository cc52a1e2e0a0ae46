"""The responder's half-open IKE SAs: answered once, not authenticated yet (RFC 8019 4.1, 4.2).

Rules: full handshakes and resumptions are counted apart, so that a flood of one kind keeps nobody
out who comes with the other; a session has few places, since whoever saw its ticket pass can show
it (RFC 5723 4.3.1: that doesn't use it up). One that failed keeps its place until it is forgotten:
failing is no way to more memory. Full handshakes are also counted by where they come from: an IPv4
address, or an IPv6 network of 64 bits, which is as cheap to have.
"""

import ipaddress

from proto.ike.sa import IkeSa

RESUMING_MAX = 4
"""Half-open resumptions of one session; the oldest makes way for a fifth."""
SOURCE_BITS = 64
"""Of an IPv6 address, what somebody has to himself."""
_HANDSHAKE = b""
"""Stands for the chain where there is none: a full handshake."""


def source_of(host: str) -> str:
    """What `host` is counted as: itself, or its IPv6 network."""
    if ":" not in host:
        return host
    return str(ipaddress.ip_network((host.partition("%")[0], SOURCE_BITS), strict=False))


class HalfOpen:
    """SAs by what tells a repeat of their first request from a new one, grouped by chain."""

    __slots__ = ("_by_chain", "_by_source", "_chains", "_sources")

    def __init__(self) -> None:
        self._by_source: dict[str, int] = {}
        self._sources: dict[bytes, str] = {}
        self._chains: dict[bytes, bytes] = {}
        self._by_chain: dict[bytes, dict[bytes, IkeSa]] = {}

    def __len__(self) -> int:
        return len(self._chains)

    @property
    def handshakes(self) -> int:
        """How many are full handshakes."""
        return len(self._by_chain.get(_HANDSHAKE, ()))

    def of_source(self, host: str) -> int:
        """How many full handshakes come from where `host` is."""
        return self._by_source.get(source_of(host), 0)

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
        key, group = sa.half_open_key, self._by_chain.setdefault(chain, {})
        oldest = None
        if chain and len(group) >= RESUMING_MAX:
            oldest = next((other for other in group.values() if other.waiting is None), None)
        self._chains[key] = chain
        group[key] = sa
        if not chain:
            source = self._sources[key] = source_of(sa.path.remote[0])
            self._by_source[source] = self._by_source.get(source, 0) + 1
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
        if chain == _HANDSHAKE:
            source = self._sources.pop(key)
            self._by_source[source] -= 1
            if not self._by_source[source]:
                del self._by_source[source]
