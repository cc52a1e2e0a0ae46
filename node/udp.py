"""UDP sockets on the event loop: drained per wake-up, answered from where the request arrived.

Rules: this is the only file of the process that opens a socket for IKE. A wake-up takes up to
`DRAIN_MAX` datagrams, so that a storm costs few trips through the loop; what the kernel can't take
is dropped and counted, for the peer repeats what it needs. At a port for NAT traversal (4500) IKE
has four octets of zeros in front, which are seen here alone; without them it is ESP, and a single
0xFF keeps a NAT's mapping and is nothing (RFC 7296 2.23, RFC 3948 2). A socket of the address
0.0.0.0 or :: tells which address of the machine a datagram was for, and answers from that.
"""

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Callable
from typing import Protocol

import msgspec

from proto.ike.effects import Address, Datagram, Path
from proto.ike.nat import KEEPALIVE

DRAIN_MAX = 64
DATAGRAM_MAX = 65_535
BUFFER_OCTETS = 4 << 20
"""Asked for on both sides: a failover is a storm, and the kernel's default holds 200 datagrams."""
NON_ESP_MARKER = bytes(4)
MARKER_LEN = len(NON_ESP_MARKER)
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104  what an operator may well have meant

IP_PKTINFO = 8
"""Linux's, which the socket module lacks: `interface 4 | local address 4 | address sent to 4`."""
_IN_PKTINFO = struct.Struct("@i4s4s")
_IN6_PKTINFO = struct.Struct("@16si")
_ANCILLARY = socket.CMSG_SPACE(max(_IN_PKTINFO.size, _IN6_PKTINFO.size))

Receiver = Callable[[bytes, Path], None]


class Sockets(Protocol):
    """The datagram seam. Implementers: `UdpSockets`, `tests.sim.net`."""

    unsent: int
    """Datagrams that the kernel didn't take."""

    def send(self, datagram: Datagram) -> None:
        """Send from `path.local` to `path.remote`, or drop."""
        ...

    def has(self, local: Address) -> bool:
        """Can we send from there?"""
        ...

    def close(self) -> None:
        """Stop receiving."""
        ...


class Listen(msgspec.Struct, frozen=True):
    """Where to bind; port 0 takes a free one."""

    ike: tuple[Address, ...]
    nat: tuple[Address, ...] = ()
    """Ports for NAT traversal."""


class _Port(msgspec.Struct, frozen=True):
    """One bound socket."""

    sock: socket.socket
    bound: Address
    nat: bool

    @property
    def wildcard(self) -> bool:
        return self.bound[0] in WILDCARDS


def nothing(_data: bytes, _path: Path) -> None:
    """Takes ESP where no data plane is."""


