"""IKE_INTERMEDIATE: the additional key exchanges between IKE_SA_INIT and IKE_AUTH, both roles (RFC
9242, RFC 9370 2.2.2).

Rules: there are as many of these exchanges as were agreed on, each for one method, in order; any
other is refused. A message travels under the keys from before its exchange, and the next one under
the new keys. IKE_AUTH covers both messages, as they were before encryption and fragmentation.
"""

from proto.ike.agreement import agree, answer, make_key
from proto.ike.core import Context, Handshake, SaCore, State, Step, replace
from proto.ike.enums import FLAG_INITIATOR, FLAG_RESPONSE, ExchangeType, NotifyType
from proto.ike.errors import Misuse, PeerError
from proto.ike.exchanges.authenticated import halves
from proto.ike.intermediate import covered, int_auth
from proto.ike.kdf import SaKeys, derive_keys, skeyseed_rekey
from proto.ike.message import Message
from proto.ike.payloads import KePayload, encode_chain
from proto.secret import Secret

FIRST_ID = 1
"""Message ID of the first of these exchanges (RFC 9242 3.2)."""


def respond(core: SaCore, message: Message, ctx: Context) -> Step:
    """Responder: answer the next KEi with KEr. Raises PeerError INVALID_SYNTAX; Needed."""
    handshake, _, keys = halves(core)
    method = _next_method(handshake)
    ke = _ke_of(message, method)
    public, shared = answer(method, ke.data, ctx)
    ours = KePayload(method, public)
    own = _covered(core, message.header.message_id, FLAG_RESPONSE, ours)
    handshake = _after(core, handshake, keys, message.covered, own)
    return Step(_renewed(core, handshake, shared), (ours,))


def initiate(core: SaCore, ctx: Context) -> Step:
    """Initiator: the next KEi. Raises Needed."""
    handshake, _, _ = halves(core)
    exchange = make_key(_next_method(handshake), ctx)
    handshake = replace(handshake, exchange=exchange)
    core = replace(core, state=State.INTERMEDIATE_SENT, handshake=handshake)
    return Step(core, (KePayload(exchange.group, exchange.public),))


def process(core: SaCore, message: Message, ctx: Context) -> Step:
    """Initiator: take KEr. Raises PeerError, where it is none, and the SA has failed; Needed."""
    handshake, _, keys = halves(core)
    exchange = handshake.exchange
    if exchange is None:
        raise Misuse("an IKE_INTERMEDIATE response without a request")
    ke = _ke_of(message, exchange.group)
    shared = agree(exchange, ke.data, ctx)
    ours = KePayload(exchange.group, exchange.public)
    own = _covered(core, FIRST_ID + handshake.exchanges, 0, ours)
    handshake = replace(_after(core, handshake, keys, own, message.covered), exchange=None)
    renewed = _renewed(core, handshake, shared)
    return Step(renewed if handshake.more else replace(renewed, state=State.AUTH_SENT))


def _next_method(handshake: Handshake) -> int:
    if not handshake.more:
        raise PeerError(NotifyType.INVALID_SYNTAX, why="IKE_INTERMEDIATE that nobody agreed on")
    return handshake.more[0]


def _ke_of(message: Message, method: int) -> KePayload:
    """The KE of a message, which must be of that method (RFC 9370 2.2.2)."""
    ke = message.find(KePayload)
    if ke is None or ke.group != method:
        shown = ", ".join(str(n.type) for n in message.notifies) or "another KE, or none"
        why = f"IKE_INTERMEDIATE for method {method} has {shown}"
        raise PeerError(NotifyType.INVALID_SYNTAX, why=why)
    return ke


def _covered(core: SaCore, message_id: int, flags: int, ke: KePayload) -> bytes:
    """What AUTH covers of a message of ours."""
    if core.initiator:
        flags |= FLAG_INITIATOR
    exchange = int(ExchangeType.IKE_INTERMEDIATE)
    first, plaintext = encode_chain((ke,))
    return covered(core.spi_i, core.spi_r, exchange, flags, message_id, first, plaintext)


def _after(
    core: SaCore, handshake: Handshake, keys: SaKeys, request: bytes, response: bytes
) -> Handshake:
    """One more exchange is covered, by the keys from before it."""
    prf_id = halves(core)[1].prf
    return replace(
        handshake,
        more=handshake.more[1:],
        exchanges=handshake.exchanges + 1,
        int_auth_i=int_auth(prf_id, keys.pi, handshake.int_auth_i, request),
        int_auth_r=int_auth(prf_id, keys.pr, handshake.int_auth_r, response),
    )


def _renewed(core: SaCore, handshake: Handshake, shared: Secret) -> SaCore:
    """All keys anew: SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr) (RFC 9370 2.2.2)."""
    _, suite, keys = halves(core)
    nonces = (handshake.nonce_i, handshake.nonce_r)
    seed = skeyseed_rekey(suite.prf, keys.d, shared, *nonces)
    renewed = derive_keys(suite, seed, *nonces, core.spi_i, core.spi_r)
    return replace(core, keys=renewed, handshake=handshake)
