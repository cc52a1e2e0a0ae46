"""IKE_AUTH, both roles: identities proven, the first Child SA, a ticket (RFC 7296 1.2, 2.15; RFC
5723 4.2, 4.3.3).

Rules: a full handshake proves a pre-shared key; a resumption proves SK_px, in the RFC's form or in
libreswan's, and is answered in the form that matched. A ticket is claimed here and nowhere else.
What fails here ends the SA with AUTHENTICATION_FAILED inside SK and nothing durable (RFC 7296
2.21.2).
"""

import hmac

from proto.ike import auth
from proto.ike.core import Child, Context, Handshake, Peer, SaCore, State, Step, replace
from proto.ike.effects import PersistKind
from proto.ike.enums import AuthMethod, NotifyType, PayloadType
from proto.ike.errors import Misuse, PeerError
from proto.ike.events import AddressesReceived, Established, Event, TicketIssued, TicketReceived
from proto.ike.exchanges import child as child_sa
from proto.ike.exchanges import configuration, tickets
from proto.ike.identity import IDENTITY_MAX, format_identity
from proto.ike.kdf import SaKeys
from proto.ike.message import Message
from proto.ike.payloads import AuthPayload, CpPayload, IdPayload, NotifyPayload, Payload
from proto.ike.suite import Suite

_SHARED_KEY_MIC = AuthMethod.SHARED_KEY_MIC
_IDI = PayloadType.IDi
_IDR = PayloadType.IDr
_REDEEM = PersistKind.REDEEM
_TICKET_REQUEST = NotifyType.TICKET_REQUEST
_ESTABLISHED = State.ESTABLISHED

CHAIN_OCTETS = 16
PSK = "psk"
FIRST_GENERATION = 1


def respond(core: SaCore, message: Message, ctx: Context) -> Step:
    """Check a full handshake's IKE_AUTH request and answer IDr, AUTH, [ticket,] SA, TSi, TSr.

    Raises PeerError(AUTHENTICATION_FAILED).
    """
    handshake, suite, keys = _halves(core)
    idi, idr, proof = _claim(message)
    connection = ctx.connections.choose(idi, idr)
    if connection is None:
        asked = "" if idr is None else f" that asks for {text(idr)}"
        why = f"no connection for {text(idi)}{asked}"
        raise PeerError(NotifyType.AUTHENTICATION_FAILED, why=why)
    psk = ctx.credentials.psk(idi)
    octets = auth.signed_octets(
        handshake.message_1, handshake.nonce_r, suite.prf, keys.pi, idi.body
    )
    if psk is None or proof.method != _SHARED_KEY_MIC:
        raise PeerError(NotifyType.AUTHENTICATION_FAILED, why=f"no shared key for {text(idi)}")
    if not hmac.compare_digest(proof.data, auth.psk_auth(suite.prf, psk, octets)):
        raise PeerError(NotifyType.AUTHENTICATION_FAILED, why=f"wrong shared key: {text(idi)}")
    idr, wall_s = connection.local_id, ctx.now.wall_s
    octets = auth.signed_octets(
        handshake.message_2, handshake.nonce_i, suite.prf, keys.pr, idr.body
    )
    deadline = wall_s + ctx.settings.authentication_lifetime_s
    core = replace(
        core,
        idi=idi,
        idr=idr,
        identity=text(idi),
        connection=connection.name,
        auth_method=PSK,
        chain=ctx.rng.bytes(CHAIN_OCTETS),
        generation=FIRST_GENERATION,
        established_wall_s=wall_s,
        auth_deadline_wall_s=deadline,
        expires_wall_s=min(wall_s + ctx.settings.ike_sa_lifetime_s, deadline),
    )
    return _answer(
        core, handshake, message, ctx, PersistKind.CREATE, auth.psk_auth(suite.prf, psk, octets)
    )


