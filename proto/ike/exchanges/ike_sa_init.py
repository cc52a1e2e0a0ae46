"""IKE_SA_INIT: the first exchange of a full handshake, both roles (RFC 7296 1.2, 2.6, 2.7, 2.14).

Rules: nothing here is authenticated. The responder keeps no state before the cookie check, and
answers errors statelessly with an SPIr of zero (RFC 7296 2.6). The initiator believes an error only
if nothing better comes (RFC 7296 2.21.1), and follows at most `RETRIES_MAX` COOKIE and
INVALID_KE_PAYLOAD answers.
"""

import hmac

from proto.ike import cookie, nat, negotiation, redirect
from proto.ike.agreement import agree, answer, make_key
from proto.ike.core import Context, Handshake, Peer, SaCore, State, Step, replace
from proto.ike.effects import Path
from proto.ike.enums import FLAG_RESPONSE, ExchangeType, NotifyType
from proto.ike.errors import Misuse, PeerError, WireError
from proto.ike.events import Redirected
from proto.ike.exchanges import ppk
from proto.ike.kdf import derive_keys, skeyseed_init
from proto.ike.message import Message, encode_clear
from proto.ike.offers import no_proposal
from proto.ike.payloads import (
    CertreqPayload,
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    SaPayload,
)
from proto.ike.ppk import PpkUse
from proto.ike.signature import decode_hashes, encode_hashes
from proto.ike.suite import Suite, addkes_of, kes_of

_EXCHANGE = ExchangeType.IKE_SA_INIT
NONCE_OCTETS = 32
RETRIES_MAX = 4
COOKIE_MAX = 64
"""Octets of a COOKIE, at most; at least 1 (RFC 7296 2.6)."""
HASHES = NotifyPayload(NotifyType.SIGNATURE_HASH_ALGORITHMS, encode_hashes())
MULTIPLE = NotifyPayload(NotifyType.MULTIPLE_AUTH_SUPPORTED)
FRAGMENTATION = NotifyPayload(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED)
INTERMEDIATE = NotifyPayload(NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED)


def cookie_payload(handshake: Handshake) -> tuple[Payload, ...]:
    """N(COOKIE) as the first payload of a repeated request (RFC 7296 2.6), or nothing."""
    if not handshake.cookie:
        return ()
    return (NotifyPayload(NotifyType.COOKIE, handshake.cookie),)


def wanted_cookie(message: Message) -> bytes | None:
    """The cookie that a responder asks for. Raises WireError for one of impossible length."""
    wanted = message.notify(NotifyType.COOKIE)
    if wanted is None:
        return None
    if not 1 <= len(wanted.data) <= COOKIE_MAX:
        raise WireError(f"COOKIE of {len(wanted.data)} octets")
    return wanted.data


def need_cookie(message: Message, ctx: Context) -> NotifyPayload | None:
    """The COOKIE to ask for, unless the request brings a good one (RFC 7296 2.6)."""
    nonce = message.find(NoncePayload)
    if nonce is None:
        raise WireError("IKE_SA_INIT without a nonce")
    brought = message.notify(NotifyType.COOKIE)
    address, spi_i, wall_s = ctx.path.remote[0], message.header.spi_i, ctx.now.wall_s
    if brought is not None and cookie.verify(
        brought.data, ctx.cookies, wall_s, nonce.data, spi_i, address
    ):
        return None
    generation, secret = ctx.cookies.sealing(wall_s)
    return NotifyPayload(
        NotifyType.COOKIE, cookie.make(secret, generation, nonce.data, spi_i, address)
    )


def look_for_nat(
    spi_r: bytes, message: Message, ctx: Context
) -> tuple[int, tuple[NotifyPayload, ...]]:
    """Responder: what is found of NATs (`proto.ike.nat`), and what is shown in answer."""
    if not ctx.settings.nat_traversal:
        return 0, ()
    pretend = ctx.settings.encapsulate_always
    found = nat.found(message, ctx.path, pretend)
    if not found:
        return 0, ()
    return found, nat.shown(message.header.spi_i, spi_r, ctx.path, pretend)


