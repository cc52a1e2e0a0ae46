"""Asking for tickets, issuing and keeping them (RFC 5723 4.1, 4.2, 6, 7).

Rules: the answer to TICKET_REQUEST is exactly one of TICKET_LT_OPAQUE, TICKET_ACK and TICKET_NACK,
and never changes the outcome of the exchange it rides in (R4, R6). No ticket outlives its SA's
policy or the original authentication.
"""

import msgspec

from proto.ike import reference, ticket
from proto.ike.core import Context, SaCore
from proto.ike.enums import NotifyType
from proto.ike.errors import Misuse
from proto.ike.message import Message
from proto.ike.nat import THERE
from proto.ike.payloads import NotifyPayload
from proto.ike.ticket import BEHIND_NAT, PPK_USED, ClientTicket, TicketBody, TicketForm

_BY_REFERENCE = TicketForm.BY_REFERENCE
_BY_VALUE = TicketForm.BY_VALUE
_TICKET_LT_OPAQUE = NotifyType.TICKET_LT_OPAQUE

LIFETIME_OCTETS = 4


class Issued(msgspec.Struct, frozen=True, gc=False):
    """The answer to a TICKET_REQUEST."""

    notify: NotifyPayload
    lifetime_s: int = 0
    """What the client is told; 0: there is no ticket."""
    state: bytes = b""
    """By reference: what must be durable, under the chain, before the answer leaves."""


REFUSED = Issued(NotifyPayload(NotifyType.TICKET_NACK))


def issue(core: SaCore, ctx: Context) -> Issued:
    """A ticket for `core` (its chain, its generation).

    REFUSED where no key seals now, nothing is left of the lifetime, the chain was revoked, or the
    ticket would be too long: no handshake fails for want of one.
    """
    now, settings = ctx.now.wall_s, ctx.settings
    until = min(now + settings.ticket_lifetime_s, core.expires_wall_s, core.auth_deadline_wall_s)
    lifetime_s = int(until - now)
    key = ctx.tickets.sealing(now)
    if key is None or lifetime_s <= 0 or not core.generation:
        return REFUSED
    body = _body(core, ctx, now + lifetime_s)
    form, sealed, state = settings.ticket_form, b"", b""
    if form is not _BY_REFERENCE:
        sealed = ticket.seal(body, key, settings.realm, ctx.rng)
    if form is _BY_VALUE:
        if len(sealed) > ticket.TICKET_MAX:
            return REFUSED
    elif not sealed or len(sealed) > settings.ticket_octets_max:
        sealed = reference.seal_reference(body, key, settings.realm, ctx.rng)
        state = reference.encode_state(body)
    data = lifetime_s.to_bytes(LIFETIME_OCTETS, "big") + sealed
    return Issued(NotifyPayload(_TICKET_LT_OPAQUE, data), lifetime_s, state)


def _body(core: SaCore, ctx: Context, expires_wall_s: float) -> TicketBody:
    suite, keys, idi, idr = core.suite, core.keys, core.idi, core.idr
    if suite is None or keys is None or idi is None or idr is None:
        raise Misuse("a ticket for an SA that isn't established")
    return TicketBody(
        id=ctx.rng.bytes(16),
        chain=core.chain,
        generation=core.generation,
        epoch=ctx.settings.epoch,
        issued_wall_s=ctx.now.wall_s,
        expires_wall_s=expires_wall_s,
        auth_deadline_wall_s=core.auth_deadline_wall_s,
        spi_i=core.peer_spi,
        spi_r=core.spi,
        idi_type=idi.id_type,
        idi=idi.data,
        idr_type=idr.id_type,
        idr=idr.data,
        identity=core.identity,
        auth_method=core.auth_method,
        suite=(suite.encr, suite.key_bits, suite.integ, suite.prf, suite.ke),
        sk_d=keys.d.octets,
        connection=core.connection,
        flags=(BEHIND_NAT if core.nat & THERE else 0) | (PPK_USED if core.ppk else 0),
        addkes=suite.addkes,
        leased=core.leased,
        certificate=core.certificate,
        authenticated_wall_s=core.authenticated_wall_s,
    )


def received(core: SaCore, message: Message, now_wall_s: float) -> ClientTicket | None:
    """The ticket in an answer of the gateway's, with what a resumption needs beside it (R10)."""
    notify = message.notify(_TICKET_LT_OPAQUE)
    suite, keys, idi, idr = core.suite, core.keys, core.idi, core.idr
    if notify is None or suite is None or keys is None or idi is None or idr is None:
        return None
    if len(notify.data) <= LIFETIME_OCTETS:
        return None
    lifetime_s = int.from_bytes(notify.data[:LIFETIME_OCTETS], "big")
    return ClientTicket(
        ticket=notify.data[LIFETIME_OCTETS:],
        expires_wall_s=now_wall_s + lifetime_s,
        suite=(suite.encr, suite.key_bits, suite.integ, suite.prf, suite.ke),
        sk_d=keys.d,
        idi_type=idi.id_type,
        idi=idi.data,
        idr_type=idr.id_type,
        idr=idr.data,
        auth_method=core.auth_method,
        addkes=suite.addkes,
        ppk=core.ppk,
    )
