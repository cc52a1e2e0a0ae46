"""What holds once both sides of an IKE_AUTH are authenticated: the SA, its Child SA, a ticket (RFC
7296 1.2; RFC 5723 4.2, 4.3.3; RFC 4478).

Rules: whatever was asked for in the first request is given with the last answer. How long the
authentication holds is the least of what connection, certificate and EAP say, and is told to the
peer where one of them says so.
"""

from proto.ike import auth, intermediate, limits, redirect
from proto.ike.connection import Connection, Method
from proto.ike.core import Child, Context, Handshake, SaCore, State, Step, replace
from proto.ike.effects import PersistKind
from proto.ike.enums import NotifyType
from proto.ike.errors import Misuse, PeerError
from proto.ike.events import (
    Established,
    Event,
    InitialContact,
    Redirected,
    Refused,
)
from proto.ike.exchanges import child as child_sa
from proto.ike.exchanges import configuration, mobike, tickets
from proto.ike.identity import format_identity
from proto.ike.kdf import SaKeys
from proto.ike.message import Message
from proto.ike.payloads import IdPayload, NotifyPayload, Payload
from proto.ike.redirect import Target
from proto.ike.suite import Suite

_TICKET_REQUEST = NotifyType.TICKET_REQUEST
_INITIAL_CONTACT = NotifyType.INITIAL_CONTACT
_CREATE = PersistKind.CREATE
_ESTABLISHED = State.ESTABLISHED
_FAILED = NotifyType.AUTHENTICATION_FAILED

LIFETIME_OCTETS = 4
SENT_AWAY_S = 30.0
"""How long the SA of a client that was redirected in IKE_AUTH waits for its Delete."""


def halves(core: SaCore) -> tuple[Handshake, Suite, SaKeys]:
    """What an IKE_AUTH works with."""
    if core.handshake is None or core.suite is None or core.keys is None:
        raise Misuse("IKE_AUTH outside a handshake")
    return core.handshake, core.suite, core.keys


def octets_of_initiator(core: SaCore, idi: IdPayload) -> bytes:
    """What the initiator's AUTH covers (RFC 7296 2.15)."""
    handshake, suite, keys = halves(core)
    first, nonce = handshake.message_1, handshake.nonce_r
    octets = auth.signed_octets(first, nonce, suite.prf, keys.pi, idi.body)
    return octets + _between(handshake)


def octets_of_responder(core: SaCore, idr: IdPayload) -> bytes:
    """What the responder's AUTH covers."""
    handshake, suite, keys = halves(core)
    first, nonce = handshake.message_2, handshake.nonce_i
    octets = auth.signed_octets(first, nonce, suite.prf, keys.pr, idr.body)
    return octets + _between(handshake)


def _between(handshake: Handshake) -> bytes:
    """What AUTH covers of IKE_INTERMEDIATE exchanges (RFC 9242 3.3.2)."""
    done = handshake.exchanges
    return intermediate.signed(handshake.int_auth_i, handshake.int_auth_r, done)


def refused(why: str) -> PeerError:
    """AUTHENTICATION_FAILED; `why` is for the log."""
    return PeerError(_FAILED, why=why)


def with_deadline(core: SaCore, deadline_wall_s: float, ctx: Context) -> SaCore:
    """`core`, established now, with an authentication that ends then."""
    wall_s = ctx.now.wall_s
    return replace(
        core,
        established_wall_s=wall_s,
        auth_deadline_wall_s=deadline_wall_s,
        expires_wall_s=min(wall_s + ctx.settings.ike_sa_lifetime_s, deadline_wall_s),
    )


