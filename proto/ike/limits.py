"""How many sessions one peer may have: asked for when another one is to begin.

Rules: sessions are counted of a pair of identities that was authenticated (RFC 7296 2.4), over all
members of the cluster; the session that is resumed isn't counted. Who has proven nothing is nobody:
its sessions have no limit. Beyond it the new session is refused like any peer that policy forbids
(RFC 7296 2.21.2), a resumption with its ticket unused; or it begins, and the oldest one ends.
(Who counts: `node.seats`.)
"""

from proto.ike.connection import Connection, Method
from proto.ike.core import Context, SaCore, State, Step, replace
from proto.ike.enums import NotifyType
from proto.ike.errands import Errand, Result
from proto.ike.events import Failed, Limited, OverLimit
from proto.ike.payloads import NotifyPayload

_NULL = Method.NULL.value


class CountSessions(Errand, frozen=True):
    """How many sessions has this pair of identities, beside the one that is to begin?"""

    spi: bytes
    """Our SPI of the SA that is to begin."""
    chain: bytes
    """The session's, if it is resumed."""
    identity: str
    local_id: bytes
    """See `proto.ike.events.InitialContact`."""
    begins_anew: bool
    """The peer says that it has no others (RFC 7296 2.4)."""


class Counted(Result, frozen=True):
    """That many."""

    others: int


def refused(core: SaCore, connection: Connection, begins_anew: bool, ctx: Context) -> Step | None:
    """The end of a half-open SA whose peer has too many sessions; None: it may begin.

    Raises Needed; PeerError TEMPORARY_FAILURE where nobody can count.
    """
    most = connection.sessions_max
    if not most or connection.oldest_ends or core.auth_method == _NULL or core.idr is None:
        return None
    chain = core.chain if core.resumed else b""
    asked = CountSessions(core.spi, chain, core.identity, core.idr.data, begins_anew)
    others = ctx.need(asked, Counted, NotifyType.TEMPORARY_FAILURE).others
    if others < most:
        return None
    why = f"{core.identity} has {others} sessions; sessions_max of {connection} is {most}"
    events = (
        OverLimit(core.spi, core.identity, core.idr.data, others, most),
        Failed(core.spi, core.resumed, why, ctx.path.remote[0]),
    )
    reply = (NotifyPayload(NotifyType.AUTHENTICATION_FAILED),)
    return Step(replace(core, state=State.DEAD), reply, events=events)


def told(core: SaCore, connection: Connection) -> tuple[Limited, ...]:
    """The news of a session of a limited connection that has begun."""
    most = connection.sessions_max
    if not most or core.auth_method == _NULL or core.idr is None:
        return ()
    ends = connection.oldest_ends
    return (Limited(core.spi, core.identity, core.idr.data, most, ends),)
