"""The key ring: states, windows, lookups, and what other releases may find in it."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import ClusterError, Conflict, Incompatible
from cluster.keyring import (
    KEYS_MAX,
    QCD_MAX,
    KeyRing,
    KeyState,
    RingPolicy,
    activate,
    announce,
    decode,
    encode,
    expire,
    new_ring,
    retire,
)
from tests.unit.cluster.fakes import SeededRng

T0 = 1_790_000_000.0
POLICY = RingPolicy(
    ticket_lifetime_s=3600,
    sealing_period_s=86400,
    opening_period_s=4000,
    record_lifetime_s=20000,
    cookie_lifetime_s=100,
    margin_s=60,
)


def rng() -> SeededRng:
    return SeededRng(1, "ring")


def first() -> KeyRing:
    return new_ring(rng(), T0, POLICY)


def rotated(ring: KeyRing, at: float, seed: int = 7) -> KeyRing:
    ring = announce(ring, SeededRng(seed, f"{at}"), at, POLICY)
    assert ring.tickets.announced is not None
    return retire(activate(ring, ring.tickets.announced.key_id, at, POLICY), at, POLICY)


def test_a_new_ring_seals_at_once() -> None:
    ring = first()
    key = ring.sealing(T0)
    assert key is not None
    assert ring.opening(key.key_id, T0) is key
    assert len(key.key_id) == 8
    assert len(key.secret) == 32


def test_an_announced_key_opens_but_does_not_seal() -> None:
    ring = announce(first(), rng(), T0, POLICY)
    new = ring.tickets.announced
    assert new is not None
    assert ring.sealing(T0) is not new
    assert ring.opening(new.key_id, T0) is new


def test_announcing_twice_announces_one_key() -> None:
    ring = announce(first(), rng(), T0, POLICY)
    assert announce(ring, SeededRng(2, "x"), T0, POLICY) is ring


def test_activation_swaps_the_sealing_key_of_every_use() -> None:
    old = first()
    ring = announce(old, SeededRng(2, "x"), T0, POLICY)
    assert ring.tickets.announced is not None
    ring = activate(ring, ring.tickets.announced.key_id, T0 + 5, POLICY)
    for before, after in (
        (old.tickets, ring.tickets),
        (old.records, ring.records),
        (old.cookie_keys, ring.cookie_keys),
        (old.qcd, ring.qcd),
    ):
        former, present = before.sealing(T0), after.sealing(T0 + 5)
        assert former is not None
        assert present is not None
        assert present.key_id != former.key_id
        assert present.seals_from_wall_s == T0 + 5
        assert after.announced is None
        assert after.index[former.key_id].state is KeyState.OPENING
        assert after.opening(former.key_id, T0 + 5) is not None


def test_only_an_announced_key_is_activated() -> None:
    ring = first()
    with pytest.raises(Conflict):
        activate(ring, ring.tickets.keys[0].key_id, T0, POLICY)
    ring = announce(ring, rng(), T0, POLICY)
    with pytest.raises(Conflict):
        activate(ring, bytes(8), T0, POLICY)


def test_before_retirement_a_former_key_opens_to_the_end_of_what_laggards_may_seal() -> None:
    """A member that has not installed the ring may seal until the key's own window ends."""
    ring = first()
    former = ring.tickets.keys[0]
    ring = announce(ring, SeededRng(2, "x"), T0, POLICY)
    assert ring.tickets.announced is not None
    ring = activate(ring, ring.tickets.announced.key_id, T0 + 1, POLICY)
    last_seal = T0 + POLICY.sealing_period_s - 1
    assert first().sealing(last_seal) is not None
    assert ring.opening(former.key_id, last_seal + POLICY.ticket_lifetime_s) is not None


def test_r59_a_retired_key_opens_for_the_longest_ticket_lifetime_and_then_is_gone() -> None:
    former = first().tickets.keys[0]
    ring = rotated(first(), T0 + 10)
    end = T0 + 10 + POLICY.opening_period_s + POLICY.margin_s
    assert ring.opening(former.key_id, T0 + 10 + POLICY.ticket_lifetime_s) is not None
    assert ring.opening(former.key_id, end - 1) is not None
    assert ring.opening(former.key_id, end) is None
    assert former.key_id in expire(ring, end - 1).tickets.index
    assert former.key_id not in expire(ring, end).tickets.index


def test_retiring_again_does_not_put_the_end_off() -> None:
    ring = rotated(first(), T0 + 10)
    assert retire(ring, T0 + 1000, POLICY) == ring


def test_a_policy_shortened_later_does_not_shorten_what_was_promised() -> None:
    short = RingPolicy(ticket_lifetime_s=60, opening_period_s=60, margin_s=1)
    ring = announce(first(), SeededRng(2, "x"), T0, short)
    former = ring.tickets.keys[0]
    assert ring.tickets.announced is not None
    ring = retire(activate(ring, ring.tickets.announced.key_id, T0, short), T0, short)
    assert ring.opening(former.key_id, T0 + POLICY.ticket_lifetime_s) is not None