def show_addresses(spi_i: bytes, nat_path: Path | None, ctx: Context) -> tuple[NotifyPayload, ...]:
    """Initiator: NAT_DETECTION of the first request, if there is a way on through a NAT."""
    if nat_path is None:
        return ()
    return nat.shown(spi_i, bytes(8), ctx.path, ctx.settings.encapsulate_always)


def is_slow(message: Message, ctx: Context) -> bool:
    """Would the answer need a computation that takes long: is KEi of such a group, and it taken?"""
    offer, ke = message.find(SaPayload), message.find(KePayload)
    if offer is None or ke is None or ke.group not in ctx.settings.slow_groups:
        return False
    selected = _select(offer, ke.group, message, ctx)
    return selected is not None and selected[0].ke == ke.group


def _select(
    offer: SaPayload, group: int, message: Message, ctx: Context
) -> tuple[Suite, SaPayload] | None:
    """Our choice, with the group of the peer's KE if we can: but a slow one takes a cookie, which
    is a round trip as well. Additional key exchanges take an IKE_INTERMEDIATE (RFC 9370 2.2.1).
    """
    first_ke = 0 if group in ctx.settings.slow_groups else group
    addkes = message.notify(NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED) is not None
    return negotiation.select(offer, ctx.settings.suites, first_ke=first_ke, addkes=addkes)


def respond(spi_r: bytes, message: Message, ctx: Context) -> SaCore:
    """Choose a suite; the half-open SA that holds the answer, SA, KE and Nr, and the keys.

    Raises PeerError: NO_PROPOSAL_CHOSEN, INVALID_KE_PAYLOAD (data: the group we take),
    INVALID_SYNTAX; Needed; WireError, and then nothing is needed before.
    """
    hashes = _hashes(message)
    offer, ke, nonce = message.find(SaPayload), message.find(KePayload), message.find(NoncePayload)
    if offer is None or ke is None or nonce is None:
        raise PeerError(NotifyType.INVALID_SYNTAX, why="IKE_SA_INIT lacks SA, KE or Ni")
    selected = _select(offer, ke.group, message, ctx)
    if selected is None:
        why = no_proposal(offer, ctx.settings.suites)
        raise PeerError(NotifyType.NO_PROPOSAL_CHOSEN, why=why)
    chosen, reply = selected
    if chosen.ke != ke.group:
        group = int(chosen.ke).to_bytes(2, "big")
        raise PeerError(NotifyType.INVALID_KE_PAYLOAD, group, f"KE of group {ke.group}")
    public, shared = answer(chosen.ke, ke.data, ctx)
    nonce_r = ctx.rng.bytes(NONCE_OCTETS)
    spi_i = message.header.spi_i
    seed = skeyseed_init(chosen.prf, nonce.data, nonce_r, shared)
    keys = derive_keys(chosen, seed, nonce.data, nonce_r, spi_i, spi_r)
    fragmentation = message.notify(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED) is not None
    found, shown = look_for_nat(spi_r, message, ctx)
    payloads: list[Payload] = [
        reply,
        KePayload(chosen.ke, public),
        NoncePayload(nonce_r),
        *shown,
        *_wanted(hashes is not None, ctx),
    ]
    if fragmentation:
        payloads.append(FRAGMENTATION)
    more = chosen.more_kes
    if more:
        payloads.append(INTERMEDIATE)
    use = ppk.announced(message, ctx.settings.use_ppk)
    if use is PpkUse.OPEN:
        payloads.append(ppk.USE_PPK)
    made = encode_clear(spi_i, spi_r, _EXCHANGE, FLAG_RESPONSE, 0, payloads)
    return SaCore(
        state=State.INIT_ANSWERED,
        initiator=False,
        spi_i=spi_i,
        spi_r=spi_r,
        suite=chosen,
        keys=keys,
        handshake=Handshake(nonce.data, nonce_r, ctx.raw, made, hashes=hashes, more=more, ppk=use),
        fragmentation=fragmentation,
        nat=found,
        follows=redirect.follows(message),
    )


