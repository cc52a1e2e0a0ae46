"""Rekeying an IKE SA, both roles: a new one takes over chain and Child SAs (RFC 7296 1.3.2, 2.8,
2.18).

Rules: the new SA is of the old one's shard, and one generation on: every older ticket is void (RFC
5723 6.2). It exists once that is durable. The initiator of the rekey deletes the old SA. Of two
rekeys at once the one with the lowest nonce loses, and its initiator deletes what it made (RFC 7296
2.8.2). Only a client asks for a ticket, in a rekey of its own or after one of the gateway's (RFC
5723 4.1). Additional key exchanges follow in IKE_FOLLOWUP_KE (`series`); we ask for them where the
SA has had some, for such a peer knows them. A rekey without any is taken as well: what earlier ones
have given is in the old SK_d, of which the new keys come, and so the new SA counts as made by them.
"""

from proto.ike import negotiation
from proto.ike.agenda import RETRIES_MAX, again
from proto.ike.agreement import agree, answer, make_key
from proto.ike.core import Asking, Context, Rival, SaCore, Series, State, Step, Want, Work, replace
from proto.ike.dh import SUPPORTED
from proto.ike.effects import PersistKind
from proto.ike.enums import NotifyType
from proto.ike.errors import Misuse, PeerError
from proto.ike.events import Event, Rekeyed, TicketReceived
from proto.ike.exchanges import series, tickets
from proto.ike.exchanges.ike_sa_init import NONCE_OCTETS
from proto.ike.exchanges.informational import TICKET_REQUEST
from proto.ike.kdf import derive_keys, skeyseed_rekey
from proto.ike.message import Message
from proto.ike.offers import no_proposal
from proto.ike.payloads import KePayload, NoncePayload, Payload, SaPayload
from proto.ike.suite import Suite, Suites, holds, kes_of, without_addkes

BUSY = (Work.NEW_CHILD, Work.REKEY_CHILD, Work.DELETE_CHILD)
"""What of ours makes the peer's rekey wait (RFC 7296 2.25.1)."""


def respond(core: SaCore, offer: SaPayload, nonce: bytes, message: Message, ctx: Context) -> Step:
    """Answer SA, Nr, KEr and hold the new SA's keys. `core` was the old SA's last active state.

    Raises PeerError: TEMPORARY_FAILURE, NO_PROPOSAL_CHOSEN, INVALID_KE_PAYLOAD, INVALID_SYNTAX;
    Needed.
    """
    asking = core.asking
    check_free(asking)
    ke = message.find(KePayload)
    if ke is None:
        raise PeerError(NotifyType.INVALID_SYNTAX, why="a rekey of the IKE SA lacks KEi")
    spi = ctx.spis.ike_spi_beside(core.spi)
    selected = _select(offer, ke.group, spi, ctx)
    peer_spi = None if selected is None else offered_spi(offer, selected[1])
    if selected is None or peer_spi is None:
        why = no_proposal(offer, ctx.settings.suites)
        raise PeerError(NotifyType.NO_PROPOSAL_CHOSEN, why=why)
    chosen, reply = selected
    if chosen.ke != ke.group:
        group = int(chosen.ke).to_bytes(2, "big")
        raise PeerError(NotifyType.INVALID_KE_PAYLOAD, group, f"KE of group {ke.group}")
    public, shared = answer(chosen.ke, ke.data, ctx)
    nonces = (nonce, ctx.rng.bytes(NONCE_OCTETS))
    asks = message.notify(NotifyType.TICKET_REQUEST) is not None
    begun = Series(chosen.more_kes, nonces, (shared,), chosen, (peer_spi, spi), asks)
    if asking is not None and asking.want.work is Work.REKEY_IKE:
        core = replace(core, asking=replace(asking, rival=Rival(min(nonces))))
    payloads = (reply, NoncePayload(nonces[1]), KePayload(chosen.ke, public))
    if not begun.more:
        return take_over(replace(core, series=None), begun, payloads, ctx)
    core, link = series.hold(core, begun, ctx)
    return Step(core, (*payloads, link))


