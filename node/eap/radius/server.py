"""One RADIUS server: requests out, repeated until their reply comes or the time is over.

Rules: a socket of its own for every 256 requests under way, bound to the server's address, so that
the kernel drops what comes from elsewhere; no more than `PORTS_MAX` of them. What doesn't verify
is counted and otherwise as if it hadn't come. A repeat is the same packet (RFC 2865 2.5, RFC 5080
2.2.1).
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Protocol

import msgspec

from cluster.seams import Clock, Rng
from node.eap.radius.packet import (
    AUTHENTICATOR_OCTETS,
    PACKET_OCTETS_MAX,
    Attributes,
    Reply,
    Request,
)
from node.udp import family_of
from proto.ike.effects import Address
from proto.secret import Secret

IDENTIFIERS = 256
DRAIN_MAX = 64
PORTS_MAX = 8
REPEAT_FIRST_S = 0.5
REPEAT_FACTOR = 2.0
AWAY_S = 30.0
"""How long a server that didn't answer is asked last."""


class Away(Exception):
    """It didn't answer in time."""


class Busy(Exception):
    """More requests are under way than it may have."""


class Port(Protocol):
    """A socket that is bound to one server. Implementer: `_UdpPort`; tests have their own."""

    def send(self, datagram: bytes) -> None:
        """Send, or drop."""
        ...

    def close(self) -> None:
        """Give it back."""
        ...


class Ports(Protocol):
    """Opens ports. Implementer: `UdpPorts`; tests have their own."""

    def open(self, server: Address, receive: Callable[[bytes], None]) -> Port:
        """Raises OSError."""
        ...


class RadiusSettings(msgspec.Struct, frozen=True):
    """One server, as configured."""

    name: str
    address: Address
    secret: Secret
    timeout_s: float


class _Port:
    """One socket and what is under way on it."""

    def __init__(self, ports: Ports, server: Address) -> None:
        """Raises OSError."""
        self.waiting: dict[int, tuple[Request, asyncio.Future[Reply]]] = {}
        self.bad = 0
        self._last = 0
        self._port = ports.open(server, self._receive)
        self.send = self._port.send
        self.close = self._port.close

    def free_identifier(self) -> int:
        """One that no request has; the least recently used comes first."""
        while True:
            self._last = (self._last + 1) % IDENTIFIERS
            if self._last not in self.waiting:
                return self._last

    def _receive(self, datagram: bytes) -> None:
        asked = self.waiting.get(datagram[1]) if len(datagram) > 1 else None
        reply = None if asked is None else asked[0].accept(datagram)
        if asked is None or reply is None:
            self.bad += 1
        elif not asked[1].done():
            asked[1].set_result(reply)


class RadiusServer:
    """See the module."""

    def __init__(self, settings: RadiusSettings, ports: Ports, clock: Clock, rng: Rng) -> None:
        self.settings = settings
        self._open = ports
        self._clock = clock
        self._rng = rng
        self._ports: list[_Port] = []
        self._away_until_s = 0.0
        self.on_change: Callable[[bool], None] = lambda _away: None
        """Told when it becomes known to be away, and when it answers again."""
        self.requests = 0
        self.repeats = 0
        self.timeouts = 0

    @property
    def name(self) -> str:
        """As configured."""
        return self.settings.name

    @property
    def figures(self) -> dict[str, int]:
        """For `node.metrics`."""
        return {
            "requests": self.requests,
            "repeats": self.repeats,
            "timeouts": self.timeouts,
            "bad_replies": self.bad_replies,
        }

    @property
    def bad_replies(self) -> int:
        """Datagrams that weren't a reply to anything, or didn't verify."""
        return sum(port.bad for port in self._ports)

    @property
    def is_away(self) -> bool:
        """It didn't answer lately."""
        return self._clock.boot_s() < self._away_until_s

    async def ask(self, attributes: Attributes, limit_s: float) -> Reply:
        """The verified reply to an Access-Request with `attributes`. Raises Away after its own or
        the given limit, Busy at once.
        """
        port = self._port()
        identifier = port.free_identifier()
        request = Request(
            identifier, self._rng.bytes(AUTHENTICATOR_OCTETS), self.settings.secret, attributes
        )
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        port.waiting[identifier] = (request, future)
        self.requests += 1
        try:
            async with asyncio.timeout(min(limit_s, self.settings.timeout_s)):
                reply = await self._repeat(port, request, future)
        except TimeoutError:
            self.timeouts += 1
            raise self._gone() from None
        finally:
            del port.waiting[identifier]
        if self._away_until_s:
            self._away_until_s = 0.0
            self.on_change(False)
        return reply

    def _gone(self) -> Away:
        if not self._away_until_s:
            self.on_change(True)
        self._away_until_s = self._clock.boot_s() + AWAY_S
        return Away(self.name)

    def close(self) -> None:
        """Give all sockets back; what is under way runs into its limit."""
        for port in self._ports:
            port.close()
        self._ports.clear()

    async def _repeat(
        self, port: _Port, request: Request, future: "asyncio.Future[Reply]"
    ) -> Reply:
        wait_s = REPEAT_FIRST_S
        while True:
            port.send(request.octets)
            done, _ = await asyncio.wait((future,), timeout=wait_s)
            if done:
                return future.result()
            self.repeats += 1
            wait_s *= REPEAT_FACTOR

    def _port(self) -> _Port:
        for port in self._ports:
            if len(port.waiting) < IDENTIFIERS:
                return port
        if len(self._ports) >= PORTS_MAX:
            raise Busy(self.name)
        try:
            opened = _Port(self._open, self.settings.address)
        except OSError:
            raise self._gone() from None
        self._ports.append(opened)
        return opened


class _UdpPort:
    """Implements `Port` on the running loop."""

    def __init__(self, server: Address, receive: Callable[[bytes], None]) -> None:
        """Raises OSError."""
        self._socket = socket.socket(family_of(server[0]), socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._receive = receive
        try:
            self._socket.connect(server)
        except OSError:
            self._socket.close()
            raise
        asyncio.get_running_loop().add_reader(self._socket, self._drain)

    def send(self, datagram: bytes) -> None:
        """See `Port.send`."""
        with contextlib.suppress(OSError):  # an ICMP error of an earlier send, or no room
            self._socket.send(datagram)

    def close(self) -> None:
        """See `Port.close`."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _drain(self) -> None:
        for _ in range(DRAIN_MAX):
            try:
                datagram = self._socket.recv(PACKET_OCTETS_MAX + 1)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # as in `send`
            self._receive(datagram)


class UdpPorts:
    """Implements `Ports`."""

    def open(self, server: Address, receive: Callable[[bytes], None]) -> Port:
        """See `Ports.open`."""
        return _UdpPort(server, receive)
