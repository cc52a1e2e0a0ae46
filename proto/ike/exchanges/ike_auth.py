"""IKE_AUTH as its responder: the peer's proofs, ours, and then what it asked for (RFC 7296 1.2,
2.15, 2.16; RFC 4739; RFC 5998; RFC 7619).

Rules: the first request chooses the connection, and with it what must be proven, one proof after
the other. A peer that begins with another proof than its connection wants is a stranger to it. What
fails here ends the SA, with AUTHENTICATION_FAILED or EAP's Failure inside SK, and nothing durable
(RFC 7296 2.21.2). Certificates and EAP are errands. (Resumptions: `ike_auth_resumed`; our other
role: `ike_auth_client`.)
"""

from proto.ike import proofs
from proto.ike.connection import Method
from proto.ike.core import Context, SaCore, State, Step, replace
from proto.ike.effects import PersistKind
from proto.ike.enums import IdType, NotifyType, PayloadType
from proto.ike.events import Failed
from proto.ike.exchanges import ppk
from proto.ike.exchanges.authenticated import (
    answer,
    halves,
    octets_of_initiator,
    octets_of_responder,
    refused,
    text,
    with_deadline,
)
from proto.ike.identity import IDENTITY_MAX, NULL_IDENTITY, format_identity
from proto.ike.message import Message
from proto.ike.payloads import (
    AuthPayload,
    CertPayload,
    CertreqPayload,
    EapPayload,
    IdPayload,
    NotifyPayload,
    Payload,
)
from proto.ike.proofs import (
    EAP_PREFIX,
    ChainChecked,
    CheckChain,
    EapAsked,
    EapDone,
    EapStep,
    EapStepped,
)
from proto.ike.rounds import Passed, Rounds
from proto.secret import Secret

_IDI = PayloadType.IDi
_IDR = PayloadType.IDr
_FAILED = NotifyType.AUTHENTICATION_FAILED

CHAIN_OCTETS = 16
FIRST_GENERATION = 1
CERTIFICATES_MAX = 16
"""CERT payloads of one message, OCSP responses among them; a chain is rarely longer than four."""


def respond(core: SaCore, message: Message, ctx: Context) -> Step:
    """Take the next request of a full handshake's IKE_AUTH.

    Raises PeerError AUTHENTICATION_FAILED; Needed.
    """
    handshake, _, _ = halves(core)
    if handshake.more:
        raise refused("IKE_AUTH before the additional key exchanges are done")
    rounds = handshake.rounds
    if rounds is None:
        return _begin(core, message, ctx)
    if rounds.done is not None:
        return _confirm(core, rounds, rounds.done, message, ctx)
    if rounds.in_eap:
        packet = message.find(EapPayload)
        if packet is None:
            raise refused(f"{text(rounds.latest)} goes on without EAP")
        return _converse(core, rounds, EapStep(core.spi, packet.data), (), ctx)
    idi = message.identity(_IDI)
    if idi is None or len(idi.data) > IDENTITY_MAX:
        raise refused(f"{text(rounds.latest)} begins another authentication without IDi")
    return _prove(core, replace(rounds, latest=idi), message, ctx)


def claim(message: Message) -> tuple[IdPayload, IdPayload | None, AuthPayload | None]:
    """IDi, and IDr and AUTH if there are any. Raises PeerError AUTHENTICATION_FAILED."""
    idi, idr = message.identity(_IDI), message.identity(_IDR)
    if idi is None:
        raise refused("IKE_AUTH without IDi")
    if len(idi.data) > IDENTITY_MAX:
        raise refused(f"IDi of {len(idi.data)} octets")
    return idi, idr, message.find(AuthPayload)


def _begin(core: SaCore, message: Message, ctx: Context) -> Step:
    """The first request: whose it is, and the first proof."""
    idi, idr, proof = claim(message)
    begins = proofs.begins_with(proof)
    connection = ctx.connections.choose(idi, idr, begins)
    if connection is None:
        asked = "" if idr is None else f" that asks for {text(idr)}"
        offered = f"{text(idi)}{asked} and begins with {begins.value}"
        raise refused(f"no connection for {offered}; configured: {ctx.connections}")
    ppk.check_announced(core, connection)
    rounds = Rounds(connection, message, idi, idi)
    core = replace(core, connection=connection.name)
    return _prove(core, rounds, message, ctx)


def _prove(core: SaCore, rounds: Rounds, message: Message, ctx: Context) -> Step:
    """The first or only message of a proof."""
    proof, connection = message.find(AuthPayload), rounds.connection
    begins = proofs.begins_with(proof)
    if begins is not rounds.method:
        raise refused(
            f"{text(rounds.latest)} proves {begins.value} where connection {connection}"
            f" wants {rounds.method.value}"
        )
    if proof is None:
        return _begin_eap(core, rounds, message, ctx)
    settled = ppk.settle(core, connection, rounds.latest, message, proof, ctx)
    core, proof = settled.core, settled.proof
    if rounds.method is Method.CERTIFICATE:
        passed = _by_certificate(core, rounds, message, proof, ctx)
    else:
        passed = _by_secret(core, rounds, proof, ctx)
    return _passed(core, rounds, passed, message, ctx, settled.said)