class UdpSockets:
    """One bound socket per local address."""

    def __init__(self, listen: Listen, receiver: Receiver, esp: Receiver = nothing) -> None:
        """Bind them all. `esp` is given what comes to a port for NAT traversal and isn't IKE.
        Raises OSError naming the address.
        """
        self._receiver = receiver
        self._esp = esp
        self._ports: dict[Address, _Port] = {}
        """By the local address of a path, those met at a wildcard too."""
        self.unsent = 0
        for nat, addresses in ((False, listen.ike), (True, listen.nat)):
            for address in addresses:
                port = _bind(address, nat)
                self._ports[port.bound] = port
        self._bound = tuple(self._ports.values())

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where they are bound, ports for NAT traversal last."""
        return tuple(port.bound for port in self._bound)

    def start(self) -> None:
        """Begin to receive on the running loop."""
        loop = asyncio.get_running_loop()
        for port in self._bound:
            drain = self._drain_any if port.wildcard else self._drain
            loop.add_reader(port.sock, drain, port)

    def send(self, datagram: Datagram) -> None:
        """Send one datagram; a full buffer or an unreachable peer drops it."""
        path, data = datagram.path, datagram.data
        port = self._ports.get(path.local) or self._meet(path.local)
        if port is None:
            self.unsent += 1
            return
        if port.nat and data != KEEPALIVE:
            data = NON_ESP_MARKER + data
        try:
            if port.wildcard and path.local[0] not in WILDCARDS:
                port.sock.sendmsg((data,), _from(path.local[0]), 0, path.remote)
            else:
                port.sock.sendto(data, path.remote)
        except OSError:
            self.unsent += 1

    def close(self) -> None:
        """Stop receiving and give the ports back."""
        loop = asyncio.get_running_loop()
        for port in self._bound:
            loop.remove_reader(port.sock)
            port.sock.close()
        self._bound = ()
        self._ports.clear()

    def has(self, local: Address) -> bool:
        """Are we bound to that address, or to its port at an address of this machine?"""
        port = self._ports.get(local) or self._meet(local)
        if port is None or not port.wildcard:
            return port is not None
        with socket.socket(family_of(local[0]), socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((local[0], 0))
            except OSError:
                return False
        return True

    def origin(self, local: Address, remote: Address) -> Address:
        """From which address a datagram to `remote` leaves the socket bound to `local`. Raises
        OSError: there is no way there.
        """
        if local[0] not in WILDCARDS:
            return local
        with socket.socket(family_of(remote[0]), socket.SOCK_DGRAM) as probe:
            probe.connect(remote)  # nothing is sent: the kernel looks the route up
            return probe.getsockname()[0], local[1]

    def _meet(self, local: Address) -> _Port | None:
        """The wildcard's socket of that port, for an address of this machine."""
        return self._ports.get((WILDCARDS[":" in local[0]], local[1]))

    def _drain(self, port: _Port) -> None:
        sock, local = port.sock, port.bound
        receive = self._unwrap if port.nat else self._receiver
        for _ in range(DRAIN_MAX):
            try:
                data, remote = sock.recvfrom(DATAGRAM_MAX)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # an ICMP error of an earlier send: says nothing (RFC 7296 2.4)
            receive(data, Path(local, remote[:2]))

    def _drain_any(self, port: _Port) -> None:
        """The same, at a wildcard: the kernel tells for which address a datagram was."""
        sock, number = port.sock, port.bound[1]
        receive = self._unwrap if port.nat else self._receiver
        for _ in range(DRAIN_MAX):
            try:
                data, ancillary, _flags, remote = sock.recvmsg(DATAGRAM_MAX, _ANCILLARY)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue
            host = _destination(ancillary)
            local = port.bound if host is None else (host, number)
            receive(data, Path(local, remote[:2]))

    def _unwrap(self, data: bytes, path: Path) -> None:
        """What came to a port for NAT traversal."""
        if data[:MARKER_LEN] == NON_ESP_MARKER:
            self._receiver(data[MARKER_LEN:], path)
        elif len(data) > MARKER_LEN:
            self._esp(data, path)
        # anything shorter is a keepalive, or nothing


def family_of(host: str) -> socket.AddressFamily:
    """Of an address in text."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _bind(address: Address, nat: bool) -> _Port:
    host, number = address
    sock = socket.socket(family_of(host), socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_OCTETS)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_OCTETS)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # 0.0.0.0 has its own
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, int(host in WILDCARDS))
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, int(host in WILDCARDS))
    try:
        sock.bind((host, number))
    except OSError as error:
        sock.close()
        raise OSError(error.errno, error.strerror, f"{host}:{number}") from None
    return _Port(sock, (host, sock.getsockname()[1]), nat)


def _destination(ancillary: list[tuple[int, int, bytes]]) -> str | None:
    """The address in a datagram's header, as the kernel reports it."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
            return socket.inet_ntop(socket.AF_INET, _IN_PKTINFO.unpack(data)[2])
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            return socket.inet_ntop(socket.AF_INET6, _IN6_PKTINFO.unpack(data)[0])
    return None


def _from(host: str) -> list[tuple[int, int, bytes]]:
    """Ancillary data that has a datagram leave from `host`."""
    packed = ipaddress.ip_address(host).packed
    if ":" in host:
        return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _IN6_PKTINFO.pack(packed, 0))]
    return [(socket.IPPROTO_IP, IP_PKTINFO, _IN_PKTINFO.pack(0, packed, bytes(4)))]
