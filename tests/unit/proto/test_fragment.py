"""Fragments: sealed apart, put together once all are there, bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.ike.aead import IvSpace
from proto.ike.enums import FLAG_RESPONSE, ExchangeType, PayloadType
from proto.ike.errors import Misuse, WireError
from proto.ike.fragment import (
    FRAGMENTS_MAX,
    REASSEMBLY_MAX,
    Fragment,
    Reassembly,
    open_fragment,
    seal_fragments,
)
from proto.ike.message import decode_inner, peek
from proto.ike.payloads import CertPayload, NotifyPayload
from tests.unit.proto.test_message import SPI_I, SPI_R, SUITES, changed, keyed

CHAIN = (CertPayload(4, bytes(range(256)) * 5), NotifyPayload(16384))


def cut(suite=SUITES[0], chain=CHAIN, max_octets=500):
    """(protection, the datagrams of `chain` in fragments)."""
    box, _ = keyed(suite)
    ivs = IvSpace(1, 2)
    fresh = ivs.next if box.counter_iv else lambda: bytes(8) + ivs.next()
    return box, seal_fragments(
        SPI_I, SPI_R, ExchangeType.IKE_AUTH, FLAG_RESPONSE, 1, chain, box, fresh, max_octets
    )


@pytest.mark.parametrize("suite", SUITES, ids=str)
@given(order=st.randoms(use_true_random=False))
def test_b41_fragments_in_any_order_and_repeated_make_the_message(suite, order):
    box, datagrams = cut(suite)
    assert len(datagrams) > 2
    assert all(len(datagram) <= 500 for datagram in datagrams)
    arriving = datagrams + datagrams[:-1]
    order.shuffle(arriving)
    reassembly = Reassembly()
    results = []
    for datagram in arriving:
        header = peek(datagram)
        assert header.next_payload == PayloadType.SKF
        results.append(reassembly.add(open_fragment(datagram, header, box)))
    whole = [result for result in results if result is not None]
    assert len(whole) == 1
    assert decode_inner(peek(datagrams[0]), *whole[0]).payloads == CHAIN


def test_only_the_first_fragment_names_the_first_payload():
    box, datagrams = cut()
    fragments = [open_fragment(datagram, peek(datagram), box) for datagram in datagrams]
    assert [fragment.first for fragment in fragments] == [37] + [0] * (len(fragments) - 1)
    assert [fragment.number for fragment in fragments] == list(range(1, len(fragments) + 1))


def test_an_empty_chain_is_one_fragment():
    box, (datagram,) = cut(chain=())
    fragment = open_fragment(datagram, peek(datagram), box)
    assert Reassembly().add(fragment) == (0, b"")


def test_no_flipped_bit_opens():
    box, (datagram, *_) = cut(chain=CHAIN[1:])
    for bit in range(8 * len(datagram)):
        flipped = changed(datagram, bit // 8, datagram[bit // 8] ^ 1 << bit % 8)
        with pytest.raises(WireError):
            open_fragment(flipped, peek(datagram), box)


@pytest.mark.parametrize("numbers", [(0, 1), (2, 1), (1, 0), (1, FRAGMENTS_MAX + 1)])
def test_numbers_out_of_bounds_are_refused_before_any_cryptography(numbers):
    box, (datagram, *_) = cut()
    number, total = numbers
    bad = datagram[:32] + number.to_bytes(2, "big") + total.to_bytes(2, "big") + datagram[36:]
    with pytest.raises(WireError, match=f"fragment {number} of {total}"):
        open_fragment(bad, peek(bad), box)


def test_a_payload_too_short_for_its_numbers_is_a_wire_error():
    box, (datagram, *_) = cut()
    bad = datagram[:24] + (34).to_bytes(4, "big") + bytes((0, 0, 0, 6, 0, 1))
    with pytest.raises(WireError, match="truncated"):
        open_fragment(bad, peek(bad), box)


def test_a_set_of_more_fragments_starts_over_and_a_smaller_one_is_ignored():
    """RFC 7383 2.5.2: a peer that probes for a smaller MTU sends more and smaller fragments."""
    reassembly = Reassembly()
    assert reassembly.add(Fragment(1, 2, 35, b"old")) is None
    assert reassembly.add(Fragment(1, 3, 35, b"a")) is None
    assert reassembly.add(Fragment(2, 2, 0, b"old")) is None
    assert reassembly.add(Fragment(3, 3, 0, b"c")) is None
    assert reassembly.add(Fragment(2, 3, 0, b"b")) == (35, b"abc")


def test_the_reassembled_size_is_bounded():
    reassembly = Reassembly()
    reassembly.add(Fragment(1, 3, 35, bytes(REASSEMBLY_MAX)))
    with pytest.raises(WireError, match="exceeds"):
        reassembly.add(Fragment(2, 3, 0, b"x"))
    assert reassembly.add(Fragment(1, 1, 35, b"new")) == (35, b"new")


def test_a_size_without_room_is_misuse():
    with pytest.raises(Misuse, match="no room"):
        cut(max_octets=61)
    assert len(cut(chain=CHAIN[1:], max_octets=62)[1]) == 8


def test_rather_than_too_many_the_pieces_are_longer():
    box, datagrams = cut(max_octets=62)
    assert FRAGMENTS_MAX - 12 < len(datagrams) <= FRAGMENTS_MAX
    assert max(map(len, datagrams)) == 61 + 11
    reassembly = Reassembly()
    for data in datagrams:
        whole = reassembly.add(open_fragment(data, peek(data), box))
    assert whole is not None
    assert decode_inner(peek(datagrams[0]), *whole).payloads == CHAIN
