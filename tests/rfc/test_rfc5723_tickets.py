"""RFC 5723 row by row: what is in a ticket and how long it is good, opened here by hand."""

import hmac
from typing import NamedTuple

import msgspec
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cluster.keyring import RingPolicy, new_ring
from proto.ike.core import replace
from proto.ike.effects import PersistKind
from proto.secret import Secret
from tests.pair.pair import Pair
from tests.pair.parts import SETTINGS, Key
from tests.pair.parts import SeededRng as PairRng
from tests.rfc import independent
from tests.rfc.independent import TICKET_LT_OPAQUE, TICKET_NACK, Initiator
from tests.rfc.talk import ask, fresh, present, resume, with_ticket

RING_SECRET = bytes(range(32))
LABEL = b"standfast ticket v1"
REALM = b"test"


class Clear(NamedTuple):
    """A ticket's readable part, and the rest."""

    form: int
    key_id: bytes
    salt: bytes
    sealed: bytes


def parts(ticket: bytes) -> Clear:
    """`format 1 | key id 8 | salt 16 | sealed`."""
    return Clear(ticket[0], ticket[1:9], ticket[9:25], ticket[25:])


def by_hand(ticket: bytes, label: bytes = LABEL, secret: bytes = RING_SECRET) -> list[object]:
    """The fields inside: HKDF-Expand (RFC 5869 2.3) gives key and nonce, AES-256-GCM opens."""
    clear = parts(ticket)
    okm = hmac.new(secret, label + clear.salt + b"\1", "sha512").digest()
    plain = AESGCM(okm[:32]).decrypt(okm[32:44], clear.sealed, ticket[:25] + REALM)
    fields: list[object] = msgspec.msgpack.decode(plain)
    return fields


def test_r47_r63_r77_a_ticket_is_sealed_with_an_aead_of_256_bits() -> None:
    """Opened by hand with the ring's secret; any change of it, of the realm or the key: not."""
    pair, client = with_ticket()
    ticket = client.old.ticket
    assert b"alice@example.com" in by_hand(ticket)
    assert b"alice" not in ticket
    assert client.old.sk_d not in ticket
    for at in range(len(ticket)):
        changed = ticket[:at] + bytes((ticket[at] ^ 0x10,)) + ticket[at + 1 :]
        other = Initiator(client.old._replace(ticket=changed))
        request = other.request(fresh(f"{at}", 8), fresh(f"n{at}"))
        assert independent.parse(ask(pair, request)).notifies() == {TICKET_NACK: b""}
    with pytest.raises(InvalidTag):
        by_hand(ticket, secret=RING_SECRET[::-1])


def test_r50_everything_from_the_ticket_is_in_it() -> None:
    """Both identities, the authenticated one, the method, the algorithms and SK_d (section 5)."""
    _pair, client = with_ticket()
    inside = by_hand(client.old.ticket)
    for wanted in (b"alice@example.com", b"vpn.example.com", "rfc822:alice@example.com", "psk"):
        assert wanted in inside
    assert client.old.sk_d in inside
    assert [20, 256, 0, 5, 31] in inside


@pytest.mark.parametrize("lifetime_s", [1, 600, 3600])
def test_r51_r52_r74_the_expiry_inside_is_the_lifetime_told(lifetime_s: int) -> None:
    """Absolute time inside, relative time on the wire: they name the same second."""
    pair, client = with_ticket(Pair(replace(SETTINGS, ticket_lifetime_s=float(lifetime_s))))
    answer = resume(pair, client)
    data = answer.notifies()[TICKET_LT_OPAQUE]
    told_s = int.from_bytes(data[:4], "big")
    assert told_s == lifetime_s
    inside = by_hand(data[4:])
    assert pair.now.wall_s + told_s in inside


def test_r51_past_its_expiry_a_ticket_is_refused_though_its_seal_is_good() -> None:
    """The clock alone decides; members' clocks may differ a little."""
    quiet = replace(SETTINGS, ticket_lifetime_s=600.0, liveness_interval_s=0.0)
    pair, client = with_ticket(Pair(quiet))
    pair.boot_s += 590
    present(pair, Initiator(client.old), "in time")
    pair.boot_s += 10 + SETTINGS.ticket_skew_s + 2
    request = Initiator(client.old).request(fresh("late", 8), fresh("n late"))
    assert independent.parse(ask(pair, request)).notifies() == {TICKET_NACK: b""}
    assert by_hand(client.old.ticket)


