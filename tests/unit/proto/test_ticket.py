"""Tickets by value: they open at any member with the key, and at no other, and nothing of them
shows.
"""

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from proto.ike.errors import TicketReason, TicketRejected
from proto.ike.names import parse_suite
from proto.ike.suite import Suite
from proto.ike.ticket import (
    TICKET_MAX,
    TICKET_MIN,
    ClientTicket,
    TicketBody,
    open_ticket,
    seal,
)
from proto.secret import Secret
from tests.unit.proto.test_dh import CountingRng

REALM = b"sample"
NOW = 1_800_000_000.0
SUITE = parse_suite("aes256gcm16-prfsha256-x25519")
NUMBERS = (SUITE.encr, SUITE.key_bits, SUITE.integ, SUITE.prf, SUITE.ke)


class Key(msgspec.Struct, frozen=True):
    """One key of a ring."""

    key_id: bytes
    secret: Secret

    def expand(self, info: bytes) -> bytes:
        """As the ring's key does, by the library's own HKDF."""
        return HKDFExpand(hashes.SHA512(), 64, info).derive(self.secret.octets)


class Ring:
    """Keys by id; counts how often it was asked."""

    def __init__(self, *keys: Key) -> None:
        self.keys = {key.key_id: key for key in keys}
        self.asked = 0

    def sealing(self, wall_s: float) -> Key | None:
        return next(iter(self.keys.values()), None)

    def opening(self, key_id: bytes, wall_s: float) -> Key | None:
        self.asked += 1
        return self.keys.get(key_id)


OLD = Key(b"old-key!", Secret(b"o" * 32))
NEW = Key(b"new-key!", Secret(b"n" * 32))
RING = Ring(OLD, NEW)
BODY = TicketBody(
    id=b"t" * 16,
    chain=b"c" * 16,
    generation=3,
    epoch=1,
    issued_wall_s=NOW,
    expires_wall_s=NOW + 3600,
    auth_deadline_wall_s=NOW + 14400,
    spi_i=b"I" * 8,
    spi_r=b"R" * 8,
    idi_type=3,
    idi=b"alice@example.com",
    idr_type=2,
    idr=b"vpn.example.com",
    identity="alice@example.com",
    auth_method="psk",
    suite=NUMBERS,
    sk_d=b"secret old SK_d of 32 octets....",
)


def replaced(**changes) -> TicketBody:
    """BODY with other values."""
    return msgspec.structs.replace(BODY, **changes)


def refused(octets: bytes, keys=RING, realm=REALM, now=NOW) -> TicketReason:
    """Why `octets` are refused."""
    with pytest.raises(TicketRejected) as caught:
        open_ticket(octets, keys, realm, now, skew_s=10)
    return caught.value.reason


bodies = st.builds(
    TicketBody,
    id=st.binary(min_size=16, max_size=16),
    chain=st.binary(min_size=16, max_size=16),
    generation=st.integers(1, 2**40),
    epoch=st.integers(0, 255),
    issued_wall_s=st.floats(NOW - 3600, NOW),
    expires_wall_s=st.floats(NOW, NOW + 2**40),
    auth_deadline_wall_s=st.floats(NOW, NOW + 2**40),
    spi_i=st.binary(min_size=8, max_size=8),
    spi_r=st.binary(min_size=8, max_size=8),
    idi_type=st.integers(0, 255),
    idi=st.binary(max_size=300),
    idr_type=st.integers(0, 255),
    idr=st.binary(max_size=300),
    identity=st.text(max_size=100),
    auth_method=st.sampled_from(["psk", "eap"]),
    suite=st.tuples(*[st.integers(0, 65535)] * 5),
    sk_d=st.binary(min_size=32, max_size=64),
    flags=st.integers(0, 2**32),
)


@given(bodies, st.sampled_from([OLD, NEW]))
def test_r50_what_was_sealed_opens_with_the_ring_alone(body, key):
    octets = seal(body, key, REALM, CountingRng())
    assert open_ticket(octets, RING, REALM, NOW, skew_s=0) == body