def _by_secret(core: SaCore, rounds: Rounds, proof: AuthPayload, ctx: Context) -> Passed:
    """Pre-shared key, or nothing but the possession of SK_pi (RFC 7619 2.1)."""
    _, suite, keys = halves(core)
    idi, is_null = rounds.latest, rounds.method is Method.NULL
    if is_null and idi.id_type == IdType.ID_NULL and idi.data:
        raise refused("ID_NULL with data")
    secret = keys.pi if is_null else ctx.credentials.psk(idi)
    octets = octets_of_initiator(core, idi)
    if not proofs.check_shared(suite.prf, secret, octets, proof, is_null=is_null):
        what = "no shared key for" if secret is None else "wrong shared key:"
        raise refused(f"{what} {text(idi)}")
    return Passed(rounds.method.value, NULL_IDENTITY if is_null else text(idi))


def _by_certificate(
    core: SaCore, rounds: Rounds, message: Message, proof: AuthPayload, ctx: Context
) -> Passed:
    idi = rounds.latest
    checked = check_chain(message, idi, rounds.connection.name, ctx, is_gateway=False)
    if checked.key is None:
        raise refused(f"certificate of {text(idi)}: {checked.why}")
    handshake, _, _ = halves(core)
    proofs.check_signed(checked.key, octets_of_initiator(core, idi), proof, handshake.hashes)
    return Passed(Method.CERTIFICATE.value, text(idi), checked.certificate, checked.expires_wall_s)


def check_chain(
    message: Message, identity: IdPayload, connection: str, ctx: Context, *, is_gateway: bool
) -> ChainChecked:
    """What the certificates of a message are worth, both roles. Raises PeerError, Needed."""
    shown = tuple(p for p in message.payloads if isinstance(p, CertPayload))
    if len(shown) > CERTIFICATES_MAX:
        raise refused(f"{len(shown)} CERT payloads from {text(identity)}")
    who = (identity.id_type, identity.data)
    errand = CheckChain(connection, who, shown, ctx.path.remote[0], is_gateway)
    return ctx.need(errand, ChainChecked, _FAILED)


def _begin_eap(core: SaCore, rounds: Rounds, message: Message, ctx: Context) -> Step:
    """The first EAP request, after our own proof (RFC 7296 2.16), or without it (RFC 5998 3)."""
    connection = rounds.connection
    alone = (
        connection.eap_only
        and not rounds.said
        and message.notify(NotifyType.EAP_ONLY_AUTHENTICATION) is not None
    )
    asked = EapAsked(
        connection.name,
        name_of(rounds.latest),
        ctx.path.remote[0],
        connection.eap_methods,
    )
    ours: tuple[Payload, ...] = ()
    if alone:
        ours = (connection.local_id,)
    elif not rounds.said:
        ours = _own_proof(core, rounds, ctx)
    rounds = replace(rounds, said=True, alone=alone, in_eap=True)
    return _converse(core, rounds, EapStep(core.spi, b"", asked), ours, ctx)


def _converse(
    core: SaCore, rounds: Rounds, step: EapStep, ours: tuple[Payload, ...], ctx: Context
) -> Step:
    """One round of EAP: what its back end makes of the peer's packet."""
    stepped = ctx.need(step, EapStepped, _FAILED)
    if stepped.why or not (stepped.packet or stepped.done):
        why = f"EAP of {text(rounds.latest)}: {stepped.why or 'nothing to say'}"
        failed: Payload = NotifyPayload(_FAILED)
        if stepped.packet:
            failed = EapPayload(stepped.packet)
        dead = replace(core, state=State.DEAD)
        over = Failed(core.spi, False, why, ctx.path.remote[0])
        return Step(dead, (*ours, failed), events=(over,))
    if stepped.done is not None:
        rounds = replace(rounds, in_eap=False, done=stepped.done)
        if rounds.alone and not (stepped.done.is_safe and stepped.done.msk is not None):
            why = f"{stepped.done.method} of {text(rounds.latest)} can't prove both sides"
            raise refused(f"EAP: {why}")
    return Step(_at(core, rounds), (*ours, EapPayload(stepped.packet)))


def _confirm(core: SaCore, rounds: Rounds, done: EapDone, message: Message, ctx: Context) -> Step:
    """AUTH with the key that EAP has made, from both sides."""
    proof, idi, connection = message.find(AuthPayload), rounds.latest, rounds.connection
    wrong = refused(f"AUTH of {text(idi)} isn't by the key of {done.method}")
    if proof is None:
        raise wrong
    settled = ppk.settle(core, connection, idi, message, proof, ctx)
    core = settled.core
    _, suite, keys = halves(core)
    octets = octets_of_initiator(core, idi)
    if not proofs.check_shared(suite.prf, done.msk or keys.pi, octets, settled.proof):
        raise wrong
    ends_wall_s = done.expires_wall_s
    if done.lifetime_s is not None:
        ends_wall_s = min(ends_wall_s, ctx.now.wall_s + done.lifetime_s)
    proven = EAP_PREFIX + done.method
    passed = Passed(proven, identity_of(done.identity), done.certificate, ends_wall_s)
    octets = octets_of_responder(core, connection.local_id)
    ours = (proofs.make_shared(suite.prf, done.msk or keys.pr, octets), *settled.said)
    return _passed(core, replace(rounds, done=None), passed, message, ctx, ours)