def respond_resumed(core: SaCore, message: Message, ctx: Context) -> Step:
    """Check a resumption's IKE_AUTH request against the ticket, and answer in the form that
    matched.

    Raises PeerError(AUTHENTICATION_FAILED); the ticket is then still unused (R33).
    """
    handshake, suite, keys = _halves(core)
    body = handshake.ticket
    if body is None:
        raise Misuse("a resumption without its ticket")
    idr = IdPayload(_IDR, body.idr_type, body.idr)
    connection = ctx.connections.named(body.connection)
    if connection is None:
        raise PeerError(NotifyType.AUTHENTICATION_FAILED, why="the ticket's connection is gone")
    idi, asked, proof = _claim(message)
    if asked is not None and (asked.id_type, asked.data) != (body.idr_type, body.idr):
        raise PeerError(NotifyType.AUTHENTICATION_FAILED, why="asked for another IDr than ours")
    if (idi.id_type, idi.data) != (body.idi_type, body.idi):
        raise PeerError(NotifyType.AUTHENTICATION_FAILED, why="IDi isn't the ticket's")
    form = None
    if proof.method == _SHARED_KEY_MIC:
        form = auth.match_resume_auth(
            proof.data,
            suite.prf,
            keys.pi,
            handshake.message_1,
            handshake.nonce_r,
            idi.body,
            connection.resume_forms,
        )
    if form is None:
        raise PeerError(NotifyType.AUTHENTICATION_FAILED, why="AUTH of no accepted form")
    wall_s, deadline = ctx.now.wall_s, body.auth_deadline_wall_s
    core = replace(
        core,
        idi=idi,
        idr=idr,
        identity=body.identity,
        connection=body.connection,
        auth_method=body.auth_method,
        chain=body.chain,
        generation=body.generation + 1,
        replaces=body.spi_r,
        established_wall_s=wall_s,
        auth_deadline_wall_s=deadline,
        expires_wall_s=min(wall_s + ctx.settings.ike_sa_lifetime_s, deadline),
        leased=body.leased,
    )
    proof_r = auth.make_resume_auth(
        form, suite.prf, keys.pr, handshake.message_2, handshake.nonce_i, idr.body
    )
    return _answer(core, handshake, message, ctx, _REDEEM, proof_r)


def _answer(
    core: SaCore,
    handshake: Handshake,
    message: Message,
    ctx: Context,
    kind: PersistKind,
    proof: bytes,
) -> Step:
    """IDr, AUTH, the ticket if one was asked for, and the Child SA."""
    if core.idr is None:
        raise Misuse("an answer without an identity")
    reply: list[Payload] = [core.idr, AuthPayload(_SHARED_KEY_MIC, proof)]
    configured = configuration.respond(core, message, ctx)
    if configured.reply is not None:
        reply.append(configured.reply)
    if configured.leased:
        core = replace(core, leased=configured.leased)
    issued = None
    if message.notify(_TICKET_REQUEST) is not None:
        issued = tickets.issue(core, ctx)
        reply.append(issued.notify)
    made = None
    if configured.failure is not None:
        reply.append(configured.failure)
    else:
        made, payloads = child_sa.respond_child(core, handshake, message, ctx)
        reply.extend(payloads)
    core = _established(core, made, issued is not None and issued.lifetime_s > 0)
    events: list[Event] = [_event(core)]
    if issued is not None and issued.lifetime_s:
        events.append(TicketIssued(core.spi, issued.lifetime_s))
    kernel = () if made is None else (child_sa.install(made, ctx.path, core.encapsulated),)
    kept = b"" if issued is None else issued.state
    return Step(core, tuple(reply), kind, kernel, tuple(events), kept, configured.takes)


def initiate(core: SaCore, ctx: Context) -> Step:
    """The IKE_AUTH request of either handshake; the state stays AUTH_SENT or RESUME_AUTH_SENT."""
    handshake, suite, keys = _halves(core)
    peer = handshake.peer
    if peer is None:
        raise Misuse("an IKE_AUTH request of a responder")
    idi = peer.local_id
    if core.resumed:
        proof = auth.make_resume_auth(
            peer.resume_form,
            suite.prf,
            keys.pi,
            handshake.message_1,
            handshake.nonce_r,
            idi.body,
        )
    else:
        octets = auth.signed_octets(
            handshake.message_1, handshake.nonce_r, suite.prf, keys.pi, idi.body
        )
        proof = auth.psk_auth(suite.prf, peer.psk, octets)
    spi_in = ctx.spis.esp_spi(core.spi)
    payloads = (
        idi,
        peer.remote_id,
        AuthPayload(_SHARED_KEY_MIC, proof),
        NotifyPayload(_TICKET_REQUEST),
        *((configuration.request(peer.families),) if peer.families else ()),
        *child_sa.offer_child(peer, spi_in),
    )
    core = replace(core, handshake=replace(handshake, child_spi=spi_in))
    return Step(core, payloads)