@given(bodies, st.data())
def test_r47_one_flipped_bit_is_refused(body, data):
    octets = bytearray(seal(body, OLD, REALM, CountingRng()))
    bit = data.draw(st.integers(0, 8 * len(octets) - 1))
    octets[bit // 8] ^= 1 << bit % 8
    assert refused(bytes(octets)) in {
        TicketReason.MALFORMED,
        TicketReason.UNKNOWN_KEY,
        TicketReason.FORGED,
    }


def test_r47_every_bit_of_one_ticket():
    good = seal(BODY, OLD, REALM, CountingRng())
    reasons = []
    for bit in range(8 * len(good)):
        octets = bytearray(good)
        octets[bit // 8] ^= 1 << bit % 8
        reasons.append(refused(bytes(octets)))
    assert reasons[:8] == [TicketReason.MALFORMED] * 8
    assert reasons[8:72] == [TicketReason.UNKNOWN_KEY] * 64
    assert set(reasons[72:]) == {TicketReason.FORGED}


@given(st.binary(max_size=400))
def test_any_octets_are_refused(octets):
    refused(octets)
    refused(b"\x01" + OLD.key_id + octets)


def test_every_truncation_is_refused():
    octets = seal(BODY, OLD, REALM, CountingRng())
    for end in range(len(octets)):
        refused(octets[:end])
    assert refused(octets + b"\0") == TicketReason.FORGED


def test_lengths_out_of_bounds_are_refused_before_the_ring_is_asked():
    ring = Ring(OLD)
    start = b"\x01" + OLD.key_id
    for size in (0, 1, TICKET_MIN - 1, TICKET_MAX + 1, 65000):
        assert refused(start.ljust(size, b"x")[:size], ring) == TicketReason.MALFORMED
    assert ring.asked == 0
    for size in (TICKET_MIN, TICKET_MAX):
        assert refused(start.ljust(size, b"x"), ring) == TicketReason.FORGED
    assert ring.asked == 2


def test_another_realm_and_another_key_of_that_id_are_forgeries():
    octets = seal(BODY, OLD, REALM, CountingRng())
    assert refused(octets, realm=b"another") == TicketReason.FORGED
    other = Ring(Key(OLD.key_id, Secret(b"x" * 32)))
    assert refused(octets, other) == TicketReason.FORGED
    assert refused(octets, Ring(NEW)) == TicketReason.UNKNOWN_KEY


def test_octets_can_not_move_between_the_clear_part_and_the_realm():
    octets = seal(BODY, OLD, b"ab", CountingRng())
    assert refused(octets, realm=b"a") == TicketReason.FORGED


def test_r51_a_ticket_expires_with_the_members_skew_allowed_for():
    octets = seal(BODY, OLD, REALM, CountingRng())
    assert open_ticket(octets, RING, REALM, NOW + 3610, skew_s=10) == BODY
    assert refused(octets, now=NOW + 3610.1) == TicketReason.EXPIRED


def test_a_ticket_never_outlives_the_original_authentication():
    octets = seal(replaced(auth_deadline_wall_s=NOW + 100), OLD, REALM, CountingRng())
    assert refused(octets, now=NOW + 110.1) == TicketReason.EXPIRED


def test_a_ticket_from_the_future_says_that_a_clock_is_wrong():
    octets = seal(BODY, OLD, REALM, CountingRng())
    assert open_ticket(octets, RING, REALM, NOW - 10, skew_s=10) == BODY
    assert refused(octets, now=NOW - 10.1) == TicketReason.NOT_YET_VALID


def test_two_tickets_of_one_session_share_nothing_but_the_key_id():
    rng = CountingRng()
    one, other = seal(BODY, OLD, REALM, rng), seal(BODY, OLD, REALM, rng)
    assert one[:9] == other[:9] == b"\x01" + OLD.key_id
    assert one[9:25] != other[9:25]
    assert one[25:] != other[25:]


def test_r47_nothing_of_the_content_is_readable():
    octets = seal(BODY, OLD, REALM, CountingRng())
    for value in (BODY.id, BODY.chain, BODY.idi, BODY.idr, BODY.sk_d, BODY.spi_i, b"psk"):
        assert value not in octets


def test_a_ticket_with_short_identities_leaves_room_in_a_datagram():
    """a.6: about 1000 octets are left for a ticket that can't be fragmented."""
    assert len(seal(BODY, OLD, REALM, CountingRng())) < 320


class Newer(TicketBody, frozen=True, gc=False, array_like=True):
    """What the next release may seal."""

    profile: str = "new"


def test_fields_of_a_newer_release_are_ignored():
    values = {name: getattr(BODY, name) for name in BODY.__struct_fields__}
    octets = seal(Newer(**values), OLD, REALM, CountingRng())
    assert open_ticket(octets, RING, REALM, NOW, skew_s=0) == BODY


@pytest.mark.parametrize("content", [["too", "short"], 7, {"id": 1}])
def test_a_right_seal_over_another_content_is_malformed(content):
    octets = seal(content, OLD, REALM, CountingRng())
    assert refused(octets) == TicketReason.MALFORMED


def test_the_suite_comes_back_as_it_was():
    assert Suite(*BODY.suite) == SUITE


CLIENT = ClientTicket(
    ticket=b"\x01opaque\xff",
    expires_wall_s=NOW + 3600,
    suite=NUMBERS,
    sk_d=Secret(b"secret old SK_d of 32 octets...."),
    idi_type=3,
    idi=b"alice@example.com",
    idr_type=2,
    idr=b"vpn.example.com",
    auth_method="psk",
)


def test_r10_the_client_s_file_reads_back():
    assert ClientTicket.decode(CLIENT.encode()) == CLIENT


@pytest.mark.parametrize("end", [0, 1, 40, -1])
def test_a_damaged_file_is_a_refused_ticket(end):
    with pytest.raises(TicketRejected, match="malformed"):
        ClientTicket.decode(CLIENT.encode()[:end])


def test_a_file_whose_key_is_no_hex_is_a_refused_ticket():
    damaged = CLIENT.encode().replace(CLIENT.sk_d.octets.hex().encode(), b"zz")
    with pytest.raises(TicketRejected, match="malformed"):
        ClientTicket.decode(damaged)
    damaged = CLIENT.encode().replace(f'"{CLIENT.sk_d.octets.hex()}"'.encode(), b"7")
    with pytest.raises(TicketRejected, match="malformed"):
        ClientTicket.decode(damaged)


@pytest.mark.parametrize("value", [BODY, CLIENT], ids=["member", "client"])
def test_printing_shows_no_key(value):
    for text in (repr(value), str(value)):
        assert "secret old" not in text
        assert b"secret old".hex() not in text
