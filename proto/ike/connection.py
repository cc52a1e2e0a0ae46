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
from proto.ike.payloads import CertPayload, IdPayload, TrafficSelector
from proto.ike.pools import Pool
from proto.ike.redirect import Target
from proto.ike.signature import PrivateKey

BOTH_FORMS = (ResumeForm.RFC, ResumeForm.FIRST_MESSAGE)
ANYBODY = ("*",)
DEFAULT = ""
"""The name of the connection that `[ike]` itself is, and of a client's."""
SHOWN_MAX = 4
"""Connections that a line of the log shows."""
ADMITTED_MAX = 65_536
"""Identities that are remembered as admitted; beyond it the memory starts anew."""


class Method(enum.Enum):
    """How somebody proves who it is."""

    PSK = "psk"
    CERTIFICATE = "certificate"
    EAP = "eap"
    NULL = "null"
    """Not at all (RFC 7619)."""


class OwnKey(msgspec.Struct, frozen=True):
    """What we sign with, and who says that it is ours."""

    key: PrivateKey
    shown: tuple[CertPayload, ...]
    """Our certificate, then what else the peer may want to see (RFC 7296 3.6)."""


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
    redirect: Target | None = None
    """Where its peers are sent once they are authenticated, if they follow (RFC 5685 6)."""
    pools: tuple[Pool, ...] = ()
    """Where its peers' internal addresses come from: the first that has one of a family."""
    eap_methods: tuple[str, ...] = ()
    """Those that may be used; none: all that there are."""
    eap_only: bool = False
    """EAP may prove both sides, to a peer that wants it so (RFC 5998)."""
    sessions_max: int = 0
    """How many sessions one of its peers may have at a time; 0: any number."""
    oldest_ends: bool = False
    """Beyond that the oldest one ends; otherwise the new one is refused."""
    ppk_required: bool = False
    """A PPK must be mixed in (RFC 8784); else one is where both sides have it."""
    transport: bool = False
    """Child SAs are in transport mode where the peer asks for that."""
    lifetime_s: float = 0.0
    """After which the peer must authenticate again, and is told so (RFC 4478); 0: it isn't told."""

    def fits(self, identity: str) -> bool:
        """Is it for a peer of that identity?"""
        return any(is_like(identity, pattern) for pattern in self.identities)

    def takes(self, proven: str) -> bool:
        """Is what a peer has proven, as `SaCore.auth_method` has it, what it must prove today?"""
        kinds = [one.partition("-")[0] for one in proven.split("+")]
        return kinds == [method.value for method in self.remote_auth]

    def __str__(self) -> str:
        """For the log: what is configured."""
        asked = "+".join(method.value for method in self.remote_auth)
        ours = format_identity((self.local_id.id_type, self.local_id.data))
        return f"{self.name or '[ike]'} ({', '.join(self.identities)} proves {asked} to {ours})"


def is_like(identity: str, pattern: str) -> bool:
    """Does the pattern fit the identity, as `format_identity` spells it?"""
    return pattern == "*" or _compiled(pattern).fullmatch(identity) is not None


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)


class Connections:
    """All of an endpoint, in the order in which they are tried."""

    __slots__ = ("_admitted", "_all", "_by_name", "multiple")

    def __init__(self, connections: Sequence[Connection]) -> None:
        self._all = tuple(connections)
        self.multiple = any(len(connection.remote_auth) > 1 for connection in self._all)
        """Does any want several proofs (RFC 4739)?"""
        self._by_name = {connection.name: connection for connection in self._all}
        self._admitted: dict[tuple[str, int, bytes, str], None] = {}

    def named(self, name: str) -> Connection | None:
        """The connection of that name; None: there is none any more."""
        return self._by_name.get(name)

    def choose(self, idi: IdPayload, idr: IdPayload | None, begins: Method) -> Connection | None:
        """The first for that peer, which may have asked for one of our identities, and which
        `begins` with such a proof. Of one that proves nothing the identity means nothing (RFC 7619
        2.2).
        """
        identity = format_identity((idi.id_type, idi.data))
        for connection in self._all:
            ours = connection.local_id
            if idr is not None and (idr.id_type, idr.data) != (ours.id_type, ours.data):
                continue
            if connection.remote_auth[0] is not begins:
                continue
            if begins is Method.NULL or connection.fits(identity):
                return connection
        return None

    def __str__(self) -> str:
        """For the log: what is configured."""
        shown = [str(connection) for connection in self._all[:SHOWN_MAX]]
        more = len(self._all) - len(shown)
        return "; ".join([*shown, f"and {more} more"] if more else shown)

    def admitting(self, name: str, idi_type: int, idi: bytes, proven: str) -> Connection | None:
        """The connection of that name, if it is still there, still for that peer, and still content
        with what it has proven.
        """
        connection = self._by_name.get(name)
        key = (name, idi_type, idi, proven)
        if connection is None or key in self._admitted:
            return connection
        is_null = connection.remote_auth[0] is Method.NULL
        fits = is_null or connection.fits(format_identity((idi_type, idi)))
        if not fits or not connection.takes(proven):
            return None
        if len(self._admitted) >= ADMITTED_MAX:
            self._admitted.clear()
        self._admitted[key] = None
        return connection
