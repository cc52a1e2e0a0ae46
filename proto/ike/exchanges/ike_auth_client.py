"""IKE_AUTH as its initiator: our proofs, the gateway's, and what it then gives (RFC 7296 1.2, 2.15,
2.16; RFC 4739; RFC 5998).

Rules: the gateway proves itself with the first answer, or, where our configuration says so, by EAP
alone. Nothing is taken of it before. Whatever fails here ends the SA, with the reason in the event.
"""

from proto.ike import proofs, redirect
from proto.ike.connection import DEFAULT, Method
from proto.ike.core import Context, Peer, SaCore, Step, Want, Work, replace
from proto.ike.enums import NotifyType, PayloadType
from proto.ike.errors import Misuse
from proto.ike.events import (
    AddressesReceived,
    ChildRefused,
    Event,
    Reauthenticate,
    Redirected,
    TicketReceived,
    WithoutPpk,
)
from proto.ike.exchanges import child as child_sa
from proto.ike.exchanges import configuration, ike_auth_resumed, mobike, ppk, tickets
from proto.ike.exchanges.authenticated import (
    established,
    event,
    halves,
    lifetime_in,
    octets_of_initiator,
    octets_of_responder,
    refused,
    text,
)
from proto.ike.exchanges.ike_auth import check_chain, name_of, signed
from proto.ike.message import Message
from proto.ike.payloads import (
    AuthPayload,
    CpPayload,
    EapPayload,
    NotifyPayload,
    Payload,
)
from proto.ike.proofs import EAP_PREFIX, EapAsked, EapDone, EapStep, EapStepped
from proto.ike.rounds import Proof, Proving

_IDR = PayloadType.IDr
_FAILED = NotifyType.AUTHENTICATION_FAILED
ANOTHER = NotifyPayload(NotifyType.ANOTHER_AUTH_FOLLOWS)


def initiate(core: SaCore, ctx: Context) -> Step:
    """The first request of either handshake; the state stays AUTH_SENT or RESUME_AUTH_SENT.

    Raises PeerError where the gateway can't take what we would prove.
    """
    handshake, peer = halves(core)[0], peer_of(core)
    spi_in = ctx.spis.esp_spi(core.spi)
    head: tuple[Payload, ...]
    if core.resumed:
        head = (peer.local_id, peer.remote_id, ike_auth_resumed.prove(core, peer))
    else:
        head = _first(core, peer, ctx)
    payloads = (
        *head,
        NotifyPayload(NotifyType.TICKET_REQUEST),
        *((configuration.request(peer.families),) if peer.families else ()),
        *child_sa.offer_child(peer, spi_in, ctx),
        *mobike.offer(core, ctx.path, ctx),
    )
    return Step(replace(core, handshake=replace(handshake, child_spi=spi_in)), payloads)


def _first(core: SaCore, peer: Peer, ctx: Context) -> tuple[Payload, ...]:
    """IDi, [CERT,] [CERTREQ,] IDr, [AUTH,] and what is to be said of it."""
    count = len(peer.to_prove)
    if count > 1 and not halves(core)[0].multiple:
        raise refused(f"the gateway takes one authentication; configured: {count}")
    idi, *mine = _proof(core, peer.to_prove[0], ctx)
    wanted = peer.requests if peer.remote_auth in (Method.CERTIFICATE, Method.EAP) else ()
    notes: list[Payload] = []
    if peer.remote_auth is Method.EAP:
        notes.append(NotifyPayload(NotifyType.EAP_ONLY_AUTHENTICATION))
    if count > 1:
        notes.append(NotifyPayload(NotifyType.MULTIPLE_AUTH_SUPPORTED))
        if peer.to_prove[0].method is not Method.EAP:
            notes.append(ANOTHER)
    if peer.initial_contact:
        notes.append(NotifyPayload(NotifyType.INITIAL_CONTACT))
    return (idi, *wanted, peer.remote_id, *mine, *notes)


def _proof(core: SaCore, proof: Proof, ctx: Context) -> tuple[Payload, ...]:
    """IDi, [CERT,] [AUTH]: without AUTH EAP is asked for."""
    if proof.method is Method.EAP:
        return (proof.local_id,)
    mine = ppk.prove(core, peer_of(core), lambda keyed: _auth(keyed, proof, ctx))
    return (proof.local_id, *mine)


