"""Tickets by reference: what the pointer holds, and what it opens as (RFC 5723 6.1)."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.ike.errors import TicketReason, TicketRejected
from proto.ike.reference import (
    Reference,
    encode_state,
    is_reference,
    open_reference,
    resolve,
    seal_reference,
)
from proto.ike.ticket import (
    BY_REFERENCE,
    REFERENCE_FORMAT,
    TICKET_MAX,
    open_ticket,
    seal,
    seal_octets,
)
from tests.pair.parts import SeededRng
from tests.unit.proto.test_ticket import BODY, NEW, NOW, OLD, REALM, RING, bodies, replaced

RNG = SeededRng("reference")


def refused(octets: bytes, realm: bytes = REALM, now: float = NOW) -> TicketReason:
    """Why `octets` are refused."""
    with pytest.raises(TicketRejected) as caught:
        open_reference(octets, RING, realm, now, skew_s=10)
    return caught.value.reason


@given(body=bodies)
def test_a_pointer_and_what_is_kept_make_the_whole_ticket(body) -> None:
    pointer = open_reference(seal_reference(body, NEW, REALM, RNG), RING, REALM, NOW, 10)
    kept = msgspec.structs.replace(body, flags=body.flags | BY_REFERENCE)
    assert resolve(pointer, encode_state(body)) == kept


def test_a_pointer_is_small_whatever_it_points_to() -> None:
    large = replaced(idi=b"d" * 400, identity="d" * 512)
    pointer = seal_reference(large, NEW, REALM, RNG)
    assert len(seal(large, NEW, REALM, RNG)) > 1000
    assert len(pointer) < 130
    assert is_reference(pointer)
    assert not is_reference(seal(large, NEW, REALM, RNG))
    assert not is_reference(b"")


def test_nothing_in_a_pointer_tells_whose_it_is() -> None:
    one, two = (seal_reference(BODY, NEW, REALM, RNG) for _ in range(2))  # R78
    for secret in (BODY.chain, BODY.idi, BODY.sk_d, BODY.id, BODY.spi_r):
        assert secret not in one
    assert one[:9] == two[:9] == bytes((REFERENCE_FORMAT,)) + NEW.key_id
    assert one[9:25] != two[9:25]


def test_every_flipped_bit_is_refused() -> None:
    good = seal_reference(BODY, OLD, REALM, RNG)  # R49
    for bit in range(8 * len(good)):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        assert refused(bytes(bad)) in (
            TicketReason.MALFORMED,
            TicketReason.UNKNOWN_KEY,
            TicketReason.FORGED,
        )


def test_a_pointer_of_another_cluster_or_cut_short_is_refused() -> None:
    good = seal_reference(BODY, NEW, b"elsewhere", RNG)
    assert refused(good) is TicketReason.FORGED
    for end in range(len(good)):
        assert refused(good[:end], b"elsewhere") in (TicketReason.MALFORMED, TicketReason.FORGED)
    assert refused(good + bytes(TICKET_MAX), b"elsewhere") is TicketReason.MALFORMED


def test_neither_form_opens_as_the_other() -> None:
    value, pointer = seal(BODY, NEW, REALM, RNG), seal_reference(BODY, NEW, REALM, RNG)
    assert refused(value) is TicketReason.MALFORMED
    assert refused(bytes((REFERENCE_FORMAT,)) + value[1:]) is TicketReason.FORGED
    for octets, reason in (
        (pointer, TicketReason.MALFORMED),
        (b"\x01" + pointer[1:], TicketReason.FORGED),
    ):
        with pytest.raises(TicketRejected) as caught:
            open_ticket(octets, RING, REALM, NOW, 10)
        assert caught.value.reason is reason


def test_a_pointer_has_its_own_dates() -> None:
    pointer = seal_reference(BODY, NEW, REALM, RNG)
    assert refused(pointer, now=BODY.expires_wall_s + 11) is TicketReason.EXPIRED  # R51
    assert refused(pointer, now=NOW - 11) is TicketReason.NOT_YET_VALID
    never = seal_reference(replaced(expires_wall_s=float("nan")), NEW, REALM, RNG)
    assert refused(never) is TicketReason.EXPIRED


def test_a_later_ticket_of_the_same_generation_leaves_the_earlier_ones_dates_alone() -> None:
    pointer = open_reference(seal_reference(BODY, NEW, REALM, RNG), RING, REALM, NOW, 10)
    later = replaced(id=b"L" * 16, issued_wall_s=NOW + 60, expires_wall_s=NOW + 7200)
    assert resolve(pointer, encode_state(later)) == replaced(flags=BY_REFERENCE)


@pytest.mark.parametrize(
    "state",
    [
        b"",
        b"\x02" + encode_state(BODY)[1:],
        encode_state(BODY)[:-1],
        encode_state(replaced(generation=BODY.generation + 1)),
        encode_state(replaced(chain=b"another chain id")),
        encode_state(replaced(epoch=BODY.epoch + 1)),
    ],
    ids=["gone", "a later format", "damaged", "another generation", "another chain", "epoch"],
)
def test_what_it_does_not_point_to_is_not_taken(state: bytes) -> None:
    pointer = open_reference(seal_reference(BODY, NEW, REALM, RNG), RING, REALM, NOW, 10)
    with pytest.raises(TicketRejected) as caught:
        resolve(pointer, state)
    assert caught.value.reason is TicketReason.UNRESOLVED


@given(plaintext=st.binary(max_size=200))
def test_what_another_release_sealed_is_refused_or_read(plaintext: bytes) -> None:
    octets = seal_octets(REFERENCE_FORMAT, plaintext, NEW, REALM, RNG)
    try:
        pointer = open_reference(octets, RING, REALM, NOW, 10)
    except TicketRejected:
        return
    assert isinstance(pointer, Reference)


def test_fields_of_a_later_release_are_ignored() -> None:
    fields = [BODY.id, BODY.chain, 3, 1, NOW, NOW + 60, "new"]
    octets = seal_octets(REFERENCE_FORMAT, msgspec.msgpack.encode(fields), NEW, REALM, RNG)
    assert open_reference(octets, RING, REALM, NOW, 10).generation == 3