def test_records_open_for_as_long_as_one_can_live() -> None:
    former = first().records.keys[0]
    ring = rotated(first(), T0 + 10)
    assert ring.records.opening(former.key_id, T0 + 10 + POLICY.record_lifetime_s) is not None
    assert ring.records.opening(former.key_id, T0 + 10 + 2 * POLICY.record_lifetime_s) is None


def test_a_key_not_replaced_stops_sealing_tickets_but_never_records_or_cookies() -> None:
    ring = first()
    end = T0 + POLICY.sealing_period_s
    assert ring.sealing(end - 1) is not None
    assert ring.sealing(end) is None
    assert ring.opening(ring.tickets.keys[0].key_id, end) is not None
    assert ring.records.sealing(end * 2) is not None
    assert ring.cookies.sealing(end * 2)[1] == ring.cookie_keys.keys[0].secret


def test_cookies_go_by_a_generation_of_one_octet() -> None:
    ring = first()
    generation, secret = ring.cookies.sealing(T0)
    assert generation == 0
    assert ring.cookies.opening(0, T0) == secret
    assert ring.cookies.opening(1, T0) is None
    ring = rotated(ring, T0 + 10)
    assert ring.cookies.sealing(T0 + 10)[0] == 1
    assert ring.cookies.opening(0, T0 + 10 + POLICY.cookie_lifetime_s) == secret
    assert ring.cookies.opening(0, T0 + 10 + POLICY.cookie_lifetime_s + POLICY.margin_s) is None


def test_generations_go_round_without_meeting() -> None:
    ring, now = first(), T0
    for _ in range(300):
        now += 10_000
        ring = rotated(ring, now)
        assert len(ring.cookie_keys.index) == len(ring.cookie_keys.keys)
    assert ring.cookies.sealing(now)[0] == 300 % 256


def test_at_most_four_qcd_secrets_are_kept_and_the_sealing_one_is_among_them() -> None:
    ring = first()
    for step in range(1, 9):
        ring = rotated(ring, T0 + step)
        assert len(ring.qcd.keys) <= QCD_MAX
        assert ring.qcd.sealing(T0 + step) is not None


def test_the_ring_does_not_grow_for_ever_and_says_when_to_come_back() -> None:
    ring = first()
    for step in range(1, KEYS_MAX):
        ring = rotated(ring, T0 + step)
    assert len(ring.tickets.keys) == KEYS_MAX
    with pytest.raises(ClusterError, match="rotate again in"):
        announce(ring, rng(), T0 + KEYS_MAX, POLICY)
    later = T0 + KEYS_MAX + 5000
    assert announce(ring, rng(), later, POLICY).tickets.announced is not None


def test_encoding_and_back() -> None:
    ring = announce(rotated(first(), T0 + 3), SeededRng(9, "x"), T0 + 3, POLICY)
    back = decode(encode(ring))
    assert back == ring
    assert back.tickets.keys[0].secret == ring.tickets.keys[0].secret


def test_fields_of_a_newer_release_are_kept_when_this_one_writes_the_ring() -> None:
    form = msgspec.msgpack.decode(encode(first()))
    form["oauth_keys"] = [{"a": 1}]
    ring = decode(msgspec.msgpack.encode(form))
    again = msgspec.msgpack.decode(encode(announce(ring, rng(), T0, POLICY)))
    assert again["oauth_keys"] == [{"a": 1}]


def changed(**fields: object) -> bytes:
    form = msgspec.msgpack.decode(encode(first()))
    form.update(fields)
    return msgspec.msgpack.encode(form)


def test_a_newer_format_is_refused() -> None:
    with pytest.raises(Incompatible, match="format 2"):
        decode(changed(version=2))


@pytest.mark.parametrize(
    "octets",
    [b"", b"\x00", msgspec.msgpack.encode({"version": 1}), changed(tickets=[]), changed(qcd="x")],
)
def test_what_is_no_ring_is_refused(octets: bytes) -> None:
    with pytest.raises(Incompatible):
        decode(octets)


@given(st.binary(max_size=80))
def test_garbage_is_refused_and_nothing_else_happens(octets: bytes) -> None:
    with pytest.raises(Incompatible):
        decode(octets)


def test_two_sealing_keys_are_no_ring() -> None:
    form = msgspec.msgpack.decode(encode(first()))
    twin = dict(form["tickets"][0], key_id=bytes(8))
    with pytest.raises(Incompatible, match="tickets"):
        decode(changed(tickets=[form["tickets"][0], twin]))


def test_a_ring_does_not_print_its_secrets() -> None:
    ring = first()
    assert repr(ring.tickets.keys[0].secret.octets) not in repr(ring)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"ticket_lifetime_s": 7201.0}, "opening_period_s"),
        ({"opening_period_s": 3599.0}, "opening_period_s"),
        ({"ticket_lifetime_s": 0.0}, "ticket_lifetime_s"),
        ({"margin_s": -1.0}, "margin_s"),
        ({"sealing_period_s": math.inf}, "sealing_period_s"),
        ({"record_lifetime_s": math.nan}, "record_lifetime_s"),
    ],
)
def test_r59_an_impossible_policy_names_the_field(fields: dict[str, float], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        RingPolicy(**fields)
