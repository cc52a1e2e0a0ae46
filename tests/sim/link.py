"""Frames between simulated members, through the same encoding as between real ones.

Rules: `PeerLink`'s contract: `send` never waits, frames of a pair arrive in order or not at all,
nothing is promised. Every frame is encoded and decoded: what can't be encoded fails here too. What
is under way arrives whatever becomes of its sender.
"""

import contextvars
from collections.abc import Callable

from cluster.frames import decode_frame, encode_frame
from cluster.link import Frame
from tests.sim.loop import SimLoop
from tests.sim.seams import SeededRng
from tests.sim.trace import Trace

FRAME_OCTETS_MAX = 1 << 20
"""A longer one is refused, as by a link over gRPC."""
IN_FLIGHT_MAX = 1024
"""Frames under way from one member to another; more are dropped, and `send` says so."""

SPACING_S = 1e-6
"""Between two frames of a pair: the loop's timers of one instant have no order."""


class LinkNet:
    """What joins the members of one simulated cluster."""

    def __init__(
        self, loop: SimLoop, rng: SeededRng, trace: Trace, latency_s: float = 0.001
    ) -> None:
        self.loop = loop
        self.trace = trace
        self.latency_s = latency_s
        self.loss = 0.0
        self._random = rng.random
        self.observers: list[Callable[[str, Frame], None]] = []
        """Told (sender, frame) of every frame that is sent, lost ones included."""
        self.dialects: dict[str, Callable[[bytes], list[bytes]]] = {}
        """Sender → what its frames are on the wire, if it is of another release."""
        self._members: dict[str, SimLink] = {}
        self._cut: dict[tuple[str, str], None] = {}
        self._in_flight: dict[tuple[str, str], int] = {}
        self._last_arrival_s: dict[tuple[str, str], float] = {}
        self._context = contextvars.copy_context()
        self._encoded: tuple[Frame | None, bytes] = None, b""
        """The last frame, as it is on the wire: many go to all."""

    def join(self, member: str) -> "SimLink":
        """The link of `member`, in the process that calls this; a link that it had before (in an
        earlier life) is dead.
        """
        link = SimLink(self, member)
        self._members[member] = link
        return link

    def leave(self, link: "SimLink") -> None:
        """`link` hears nothing any more."""
        if self._members.get(link.member) is link:
            del self._members[link.member]

    def cut(self, a: str, b: str, *, both: bool = True) -> None:
        """No frame passes from `a` to `b` (`both`: nor back)."""
        self._cut[a, b] = None
        if both:
            self._cut[b, a] = None

    def joined(self, a: str, b: str) -> bool:
        """Whether nothing is cut between members `a` and `b`, either way."""
        return (a, b) not in self._cut and (b, a) not in self._cut

    def heal(self) -> None:
        """Every cut is mended."""
        self._cut.clear()

    def carry(self, sender: str, receiver: str, frame: Frame) -> bool:
        """Put `frame` on its way; False if there is no room or nobody to carry it to."""
        pair = (sender, receiver)
        if receiver not in self._members or self._in_flight.get(pair, 0) >= IN_FLIGHT_MAX:
            self.trace.event("frame dropped", sender, receiver)
            return False
        if self._encoded[0] is not frame:
            self._encoded = frame, encode_frame(frame)
        data = self._encoded[1]
        if len(data) > FRAME_OCTETS_MAX:
            self.trace.event("frame dropped", sender, receiver)
            return False
        self.trace.event("frame", sender, receiver, data)
        for observer in self.observers:
            observer(sender, frame)
        if pair in self._cut or self._random.random() < self.loss:
            return True  # a sender doesn't learn of it
        due_s = max(
            self.loop.now_s + self.latency_s, self._last_arrival_s.get(pair, 0.0) + SPACING_S
        )
        self._last_arrival_s[pair] = due_s
        self._in_flight[pair] = self._in_flight.get(pair, 0) + 1
        self.loop.call_at(due_s, self._arrive, pair, data, context=self._context)
        return True

    def _arrive(self, pair: tuple[str, str], data: bytes) -> None:
        self._in_flight[pair] -= 1
        receiver = self._members.get(pair[1])
        if receiver is None or pair in self._cut:
            return
        dialect = self.dialects.get(pair[0])
        for octets in (data,) if dialect is None else dialect(data):
            frame = decode_frame(octets)
            if frame is not None:
                self.loop.run_in(receiver.context, receiver.hear, pair[0], frame)
            else:
                assert dialect is not None, "a frame that its sender's own release can't read"


class SimLink:
    """One member's end; implements `cluster.link.PeerLink`."""

    def __init__(self, net: LinkNet, member: str) -> None:
        self.member = member
        self.context = contextvars.copy_context()
        self._net = net
        self._peers: dict[str, str] = {}
        self._handler: Callable[[str, Frame], None] | None = None
        self._closed = False

    def send(self, member: str, frame: Frame) -> bool:
        """See `PeerLink.send`."""
        if self._closed or member not in self._peers:
            return False
        return self._net.carry(self.member, member, frame)

    def on_frame(self, handler: Callable[[str, Frame], None]) -> None:
        """See `PeerLink.on_frame`."""
        self._handler = handler

    def set_peers(self, addresses: dict[str, str]) -> None:
        """See `PeerLink.set_peers`; the addresses are not used here, names are enough."""
        self._peers = dict(addresses)

    def hear(self, sender: str, frame: Frame) -> None:
        """A frame has arrived."""
        if self._handler is not None and not self._closed:
            self._handler(sender, frame)

    def silence(self) -> None:
        """Nothing is said and nothing heard from now on."""
        self._closed = True

    async def close(self) -> None:
        """See `PeerLink.close`."""
        self._closed = True
        self._net.leave(self)
