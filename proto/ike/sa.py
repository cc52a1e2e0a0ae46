"""One IKE SA: message IDs, retransmission, protection, and the lane that keeps one durable write at
a time.

Rules: one of the peer's requests at a time (RFC 7296 2.3). While a write waits, nothing else of the
SA is answered: a repeat gets its answer once that is durable, never before. What fails a check
before the integrity check leaves no trace.
"""

from functools import partial

from proto.ike import record
from proto.ike.agenda import RETRIES_MAX, again
from proto.ike.asking import SaAsking, widened
from proto.ike.core import Context, SaCore, State, Step, Want, Work, replace
from proto.ike.effects import (
    Outcome,
    Path,
    Persist,
    PersistKind,
    Settlement,
    ignored,
)
from proto.ike.enums import FLAG_RESPONSE, ExchangeType, NotifyType
from proto.ike.errands import Needed
from proto.ike.errors import Misuse, PeerError, TicketRejected, TooLong, WireError
from proto.ike.events import Answered, Event, Failed, Refused, TicketRefused, Unanswered
from proto.ike.exchanges import (
    REQUESTS,
    RESPONSES,
    Row,
    create_child_sa,
    informational,
    mobike,
    rekey_ike,
)
from proto.ike.message import Header, Message, decode_clear
from proto.ike.payloads import NotifyPayload
from proto.ike.requests import MAKING, Outstanding
from proto.ike.transport import Waiting, datagrams
from proto.ike.writes import persist, rekeyed

_CREATE_CHILD_SA = ExchangeType.CREATE_CHILD_SA
_END = PersistKind.END
_DEAD = State.DEAD
_ESTABLISHED = State.ESTABLISHED
_DURABLE = Settlement.DURABLE
_SET_WINDOW_SIZE = NotifyType.SET_WINDOW_SIZE

_POLICY = (NotifyType.NO_PROPOSAL_CHOSEN, NotifyType.TS_UNACCEPTABLE)
"""Refusals that an operator wants to read of."""

LINGER_S = 5.0
"""How long an ended SA still repeats its last answer."""


