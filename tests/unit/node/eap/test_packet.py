"""node.eap.packet: EAP packets octet by octet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.eap.packet import (
    EapPacket,
    MalformedEapError,
    decode_identity,
    name_of_type,
)

REQUEST = bytes.fromhex("01 07 000a 01 68656c6c6f")


def test_a_request_is_decoded_and_encoded() -> None:
    packet = EapPacket.decode(REQUEST)
    assert packet == EapPacket(1, 7, 1, b"hello")
    assert packet.encode() == REQUEST


def test_octets_behind_the_length_are_padding() -> None:
    assert EapPacket.decode(REQUEST + b"rest") == EapPacket(1, 7, 1, b"hello")


@pytest.mark.parametrize("code", [3, 4])
def test_success_and_failure_are_four_octets(code: int) -> None:
    assert EapPacket.decode(bytes((code, 9, 0, 4))) == EapPacket(code, 9)
    assert EapPacket(code, 9).encode() == bytes((code, 9, 0, 4))
    with pytest.raises(MalformedEapError, match="with data"):
        EapPacket.decode(bytes((code, 9, 0, 5, 1)))


@pytest.mark.parametrize("end", range(len(REQUEST)))
def test_a_packet_that_ends_early_is_none(end: int) -> None:
    with pytest.raises(MalformedEapError):
        EapPacket.decode(REQUEST[:end])


@pytest.mark.parametrize("octets", ["0101000401", "0001000501", "0501000501", "0101000301"])
def test_what_no_packet_says(octets: str) -> None:
    with pytest.raises(MalformedEapError):
        EapPacket.decode(bytes.fromhex(octets))


@given(st.sampled_from([1, 2]), st.integers(0, 255), st.integers(0, 255), st.binary(max_size=99))
def test_round_trip(code: int, identifier: int, type_: int, data: bytes) -> None:
    packet = EapPacket(code, identifier, type_, data)
    assert EapPacket.decode(packet.encode()) == packet


def test_an_identity_ends_at_a_nul() -> None:
    assert decode_identity("carol@exämple.com\0options=1".encode()) == "carol@exämple.com"


@pytest.mark.parametrize("data", [b"\xff", b"two\nlines", bytes(b"x" * 254)])
def test_what_no_identity_is(data: bytes) -> None:
    with pytest.raises(MalformedEapError):
        decode_identity(data)


def test_types_have_names() -> None:
    assert (name_of_type(26), name_of_type(200)) == ("MSCHAPV2", "type 200")
