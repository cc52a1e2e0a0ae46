"""A client inside the test's own process, whose every datagram is seen.

Rules: it is the production `node.client.Client`; only its socket is watched.
"""

import asyncio
from pathlib import Path
from typing import Any

from node.client import Client
from node.config import load_client
from node.credentials import PskTable
from node.identity import load_psks, parse_address
from node.origins import LocalSocket, Origins
from node.peer import peer_of
from node.seams import OsClock, OsRng
from node.session import MemoryTicket, SessionSettings, Tickets
from node.udp import Receiver, Sockets
from proto.ike.effects import Address, Datagram
from proto.ike.effects import Path as Way
from tests.e2e.cluster import until


class Watched:
    """A socket that keeps what came and went.

    `mute`: nothing leaves or arrives any more. `detour`: what leaves goes there instead.
    """

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.came_from: list[Address] = []
        self.sent: list[Datagram] = []
        self.mute = False
        self.detour: Address | None = None
        self._socket = LocalSocket((("127.0.0.1", 0),))
        self._udp: Sockets | None = None
        self._receiver: Receiver | None = None

    def open(self, receiver: Receiver) -> tuple[Sockets, Origins]:
        """For `Client`."""
        self._receiver = receiver
        self._udp, origins = self._socket.open(self._arrived)
        return self, origins

    def _arrived(self, data: bytes, way: Way) -> None:
        if self._receiver is not None and not self.mute:
            self.received.append(data)
            self.came_from.append(way.remote)
            self._receiver(data, way)

    def send(self, datagram: Datagram) -> None:
        """Send, and keep it."""
        if self._udp is not None and not self.mute:
            self.sent.append(datagram)
            way = datagram.path
            self._udp.send(Datagram(datagram.data, Way(way.local, self.detour or way.remote)))

    def repeat(self, data: bytes, remote: Address) -> None:
        """Send octets of one's own from the client's port."""
        if self._udp is not None and self._socket.udp is not None:
            self._udp.send(Datagram(data, Way(self._socket.udp.addresses[0], remote)))

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()


class LocalClient:
    """One session. Make it where a loop runs; close it."""

    def __init__(self, file: Path, tickets: Tickets | None = None) -> None:
        config = load_client(file).client
        self.tickets = tickets or MemoryTicket()
        self.wire = Watched()
        self.reports: list[tuple[str, dict[str, Any]]] = []
        self._client = Client(
            peer_of(config, PskTable(load_psks(config.psk_file))),
            SessionSettings(
                tuple(parse_address(text) for text in config.gateways), config.liveness_interval_s
            ),
            tickets=self.tickets,
            report=lambda kind, **fields: self.reports.append((kind, fields)),
            clock=OsClock(),
            rng=OsRng(),
            open_sockets=self.wire.open,
        )
        self.session = self._client.session

    def count(self, kind: str, **fields: Any) -> int:
        """How many such reports there were."""
        return len(self.of(kind, **fields))

    def of(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        """The reports of a kind that have these fields."""
        return [
            found
            for one, found in self.reports
            if one == kind and all(found.get(k) == v for k, v in fields.items())
        ]

    async def told(self, kind: str, more_than: int = 0, **fields: Any) -> dict[str, Any]:
        """The newest such report, once there are more than `more_than`."""
        await until(
            lambda: self.count(kind, **fields) > more_than, f"{kind} {fields} in {self.reports}"
        )
        return self.of(kind, **fields)[-1]

    async def connected(self) -> dict[str, Any]:
        """Start, and wait until the SA is up and a ticket at hand; the report of it."""
        self.session.start()
        found = await self.told("established")
        await self.told("ticket")
        return found

    def close(self) -> None:
        """Vanish without a word, as a killed process does."""
        self._client.stop()
        self.wire.close()

    async def __aenter__(self) -> "LocalClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        await asyncio.sleep(0)
