"""What is said to datagrams that belong to no SA: a hint, unprotected, and not too often (RFC 7296
1.5, 2.5, 2.21.4).

Rules: an answer to a request alone, with what the request had copied; nothing is kept of it. That
nobody else has the SA is for whoever drives the core to know. Nobody who gets such a hint may
believe it (RFC 7296 2.4).
"""

from proto.ike.effects import Datagram, Now, Outcome, Path, ignored
from proto.ike.enums import FLAG_INITIATOR, FLAG_RESPONSE, ExchangeType, NotifyType
from proto.ike.message import Header, encode_clear
from proto.ike.payloads import NotifyPayload

A_SECOND = 10.0
AT_ONCE = 20.0
"""So many hints at most: they are no way to have us send much elsewhere."""
_NO_SPI = bytes(8)


class Hints:
    """See the module. A bucket that fills with time."""

    __slots__ = ("_left", "_looked_s")

    def __init__(self) -> None:
        self._left = AT_ONCE
        self._looked_s = 0.0

    def answer(self, notify: NotifyType, header: Header, path: Path, now: Now) -> Outcome:
        """INVALID_IKE_SPI or INVALID_MAJOR_VERSION, for a request."""
        if header.is_response or not self._may(now.boot_s):
            return ignored("unhinted")
        flags = FLAG_RESPONSE if header.from_initiator else FLAG_RESPONSE | FLAG_INITIATOR
        reply = encode_clear(
            header.spi_i, header.spi_r, header.exchange, flags, header.message_id,
            (NotifyPayload(notify),),
        )  # fmt: skip
        return Outcome(send=(Datagram(reply, path),))

    def unknown_esp(self, spi: bytes, path: Path, now: Now) -> Outcome:
        """INVALID_SPI for a packet under an ESP SPI that is nobody's; a message of its own, that
        isn't answered (RFC 7296 1.5).
        """
        if not self._may(now.boot_s):
            return ignored("unhinted")
        told = (NotifyPayload(NotifyType.INVALID_SPI, spi),)
        data = encode_clear(_NO_SPI, _NO_SPI, ExchangeType.INFORMATIONAL, FLAG_INITIATOR, 0, told)
        return Outcome(send=(Datagram(data, path),))

    def _may(self, boot_s: float) -> bool:
        self._left = min(AT_ONCE, self._left + (boot_s - self._looked_s) * A_SECOND)
        self._looked_s = boot_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