def _auth(core: SaCore, proof: Proof, ctx: Context) -> tuple[Payload, ...]:
    """[CERT,] AUTH."""
    handshake, suite, keys = halves(core)
    octets = octets_of_initiator(core, proof.local_id)
    if proof.method is Method.CERTIFICATE:
        return signed(core, proof.local_id, handshake.requests, octets, ctx)
    is_null = proof.method is Method.NULL
    secret = keys.pi if is_null else proof.psk
    if secret is None:
        raise Misuse(f"nothing to prove {text(proof.local_id)} with")
    return (proofs.make_shared(suite.prf, secret, octets, is_null=is_null),)


def process(core: SaCore, message: Message, ctx: Context) -> Step:
    """Take the gateway's next answer; a reply in the step is our next request.

    Raises PeerError: the SA has failed, for the reason given. Raises Needed.
    """
    peer, proving = peer_of(core), halves(core)[0].proving
    _check_not_refused(message)
    if proving.has_shown(peer.to_prove):
        core = ppk.answered(core, peer, message)
    if not proving.gateway:
        proving = _check_gateway(core, peer, message, ctx)
    if core.resumed:
        return _finish(core, peer, proving, message, ctx)
    proof = peer.to_prove[proving.at]
    if proof.method is not Method.EAP:
        return _next(core, peer, proving, proof.method.value, message, ctx)
    if proving.done is not None:
        return _confirmed(core, peer, proving, proving.done, message, ctx)
    return _converse(core, peer, proving, message, ctx)


def peer_of(core: SaCore) -> Peer:
    """Whom we talk to."""
    peer = halves(core)[0].peer
    if peer is None:
        raise Misuse("a responder in an initiator's place")
    return peer


def _check_not_refused(message: Message) -> None:
    """An answer that proves nothing and goes on with nothing is a refusal."""
    if message.find(AuthPayload) is not None or message.find(EapPayload) is not None:
        return
    errors = _errors(message)
    if errors:
        raise refused(f"the gateway answered {errors}")


def _check_gateway(core: SaCore, peer: Peer, message: Message, ctx: Context) -> Proving:
    """The gateway's identity and, unless EAP is to prove it, its AUTH."""
    handshake, suite, keys = halves(core)
    proof, idr, wanted = message.find(AuthPayload), message.identity(_IDR), peer.remote_id
    if idr is None:
        raise refused("the gateway answered no AUTH")
    if (idr.id_type, idr.data) != (wanted.id_type, wanted.data):
        raise refused(f"the gateway is {text(idr)}; configured: {text(wanted)}")
    proving = Proving(gateway=True, idr=idr)
    if core.resumed:
        if proof is None:
            raise refused("the gateway answered no AUTH")
        ike_auth_resumed.check_gateway(core, handshake, proof, idr, peer)
        return proving
    if proof is None:
        if peer.remote_auth is not Method.EAP or message.find(EapPayload) is None:
            raise refused("the gateway answered no AUTH")
        return replace(proving, alone=True)
    octets = octets_of_responder(core, idr)
    if proof.method in proofs.SIGNATURES and peer.remote_auth in (Method.CERTIFICATE, Method.EAP):
        checked = check_chain(message, idr, DEFAULT, ctx, is_gateway=True)
        if checked.key is None:
            raise refused(f"certificate of the gateway: {checked.why}")
        proofs.check_signed(checked.key, octets, proof, handshake.hashes)
        return proving
    is_null = peer.remote_auth is Method.NULL
    secret = keys.pr if is_null else peer.psk
    by_secret = is_null or peer.remote_auth is Method.PSK
    good = proofs.check_shared(suite.prf, secret, octets, proof, is_null=is_null)
    if not (by_secret and good):
        why = f"method {proof.method}; configured: {peer.remote_auth.value}"
        raise refused(f"the gateway's AUTH is wrong ({why})")
    return proving


def _converse(core: SaCore, peer: Peer, proving: Proving, message: Message, ctx: Context) -> Step:
    """One round of EAP, or its end: then AUTH with its key."""
    packet, proof = message.find(EapPayload), peer.to_prove[proving.at]
    if packet is None:
        raise refused("the gateway goes on without EAP")
    asked = None
    if not proving.begun:
        asked = EapAsked(DEFAULT, name_of(proof.local_id), ctx.path.remote[0], ())
    stepped = ctx.need(EapStep(core.spi, packet.data, asked), EapStepped, _FAILED)
    if stepped.why:
        raise refused(f"EAP: {stepped.why}")
    if stepped.done is None:
        return _ask(core, replace(proving, begun=True), (EapPayload(stepped.packet),))
    done = stepped.done
    if proving.alone and not (done.is_safe and done.msk is not None):
        raise refused(f"EAP: {done.method} can't prove both sides")

    def auth(keyed: SaCore) -> tuple[Payload, ...]:
        _, suite, keys = halves(keyed)
        octets = octets_of_initiator(keyed, proof.local_id)
        return (proofs.make_shared(suite.prf, done.msk or keys.pi, octets),)

    mine = ppk.prove(core, peer, auth)
    if proving.at + 1 < len(peer.to_prove):
        mine = (*mine, ANOTHER)
    return _ask(core, replace(proving, begun=False, done=done), mine)


