"""node.eap.mschapv2: the RFCs' known answers, its packets, and both sides against each other."""

import pytest

from node.eap.local import LocalServer
from node.eap.method import Conversation, Failure, Reason, Round, Success
from node.eap.mschapv2 import codec, crypto
from node.eap.mschapv2.peer import MschapV2Peer
from node.eap.mschapv2.server import MschapV2Server
from node.eap.packet import EapPacket, EapType, MalformedEapError
from node.eap.peer import EapPeer
from proto.secret import Secret
from tests.unit.node.eap.parts import USERS, FixedRng, SeededRng, talk

# RFC 2759 9.2
AUTHENTICATOR_CHALLENGE = bytes.fromhex("5B5D7C7D7B3F2F3E3C2C602132262628")
PEER_CHALLENGE = bytes.fromhex("21402324255E262A28295F2B3A337C7E")
CHALLENGE = bytes.fromhex("D02E4386BCE91226")
PASSWORD_HASH = Secret(bytes.fromhex("44EBBA8D5312B8D611474411F56989AE"))
NT_RESPONSE = bytes.fromhex("82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF")
DIGEST = "407A5589115FD0D6209F510FE9C04566932CDA56"
# RFC 3079 3.5.3
MASTER_KEY = bytes.fromhex("FDECE3717A8C838CB388E527AE3CDD31")
SEND_START_KEY = bytes.fromhex("8B7CDC149B993A1BA118CB153F56DCCB")


# -- known answers --------------------------------------------------------------------------------


def test_rfc_2759_9_2_password_hash() -> None:
    assert crypto.nt_password_hash("clientPass") == PASSWORD_HASH
    twice = crypto.hash_nt_password_hash(PASSWORD_HASH)
    assert twice.octets.hex().upper() == "41C00C584BD2D91C4017A2A12FA59F3F"


def test_rfc_2759_9_2_responses() -> None:
    made = crypto.challenge_hash(PEER_CHALLENGE, AUTHENTICATOR_CHALLENGE, b"User")
    assert made == CHALLENGE
    assert crypto.nt_response(CHALLENGE, PASSWORD_HASH) == NT_RESPONSE
    assert crypto.authenticator_response(PASSWORD_HASH, NT_RESPONSE, CHALLENGE) == DIGEST


def test_rfc_2759_9_3_des_keys() -> None:
    assert crypto.nt_password_hash("MyPw").octets.hex() == "fc156af7edcd6c0edde3337d427f4eac"
    for seven, eight in (
        ("FC156AF7EDCD6C", "FD0B5B5E7F6E34D9"),
        ("0EDDE3337D427F", "0E6E796737EA08FE"),
    ):
        assert crypto.des_key(bytes.fromhex(seven)) == bytes.fromhex(eight)


def test_rfc_3079_3_5_3_keys() -> None:
    master = crypto.master_key(PASSWORD_HASH, NT_RESPONSE)
    assert master == Secret(MASTER_KEY)
    assert crypto.start_key(master, to_server=False) == Secret(SEND_START_KEY)


def test_the_msk_is_the_servers_receive_key_then_its_send_key_then_zeros() -> None:
    msk = crypto.msk(PASSWORD_HASH, NT_RESPONSE).octets
    assert msk[:16] == crypto.start_key(Secret(MASTER_KEY), to_server=True).octets
    assert msk[16:32] == SEND_START_KEY
    assert msk[32:] == bytes(32)


# -- packets --------------------------------------------------------------------------------------

PACKETS: list[codec.Message] = [
    codec.Challenge(7, AUTHENTICATOR_CHALLENGE, b"gateway"),
    codec.Response(7, PEER_CHALLENGE, NT_RESPONSE, b"User"),
    codec.Success(7, DIGEST, "welcome"),
    codec.Failure(7, 691, AUTHENTICATOR_CHALLENGE, "no"),
]


@pytest.mark.parametrize("packet", PACKETS)
def test_a_packet_survives_its_octets(packet: codec.Message) -> None:
    octets = packet.encode()
    assert codec.DECODERS[packet.OP](octets) == packet
    assert len(octets) == int.from_bytes(octets[2:4], "big")


