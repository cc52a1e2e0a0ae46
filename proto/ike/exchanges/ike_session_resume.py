"""IKE_SESSION_RESUME: the first exchange of a resumption, both roles (RFC 5723 4.3.2, 5.1).

Rules: the ticket is opened first, which is cheap; one that opens is served without a cookie, any
other gets TICKET_NACK at once, never silence (libreswan falls back on nothing else). A ticket isn't
used up by being shown: it is claimed when IKE_AUTH succeeds (R15). Nothing else of the old SA lives
on but what RFC 5723 section 5 lists.
"""

from functools import lru_cache

from proto.ike import redirect, reference, ticket
from proto.ike.core import Context, Handshake, Peer, SaCore, State, Step, replace
from proto.ike.effects import Path
from proto.ike.enums import FLAG_RESPONSE, ExchangeType, NotifyType, PayloadType
from proto.ike.errors import Misuse, TicketReason, TicketRejected, WireError
from proto.ike.exchanges.ike_sa_init import (
    FRAGMENTATION,
    NONCE_OCTETS,
    RETRIES_MAX,
    cookie_payload,
    follows_redirects,
    look_for_nat,
    nat_of_answer,
    redirected,
    show_addresses,
    wanted_cookie,
)
from proto.ike.kdf import derive_keys, skeyseed_resume
from proto.ike.message import Message, encode_clear
from proto.ike.nat import THERE
from proto.ike.payloads import NoncePayload, NotifyPayload, Payload
from proto.ike.reference import Reference
from proto.ike.suite import Suite, holds
from proto.ike.ticket import BEHIND_NAT, KEY_ID, PPK_USED, ClientTicket, SuiteNumbers, TicketBody
from proto.secret import Secret

_EXCHANGE = ExchangeType.IKE_SESSION_RESUME
_IDI = PayloadType.IDi
_TICKET_OPAQUE = NotifyType.TICKET_OPAQUE
_FRAGMENTATION_SUPPORTED = NotifyType.IKEV2_FRAGMENTATION_SUPPORTED
_RESUME_ANSWERED = State.RESUME_ANSWERED

NACK = (NotifyPayload(NotifyType.TICKET_NACK),)


def open_ticket(message: Message, ctx: Context, state: bytes | None) -> TicketBody | Reference:
    """The state in the presented ticket, with today's policy checked again; of one by reference the
    reference, until `state` holds what the store keeps for it (empty: nothing).

    Raises TicketRejected: the answer is TICKET_NACK, whatever the reason.
    """
    shown = message.notify(_TICKET_OPAQUE)
    if shown is None:
        raise TicketRejected(TicketReason.MALFORMED)
    settings = ctx.settings
    by_reference = reference.is_reference(shown.data)
    opened = (reference.open_reference if by_reference else ticket.open_ticket)(
        shown.data, ctx.tickets, settings.realm, ctx.now.wall_s, settings.ticket_skew_s
    )
    if opened.epoch != settings.epoch:
        raise TicketRejected(TicketReason.EPOCH)
    if isinstance(opened, TicketBody):
        body = opened
    elif state is None:
        return opened
    else:
        body = reference.resolve(opened, state)
    connection = ctx.connections.admitting(
        body.connection, body.idi_type, body.idi, body.auth_method
    )
    if connection is None:
        raise TicketRejected(TicketReason.POLICY)
    ours = connection.local_id
    if (body.idr_type, body.idr) != (ours.id_type, ours.data):
        raise TicketRejected(TicketReason.POLICY)
    if connection.ppk_required and not body.flags & PPK_USED:
        raise TicketRejected(TicketReason.POLICY)
    address = ctx.path.remote[0]
    if not ctx.credentials.may_resume(body, address) or not holds(settings.suites, suite_of(body)):
        raise TicketRejected(TicketReason.POLICY)
    if ctx.refusals.revoked(body):
        raise TicketRejected(TicketReason.REVOKED)
    if body.flags & BEHIND_NAT and _ignores_nats(message, ctx):
        raise TicketRejected(TicketReason.NAT_UNKNOWN)
    return body


def _ignores_nats(message: Message, ctx: Context) -> bool:
    """Would the client's ESP get lost? libreswan looks for no NAT here, and doesn't encapsulate."""
    settings = ctx.settings
    if not settings.nat_traversal or settings.resume_undetected:
        return False
    return message.notify(NotifyType.NAT_DETECTION_SOURCE_IP) is None


def suite_of(ticket: TicketBody | ClientTicket) -> Suite:
    """The algorithms of the session, which aren't negotiated again."""
    return _suite(ticket.suite, ticket.addkes)


@lru_cache(maxsize=64)
def _suite(numbers: SuiteNumbers, addkes: tuple[int, ...]) -> Suite:
    return Suite(*numbers, addkes)


