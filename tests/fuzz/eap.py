"""Targets for EAP: what a peer, its server and a RADIUS server may send.

Rules: nothing here awaits anything, so coroutines are run to their end in one step.
"""

from collections.abc import Callable, Coroutine
from typing import TypeVar

from node.eap.local import LocalServer
from node.eap.method import MSK_OCTETS, Conversation, Failure, Round, Success
from node.eap.mschapv2 import codec
from node.eap.mschapv2.crypto import nt_password_hash
from node.eap.mschapv2.peer import MschapV2Peer
from node.eap.mschapv2.server import MschapV2Server
from node.eap.packet import (
    IDENTITY_OCTETS_MAX,
    EapPacket,
    MalformedEapError,
    decode_identity,
)
from node.eap.peer import EapPeer
from node.eap.radius.packet import PACKET_OCTETS_MAX, Code, Request, eap_attributes
from node.eap.tls import framing
from tests.fuzz.target import Choices, Target, block
from tests.unit.node.eap import radius
from tests.unit.node.eap.parts import USERS, SeededRng
from tests.unit.node.eap.test_mschapv2 import PACKETS

T = TypeVar("T")
AUTHENTICATOR = bytes(range(16))
REQUEST = Request(7, AUTHENTICATOR, radius.SECRET, [(1, b"carol")])
ASKED = radius.received(REQUEST.octets)
ROUNDS_MAX = 24


def now(coroutine: Coroutine[object, object, T]) -> T:
    """What it returns; it must not wait."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    raise AssertionError("it waits")


def packet(data: bytes) -> None:
    """MalformedEapError, or a packet that is the same once encoded again, padding apart."""
    try:
        seen = EapPacket.decode(data)
    except MalformedEapError:
        return
    octets = seen.encode()
    assert data.startswith(octets)
    assert EapPacket.decode(octets) == seen
    try:
        assert len(decode_identity(seen.data).encode()) <= IDENTITY_OCTETS_MAX
    except MalformedEapError:
        return


def mschapv2(data: bytes) -> None:
    """MalformedEapError, or a packet that says the same once encoded again."""
    try:
        decode = codec.DECODERS.get(codec.op_code(data))
        if decode is None:
            return
        seen = decode(data)
    except MalformedEapError:
        return
    assert seen.encode()[:2] == data[:2]
    if isinstance(seen, codec.Challenge | codec.Response):
        assert len(seen.encode()) == len(data)
    if not isinstance(seen, codec.Failure) or len(seen.challenge) == 16:
        again = decode(seen.encode())
        assert again.encode() == seen.encode()


def fragments(data: bytes) -> None:
    """MalformedEapError, or messages that are no longer than their bound and than what came."""
    choices, assembly, came = Choices(data), framing.Assembly(), 0
    while choices:
        try:
            fragment = framing.Fragment.decode(choices.block())
            came += len(fragment.octets)
            whole = assembly.add(fragment)
        except MalformedEapError:
            return
        assert framing.Fragment.decode(fragment.encode()).octets == fragment.octets
        if whole is not None:
            assert len(whole) <= came
            again = framing.Assembly()
            parts = [framing.Fragment.decode(part) for part in framing.fragments(whole)]
            assert [again.add(part) for part in parts][-1] == whole
            came = 0


def stranger(data: bytes) -> None:
    """Nothing that a stranger to the secret sends is a reply."""
    assert REQUEST.accept(data) is None


def reply(data: bytes) -> None:
    """Whatever the server itself sends is read, or is no reply; a key is never half a key."""
    choices = Choices(data)
    code, body = choices.byte(), choices.rest()[: PACKET_OCTETS_MAX - 64]
    seen = REQUEST.accept(radius.signed(ASKED, code, body))
    if seen is None:
        return
    assert seen.code in (Code.ACCESS_ACCEPT, Code.ACCESS_REJECT, Code.ACCESS_CHALLENGE)
    assert len(seen.eap) <= len(body)
    assert seen.msk is None or len(seen.msk) == MSK_OCTETS


def _talk(conversation: Conversation, choices: Choices, first: Round) -> Round:
    """Packets of the stranger's own, with the identifier that is expected where it wants so."""
    went = first
    for _ in range(ROUNDS_MAX):
        if went.result is not None or not choices:
            return went
        said = bytearray(choices.block())
        if went.packet and len(said) > 1 and choices.below(4):
            said[1] = went.packet[1]
        went = now(conversation.answer(bytes(said)))
    return went


def server(data: bytes) -> None:
    """No packets of a stranger's let it in, and what is answered is EAP."""
    choices = Choices(data)
    methods = [lambda _: MschapV2Server(USERS, "gw", SeededRng())]
    conversation = LocalServer(methods, "", 7, ask=bool(choices.below(2)))
    went = _talk(conversation, choices, now(conversation.answer(b"")))
    assert not isinstance(went.result, Success)
    EapPacket.decode(went.packet)


def peer(data: bytes) -> None:
    """No packets of a stranger's are taken for success, and what is answered is EAP."""
    method = MschapV2Peer("User", nt_password_hash("clientPass"), SeededRng())
    went = _talk(EapPeer("User", [method]), Choices(data), Round())
    assert not isinstance(went.result, Success)
    assert went.result is None or isinstance(went.result, Failure)
    if went.packet:
        EapPacket.decode(went.packet)


def _packets(code: int) -> list[bytes]:
    of_method = [EapPacket(code, 7, 26, made.encode()).encode() for made in PACKETS]
    return [EapPacket(code, 7, 1, b"User").encode(), *of_method, EapPacket(3, 7).encode()]


def _whole(code: int) -> Callable[[], list[bytes]]:
    """All of a conversation's packets, each as a block followed by a choice."""
    return lambda: [b"\1" * (code == 2) + b"".join(block(p) + b"\1" for p in _packets(code))]


def _fragments() -> list[bytes]:
    return [
        b"".join(map(block, framing.fragments(message))) for message in (b"short", bytes(2000))
    ] + [block(bytes.fromhex("c0 00000005 01")) + block(bytes.fromhex("00 02030405"))]


def _replies() -> list[bytes]:
    eap = radius.encode(eap_attributes(EapPacket(3, 7).encode()))
    keys = radius.encode([radius.hidden(ASKED, n, bytes(32), b"\x80\x00") for n in (16, 17)])
    more = radius.encode([(24, b"state"), (25, b"class"), (27, bytes(4)), (1, b"carol")])
    return [b"\2" + eap + keys + more, b"\x0b" + eap + more, b"\3" + eap]


TARGETS = (
    Target("eap-packet", packet, lambda: [*_packets(1), *_packets(2)]),
    Target("mschapv2", mschapv2, lambda: [made.encode() for made in PACKETS]),
    Target("eap-tls", fragments, _fragments),
    Target("radius", stranger, lambda: [radius.signed(ASKED, 1, _replies()[0][1:])]),
    Target("radius-reply", reply, _replies),
    Target("eap-server", server, _whole(2), 2),
    Target("eap-peer", peer, _whole(1), 2),
)
