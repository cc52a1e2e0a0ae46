"""Our own requests of one IKE SA, each repeated until it is answered or given up.

Rules: no more are under way than the peer's window lets (RFC 7296 2.3): one, until it says
otherwise. Of those one at a time changes the SA, or may; what only asks or tells goes beside it,
where there is room. Repeats are the same octets, after growing pauses (RFC 7296 2.1).
"""

import msgspec

from proto.ike.core import RetransmitPolicy
from proto.ike.enums import ExchangeType
from proto.ike.payloads import NotifyPayload, Payload

WINDOW_MAX = 16
"""We use no more of a peer's window."""
WINDOW_OCTETS = 4
MAKING = (ExchangeType.CREATE_CHILD_SA, ExchangeType.IKE_FOLLOWUP_KE)
"""What makes SAs: whoever answers the last of it has them before the other end does."""


def window_in(notify: NotifyPayload) -> int:
    """What a SET_WINDOW_SIZE says, as far as we use it; 0: it is none."""
    size = int.from_bytes(notify.data, "big")
    return min(size, WINDOW_MAX) if len(notify.data) == WINDOW_OCTETS else 0


class Outstanding(msgspec.Struct):
    """A request of ours that waits for its response."""

    data: bytes
    exchange: int
    message_id: int
    deadline_s: float
    interval_s: float
    sent: int = 1
    refused: bool = False
    """TICKET_NACK came: only the wait for a genuine answer is left."""
    last: str | None = None
    """A Delete of the IKE SA: why."""
    payloads: tuple[Payload, ...] = ()
    """What it holds, if it went in fragments that might be too large."""


class Requests(msgspec.Struct, eq=False):
    """See the module."""

    policy: RetransmitPolicy
    next_id: int = 0
    """The message ID of our next protected request."""
    outstanding: Outstanding | None = None
    """The one that may change the SA."""
    beside: tuple[Outstanding, ...] = ()
    """The others, oldest first."""

    def sent(
        self, data: bytes, exchange: int, message_id: int, boot_s: float, *, beside: bool = False
    ) -> Outstanding:
        """`data` leaves now, for the first time, and is outstanding from here on."""
        interval_s = self.policy.initial_s
        asked = Outstanding(data, exchange, message_id, boot_s + interval_s, interval_s)
        if beside:
            self.beside = (*self.beside, asked)
        else:
            self.outstanding = asked
        return asked

    def under_way(self) -> tuple[Outstanding, ...]:
        """All that wait for a response."""
        return self.beside if self.outstanding is None else (self.outstanding, *self.beside)

    @property
    def makes(self) -> bool:
        """May the peer have SAs by now of which only the answer that we wait for tells?"""
        return self.outstanding is not None and self.outstanding.exchange in MAKING

    def has_room(self, window: int) -> bool:
        """May one more leave? Not before all up to `window` before it are answered."""
        if self.outstanding is None and not self.beside:
            return True
        return self.next_id - min([one.message_id for one in self.under_way()]) < window

    def is_free(self, window: int) -> bool:
        """May one leave that may change the SA?"""
        return self.outstanding is None and self.has_room(window)

    def answers(self, exchange: int, message_id: int) -> Outstanding | None:
        """The outstanding request that a response of that kind and ID is for."""
        for asked in self.under_way():
            if (message_id, exchange) == (asked.message_id, asked.exchange):
                return asked
        return None

    def over(self, asked: Outstanding) -> None:
        """It is answered."""
        if asked is self.outstanding:
            self.outstanding = None
        else:
            self.beside = tuple([other for other in self.beside if other is not asked])

    def clear(self) -> None:
        """Nothing is waited for any more."""
        self.outstanding, self.beside = None, ()

    def again(self, asked: Outstanding, boot_s: float) -> bool:
        """May `asked` be sent once more? Then its next deadline is set; False: give it up."""
        if asked.sent >= self.policy.tries:
            return False
        asked.sent += 1
        asked.interval_s *= self.policy.factor
        asked.deadline_s = boot_s + asked.interval_s
        return True

    def anew(self, asked: Outstanding, data: bytes, boot_s: float) -> None:
        """`asked` leaves in other octets from here on, as if for the first time."""
        asked.data, asked.sent, asked.payloads = data, 1, ()
        asked.interval_s = self.policy.initial_s
        asked.deadline_s = boot_s + asked.interval_s