@pytest.mark.parametrize("packet", PACKETS)
def test_a_packet_that_ends_early_is_none(packet: codec.Message) -> None:
    octets = packet.encode()
    for end in range(len(octets)):
        with pytest.raises(MalformedEapError):
            codec.DECODERS[packet.OP](octets[:end])


def test_what_a_challenge_looks_like() -> None:
    octets = codec.Challenge(7, AUTHENTICATOR_CHALLENGE, b"me").encode()
    assert octets == bytes.fromhex("01070017 10") + AUTHENTICATOR_CHALLENGE + b"me"


@pytest.mark.parametrize(
    ("text", "digest", "message"),
    [
        (f"S={DIGEST}", DIGEST, ""),
        (f"S={DIGEST.lower()} M=hi there", DIGEST, "hi there"),
        (f"S={DIGEST} M=", DIGEST, ""),
    ],
)
def test_forms_of_success(text: str, digest: str, message: str) -> None:
    octets = bytes((3, 1, 0, 4 + len(text))) + text.encode()
    assert codec.Success.decode(octets) == codec.Success(1, digest, message)


@pytest.mark.parametrize("text", ["S=12", "M=hi", f"S={DIGEST}00", ""])
def test_what_no_success_is(text: str) -> None:
    with pytest.raises(MalformedEapError):
        codec.Success.decode(bytes((3, 1, 0, 4 + len(text))) + text.encode())


def test_forms_of_failure() -> None:
    text = f"E=648 R=1 C={AUTHENTICATOR_CHALLENGE.hex()} V=3 M=Password has expired"
    octets = bytes((4, 1, 0, 4 + len(text))) + text.encode()
    expected = codec.Failure(1, 648, AUTHENTICATOR_CHALLENGE, "Password has expired")
    assert codec.Failure.decode(octets) == expected
    assert codec.Failure.decode(bytes((4, 1, 0, 9)) + b"E=691") == codec.Failure(1, 691, b"")


# -- both sides -----------------------------------------------------------------------------------


def server(identity: str = "", *, ask: bool = False) -> LocalServer:
    rng = SeededRng(1)
    return LocalServer([lambda _: MschapV2Server(USERS, "gw", rng)], identity, 250, ask=ask)


def peer(name: str = "User", typed: str = "clientPass") -> EapPeer:
    hashed = crypto.nt_password_hash(typed)
    return EapPeer(name, [MschapV2Peer(name, hashed, SeededRng(2))])


@pytest.mark.parametrize("ask", [False, True])
@pytest.mark.parametrize(
    ("name", "password"), [("User", "clientPass"), ("carol@example.com", "Grüße, Straße")]
)
async def test_both_sides_get_the_same_key(name: str, password: str, ask: bool) -> None:
    at_server, at_peer, sent = await talk(server(ask=ask), peer(name, password))
    assert isinstance(at_server.result, Success)
    assert at_server.result == at_peer.result
    assert at_server.result.identity == name
    assert at_server.result.method == EapType.MSCHAPV2
    assert len(at_server.result.msk) == 64
    assert sent == 3 + ask


async def test_a_windows_domain_takes_no_part() -> None:
    at_server, at_peer, _ = await talk(server(), peer("OFFICE\\User"))
    assert isinstance(at_server.result, Success)
    assert isinstance(at_peer.result, Success)
    assert at_server.result.identity == "User"
    assert at_server.result.msk == at_peer.result.msk


async def spied(conversation: Conversation, name: str, password: str) -> list[bytes]:
    """The packets that the server sent, without what is random in them."""
    client = peer(name, password)
    packets, packet = [], b""
    while True:
        asked = await conversation.answer(packet)
        packets.append(asked.packet[:5] + asked.packet[9:25])
        answered = await client.answer(asked.packet)
        if asked.result is not None:
            assert isinstance(asked.result, Failure)
            assert asked.result.reason is Reason.CREDENTIALS
            return packets
        packet = answered.packet


async def test_an_unknown_user_is_told_what_a_wrong_password_is() -> None:
    wrong = await spied(server(), "User", "wrong")
    assert await spied(server(), "nobody", "wrong") == wrong
    assert len(wrong) == 3