def _confirmed(
    core: SaCore, peer: Peer, proving: Proving, done: EapDone, message: Message, ctx: Context
) -> Step:
    """The gateway's AUTH with the key that EAP has made."""
    _, suite, keys = halves(core)
    proof, idr = message.find(AuthPayload), proving.idr
    if proof is None or idr is None:
        raise refused("the gateway answered no AUTH")
    octets = octets_of_responder(core, idr)
    if not proofs.check_shared(suite.prf, done.msk or keys.pr, octets, proof):
        raise refused(f"the gateway's AUTH isn't by the key of {done.method}")
    proven = EAP_PREFIX + done.method
    return _next(core, peer, replace(proving, done=None), proven, message, ctx)


def _next(
    core: SaCore, peer: Peer, proving: Proving, proven: str, message: Message, ctx: Context
) -> Step:
    """Our next proof, or the end."""
    proving = replace(proving, at=proving.at + 1, passed=(*proving.passed, proven))
    if message.notify(NotifyType.ANOTHER_AUTH_FOLLOWS) is not None:
        raise refused("the gateway wants to prove more than is configured")
    if proving.at == len(peer.to_prove):
        return _finish(core, peer, proving, message, ctx)
    proof = peer.to_prove[proving.at]
    payloads = _proof(core, proof, ctx)
    if proof.method is not Method.EAP and proving.at + 1 < len(peer.to_prove):
        payloads = (*payloads, ANOTHER)
    return _ask(core, proving, payloads)


def _ask(core: SaCore, proving: Proving, payloads: tuple[Payload, ...]) -> Step:
    handshake = replace(halves(core)[0], proving=proving)
    return Step(replace(core, handshake=handshake), payloads)


def _finish(core: SaCore, peer: Peer, proving: Proving, message: Message, ctx: Context) -> Step:
    """Both sides are authenticated: the Child SA, a ticket, and how long all this holds."""
    handshake, idr, wall_s = halves(core)[0], proving.idr, ctx.now.wall_s
    if idr is None:
        raise Misuse("a gateway without an identity")
    stored = handshake.client_ticket
    core = replace(
        core,
        idi=peer.local_id,
        idr=idr,
        identity=text(idr),
        auth_method="+".join(proving.passed) if stored is None else stored.auth_method,
        established_wall_s=wall_s,
        ppk=core.ppk if stored is None else stored.ppk,
    )
    made = child_sa.accept_child(core, handshake, message, peer, ctx)
    fresh = tickets.received(core, message, wall_s)
    lifetime_s = lifetime_in(message)
    core = mobike.agreed(established(core, made), message, ctx)
    events: list[Event] = [event(core)]
    given = configuration.accept(message.find(CpPayload)) if peer.families else None
    if given is not None:
        events.append(AddressesReceived(core.spi, given))
    if fresh is not None:
        events.append(TicketReceived(core.spi, fresh))
    if peer.ppk is not None and not core.ppk:
        events.append(WithoutPpk(core.spi, core.identity))
    if lifetime_s is not None:
        events.append(Reauthenticate(core.spi, lifetime_s))
    target = redirect.in_protected(message) if peer.follows else None
    if target is not None:
        events.append(Redirected(core.spi, target.text))
    if made is None:
        if target is None:
            why = _errors(message) or "the gateway gives no reason"
            events.append(ChildRefused(core.spi, why))
        return Step(core, events=tuple(events))
    if made.transport != peer.transport:
        events.append(ChildRefused(core.spi, "its mode isn't the one that was asked for"))
        unwanted = (Want(Work.DELETE_CHILD, made.spi_in),)
        return Step(replace(core, children=()), events=tuple(events), wants=unwanted)
    kernel = (child_sa.install(made, ctx.path, core.encapsulated),)
    return Step(core, (), None, kernel, tuple(events))


def _errors(message: Message) -> str:
    """The names of the errors in it (RFC 7296 3.10.1); empty: there are none."""
    return ", ".join(
        [_name(n.type) for n in message.notifies if n.type < NotifyType.INITIAL_CONTACT]
    )


def _name(notify_type: int) -> str:
    try:
        return NotifyType(notify_type).name
    except ValueError:
        return str(notify_type)