def process(core: SaCore, message: Message, ctx: Context) -> Step:
    """Initiator: check the gateway's identity and AUTH, take Child SA and ticket.

    Raises PeerError: the SA has failed, for the reason given.
    """
    handshake, suite, keys = _halves(core)
    peer = handshake.peer
    if peer is None:
        raise Misuse("an IKE_AUTH response to a responder")
    refused = [n for n in message.notifies if n.type < NotifyType.INITIAL_CONTACT]
    proof, idr = message.find(AuthPayload), message.identity(_IDR)
    if proof is None or idr is None:
        why = ", ".join(_name(n.type) for n in refused) or "no AUTH"
        raise PeerError(NotifyType.AUTHENTICATION_FAILED, why=f"the gateway answered {why}")
    wanted = peer.remote_id
    if (idr.id_type, idr.data) != (wanted.id_type, wanted.data):
        raise PeerError(NotifyType.AUTHENTICATION_FAILED, why=f"the gateway is {text(idr)}")
    _check_gateway(core, handshake, suite, keys, proof, idr, peer)
    wall_s, stored = ctx.now.wall_s, handshake.client_ticket
    core = replace(
        core,
        idi=peer.local_id,
        idr=idr,
        identity=text(idr),
        auth_method=PSK if stored is None else stored.auth_method,
        established_wall_s=wall_s,
    )
    made = child_sa.accept_child(core, handshake, message, peer)
    fresh = tickets.received(core, message, wall_s)
    core = _established(core, made)
    events: list[Event] = [_event(core)]
    given = configuration.accept(message.find(CpPayload)) if peer.families else None
    if given is not None:
        events.append(AddressesReceived(core.spi, given))
    if fresh is not None:
        events.append(TicketReceived(core.spi, fresh))
    kernel = () if made is None else (child_sa.install(made, ctx.path, core.encapsulated),)
    return Step(core, (), None, kernel, tuple(events))


def _check_gateway(
    core: SaCore,
    handshake: Handshake,
    suite: Suite,
    keys: SaKeys,
    proof: AuthPayload,
    idr: IdPayload,
    peer: Peer,
) -> None:
    """Raises PeerError unless the gateway's AUTH proves what ours did, in the form we used."""
    if core.resumed:
        form = auth.match_resume_auth(
            proof.data,
            suite.prf,
            keys.pr,
            handshake.message_2,
            handshake.nonce_i,
            idr.body,
            (peer.resume_form,),
        )
        good = form is not None
    else:
        octets = auth.signed_octets(
            handshake.message_2, handshake.nonce_i, suite.prf, keys.pr, idr.body
        )
        good = hmac.compare_digest(proof.data, auth.psk_auth(suite.prf, peer.psk, octets))
    if proof.method != _SHARED_KEY_MIC or not good:
        raise PeerError(NotifyType.AUTHENTICATION_FAILED, why="the gateway's AUTH is wrong")


def _halves(core: SaCore) -> tuple[Handshake, Suite, SaKeys]:
    if core.handshake is None or core.suite is None or core.keys is None:
        raise Misuse("IKE_AUTH outside a handshake")
    return core.handshake, core.suite, core.keys


def _claim(message: Message) -> tuple[IdPayload, IdPayload | None, AuthPayload]:
    """IDi, IDr if there is one, and AUTH of a request. A CERT in it is ignored (R34)."""
    idi, idr = message.identity(_IDI), message.identity(_IDR)
    proof = message.find(AuthPayload)
    if idi is None or proof is None:
        raise PeerError(NotifyType.AUTHENTICATION_FAILED, why="IKE_AUTH without IDi or AUTH")
    if len(idi.data) > IDENTITY_MAX:
        raise PeerError(NotifyType.AUTHENTICATION_FAILED, why=f"IDi of {len(idi.data)} octets")
    return idi, idr, proof


def _established(core: SaCore, made: Child | None, ticketed: bool = False) -> SaCore:
    return replace(
        core,
        state=_ESTABLISHED,
        handshake=None,
        ticketed=ticketed,
        children=() if made is None else (made,),
    )


def _event(core: SaCore) -> Established:
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


def _name(notify_type: int) -> str:
    try:
        return NotifyType(notify_type).name
    except ValueError:
        return str(notify_type)
