"""Reads the record of a drill while it is being written, and knows at any time how things stand.

Rules: every file of the folder is read as it grows; half a line waits for its rest. What is known
here drives the drill on and is shown; the verdict is computed later, from all events again.
"""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from cluster.drill.events import Event, decode_lines

READ_OCTETS_MAX = 4 << 20
"""Read from one file in one go."""


class _Tail:
    """A file that grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""

    def lines(self) -> list[bytes]:
        """The whole lines that were added since."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            octets = file.read(READ_OCTETS_MAX)
        self._offset += len(octets)
        *whole, self._rest = (self._rest + octets).split(b"\n")
        return whole


class ClientNow(msgspec.Struct):
    """How one client stands."""

    gateway: str = ""
    spi_r: str = ""
    established_t: float = 0.0
    answered_t: float = 0.0
    how: str = ""

    @property
    def in_service(self) -> bool:
        """Established, and answered since."""
        return bool(self.gateway) and self.answered_t >= self.established_t


class GatewayNow(msgspec.Struct):
    """How one gateway stands."""

    started: int = 0
    shards: int = 0


class Recorder:
    """All events so far, and how things stand after them."""

    def __init__(self, folder: Path, names: dict[str, str]) -> None:
        """`folder`: of the *.jsonl files. `names`: IKE address → gateway."""
        self._folder = folder
        self._names = names
        self._tails: dict[Path, _Tail] = {}
        self.events: list[Event] = []
        self.unreadable = 0
        self.clients: dict[str, ClientNow] = {}
        self.gateways = {name: GatewayNow() for name in names.values()}

    def poll(self) -> list[Event]:
        """Read what was added: the new events, each file's in its order."""
        new: list[Event] = []
        for path in sorted(self._folder.glob("*.jsonl")):
            events, unreadable = decode_lines(self._tails.setdefault(path, _Tail(path)).lines())
            new += events
            self.unreadable += unreadable
        for event in new:
            self._take(event)
        self.events += new
        return new

    def per_gateway(self) -> dict[str, int]:
        """Sessions in service at each gateway, as their clients last saw it."""
        count = dict.fromkeys(self.gateways, 0)
        for client in self.clients.values():
            if client.in_service:
                count[client.gateway] = count.get(client.gateway, 0) + 1
        return count

    def in_service(self) -> int:
        """Clients in service."""
        return sum(client.in_service for client in self.clients.values())

    def since(self, t: float, kind: str) -> Iterable[Event]:
        """Events of `kind` recorded after `t`."""
        return (event for event in self.events if event.kind == kind and event.t > t)

    def _take(self, event: Event) -> None:
        if event.who in self.gateways:
            self._take_gateway(self.gateways[event.who], event)
        elif event.kind == "established":
            client = self.clients.setdefault(event.who, ClientNow())
            client.gateway = self._names.get(event.gateway, event.gateway)
            client.spi_r = event.spi_r
            client.how = event.how
            client.established_t = event.t
        elif event.kind == "rekeyed" and event.who in self.clients:
            self.clients[event.who].spi_r = event.spi_r
        elif event.kind == "answered" and event.who in self.clients:
            self.clients[event.who].answered_t = event.t
        elif event.kind in ("unanswered", "ended", "closed") and event.who in self.clients:
            self.clients[event.who].gateway = ""

    def _take_gateway(self, gateway: GatewayNow, event: Event) -> None:
        if event.kind == "started":
            gateway.started += 1
            gateway.shards = 0
        elif event.kind == "shards_gained":
            gateway.shards += event.count
        elif event.kind == "shards_lost":
            gateway.shards -= event.count
