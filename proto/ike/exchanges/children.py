"""Child SAs beyond that of IKE_AUTH, both roles: new ones and rekeyed ones (RFC 7296 1.3.1, 1.3.3,
2.8, 2.17).

Rules: the new one is installed before the old one goes; the initiator of a rekey deletes the old
one. Of two rekeys at once the one with the lowest nonce loses, and its initiator deletes what it
made; until then both are accepted on (RFC 7296 2.8.1). What can't be made never ends the IKE SA.
"""

from proto.ike import mode, selectors
from proto.ike.agenda import RETRIES_MAX, again
from proto.ike.agreement import agree, answer, make_key
from proto.ike.core import (
    Asking,
    Child,
    Context,
    Rival,
    SaCore,
    Series,
    Step,
    Want,
    Work,
    replace,
)
from proto.ike.effects import KernelOp, PersistKind, RemoveChild
from proto.ike.enums import NotifyType, PayloadType, ProtocolId
from proto.ike.errors import Misuse, PeerError
from proto.ike.events import ChildRekeyed
from proto.ike.exchanges import series
from proto.ike.exchanges.child import Selectors, install, narrowed, policy
from proto.ike.exchanges.ike_sa_init import NONCE_OCTETS
from proto.ike.kdf import child_keymat
from proto.ike.message import Message
from proto.ike.negotiation import child_proposal, chosen_child, select_child
from proto.ike.offers import no_proposal
from proto.ike.payloads import (
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    SaPayload,
    TsPayload,
)
from proto.ike.suite import WITHOUT_KE, ChildSuites, Kes, addkes_of, kes_of
from proto.secret import Secret

NO_KEYS = Secret(b"")
CHILDREN_MAX = 8
"""Child SAs of one IKE SA; while they are rekeyed there may be as many again."""


def respond(core: SaCore, offer: SaPayload, nonce: bytes, message: Message, ctx: Context) -> Step:
    """Answer SA, Nr, [KEr,] TSi, TSr, and install the new pair. Raises PeerError, Needed."""
    asking = core.asking
    if asking is not None and asking.want.work is Work.REKEY_IKE:
        raise PeerError(NotifyType.TEMPORARY_FAILURE, why="the IKE SA is being rekeyed")
    former = None
    rekey = message.notify(NotifyType.REKEY_SA)
    if rekey is not None:
        former = next((c for c in core.children if c.spi_out == rekey.spi), None)
        if former is None or rekey.protocol != ProtocolId.ESP:
            absent = NotifyType.CHILD_SA_NOT_FOUND
            return Step(core, (NotifyPayload(absent, b"", rekey.protocol, rekey.spi),))
        if former.rekeyed or _asks(asking, Work.DELETE_CHILD, former):
            raise PeerError(NotifyType.TEMPORARY_FAILURE, why="the Child SA is being closed")
        if asking and asking.series and _asks(asking, Work.REKEY_CHILD, former):
            raise PeerError(NotifyType.TEMPORARY_FAILURE, why="the Child SA is being rekeyed")
    _check_room(core, former)
    begun, payloads = _choose(core, offer, nonce, message, ctx)
    if former is not None:
        begun = replace(begun, former=former.spi_in)
        if asking is not None and _asks(asking, Work.REKEY_CHILD, former):
            core = replace(core, asking=replace(asking, rival=Rival(min(begun.nonces))))
    if not begun.more:
        return take(replace(core, series=None), begun, payloads, ctx)
    core, link = series.hold(core, begun, ctx)
    return Step(core, (*payloads, link))


def take(core: SaCore, done: Series, said: tuple[Payload, ...], ctx: Context) -> Step:
    """Responder: the new pair, once all its key exchanges are done; `said` is the answer."""
    made, former, asking = _keyed(core, done), _child(core, done.former), core.asking
    children = (*core.children, made)
    if former is not None:
        children = (*_marked(core.children, former), made)
        if asking is not None and asking.rival and _asks(asking, Work.REKEY_CHILD, former):
            asking = replace(asking, rival=replace(asking.rival, child=made.spi_in))
    return Step(
        replace(core, children=children, asking=asking),
        said,
        PersistKind.WRITE if core.generation else None,
        (install(made, ctx.path, core.encapsulated),),
        () if former is None else (ChildRekeyed(core.spi, former.spi_in, made.spi_in),),
    )


