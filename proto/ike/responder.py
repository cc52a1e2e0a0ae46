"""The first request of a peer we hold no state for: IKE_SA_INIT and IKE_SESSION_RESUME (RFC 7296
2.6, RFC 5723 4.3.2).

Rules: one bounded computation and at most one stateless answer before a cookie or a ticket has
convinced us; the half-open table is bounded. Malformed octets get silence, a ticket that doesn't
open gets TICKET_NACK at once.
"""

from collections.abc import Callable
from functools import partial

import msgspec

from proto.ike import redirect
from proto.ike.core import Context, Handshake, SaCore, State
from proto.ike.effects import Datagram, Outcome, ignored
from proto.ike.enums import FLAG_RESPONSE, ExchangeType, NotifyType
from proto.ike.errands import Errand, Needed
from proto.ike.errors import PeerError, TicketReason, TicketRejected, WireError
from proto.ike.events import Event, Failed, Redirected, TicketRefused
from proto.ike.exchanges import ike_sa_init, ike_session_resume
from proto.ike.half_open import HalfOpen
from proto.ike.message import Header, Message, decode_clear, encode_clear
from proto.ike.payloads import NoncePayload, NotifyPayload, Payload
from proto.ike.redirect import Target
from proto.ike.refusals import Used
from proto.ike.ticket import KEY_ID, TicketBody

_RESUME = ExchangeType.IKE_SESSION_RESUME
_NOT_USED = Used.NO
_USED = Used.YES
_MAYBE_USED = Used.MAYBE

NO_SPI = bytes(8)


class Looked(msgspec.Struct, frozen=True, gc=False):
    """What was asked of others since the datagram was presented first."""

    ring_is_fresh: bool = False
    used: bool | None = None
    """Was the ticket used already? None: nobody asked."""
    state: bytes | None = None
    """What is kept for a ticket by reference, empty if nothing is. None: nobody asked."""


class Unfinished(msgspec.Struct, frozen=True):
    """A first request whose answer needs an errand: the half-open SA that stands for it."""

    core: SaCore
    errand: Errand
    again: Callable[[Context], SaCore | Outcome]
    """Raises Needed."""


def decode_first(header: Header, ctx: Context) -> tuple[Message, bytes]:
    """The message and what tells a repeat from a new request: SPIi ‖ Ni (RFC 7296 2.1). Raises
    WireError.
    """
    message = decode_clear(ctx.raw, header)
    nonce = message.find(NoncePayload)
    if nonce is None:
        raise WireError("a first request without a nonce")
    return message, header.spi_i + nonce.data


def answer(
    message: Message, half_open: HalfOpen, looked: Looked, ctx: Context
) -> SaCore | Unfinished | Outcome:
    """The new half-open SA, or what it needs first, or a stateless Outcome."""
    unknown = message.critical
    if unknown is not None:
        critical = NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD
        return refuse(message, (NotifyPayload(critical, bytes((unknown.type,))),), ctx)
    if ctx.settings.redirect is not None:
        elsewhere = _redirect(ctx.settings.redirect, message, ctx)
        if elsewhere is not None:
            return elsewhere
    if message.header.exchange == _RESUME:
        return _resume(message, half_open, looked, ctx)
    return _init(message, half_open, ctx)


def _redirect(target: Target, message: Message, ctx: Context) -> Outcome | None:
    """Where the sender is to go instead, if he follows and came to an address where that holds (RFC
    5685 3, 4): stateless, and no larger than the request. Not back to whom he comes from.
    """
    here, nonce = ctx.settings.redirect_at, message.find(NoncePayload)
    if nonce is None or (here and ctx.path.local[0] not in here):
        return None
    if not redirect.follows(message) or redirect.was_sent_by(message, target):
        return None
    event = Redirected(b"", target.text)
    return refuse(message, (redirect.redirect(target, nonce.data),), ctx, event)


def _init(message: Message, half_open: HalfOpen, ctx: Context) -> SaCore | Unfinished | Outcome:
    settings, there = ctx.settings, half_open.of_source(ctx.path.remote[0])
    if there >= settings.half_open_source_max:
        return ignored("source_full")
    is_slow = ike_sa_init.is_slow(message, ctx)
    many = there >= settings.cookie_source_threshold
    if is_slow or many or half_open.handshakes >= settings.cookie_threshold:
        wanted = ike_sa_init.need_cookie(message, ctx)
        if wanted is not None:
            return refuse(message, (wanted,), ctx)
    if half_open.handshakes >= settings.half_open_max:
        return ignored("half_open_full")
    spi_r = ctx.spis.ike_spi()
    if spi_r is None:
        return ignored("no_shard")
    try:
        return _answer_init(spi_r, message, ctx)
    except Needed as needed:
        nonce = message.find(NoncePayload)
        handshake = Handshake(b"" if nonce is None else nonce.data, message_1=ctx.raw)
        core = SaCore(State.INIT_ANSWERED, False, message.header.spi_i, spi_r, handshake=handshake)
        again = partial(_answer_init, spi_r, message)
        return Unfinished(core, needed.errand, again)


def _answer_init(spi_r: bytes, message: Message, ctx: Context) -> SaCore | Outcome:
    """Raises Needed."""
    try:
        return ike_sa_init.respond(spi_r, message, ctx)
    except PeerError as error:
        failed = Failed(b"", False, error.why, ctx.path.remote[0])
        return refuse(message, (NotifyPayload(error.notify, error.data),), ctx, failed)


def _resume(
    message: Message, half_open: HalfOpen, looked: Looked, ctx: Context
) -> SaCore | Outcome:
    try:
        if looked.used:
            raise TicketRejected(TicketReason.REUSED)
        body = ike_session_resume.open_ticket(message, ctx, looked.state)
        used = ctx.refusals.used(body) if looked.used is None else _NOT_USED
        if used is _USED:
            raise TicketRejected(TicketReason.REUSED)
        if not isinstance(body, TicketBody):
            return Outcome(fetch=body)  # which asks the chain as well
        if used is _MAYBE_USED:
            return Outcome(confirm=body)
    except TicketRejected as rejected:
        if rejected.reason is TicketReason.UNKNOWN_KEY and not looked.ring_is_fresh:
            shown = message.notify(NotifyType.TICKET_OPAQUE)
            if shown is not None:
                return Outcome(look_up=shown.data[KEY_ID])
        refused = TicketRefused(b"", rejected.reason.value)
        return refuse(message, ike_session_resume.NACK, ctx, refused)
    if not half_open.has_room(body.chain, ctx.settings.half_open_max):
        return ignored("half_open_full")
    spi_r = ctx.spis.ike_spi()
    if spi_r is None:
        return ignored("no_shard")
    return ike_session_resume.respond(spi_r, message, body, ctx)


def refuse(
    message: Message, payloads: tuple[Payload, ...], ctx: Context, *events: Event
) -> Outcome:
    """An unprotected answer that keeps no state; SPIr is zero (RFC 7296 2.6)."""
    header = message.header
    data = encode_clear(header.spi_i, NO_SPI, header.exchange, FLAG_RESPONSE, 0, payloads)
    return Outcome(send=(Datagram(data, ctx.path),), events=events)
