"""UDP sockets on the event loop: drained per wake-up, answered from where the request arrived.

Rules: this is the only file of the process that opens a socket for IKE. A wake-up takes up to
`DRAIN_MAX` datagrams, so that a storm costs few trips through the loop; what the kernel can't take
is dropped and counted, for the peer repeats what it needs.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol

from proto.ike.effects import Address, Datagram, Path

DRAIN_MAX = 64
DATAGRAM_MAX = 65_535
BUFFER_OCTETS = 4 << 20
"""Asked for on both sides: a failover is a storm, and the kernel's default holds 200 datagrams."""

Receiver = Callable[[bytes, Path], None]


class Sockets(Protocol):
    """The datagram seam. Implementers: `UdpSockets`, `tests.sim.net`."""

    def send(self, datagram: Datagram) -> None:
        """Send from `path.local` to `path.remote`, or drop."""
        ...

    def close(self) -> None:
        """Stop receiving."""
        ...


class UdpSockets:
    """One bound socket per local address."""

    def __init__(self, addresses: tuple[Address, ...], receiver: Receiver) -> None:
        """Bind them all; port 0 takes a free one. Raises OSError naming the address."""
        self._receiver = receiver
        self._sockets: dict[Address, socket.socket] = {}
        self.send_failed = 0
        """Datagrams that the kernel didn't take."""
        for host, port in addresses:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            sock = socket.socket(family, socket.SOCK_DGRAM)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_OCTETS)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_OCTETS)
            try:
                sock.bind((host, port))
            except OSError as error:
                sock.close()
                raise OSError(error.errno, error.strerror, f"{host}:{port}") from None
            self._sockets[host, sock.getsockname()[1]] = sock

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where they are bound."""
        return tuple(self._sockets)

    def start(self) -> None:
        """Begin to receive on the running loop."""
        loop = asyncio.get_running_loop()
        for local, sock in self._sockets.items():
            loop.add_reader(sock, self._drain, sock, local)

    def send(self, datagram: Datagram) -> None:
        """Send one datagram; a full buffer or an unreachable peer drops it."""
        path = datagram.path
        sock = self._sockets.get(path.local)
        if sock is None:
            self.send_failed += 1
            return
        try:
            sock.sendto(datagram.data, path.remote)
        except OSError:
            self.send_failed += 1

    def close(self) -> None:
        """Stop receiving and give the ports back."""
        loop = asyncio.get_running_loop()
        for sock in self._sockets.values():
            loop.remove_reader(sock)
            sock.close()
        self._sockets.clear()

    def _drain(self, sock: socket.socket, local: Address) -> None:
        receive = self._receiver
        for _ in range(DRAIN_MAX):
            try:
                data, remote = sock.recvfrom(DATAGRAM_MAX)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # an ICMP error of an earlier send: says nothing (RFC 7296 2.4)
            receive(data, Path(local, remote[:2]))
