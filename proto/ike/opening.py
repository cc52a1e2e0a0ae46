"""How an IKE SA comes about: the first exchange, both roles, until it leads to IKE_AUTH or fails.

Rules: what a first exchange needs computed by errand is waited for half-open, and in silence. The
octets of both first messages are kept as they were: AUTH covers them (RFC 7296 2.15).
"""

from collections.abc import Callable
from functools import partial

from proto.ike.agenda import NEVER
from proto.ike.channel import Channel
from proto.ike.core import Context, SaCore, State, Step, replace
from proto.ike.effects import Datagram, Outcome, ignored
from proto.ike.enums import FLAG_INITIATOR, ExchangeType, NotifyType
from proto.ike.errands import Needed
from proto.ike.errors import Misuse, PeerError
from proto.ike.events import Event, Failed
from proto.ike.exchanges import ike_auth_client, ike_intermediate, ike_sa_init
from proto.ike.message import Message, encode_clear
from proto.ike.payloads import AuthPayload, NotifyPayload, Payload
from proto.ike.transport import SaTransport, datagrams

_DEAD = State.DEAD
_PROVING = (State.AUTH_SENT, State.RESUME_AUTH_SENT)
_FAILED = NotifyType.AUTHENTICATION_FAILED
_REJECTED = NotifyPayload(_FAILED)


class SaOpening(SaTransport):
    """See the module."""

    __slots__ = ()

    # -- the responder's side -------------------------------------------------------------------

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
        if not handshake.message_2:
            return ignored("waiting")
        return Outcome(self.spi, send=(Datagram(handshake.message_2, ctx.path),))

    def answer_first(self, again: Callable[[Context], SaCore | Outcome], ctx: Context) -> Outcome:
        """`again` answers the first request now, or needs more; an Outcome refuses it."""
        try:
            made = again(ctx)
        except Needed as needed:
            return self.set_out(needed.errand, partial(self.answer_first, again), ctx)
        if isinstance(made, Outcome):
            self.core, self._due = replace(self.core, state=_DEAD), NEVER
            return made
        self.core = made
        self._channel = Channel(self.core, ctx.spis.iv_prefix(self.spi))
        return self.repeat_first(ctx)

    def _half_open_ended(self) -> Outcome:
        """The peer never came back after the first exchange, or a linger is over."""
        events: tuple[Event, ...] = ()
        if self.half_open:
            remote = self.path.remote[0]
            events = (Failed(self.spi, self.core.resumed, "no IKE_AUTH", remote),)
        self.core = replace(self.core, state=_DEAD)
        self.pending, self._due = None, NEVER
        return Outcome(self.spi, events=events)

    # -- the initiator's side -------------------------------------------------------------------

    def connect(self, ctx: Context) -> Outcome:
        """Send the first request of a full handshake, once its key pair is made."""
        try:
            step = ike_sa_init.initiate(self.core, ctx)
        except Needed as needed:
            return self.set_out(needed.errand, self.connect, ctx)
        except PeerError as error:
            return self._failed(error.why)
        self.core = step.core
        return self.start(ExchangeType.IKE_SA_INIT, step.reply, ctx)

    def start(self, exchange: int, payloads: tuple[Payload, ...], ctx: Context) -> Outcome:
        """Send the first request of a handshake (clear)."""
        data = encode_clear(self.core.spi_i, bytes(8), exchange, FLAG_INITIATOR, 0, payloads)
        if self.core.handshake is not None:
            handshake = replace(self.core.handshake, message_1=data)
            self.core = replace(self.core, handshake=handshake)
        self.requests.sent(data, exchange, 0, ctx.now.boot_s)
        return Outcome(self.spi, send=(Datagram(data, self.path),))

    def _first_answered(self, exchange: int, step: Step, ctx: Context) -> Outcome:
        """Ask again, go on to IKE_AUTH, or wait for something better."""
        self.core = step.core
        if step.reply:
            return self.start(exchange, step.reply, ctx)
        if self.core.state in (State.INIT_SENT, State.RESUME_SENT):
            return Outcome(self.spi)
        if self.core.state is _DEAD:  # sent elsewhere
            self.requests.outstanding, self._due = None, NEVER
            return Outcome(self.spi, events=step.events)
        self._channel = Channel(self.core, ctx.spis.iv_prefix(self.spi))
        self.requests.next_id = 1
        self._float(ctx)
        return self._go_on(ctx)

    def _go_on(self, ctx: Context) -> Outcome:
        """The next additional key exchange, or IKE_AUTH."""
        handshake, exchange = self.core.handshake, ExchangeType.IKE_AUTH
        try:
            if handshake is not None and handshake.more:
                exchange = ExchangeType.IKE_INTERMEDIATE
                step = ike_intermediate.initiate(self.core, ctx)
            else:
                step = ike_auth_client.initiate(self.core, ctx)
        except Needed as needed:
            return self.set_out(needed.errand, self._go_on, ctx)
        except PeerError as error:
            return self._failed(error.why)
        self.core = step.core
        return self._request(exchange, step.reply, ctx)

    def _disbelief(self, error: PeerError, message: Message, ctx: Context) -> tuple[Datagram, ...]:
        """What a gateway is told whose proof we don't believe, and which holds an SA by now (RFC
        7296 2.21.2). Once: if that is lost, it finds out by our silence.
        """
        proven = message.find(AuthPayload) is not None
        if self.core.state not in _PROVING or error.notify is not _FAILED or not proven:
            return ()
        exchange, message_id = ExchangeType.INFORMATIONAL, self.requests.next_id
        return datagrams(self._seal(exchange, 0, message_id, (_REJECTED,), ctx), self.path)

    def _nack_wait_s(self) -> float:
        handshake = self.core.handshake
        if handshake is None or handshake.peer is None:
            return 0.0
        return handshake.peer.nack_wait_s

    def _failed(self, why: str, *more: Event) -> Outcome:
        failed = Failed(self.spi, self.core.resumed, why)
        self.core = replace(self.core, state=_DEAD)
        self.requests.outstanding = self.pending = None
        self._due = NEVER
        return Outcome(self.spi, events=(*more, failed))