def test_r53_r72_a_ticket_names_its_key_and_older_keys_still_open() -> None:
    """After two rotations tickets under all three keys are good; each names its own."""
    pair, client = with_ticket()
    seen = {parts(client.old.ticket).key_id}
    for number in range(2):
        pair.gateway.ring.rotate(Key(b"rotated%d" % number, Secret(bytes((number,)) * 32)))
        client = Initiator(client.next(resume(pair, client, str(number))))
        seen.add(parts(client.old.ticket).key_id)
    assert seen == {b"key-id-1", b"rotated0", b"rotated1"}
    resume(pair, client, "last")


def test_r57_no_resumption_prolongs_a_ticket_past_the_authentication() -> None:
    """The lifetime told shrinks with what is left of the original authentication."""
    short = replace(SETTINGS, authentication_lifetime_s=1000.0, liveness_interval_s=0.0)
    pair, client = with_ticket(Pair(short))
    told = []
    for number in range(3):
        pair.boot_s += 300
        answer = resume(pair, client, str(number))
        told.append(int.from_bytes(answer.notifies()[TICKET_LT_OPAQUE][:4], "big"))
        client = Initiator(client.next(answer))
    assert told == sorted(told, reverse=True)
    assert told[-1] <= 100


def test_r58_the_longest_lifetime_is_finite_too() -> None:
    """Whatever is configured: the SA's own lifetime bounds it, and no ticket is for ever."""
    settings = replace(SETTINGS, ticket_lifetime_s=1e12)
    pair, client = with_ticket(Pair(settings))
    told_s = int.from_bytes(resume(pair, client).notifies()[TICKET_LT_OPAQUE][:4], "big")
    assert told_s == int(settings.ike_sa_lifetime_s)


def test_r70_r71_each_secret_of_the_ring_has_one_use() -> None:
    """Tickets, records, cookies and crash tokens: secrets of 256 bits, and no two alike."""
    ring = new_ring(PairRng("a ring"), 1_800_000_000.0, RingPolicy())
    uses = (ring.tickets, ring.records, ring.cookie_keys, ring.qcd)
    secrets = [key.secret.octets for use in uses for key in use.keys]
    assert len(secrets) == len(set(secrets)) == len(uses)
    assert {len(secret) for secret in secrets} == {32}


def test_r71_r73_a_tickets_key_is_made_for_its_format_alone() -> None:
    """The format's version is in the derivation and in front: another version opens nothing."""
    pair, client = with_ticket()
    ticket = client.old.ticket
    assert parts(ticket).form == 1
    with pytest.raises(InvalidTag):
        by_hand(ticket, label=b"standfast ticket v2")
    other = Initiator(client.old._replace(ticket=b"\2" + ticket[1:]))
    answer = ask(pair, other.request(fresh("v2", 8), fresh("n v2")))
    assert independent.parse(answer).notifies() == {TICKET_NACK: b""}


def test_r78_two_tickets_of_one_client_have_only_the_keys_name_in_common() -> None:
    """Salt and all that follows differ: a listener can't tell that they are one client's."""
    pair, client = with_ticket()
    one = parts(client.old.ticket)
    two = parts(resume(pair, client).notifies()[TICKET_LT_OPAQUE][4:])
    assert (one.form, one.key_id) == (two.form, two.key_id)
    assert one.salt != two.salt
    alike = sum(a == b for a, b in zip(one.sealed, two.sealed, strict=False))
    assert alike < len(one.sealed) // 8


def test_r80_what_is_remembered_of_a_used_ticket_ends_with_the_session() -> None:
    """The write that uses it up says until when: past every ticket of the chain, and not for
    ever."""
    pair, client = with_ticket()
    answer = resume(pair, client)
    used = pair.chains.writes[-1]
    told_s = int.from_bytes(answer.notifies()[TICKET_LT_OPAQUE][:4], "big")
    assert used.kind is PersistKind.REDEEM
    now = pair.now.wall_s
    most_s = SETTINGS.ike_sa_lifetime_s + SETTINGS.ticket_lifetime_s + 2 * SETTINGS.ticket_skew_s
    assert now + told_s <= used.expires_wall_s <= now + most_s
