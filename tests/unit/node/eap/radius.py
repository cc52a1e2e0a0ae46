"""A small RADIUS server for tests, from the RFCs' texts and with nothing but hashlib.

So what our client sends is checked by other code than the one that made it. Ports are in memory.
"""

import asyncio
import hashlib
import hmac
import struct
from collections.abc import Callable

import msgspec

from node.eap.method import Conversation, Failure, Success
from node.eap.radius.server import Port
from proto.ike.effects import Address
from proto.secret import Secret

Attributes = list[tuple[int, bytes]]
SECRET = Secret(b"between us")
ADDRESS = ("192.0.2.9", 1812)


def attributes(body: bytes) -> Attributes:
    """`| number 1 | length 1 | value … |` …"""
    found = []
    while body:
        found.append((body[0], body[2 : body[1]]))
        assert body[1] >= 2
        body = body[body[1] :]
    return found


def encode(pairs: Attributes) -> bytes:
    """The reverse."""
    return b"".join(bytes((number, len(value) + 2)) + value for number, value in pairs)


class Asked(msgspec.Struct):
    """An Access-Request that came, checked."""

    identifier: int
    authenticator: bytes
    attributes: Attributes

    def all(self, number: int) -> list[bytes]:
        """The values of one attribute."""
        return [value for key, value in self.attributes if key == number]

    @property
    def eap(self) -> bytes:
        """The EAP packet."""
        return b"".join(self.all(79))


def received(datagram: bytes) -> Asked:
    """RFC 2865 3, RFC 3579 3.2."""
    code, identifier, length = struct.unpack(">BBH", datagram[:4])
    assert (code, length) == (1, len(datagram))
    pairs = attributes(datagram[20:])
    zeroed = [(key, bytes(16) if key == 80 else value) for key, value in pairs]
    expected = hmac.digest(SECRET.octets, datagram[:20] + encode(zeroed), "md5")
    assert [value for key, value in pairs if key == 80] == [expected]
    return Asked(identifier, datagram[4:20], pairs)


def reply(
    asked: Asked,
    code: int,
    pairs: Attributes,
    *,
    secret: Secret = SECRET,
    authenticated: bool = True,
) -> bytes:
    """RFC 2865 3 (Response Authenticator), RFC 3579 3.2 unless not `authenticated`."""
    body = encode(pairs)
    if authenticated:
        return signed(asked, code, body, secret)
    return _closed(asked, code, body, secret)


def signed(asked: Asked, code: int, body: bytes, secret: Secret = SECRET) -> bytes:
    """A reply with these octets of attributes behind its Message-Authenticator."""
    body = encode([(80, bytes(16))]) + body
    head = struct.pack(">BBH", code, asked.identifier, 20 + len(body))
    digest = hmac.digest(secret.octets, head + asked.authenticator + body, "md5")
    return _closed(asked, code, body[:2] + digest + body[18:], secret)


def _closed(asked: Asked, code: int, body: bytes, secret: Secret) -> bytes:
    head = struct.pack(">BBH", code, asked.identifier, 20 + len(body))
    made = hashlib.md5(head + asked.authenticator + body + secret.octets, usedforsecurity=False)
    return head + made.digest() + body


def hidden(asked: Asked, number: int, key: bytes, salt: bytes) -> tuple[int, bytes]:
    """MS-MPPE-Send-Key (16) or MS-MPPE-Recv-Key (17) of RFC 2548 2.4."""
    clear = bytes((len(key),)) + key
    clear += bytes(-len(clear) % 16)
    last, out = asked.authenticator + salt, b""
    for at in range(0, len(clear), 16):
        pad = hashlib.md5(SECRET.octets + last, usedforsecurity=False).digest()
        last = bytes(a ^ b for a, b in zip(clear[at : at + 16], pad, strict=True))
        out += last
    inner = bytes((number, 2 + 2 + len(out))) + salt + out
    return 26, struct.pack(">I", 311) + inner


Answer = Callable[[Asked], list[bytes]]
"""What goes back for a request: any number of datagrams."""


class MemoryPorts:
    """Implements `node.eap.radius.server.Ports`: every server is `answer`."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.opened = 0
        self.closed = 0

    def open(self, server: Address, receive: Callable[[bytes], None]) -> Port:
        """One more port."""
        self.opened += 1
        return _MemoryPort(self, receive)


class _MemoryPort:
    def __init__(self, ports: MemoryPorts, receive: Callable[[bytes], None]) -> None:
        self._ports = ports
        self._receive = receive

    def send(self, datagram: bytes) -> None:
        """What the server says arrives in the loop's next turn."""
        self._ports.requests.append(datagram)
        for answer in self._ports.answer(received(datagram)):
            asyncio.get_running_loop().call_soon(self._receive, answer)

    def close(self) -> None:
        """Counted."""
        self._ports.closed += 1


class EapOverRadius:
    """An `Answer` that holds one conversation of `made`; its rounds must not await."""

    def __init__(
        self,
        made: Conversation,
        *,
        accept: Attributes | None = None,
    ) -> None:
        """`accept`: what an Access-Accept holds beside the key."""
        self._conversation = made
        self._accept = accept or []
        self.asked: list[Asked] = []
        self.round = 0

    def __call__(self, asked: Asked) -> list[bytes]:
        """The reply."""
        self.asked.append(asked)
        self.round += 1
        if self.round > 1:
            assert asked.all(24) == [b"state %d" % (self.round - 1)]
        went = _now(self._conversation.answer(b"" if self.round == 1 else asked.eap))
        eap = [(79, went.packet[at : at + 253]) for at in range(0, len(went.packet), 253)]
        match went.result:
            case None:
                return [reply(asked, 11, [*eap, (24, b"state %d" % self.round)])]
            case Failure():
                return [reply(asked, 3, eap)]
            case Success(msk=msk):
                keys = [
                    hidden(asked, 17, msk.octets[:32], b"\x80\x01"),
                    hidden(asked, 16, msk.octets[32:], b"\x80\x02"),
                ]
                return [reply(asked, 2, [*eap, *keys, *self._accept])]


def _now(coroutine):  # type: ignore[no-untyped-def]
    """The result of a coroutine that awaits nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it awaited something")