def check_free(asking: Asking | None) -> None:
    """Raises PeerError TEMPORARY_FAILURE while something of ours makes the peer's rekey wait (RFC
    7296 2.25.1, RFC 9370 2.2.4).
    """
    if asking is None:
        return
    if asking.want.work in BUSY:
        raise PeerError(NotifyType.TEMPORARY_FAILURE, why="a Child SA is being changed")
    if asking.series is not None:
        raise PeerError(NotifyType.TEMPORARY_FAILURE, why="the IKE SA is being rekeyed")


def _select(
    offer: SaPayload, first_ke: int, spi: bytes, ctx: Context
) -> tuple[Suite, SaPayload] | None:
    """Our choice, with additional key exchanges where the peer offers some."""
    suites = ctx.settings.suites
    found = negotiation.select(offer, suites, spi, first_ke)
    return found or negotiation.select(offer, without_addkes(suites), spi, first_ke, addkes=False)


def take_over(core: SaCore, done: Series, said: tuple[Payload, ...], ctx: Context) -> Step:
    """Responder: the new SA, once all its key exchanges are done; `said` is the answer's head."""
    new = successor(core, done, False, ctx)
    payloads, kept = list(said), b""
    events: list[Event] = [rekeyed(core, new)]
    if not core.client and done.ticket:
        issued = tickets.issue(new, ctx)
        kept = issued.state
        payloads.append(issued.notify)
        if issued.lifetime_s:
            new = replace(new, ticketed=True)
    asking = core.asking
    if asking is not None and asking.want.work is not Work.REKEY_IKE:
        asking = None
    return Step(
        replace(old(core), asking=asking),
        tuple(payloads),
        PersistKind.REKEY if new.generation else None,
        events=tuple(events),
        ticket=kept,
        successor=new,
        wants=(Want(Work.ASK_TICKET),) if core.client else (),
    )


def initiate(core: SaCore, want: Want, ctx: Context) -> tuple[Asking, tuple[Payload, ...]]:
    """SA, Ni, KEi, and a client's request for a ticket: the SA's own algorithms first. Raises
    Needed.
    """
    suites = _offered(core, ctx)
    exchange = make_key(want.group or kes_of(suites)[0], ctx)
    spi = ctx.spis.ike_spi_beside(core.spi)
    asking = Asking(want, ctx.rng.bytes(NONCE_OCTETS), spi, exchange)
    payloads: tuple[Payload, ...] = (
        negotiation.proposal(suites, spi),
        NoncePayload(asking.nonce),
        KePayload(exchange.group, exchange.public),
    )
    return asking, (*payloads, TICKET_REQUEST) if core.client else payloads


def process(core: SaCore, asking: Asking, message: Message, ctx: Context) -> Step:
    """Initiator: the new SA, or why there is none yet.

    Raises PeerError where the answer isn't within the offer.
    """
    reply, ke, nonce = message.find(SaPayload), message.find(KePayload), message.find(NoncePayload)
    before, rival = replace(core, asking=None), asking.rival
    if reply is None or ke is None or nonce is None or asking.exchange is None:
        return Step(before, wants=() if rival is not None else _retry(asking, message, ctx))
    chosen = negotiation.chosen(reply, _offered(core, ctx))
    peer_spi = offered_spi(reply, reply)
    if chosen.ke != asking.exchange.group or ke.group != chosen.ke or peer_spi is None:
        raise PeerError(NotifyType.NO_PROPOSAL_CHOSEN, why="the answer isn't what we offered")
    shared, nonces = agree(asking.exchange, ke.data, ctx), (asking.nonce, nonce.data)
    begun = Series(chosen.more_kes, nonces, (shared,), chosen, (asking.spi, peer_spi))
    if not begun.more:
        return conclude(core, asking, begun, message, ctx)
    if rival is not None and min(nonces) < rival.nonce:
        return Step(before)  # ours loses, and isn't gone on with: there is nothing to delete
    return series.ask(core, asking, begun, message, ctx)


