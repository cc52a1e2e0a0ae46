"""What an established IKE SA asks that changes nothing, its Delete, and a peer that asks too early.

Rules: with a larger window than one (RFC 7296 2.3) what only asks or tells doesn't wait for the one
request that changes the SA, nor that for it. INVALID_MESSAGE_ID leaves rarely, as a request of its
own, and for an authentic request alone.
"""

from proto.ike.agenda import NEVER
from proto.ike.core import Context, SaCore, State, Step, Want, Work, replace
from proto.ike.effects import Outcome, Path, ignored
from proto.ike.enums import ExchangeType, NotifyType
from proto.ike.errors import WireError
from proto.ike.exchanges import informational
from proto.ike.message import Header
from proto.ike.payloads import NotifyPayload, Payload
from proto.ike.requests import window_in
from proto.ike.succession import REKEYED_LINGER_S, SaSuccession

TELL_S = 10.0
"""Between two INVALID_MESSAGE_ID of one SA."""
ID_OCTETS = 4
_MAKING = (Work.NEW_CHILD, Work.REKEY_CHILD, Work.REKEY_IKE)


class SaAsking(SaSuccession):
    """See the module."""

    __slots__ = ("_told_s",)

    def __init__(self, core: SaCore, path: Path, ctx: Context, half_open_key: bytes = b"") -> None:
        super().__init__(core, path, ctx, half_open_key)
        self._told_s = -NEVER

    def _may_ask(self) -> bool:
        established = self.core.state is State.ESTABLISHED
        if not established or self.contested or self.pending is not None:
            return False
        return self.requests.has_room(self._window)

    def ask(self, payloads: tuple[Payload, ...], ctx: Context) -> Outcome | None:
        """Start an INFORMATIONAL that changes nothing; None while the peer's window is full."""
        if not self._may_ask():
            return None
        beside = self._window > 1
        return self._request(ExchangeType.INFORMATIONAL, payloads, ctx, beside=beside)

    def _due_want(self, ctx: Context) -> Want | None:
        """What we are to ask for now, if anything; what may not begin yet stays wanted."""
        want = None if self._holds_back else self.agenda.take(ctx.now.boot_s)
        return want if want is not None and self._begins(want, ctx) else None

    def _begins(self, want: Want, ctx: Context) -> bool:
        """May we ask for that now? If not, it stays wanted."""
        begins = ctx.spis.begins(self.spi, want.work in _MAKING)
        if not begins:
            self.agenda.add((want,))
        return begins

    def _ahead(self, header: Header, ctx: Context) -> Outcome:
        """A request beyond our window. What the peer believes of our window is wrong, or we have
        missed something: it is told (RFC 7296 2.3).
        """
        now_s = ctx.now.boot_s
        if now_s < self._told_s + TELL_S or self._channel is None or not self._may_ask():
            return ignored("message_id")
        try:
            self._channel.begins_again(header, ctx.raw)
        except WireError:
            return ignored("integrity")
        self._told_s = now_s
        data = header.message_id.to_bytes(ID_OCTETS, "big")
        told = self.ask((NotifyPayload(NotifyType.INVALID_MESSAGE_ID, data),), ctx)
        return told or ignored("message_id")

    @property
    def _is_closing(self) -> bool:
        """Is our Delete under way, or wanted?"""
        asked = self.requests.outstanding
        return self.wants_end is not None or (asked is not None and asked.last is not None)

    def _delete(self, why: str, ctx: Context) -> Outcome:
        outcome = self._request(ExchangeType.INFORMATIONAL, (informational.DELETE_IKE_SA,), ctx)
        if self.requests.outstanding is not None:
            self.requests.outstanding.last = why
        return outcome

    def _last(self, why: str) -> Step:
        """Our Delete is answered, or won't be: what there is to end by now."""
        if self.core.state is State.REKEYED:
            return Step(replace(self.core, state=State.DEAD))
        return informational.end(self.core, False, why)

    def _delete_last(self, ctx: Context) -> Outcome | None:
        """A rekeyed SA's Delete, if that is ours to send, and the time for it; None: it is over."""
        if self._deletes and self.requests.is_free(self._window):
            self._deletes = False
            return self._delete("rekeyed", ctx)
        if not self.requests.under_way():
            return None
        self._due = ctx.now.boot_s + REKEYED_LINGER_S
        return Outcome(self.spi)


def widened(step: Step, stated: NotifyPayload | None) -> Step:
    """The peer has said how many requests of ours it takes: it can only become more (RFC 7296
    2.3).
    """
    if stated is None or window_in(stated) <= step.core.window:
        return step
    return replace(step, core=replace(step.core, window=window_in(stated)))