def _choose(
    core: SaCore, offer: SaPayload, nonce: bytes, message: Message, ctx: Context
) -> tuple[Series, tuple[Payload, ...]]:
    """The Child SA that answers `offer`, and the payloads. Raises PeerError; Needed."""
    settings, ke = ctx.settings, message.find(KePayload)
    groups: tuple[Kes, ...] = WITHOUT_KE
    if ke is not None:
        groups = (Kes(kes_of(settings.suites), addkes_of(settings.suites)), *WITHOUT_KE)
    # the group that the peer has begun with, if it is one of ours, saves a round trip
    first_ke = 0 if ke is None else ke.group
    choice = select_child(offer, settings.child_suites, groups, first_ke)
    if choice is None:
        why = no_proposal(offer, settings.child_suites)
        raise PeerError(NotifyType.NO_PROPOSAL_CHOSEN, why=why)
    secrets: tuple[Secret, ...] = ()
    public, group = b"", choice.kes[0] if choice.kes else 0
    if group:
        if ke is None or ke.group != group:
            data = group.to_bytes(2, "big")
            raise PeerError(NotifyType.INVALID_KE_PAYLOAD, data, "KE of another group")
        public, shared = answer(group, ke.data, ctx)
        secrets = (shared,)
    ts_i, ts_r = message.selectors(PayloadType.TSi), message.selectors(PayloadType.TSr)
    local, remote, transport = narrowed(core, message, ts_i, ts_r, ctx.connection_of(core), ctx)
    spi_in, nonce_r = ctx.spis.esp_spi(core.spi), ctx.rng.bytes(NONCE_OCTETS)
    payloads: list[Payload] = [choice.reply(spi_in), NoncePayload(nonce_r)]
    if group:
        payloads.append(KePayload(group, public))
    payloads += [TsPayload(PayloadType.TSi, remote), TsPayload(PayloadType.TSr, local)]
    if transport:
        payloads.insert(0, mode.USE_TRANSPORT_MODE)
    peers = choice.peer_spi
    made = Child(spi_in, peers, choice.suite, local, remote, NO_KEYS, transport=transport)
    return Series(choice.kes[1:], (nonce, nonce_r), secrets, child=made), tuple(payloads)


def initiate(core: SaCore, want: Want, ctx: Context) -> tuple[Asking, tuple[Payload, ...]] | None:
    """[N(REKEY_SA),] [N(USE_TRANSPORT_MODE),] SA, Ni, [KEi,] TSi, TSr; None: the one to be rekeyed
    is gone or replaced, or there is no SPI left for another, or nothing that we would ask for.
    Raises Needed.
    """
    former = _child(core, want.child)
    if want.work is Work.REKEY_CHILD and (former is None or former.rekeyed):
        return None
    try:
        spi, nonce = ctx.spis.esp_spi(core.spi), ctx.rng.bytes(NONCE_OCTETS)
        local, remote = _wanted(core, former, ctx)
    except PeerError:
        return None
    groups = _groups(core, want, ctx)
    head: tuple[Payload, ...] = ()
    if former is not None:
        head = (NotifyPayload(NotifyType.REKEY_SA, b"", ProtocolId.ESP, former.spi_in),)
    if _in_transport_mode(core, former, ctx):
        head = (*head, mode.USE_TRANSPORT_MODE)
    group = groups[0].kes[0]
    exchange = make_key(group, ctx) if group else None
    ke = () if exchange is None else (KePayload(exchange.group, exchange.public),)
    return Asking(want, nonce, spi, exchange), (
        *head,
        child_proposal(_suites(former, ctx), spi, groups),
        NoncePayload(nonce),
        *ke,
        TsPayload(PayloadType.TSi, local),
        TsPayload(PayloadType.TSr, remote),
    )


