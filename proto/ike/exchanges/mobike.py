"""MOBIKE, both roles: an SA whose ends change their addresses (RFC 4555).

Rules: whoever began the session decides which addresses are used, and says so; the other end takes
them from the datagram. The IKE SA moves at once, and its Child SAs at the responder's end once the
peer has proven that it receives there. The newest path alone counts: an answer to what was sent on
another one says nothing. An address is no more trusted than the request that came from it.
"""

import hmac
import ipaddress

from proto.ike import mode, nat
from proto.ike.core import Asking, Context, SaCore, Step, Want, Work, replace
from proto.ike.effects import Address, KernelOp, Path, PersistKind, UpdateChild
from proto.ike.enums import NotifyType
from proto.ike.errors import PeerError
from proto.ike.events import Moved, MoveRefused
from proto.ike.message import Message
from proto.ike.payloads import NotifyPayload, Payload

ADDRESSES_MAX = 8
"""Of a peer's additional addresses, as many are kept."""
COOKIE2_OCTETS = 16
COOKIE2_MIN, COOKIE2_MAX = 8, 64
"""Octets of a peer's; another one isn't a COOKIE2 (RFC 4555 4.2.5)."""
NAT_TRIES_MAX = 4
"""How often an update is repeated that met a NAT where none is allowed (RFC 4555 3.9)."""
SUPPORTED = NotifyPayload(NotifyType.MOBIKE_SUPPORTED)
_UPDATE = NotifyPayload(NotifyType.UPDATE_SA_ADDRESSES)
_NAT_FOUND = NotifyPayload(NotifyType.UNEXPECTED_NAT_DETECTED)
_UNACCEPTABLE = NotifyPayload(NotifyType.UNACCEPTABLE_ADDRESSES)
_OCTETS: dict[int, int] = {
    NotifyType.ADDITIONAL_IP4_ADDRESS: 4,
    NotifyType.ADDITIONAL_IP6_ADDRESS: 16,
}


# -- in IKE_AUTH


def offer(core: SaCore, path: Path, ctx: Context) -> tuple[Payload, ...]:
    """The client's part of an IKE_AUTH request that leaves on `path` (RFC 4555 3.2, 3.9)."""
    settings = ctx.settings
    if not settings.mobike or not (core.nat & nat.SHOWN or settings.no_nats):
        return ()
    return (SUPPORTED, *_forbidden(core, path))


def answer(core: SaCore, asked: Message, ctx: Context) -> tuple[SaCore, tuple[Payload, ...]]:
    """The gateway's part of the answer, and the SA with what was agreed on. Raises PeerError
    UNEXPECTED_NAT_DETECTED.
    """
    if not ctx.settings.mobike or asked.notify(NotifyType.MOBIKE_SUPPORTED) is None:
        return core, ()
    if _is_changed(asked, ctx.path):
        raise PeerError(NotifyType.UNEXPECTED_NAT_DETECTED, why="a NAT, and none is allowed")
    theirs = additional(asked) or ()
    mine = tuple([_additional(host) for host in ctx.settings.additional_addresses])
    return replace(core, mobike=True, peer_addresses=theirs), (SUPPORTED, *mine)


def agreed(core: SaCore, message: Message, ctx: Context) -> SaCore:
    """The client's SA, with what the gateway's last answer agrees to."""
    if not ctx.settings.mobike or message.notify(NotifyType.MOBIKE_SUPPORTED) is None:
        return core
    return replace(core, mobike=True, peer_addresses=additional(message) or ())


# -- in INFORMATIONAL: what is asked


def ask(core: SaCore, want: Want, ctx: Context) -> tuple[SaCore, tuple[Payload, ...]]:
    """The request that tells of our new addresses, or tests whether the peer is at its own; and the
    state in which its answer is waited for.
    """
    cookie = ctx.rng.bytes(COOKIE2_OCTETS)
    asking = Asking(want, cookie, path=ctx.path)
    proof = NotifyPayload(NotifyType.COOKIE2, cookie)
    core = replace(core, asking=asking)
    if want.work is Work.CHECK_PATH:
        return core, (proof,)
    return core, (_UPDATE, *_found_out(core, ctx.path, ctx), proof)


def sign_of_life(core: SaCore, path: Path, ctx: Context) -> tuple[Payload, ...]:
    """What a client behind a NAT adds to a question for life: does the peer see it where it did
    (RFC 4555 3.8)?
    """
    if not (core.mobike and core.client and core.nat & nat.HERE):
        return ()
    return nat.shown(core.spi_i, core.spi_r, path, ctx.settings.encapsulate_always)


def process(core: SaCore, asking: Asking, message: Message, ctx: Context) -> Step | None:
    """The answer to `ask`; None: it isn't the peer's, and the SA is to be closed (RFC 4555 3.7)."""
    if asking.path is None or not same(asking.path, ctx.path):
        return Step(core)  # we have moved on, and say so
    if message.notify(NotifyType.UNEXPECTED_NAT_DETECTED) is not None:
        if asking.want.tries + 1 >= NAT_TRIES_MAX:
            return Step(core, events=(MoveRefused(core.spi, "a NAT, and none is allowed"),))
        return Step(core, wants=(replace(asking.want, tries=asking.want.tries + 1),))
    echoed = message.notify(NotifyType.COOKIE2)
    if echoed is None or not hmac.compare_digest(echoed.data, asking.nonce):
        return None
    if message.notify(NotifyType.UNACCEPTABLE_ADDRESSES) is not None:
        return Step(core, events=(MoveRefused(core.spi, "the gateway refuses our address"),))
    if asking.want.work is Work.CHECK_PATH:
        return Step(core, kernel=updates(core, ctx.path), events=(Moved(core.spi),))
    found = nat.found(message, ctx.path, ctx.settings.encapsulate_always)
    core = replace(core, nat=found or core.nat, seen_as=_seen_as(message))
    return Step(core, kernel=updates(core, ctx.path), events=(Moved(core.spi),))