async def test_a_wrong_password_is_named_at_the_client() -> None:
    at_server, at_peer, _ = await talk(server(ask=True), peer("User", "wrong"))
    assert at_server.result == Failure(Reason.CREDENTIALS, "wrong password of 'User'", "User")
    assert at_peer.result == Failure(Reason.REJECTED, "unknown user or wrong password")


async def refused(conversation: LocalServer) -> bytes:
    """`conversation` up to the failure request of a wrong password; its identifier."""
    client = peer("User", "wrong")
    challenge = await conversation.answer(b"")
    failure = await conversation.answer((await client.answer(challenge.packet)).packet)
    assert EapPacket.decode(failure.packet).data[0] == codec.FAILURE
    assert failure.verdict == Failure(Reason.CREDENTIALS, "wrong password of 'User'")
    assert b" R=0 " in failure.packet
    return failure.packet


@pytest.mark.parametrize("code", [codec.RESPONSE, codec.CHANGE_PASSWORD])
async def test_neither_a_second_try_nor_a_new_password_is_taken(code: int) -> None:
    conversation = server()
    failure = EapPacket.decode(await refused(conversation))
    retry = bytes((code,)) + codec.Response(7, PEER_CHALLENGE, NT_RESPONSE, b"User").encode()[1:]
    ended = await conversation.answer(EapPacket(2, failure.identifier, 26, retry).encode())
    assert EapPacket.decode(ended.packet).code == 4
    assert ended.result == Failure(Reason.CREDENTIALS, "wrong password of 'User'", "")


async def test_the_client_names_an_expired_password() -> None:
    method = MschapV2Peer("User", PASSWORD_HASH, SeededRng())
    client = EapPeer("User", [method])
    await client.answer(EapPacket(1, 1, 26, PACKETS[0].encode()).encode())
    expired = codec.Failure(7, 648, AUTHENTICATOR_CHALLENGE)
    answered = await client.answer(EapPacket(1, 2, 26, expired.encode()).encode())
    assert answered == Round(EapPacket(2, 2, 26, b"\4").encode())
    ended = await client.answer(EapPacket(4, 2).encode())
    assert isinstance(ended.result, Failure)
    assert ended.result.why == "the password has expired, and isn't changed from here"


async def test_a_server_without_the_password_is_found() -> None:
    client = EapPeer("User", [MschapV2Peer("User", PASSWORD_HASH, FixedRng(PEER_CHALLENGE))])
    challenge = codec.Challenge(7, AUTHENTICATOR_CHALLENGE, b"")
    answered = await client.answer(EapPacket(1, 1, 26, challenge.encode()).encode())
    assert answered.packet[-4:] == b"User"
    assert NT_RESPONSE in answered.packet
    lie = codec.Success(7, "0" * 40)
    ended = await client.answer(EapPacket(1, 2, 26, lie.encode()).encode())
    assert ended == Round(b"", Failure(Reason.CREDENTIALS, "the server doesn't know the password"))


async def test_a_response_to_another_challenge_ends_it() -> None:
    conversation = server()
    asked = EapPacket.decode((await conversation.answer(b"")).packet)
    response = codec.Response(asked.identifier ^ 1, PEER_CHALLENGE, NT_RESPONSE, b"User")
    packet = EapPacket(2, asked.identifier, 26, response.encode()).encode()
    ended = await conversation.answer(packet)
    assert isinstance(ended.result, Failure)
    assert ended.result.reason is Reason.MALFORMED


@pytest.mark.parametrize("first", [codec.SUCCESS, codec.FAILURE + 100, codec.RESPONSE])
async def test_the_client_takes_nothing_out_of_turn(first: int) -> None:
    ended = await peer().answer(EapPacket(1, 1, 26, bytes((first, 1, 0, 4))).encode())
    assert isinstance(ended.result, Failure)
    assert ended.result.reason is Reason.MALFORMED


async def test_a_peer_that_refuses_our_proof_is_not_let_in() -> None:
    conversation, client = server(), peer()
    asked = await conversation.answer(b"")
    success = await conversation.answer((await client.answer(asked.packet)).packet)
    number = EapPacket.decode(success.packet).identifier
    ended = await conversation.answer(EapPacket(2, number, 26, b"\4").encode())
    assert isinstance(ended.result, Failure)
    assert ended.result.reason is Reason.REJECTED