def conclude(core: SaCore, asking: Asking, done: Series, message: Message, ctx: Context) -> Step:
    """Initiator: the new SA, once all its key exchanges are done; `message` is the last answer."""
    before, rival = replace(core, asking=None), asking.rival
    new = successor(core, done, True, ctx)
    if rival is not None and min(done.nonces) < rival.nonce:
        # ours loses: the peer's took over when we answered it
        return Step(before, successor=replace(old(new), asking=None, series=None))
    fresh = tickets.received(new, message, ctx.now.wall_s) if core.client else None
    return Step(
        old(before),
        persist=PersistKind.REKEY if new.generation else None,
        events=() if fresh is None else (TicketReceived(new.spi, fresh),),
        successor=new,
    )


def old(core: SaCore) -> SaCore:
    """What is left of an SA that was rekeyed: it holds nothing, and answers its Delete."""
    return replace(core, state=State.REKEYED, generation=0, children=(), series=None)


def rekeyed(core: SaCore, new: SaCore) -> Rekeyed:
    """The event that tells of `new`, which takes over from `core`."""
    return Rekeyed(new.spi, core.spi, new.peer_spi, new.chain, new.generation)


def successor(core: SaCore, done: Series, initiator: bool, ctx: Context) -> SaCore:
    """The new SA: keys by RFC 7296 2.18 and RFC 9370 2.2.4, everything else as it was."""
    if core.suite is None or core.keys is None or done.suite is None:
        raise Misuse("a rekey of an SA without keys")
    chosen, (shared, *more) = done.suite, done.secrets
    seed = skeyseed_rekey(core.suite.prf, core.keys.d, shared, *done.nonces, *more)
    wall_s = ctx.now.wall_s
    return replace(
        core,
        state=State.ESTABLISHED,
        initiator=initiator,
        spi_i=done.spis[0],
        spi_r=done.spis[1],
        suite=chosen if chosen.addkes else replace(chosen, addkes=core.suite.addkes),
        keys=derive_keys(chosen, seed, *done.nonces, *done.spis),
        generation=core.generation + 1 if core.generation else 0,
        replaces=b"",
        resumed=False,
        ticketed=False,
        established_wall_s=wall_s,
        expires_wall_s=min(wall_s + ctx.settings.ike_sa_lifetime_s, core.auth_deadline_wall_s),
        window=1,
        asking=None,
        series=None,
    )


def offered_spi(offer: SaPayload, answer: SaPayload) -> bytes | None:
    """The peer's new SPI in the proposal that `answer` chose."""
    return negotiation.offered_spi(offer, answer.proposals[0].number)


def _offered(core: SaCore, ctx: Context) -> Suites:
    """All that we take, what the SA has first: its group is one that the peer knows."""
    suites, first = ctx.settings.suites, core.suite
    if first is None or not first.addkes:
        suites = without_addkes(suites)
    if first is None or not holds(ctx.settings.suites, first):
        return suites
    return (first, *[other for other in suites if other != first])


def _retry(asking: Asking, message: Message, ctx: Context) -> tuple[Want, ...]:
    """With the group that the peer wants at once, for any other reason later."""
    wanted = message.notify(NotifyType.INVALID_KE_PAYLOAD)
    later = again(asking.want, ctx.now.boot_s, asking.nonce[0])
    busy = message.notify(NotifyType.TEMPORARY_FAILURE) is not None
    if not busy and later.tries >= RETRIES_MAX:
        return ()  # it doesn't want to, ever: the SA lives as long as it may
    if wanted is None or len(wanted.data) != 2 or asking.want.group:
        return (later,)
    group = int.from_bytes(wanted.data, "big")
    if group not in SUPPORTED or group not in kes_of(ctx.settings.suites):
        return (later,)
    return (replace(later, after_s=0.0, group=group),)
