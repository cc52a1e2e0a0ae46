"""node.eap.local and node.eap.peer: which method is done, and what ends a conversation."""

import pytest

from node.eap.local import ROUNDS_MAX, LocalServer
from node.eap.method import Failure, Proven, Reason, Refused, Round, Success, traits
from node.eap.packet import EapPacket, EapType
from node.eap.peer import EapPeer
from proto.secret import Secret
from tests.unit.node.eap.parts import talk

KEY = Secret(bytes(64))


class Knocking:
    """A made-up method: whatever is said `knocks` times is proof."""

    refusal: Refused | None = None

    def __init__(self, type_: int, identity: str = "", knocks: int = 1) -> None:
        self.type = type_
        self._identity = identity
        self._left = knocks

    async def begin(self, identifier: int) -> bytes:
        """Who is there?"""
        return bytes((identifier,))

    async def answer(self, data: bytes) -> bytes | Proven | Refused:
        """Again, or in."""
        self._left -= 1
        if data == b"no":
            return Refused(Reason.CREDENTIALS, "no")
        return b"again" if self._left else Proven(self._identity, KEY)


class Answering:
    """The other side of `Knocking`."""

    refusal = ""

    def __init__(self, type_: int) -> None:
        self.type = type_
        self.proven: Proven | None = None

    async def answer(self, data: bytes) -> bytes:
        """Always the same."""
        self.proven = Proven("me", KEY)
        return b"knock"


def server(*types: int, identity: str = "", ask: bool = False, knocks: int = 1) -> LocalServer:
    def make(type_: int) -> object:
        return lambda claimed: Knocking(type_, claimed, knocks)

    return LocalServer([make(t) for t in types], identity, 7, ask=ask)  # type: ignore[misc]


def peer(*types: int, identity: str = "me") -> EapPeer:
    return EapPeer(identity, [Answering(type_) for type_ in types])


def response(asked: Round, type_: int, data: bytes = b"") -> bytes:
    return EapPacket(2, EapPacket.decode(asked.packet).identifier, type_, data).encode()


def why(round_: Round) -> tuple[Reason, int]:
    """Of a failed round: its reason, and the code of the packet that tells the peer."""
    assert isinstance(round_.result, Failure)
    return round_.result.reason, EapPacket.decode(round_.packet).code


# -- choosing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "chosen"),
    [((61, 62), (61, 62), 61), ((61, 62), (62,), 62), ((61, 62, 63), (63, 62), 62)],
)
async def test_our_order_decides_among_what_the_peer_does(
    ours: tuple[int, ...], theirs: tuple[int, ...], chosen: int
) -> None:
    at_server, at_peer, _ = await talk(server(*ours, identity="me"), peer(*theirs))
    assert at_server.result == Success("me", chosen, KEY)
    assert at_peer.result == at_server.result


async def test_nothing_in_common_is_a_failure() -> None:
    at_server, at_peer, sent = await talk(server(61), peer(62))
    assert why(at_server) == (Reason.NO_METHOD, 4)
    assert at_peer.result == Failure(Reason.REJECTED, "the server refused")
    assert sent == 2


async def test_a_peer_that_does_nothing_says_so() -> None:
    asked = await server(61).answer(b"")
    answered = await peer().answer(asked.packet)
    assert EapPacket.decode(answered.packet).data == b"\0"


async def test_a_method_refused_once_is_not_proposed_again() -> None:
    conversation = server(61, 62)
    asked = await conversation.answer(b"")
    asked = await conversation.answer(response(asked, EapType.NAK, b"\x3e"))
    assert EapPacket.decode(asked.packet).type == 62
    ended = await conversation.answer(response(asked, EapType.NAK, b"\x3d"))
    assert why(ended) == (Reason.NO_METHOD, 4)


async def test_no_nak_in_the_middle_of_a_method() -> None:
    conversation = server(61, 62, knocks=2)
    asked = await conversation.answer(response(await conversation.answer(b""), 61))
    ended = await conversation.answer(response(asked, EapType.NAK, b"\x3e"))
    assert why(ended) == (Reason.MALFORMED, 4)


