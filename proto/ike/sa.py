"""One IKE SA: message IDs, retransmission, protection, and the lane that keeps one durable write at
a time.

Rules: window size 1 both ways (RFC 7296 2.3). While a write waits, nothing else of the SA is
answered: a repeat gets its answer once that is durable, never before. What fails a check before the
integrity check leaves no trace.
"""

import msgspec

from proto.ike import fragment
from proto.ike.channel import Channel
from proto.ike.core import Context, SaCore, State, Step, replace
from proto.ike.effects import (
    Datagram,
    Outcome,
    Path,
    Persist,
    PersistKind,
    RemoveChild,
    Settlement,
    ignored,
)
from proto.ike.enums import FLAG_INITIATOR, FLAG_RESPONSE, ExchangeType, NotifyType
from proto.ike.errors import Misuse, PeerError, TicketRejected, WireError
from proto.ike.events import Answered, Ended, Event, Failed, TicketRefused, Unanswered
from proto.ike.exchanges import REQUESTS, RESPONSES, Row, ike_auth, informational
from proto.ike.message import Header, Message, decode_clear, encode_clear
from proto.ike.payloads import NotifyPayload, Payload, UnknownPayload
from proto.ike.requests import Outstanding, Requests
from proto.ike.writes import persist

LINGER_S = 5.0
"""How long an ended SA still repeats its last answer."""
NEVER = float("inf")


class Waiting(msgspec.Struct, frozen=True):
    """A durable write in flight and what holds once it is done."""

    core: SaCore
    reply: bytes


