"""Mixing a PPK into the keys of a handshake, both roles (RFC 8784 3).

Rules: what is encrypted so far stays under the keys that it is under; SK_d, SK_pi and SK_pr change,
in the exchange in which the initiator's first AUTH travels, and the responder's AUTH of that answer
has the new ones. That is after all additional key exchanges. Whoever requires a PPK goes on with
nobody who hasn't it. NULL authentication proves nothing but a PPK: with one announced, it is
required (RFC 8784 5.2.3).
"""

from collections.abc import Callable

import msgspec

from proto.ike.connection import Connection, Method
from proto.ike.core import Context, Peer, SaCore, replace
from proto.ike.enums import NotifyType
from proto.ike.events import WithoutPpk
from proto.ike.exchanges.authenticated import halves, refused, text
from proto.ike.kdf import mix_ppk
from proto.ike.message import Message
from proto.ike.payloads import AuthPayload, IdPayload, NotifyPayload, Payload
from proto.ike.ppk import PpkUse
from proto.secret import Secret

USE_PPK = NotifyPayload(NotifyType.USE_PPK)
USED = NotifyPayload(NotifyType.PPK_IDENTITY)


def announced(message: Message, ours: bool) -> PpkUse:
    """What the first exchange says: `ours`, and the peer's `message`."""
    theirs = message.notify(NotifyType.USE_PPK) is not None
    return PpkUse.OPEN if ours and theirs else PpkUse.OFF


# -- the initiator's side -------------------------------------------------------------------------


def prove(
    core: SaCore, peer: Peer, make: Callable[[SaCore], tuple[Payload, ...]]
) -> tuple[Payload, ...]:
    """What `make` makes with AUTH as its last; where a PPK is to be used, with it: then also its id
    and, unless it is required, what AUTH would be without it.
    """
    if peer.ppk is None or halves(core)[0].ppk is not PpkUse.OPEN:
        return make(core)
    made = make(_mixed(core, peer.ppk.secret))
    said = NotifyPayload(NotifyType.PPK_IDENTITY, peer.ppk.id)
    if is_required_of(peer):
        return (*made, said)
    plain = make(core)[-1]
    data = plain.data if isinstance(plain, AuthPayload) else b""
    return (*made, said, NotifyPayload(NotifyType.NO_PPK_AUTH, data))


def is_required_of(peer: Peer) -> bool:
    """Initiator: must this gateway use our PPK?"""
    methods = (peer.remote_auth, *[proof.method for proof in peer.to_prove])
    return peer.ppk_required or Method.NULL in methods


def answered(core: SaCore, peer: Peer, message: Message) -> SaCore:
    """The gateway has answered our first AUTH: with the PPK, or without. Raises PeerError."""
    if peer.ppk is None or halves(core)[0].ppk is not PpkUse.OPEN:
        return core
    if message.notify(NotifyType.PPK_IDENTITY) is not None:
        return _mixed(core, peer.ppk.secret)
    if is_required_of(peer):
        raise refused("the gateway doesn't use our PPK; configured: required")
    return _settled(core)


# -- the responder's side -------------------------------------------------------------------------


class Settled(msgspec.Struct, frozen=True):
    """What a responder goes on with."""

    core: SaCore
    proof: AuthPayload
    """The initiator's, as it is to be checked under the keys of `core`."""
    said: tuple[Payload, ...] = ()
    """For our answer."""


def check_announced(core: SaCore, connection: Connection) -> None:
    """Raises PeerError where a peer of this connection had to announce PPKs, and hasn't."""
    if connection.ppk_required and halves(core)[0].ppk is PpkUse.OFF:
        raise refused(f"no PPK; connection {connection} requires one")


def settle(
    core: SaCore,
    connection: Connection,
    idi: IdPayload,
    message: Message,
    proof: AuthPayload,
    ctx: Context,
) -> Settled:
    """With the PPK that the initiator's first AUTH names, or without where both sides may. Raises
    PeerError.
    """
    if halves(core)[0].ppk is not PpkUse.OPEN:
        return Settled(core, proof)
    named = message.notify(NotifyType.PPK_IDENTITY)
    if named is None:
        raise refused(f"{text(idi)} announces PPKs, and names none")
    secret = ctx.credentials.ppk(named.data, idi)
    if secret is not None:
        return Settled(_mixed(core, secret), proof, (USED,))
    plain = message.notify(NotifyType.NO_PPK_AUTH)
    if plain is None:
        raise refused(f"no such PPK for {text(idi)}, which does nothing without")
    if connection.ppk_required or Method.NULL in (connection.local_auth, *connection.remote_auth):
        raise refused(f"no such PPK for {text(idi)}; connection {connection} requires one")
    return Settled(_settled(core), replace(proof, data=plain.data))


def audit(core: SaCore, use: PpkUse, idi: IdPayload, ctx: Context) -> tuple[WithoutPpk, ...]:
    """Responder: the event that there was a PPK for an established SA, and it has none (RFC 8784
    6). `use`: what had become of it.
    """
    if core.ppk or not ctx.settings.use_ppk:
        return ()
    if use is PpkUse.OFF and not ctx.credentials.expects_ppk(idi):
        return ()
    return (WithoutPpk(core.spi, core.identity),)


def _mixed(core: SaCore, secret: Secret) -> SaCore:
    _, suite, keys = halves(core)
    return replace(_settled(core), keys=mix_ppk(suite.prf, secret, keys), ppk=True)


def _settled(core: SaCore) -> SaCore:
    return replace(core, handshake=replace(halves(core)[0], ppk=PpkUse.SETTLED))