def respond(spi_r: bytes, message: Message, body: TicketBody, ctx: Context) -> SaCore:
    """The half-open SA that holds the answer, Nr, and the keys, derived from the old SK_d and both
    nonces (RFC 5723 5.1).
    """
    nonce, shown = message.find(NoncePayload), message.notify(_TICKET_OPAQUE)
    if nonce is None or shown is None:
        raise WireError("IKE_SESSION_RESUME without a nonce, or without a ticket")
    suite, spi_i = suite_of(body), message.header.spi_i
    nonce_r = ctx.rng.bytes(NONCE_OCTETS)
    seed = skeyseed_resume(suite.prf, Secret(body.sk_d), nonce.data, nonce_r)
    keys = derive_keys(suite, seed, nonce.data, nonce_r, spi_i, spi_r)
    fragmentation = message.notify(_FRAGMENTATION_SUPPORTED) is not None
    found, shown_back = look_for_nat(spi_r, message, ctx)
    if not found and body.flags & BEHIND_NAT:
        found = THERE  # it doesn't look, and most likely is where it was
    reply: tuple[Payload, ...] = (NoncePayload(nonce_r), *shown_back)
    if fragmentation:
        reply += (FRAGMENTATION,)
    return SaCore(
        state=_RESUME_ANSWERED,
        initiator=False,
        spi_i=spi_i,
        spi_r=spi_r,
        suite=suite,
        keys=keys,
        handshake=Handshake(
            nonce.data,
            nonce_r,
            ctx.raw,
            encode_clear(spi_i, spi_r, _EXCHANGE, FLAG_RESPONSE, 0, reply),
            ticket=body,
            ticket_key=shown.data[KEY_ID],
        ),
        resumed=True,
        fragmentation=fragmentation,
        nat=found,
        follows=redirect.follows(message),
    )


def is_usable(stored: ClientTicket, peer: Peer, wall_s: float) -> bool:
    """Initiator: may it be presented today? It hasn't expired (R12), its algorithms are among those
    that we use, known ones therefore, and it has a PPK if one is required.
    """
    if stored.expires_wall_s <= wall_s or (peer.ppk_required and not stored.ppk):
        return False
    return holds(peer.suites, suite_of(stored))


def initiate(
    spi_i: bytes, stored: ClientTicket, peer: Peer, nat_path: Path | None, ctx: Context
) -> Step:
    """The request of a resumption; the caller has seen that the ticket isn't expired (R12).
    `nat_path`: see `Handshake`.
    """
    handshake = Handshake(
        ctx.rng.bytes(NONCE_OCTETS),
        client_ticket=stored,
        peer=peer,
        nat_path=nat_path,
        shown=show_addresses(spi_i, nat_path, ctx),
    )
    core = SaCore(
        State.RESUME_SENT,
        initiator=True,
        spi_i=spi_i,
        spi_r=bytes(8),
        handshake=handshake,
        resumed=True,
        client=True,
    )
    return Step(core, request(handshake))


def request(handshake: Handshake) -> tuple[Payload, ...]:
    """The payloads of an IKE_SESSION_RESUME request: [N(COOKIE),] Ni, N(TICKET_OPAQUE), N."""
    if handshake.client_ticket is None or handshake.peer is None:
        raise Misuse("a resumption without a ticket")
    return (
        *cookie_payload(handshake),
        NoncePayload(handshake.nonce_i),
        NotifyPayload(_TICKET_OPAQUE, handshake.client_ticket.ticket),
        *handshake.shown,
        *follows_redirects(handshake.peer),
        FRAGMENTATION,
    )


def process(core: SaCore, message: Message, ctx: Context) -> Step:
    """Initiator: take the response. A reply in the step: ask again with it. RESUME_AUTH_SENT:
    IKE_AUTH may go out.

    Raises TicketRejected for TICKET_NACK, WireError for what is to be ignored.
    """
    handshake = core.handshake
    if handshake is None or handshake.client_ticket is None:
        raise Misuse("an IKE_SESSION_RESUME response without a request")
    elsewhere = redirected(core, handshake, message)
    if elsewhere is not None:
        return elsewhere
    stored, wanted = handshake.client_ticket, wanted_cookie(message)
    if wanted is not None and handshake.retries < RETRIES_MAX:
        handshake = replace(handshake, retries=handshake.retries + 1, cookie=wanted)
        return Step(replace(core, handshake=handshake), request(handshake))
    if message.notify(NotifyType.TICKET_NACK) is not None:
        raise TicketRejected(TicketReason.REFUSED)
    nonce, spi_r = message.find(NoncePayload), message.header.spi_r
    if nonce is None or spi_r == bytes(8):
        raise WireError("neither Nr nor TICKET_NACK")
    suite = suite_of(stored)
    seed = skeyseed_resume(suite.prf, stored.sk_d, handshake.nonce_i, nonce.data)
    keys = derive_keys(suite, seed, handshake.nonce_i, nonce.data, core.spi_i, spi_r)
    handshake = replace(handshake, nonce_r=nonce.data, message_2=ctx.raw)
    fragmentation = message.notify(_FRAGMENTATION_SUPPORTED) is not None
    return Step(
        replace(
            core,
            state=State.RESUME_AUTH_SENT,
            spi_r=spi_r,
            suite=suite,
            keys=keys,
            handshake=handshake,
            fragmentation=fragmentation,
            nat=nat_of_answer(handshake, message, ctx),
        )
    )