def _wanted(knows_hashes: bool, ctx: Context) -> tuple[Payload, ...]:
    """How the initiator may prove itself: [CERTREQ,] [N(hashes),] [N(several)]."""
    payloads: list[Payload] = list(ctx.settings.requests)
    if knows_hashes:
        payloads.append(HASHES)
    if ctx.connections.multiple:
        payloads.append(MULTIPLE)
    return tuple(payloads)


def _hashes(message: Message) -> frozenset[int] | None:
    """Those of a SIGNATURE_HASH_ALGORITHMS (RFC 7427 4). Raises WireError."""
    notify = message.notify(NotifyType.SIGNATURE_HASH_ALGORITHMS)
    return None if notify is None else decode_hashes(notify.data)


def initiate(core: SaCore, ctx: Context) -> Step:
    """The first request of a full handshake: all proposals, a KE of the first one's group. Raises
    Needed.
    """
    handshake = core.handshake
    if handshake is None or handshake.peer is None:
        raise Misuse("a handshake with nobody")
    exchange = make_key(kes_of(handshake.peer.suites)[0], ctx)
    handshake = replace(
        handshake,
        nonce_i=ctx.rng.bytes(NONCE_OCTETS),
        exchange=exchange,
        shown=show_addresses(core.spi_i, handshake.nat_path, ctx),
    )
    return Step(replace(core, handshake=handshake), request(handshake))


def unsent(spi_i: bytes, peer: Peer, nat_path: Path | None) -> SaCore:
    """A full handshake whose first request is still to be made. `nat_path`: see `Handshake`."""
    return SaCore(
        State.INIT_SENT,
        initiator=True,
        spi_i=spi_i,
        spi_r=bytes(8),
        handshake=Handshake(b"", peer=peer, nat_path=nat_path),
        client=True,
    )


def request(handshake: Handshake) -> tuple[Payload, ...]:
    """The payloads of an IKE_SA_INIT request, the cookie first where one was asked for."""
    if handshake.peer is None or handshake.exchange is None:
        raise Misuse("an IKE_SA_INIT request of a responder")
    return (
        *cookie_payload(handshake),
        negotiation.proposal(handshake.peer.suites),
        KePayload(handshake.exchange.group, handshake.exchange.public),
        NoncePayload(handshake.nonce_i),
        *handshake.shown,
        HASHES,
        *follows_redirects(handshake.peer),
        FRAGMENTATION,
        *((INTERMEDIATE,) if addkes_of(handshake.peer.suites) else ()),
        *((ppk.USE_PPK,) if handshake.peer.ppk is not None else ()),
    )


def follows_redirects(peer: Peer) -> tuple[NotifyPayload, ...]:
    """Initiator: whether we may be redirected, and whether we were (RFC 5685 3)."""
    if not peer.follows:
        return ()
    if peer.redirected_from:
        return (redirect.redirected_from(peer.redirected_from),)
    return (redirect.SUPPORTED,)


def redirected(core: SaCore, handshake: Handshake, message: Message) -> Step | None:
    """Initiator: the answer sends us elsewhere, and was made by who has seen our request (RFC 5685
    3). Raises WireError for any other that says so: the right one may still come.
    """
    notify = message.notify(NotifyType.REDIRECT)
    if notify is None or handshake.peer is None or not handshake.peer.follows:
        return None
    target, nonce = redirect.decode(notify.data)
    if not hmac.compare_digest(nonce, handshake.nonce_i):
        raise WireError("a REDIRECT with another nonce than ours")
    events = (Redirected(core.spi, target.text),)
    return Step(replace(core, state=State.DEAD), events=events)