def answer(
    core: SaCore,
    asked: Message,
    ctx: Context,
    connection: Connection,
    kind: PersistKind,
    proofs: tuple[Payload, ...],
) -> Step:
    """Our proofs, the ticket if one was `asked` for, the Child SA, and how long all this holds."""
    handshake = core.handshake
    if handshake is None:
        raise Misuse("an answer outside a handshake")
    target, begins_anew = connection.redirect, asked.notify(_INITIAL_CONTACT) is not None
    if target is not None and core.follows and kind is _CREATE:
        return _send_away(core, target, proofs, ctx)
    too_many = limits.refused(core, connection, begins_anew, ctx)
    if too_many is not None:
        return too_many
    reply: list[Payload] = list(proofs)
    configured = configuration.respond(core, asked, ctx)
    if configured.reply is not None:
        reply.append(configured.reply)
    if configured.leased:
        core = replace(core, leased=configured.leased)
    issued = None
    if asked.notify(_TICKET_REQUEST) is not None:
        issued = tickets.issue(core, ctx)
        reply.append(issued.notify)
    made, denied = None, None
    if configured.failure is not None:
        reply.append(configured.failure)
        denied = PeerError(NotifyType.INTERNAL_ADDRESS_FAILURE, why="no internal address is left")
    else:
        try:
            made, payloads = child_sa.respond_child(core, handshake, asked, connection, ctx)
            reply.extend(payloads)
        except PeerError as error:
            reply.append(NotifyPayload(error.notify, error.data))
            denied = error
    if connection.lifetime_s > 0:
        left_s = max(0, int(core.auth_deadline_wall_s - ctx.now.wall_s))
        data = left_s.to_bytes(LIFETIME_OCTETS, "big")
        reply.append(NotifyPayload(NotifyType.AUTH_LIFETIME, data))
    core, said = mobike.answer(core, asked, ctx)
    reply.extend(said)
    core = established(core, made, issued is not None and issued.lifetime_s > 0)
    events: list[Event] = [event(core), *limits.told(core, connection)]
    if begins_anew:
        events.extend(_alone(core))
    if denied is not None:
        events.append(Refused(core.spi, core.identity, denied.notify.name, denied.why))
    kernel = () if made is None else (child_sa.install(made, ctx.path, core.encapsulated),)
    kept = b"" if issued is None else issued.state
    return Step(core, tuple(reply), kind, kernel, tuple(events), kept, configured.takes)


def _alone(core: SaCore) -> tuple[Event, ...]:
    """The news that this is the peer's only session; who has proven nothing has no others to end
    (RFC 7619 2.5).
    """
    if core.idr is None or core.auth_method == Method.NULL.value:
        return ()
    since_s = core.established_wall_s
    return (InitialContact(core.spi, core.chain, core.identity, core.idr.data, since_s),)


def _send_away(core: SaCore, target: Target, proofs: tuple[Payload, ...], ctx: Context) -> Step:
    """Our proofs and REDIRECT, no Child SA and no ticket (RFC 5685 6). The SA stays for the
    client's Delete, and not for long.
    """
    until_s = min(core.expires_wall_s, ctx.now.wall_s + SENT_AWAY_S)
    core = established(replace(core, expires_wall_s=until_s), None)
    events = (event(core), Redirected(core.spi, target.text))
    reply = (*proofs, redirect.redirect(target))
    return Step(core, reply, _CREATE, events=events)


def lifetime_in(message: Message) -> int | None:
    """The seconds in an AUTH_LIFETIME; None: there is none, or it isn't one (RFC 4478 3)."""
    notify = message.notify(NotifyType.AUTH_LIFETIME)
    if notify is None or len(notify.data) != LIFETIME_OCTETS:
        return None
    return int.from_bytes(notify.data, "big")


def established(core: SaCore, made: Child | None, ticketed: bool = False) -> SaCore:
    """The SA without what only the handshake needed."""
    return replace(
        core,
        state=_ESTABLISHED,
        handshake=None,
        ticketed=ticketed,
        children=() if made is None else (made,),
    )


def event(core: SaCore) -> Established:
    """The news of it."""
    return Established(
        core.spi,
        core.spi_i,
        core.spi_r,
        core.chain,
        core.generation,
        core.resumed,
        core.identity,
        core.replaces,
    )


def text(identity: IdPayload) -> str:
    """An identity as operators write it."""
    return format_identity((identity.id_type, identity.data))
