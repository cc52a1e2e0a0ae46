"""Connections: whom a gateway takes in, what each must prove, and what it then gets.

Rules: the first connection that fits a peer's identities is its connection for good: its name is in
the SA's record and in its tickets, and whether it still admits the peer is looked at again at every
resumption (RFC 5723 5, notes 1 and 4 of the table of its fields). An identity is compared as the
text that operators write (`proto.ike.identity`).
"""

import enum
import re
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from proto.ike.auth import ResumeForm
from proto.ike.identity import format_identity
from proto.ike.payloads import IdPayload, TrafficSelector
from proto.ike.pools import Pool

BOTH_FORMS = (ResumeForm.RFC, ResumeForm.FIRST_MESSAGE)
ANYBODY = ("*",)
DEFAULT = ""
"""The name of the connection that `[ike]` itself is, and of a client's."""
ADMITTED_MAX = 65_536
"""Identities that are remembered as admitted; beyond it the memory starts anew."""


class Method(enum.Enum):
    """How somebody proves who it is."""

    PSK = "psk"


class Connection(msgspec.Struct, frozen=True):
    """One kind of peer; see the module."""

    name: str
    local_id: IdPayload
    """Who we are to it, of kind IDr."""
    local_ts: tuple[TrafficSelector, ...]
    remote_ts: tuple[TrafficSelector, ...]
    identities: tuple[str, ...] = ANYBODY
    """Patterns of the identities that it is for; `*` stands for any text."""
    local_auth: Method = Method.PSK
    """What we prove."""
    remote_auth: tuple[Method, ...] = (Method.PSK,)
    """What the peer must prove, one after the other (RFC 4739)."""
    resume_forms: tuple[ResumeForm, ...] = BOTH_FORMS
    pools: tuple[Pool, ...] = ()
    """Where its peers' internal addresses come from: the first that has one of a family."""

    def fits(self, identity: str) -> bool:
        """Is it for a peer of that identity?"""
        return any(is_like(identity, pattern) for pattern in self.identities)


def is_like(identity: str, pattern: str) -> bool:
    """Does the pattern fit the identity, as `format_identity` spells it?"""
    return pattern == "*" or _compiled(pattern).fullmatch(identity) is not None


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)


class Connections:
    """All of an endpoint, in the order in which they are tried."""

    __slots__ = ("_admitted", "_all", "_by_name")

    def __init__(self, connections: Sequence[Connection]) -> None:
        self._all = tuple(connections)
        self._by_name = {connection.name: connection for connection in self._all}
        self._admitted: dict[tuple[str, int, bytes], None] = {}

    def named(self, name: str) -> Connection | None:
        """The connection of that name; None: there is none any more."""
        return self._by_name.get(name)

    def choose(self, idi: IdPayload, idr: IdPayload | None) -> Connection | None:
        """The first for that peer, which may have asked for one of our identities."""
        identity = format_identity((idi.id_type, idi.data))
        for connection in self._all:
            ours = connection.local_id
            if idr is not None and (idr.id_type, idr.data) != (ours.id_type, ours.data):
                continue
            if connection.fits(identity):
                return connection
        return None

    def admitting(self, name: str, idi_type: int, idi: bytes) -> Connection | None:
        """The connection of that name, if it is still there and still for that peer."""
        connection = self._by_name.get(name)
        key = (name, idi_type, idi)
        if connection is None or key in self._admitted:
            return connection
        if not connection.fits(format_identity((idi_type, idi))):
            return None
        if len(self._admitted) >= ADMITTED_MAX:
            self._admitted.clear()
        self._admitted[key] = None
        return connection
