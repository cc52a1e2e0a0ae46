"""node.eap.radius: packets against another implementation, and conversations through a server."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.eap.local import LocalServer
from node.eap.method import Asked as Whose
from node.eap.method import Conversation, Failure, Reason, Round, Success
from node.eap.mschapv2.crypto import nt_password_hash
from node.eap.mschapv2.peer import MschapV2Peer
from node.eap.mschapv2.server import MschapV2Server
from node.eap.packet import EapPacket
from node.eap.peer import EapPeer
from node.eap.radius import server as radius_server
from node.eap.radius.packet import Attribute, Code, Request, eap_attributes
from node.eap.radius.relay import RadiusRelay, RadiusServers, RelaySettings
from node.eap.radius.server import Away, Busy, RadiusServer, RadiusSettings
from proto.secret import Secret
from tests.unit.node.eap import radius
from tests.unit.node.eap.parts import USERS, HandClock, SeededRng, talk
from tests.unit.node.eap.radius import ADDRESS, SECRET, EapOverRadius, MemoryPorts, reply

AUTHENTICATOR = bytes(range(16))
EAP_REQUEST = EapPacket(1, 9, 26, b"hi").encode()


def request(*attributes: tuple[int, bytes]) -> Request:
    return Request(7, AUTHENTICATOR, SECRET, attributes)


def asked() -> radius.Asked:
    return radius.received(request((Attribute.USER_NAME, b"carol")).octets)


# -- packets --------------------------------------------------------------------------------------


def test_a_request_is_what_another_implementation_reads() -> None:
    made = request((Attribute.USER_NAME, b"carol"), *eap_attributes(bytes(600)))
    seen = radius.received(made.octets)
    assert (seen.identifier, seen.authenticator) == (7, AUTHENTICATOR)
    assert seen.attributes[0][0] == 80  # CVE-2024-3596: the Message-Authenticator comes first
    assert seen.all(Attribute.USER_NAME) == [b"carol"]
    assert [len(value) for value in seen.all(79)] == [253, 253, 94]
    assert seen.eap == bytes(600)


def test_a_value_that_doesnt_fit_is_our_mistake() -> None:
    with pytest.raises(ValueError, match="too long"):
        request((Attribute.USER_NAME, bytes(254)))


def test_a_reply_is_read() -> None:
    pairs = [(79, EAP_REQUEST[:3]), (79, EAP_REQUEST[3:]), (24, b"s1"), (25, b"c1"), (25, b"c2")]
    pairs += [(27, bytes((0, 0, 14, 16))), (1, "Cäro".encode())]
    pairs += [radius.hidden(asked(), 17, b"r" * 32, b"\x80\x00")]
    pairs += [radius.hidden(asked(), 16, b"s" * 32, b"\x81\x00")]
    seen = request((Attribute.USER_NAME, b"carol")).accept(reply(asked(), 2, pairs))
    assert seen is not None
    assert seen.code is Code.ACCESS_ACCEPT
    assert seen.eap == EAP_REQUEST
    assert seen.state == (b"s1",)
    assert seen.classes == (b"c1", b"c2")
    assert seen.session_timeout_s == 3600
    assert seen.user_name == "Cäro"
    assert seen.msk == Secret(b"r" * 32 + b"s" * 32)


def test_short_halves_of_a_key_are_joined_and_followed_by_zeros() -> None:
    pairs = [radius.hidden(asked(), 16, b"s" * 16, b"\x80\x00")]
    pairs += [radius.hidden(asked(), 17, b"r" * 16, b"\x81\x00")]
    seen = request((Attribute.USER_NAME, b"carol")).accept(reply(asked(), 2, pairs))
    assert seen is not None
    assert seen.msk == Secret(b"r" * 16 + b"s" * 16 + bytes(32))


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [radius.hidden(asked(), 16, b"s" * 32, b"\x80\x00")],
        [radius.hidden(asked(), n, b"s" * 32, b"\x80\x00") for n in (16, 17, 17)],
        [
            radius.hidden(asked(), 16, b"s" * 32, b"\x80\x00"),
            (26, bytes.fromhex("00000137 110401")),
        ],
    ],
)
def test_half_a_key_is_none(keys: radius.Attributes) -> None:
    seen = request((Attribute.USER_NAME, b"carol")).accept(reply(asked(), 2, keys))
    assert seen is not None
    assert seen.msk is None


def good() -> bytes:
    return reply(asked(), 11, [(79, EAP_REQUEST)])


@pytest.mark.parametrize(
    "datagram",
    [
        reply(asked(), 11, [(79, EAP_REQUEST)], authenticated=False),
        reply(asked(), 11, [(79, EAP_REQUEST)], secret=Secret(b"another")),
        reply(asked(), 1, [(79, EAP_REQUEST)]),
        reply(asked(), 99, [(79, EAP_REQUEST)]),
        good()[:-1],
        good()[:4] + bytes(16) + good()[20:],
        b"",
        good() + bytes(5000),
    ],
)
def test_what_no_reply_is(datagram: bytes) -> None:
    assert request((Attribute.USER_NAME, b"carol")).accept(datagram) is None


@given(st.integers(0, 8 * len(good()) - 1))
def test_no_bit_of_a_reply_may_be_another(bit: int) -> None:
    octets = bytearray(good())
    octets[bit // 8] ^= 1 << bit % 8
    assert request((Attribute.USER_NAME, b"carol")).accept(bytes(octets)) is None
    assert request((Attribute.USER_NAME, b"carol")).accept(good()) is not None


def test_a_reply_to_another_request_is_none() -> None:
    other = Request(7, bytes(16), SECRET, [(Attribute.USER_NAME, b"carol")])
    assert other.accept(good()) is None


# -- a server -------------------------------------------------------------------------------------


def a_server(
    ports: MemoryPorts, *, name: str = "r1", timeout_s: float = 60.0, clock: HandClock | None = None
) -> RadiusServer:
    settings = RadiusSettings(name, ADDRESS, SECRET, timeout_s)
    return RadiusServer(settings, ports, clock or HandClock(), SeededRng())


ASK = [(int(Attribute.USER_NAME), b"carol")]


async def test_a_request_is_repeated_as_it_was() -> None:
    ports = MemoryPorts(lambda asked: [])
    ports.answer = lambda asked: [reply(asked, 11, [])] if len(ports.requests) == 2 else []
    one = a_server(ports)
    await one.ask(ASK, 60.0)
    assert len(ports.requests) == 2
    assert ports.requests[0] == ports.requests[1]
    assert (one.requests, one.repeats, one.timeouts, one.bad_replies) == (1, 1, 0, 0)


async def test_what_doesnt_verify_is_counted_and_waited_past() -> None:
    ports = MemoryPorts(
        lambda asked: [
            b"",
            b"\x0b\xff",
            reply(asked, 11, [], secret=Secret(b"x")),
            reply(asked, 2, [], authenticated=False),
            reply(asked, 11, []),
            reply(asked, 11, []),
        ]
    )
    one = a_server(ports)
    assert (await one.ask(ASK, 60.0)).code is Code.ACCESS_CHALLENGE
    assert one.bad_replies == 4


async def test_a_silent_server_is_away_for_a_while() -> None:
    clock, ports = HandClock(), MemoryPorts(lambda asked: [])
    one = a_server(ports, clock=clock, timeout_s=0.01)
    told: list[bool] = []
    one.on_change = told.append
    for _ in range(2):
        with pytest.raises(Away):
            await one.ask(ASK, 60.0)
    assert told == [True]
    assert one.is_away
    assert one.timeouts == 2
    clock.now_s += radius_server.AWAY_S
    assert not one.is_away


async def test_an_answer_ends_being_away() -> None:
    ports = MemoryPorts(lambda asked: [])
    one = a_server(ports)
    told: list[bool] = []
    one.on_change = told.append
    with pytest.raises(Away):
        await one.ask(ASK, 0.01)
    ports.answer = lambda asked: [reply(asked, 11, [])]
    for _ in range(2):
        await one.ask(ASK, 60.0)
    assert told == [True, False]
    assert not one.is_away


async def test_requests_at_a_time_have_a_bound() -> None:
    ports = MemoryPorts(lambda asked: [])
    one = a_server(ports)
    most = radius_server.PORTS_MAX * radius_server.IDENTIFIERS
    tasks = [asyncio.ensure_future(one.ask(ASK, 0.2)) for _ in range(most)]
    await asyncio.sleep(0)
    assert ports.opened == radius_server.PORTS_MAX
    with pytest.raises(Busy):
        await one.ask(ASK, 60.0)
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(error, Away) for error in ended)
    ports.answer = lambda asked: [reply(asked, 11, [])]
    await one.ask(ASK, 60.0)
    one.close()
    assert ports.closed == radius_server.PORTS_MAX


async def test_identifiers_come_back_as_late_as_possible() -> None:
    ports = MemoryPorts(lambda asked: [reply(asked, 11, [])])
    one = a_server(ports)
    for _ in range(257):
        await one.ask(ASK, 60.0)
    used = [datagram[1] for datagram in ports.requests]
    assert sorted(used[:256]) == list(range(256))
    assert used[256] == used[0]
    assert len({datagram[4:20] for datagram in ports.requests}) == 257


# -- conversations --------------------------------------------------------------------------------

WHOSE = Whose(identity="User", remote="198.51.100.7")


def relay(
    *servers: RadiusServer, whose: Whose = WHOSE, ask: bool = False, timeout_s: float = 60.0
) -> RadiusRelay:
    settings = RelaySettings(nas_identifier="gw1", timeout_s=timeout_s, ask=ask)
    return RadiusRelay(RadiusServers(servers, settings), whose, 77)


def behind() -> Conversation:
    rng = SeededRng(3)
    return LocalServer([lambda _: MschapV2Server(USERS, "aaa", rng)], "", 20)


def user(password: str) -> EapPeer:
    return EapPeer("User", [MschapV2Peer("User", nt_password_hash(password), SeededRng(2))])


async def test_the_key_comes_through() -> None:
    answer = EapOverRadius(
        behind(), accept=[(1, b"user@realm"), (27, bytes((0, 0, 1, 0))), (25, b"staff")]
    )
    at_gateway, at_peer, _ = await talk(relay(a_server(MemoryPorts(answer))), user("clientPass"))
    assert isinstance(at_gateway.result, Success)
    assert isinstance(at_peer.result, Success)
    assert at_gateway.result.msk == at_peer.result.msk
    assert at_gateway.result.identity == "user@realm"
    assert at_gateway.result.method == 26
    assert at_gateway.result.lifetime_s == 256.0
    assert at_gateway.result.classes == (b"staff",)
    first = answer.asked[0]
    assert first.eap == EapPacket(2, 77, 1, b"User").encode()
    for seen in answer.asked:
        assert seen.all(Attribute.USER_NAME) == [b"User"]
        assert seen.all(Attribute.NAS_IDENTIFIER) == [b"gw1"]
        assert seen.all(Attribute.CALLING_STATION_ID) == [b"198.51.100.7"]


async def test_who_is_asked_is_whom_the_server_is_told() -> None:
    answer = EapOverRadius(behind())
    whose = Whose(identity="192.0.2.1", remote="192.0.2.1")
    conversation = relay(a_server(MemoryPorts(answer)), whose=whose, ask=True)
    at_gateway, _, _ = await talk(conversation, user("clientPass"))
    assert isinstance(at_gateway.result, Success)
    assert at_gateway.result.identity == "User"
    assert answer.asked[0].eap == EapPacket(2, 77, 1, b"User").encode()
    assert answer.asked[0].all(Attribute.USER_NAME) == [b"User"]


async def test_a_wrong_password_is_refused_by_the_servers_own_word() -> None:
    answer = EapOverRadius(behind())
    at_gateway, at_peer, _ = await talk(relay(a_server(MemoryPorts(answer))), user("wrong"))
    assert at_gateway.result == Failure(Reason.REJECTED, "the RADIUS server refused", "User")
    assert EapPacket.decode(at_gateway.packet).code == 4
    assert at_peer.result == Failure(Reason.REJECTED, "unknown user or wrong password")


def always(code: int, eap: bytes, *more: tuple[int, bytes]) -> RadiusServer:
    pairs = [*eap_attributes(eap), *more]
    return a_server(MemoryPorts(lambda asked: [reply(asked, code, pairs)]))


SUCCESS, FAILURE = EapPacket(3, 9).encode(), EapPacket(4, 9).encode()


@pytest.mark.parametrize(
    ("code", "eap", "reason", "packet"),
    [
        (2, SUCCESS, Reason.NO_KEY, b""),
        (2, FAILURE, Reason.MALFORMED, b""),
        (2, b"", Reason.MALFORMED, b""),
        (2, EAP_REQUEST, Reason.MALFORMED, b""),
        (3, FAILURE, Reason.REJECTED, FAILURE),
        (3, SUCCESS, Reason.REJECTED, b""),
        (3, b"", Reason.REJECTED, b""),
        (11, SUCCESS, Reason.MALFORMED, b""),
        (11, b"", Reason.MALFORMED, b""),
        (11, b"\1\2", Reason.MALFORMED, b""),
    ],
)
async def test_what_a_server_may_not_say(
    code: int, eap: bytes, reason: Reason, packet: bytes
) -> None:
    went = await relay(always(code, eap)).answer(b"")
    assert isinstance(went.result, Failure)
    assert (went.result.reason, went.packet) == (reason, packet)


@pytest.mark.parametrize(
    "packet",
    [
        b"\2\1",
        EapPacket(1, 9, 26, b"x").encode(),
        EapPacket(2, 8, 26, b"x").encode(),
    ],
)
async def test_what_a_peer_may_not_say(packet: bytes) -> None:
    conversation = relay(always(11, EAP_REQUEST))
    assert (await conversation.answer(b"")).result is None
    went = await conversation.answer(packet)
    assert isinstance(went.result, Failure)
    assert (went.result.reason, went.packet) == (Reason.MALFORMED, b"")


async def test_a_packet_that_no_request_holds() -> None:
    conversation = relay(always(11, EAP_REQUEST))
    await conversation.answer(b"")
    went = await conversation.answer(EapPacket(2, 9, 26, bytes(4000)).encode())
    assert isinstance(went.result, Failure)
    assert went.result.reason is Reason.TOO_LONG


async def test_a_server_that_goes_on_for_ever() -> None:
    conversation = relay(always(11, EAP_REQUEST))
    went, rounds = await conversation.answer(b""), 0
    while went.result is None:
        went = await conversation.answer(EapPacket(2, 9, 26, b"x").encode())
        rounds += 1
    assert isinstance(went.result, Failure)
    assert went.result.reason is Reason.TOO_LONG
    assert rounds == 100


@pytest.mark.parametrize("identity", ["", "x" * 254])
async def test_an_identity_that_no_server_takes(identity: str) -> None:
    went = await relay(always(11, EAP_REQUEST), whose=Whose(identity, "::1")).answer(b"")
    assert isinstance(went.result, Failure)
    assert went.result.reason is Reason.MALFORMED


async def test_where_ike_knows_the_identity_an_empty_answer_is_replaced() -> None:
    answer = EapOverRadius(behind())
    conversation = relay(a_server(MemoryPorts(answer)), ask=True)
    await conversation.answer(b"")
    assert (await conversation.answer(EapPacket(2, 77, 1).encode())).result is None
    assert answer.asked[0].eap == EapPacket(2, 77, 1, b"User").encode()


async def test_another_type_instead_of_the_identity() -> None:
    conversation = relay(always(11, EAP_REQUEST), ask=True)
    await conversation.answer(b"")
    went = await conversation.answer(EapPacket(2, 77, 26).encode())
    assert isinstance(went.result, Failure)


# -- several servers ------------------------------------------------------------------------------


def silent(name: str) -> RadiusServer:
    return a_server(MemoryPorts(lambda asked: []), name=name, timeout_s=0.01)


async def test_the_next_server_is_asked_where_the_first_is_silent() -> None:
    away, there = silent("r1"), always(11, EAP_REQUEST)
    assert (await relay(away, there).answer(b"")).packet == EAP_REQUEST
    assert away.requests == 1
    await relay(away, there).answer(b"")
    assert (away.requests, there.requests) == (1, 2)  # known to be away


async def test_nobody_answers() -> None:
    went = await relay(silent("r1"), silent("r2")).answer(b"")
    assert went == Round(b"", Failure(Reason.AWAY, "RADIUS server r2 doesn't answer", "User"))


async def test_a_round_ends_in_time_with_many_servers() -> None:
    ports = MemoryPorts(lambda asked: [])
    many = [a_server(ports, name=f"r{n}") for n in range(50)]
    went = await relay(*many, timeout_s=0.01).answer(b"")
    assert isinstance(went.result, Failure)
    assert went.result.reason is Reason.AWAY
    assert sum(one.requests for one in many) == 1


async def test_a_conversation_keeps_to_its_server() -> None:
    first = always(11, EAP_REQUEST)
    second = always(11, EAP_REQUEST)
    conversation = relay(first, second, timeout_s=0.01)
    await conversation.answer(b"")
    first._ports[0].send = lambda datagram: None
    went = await conversation.answer(EapPacket(2, 9, 26, b"x").encode())
    assert isinstance(went.result, Failure)
    assert went.result.reason is Reason.AWAY
    assert second.requests == 0


async def test_a_server_that_takes_no_more_says_so() -> None:
    full = silent("r1")
    full._ports = [full._port() for _ in range(radius_server.PORTS_MAX)]
    for port in full._ports:
        port.waiting.update(dict.fromkeys(range(256), (None, None)))  # type: ignore[arg-type]
    went = await relay(full).answer(b"")
    assert isinstance(went.result, Failure)
    assert went.result.reason is Reason.BUSY