def process(core: SaCore, asking: Asking, message: Message, ctx: Context) -> Step:
    """Initiator: the Child SA that the peer made of our offer, or what is to be done without it.
    Raises Needed.
    """
    before, former = replace(core, asking=None), _child(core, asking.want.child)
    reply, nonce = message.find(SaPayload), message.find(NoncePayload)
    if reply is None or nonce is None:
        return _refused(before, asking, former, message, ctx)
    try:
        begun = _accept(core, asking, former, reply, nonce.data, message, ctx)
    except PeerError:
        # it holds a Child SA that we didn't ask for
        return Step(before, wants=(Want(Work.DELETE_CHILD, asking.spi),))
    if not begun.more:
        return conclude(core, asking, begun, ctx)
    if asking.rival is not None and min(begun.nonces) < asking.rival.nonce:
        return Step(before)  # ours loses, and isn't gone on with: there is nothing to delete
    return series.ask(core, asking, begun, message, ctx)


def conclude(core: SaCore, asking: Asking, done: Series, ctx: Context) -> Step:
    """Initiator: the new pair, once all its key exchanges are done."""
    made, former = _keyed(core, done), _child(core, done.former)
    children, goes, rival = core.children, former, asking.rival
    if rival is not None and min(done.nonces) < rival.nonce:
        goes = made = replace(made, rekeyed=True)  # ours loses; the peer deletes the old one
    elif rival is not None:
        loser = _child(core, rival.child)
        children = children if loser is None else _marked(children, loser)
        core = replace(core, series=None)
    if former is not None:
        children = _marked(children, former)
    wants = () if goes is None else (Want(Work.DELETE_CHILD, goes.spi_in),)
    events = () if former is None else (ChildRekeyed(core.spi, former.spi_in, made.spi_in),)
    return Step(
        replace(core, asking=None, children=(*children, made)),
        (),
        PersistKind.WRITE if core.generation else None,
        (install(made, ctx.path, core.encapsulated),),
        () if made.rekeyed else events,
        wants=wants,
    )


def _accept(
    core: SaCore,
    asking: Asking,
    former: Child | None,
    reply: SaPayload,
    nonce_r: bytes,
    message: Message,
    ctx: Context,
) -> Series:
    """The new pair by the peer's answer. Raises PeerError where that isn't within our offer."""
    choice = chosen_child(reply, _suites(former, ctx), _groups(core, asking.want, ctx))
    ke = message.find(KePayload)
    secrets: tuple[Secret, ...] = ()
    if choice.kes:
        exchange = asking.exchange
        if ke is None or exchange is None or not choice.kes[0] == ke.group == exchange.group:
            raise PeerError(NotifyType.NO_PROPOSAL_CHOSEN, why="KE of another group")
        secrets = (agree(exchange, ke.data, ctx),)
    ts_i, ts_r = message.selectors(PayloadType.TSi), message.selectors(PayloadType.TSr)
    offered_local, offered_remote = _wanted(core, former, ctx)
    local = () if ts_i is None else selectors.narrow(ts_i.selectors, offered_local)
    remote = () if ts_r is None else selectors.narrow(ts_r.selectors, offered_remote)
    if ts_i is None or ts_r is None or (local, remote) != (ts_i.selectors, ts_r.selectors):
        raise PeerError(NotifyType.TS_UNACCEPTABLE, why="selectors wider than what we offered")
    if former is not None and (local, remote) != (offered_local, offered_remote):
        raise PeerError(NotifyType.TS_UNACCEPTABLE, why="a rekey narrower than what it replaces")
    transport = _in_transport_mode(core, former, ctx)
    if mode.said(message) != transport:
        raise PeerError(NotifyType.NO_PROPOSAL_CHOSEN, why="another mode than what we asked for")
    made = Child(
        asking.spi,
        choice.peer_spi,
        choice.suite,
        local,
        remote,
        NO_KEYS,
        initiator=True,
        transport=transport,
    )
    nonces = (asking.nonce, nonce_r)
    return Series(choice.kes[1:], nonces, secrets, child=made, former=asking.want.child)


