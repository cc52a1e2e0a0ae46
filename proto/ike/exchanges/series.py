"""A CREATE_CHILD_SA that goes on in IKE_FOLLOWUP_KE exchanges: how one leads to the next, both
roles (RFC 9370 2.2.4).

Rules: nothing is made before the last of them. What is under way is kept in memory alone, by both
ends: whoever has lost it says STATE_NOT_FOUND, and the initiator begins again. A responder has one
at a time, the newest, for no longer than `WAIT_S`. The link says which one is meant; it is random,
and another one for each exchange.
"""

import hmac

from proto.ike.agreement import make_key
from proto.ike.core import Asking, Context, SaCore, Series, Step, replace
from proto.ike.enums import NotifyType
from proto.ike.errors import PeerError
from proto.ike.message import Message
from proto.ike.payloads import KePayload, NotifyPayload

LINK_OCTETS = 16
LINK_MAX = 1024
"""Octets of a responder's, at most: it goes into our next request, which is to stay a message."""
WAIT_S = 20.0
"""How long a responder waits for the next exchange: the longest that the RFC thinks of."""

_ADDITIONAL_KEY_EXCHANGE = NotifyType.ADDITIONAL_KEY_EXCHANGE


def hold(core: SaCore, series: Series, ctx: Context) -> tuple[SaCore, NotifyPayload]:
    """Responder: the next exchange is waited for; what goes into the answer."""
    link = ctx.rng.bytes(LINK_OCTETS)
    held = replace(series, link=link, until_s=ctx.now.boot_s + WAIT_S)
    return replace(core, series=held), NotifyPayload(_ADDITIONAL_KEY_EXCHANGE, link)


def held(core: SaCore, message: Message, ctx: Context) -> Series:
    """Responder: the one that a request goes on with. Raises PeerError STATE_NOT_FOUND."""
    series, link = core.series, message.notify(_ADDITIONAL_KEY_EXCHANGE)
    lost = PeerError(NotifyType.STATE_NOT_FOUND, why="IKE_FOLLOWUP_KE that follows nothing")
    if series is None or link is None or ctx.now.boot_s >= series.until_s:
        raise lost
    if not hmac.compare_digest(link.data, series.link):
        raise lost
    return series


def ask(core: SaCore, asking: Asking, series: Series, message: Message, ctx: Context) -> Step:
    """Initiator: the next KEi, with the link of the answer that came. Raises PeerError where that
    has none, or an endless one; Needed.
    """
    link = message.notify(_ADDITIONAL_KEY_EXCHANGE)
    if link is None or len(link.data) > LINK_MAX:
        why = "additional key exchanges without ADDITIONAL_KEY_EXCHANGE, or with an endless one"
        raise PeerError(NotifyType.INVALID_SYNTAX, why=why)
    exchange = make_key(series.more[0], ctx)
    asking = replace(asking, exchange=exchange, series=series)
    # of two rekeys at once the peer's has lost, and isn't gone on with
    core = replace(core, asking=asking, series=None)
    return Step(
        core,
        (
            KePayload(exchange.group, exchange.public),
            NotifyPayload(_ADDITIONAL_KEY_EXCHANGE, link.data),
        ),
    )
