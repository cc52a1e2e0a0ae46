"""Our own requests of one IKE SA: one is outstanding at a time, repeated until it is answered or
given up.

Rules: the window is 1 until the peer says otherwise, and we never use more (RFC 7296 2.3). Repeats
are the same octets, after growing pauses (RFC 7296 2.1).
"""

import msgspec

from proto.ike.core import RetransmitPolicy, Step
from proto.ike.payloads import Payload


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
    last: Step | None = None
    """A Delete: what is done once it is answered, or isn't."""
    payloads: tuple[Payload, ...] = ()
    """What it holds, if it went in fragments that might be too large."""


class Requests:
    """See the module. `next_id` is the message ID of our next protected request."""

    __slots__ = ("next_id", "outstanding", "policy")

    def __init__(self, policy: RetransmitPolicy) -> None:
        self.next_id = 0
        self.outstanding: Outstanding | None = None
        self.policy = policy

    def sent(self, data: bytes, exchange: int, message_id: int, boot_s: float) -> None:
        """`data` leaves now, for the first time, and is the one outstanding from here on."""
        interval_s = self.policy.initial_s
        self.outstanding = Outstanding(data, exchange, message_id, boot_s + interval_s, interval_s)

    def answers(self, exchange: int, message_id: int) -> Outstanding | None:
        """The outstanding request that a response of that kind and ID is for."""
        asked = self.outstanding
        if asked is None or (message_id, exchange) != (asked.message_id, asked.exchange):
            return None
        return asked

    def again(self, asked: Outstanding, boot_s: float) -> bool:
        """May `asked` be sent once more? Then its next deadline is set; False: give it up."""
        if asked.sent >= self.policy.tries:
            return False
        asked.sent += 1
        asked.interval_s *= self.policy.factor
        asked.deadline_s = boot_s + asked.interval_s
        return True