def _refused(
    core: SaCore, asking: Asking, former: Child | None, message: Message, ctx: Context
) -> Step:
    """The peer made none. A rekey that crossed the peer's own is settled by that one."""
    want = asking.want
    wanted = message.notify(NotifyType.INVALID_KE_PAYLOAD)
    if wanted is not None and len(wanted.data) == 2 and not want.group:
        group = int.from_bytes(wanted.data, "big")
        if group in kes_of(ctx.settings.suites):
            return Step(core, wants=(replace(want, group=group),))
    if message.notify(NotifyType.CHILD_SA_NOT_FOUND) is not None and former is not None:
        if asking.rival is not None:
            return Step(core)
        children = tuple([c for c in core.children if c is not former])
        kernel: tuple[KernelOp, ...] = (RemoveChild(former.spi_in),)
        persist = PersistKind.WRITE if core.generation else None
        fresh = (Want(Work.NEW_CHILD),)
        return Step(replace(core, children=children), (), persist, kernel, wants=fresh)
    busy = message.notify(NotifyType.TEMPORARY_FAILURE) is not None
    if asking.rival is not None or not (busy or former is not None):
        return Step(core)
    if not busy and want.tries + 1 >= RETRIES_MAX:
        return Step(core)  # it doesn't want to, ever: the Child SA lives on as long as the IKE SA
    return Step(core, wants=(again(want, ctx.now.boot_s, asking.nonce[0]),))


def _check_room(core: SaCore, former: Child | None) -> None:
    """Raises PeerError NO_ADDITIONAL_SAS when there are as many as may be."""
    active = sum(not child.rekeyed for child in core.children)
    full = active >= CHILDREN_MAX if former is None else len(core.children) >= 2 * CHILDREN_MAX
    if full:
        raise PeerError(NotifyType.NO_ADDITIONAL_SAS, why=f"{len(core.children)} Child SAs")


def _groups(core: SaCore, want: Want, ctx: Context) -> tuple[Kes, ...]:
    """With key exchanges of its own first, as many as the IKE SA has had, and then without: by our
    settings, or the peer's.
    """
    suite = core.suite
    if suite is None or not (want.group or ctx.settings.child_pfs):
        return WITHOUT_KE
    addkes = tuple([(ke,) if ke else () for ke in suite.addkes])
    return (Kes((want.group or suite.ke,), addkes), *WITHOUT_KE)


def _suites(former: Child | None, ctx: Context) -> ChildSuites:
    """All that we take, what the former one had first."""
    suites = ctx.settings.child_suites
    if former is None or not any(some.holds(former.suite) for some in suites):
        return suites
    return (former.suite, *[other for other in suites if other != former.suite])


def _wanted(core: SaCore, former: Child | None, ctx: Context) -> tuple[Selectors, Selectors]:
    """Local and remote selectors to ask for: a rekey keeps what there was (RFC 7296 2.9.2). Raises
    PeerError.
    """
    if former is not None:
        return former.local_ts, former.remote_ts
    transport, connection = _in_transport_mode(core, former, ctx), ctx.connection_of(core)
    return policy(core, transport, connection, ctx)


def _in_transport_mode(core: SaCore, former: Child | None, ctx: Context) -> bool:
    """Do we ask for it? A rekey keeps the mode that there was."""
    return ctx.connection_of(core).transport if former is None else former.transport


def _child(core: SaCore, spi_in: bytes) -> Child | None:
    return next((child for child in core.children if child.spi_in == spi_in), None)


def _asks(asking: Asking | None, work: Work, child: Child) -> bool:
    return asking is not None and asking.want.work is work and asking.want.child == child.spi_in


def _marked(children: tuple[Child, ...], former: Child) -> tuple[Child, ...]:
    """`children`, with `former` as one that another has taken over from."""
    return tuple([replace(c, rekeyed=True) if c.spi_in == former.spi_in else c for c in children])


def _keyed(core: SaCore, done: Series) -> Child:
    """The pair with its keys."""
    if core.suite is None or core.keys is None or done.child is None:
        raise Misuse("a Child SA before the IKE SA has keys")
    shared, more = (done.secrets[0], done.secrets[1:]) if done.secrets else (None, ())
    keymat = child_keymat(done.child.suite, core.suite.prf, core.keys.d, *done.nonces, shared, more)
    return replace(done.child, keymat=keymat)
