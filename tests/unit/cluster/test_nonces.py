"""No AES-GCM key ever meets a nonce twice, though all members share the ring: counted."""

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cluster.keyring import KeyRing, RingKey, RingPolicy, activate, announce, new_ring
from cluster.records import RecordVault
from cluster.vault import Kek, seal
from node.seams import OsRng
from proto.ike import ticket
from proto.secret import Secret
from tests.unit.cluster.fakes import T0, HandClock, SeededRng
from tests.unit.proto.test_ticket import BODY

MEMBERS = 5
SEALS = 100_000
REALM = b"sample"
POLICY = RingPolicy()
KEY_LEN, NONCE_LEN = 32, 12
TICKET_HEAD = 1 + 8 + 16
"""Format, key id, salt."""


class Watched:
    """A ring's key that remembers what was derived from it: `TicketKey` by its shape."""

    def __init__(self, key: RingKey) -> None:
        self._key = key
        self.key_id = key.key_id
        self.derived: list[bytes] = []

    def expand(self, info: bytes) -> bytes:
        okm = self._key.expand(info)
        self.derived.append(okm)
        return okm


def rotated(ring: KeyRing) -> KeyRing:
    ring = announce(ring, OsRng(), T0, POLICY)
    key = ring.tickets.announced
    assert key is not None
    return activate(ring, key.key_id, T0, POLICY)


def test_a_hundred_thousand_tickets_of_five_members_share_no_key_and_nonce() -> None:
    ring = new_ring(OsRng(), T0, POLICY)
    pairs: set[bytes] = set()
    tickets = 0
    for _ in range(2):  # before and after a rotation
        current = ring.tickets.current
        assert current is not None
        members = [(Watched(current), OsRng()) for _ in range(MEMBERS)]
        for number in range(SEALS // 2):
            watched, rng = members[number % MEMBERS]
            body = msgspec.structs.replace(BODY, generation=number)
            octets = ticket.seal(body, watched, REALM, rng)
            (okm,) = watched.derived
            watched.derived.clear()
            key, nonce = okm[:KEY_LEN], okm[KEY_LEN : KEY_LEN + NONCE_LEN]
            head = octets[:TICKET_HEAD]
            AESGCM(key).decrypt(nonce, octets[TICKET_HEAD:], head + REALM)  # it is that pair
            pairs.add(key + nonce)
            tickets += 1
        ring = rotated(ring)
    assert tickets == SEALS
    assert len(pairs) == SEALS


def test_the_count_would_find_members_that_share_a_salt() -> None:
    """The test above can fail: two members with one source of randomness repeat every pair."""
    current = new_ring(OsRng(), T0, POLICY).tickets.current
    assert current is not None
    pairs: set[bytes] = set()
    for _ in range(2):
        watched, rng = Watched(current), SeededRng(1)
        for _ in range(50):
            ticket.seal(BODY, watched, REALM, rng)
        pairs.update(watched.derived)
    assert len(pairs) == 50


def test_records_of_five_members_share_no_key_and_nonce_over_restarts_and_rotations() -> None:
    """A pair is known by stream (key id, salt) and counter: see `cluster.records`."""
    ring = new_ring(OsRng(), T0, POLICY)
    pairs: set[bytes] = set()
    lives = 4
    for _ in range(lives):
        for _ in range(MEMBERS):
            held = ring
            vault = RecordVault(lambda held=held: held, HandClock(), OsRng())
            for number in range(200):
                sealed = vault.seal_record(b"record %d" % number, b"key")
                pairs.add(sealed[1 : 1 + 8 + 16 + 8])
        ring = rotated(ring)
    assert len(pairs) == lives * MEMBERS * 200


def test_each_value_under_the_key_encryption_key_has_a_salt_of_its_own() -> None:
    """Its nonce is fixed, so the derived key must never come back."""
    kek = Kek(Secret(bytes(32)))
    rngs = [OsRng() for _ in range(MEMBERS)]
    salts = {seal(kek, b"ring", b"name", rngs[n % MEMBERS])[9:41] for n in range(2000)}
    assert len(salts) == 2000
