"""strongSwan's control protocol, as far as cases need it.

Rules: one connection, one command at a time; events that a command asks for are collected until its
answer is there. Octets: a length of four, a type of one, a name, then sections and lists
(strongSwan, README of its vici plugin).
"""

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

Value: TypeAlias = "str | bytes | Sequence[str | bytes] | Mapping[str, Value]"
Answer: TypeAlias = "str | list[str] | dict[str, Answer]"

SECTION_START, SECTION_END, KEY_VALUE, LIST_START, LIST_ITEM, LIST_END = 1, 2, 3, 4, 5, 6
CMD_REQUEST, CMD_RESPONSE, CMD_UNKNOWN, REGISTER, UNREGISTER, CONFIRM, UNKNOWN, EVENT = range(8)
TIMEOUT_S = 60.0


class ViciFailed(Exception):
    """charon refused a command; the message is its own."""


def _octets(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _name(text: str) -> bytes:
    return bytes((len(text),)) + text.encode()


def _value(text: str | bytes) -> bytes:
    octets = _octets(text)
    return len(octets).to_bytes(2, "big") + octets


def encode(message: Mapping[str, Value]) -> bytes:
    """A message's octets."""
    out = b""
    for key, value in message.items():
        if isinstance(value, Mapping):
            out += bytes((SECTION_START,)) + _name(key) + encode(value) + bytes((SECTION_END,))
        elif isinstance(value, str | bytes):
            out += bytes((KEY_VALUE,)) + _name(key) + _value(value)
        else:
            items = b"".join(bytes((LIST_ITEM,)) + _value(item) for item in value)
            out += bytes((LIST_START,)) + _name(key) + items + bytes((LIST_END,))
    return out


class _Reader:
    """Takes a message apart from the front."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    def take(self, count: int) -> bytes:
        self._at += count
        return self._octets[self._at - count : self._at]

    def text(self, length_octets: int) -> str:
        return self.take(int.from_bytes(self.take(length_octets), "big")).decode(errors="replace")

    def section(self) -> dict[str, Answer]:
        found: dict[str, Answer] = {}
        items: list[str] = []
        while self._at < len(self._octets):
            kind = self.take(1)[0]
            if kind == SECTION_END:
                break
            if kind == SECTION_START:
                name = self.text(1)
                found[name] = self.section()
            elif kind == KEY_VALUE:
                name = self.text(1)
                found[name] = self.text(2)
            elif kind == LIST_START:
                items = []
                found[self.text(1)] = items
            elif kind == LIST_ITEM:
                items.append(self.text(2))
        return found


def decode(octets: bytes) -> dict[str, Answer]:
    """The message in `octets`."""
    return _Reader(octets).section()


class Vici:
    """See the module."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(TIMEOUT_S)
        folder = os.open(path.parent, os.O_RDONLY)  # a socket's whole path may be too long
        try:
            self._socket.connect(f"/proc/self/fd/{folder}/{path.name}")
        finally:
            os.close(folder)

    def call(self, command: str, message: Mapping[str, Value] | None = None) -> dict[str, Answer]:
        """A command's answer. Raises ViciFailed if it says that it failed."""
        self._send(CMD_REQUEST, command, encode(message or {}))
        kind, answer = self._receive()
        if kind != CMD_RESPONSE:
            raise ViciFailed(f"{command}: unknown to this charon")
        if answer.get("success", "yes") != "yes":
            raise ViciFailed(f"{command}: {answer.get('errmsg', answer)}")
        return answer

    def stream(
        self, command: str, event: str, message: Mapping[str, Value] | None = None
    ) -> Iterator[dict[str, Answer]]:
        """The events that a command brings; its answer is the last of them."""
        self._send(REGISTER, event)
        self._receive()
        self._send(CMD_REQUEST, command, encode(message or {}))
        kind, answer = self._receive()
        while kind == EVENT:
            yield answer
            kind, answer = self._receive()
        self._send(UNREGISTER, event)
        self._receive()
        yield answer

    def register(self, event: str) -> None:
        """Have these events told; nothing else is asked on this connection from now on."""
        self._send(REGISTER, event)
        self._receive()

    def event(self) -> dict[str, Answer]:
        """The next one. Raises TimeoutError after `TIMEOUT_S`."""
        return self._receive()[1]

    def close(self) -> None:
        """Give the connection back."""
        self._socket.close()

    def _send(self, kind: int, name: str, octets: bytes = b"") -> None:
        packet = bytes((kind,)) + _name(name) + octets
        self._socket.sendall(len(packet).to_bytes(4, "big") + packet)

    def _receive(self) -> tuple[int, dict[str, Answer]]:
        octets = self._exactly(int.from_bytes(self._exactly(4), "big"))
        kind, rest = octets[0], octets[1:]
        if kind == EVENT:
            rest = rest[1 + rest[0] :]
        return kind, decode(rest)

    def _exactly(self, count: int) -> bytes:
        octets = b""
        while len(octets) < count:
            more = self._socket.recv(count - len(octets))
            if not more:
                raise ViciFailed("charon closed the connection")
            octets += more
        return octets
