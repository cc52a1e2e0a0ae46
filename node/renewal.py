"""When a client has to authenticate anew, because its gateway wants it (RFC 4478 2).

Rules: the new IKE SA is set up beside the old one, well before that one's time is over, and takes
over when it stands; what fails is tried again. What a gateway says last counts.
"""

import asyncio
from collections.abc import Callable

AT_SHARE = 0.9
"""Of the lifetime: the rest is for a handshake in which somebody types a password."""
AGAIN_S = 5.0


class Renewal:
    """See the module."""

    def __init__(self, begin: Callable[[], bytes]) -> None:
        """`begin` starts a full handshake: our SPI of its SA, or empty where it can't be now."""
        self._begin = begin
        self._timer: asyncio.TimerHandle | None = None
        self.spi = b""
        """Ours of the SA that is being set up; empty: none is."""

    def due_in(self, lifetime_s: float) -> None:
        """The authentication ends in so many seconds."""
        self._schedule(AT_SHARE * lifetime_s)

    def again(self) -> None:
        """It failed."""
        self.spi = b""
        self._schedule(AGAIN_S)

    def cancel(self) -> bytes:
        """It isn't wanted any more; our SPI of the SA that was being set up, or empty."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        spi, self.spi = self.spi, b""
        return spi

    def _schedule(self, delay_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._start)

    def _start(self) -> None:
        self._timer = None
        if self.spi:
            return
        self.spi = self._begin()
        if not self.spi:
            self._schedule(AGAIN_S)
