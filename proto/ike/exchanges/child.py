"""The Child SA that rides in IKE_AUTH: chosen, keyed and handed to the kernel (RFC 7296 1.2, 2.9,
2.17).

Rules: a Child SA that can't be made never ends the IKE SA (RFC 7296 1.3): the answer holds the
error instead. Both ends of it are keyed from the nonces of the first exchange, of a resumption's as
well (RFC 5723 4.3.4).
"""

from proto.ike import mode, selectors
from proto.ike.connection import Connection
from proto.ike.core import Child, Context, Handshake, Peer, SaCore
from proto.ike.effects import InstallChild, Path
from proto.ike.enums import NotifyType, PayloadType
from proto.ike.errors import Misuse, PeerError
from proto.ike.exchanges import configuration
from proto.ike.kdf import child_keymat
from proto.ike.message import Message
from proto.ike.negotiation import child_proposal, chosen_child, select_child
from proto.ike.offers import no_proposal, no_selectors
from proto.ike.payloads import Payload, SaPayload, TrafficSelector, TsPayload
from proto.ike.suite import ChildSuite
from proto.secret import Secret

_TSI = PayloadType.TSi
_TSR = PayloadType.TSr

Selectors = tuple[TrafficSelector, ...]


def respond_child(
    core: SaCore, handshake: Handshake, message: Message, connection: Connection, ctx: Context
) -> tuple[Child, tuple[Payload, ...]]:
    """Choose a Child SA from an IKE_AUTH request; the payloads that answer: SA, TSi, TSr.

    Raises PeerError for the notify that takes their place.
    """
    offer = message.find(SaPayload)
    ts_i, ts_r = message.selectors(_TSI), message.selectors(_TSR)
    if offer is None or ts_i is None or ts_r is None:
        raise PeerError(NotifyType.NO_PROPOSAL_CHOSEN, why="no SA, TSi or TSr")
    choice = select_child(offer, ctx.settings.child_suites)
    if choice is None:
        why = no_proposal(offer, ctx.settings.child_suites)
        raise PeerError(NotifyType.NO_PROPOSAL_CHOSEN, why=why)
    local, remote, transport = narrowed(core, message, ts_i, ts_r, connection, ctx)
    spi_in = ctx.spis.esp_spi(core.spi)
    keymat = _keymat(core, handshake, choice.suite)
    made = Child(spi_in, choice.peer_spi, choice.suite, local, remote, keymat, transport=transport)
    reply = (choice.reply(spi_in), TsPayload(_TSI, remote), TsPayload(_TSR, local))
    return made, (mode.USE_TRANSPORT_MODE, *reply) if transport else reply


def narrowed(
    core: SaCore,
    message: Message,
    ts_i: TsPayload | None,
    ts_r: TsPayload | None,
    connection: Connection,
    ctx: Context,
) -> tuple[Selectors, Selectors, bool]:
    """Responder: the local and the remote selectors of the Child SA that `message` asks for, and
    whether it is in transport mode. Raises PeerError.
    """
    transport = mode.granted(core, message, connection)
    may_local, may_remote = policy(core, transport, connection, ctx)
    remote = () if ts_i is None else selectors.narrow(ts_i.selectors, may_remote)
    local = () if ts_r is None else selectors.narrow(ts_r.selectors, may_local)
    if not remote or not local:
        why = no_selectors(ts_i, ts_r, may_remote, may_local)
        raise PeerError(NotifyType.TS_UNACCEPTABLE, why=why)
    return local, remote, transport


def policy(
    core: SaCore, transport: bool, connection: Connection, ctx: Context
) -> tuple[Selectors, Selectors]:
    """What may stand on our side of a Child SA and on the peer's, which is its internal addresses,
    if it has any.
    """
    if transport:
        return mode.hosts(ctx.path)
    return connection.local_ts, configuration.selectors(core.leased) or connection.remote_ts


def _policy_of(peer: Peer, ctx: Context) -> tuple[Selectors, Selectors]:
    return mode.hosts(ctx.path) if peer.transport else (peer.local_ts, peer.remote_ts)


def offer_child(peer: Peer, spi_in: bytes, ctx: Context) -> tuple[Payload, ...]:
    """[N(USE_TRANSPORT_MODE),] SA, TSi, TSr of an IKE_AUTH request."""
    local, remote = _policy_of(peer, ctx)
    return (
        *((mode.USE_TRANSPORT_MODE,) if peer.transport else ()),
        child_proposal(peer.child_suites, spi_in),
        TsPayload(_TSI, local),
        TsPayload(_TSR, remote),
    )


def accept_child(
    core: SaCore, handshake: Handshake, message: Message, peer: Peer, ctx: Context
) -> Child | None:
    """The Child SA that the responder made of our offer; None: it made none.

    Raises PeerError where the answer isn't within the offer.
    """
    reply = message.find(SaPayload)
    ts_i, ts_r = message.selectors(_TSI), message.selectors(_TSR)
    if reply is None or ts_i is None or ts_r is None:
        return None
    choice = chosen_child(reply, peer.child_suites)
    may_local, may_remote = _policy_of(peer, ctx)
    local = selectors.narrow(ts_i.selectors, may_local)
    remote = selectors.narrow(ts_r.selectors, may_remote)
    if local != ts_i.selectors or remote != ts_r.selectors:
        raise PeerError(NotifyType.TS_UNACCEPTABLE, why="selectors wider than what we offered")
    keymat = _keymat(core, handshake, choice.suite)
    return Child(
        handshake.child_spi,
        choice.peer_spi,
        choice.suite,
        local,
        remote,
        keymat,
        initiator=True,
        transport=mode.said(message),
    )


def install(child: Child, path: Path, encapsulated: bool) -> InstallChild:
    """The kernel operation for a Child SA, between the IKE SA's addresses (RFC 4555 3.3)."""
    return InstallChild(
        child.spi_in,
        child.spi_out,
        child.suite,
        child.keymat,
        child.initiator,
        child.local_ts,
        child.remote_ts,
        path,
        encapsulated,
        child.transport,
    )


def _keymat(core: SaCore, handshake: Handshake, suite: ChildSuite) -> Secret:
    if core.suite is None or core.keys is None:
        raise Misuse("a Child SA before the IKE SA has keys")
    return child_keymat(suite, core.suite.prf, core.keys.d, handshake.nonce_i, handshake.nonce_r)
