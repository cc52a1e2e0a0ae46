"""IKE_AUTH of a resumption, both roles (RFC 5723 4.3.3).

Rules: what is proven is SK_px, in the RFC's form or in libreswan's, and it is answered in the form
that matched. A ticket is claimed here and nowhere else. The connection and the original
authentication are the ticket's: nothing but their consequences is looked at again. A CERT is
ignored (R34).
"""

from proto.ike import auth
from proto.ike.core import Context, Handshake, Peer, SaCore, Step, replace
from proto.ike.effects import PersistKind
from proto.ike.enums import AuthMethod, PayloadType
from proto.ike.errors import Misuse
from proto.ike.exchanges.authenticated import answer, halves, refused
from proto.ike.exchanges.ike_auth import claim
from proto.ike.message import Message
from proto.ike.payloads import AuthPayload, IdPayload
from proto.ike.ticket import PPK_USED

_SHARED_KEY_MIC = AuthMethod.SHARED_KEY_MIC
_IDR = PayloadType.IDr
_REDEEM = PersistKind.REDEEM


def respond(core: SaCore, message: Message, ctx: Context) -> Step:
    """Check a resumption's IKE_AUTH request against the ticket, and answer in the form that
    matched.

    Raises PeerError(AUTHENTICATION_FAILED); the ticket is then still unused (R33).
    """
    handshake, suite, keys = halves(core)
    body = handshake.ticket
    if body is None:
        raise Misuse("a resumption without its ticket")
    idr = IdPayload(_IDR, body.idr_type, body.idr)
    connection = ctx.connections.named(body.connection)
    if connection is None:
        raise refused("the ticket's connection is gone")
    idi, asked, proof = claim(message)
    if asked is not None and asked != idr:
        raise refused("asked for another IDr than ours")
    if (idi.id_type, idi.data) != (body.idi_type, body.idi):
        raise refused("IDi isn't the ticket's")
    form = None
    if proof is not None and proof.method == _SHARED_KEY_MIC:
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
        raise refused("AUTH of no accepted form")
    wall_s, until_s = ctx.now.wall_s, body.auth_deadline_wall_s
    core = replace(
        core,
        established_wall_s=wall_s,
        auth_deadline_wall_s=until_s,
        expires_wall_s=min(wall_s + ctx.settings.ike_sa_lifetime_s, until_s),
        idi=idi,
        idr=idr,
        identity=body.identity,
        connection=body.connection,
        auth_method=body.auth_method,
        certificate=body.certificate,
        authenticated_wall_s=body.authenticated_wall_s,
        chain=body.chain,
        generation=body.generation + 1,
        replaces=body.spi_r,
        leased=body.leased,
        ppk=body.flags & PPK_USED != 0,
    )
    message_2, nonce_i = handshake.message_2, handshake.nonce_i
    made = auth.make_resume_auth(form, suite.prf, keys.pr, message_2, nonce_i, idr.body)
    return answer(
        core, message, ctx, connection, _REDEEM, (idr, AuthPayload(_SHARED_KEY_MIC, made))
    )


def prove(core: SaCore, peer: Peer) -> AuthPayload:
    """Initiator: AUTH in the form that we use."""
    handshake, suite, keys = halves(core)
    proof = auth.make_resume_auth(
        peer.resume_form,
        suite.prf,
        keys.pi,
        handshake.message_1,
        handshake.nonce_r,
        peer.local_id.body,
    )
    return AuthPayload(_SHARED_KEY_MIC, proof)


def check_gateway(
    core: SaCore, handshake: Handshake, proof: AuthPayload, idr: IdPayload, peer: Peer
) -> None:
    """Initiator: raises PeerError unless the gateway's AUTH proves what ours did, in our form."""
    _, suite, keys = halves(core)
    form = auth.match_resume_auth(
        proof.data,
        suite.prf,
        keys.pr,
        handshake.message_2,
        handshake.nonce_i,
        idr.body,
        (peer.resume_form,),
    )
    if proof.method != _SHARED_KEY_MIC or form is None:
        raise refused("the gateway's AUTH is wrong")
