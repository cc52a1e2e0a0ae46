"""All IKE SAs behind one identity: routing by SPI, the half-open table, the deadline heap. Both
roles.

Rules: `receive`, `on_timer` and `settle` are the only ways in, and none of them raises for anything
a peer sent. They never wait. An Outcome with a `persist` is followed by exactly one `settle` of its
SA. (The driver: `node.gateway`.)
"""

import heapq
from collections.abc import Callable, Iterator
from functools import partial

import msgspec

from proto.ike import responder
from proto.ike.adopt import AdoptedSa, adopted, refusal, rekeyed_before, taken_over
from proto.ike.agenda import NEVER
from proto.ike.cookie import CookieSecrets
from proto.ike.core import (
    Context,
    Peer,
    SaCore,
    Settings,
    State,
    Want,
    Work,
    connections_of,
)
from proto.ike.credentials import Credentials
from proto.ike.effects import Now, Outcome, Path, Progress, RemoveChild, Settlement, ignored
from proto.ike.enums import FLAG_INITIATOR, FLAG_RESPONSE, ExchangeType, NotifyType
from proto.ike.errands import Result
from proto.ike.errors import Misuse, WireError
from proto.ike.events import Ended, Redirected
from proto.ike.exchanges import ike_sa_init, ike_session_resume, informational, mobike
from proto.ike.half_open import HalfOpen
from proto.ike.hints import Hints
from proto.ike.message import Header, peek
from proto.ike.pools import NO_ADDRESSES, Addresses
from proto.ike.record import Record
from proto.ike.redirect import Target, redirect
from proto.ike.refusals import NO_REFUSALS, Refusals
from proto.ike.sa import IkeSa
from proto.ike.seams import Rng, SpiSpace
from proto.ike.ticket import ClientTicket, TicketKeys

_ESTABLISHED = State.ESTABLISHED
_DEAD = State.DEAD
_DURABLE = Settlement.DURABLE

FIRST_EXCHANGES = (ExchangeType.IKE_SA_INIT, ExchangeType.IKE_SESSION_RESUME)
MAJOR_VERSION = 2
DUE_MAX = 512
"""Timers handled per call of `on_timer`; the rest is due at once again."""


