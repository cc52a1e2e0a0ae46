"""Real sockets on loopback: port 4500's marker, ESP beside it, and wildcards: B1, B35.

RFC 7296 2.23, RFC 3948 2.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from node.udp import MARKER_LEN, NON_ESP_MARKER, Listen, UdpSockets
from proto.ike.effects import Address, Datagram, Path
from proto.ike.nat import KEEPALIVE

WAIT_S = 60.0
ESP = b"\x01\x02\x03\x04" + bytes(20)
both_versions = pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
both_wildcards = pytest.mark.parametrize(
    ("wildcard", "host"), [("0.0.0.0", "127.0.0.2"), ("0.0.0.0", "127.0.0.1"), ("::", "::1")]
)


class Taken:
    """What sockets hand over."""

    def __init__(self) -> None:
        self.ike: asyncio.Queue[tuple[bytes, Path]] = asyncio.Queue()
        self.esp: asyncio.Queue[tuple[bytes, Path]] = asyncio.Queue()

    def take(self, data: bytes, path: Path) -> None:
        """IKE."""
        self.ike.put_nowait((data, path))

    def take_esp(self, data: bytes, path: Path) -> None:
        """Not IKE."""
        self.esp.put_nowait((data, path))

    async def next(self) -> tuple[bytes, Path]:
        """The next datagram of IKE."""
        return await asyncio.wait_for(self.ike.get(), WAIT_S)


@asynccontextmanager
async def opened(host: str) -> AsyncIterator[tuple[UdpSockets, Taken, Address, Address]]:
    """Sockets at `host`; what they take, the address for IKE and that for NAT traversal."""
    taken = Taken()
    sockets = UdpSockets(Listen(((host, 0),), ((host, 0),)), taken.take, taken.take_esp)
    sockets.start()
    yield sockets, taken, *sockets.addresses
    sockets.close()


def stranger(host: str) -> socket.socket:
    """A socket of somebody else's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    sock.settimeout(WAIT_S)
    return sock


@both_versions
async def test_at_the_port_for_nats_ike_has_four_zeros_in_front(host: str) -> None:
    async with opened(host) as (sockets, taken, ike, nat):
        with stranger(host) as other:
            here = other.getsockname()[:2]
            for at, on_the_wire in ((ike, b"message"), (nat, NON_ESP_MARKER + b"message")):
                other.sendto(on_the_wire, at)
                data, path = await taken.next()
                assert (data, path) == (b"message", Path(at, here))
                sockets.send(Datagram(b"answer", path))
                answer, source = other.recvfrom(100)
                assert answer == on_the_wire.replace(b"message", b"answer")
                assert source[:2] == at


async def test_what_has_no_marker_is_esp_and_what_is_short_is_nothing() -> None:
    async with opened("127.0.0.1") as (_sockets, taken, _ike, nat):
        with stranger("127.0.0.1") as other:
            for data in (KEEPALIVE, b"", b"\x01" * MARKER_LEN, bytes(MARKER_LEN - 1), ESP):
                other.sendto(data, nat)
            other.sendto(NON_ESP_MARKER + b"last", nat)
            assert (await taken.next())[0] == b"last"
            assert taken.ike.empty()
            data, path = taken.esp.get_nowait()
            assert (data, path) == (ESP, Path(nat, other.getsockname()))
            assert taken.esp.empty()


async def test_at_the_other_port_nothing_is_taken_off() -> None:
    async with opened("127.0.0.1") as (_sockets, taken, ike, _nat):
        with stranger("127.0.0.1") as other:
            other.sendto(NON_ESP_MARKER + b"x", ike)
            assert (await taken.next())[0] == NON_ESP_MARKER + b"x"


async def test_a_keepalive_is_one_octet_on_the_wire() -> None:
    async with opened("127.0.0.1") as (sockets, _taken, _ike, nat):
        with stranger("127.0.0.1") as other:
            sockets.send(Datagram(KEEPALIVE, Path(nat, other.getsockname())))
            assert other.recv(100) == b"\xff"


@both_wildcards
async def test_at_a_wildcard_the_answer_leaves_from_where_the_request_was_sent_to(
    wildcard: str, host: str
) -> None:
    async with opened(wildcard) as (sockets, taken, ike, nat):
        loopback = "::1" if ":" in host else "127.0.0.1"
        with stranger(loopback) as other:
            for at, marker in ((ike, b""), (nat, NON_ESP_MARKER)):
                other.sendto(marker + b"message", (host, at[1]))
                data, path = await taken.next()
                assert (data, path) == (
                    b"message", Path((host, at[1]), other.getsockname()[:2])
                )  # fmt: skip
                sockets.send(Datagram(b"answer", path))
                answer, source = other.recvfrom(100)
                assert (answer, source[:2]) == (marker + b"answer", (host, at[1]))


async def test_both_wildcards_may_have_one_port() -> None:
    taken = Taken()
    with stranger("::1") as probe:
        free = probe.getsockname()[1]
    sockets = UdpSockets(Listen((("0.0.0.0", free), ("::", free))), taken.take)
    sockets.start()
    for host in ("127.0.0.1", "::1"):
        with stranger(host) as other:
            other.sendto(b"message", (host, free))
            assert (await taken.next())[1].local == (host, free)
    sockets.close()


@both_wildcards
async def test_it_knows_which_addresses_are_its_own(wildcard: str, host: str) -> None:
    away = "2001:db8::99" if ":" in host else "192.0.2.99"
    async with opened(wildcard) as (sockets, _taken, ike, nat):
        assert sockets.has((host, ike[1]))
        assert sockets.has((host, nat[1]))
        assert not sockets.has((host, 1))
        assert not sockets.has((away, ike[1]))
        loopback = "::1" if ":" in host else "127.0.0.1"
        assert sockets.origin(nat, (host, 4500)) == (loopback, nat[1])
        sockets.send(Datagram(b"x", Path((away, ike[1]), (host, 9))))
        sockets.send(Datagram(b"x", Path((host, 1), (host, 9))))
        assert sockets.unsent == 2
    async with opened(host) as (sockets, _taken, ike, nat):
        assert sockets.has(ike)
        assert not sockets.has((away, ike[1]))
        assert sockets.origin(nat, (away, 4500)) == nat


def test_an_address_that_is_taken_is_named() -> None:
    with stranger("127.0.0.1") as other:
        host, port = other.getsockname()
        with pytest.raises(OSError, match="in use") as raised:
            UdpSockets(Listen(((host, port),)), lambda data, path: None)
        assert raised.value.filename == f"{host}:{port}"