def _passed(
    core: SaCore,
    rounds: Rounds,
    passed: Passed,
    message: Message,
    ctx: Context,
    ours: tuple[Payload, ...] = (),
) -> Step:
    """One proof is through: on to the next one, or to what was asked for."""
    rounds = replace(rounds, passed=(*rounds.passed, passed))
    connection, done = rounds.connection, len(rounds.passed)
    wants_more = done < len(connection.remote_auth)
    has_more = message.notify(NotifyType.ANOTHER_AUTH_FOLLOWS) is not None
    if wants_more != has_more:
        offered = "more" if has_more else "no more"
        raise refused(
            f"{text(rounds.latest)} offers {offered} than {done} proofs; connection {connection}"
        )
    if not rounds.said:
        ours = (*_own_proof(core, rounds, ctx), *ours)
        rounds = replace(rounds, said=True)
    if wants_more:
        return Step(_at(core, rounds), ours)
    return _finish(core, rounds, ours, ctx)


def _finish(core: SaCore, rounds: Rounds, ours: tuple[Payload, ...], ctx: Context) -> Step:
    """All is proven. Whose policy it is: that of the last identity."""
    connection, wall_s = rounds.connection, ctx.now.wall_s
    limits = [passed.expires_wall_s for passed in rounds.passed]
    if connection.lifetime_s:
        limits.append(wall_s + connection.lifetime_s)
    deadline = min(wall_s + ctx.settings.authentication_lifetime_s, *limits)
    if deadline <= wall_s:
        raise refused(f"what {text(rounds.latest)} has proven holds no longer")
    use = halves(core)[0].ppk
    certificates = [passed.certificate for passed in rounds.passed if passed.certificate]
    core = replace(
        core,
        idi=rounds.idi,
        idr=connection.local_id,
        identity=rounds.passed[-1].identity,
        auth_method="+".join(passed.method for passed in rounds.passed),
        certificate=certificates[0] if certificates else b"",
        authenticated_wall_s=wall_s,
        chain=ctx.rng.bytes(CHAIN_OCTETS),
        generation=FIRST_GENERATION,
    )
    step = answer(
        with_deadline(core, deadline, ctx),
        rounds.request,
        ctx,
        connection,
        PersistKind.CREATE,
        ours,
    )
    return replace(step, events=(*step.events, *ppk.audit(step.core, use, rounds.idi, ctx)))


def _own_proof(core: SaCore, rounds: Rounds, ctx: Context) -> tuple[Payload, ...]:
    """IDr, CERTs, AUTH."""
    connection = rounds.connection
    idr = connection.local_id
    if connection.local_auth is Method.CERTIFICATE:
        requests = certreqs(rounds.request)
        return (idr, *signed(core, idr, requests, octets_of_responder(core, idr), ctx))
    secret = _own_secret(core, rounds, ctx)
    _, suite, _ = halves(core)
    is_null = connection.local_auth is Method.NULL
    octets = octets_of_responder(core, idr)
    return (idr, proofs.make_shared(suite.prf, secret, octets, is_null=is_null))


def _own_secret(core: SaCore, rounds: Rounds, ctx: Context) -> Secret:
    if rounds.connection.local_auth is Method.NULL:
        return halves(core)[2].pr
    psk = ctx.credentials.psk(rounds.idi)
    if psk is None:
        raise refused(f"no shared key to prove ourselves to {text(rounds.idi)} with")
    return psk


def certreqs(message: Message) -> tuple[CertreqPayload, ...]:
    """What a message tells of the certificates that its sender believes."""
    return tuple(p for p in message.payloads if isinstance(p, CertreqPayload))


def signed(
    core: SaCore,
    us: IdPayload,
    requests: tuple[CertreqPayload, ...],
    octets: bytes,
    ctx: Context,
) -> tuple[Payload, ...]:
    """CERTs and AUTH over `octets`, both roles. Raises PeerError AUTHENTICATION_FAILED."""
    announced = halves(core)[0].hashes
    own = ctx.credentials.own((us.id_type, us.data), requests, announced)
    if own is None:
        raise refused(f"no certificate of ours for {text(us)} that the peer could check")
    return (*own.shown, proofs.make_signed(own, octets, announced))


def _at(core: SaCore, rounds: Rounds) -> SaCore:
    """Still half-open, this far."""
    return replace(core, handshake=replace(halves(core)[0], rounds=rounds))


def name_of(identity: IdPayload) -> str:
    """What an identity is called in EAP: a name, without its kind."""
    return text(identity).partition(":")[2]


def identity_of(name: str) -> str:
    """How the identity that EAP has authenticated is written elsewhere."""
    octets = name.encode()
    id_type = IdType.ID_RFC822_ADDR if "@" in name else IdType.ID_KEY_ID
    return format_identity((id_type, octets))
