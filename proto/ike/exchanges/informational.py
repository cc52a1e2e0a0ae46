"""INFORMATIONAL, both roles: liveness, Delete, asking for a ticket (RFC 7296 1.4, 2.4; RFC 5723
4.1).

Rules: an empty request is answered empty. Deleting the IKE SA keeps the session chain by default,
so that a peer that sends Delete and keeps its ticket (libreswan's suspend) can resume;
`revoke_on_delete` ends the chain as well.
"""

from proto.ike import redirect
from proto.ike.core import Asking, Child, Context, SaCore, State, Step, Want, Work, replace
from proto.ike.effects import KernelOp, PersistKind, RemoveChild
from proto.ike.enums import NotifyType, ProtocolId
from proto.ike.events import Ended, Reauthenticate, Redirected, TicketReceived
from proto.ike.exchanges import mobike, tickets
from proto.ike.exchanges.authenticated import lifetime_in
from proto.ike.message import Message
from proto.ike.negotiation import ESP_SPI_LEN
from proto.ike.payloads import DeletePayload, NotifyPayload

DELETE_IKE_SA = DeletePayload(ProtocolId.IKE, 0, ())
TICKET_REQUEST = NotifyPayload(NotifyType.TICKET_REQUEST)


def respond(core: SaCore, message: Message, ctx: Context) -> Step:
    """Answer a request of the peer's on an established SA."""
    deletes = [p for p in message.payloads if p.__class__ is DeletePayload]
    if any(delete.protocol == ProtocolId.IKE for delete in deletes):
        return end(core, ctx.settings.revoke_on_delete, "deleted by the peer")
    if message.notify(NotifyType.AUTHENTICATION_FAILED) is not None:
        # our own AUTH was not believed: there is no IKE SA, whatever we thought (RFC 7296 2.21.2)
        return end(core, ctx.settings.revoke_on_delete, "the peer didn't believe who we are")
    step = _delete_children(core, deletes) if deletes else Step(core)
    step = mobike.respond(step, message, ctx)
    core = step.core
    if core.client:
        return _told(step, message)
    if message.notify(NotifyType.TICKET_REQUEST) is None:
        return step
    issued = tickets.issue(core, ctx)
    core, persist = step.core, step.persist
    if issued.lifetime_s and not core.ticketed:
        # told to whoever adopts the SA: its end must leave the chain
        core, persist = replace(core, ticketed=True), PersistKind.WRITE
    if issued.state:
        persist = PersistKind.WRITE
    reply = (*step.reply, issued.notify)
    return replace(step, core=core, reply=reply, persist=persist, ticket=issued.state)


def _told(step: Step, message: Message) -> Step:
    """A gateway tells its client to authenticate anew (RFC 4478 2), or to go elsewhere (RFC 5685 5,
    10).
    """
    events, lifetime_s = list(step.events), lifetime_in(message)
    if lifetime_s is not None:
        events.append(Reauthenticate(step.core.spi, lifetime_s))
    target = redirect.in_protected(message)
    if target is not None:
        events.append(Redirected(step.core.spi, target.text))
    return replace(step, events=tuple(events))


def end(core: SaCore, revoke: bool, why: str) -> Step:
    """The SA is over: kernel cleared, record gone; the chain too, where its tickets are to die with
    it, or there are none: its internal addresses are free then.
    """
    kind = PersistKind.REVOKE if revoke or not core.ticketed else PersistKind.END
    return Step(
        replace(core, state=State.DEAD),
        persist=kind if core.generation else None,
        kernel=tuple(RemoveChild(child.spi_in) for child in core.children),
        # its successor goes on: nothing ends with an SA that was rekeyed
        events=() if core.state is State.REKEYED else (Ended(core.spi, core.chain, why),),
    )


def asking_to(core: SaCore, want: Want) -> SaCore:
    """The state in which the answer to an INFORMATIONAL of ours is waited for."""
    return replace(core, asking=Asking(want))


def process(core: SaCore, message: Message, ctx: Context) -> Step:
    """Initiator of the exchange: what the answer brought (a ticket, a Child SA's end, or nothing
    but life).

    INVALID_SYNTAX ends the SA, at both ends and without a Delete (RFC 7296 2.21.3).
    """
    if message.notify(NotifyType.INVALID_SYNTAX) is not None:
        return end(core, False, "the peer found our request malformed")
    asking = core.asking
    if asking is not None:
        core = replace(core, asking=None)
        if asking.want.work is Work.DELETE_CHILD:
            return _without(core, [c for c in core.children if c.spi_in == asking.want.child])
        if asking.want.work in (Work.UPDATE_ADDRESSES, Work.CHECK_PATH):
            step = mobike.process(core, asking, message, ctx)
            return step or end(core, False, "an answer that isn't to our question (COOKIE2)")
    if core.client:
        core, elsewhere = mobike.is_seen_elsewhere(core, message)
        if elsewhere:
            return Step(core, wants=(Want(Work.UPDATE_ADDRESSES),))
    stored = tickets.received(core, message, ctx.now.wall_s) if core.client else None
    if stored is None:
        return Step(core)
    return Step(core, events=(TicketReceived(core.spi, stored),))


def _delete_children(core: SaCore, deletes: list[DeletePayload]) -> Step:
    """The peer names its inbound SPIs; the answer names ours of the same pairs, but for one that we
    are deleting ourselves (RFC 7296 1.4.1).
    """
    named = [spi for d in deletes if d.protocol == ProtocolId.ESP for spi in d.spis]
    gone = [c for c in core.children if c.spi_out in named]
    if not gone:
        return Step(core)
    step, asking = _without(core, gone), core.asking
    crossing = b""
    if asking is not None and asking.want.work is Work.DELETE_CHILD:
        crossing = asking.want.child
    named = [c.spi_in for c in gone if c.spi_in != crossing]
    if not named:
        return step
    return replace(step, reply=(DeletePayload(ProtocolId.ESP, ESP_SPI_LEN, tuple(named)),))


def _without(core: SaCore, gone: list[Child]) -> Step:
    """Those Child SAs are over."""
    if not gone:
        return Step(core)
    kept = tuple(c for c in core.children if c not in gone)
    kernel: tuple[KernelOp, ...] = tuple(RemoveChild(c.spi_in) for c in gone)
    persist = PersistKind.WRITE if core.generation else None
    return Step(replace(core, children=kept), persist=persist, kernel=kernel)
