"""The packets of EAP-MSCHAPv2 behind the EAP type, decoded and encoded.

Rules: lengths inside must agree with what is there, to the octet; anything else is a
MalformedEapError. draft-kamath-pppext-eap-mschapv2-02 section 2; the texts in Success and Failure:
RFC 2759 5 and 6.
"""

import re
import struct
from typing import ClassVar

import msgspec

from node.eap.mschapv2.crypto import CHALLENGE_OCTETS, NT_RESPONSE_OCTETS
from node.eap.packet import IDENTITY_OCTETS_MAX, MalformedEapError

CHALLENGE, RESPONSE, SUCCESS, FAILURE, CHANGE_PASSWORD = 1, 2, 3, 4, 7
E_AUTHENTICATION_FAILURE = 691
E_PASSWORD_EXPIRED = 648
TEXT_OCTETS_MAX = 512
_HEAD = struct.Struct(">BBH")
_RESPONSE_OCTETS = 49
"""Peer challenge 16, reserved 8, NT-Response 24, flags 1."""


class Challenge(msgspec.Struct, frozen=True):
    """`| 1 | id 1 | length 2 | 16 | challenge 16 | server's name … |`."""

    OP: ClassVar[int] = CHALLENGE
    id: int
    challenge: bytes
    name: bytes

    @classmethod
    def decode(cls, data: bytes) -> "Challenge":
        """Raises MalformedEapError."""
        number, body = _body(data, cls.OP)
        value, name = _value(body, CHALLENGE_OCTETS)
        return cls(number, value, name)

    def encode(self) -> bytes:
        """The type's data."""
        return _pack(self.OP, self.id, bytes((CHALLENGE_OCTETS,)) + self.challenge + self.name)


class Response(msgspec.Struct, frozen=True):
    """`| 2 | id 1 | length 2 | 49 | challenge 16 | 0 8 | NT-Response 24 | flags 1 | name … |`."""

    OP: ClassVar[int] = RESPONSE
    id: int
    challenge: bytes
    nt_response: bytes
    name: bytes

    @classmethod
    def decode(cls, data: bytes) -> "Response":
        """Raises MalformedEapError. Reserved octets and flags aren't looked at."""
        number, body = _body(data, cls.OP)
        value, name = _value(body, _RESPONSE_OCTETS)
        if not 0 < len(name) <= IDENTITY_OCTETS_MAX:
            raise MalformedEapError(f"an MSCHAPv2 name of {len(name)} octets")
        return cls(number, value[:16], value[24 : 24 + NT_RESPONSE_OCTETS], name)

    def encode(self) -> bytes:
        """The type's data."""
        value = self.challenge + bytes(8) + self.nt_response + bytes(1)
        return _pack(self.OP, self.id, bytes((_RESPONSE_OCTETS,)) + value + self.name)


class Success(msgspec.Struct, frozen=True):
    """`| 3 | id 1 | length 2 | S=<40 hex digits> M=<text> |`."""

    OP: ClassVar[int] = SUCCESS
    id: int
    digest: str
    """40 hex digits, upper case."""
    message: str = ""

    @classmethod
    def decode(cls, data: bytes) -> "Success":
        """Raises MalformedEapError."""
        number, body = _body(data, cls.OP)
        match = re.fullmatch(r"S=([0-9A-Fa-f]{40})(?: M=(.*))?[ \0]*", _text(body), re.DOTALL)
        if match is None:
            raise MalformedEapError("an MSCHAPv2 success without S=")
        return cls(number, match[1].upper(), match[2] or "")

    def encode(self) -> bytes:
        """The type's data."""
        return _pack(self.OP, self.id, f"S={self.digest} M={self.message}".encode())


class Failure(msgspec.Struct, frozen=True):
    """`| 4 | id 1 | length 2 | E=<number> R=<0 or 1> C=<32 hex digits> V=3 M=<text> |`."""

    OP: ClassVar[int] = FAILURE
    id: int
    error: int
    challenge: bytes
    message: str = ""

    @classmethod
    def decode(cls, data: bytes) -> "Failure":
        """Raises MalformedEapError. Whether a second try were allowed isn't looked at."""
        number, body = _body(data, cls.OP)
        said = _text(body)
        match = re.match(r"E=([0-9]{1,10})(?:[ \0]|$)", said)
        if match is None:
            raise MalformedEapError("an MSCHAPv2 failure without E=")
        again = re.search(r" C=([0-9A-Fa-f]{32})(?:[ \0]|$)", said)
        message = re.search(r" M=(.*)", said, re.DOTALL)
        return cls(
            number,
            int(match[1]),
            bytes.fromhex(again[1]) if again else b"",
            message[1] if message else "",
        )

    def encode(self) -> bytes:
        """The type's data; no second try is allowed."""
        said = f"E={self.error} R=0 C={self.challenge.hex().upper()} V=3 M={self.message}"
        return _pack(self.OP, self.id, said.encode())


Message = Challenge | Response | Success | Failure
_KINDS: tuple[type[Message], ...] = (Challenge, Response, Success, Failure)
DECODERS = {kind.OP: kind.decode for kind in _KINDS}


def acknowledgement(op: int) -> bytes:
    """What the peer answers to Success and Failure: one octet. Whatever follows it isn't looked at:
    some send an ID and a length as well.
    """
    return bytes((op,))


def op_code(data: bytes) -> int:
    """Which of the packets `data` is. Raises MalformedEapError when it is empty."""
    if not data:
        raise MalformedEapError("an empty MSCHAPv2 packet")
    return data[0]


def _body(data: bytes, op: int) -> tuple[int, bytes]:
    if len(data) < _HEAD.size:
        raise MalformedEapError(f"an MSCHAPv2 packet of {len(data)} octets")
    code, number, length = _HEAD.unpack_from(data)
    if code != op:
        raise MalformedEapError(f"MSCHAPv2 code {code} where {op} was to come")
    if length != len(data):
        raise MalformedEapError(f"an MSCHAPv2 packet of {len(data)} octets that says {length}")
    return number, data[_HEAD.size :]


def _value(body: bytes, octets: int) -> tuple[bytes, bytes]:
    if len(body) < 1 + octets or body[0] != octets:
        raise MalformedEapError(f"an MSCHAPv2 value that isn't {octets} octets long")
    return body[1 : 1 + octets], body[1 + octets :]


def _text(body: bytes) -> str:
    if len(body) > TEXT_OCTETS_MAX:
        raise MalformedEapError(f"an MSCHAPv2 text of {len(body)} octets")
    return body.decode("utf-8", "replace")


def _pack(op: int, number: int, body: bytes) -> bytes:
    return _HEAD.pack(op, number, _HEAD.size + len(body)) + body