def is_seen_elsewhere(core: SaCore, message: Message) -> tuple[SaCore, bool]:
    """Has a NAT given us another address or port, as an answer to `sign_of_life` tells?"""
    seen_as = _seen_as(message)
    if not core.mobike or not seen_as:
        return core, False
    changed = bool(core.seen_as) and core.seen_as != seen_as
    return replace(core, seen_as=seen_as), changed


# -- in INFORMATIONAL: what is answered


def respond(step: Step, message: Message, ctx: Context) -> Step:
    """`step` answers the rest of the request; this adds what is said of addresses, and moves the SA
    where the request wants that. `ctx.path` is the SA's path afterwards.
    """
    cookie = message.notify(NotifyType.COOKIE2)
    echo: tuple[Payload, ...] = ()
    if cookie is not None and COOKIE2_MIN <= len(cookie.data) <= COOKIE2_MAX:
        echo = (cookie,)
    core, came = step.core, ctx.came or ctx.path
    if not core.mobike:
        return replace(step, reply=(*step.reply, *echo)) if echo else step
    if _is_changed(message, came):
        return replace(step, reply=(*step.reply, _NAT_FOUND, *echo))
    pretend = ctx.settings.encapsulate_always
    found = nat.found(message, came, pretend)
    shown = nat.shown(core.spi_i, core.spi_r, came, pretend) if found else ()
    theirs = additional(message)
    if theirs is not None:
        core = replace(core, peer_addresses=theirs)
    wants, path = step.wants, None
    if message.notify(NotifyType.UPDATE_SA_ADDRESSES) is not None and not core.client:
        if not (mode.moves(core) and _acceptable(came.remote, ctx)):
            return replace(step, reply=(*step.reply, _UNACCEPTABLE, *echo))
        core, path, ctx.path = replace(core, nat=found or core.nat), came, came
        wants = (*wants, Want(Work.CHECK_PATH))
    persist = step.persist
    if core is not step.core and core.generation and persist is None:
        persist = PersistKind.WRITE
    reply = (*step.reply, *shown, *echo)
    return replace(step, core=core, reply=reply, persist=persist, wants=wants, path=path)


def updates(core: SaCore, path: Path) -> tuple[KernelOp, ...]:
    """What the kernel is told when the SA's path is another one."""
    return tuple([UpdateChild(c.spi_in, path, core.encapsulated) for c in core.children])


def same(one: Path, other: Path) -> bool:
    """Are these the same addresses, through whichever member?"""
    return (one.local, one.remote) == (other.local, other.remote)


# -- inside


def additional(message: Message) -> tuple[str, ...] | None:
    """The sender's other addresses, all of them; None: it says nothing of them (RFC 4555 3.6)."""
    found, said = [], message.notify(NotifyType.NO_ADDITIONAL_ADDRESSES) is not None
    for notify in message.notifies:
        octets = _OCTETS.get(notify.type)
        if octets is None:
            continue
        said = True
        if len(notify.data) == octets:
            found.append(str(ipaddress.ip_address(notify.data)))
    return tuple(dict.fromkeys(found))[:ADDRESSES_MAX] if said else None


def _additional(host: str) -> NotifyPayload:
    packed = ipaddress.ip_address(host).packed
    kind = next(kind for kind, octets in _OCTETS.items() if octets == len(packed))
    return NotifyPayload(kind, packed)


def _found_out(core: SaCore, path: Path, ctx: Context) -> tuple[Payload, ...]:
    """NAT detection, or where that isn't supported the prohibition of NATs."""
    if core.nat & nat.SHOWN:
        return nat.shown(core.spi_i, core.spi_r, path, ctx.settings.encapsulate_always)
    return _forbidden(core, path)


def _forbidden(core: SaCore, path: Path) -> tuple[Payload, ...]:
    if core.nat & nat.SHOWN:
        return ()
    return (NotifyPayload(NotifyType.NO_NATS_ALLOWED, _addresses(path.local, path.remote)),)


def _addresses(source: Address, destination: Address) -> bytes:
    """`source address 4 or 16 | destination address | source port 2 | destination port 2`."""
    hosts = (source[0], destination[0])
    packed = b"".join([ipaddress.ip_address(host).packed for host in hosts])
    return packed + source[1].to_bytes(2, "big") + destination[1].to_bytes(2, "big")


def _is_changed(message: Message, came: Path) -> bool:
    """Does NO_NATS_ALLOWED tell other addresses than those that the datagram came with?"""
    said = message.notify(NotifyType.NO_NATS_ALLOWED)
    return said is not None and said.data != _addresses(came.remote, came.local)


def _acceptable(source: Address, ctx: Context) -> bool:
    networks = ctx.settings.mobike_from
    host = ipaddress.ip_address(source[0])
    return not networks or any(host in ipaddress.ip_network(network) for network in networks)


def _seen_as(message: Message) -> bytes:
    seen = message.notify(NotifyType.NAT_DETECTION_DESTINATION_IP)
    return b"" if seen is None else seen.data