class IkeSa(SaAsking):
    """See the module."""

    __slots__ = ()

    def _make(self, core: SaCore, ctx: Context) -> "IkeSa":
        return IkeSa(core, self.path, ctx)

    # -- what arrives ---------------------------------------------------------------------------

    def on_request(self, header: Header, ctx: Context) -> Outcome:
        """A request with our SPI in it: answered, repeated, or ignored."""
        if header.message_id != self.expected_id:
            ahead = header.message_id > self.expected_id
            return self._ahead(header, ctx) if ahead else self._repeat(header, ctx)
        busy = self.waiting is not None or self.pending is not None
        if busy or self.contested or self.core.state is _DEAD:
            self.asked_s = ctx.now.boot_s
            return ignored("waiting")
        row = REQUESTS.get((self.core.state, header.exchange))
        if row is None and self.core.state is not _ESTABLISHED:
            return ignored("exchange")
        try:
            message = self._open(header, ctx)
        except WireError:
            return ignored("integrity")
        except PeerError as error:
            return self._reply(header, self._refuse(error), ctx)
        if message is None:
            return ignored("fragment")
        self._follow(ctx)
        return self._answer(row, message, ctx)

    def _answer(self, row: Row | None, message: Message, ctx: Context) -> Outcome:
        """What the row's handler answers, once what it needs is there."""
        try:
            step = self._take(row, message, ctx)
        except Needed as needed:
            return self.set_out(needed.errand, partial(self._answer, row, message), ctx)
        except PeerError as error:
            step = self._refuse(error)
        return self._reply(message.header, step, ctx)

    def _reply(self, header: Header, step: Step, ctx: Context) -> Outcome:
        if header.exchange == _CREATE_CHILD_SA and self.core.generation:
            # refused is refused: an adopter that is shown it again must not carry it out (ADR 0014)
            step = replace(step, persist=step.persist or PersistKind.WRITE)
        if ctx.moved:
            step = replace(step, kernel=ctx.moved + step.kernel)
        self.heard_s = ctx.now.boot_s
        try:
            reply = self._seal(header.exchange, FLAG_RESPONSE, header.message_id, step.reply, ctx)
        except TooLong as error:
            # nothing of the step has happened yet
            refused = PeerError(NotifyType.INVALID_SYNTAX, why=f"answered by {error}")
            return self._reply(header, self._refuse(refused), ctx)
        return self._carry_out(step, reply, ctx)

    def on_response(self, header: Header, ctx: Context) -> Outcome:
        """An answer to our outstanding request, or nothing."""
        asked = self.requests.answers(header.exchange, header.message_id)
        if asked is None:
            return ignored("response")
        if self.waiting is not None or self.pending is not None:
            # one write at a time, and an answer may want one: our repeat will bring it again
            return ignored("waiting")
        row = RESPONSES.get((self.core.state, header.exchange))
        if row is None:
            return ignored("exchange")
        try:
            message = self._open(header, ctx) if row.protected else decode_clear(ctx.raw, header)
        except WireError:
            return ignored("integrity" if row.protected else "malformed")
        except PeerError as error:
            return self._deviates(row, asked, error, ctx)
        if message is None:
            return ignored("fragment")
        if row.protected:
            self._follow(ctx)
        return self._process(row, asked, message, ctx)

    def _process(self, row: Row, asked: Outstanding, message: Message, ctx: Context) -> Outcome:
        """What the row's handler makes of an answer, once what it needs is there."""
        core = self.core
        beside = asked is not self.requests.outstanding
        if beside and core.state is not _ESTABLISHED:
            self.requests.over(asked)  # rekeyed meanwhile: only the Delete is of interest
            return Outcome(self.spi)
        try:
            step = row.handler(replace(core, asking=None) if beside else core, message, ctx)
        except Needed as needed:
            return self.set_out(needed.errand, partial(self._process, row, asked, message), ctx)
        except WireError:
            return ignored("integrity" if row.protected else "malformed")
        except TicketRejected:
            if not asked.refused:
                # the first one counts: forgeries without end must not prolong the wait
                asked.refused = True
                asked.deadline_s = ctx.now.boot_s + self._nack_wait_s()
            return Outcome(self.spi)
        except PeerError as error:
            said = self._disbelief(error, message, ctx)
            outcome = self._deviates(row, asked, error, ctx)
            return replace(outcome, send=said) if said else outcome
        if beside:
            step = replace(step, core=replace(step.core, asking=core.asking))
        if ctx.moved:
            step = replace(step, kernel=ctx.moved + step.kernel)
        self.heard_s = ctx.now.boot_s
        if row.protected:
            step = widened(step, message.notify(_SET_WINDOW_SIZE))
        return self._answered(asked, step, ctx)

    def _deviates(self, row: Row, asked: Outstanding, error: PeerError, ctx: Context) -> Outcome:
        """An answer that isn't one: it ends what it is about, if it is the peer's."""
        if not row.protected:
            return ignored("unauthenticated")
        if self.core.state is not _ESTABLISHED:
            return self._failed(error.why)
        self.heard_s = ctx.now.boot_s
        return self._answered(asked, informational.end(self.core, False, error.why), ctx)

    def settle(self, settlement: Settlement, ctx: Context) -> Outcome | None:
        """How the durable write ended. REFUSED: answer AUTHENTICATION_FAILED, end the SA."""
        waiting, self.waiting = self.waiting, None
        if waiting is None:
            raise Misuse("settled without a write in flight")
        wanted = self.wants_end if self.core.state is _ESTABLISHED else None
        if settlement is _DURABLE:
            self._advance(waiting, ctx)
        if wanted is not None and wanted[0] and self.core.state is _ESTABLISHED:
            # before a next request is written; if this write failed, there may be a record yet
            return self.end(*wanted, ctx)
        if settlement is _DURABLE:
            return None
        half_open, before = self.half_open, self.core
        dead = replace(before, state=_DEAD)
        if half_open and settlement is Settlement.REFUSED:
            refusal = (NotifyPayload(NotifyType.AUTHENTICATION_FAILED),)
            reply = self._seal(ExchangeType.IKE_AUTH, FLAG_RESPONSE, self.expected_id, refusal, ctx)
            self._advance(Waiting(dead, reply), ctx)
            failed = Failed(self.spi, before.resumed, settlement.value)
            return Outcome(self.spi, send=datagrams(reply, self.path), events=(failed,))
        self._advance(Waiting(dead, b""), ctx)
        self._due = ctx.now.boot_s
        if half_open:
            return Outcome(self.spi, events=(Failed(self.spi, before.resumed, settlement.value),))
        step = informational.end(before, False, settlement.value)
        return Outcome(self.spi, kernel=step.kernel, events=step.events)

    # -- what we start --------------------------------------------------------------------------

    def want(self, want: Want, ctx: Context) -> Outcome | None:
        """Ask for that now, or as soon as nothing else of ours is outstanding."""
        self.agenda.add((want,))
        self._look_at_wants(ctx)
        busy = self.waiting is not None or self.pending is not None
        return None if busy else self._next(ctx)

    def end(self, revoke: bool, why: str, ctx: Context) -> Outcome:
        """Delete the IKE SA; the record goes once the peer has answered, or doesn't. `revoke`:
        record and chain go first, for a peer that keeps silent must not keep its tickets.
        """
        revoke = revoke and self.core.generation > 0
        asking = not self.requests.is_free(self._window) and not revoke
        busy = self.waiting is not None or self.pending is not None or self.contested or asking
        if busy or self.core.state is not _ESTABLISHED:
            revoke = revoke or self._revoking
            self.wants_end = (revoke, why)
            self._look_at_wants(ctx)
            return Outcome(self.spi)
        if revoke:
            self.waiting = Waiting(replace(self.core, generation=0), b"")
            persist = self._persist(Waiting(self.core, b""), PersistKind.REVOKE, ctx)
            self.wants_end = (False, why)
            return Outcome(self.spi, persist)
        return self._delete(why, ctx)

    def vanish(self, why: str, ctx: Context) -> Outcome:
        """The peer has lost the SA: record and tickets go, and nothing is said."""
        if self.waiting is not None or self.pending is not None or self.contested:
            return self.end(True, why, ctx)
        self.requests.clear()
        return self._finish(informational.end(self.core, True, why), ctx)

    def move(self, path: Path, ctx: Context) -> Outcome | None:
        """From now on the SA uses `path`, its requests under way too; the peer is told (RFC 4555
        3.5). None: it can't be moved.
        """
        if not self.core.mobike or self.core.state is not _ESTABLISHED:
            return None
        self.path = ctx.path = path
        kernel = mobike.updates(self.core, path)
        if not self.agenda.holds(Work.UPDATE_ADDRESSES):
            self.agenda.add((Want(Work.UPDATE_ADDRESSES),))
        for asked in self.requests.under_way():
            asked.sent, asked.deadline_s = 0, ctx.now.boot_s  # again, at once
        self._look_at_wants(ctx)
        busy = self.waiting is not None or self.pending is not None
        asked_now = None if busy else self._next(ctx)
        return replace(asked_now or Outcome(self.spi), kernel=kernel)

    def on_timer(self, ctx: Context) -> Outcome | None:
        """Retransmit, give up, expire, ask for life, whichever is due."""
        now = ctx.now.boot_s
        if now >= self._keepalive_s and self.core.state is _ESTABLISHED:
            kept = self._keepalive(ctx)
            if kept is not None:
                return kept
        for asked in self.requests.under_way():
            if now >= asked.deadline_s:
                return self._retransmit(asked, ctx)
        if now < self._due or self._stands_still:
            return None
        if self.core.state is State.REKEYED and (deletes := self._delete_last(ctx)) is not None:
            return deletes
        if self.core.state is not _ESTABLISHED:
            return self._half_open_ended()
        is_free = self.requests.is_free(self._window)
        if self.wants_end is not None and (is_free or self._revoking):
            revoke, why = self.wants_end
            self.wants_end = None
            return self.end(revoke, why, ctx)
        self._forget_series(ctx)
        self._schedule(ctx)
        if not self.core.client and ctx.now.wall_s >= self.core.expires_wall_s:
            return self.end(False, "lifetime over", ctx)
        wanted = self._next(ctx)
        silent_s = ctx.settings.liveness_interval_s
        silent = silent_s and not self.core.client and now - self.heard_s >= silent_s
        if wanted is None and silent and not self.requests.under_way():
            return self.ask((), ctx)
        return wanted

    def _next(self, ctx: Context) -> Outcome | None:
        """The next request that is due, unless one is outstanding."""
        while self.requests.is_free(self._window) and self.core.state is _ESTABLISHED:
            want = self._due_want(ctx)
            if want is None:
                return None
            if want.tries >= RETRIES_MAX:
                return self.end(False, "out of step with the peer", ctx)
            asked = self._ask_for(want, ctx)
            if asked is not None:
                return asked
        return None

    def _ask_for(self, want: Want, ctx: Context) -> Outcome | None:
        """The request that `want` leads to; None: there is nothing to be asked for any more."""
        try:
            asked = create_child_sa.initiate(self.core, want, ctx)
        except Needed as needed:
            return self.set_out(needed.errand, partial(self._ask_at_last, want), ctx)
        if asked is None:
            return None
        self.core, exchange, payloads = asked
        return self._request(exchange, payloads, ctx)

    def _ask_at_last(self, want: Want, ctx: Context) -> Outcome:
        asked = None
        try:
            if self._begins(want, ctx):  # the shard may be on its way by now
                asked = self._ask_for(want, ctx)
        except PeerError:
            self.agenda.add((again(want, ctx.now.boot_s, ctx.rng.bytes(1)[0]),))
        self._look_at_wants(ctx)
        return asked or Outcome(self.spi)

    # -- inside ---------------------------------------------------------------------------------

    def _take(self, row: Row | None, message: Message, ctx: Context) -> Step:
        """Run the row's handler. Raises PeerError for a peer's mistake."""
        unknown = message.critical
        if unknown is not None:
            raise PeerError(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, bytes((unknown.type,)))
        if row is None:
            raise PeerError(NotifyType.INVALID_SYNTAX, why="exchange not expected here")
        if message.header.exchange in MAKING and self._is_closing:
            raise PeerError(NotifyType.TEMPORARY_FAILURE, why="the IKE SA is being closed")
        step = row.handler(self.core, message, ctx)
        return widened(step, message.notify(_SET_WINDOW_SIZE))

    def _refuse(self, error: PeerError) -> Step:
        """A peer's mistake becomes the RFC's notify. It ends a half-open SA; an established one
        ends with INVALID_SYNTAX, at both ends and without a Delete (RFC 7296 2.21.2, 2.21.3).
        """
        reply = (NotifyPayload(error.notify, error.data),)
        if self.half_open:
            failed = Failed(self.spi, self.core.resumed, error.why, self.path.remote[0])
            return Step(replace(self.core, state=_DEAD), reply, events=(failed,))
        if error.notify is NotifyType.INVALID_SYNTAX:
            return replace(informational.end(self.core, False, error.why), reply=reply)
        if error.notify not in _POLICY:
            return Step(self.core, reply)
        refused = Refused(self.spi, self.core.identity, error.notify.name, error.why)
        return Step(self.core, reply, events=(refused,))

    def _carry_out(self, step: Step, reply: bytes, ctx: Context) -> Outcome:
        """An Outcome for a request: at once, or once its write is durable."""
        send = datagrams(reply, ctx.came or ctx.path)
        then = Waiting(
            step.core, reply, step.successor, step.wants, step.ticket, step.takes, step.path
        )
        if step.persist is None:
            self._advance(then, ctx)
            return Outcome(self.spi, kernel=step.kernel, send=send, events=step.events)
        self.waiting, self.asked_s = then, ctx.now.boot_s
        persist = self._persist(then, step.persist, ctx)
        return Outcome(self.spi, persist, step.kernel, send, step.events)

    def _persist(self, then: Waiting, kind: PersistKind, ctx: Context) -> Persist:
        if kind is _END and self._revoking:
            kind = PersistKind.REVOKE
        expected_id, reply = self.expected_id, self.last_reply
        if then.reply:
            expected_id, reply = expected_id + 1, then.reply
        ids = (expected_id, self.requests.next_id)
        if then.successor is None:
            return persist(self.core, then.core, kind, ids, reply, ctx, then.ticket, then.takes)
        former = b""
        if then.reply:
            prefix = ctx.spis.iv_prefix(self.spi)
            former = record.encode(then.core, ctx.path, prefix, ids, reply)
        before = self.core if self.heir is None else self.heir.core
        return rekeyed(before, former, then.successor, ctx, then.ticket)

    def _advance(self, then: Waiting, ctx: Context) -> None:
        """The request is answered, or our own was: move the window and the state."""
        core, was_half_open = then.core, self.half_open
        children_changed = core.children is not self.core.children
        nat_changed = core.nat != self.core.nat
        if core.keys is not self.core.keys and self._channel is not None:
            self._channel.renew(core)
        self.core = core
        if then.path is not None:
            self.path = then.path
        if nat_changed:
            self._keep_nat(ctx)
        if then.reply:
            self.expected_id += 1
            self.last_reply = then.reply
        if core.state is _DEAD:
            # only the last answer is said again; nothing of our own is asked any more
            self.requests.clear()
            self.wants_end, self._due = None, ctx.now.boot_s + LINGER_S
        elif was_half_open and core.state is _ESTABLISHED:
            self.agenda.begin(core, ctx.settings, ctx.now.boot_s)
            self._schedule(ctx)
            self._keep_nat(ctx)
        elif children_changed:
            self.agenda.keep(core, ctx.settings, ctx.now.boot_s)
        if then.wants:
            self.agenda.add(then.wants)
        if then.successor is not None:
            self._bear(then.successor, bool(then.reply), ctx)
        if self.heir is not None and (core.asking is None or core.state is _DEAD):
            self._yield_to(self.heir, ctx)
        self._look_at_wants(ctx)

    def _answered(self, asked: Outstanding, step: Step, ctx: Context) -> Outcome:
        """An answer was taken: ask again, go on to IKE_AUTH, or be done."""
        if not RESPONSES[self.core.state, asked.exchange].protected:
            return self._first_answered(asked.exchange, step, ctx)
        self.requests.over(asked)
        if asked.last is not None:
            step = self._last(asked.last)
        if step.core.state is _DEAD:
            return self._finish(step, ctx)
        if asked.exchange == ExchangeType.IKE_INTERMEDIATE:
            self.core = step.core
            if self._channel is not None:
                self._channel.renew(step.core)
            return self._go_on(ctx)
        if step.reply:
            self.core = step.core
            in_auth = asked.exchange == ExchangeType.IKE_AUTH
            exchange = ExchangeType.IKE_AUTH if in_auth else ExchangeType.IKE_FOLLOWUP_KE
            return replace(self._request(exchange, step.reply, ctx), kernel=step.kernel)
        if asked.exchange == ExchangeType.IKE_AUTH:
            self.core = step.core
            self.agenda.begin(step.core, ctx.settings, ctx.now.boot_s)
            self.agenda.add(step.wants)
            self._schedule(ctx)
            self._keep_nat(ctx)
            self._look_at_wants(ctx)
            return Outcome(self.spi, kernel=step.kernel, events=step.events)
        return self._taken(step, ctx)

    def _taken(self, step: Step, ctx: Context) -> Outcome:
        """What an answer on an established SA leads to, once its write is durable."""
        events: tuple[Event, ...] = (Answered(self.spi), *step.events)
        kind, new = step.persist, step.successor
        if new is not None:
            new = self._contend(new)
            if new.state is _ESTABLISHED:
                before = self.core if self.heir is None else self.heir.core
                events = (events[0], rekey_ike.rekeyed(before, new), *step.events)
                kind = PersistKind.REKEY if new.generation else None
        then = Waiting(step.core, b"", new, step.wants)
        if kind is None:
            self._advance(then, ctx)
            return Outcome(self.spi, kernel=step.kernel, events=events)
        self.waiting = then
        return Outcome(self.spi, self._persist(then, kind, ctx), step.kernel, (), events)

    def _finish(self, step: Step, ctx: Context) -> Outcome:
        """Our Delete was answered, or won't be: the record goes, then the SA."""
        then = Waiting(step.core, b"")
        if step.persist is None:
            self._advance(then, ctx)
            return Outcome(self.spi, kernel=step.kernel, events=step.events)
        self.waiting = then
        return Outcome(
            self.spi, self._persist(then, step.persist, ctx), step.kernel, (), step.events
        )

    def _retransmit(self, asked: Outstanding, ctx: Context) -> Outcome | None:
        if self.pending is not None:
            asked.deadline_s = ctx.now.boot_s + asked.interval_s
            return None
        if asked.refused:
            refused = TicketRefused(self.spi, "TICKET_NACK")
            return self._failed("the gateway refused the ticket", refused)
        if self.requests.again(asked, ctx.now.boot_s):
            return self._again(asked, ctx)
        if self.waiting is not None:
            # one write at a time: what follows from the silence may want one of its own
            asked.deadline_s = ctx.now.boot_s + asked.interval_s
            return None
        self.requests.clear()
        if asked.last is not None:
            return self._finish(self._last(asked.last), ctx)
        if self.core.state is State.REKEYED:
            self._advance(Waiting(replace(self.core, state=_DEAD, asking=None), b""), ctx)
            return Outcome(self.spi)
        if self.core.state is not _ESTABLISHED:
            why = self.core.handshake.why if self.core.handshake is not None else ""
            return self._failed(why or "no answer")
        step = informational.end(self.core, False, "no answer")
        outcome = self._finish(step, ctx)
        return replace(outcome, events=(Unanswered(self.spi), *outcome.events))