def process(core: SaCore, message: Message, ctx: Context) -> Step:
    """Initiator: take the response; the step's reply is the next request's payloads.

    State INIT_SENT with a reply: ask again with it. AUTH_SENT without: derive done, IKE_AUTH may go
    out. Raises WireError for what is to be ignored; Needed.
    """
    handshake = core.handshake
    if handshake is None or handshake.peer is None or handshake.exchange is None:
        raise Misuse("an IKE_SA_INIT response without a request")
    peer, exchange = handshake.peer, handshake.exchange
    other = redirected(core, handshake, message) or _ask_again(core, handshake, message, ctx)
    if other is not None:
        return other
    reply, ke, nonce = message.find(SaPayload), message.find(KePayload), message.find(NoncePayload)
    if reply is None or ke is None or nonce is None or message.header.spi_r == bytes(8):
        why = ", ".join(str(n.type) for n in message.notifies) or "incomplete response"
        return _wait_for_better(core, handshake, f"the peer answered {why}")
    use = ppk.announced(message, peer.ppk is not None)
    if peer.ppk_required and use is PpkUse.OFF:
        # forged, perhaps: the right one may still come (RFC 8784 6)
        return _wait_for_better(core, handshake, "the gateway uses no PPKs; configured: required")
    chosen = negotiation.chosen(reply, peer.suites)
    if chosen.ke != exchange.group or ke.group != chosen.ke:
        raise WireError("KE of another group than the chosen one")
    supported = message.notify(NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED) is not None
    if chosen.more_kes and not supported:
        raise WireError("additional key exchanges without IKE_INTERMEDIATE")
    shared = agree(exchange, ke.data, ctx)
    seed = skeyseed_init(chosen.prf, handshake.nonce_i, nonce.data, shared)
    spi_r = message.header.spi_r
    keys = derive_keys(chosen, seed, handshake.nonce_i, nonce.data, core.spi_i, spi_r)
    handshake = replace(
        handshake,
        nonce_r=nonce.data,
        message_2=ctx.raw,
        exchange=None,
        hashes=_hashes(message),
        requests=tuple(p for p in message.payloads if isinstance(p, CertreqPayload)),
        multiple=message.notify(NotifyType.MULTIPLE_AUTH_SUPPORTED) is not None,
        more=chosen.more_kes,
        ppk=use,
    )
    fragmentation = message.notify(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED) is not None
    return Step(
        replace(
            core,
            state=State.AUTH_SENT,
            spi_r=spi_r,
            suite=chosen,
            keys=keys,
            handshake=handshake,
            fragmentation=fragmentation,
            nat=nat_of_answer(handshake, message, ctx),
        )
    )


def _wait_for_better(core: SaCore, handshake: Handshake, why: str) -> Step:
    return Step(replace(core, handshake=replace(handshake, why=why)))


def nat_of_answer(handshake: Handshake, message: Message, ctx: Context) -> int:
    """Initiator: what is found of NATs, if we have asked."""
    if not handshake.shown:
        return 0
    return nat.found(message, ctx.path, ctx.settings.encapsulate_always)


def _ask_again(core: SaCore, handshake: Handshake, message: Message, ctx: Context) -> Step | None:
    """The request that a COOKIE or an INVALID_KE_PAYLOAD asks for, or None."""
    if handshake.retries >= RETRIES_MAX or handshake.peer is None or handshake.exchange is None:
        return None
    peer, exchange, retries = handshake.peer, handshake.exchange, handshake.retries + 1
    brought = wanted_cookie(message)
    if brought is not None:
        handshake = replace(handshake, retries=retries, cookie=brought)
        return Step(replace(core, handshake=handshake), request(handshake))
    wanted = message.notify(NotifyType.INVALID_KE_PAYLOAD)
    if wanted is None or len(wanted.data) != 2:
        return None
    group = int.from_bytes(wanted.data, "big")
    if group == exchange.group or group not in kes_of(peer.suites):
        return None
    exchange = make_key(group, ctx)
    handshake = replace(handshake, retries=retries, exchange=exchange)
    return Step(replace(core, handshake=handshake), request(handshake))
