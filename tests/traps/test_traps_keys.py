"""What goes wrong with keys that many members share. The numbers are those of docs/traps.md."""

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cluster.errors import ClusterError
from cluster.keyring import (
    KeyRing,
    KeyState,
    RingKey,
    RingPolicy,
    activate,
    announce,
    expire,
    new_ring,
    retire,
)
from cluster.shards import SPI_KEY_LEN, SpiCodec
from cluster.store import Delete, Txn
from node.seams import OsRng
from proto.ike import ticket
from proto.ike.errors import TicketReason
from proto.ike.reference import seal_reference
from proto.secret import Secret
from tests.pair.craft import assert_nacked, show
from tests.pair.pair import Pair
from tests.unit.cluster.fakes import T0, SeededRng
from tests.unit.cluster.rings import KEYS, World, play
from tests.unit.proto.test_ticket import BODY

REALM = b"sample"
KEY_LEN, NONCE_LEN = 32, 12
HEAD_LEN = 1 + 8 + 16
EACH = 2000


def test_trap_05_nobody_seals_with_a_key_that_a_live_member_does_not_open() -> None:
    async def story(world: World) -> None:
        members = [await world.join(f"gw{number}") for number in (1, 2, 3)]
        lag = await world.join("gw4", watching=False)
        live = [*members, lag]
        seen: list[bytes] = []

        def look() -> None:
            wall_s = world.clock.wall_s()
            for keeper in live:
                sealing = keeper.ring.sealing(wall_s)
                assert sealing is not None
                seen.append(sealing.key_id)
                for other in live:
                    assert other.ring.opening(sealing.key_id, wall_s) is not None

        world.on_installed = look
        with pytest.raises(ClusterError, match="waited 2 s for gw4"):
            await world.rotations(members[0]).rotate(2)
        assert len(set(seen)) == 1  # announced everywhere but at one, and nobody seals with it
        await world.store.commit(Txn((), (Delete(KEYS.member("gw4")),)))
        live.remove(lag)  # gone from the store: it holds no lease, and doesn't count
        await world.rotations(members[1]).rotate(2)
        await world.settle()
        assert len(set(seen)) == 2

    play(story)


def test_trap_05_an_unknown_key_is_looked_for_once_before_the_refusal() -> None:
    pair = Pair()
    pair.connect()
    stranger = b"\x01" + b"stranger" + pair.ticket().ticket[9:]
    assert_nacked(pair, show(pair, stranger), TicketReason.UNKNOWN_KEY)
    assert pair.looked_up == [b"stranger"]


@pytest.mark.parametrize("late", [True, False], ids=["sealed at the end of its window", "retired"])
def test_trap_06_a_key_opens_for_the_longest_ticket_after_its_last_seal_and_then_goes(
    late: bool,
) -> None:
    lifetime_s = 3600.0
    policy = RingPolicy(opening_period_s=2 * lifetime_s, sealing_period_s=86_400.0)
    ring = new_ring(SeededRng(6), T0, policy)
    key = ring.tickets.keys[0]
    last_seal_s = T0 + policy.sealing_period_s - 1 if late else T0 + 40_000.0
    assert ring.sealing(last_seal_s) is not None
    ring = announce(ring, SeededRng(7), last_seal_s, policy)
    assert ring.tickets.announced is not None
    ring = activate(ring, ring.tickets.announced.key_id, last_seal_s, policy)
    ring = retire(ring, last_seal_s, policy)
    assert state_of(ring, key) is KeyState.OPENING
    ring = expire(ring, last_seal_s + lifetime_s)
    assert ring.opening(key.key_id, last_seal_s + lifetime_s) is not None
    end_s = ring.tickets.index[key.key_id].opens_until_wall_s
    assert end_s < last_seal_s + 4 * lifetime_s
    assert ring.opening(key.key_id, end_s) is None
    assert key.key_id not in expire(ring, end_s).tickets.index  # its secret is destroyed


def test_trap_06_a_policy_that_would_retire_too_early_is_refused() -> None:
    RingPolicy(ticket_lifetime_s=3600.0, opening_period_s=3600.0)
    with pytest.raises(ValueError, match="valid tickets would be refused"):
        RingPolicy(ticket_lifetime_s=3600.0, opening_period_s=3599.0)


def state_of(ring: KeyRing, key: RingKey) -> KeyState:
    return ring.tickets.index[key.key_id].state


def test_trap_19_spis_collide_for_no_two_members_and_tell_nothing_of_theirs() -> None:
    """Each member draws in its own shards: what tells them apart is in the SPI, and hidden."""
    codec = SpiCodec(Secret(b"k" * SPI_KEY_LEN), 64)
    rng = OsRng()
    by_member = [[codec.ike_spi(shard, rng.bytes(6)) for _ in range(EACH)] for shard in (3, 4, 5)]
    spis = [spi for drawn in by_member for spi in drawn]
    assert len(set(spis)) == len(spis)
    for shard, drawn in zip((3, 4, 5), by_member, strict=True):
        assert {codec.shard_of(spi) for spi in drawn} == {shard}
        # the octets in which the shard hides take every value, as if they were random
        for octet in range(8):
            assert len({spi[octet] for spi in drawn}) > 240
    stranger = SpiCodec(Secret(b"x" * SPI_KEY_LEN), 64)
    assert len({stranger.shard_of(spi) for spi in by_member[0]}) > EACH // 2
    # a member's own randomness may repeat another's: the SPIs differ all the same
    assert codec.ike_spi(3, b"random") != codec.ike_spi(4, b"random")


class Watched:
    """A ring's key that remembers what was derived from it."""

    def __init__(self, key: RingKey) -> None:
        self._key = key
        self.key_id = key.key_id
        self.derived: list[bytes] = []

    def expand(self, info: bytes) -> bytes:
        okm = self._key.expand(info)
        self.derived.append(okm)
        return okm


def test_trap_20_members_that_share_a_ring_key_share_no_key_and_nonce() -> None:
    current = new_ring(OsRng(), T0, RingPolicy()).tickets.current
    assert current is not None
    members = [(Watched(current), OsRng()) for _ in range(4)]
    pairs: set[bytes] = set()
    for number in range(EACH):
        watched, rng = members[number % len(members)]
        body = msgspec.structs.replace(BODY, generation=number)
        for seal in (ticket.seal, seal_reference):
            octets = seal(body, watched, REALM, rng)
            okm = watched.derived.pop()
            key, nonce = okm[:KEY_LEN], okm[KEY_LEN : KEY_LEN + NONCE_LEN]
            # it is the pair that was used
            AESGCM(key).decrypt(nonce, octets[HEAD_LEN:], octets[:HEAD_LEN] + REALM)
            pairs.add(key + nonce)
    assert len(pairs) == 2 * EACH


def test_trap_20_one_salt_gives_each_form_of_ticket_another_key() -> None:
    """Should randomness ever repeat, a pointer and a ticket by value still share no pair."""
    current = new_ring(SeededRng(1), T0, RingPolicy()).tickets.current
    assert current is not None
    watched = Watched(current)
    ticket.seal(BODY, watched, REALM, SeededRng(2))
    seal_reference(BODY, watched, REALM, SeededRng(2))
    assert len(set(watched.derived)) == 2
