"""UDP between simulated hosts: late, lost, twice, out of order, cut; all from the seed.

Rules: datagrams are octets and addresses, nothing else crosses. A datagram for an address where
nobody listens vanishes, as on the internet; one under way arrives whatever becomes of its sender.
Faults are set per direction between two hosts.
"""

import contextvars
from collections.abc import Callable

import msgspec

from proto.ike.effects import Address, Datagram, Path
from proto.ike.nat import KEEPALIVE
from tests.sim.loop import SimLoop
from tests.sim.nat import Nat
from tests.sim.seams import SeededRng
from tests.sim.trace import Trace


class Weather(msgspec.Struct, frozen=True):
    """How one direction between two hosts behaves. Shares are of 1; times in seconds."""

    latency_s: float = 0.005
    jitter_s: float = 0.001
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    """This share is held back by `reorder_s` and so overtaken."""
    reorder_s: float = 0.05
    mtu: int = 1472
    """Longer datagrams are dropped: nobody reassembles IP fragments here."""


class PacketNet:
    """See the module."""

    def __init__(self, loop: SimLoop, rng: SeededRng, trace: Trace, weather: Weather) -> None:
        self._loop = loop
        self._random = rng.random
        self._trace = trace
        self.weather = weather
        self._of_link: dict[tuple[str, str], Weather] = {}
        self._cut: dict[tuple[str, str], None] = {}
        self._behind: dict[str, Nat] = {}
        self._outer: dict[str, Nat] = {}
        self._bound: dict[Address, tuple[Callable[[bytes, Path], None], contextvars.Context]] = {}
        self._context = contextvars.copy_context()
        self.observers: list[Callable[[bytes, Path], None]] = []
        """Told of every datagram that is sent, lost ones included."""
        self.on_injected: list[Callable[[bytes, Path], None]] = []
        """Told of every datagram that somebody on the way puts there."""

    def bind(self, address: Address, on_datagram: Callable[[bytes, Path], None]) -> None:
        """Deliver what is sent to `address` to `on_datagram`, in the process that calls this. One
        listener an address.
        """
        if address in self._bound:
            raise OSError(f"address already in use: {address}")
        self._bound[address] = (on_datagram, contextvars.copy_context())

    def unbind(self, address: Address) -> None:
        """Nobody listens there any more; what is under way to it vanishes."""
        self._bound.pop(address, None)

    def set_weather(self, source: str, destination: str, weather: Weather) -> None:
        """From now on datagrams from host `source` to host `destination` fare like this."""
        self._of_link[source, destination] = weather

    def cut(self, source: str, destination: str, *, both: bool = True) -> None:
        """Nothing passes from one host to the other (`both`: nor back)."""
        self._cut[source, destination] = None
        if both:
            self._cut[destination, source] = None

    def put_behind(self, nat: Nat, host: str) -> None:
        """From now on what `host` sends and gets passes through `nat`."""
        self._behind[host] = nat
        self._outer[nat.outer] = nat

    def heal(self) -> None:
        """Every cut is mended."""
        self._cut.clear()

    def send(self, data: bytes, path: Path) -> None:
        """Put one datagram on the way from `path.local` to `path.remote`."""
        link = (path.local[0], path.remote[0])
        weather = self._of_link.get(link, self.weather)
        fate = self._fate(link, weather, len(data))
        self._trace.event(fate, *path.local, *path.remote, data)
        for observer in self.observers:
            observer(data, path)
        nat = self._behind.get(path.local[0])
        if nat is not None:
            path = Path(nat.outside(path.local), path.remote)
        if fate == "sent":
            self._deliver_later(data, path, weather)
        elif fate == "sent twice":
            self._deliver_later(data, path, weather)
            self._deliver_later(data, path, weather)

    def inject(self, data: bytes, path: Path) -> None:
        """Somebody on the way puts octets of his own there: `path.local` is what he pretends."""
        self._trace.event("injected", *path.local, *path.remote, data)
        for listener in self.on_injected:
            listener(data, path)
        self._deliver_later(data, path, self.weather)

    def _fate(self, link: tuple[str, str], weather: Weather, size: int) -> str:
        lost = self._random.random() < weather.loss
        twice = self._random.random() < weather.duplicate
        if link in self._cut:
            return "cut off"
        if size > weather.mtu:
            return "too long"
        if lost:
            return "lost"
        return "sent twice" if twice else "sent"

    def _deliver_later(self, data: bytes, path: Path, weather: Weather) -> None:
        delay_s = weather.latency_s + self._random.random() * weather.jitter_s
        if self._random.random() < weather.reorder:
            delay_s += weather.reorder_s
        self._loop.call_later(delay_s, self._deliver, data, path, context=self._context)

    def _deliver(self, data: bytes, path: Path) -> None:
        nat = self._outer.get(path.remote[0])
        inner = path.remote if nat is None else nat.inside(path.remote)
        bound = None if inner is None else self._bound.get(inner)
        if inner is None or bound is None or (path.local[0], inner[0]) in self._cut:
            self._trace.event("nobody there", *path.remote)
            return
        path = Path(path.local, inner)
        self._trace.event("arrived", *path.local, *path.remote, len(data))
        self._loop.run_in(bound[1], self._hand_over, data, path, bound[0])

    def _hand_over(
        self, data: bytes, path: Path, on_datagram: Callable[[bytes, Path], None]
    ) -> None:
        bound = self._bound.get(path.remote)
        if bound is not None and bound[0] == on_datagram and data != KEEPALIVE:
            # else it was closed meanwhile; a keepalive no socket hands over
            on_datagram(data, Path(local=path.remote, remote=path.local))


class SimSockets:
    """The datagram seam of one node over a PacketNet."""

    def __init__(
        self,
        net: PacketNet,
        addresses: tuple[Address, ...],
        spoke: Callable[[bytes], None] = lambda _data: None,
    ) -> None:
        """`spoke(octets)` is told of each datagram before it leaves."""
        self._net = net
        self.addresses = addresses
        self._spoke = spoke
        self._closed = False
        self.unsent = 0

    def on_datagram(self, handler: Callable[[bytes, Path], None]) -> None:
        """Open the sockets: whatever arrives goes to `handler(data, path)`."""
        self._handler = handler
        for address in self.addresses:
            self._net.bind(address, handler)

    def take_over(self, address: Address) -> None:
        """Listen at one more address, which was another host's."""
        self._net.bind(address, self._handler)
        self.addresses += (address,)

    def move(self, addresses: tuple[Address, ...]) -> None:
        """Listen there, and nowhere else."""
        for address in self.addresses:
            self._net.unbind(address)
        self.addresses = addresses
        for address in addresses:
            self._net.bind(address, self._handler)

    def send(self, datagram: Datagram) -> None:
        """Send one datagram along its path, from an address of ours."""
        if not self._closed and datagram.path.local in self.addresses:
            self._spoke(datagram.data)
            self._net.send(datagram.data, datagram.path)

    def has(self, local: Address) -> bool:
        """Is that an address of ours?"""
        return local in self.addresses

    def close(self) -> None:
        """Close the sockets: nothing comes in, nothing goes out."""
        self._closed = True
        for address in self.addresses:
            self._net.unbind(address)