async def test_identifiers_are_counted_and_the_end_has_that_of_the_response() -> None:
    conversation = server(61, ask=True)
    asked = await conversation.answer(b"")
    method = await conversation.answer(response(asked, EapType.IDENTITY, b"me"))
    ended = await conversation.answer(response(method, 61))
    numbers = [EapPacket.decode(r.packet).identifier for r in (asked, method, ended)]
    assert numbers == [7, 8, 8]
    assert EapPacket.decode(method.packet).data == b"\x08"  # as `begin` was told


# -- identities -----------------------------------------------------------------------------------


async def test_who_is_asked_is_who_answers() -> None:
    at_server, _, _ = await talk(server(61, identity="other", ask=True), peer(61))
    assert isinstance(at_server.result, Success)
    assert at_server.result.identity == "me"


async def test_an_empty_answer_leaves_what_ike_named() -> None:
    asking = server(61, identity="other", ask=True)
    at_server, _, _ = await talk(asking, peer(61, identity=""))
    assert isinstance(at_server.result, Success)
    assert at_server.result.identity == "other"


async def test_a_failure_says_who_it_was() -> None:
    conversation = server(61, ask=True)
    asked = await conversation.answer(b"")
    asked = await conversation.answer(response(asked, EapType.IDENTITY, b"me"))
    ended = await conversation.answer(response(asked, 61, b"no"))
    assert ended.result == Failure(Reason.CREDENTIALS, "no", "me")


# -- what doesn't belong --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "packet",
    [
        b"\2\7",
        EapPacket(1, 7, 61).encode(),
        EapPacket(2, 8, 61).encode(),
        EapPacket(2, 7, 62).encode(),
        EapPacket(2, 7, EapType.EXPANDED).encode(),
        EapPacket(3, 7).encode(),
    ],
)
async def test_what_ends_a_conversation_at_the_gateway(packet: bytes) -> None:
    conversation = server(61)
    await conversation.answer(b"")
    assert why(await conversation.answer(packet)) == (Reason.MALFORMED, 4)


async def test_a_method_before_the_identity() -> None:
    conversation = server(61, ask=True)
    asked = await conversation.answer(b"")
    assert why(await conversation.answer(response(asked, 61))) == (Reason.MALFORMED, 4)


async def test_a_conversation_has_an_end() -> None:
    conversation = server(61, knocks=10 * ROUNDS_MAX)
    asked, rounds = await conversation.answer(b""), 1
    while asked.result is None:
        asked = await conversation.answer(response(asked, 61))
        rounds += 1
    assert why(asked) == (Reason.TOO_LONG, 4)
    assert rounds == ROUNDS_MAX + 1


async def test_a_client_isnt_kept_for_ever() -> None:
    client = peer(61)
    answers = [await client.answer(EapPacket(1, n % 256, 61).encode()) for n in range(ROUNDS_MAX)]
    assert all(a.result is None for a in answers)
    ended = await client.answer(EapPacket(1, 1, 61).encode())
    assert isinstance(ended.result, Failure)
    assert ended.result.reason is Reason.TOO_LONG


@pytest.mark.parametrize(
    "packet",
    [
        EapPacket(2, 1, 61).encode(),
        EapPacket(3, 1).encode(),
        EapPacket(1, 1, EapType.NAK).encode(),
        b"\1",
    ],
)
async def test_what_ends_a_conversation_at_the_client(packet: bytes) -> None:
    ended = await peer(61).answer(packet)
    assert ended.packet == b""
    assert isinstance(ended.result, Failure)
    assert ended.result.reason is Reason.MALFORMED


async def test_a_client_keeps_to_its_method() -> None:
    client = peer(61, 62)
    await client.answer(EapPacket(1, 1, 61).encode())
    for type_ in (62, EapType.IDENTITY):
        ended = await client.answer(EapPacket(1, 2, type_).encode())
        assert isinstance(ended.result, Failure)
        assert ended.result.reason is Reason.MALFORMED


async def test_a_notification_is_acknowledged() -> None:
    packet = EapPacket(1, 5, EapType.NOTIFICATION, b"the cafeteria is closed").encode()
    assert (await peer(61).answer(packet)).packet == EapPacket(2, 5, 2).encode()


def test_which_methods_may_stand_alone() -> None:
    assert traits(EapType.TLS).fits_eap_only
    assert traits(EapType.MSCHAPV2).makes_key
    for weak in (EapType.MSCHAPV2, EapType.MD5_CHALLENGE, 99):
        assert not traits(weak).fits_eap_only