class IkeSa:
    """See the module. `core` is replaced as a whole; the rest is the SA's transport."""

    __slots__ = (
        "_channel", "_due", "core", "expected_id", "half_open_key", "heard_s", "last_reply",
        "path", "requests", "waiting", "wants_end",
    )  # fmt: skip

    def __init__(self, core: SaCore, path: Path, ctx: Context, half_open_key: bytes = b"") -> None:
        self.core = core
        self.path = path
        self.half_open_key = half_open_key
        policy = ctx.settings.retransmit
        if core.handshake is not None and core.handshake.peer is not None:
            policy = core.handshake.peer.retransmit
        self.requests = Requests(policy)
        self.expected_id = 0 if core.initiator else 1
        self.last_reply = b""
        self.heard_s = ctx.now.boot_s
        self.waiting: Waiting | None = None
        self.wants_end: tuple[bool, str] | None = None
        self._due = NEVER if core.initiator else ctx.now.boot_s + ctx.settings.half_open_timeout_s
        self._channel: Channel | None = None
        if core.keys is not None:
            self._channel = Channel(core, ctx.spis.iv_prefix(core.spi))

    @property
    def spi(self) -> bytes:
        """Our own SPI."""
        return self.core.spi

    @property
    def half_open(self) -> bool:
        """Answered once, not authenticated yet."""
        return self.core.state in (State.INIT_ANSWERED, State.RESUME_ANSWERED)

    @property
    def _revoking(self) -> bool:
        """Is an end wanted that takes the tickets with it, and not written yet?"""
        return self.wants_end is not None and self.wants_end[0]

    def deadline_s(self) -> float:
        """When `on_timer` is to be called next."""
        due = self._due if self.waiting is None else NEVER
        asked = self.requests.outstanding
        return due if asked is None else min(asked.deadline_s, due)

    # -- what arrives ---------------------------------------------------------------------------

    def on_request(self, header: Header, ctx: Context) -> Outcome:
        """A request with our SPI in it: answered, repeated, or ignored."""
        if header.message_id != self.expected_id:
            return self._repeat(header, ctx)
        if self.waiting is not None or self.core.state is State.DEAD:
            return ignored("waiting")
        row = REQUESTS.get((self.core.state, header.exchange))
        if row is None and self.core.state is not State.ESTABLISHED:
            return ignored("exchange")
        try:
            message = self._open(header, ctx)
            if message is None:
                return ignored("fragment")
            step = self._take(row, message, ctx)
        except WireError:
            return ignored("integrity")
        except PeerError as error:
            step = self._refuse(error)
        if header.exchange == ExchangeType.CREATE_CHILD_SA and self.core.generation:
            # refused is refused: an adopter that is shown it again must not carry it out (ADR 0014)
            step = replace(step, persist=step.persist or PersistKind.WRITE)
        self.heard_s, self.path = ctx.now.boot_s, ctx.path
        reply = self._seal(header.exchange, FLAG_RESPONSE, header.message_id, step.reply, ctx)
        return self._carry_out(step, reply, ctx)

    def _repeat(self, header: Header, ctx: Context) -> Outcome:
        """The last answer once more, for an authentic repeat of its request; of one in fragments
        for the first of them alone (RFC 7383 2.6.1).
        """
        if header.message_id + 1 != self.expected_id or not self.last_reply or not self._channel:
            return ignored("message_id")
        try:
            if not self._channel.begins_again(header, ctx.raw):
                return ignored("fragment")
        except WireError:
            return ignored("integrity")
        return Outcome(self.spi, send=(Datagram(self.last_reply, ctx.path),))

    def on_response(self, header: Header, ctx: Context) -> Outcome:
        """An answer to our outstanding request, or nothing."""
        asked = self.requests.answers(header.exchange, header.message_id)
        if asked is None:
            return ignored("response")
        if self.waiting is not None:
            # one write at a time, and an answer may want one: our repeat will bring it again
            return ignored("waiting")
        row = RESPONSES.get((self.core.state, header.exchange))
        if row is None:
            return ignored("exchange")
        try:
            message = self._open(header, ctx) if row.protected else decode_clear(ctx.raw, header)
            if message is None:
                return ignored("fragment")
            step = row.handler(self.core, message, ctx)
        except WireError:
            return ignored("integrity" if row.protected else "malformed")
        except TicketRejected:
            if not asked.refused:
                # the first one counts: forgeries without end must not prolong the wait
                asked.refused = True
                asked.deadline_s = ctx.now.boot_s + self._nack_wait_s()
            return Outcome(self.spi)
        except PeerError as error:
            if not row.protected:
                return ignored("unauthenticated")
            if self.core.state is not State.ESTABLISHED:
                return self._failed(error.why)
            step = informational.end(self.core, False, error.why)
        self.heard_s = ctx.now.boot_s
        return self._answered(asked, step, ctx)

    def repeat_first(self, ctx: Context) -> Outcome:
        """The answer to the first request, the same octets each time (RFC 7296 2.1).

        Only to the same octets: a shorter request with its SPI and nonce, from another address,
        would buy a stranger a longer answer there.
        """
        handshake = self.core.handshake
        if handshake is None:
            raise Misuse("a first answer after the handshake")
        if ctx.raw != handshake.message_1:
            return ignored("malformed")
        return Outcome(self.spi, send=(Datagram(handshake.message_2, ctx.path),))

    def settle(self, settlement: Settlement, ctx: Context) -> Outcome | None:
        """How the durable write ended. REFUSED: answer AUTHENTICATION_FAILED, end the SA."""
        waiting, self.waiting = self.waiting, None
        if waiting is None:
            raise Misuse("settled without a write in flight")
        if settlement is Settlement.DURABLE:
            self._advance(waiting.core, waiting.reply, ctx)
            return None
        half_open, before = self.half_open, self.core
        dead = replace(before, state=State.DEAD)
        if half_open and settlement is Settlement.REFUSED:
            refusal = (NotifyPayload(NotifyType.AUTHENTICATION_FAILED),)
            reply = self._seal(ExchangeType.IKE_AUTH, FLAG_RESPONSE, self.expected_id, refusal, ctx)
            self._advance(dead, reply, ctx)
            failed = Failed(self.spi, before.resumed, "the ticket was used already")
            return Outcome(self.spi, send=(Datagram(reply, self.path),), events=(failed,))
        self._advance(dead, b"", ctx)
        self._due = ctx.now.boot_s
        if half_open:
            return Outcome(self.spi, events=(Failed(self.spi, before.resumed, settlement.value),))
        step = informational.end(before, False, settlement.value)
        return Outcome(self.spi, kernel=step.kernel, events=step.events)

    # -- what we start --------------------------------------------------------------------------

    def start(self, exchange: int, payloads: tuple[Payload, ...], ctx: Context) -> Outcome:
        """Send the first request of a handshake (clear)."""
        data = encode_clear(self.core.spi_i, bytes(8), exchange, FLAG_INITIATOR, 0, payloads)
        if self.core.handshake is not None:
            handshake = replace(self.core.handshake, message_1=data)
            self.core = replace(self.core, handshake=handshake)
        return self._sent(data, exchange, 0, ctx)

    def ask(self, payloads: tuple[Payload, ...], ctx: Context) -> Outcome | None:
        """Start an INFORMATIONAL; None while another request of ours is outstanding."""
        if self.requests.outstanding is not None or self.core.state is not State.ESTABLISHED:
            return None
        return self._request(ExchangeType.INFORMATIONAL, payloads, ctx)

    def end(self, revoke: bool, why: str, ctx: Context) -> Outcome:
        """Delete the IKE SA; the record goes once the peer has answered, or doesn't. `revoke`:
        record and chain go first, for a peer that keeps silent must not keep its tickets.
        """
        revoke = revoke and self.core.generation > 0
        busy = self.waiting is not None or (self.requests.outstanding is not None and not revoke)
        if busy or self.core.state is not State.ESTABLISHED:
            revoke = revoke or self._revoking
            self.wants_end = (revoke, why)
            return Outcome(self.spi)
        if revoke:
            persist = self._persist(self.core, PersistKind.REVOKE, b"", ctx)
            self.waiting = Waiting(replace(self.core, generation=0), b"")
            self.wants_end = (False, why)
            return Outcome(self.spi, persist)
        step = informational.end(self.core, False, why)
        outcome = self._request(ExchangeType.INFORMATIONAL, (informational.DELETE_IKE_SA,), ctx)
        if self.requests.outstanding is not None:
            self.requests.outstanding.last = step
        return outcome

    def on_timer(self, ctx: Context) -> Outcome | None:
        """Retransmit, give up, expire, ask for life, whichever is due."""
        now = ctx.now.boot_s
        if self.requests.outstanding is not None and now >= self.requests.outstanding.deadline_s:
            return self._retransmit(self.requests.outstanding, ctx)
        if now < self._due or self.waiting is not None:
            return None
        if self.core.state is not State.ESTABLISHED:
            return self._half_open_ended()
        if self.wants_end is not None and (self.requests.outstanding is None or self._revoking):
            revoke, why = self.wants_end
            self.wants_end = None
            return self.end(revoke, why, ctx)
        self._schedule(ctx)
        if not self.core.initiator and ctx.now.wall_s >= self.core.expires_wall_s:
            return self.end(False, "lifetime over", ctx)
        silent_s = ctx.settings.liveness_interval_s
        if silent_s and not self.core.initiator and now - self.heard_s >= silent_s:
            return self.ask((), ctx)
        return None

    # -- inside ---------------------------------------------------------------------------------

    def _take(self, row: Row | None, message: Message, ctx: Context) -> Step:
        """Run the row's handler. Raises PeerError for a peer's mistake."""
        for payload in message.payloads:
            if payload.__class__ is UnknownPayload and payload.critical:
                raise PeerError(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, bytes((payload.type,)))
        if row is None:
            raise PeerError(NotifyType.INVALID_SYNTAX, why="exchange not expected here")
        return row.handler(self.core, message, ctx)

    def _refuse(self, error: PeerError) -> Step:
        """A peer's mistake becomes the RFC's notify. It ends a half-open SA; an established one
        ends with INVALID_SYNTAX, at both ends and without a Delete (RFC 7296 2.21.2, 2.21.3).
        """
        reply = (NotifyPayload(error.notify, error.data),)
        if self.half_open:
            failed = Failed(self.spi, self.core.resumed, error.why)
            return Step(replace(self.core, state=State.DEAD), reply, events=(failed,))
        if error.notify is NotifyType.INVALID_SYNTAX:
            return replace(informational.end(self.core, False, error.why), reply=reply)
        return Step(self.core, reply)

    def _carry_out(self, step: Step, reply: bytes, ctx: Context) -> Outcome:
        """An Outcome for a request: at once, or once its write is durable."""
        send = (Datagram(reply, ctx.path),)
        if step.persist is None:
            self._advance(step.core, reply, ctx)
            return Outcome(self.spi, kernel=step.kernel, send=send, events=step.events)
        self.waiting = Waiting(step.core, reply)
        persist = self._persist(step.core, step.persist, reply, ctx, step.ticket)
        return Outcome(self.spi, persist, step.kernel, send, step.events)

    def _persist(
        self, core: SaCore, kind: PersistKind, reply: bytes, ctx: Context, ticket: bytes = b""
    ) -> Persist:
        if kind is PersistKind.END and self._revoking:
            kind = PersistKind.REVOKE
        ids = (self.expected_id + 1, self.requests.next_id)
        return persist(self.core, core, kind, ids, reply, ctx, ticket)

    def _advance(self, core: SaCore, reply: bytes, ctx: Context) -> None:
        """The request is answered: move the window and the state."""
        was_half_open = self.half_open
        self.core = core
        if reply:
            self.expected_id += 1
            self.last_reply = reply
        if core.state is State.DEAD:
            # only the last answer is said again; nothing of our own is asked any more
            self.requests.outstanding = self.wants_end = None
            self._due = ctx.now.boot_s + LINGER_S
        elif was_half_open:
            self._schedule(ctx)
        self._look_at_wants(ctx)

    def _look_at_wants(self, ctx: Context) -> None:
        """An end that had to wait is due now."""
        if self.wants_end is not None:
            self._due = ctx.now.boot_s

    def _answered(self, asked: Outstanding, step: Step, ctx: Context) -> Outcome:
        """An answer was taken: ask again, go on to IKE_AUTH, or be done."""
        first = not RESPONSES[self.core.state, asked.exchange].protected
        self.core = step.core
        if first:
            if step.reply:
                return self.start(asked.exchange, step.reply, ctx)
            if self.core.state in (State.INIT_SENT, State.RESUME_SENT):
                return Outcome(self.spi)
            self._channel = Channel(self.core, ctx.spis.iv_prefix(self.spi))
            self.requests.next_id = 1
            auth = ike_auth.initiate(self.core, ctx)
            self.core = auth.core
            return self._request(ExchangeType.IKE_AUTH, auth.reply, ctx)
        self.requests.outstanding = None
        if asked.last is not None or step.core.state is State.DEAD:
            return self._finish(asked.last or step, ctx)
        if asked.exchange == ExchangeType.IKE_AUTH:
            self.path = ctx.path
            return Outcome(self.spi, kernel=step.kernel, events=step.events)
        self._look_at_wants(ctx)
        return Outcome(self.spi, events=(Answered(self.spi), *step.events))

    def _finish(self, step: Step, ctx: Context) -> Outcome:
        """Our Delete was answered, or won't be: the record goes, then the SA."""
        if step.persist is None:
            self._advance(step.core, b"", ctx)
            return Outcome(self.spi, kernel=step.kernel, events=step.events)
        self.waiting = Waiting(step.core, b"")
        persist = self._persist(step.core, step.persist, b"", ctx)
        return Outcome(self.spi, persist, step.kernel, (), step.events)

    def _retransmit(self, asked: Outstanding, ctx: Context) -> Outcome | None:
        if asked.refused:
            refused = TicketRefused(self.spi, "TICKET_NACK")
            return self._failed("the gateway refused the ticket", refused)
        if self.requests.again(asked, ctx.now.boot_s):
            return Outcome(self.spi, send=(Datagram(asked.data, self.path),))
        if self.waiting is not None:
            # one write at a time: what follows from the silence may want one of its own
            asked.deadline_s = ctx.now.boot_s + asked.interval_s
            return None
        self.requests.outstanding = None
        if asked.last is not None:
            return self._finish(asked.last, ctx)
        if self.core.state is not State.ESTABLISHED:
            why = self.core.handshake.why if self.core.handshake is not None else ""
            return self._failed(why or "no answer")
        step = informational.end(self.core, False, "no answer")
        outcome = self._finish(step, ctx)
        return replace(outcome, events=(Unanswered(self.spi), *outcome.events))

    def _half_open_ended(self) -> Outcome:
        """The peer never came back after the first exchange, or a linger is over."""
        events: tuple[Event, ...] = ()
        if self.half_open:
            events = (Failed(self.spi, self.core.resumed, "no IKE_AUTH"),)
        self.core = replace(self.core, state=State.DEAD)
        self._due = NEVER
        return Outcome(self.spi, events=events)

    def _failed(self, why: str, *more: Event) -> Outcome:
        failed = Failed(self.spi, self.core.resumed, why)
        self.core = replace(self.core, state=State.DEAD)
        self.requests.outstanding = None
        self._due = NEVER
        return Outcome(self.spi, events=(*more, failed))

    def _request(self, exchange: int, payloads: tuple[Payload, ...], ctx: Context) -> Outcome:
        message_id = self.requests.next_id
        data = self._seal(exchange, 0, message_id, payloads, ctx)
        self.requests.next_id += 1
        return self._sent(data, exchange, message_id, ctx)

    def _sent(self, data: bytes, exchange: int, message_id: int, ctx: Context) -> Outcome:
        self.requests.sent(data, exchange, message_id, ctx.now.boot_s)
        return Outcome(self.spi, send=(Datagram(data, self.path),))

    def _schedule(self, ctx: Context) -> None:
        """When an established SA is to be looked at again."""
        if self.core.initiator:
            self._due = NEVER
            return
        left_s = self.core.expires_wall_s - ctx.now.wall_s
        silent_s = ctx.settings.liveness_interval_s
        wait_s = left_s
        if silent_s:
            ask_in_s = self.heard_s + silent_s - ctx.now.boot_s
            wait_s = min(left_s, ask_in_s if ask_in_s > 0 else silent_s)
        self._due = ctx.now.boot_s + max(wait_s, 1.0)

    def _nack_wait_s(self) -> float:
        handshake = self.core.handshake
        if handshake is None or handshake.peer is None:
            return 0.0
        return handshake.peer.nack_wait_s

    # -- protection -----------------------------------------------------------------------------

    def _seal(
        self,
        exchange: int,
        flags: int,
        message_id: int,
        payloads: tuple[Payload, ...],
        ctx: Context,
    ) -> bytes:
        if self._channel is None:
            raise Misuse("sealing before keys")
        return self._channel.seal(self.core, exchange, flags, message_id, payloads, ctx.rng)

    def _open(self, header: Header, ctx: Context) -> Message | None:
        """See `Channel.open`."""
        if self._channel is None:
            raise WireError("sealed message before keys")
        limit = fragment.HALF_OPEN_MAX if self.half_open else fragment.REASSEMBLY_MAX
        return self._channel.open(self.core, header, ctx.raw, limit)


def dropped(core: SaCore, why: str) -> Outcome:
    """Let go of an SA silently: kernel cleared, nothing sent, nothing written."""
    kernel = tuple([RemoveChild(child.spi_in) for child in core.children])
    return Outcome(core.spi, kernel=kernel, events=(Ended(core.spi, core.chain, why),))