class Endpoint:
    """See the module."""

    def __init__(
        self,
        settings: Settings,
        rng: Rng,
        credentials: Credentials,
        spis: SpiSpace,
        tickets: TicketKeys,
        cookies: CookieSecrets,
        refusals: Refusals = NO_REFUSALS,
        addresses: Addresses = NO_ADDRESSES,
    ) -> None:
        self._settings = settings
        self._connections = connections_of(settings)
        self.tickets = tickets
        self.cookies = cookies
        self.refusals = refusals
        self._addresses = addresses
        self._rng = rng
        self._credentials = credentials
        self._spis = spis
        self._sas: dict[bytes, IkeSa] = {}
        self._half_open = HalfOpen()
        self.hints = Hints()
        self._heap: list[tuple[float, bytes]] = []
        self._armed: dict[bytes, float] = {}

    @property
    def settings(self) -> Settings:
        """What it is configured with."""
        return self._settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self._settings = settings
        self._connections = connections_of(settings)

    # -- what arrives ---------------------------------------------------------------------------

    def receive(
        self,
        data: bytes,
        path: Path,
        now: Now,
        ring_is_fresh: bool = False,
        used: bool | None = None,
        state: bytes | None = None,
    ) -> Outcome:
        """One datagram. `ring_is_fresh`: this is the second time, after the look that `look_up`
        asked for. `used`: what the chain said of the ticket that `confirm` or `fetch` named;
        `state`: what is kept for the one that `fetch` named, empty if nothing is.
        """
        try:
            header = peek(data)
        except WireError:
            return ignored("malformed")
        if header.major != MAJOR_VERSION:
            return self.hints.answer(NotifyType.INVALID_MAJOR_VERSION, header, path, now)
        ctx, flags = self._context(path, now, data), header.flags
        from_initiator = flags & FLAG_INITIATOR != 0
        sa = self._sas.get(header.spi_r if from_initiator else header.spi_i)
        if sa is None or sa.core.initiator is from_initiator:
            if from_initiator and header.exchange in FIRST_EXCHANGES:
                return self._first(header, responder.Looked(ring_is_fresh, used, state), ctx)
            return ignored("unknown_spi")
        if flags & FLAG_RESPONSE:
            outcome = sa.on_response(header, ctx)
        elif header.exchange in FIRST_EXCHANGES:
            return ignored("exchange")
        else:
            outcome = sa.on_request(header, ctx)
        if sa.born is not None or sa.released is not None:
            self._take_in(sa)
        self._arm(sa)
        return outcome

    def _first(self, header: Header, looked: responder.Looked, ctx: Context) -> Outcome:
        """A request that has no SA yet (RFC 7296 1.2, RFC 5723 4.3.2)."""
        if header.is_response or header.message_id or header.spi_r != responder.NO_SPI:
            return ignored("unknown_spi")
        try:
            message, key = responder.decode_first(header, ctx)
            repeated = self._half_open.find(key)
            if repeated is not None:
                return repeated.repeat_first(ctx)
            made = responder.answer(message, self._half_open, looked, ctx)
        except WireError:
            return ignored("malformed")
        unfinished = None
        if isinstance(made, SaCore):
            core = made
        elif isinstance(made, Outcome):
            return made
        else:
            core, unfinished = made.core, made
        sa = self._sas[core.spi_r] = IkeSa(core, ctx.path, ctx, key)
        ticket = None if core.handshake is None else core.handshake.ticket
        crowded_out = self._half_open.add(sa, b"" if ticket is None else ticket.chain)
        if crowded_out is not None:
            self._remove(crowded_out)
        self._arm(sa)
        if unfinished is not None:
            return sa.set_out(unfinished.errand, partial(sa.answer_first, unfinished.again), ctx)
        return sa.repeat_first(ctx)

    def unknown(self, data: bytes, path: Path, now: Now) -> Outcome:
        """A datagram was ignored as `unknown_spi`, and nobody else has that SA: INVALID_IKE_SPI."""
        return self.hints.answer(NotifyType.INVALID_IKE_SPI, peek(data), path, now)

    def holder(self, spi: bytes) -> object | None:
        """What stands for the SA of `spi` here: another object once it was dropped and adopted."""
        return self._sas.get(spi)

    def settle(self, spi: bytes, settlement: Settlement, now: Now) -> Outcome | None:
        """The durable write of `spi`'s last Outcome has ended; what else there is to do."""
        sa = self._sas.get(spi)
        if sa is None:
            return None
        outcome = sa.settle(settlement, self._context(sa.path, now))
        replaced = sa.core.replaces
        if sa.born is not None or sa.released is not None:
            self._take_in(sa)
        self._arm(sa)
        if settlement is _DURABLE and replaced in self._sas and replaced != spi:
            return self.drop(replaced, "resumed")
        return outcome

    def done(self, spi: bytes, result: Result, now: Now) -> Outcome | None:
        """The errand of `spi`'s last Outcome came to `result`; what is to be done now."""
        sa = self._sas.get(spi)
        if sa is None or sa.pending is None:
            return None
        outcome = sa.done(result, self._context(sa.path, now))
        if sa.born is not None or sa.released is not None:
            self._take_in(sa)
        self._arm(sa)
        return outcome

    # -- time -----------------------------------------------------------------------------------

    def next_deadline_s(self) -> float:
        """When `on_timer` wants to be called, on the boot clock; infinity: never."""
        return self._heap[0][0] if self._heap else NEVER

    def on_timer(self, now: Now) -> list[Outcome]:
        """Everything that is due, at most `DUE_MAX` of it; each SA once, whatever comes of it."""
        due: list[bytes] = []
        while self._heap and self._heap[0][0] <= now.boot_s and len(due) < DUE_MAX:
            deadline_s, spi = heapq.heappop(self._heap)
            if self._armed.get(spi) == deadline_s:
                del self._armed[spi]
                due.append(spi)
        outcomes = []
        for spi in due:
            sa = self._sas.get(spi)
            if sa is None:
                continue
            if sa.deadline_s() <= now.boot_s:
                outcome = sa.on_timer(self._context(sa.path, now))
                if outcome is not None:
                    outcomes.append(outcome)
            if sa.born is not None or sa.released is not None:
                self._take_in(sa)
            self._arm(sa)
        return outcomes

    # -- what we start --------------------------------------------------------------------------

    def connect(self, peer: Peer, path: Path, now: Now, nat_path: Path | None = None) -> Outcome:
        """Start a full handshake; the Outcome's `spi` names the SA from here on. `nat_path`: the
        way to the same gateway through the ports that NATs let pass, if there is one.
        """
        ctx, spi = self._context(path, now), self._new_spi()
        sa = self._sas[spi] = IkeSa(ike_sa_init.unsent(spi, peer, nat_path), ctx.path, ctx)
        outcome = sa.connect(ctx)
        self._arm(sa)
        return outcome

    def resume(
        self, ticket: ClientTicket, peer: Peer, path: Path, now: Now, nat_path: Path | None = None
    ) -> Outcome:
        """Start a resumption; see `connect`. Raises Misuse: the ticket has expired (R12)."""
        if ticket.expires_wall_s <= now.wall_s:
            raise Misuse("the ticket has expired")
        ctx = self._context(path, now)
        step = ike_session_resume.initiate(self._new_spi(), ticket, peer, nat_path, ctx)
        sa = self._sas[step.core.spi] = IkeSa(step.core, ctx.path, ctx)
        outcome = sa.start(ExchangeType.IKE_SESSION_RESUME, step.reply, ctx)
        self._arm(sa)
        return outcome

    def probe(self, spi: bytes, now: Now) -> Outcome | None:
        """Ask whether the peer lives (RFC 7296 2.4); None while another request is outstanding."""

        def ask(sa: IkeSa, ctx: Context) -> Outcome | None:
            if sa.requests.under_way():
                return None
            return sa.ask(mobike.sign_of_life(sa.core, sa.path, ctx), ctx)

        return self._on_sa(spi, now, ask)

    def move(self, spi: bytes, path: Path, now: Now) -> Outcome | None:
        """Have an SA of ours use `path` from now on (RFC 4555); None: it can't be moved."""
        return self._on_sa(spi, now, lambda sa, ctx: sa.move(path, ctx))

    def request_ticket(self, spi: bytes, now: Now) -> Outcome | None:
        """Ask for a ticket by INFORMATIONAL (RFC 5723 4.1); None while the peer's window is full,
        and on a gateway's side: only clients ask (R2).
        """
        asked = (informational.TICKET_REQUEST,)
        return self._on_sa(spi, now, lambda sa, ctx: sa.ask(asked, ctx) if sa.core.client else None)

    def redirect(self, spi: bytes, target: Target, now: Now) -> Outcome | None:
        """Send the client of an established SA to another gateway (RFC 5685 5); None: it doesn't
        follow, or its window is full.
        """

        def ask(sa: IkeSa, ctx: Context) -> Outcome | None:
            asked = sa.ask((redirect(target),), ctx) if sa.core.follows else None
            told = (Redirected(spi, target.text),)
            return None if asked is None else msgspec.structs.replace(asked, events=told)

        return self._on_sa(spi, now, ask)

    def rekey_ike(self, spi: bytes, now: Now) -> Outcome | None:
        """Rekey an IKE SA, as soon as no other request is outstanding (RFC 7296 2.18)."""
        return self._on_sa(spi, now, lambda sa, ctx: sa.want(Want(Work.REKEY_IKE), ctx))

    def rekey_child(self, spi: bytes, child: bytes, now: Now) -> Outcome | None:
        """Rekey the Child SA with our inbound SPI `child`, 4 octets, likewise (RFC 7296 1.3.3)."""
        wanted = Want(Work.REKEY_CHILD, child)
        return self._on_sa(spi, now, lambda sa, ctx: sa.want(wanted, ctx))

    def new_child(self, spi: bytes, now: Now) -> Outcome | None:
        """Ask for one more Child SA, for all that our settings allow (RFC 7296 1.3.1)."""
        return self._on_sa(spi, now, lambda sa, ctx: sa.want(Want(Work.NEW_CHILD), ctx))

    def delete_child(self, spi: bytes, child: bytes, now: Now) -> Outcome | None:
        """Delete the Child SA with our inbound SPI `child`, telling the peer (RFC 7296 1.4.1)."""
        wanted = Want(Work.DELETE_CHILD, child)
        return self._on_sa(spi, now, lambda sa, ctx: sa.want(wanted, ctx))

    def terminate(self, spi: bytes, revoke: bool, why: str, now: Now) -> Outcome | None:
        """Delete an SA, telling its peer; None: no such SA, or its end is being written already.
        `revoke`: its tickets die too.
        """
        return self._on_sa(
            spi, now, lambda sa, ctx: None if sa.is_over else sa.end(revoke, why, ctx)
        )

    def vanish(self, spi: bytes, why: str, now: Now) -> Outcome | None:
        """End an SA whose peer has lost it, with its tickets and without a word to it; None: no
        such SA.
        """
        return self._on_sa(spi, now, lambda sa, ctx: sa.vanish(why, ctx))

    def drop(self, spi: bytes, why: str) -> Outcome | None:
        """Forget an SA silently, without a Delete (RFC 5723 4.3.4); None: no such SA."""
        sa = self._sas.get(spi)
        if sa is None:
            return None
        self._remove(sa)
        return _dropped(sa.core, why) if sa.core.state is _ESTABLISHED else None

    # -- changes of owner -----------------------------------------------------------------------

    def adopt(self, record: Record, now: Now) -> Outcome | str:
        """Go on with an SA that another owner had set up: what is to be done; or in a word why it
        isn't adopted.
        """
        spi = record.spi
        if spi in self._sas:
            return "held"
        path = Path(record.local, record.remote)
        _, fence = self._spis.iv_prefix(spi)
        why = refusal(record, self.settings.epoch, fence, now)
        if why:
            return why
        ctx = self._context(path, now)
        for sa in (adopted(record, fence, ctx), *rekeyed_before(record, fence, ctx)):
            self._sas[sa.spi] = sa
            self._arm(sa)
        return taken_over(self._sas[spi].core, path)

    def is_asking(self, spi: bytes) -> bool:
        """Is a request of ours under way, or isn't it known which one is to be the next?"""
        sa = self._sas.get(spi)
        mute = isinstance(sa, AdoptedSa) and not sa.asks
        return mute or (sa is not None and bool(sa.requests.under_way()))

    def catch_up(self, spi: bytes, progress: Progress, final: bool, now: Now) -> None:
        """How far a former owner had come with an adopted SA is known. `final`: it was the one just
        before us, had no request of its own under way, and does nothing any more.
        """
        sa = self._sas.get(spi)
        if isinstance(sa, AdoptedSa) and sa.core.state is State.ESTABLISHED:
            sa.catch_up(progress, final, self._context(sa.path, now))
            self._arm(sa)

    # -- what there is --------------------------------------------------------------------------

    def established(self) -> Iterator[tuple[SaCore, Path]]:
        """Every established SA, in order of age."""
        for sa in self._sas.values():
            if sa.core.state is _ESTABLISHED:
                yield sa.core, sa.path

    def at_rest(self) -> list[SaCore]:
        """Every established SA of which no durable write is under way, nor may be: our own rekey
        that crossed the peer's replaces what that one made, and is the former SA's to write.
        """
        sas = [sa for sa in self._sas.values() if sa.core.state is _ESTABLISHED]
        return [sa.core for sa in sas if sa.waiting is None and not sa.contested]

    def spis(self) -> list[bytes]:
        """Our SPIs of all SAs, half-open and ended ones too."""
        return list(self._sas)

    def unfinished(self) -> list[bytes]:
        """Our SPIs of SAs that another owner couldn't go on with: they are half-open, have a write
        under way, an errand out, or wait for an answer that makes SAs. A peer that is silent ends
        the wait with the SA.
        """
        return [
            spi
            for spi, sa in self._sas.items()
            if sa.waiting is not None or sa.pending is not None or sa.half_open or sa.requests.makes
        ]

    def has_begun(self) -> bool:
        """Is anything unfinished but writes?"""
        if self.half_open:
            return True
        return any(sa.pending is not None or sa.requests.makes for sa in self._sas.values())

    def is_writing(self, spi: bytes) -> bool:
        """Has the SA a durable write under way? Then it answers nothing that comes."""
        sa = self._sas.get(spi)
        return sa is not None and sa.waiting is not None

    def find(self, spi: bytes) -> SaCore | None:
        """The state of one SA."""
        sa = self._sas.get(spi)
        return None if sa is None else sa.core

    def has_child(self, spi: bytes, child: bytes) -> bool:
        """Has the SA a Child SA with our inbound SPI `child`, or is it making one?"""
        sa = self._sas.get(spi)
        return sa is not None and sa.has_child(child)

    def asked_s(self, spi: bytes) -> float | None:
        """When (boot seconds) the peer asked last for the answer that waits for a write under way;
        infinity: the write answers nobody, as our own rekey that replaces the SA in contest with
        it. None: there is none.
        """
        sa = self._sas.get(spi)
        if sa is not None and sa.contested:
            return NEVER
        if sa is None or sa.waiting is None:
            return None
        return sa.asked_s if sa.waiting.reply else NEVER

    def progress(self, spi: bytes) -> Progress | None:
        """How far an established SA has come; None: no such SA, or a write of it is under way."""
        sa = self._sas.get(spi)
        if sa is None or sa.waiting is not None or sa.core.state is not _ESTABLISHED:
            return None
        return Progress((sa.expected_id, sa.requests.next_id), sa.path, sa.heard_s)

    @property
    def half_open(self) -> int:
        """How many first exchanges wait for their IKE_AUTH, or failed in it a moment ago."""
        return len(self._half_open)

    # -- inside ---------------------------------------------------------------------------------

    def _context(self, path: Path, now: Now, raw: bytes = b"") -> Context:
        return Context(
            now, path, self._rng, self._settings, self._credentials, self._spis,
            self.tickets, self.cookies, self._connections, raw, self.refusals, self._addresses,
        )  # fmt: skip

    def _on_sa(
        self, spi: bytes, now: Now, do: Callable[[IkeSa, Context], Outcome | None]
    ) -> Outcome | None:
        sa = self._sas.get(spi)
        if sa is None or sa.core.state is not _ESTABLISHED:
            return None
        outcome = do(sa, self._context(sa.path, now))
        self._arm(sa)
        return outcome

    def _new_spi(self) -> bytes:
        spi = self._spis.ike_spi()
        if spi is None:
            raise Misuse("no SPI to start with: no shard is owned")
        return spi

    def _take_in(self, sa: IkeSa) -> None:
        """What a rekey has made of `sa`."""
        born, released = sa.born, sa.released
        sa.born = sa.released = None
        if born is not None:
            self._sas[born.spi] = born
            self._arm(born)
        if released is not None and self._sas.get(released.spi) is released:
            self._arm(released)

    def _arm(self, sa: IkeSa) -> None:
        """Keep the tables in step with the SA's state: half-open or not, gone or not, due when."""
        if sa.half_open_key and sa.core.state is _ESTABLISHED:
            self._half_open.discard(sa)
        deadline_s = sa.deadline_s()
        if deadline_s == NEVER:
            if sa.core.state is _DEAD and sa.waiting is None:
                self._remove(sa)
            return
        spi = sa.spi
        armed_s = self._armed.get(spi)
        if armed_s is None or deadline_s < armed_s:
            self._armed[spi] = deadline_s
            heapq.heappush(self._heap, (deadline_s, spi))

    def _remove(self, sa: IkeSa) -> None:
        heir = sa.heir
        if heir is not None:
            heir.contested = False
            self._arm(heir)
        self._sas.pop(sa.spi, None)
        self._armed.pop(sa.spi, None)
        if sa.half_open_key:
            self._half_open.discard(sa)


def _dropped(core: SaCore, why: str) -> Outcome:
    """Let go of an SA silently: kernel cleared, nothing sent, nothing written; it isn't there any
    more, so the Outcome names none.
    """
    kernel = tuple([RemoveChild(child.spi_in) for child in core.children])
    return Outcome(kernel=kernel, events=(Ended(core.spi, core.chain, why),))
