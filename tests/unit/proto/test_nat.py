"""NAT detection against the octets of a real libreswan at known addresses (RFC 7296 2.23)."""

from typing import Any

import pytest

from proto.ike.effects import Path
from proto.ike.enums import ExchangeType
from proto.ike.message import Message, decode_clear, encode_clear
from proto.ike.nat import HERE, PRETENDED, SHOWN, SOURCES_MAX, THERE, found, shown
from proto.ike.payloads import NotifyPayload
from tests.unit.proto.known import LIBRESWAN, load, octets

WEST, EAST = ("192.0.2.2", 500), ("192.0.2.1", 500)
AWAY = ("192.0.2.9", 500)
CAPTURES = [load(f"libreswan/{name}.json") for name in LIBRESWAN]


def first_messages(capture: dict[str, Any]) -> list[Message]:
    """Every IKE_SA_INIT message that shows its addresses."""
    clear = [m for m in capture["messages"] if m["exchange"] == ExchangeType.IKE_SA_INIT.name]
    messages = [decode_clear(octets(m["octets"])) for m in clear]
    return [m for m in messages if len(m.notifies) > 1]


@pytest.mark.parametrize("capture", CAPTURES, ids=LIBRESWAN)
def test_a_real_peers_hashes_tell_who_is_where(capture: dict[str, Any]) -> None:
    messages = first_messages(capture)
    assert len(messages) >= 2
    for message in messages:
        here, there = (WEST, EAST) if message.header.is_response else (EAST, WEST)
        assert found(message, Path(here, there), pretend=False) == SHOWN
        assert found(message, Path(AWAY, there), pretend=False) == SHOWN | HERE
        assert found(message, Path(here, (there[0], 501)), pretend=False) == SHOWN | THERE
        assert found(message, Path(here, there), pretend=True) == SHOWN | PRETENDED
        mine = shown(message.header.spi_i, message.header.spi_r, Path(there, here), pretend=False)
        assert [n for n in message.notifies if n in mine] == list(mine)


@pytest.mark.parametrize("left_out", [0, 1])
def test_half_of_it_is_nothing(left_out: int) -> None:
    both = shown(b"12345678", bytes(8), Path(WEST, EAST), pretend=False)
    data = encode_clear(b"12345678", bytes(8), 34, 8, 0, (both[left_out],))
    assert found(decode_clear(data), Path(EAST, WEST), pretend=False) == 0


def test_only_so_many_sources_are_looked_at() -> None:
    source, destination = shown(b"12345678", bytes(8), Path(WEST, EAST), pretend=False)
    wrong = (NotifyPayload(source.type, bytes(20)),)
    for before, wanted in ((SOURCES_MAX - 1, SHOWN), (SOURCES_MAX, SHOWN | THERE)):
        data = encode_clear(b"12345678", bytes(8), 34, 8, 0, (*wrong * before, source, destination))
        assert found(decode_clear(data), Path(EAST, WEST), pretend=False) == wanted
