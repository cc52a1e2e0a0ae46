"""Sealed records: who opens them, and that no key and counter meet twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import Incompatible
from cluster.keyring import KeyRing, RingPolicy, activate, announce, new_ring, retire
from cluster.records import STREAMS_MAX, RecordVault
from tests.unit.cluster.fakes import T0, HandClock, SeededRng

KEY = b"/standfast/sample/record/0001/0011223344556677"
POLICY = RingPolicy()
RING = new_ring(SeededRng(1), T0, POLICY)
HEADER = 33


class Member:
    """A process with a ring and a vault."""

    def __init__(self, name: str, ring: KeyRing = RING) -> None:
        self.ring = ring
        self.clock = HandClock()
        self.vault = RecordVault(lambda: self.ring, self.clock, SeededRng(1, name))


@given(st.binary(max_size=2000))
def test_any_member_opens_what_another_sealed(record: bytes) -> None:
    one, two = Member("gw1"), Member("gw2")
    assert two.vault.open_record(one.vault.seal_record(record, KEY), KEY) == record


def test_no_counter_repeats_and_no_two_processes_share_a_stream() -> None:
    members = [Member(f"gw{n}") for n in range(3)]
    headers = [m.vault.seal_record(b"x", KEY)[:HEADER] for m in members for _ in range(50)]
    assert len(set(headers)) == len(headers)
    assert len({header[:25] for header in headers}) == len(members)


def test_a_restarted_process_begins_another_stream() -> None:
    before = Member("gw1, first start").vault.seal_record(b"x", KEY)
    after = Member("gw1, second start").vault.seal_record(b"x", KEY)
    assert before[:25] != after[:25]


def test_a_record_put_in_anothers_place_does_not_open() -> None:
    member = Member("gw1")
    sealed = member.vault.seal_record(b"x", KEY)
    with pytest.raises(Incompatible, match="damaged or moved"):
        member.vault.open_record(sealed, KEY[:-1] + b"8")


def test_no_flipped_bit_and_no_truncation_opens() -> None:
    member = Member("gw1")
    sealed = member.vault.seal_record(b"plain", KEY)
    for position in range(len(sealed)):
        flipped = bytearray(sealed)
        flipped[position] ^= 1
        for damaged in (bytes(flipped), sealed[:position]):
            with pytest.raises(Incompatible):
                member.vault.open_record(damaged, KEY)


def test_nothing_of_a_record_is_readable() -> None:
    assert b"canary" not in Member("gw1").vault.seal_record(b"canary" * 10, KEY)


def test_after_a_rotation_new_records_use_the_new_key_and_old_ones_open_until_its_end() -> None:
    member = Member("gw1")
    old = member.vault.seal_record(b"old", KEY)
    ring = announce(RING, SeededRng(2), T0, POLICY)
    assert ring.tickets.announced is not None
    member.ring = activate(ring, ring.tickets.announced.key_id, T0, POLICY)
    member.ring = retire(member.ring, T0, POLICY)
    new = member.vault.seal_record(b"new", KEY)
    assert old[1:9] != new[1:9]
    assert member.vault.open_record(old, KEY) == b"old"
    member.clock.advance(POLICY.record_lifetime_s + POLICY.margin_s)
    with pytest.raises(Incompatible, match="does not hold"):
        member.vault.open_record(old, KEY)
    assert member.vault.open_record(new, KEY) == b"new"


def test_a_key_derived_before_opens_nothing_once_it_left_the_ring() -> None:
    member = Member("gw1")
    sealed = member.vault.seal_record(b"x", KEY)
    assert member.vault.open_record(sealed, KEY) == b"x"
    member.ring = new_ring(SeededRng(9), T0, POLICY)
    with pytest.raises(Incompatible, match="does not hold"):
        member.vault.open_record(sealed, KEY)


def test_a_reader_keeps_a_bounded_number_of_streams() -> None:
    reader = Member("reader")
    first = Member("writer 0").vault.seal_record(b"0", KEY)
    assert reader.vault.open_record(first, KEY) == b"0"
    for number in range(1, STREAMS_MAX + 10):
        sealed = Member(f"writer {number}").vault.seal_record(b"x", KEY)
        reader.vault.open_record(sealed, KEY)
    assert len(reader.vault._streams) == STREAMS_MAX
    assert reader.vault.open_record(first, KEY) == b"0"
