"""Internal addresses: chosen without a race, and never given to two sessions (trap 8, R44)."""

import asyncio
import ipaddress
from typing import NamedTuple

import msgspec
import pytest

from cluster.addresses import HELD_S, Addresses, Pool, parse_pool
from cluster.batch import Op, OpKind
from cluster.layout import Keys
from cluster.store import Put, Txn
from tests.unit.cluster.journal_world import (
    COMMITTED,
    KEYS,
    SUPERSEDED,
    World,
    chain,
    create,
    other,
    play,
    redeem,
)

POOL = parse_pool("office", "10.9.0.0/28")  # 14 addresses
SHARDS = 4
FIRST = ipaddress.ip_address("10.9.0.1")


def key(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    return KEYS.address("office", address.packed)


class Row(NamedTuple):
    """An address that a session has."""

    pool: str
    packed: bytes


def with_address(op: Op, address: ipaddress.IPv4Address | ipaddress.IPv6Address = FIRST) -> Op:
    takes = op.kind is OpKind.CREATE
    return msgspec.structs.replace(op, addresses=(key(address),), takes=takes)


class Book:
    """One member's view, with its shards and its store's reach in the test's hand."""

    def __init__(self, world: World, *owned: int, pool: Pool = POOL) -> None:
        self.owned = list(owned)
        self.agreed = True
        self.addresses = Addresses(
            world.store, Keys("sample"), world.clock, [pool], shards=SHARDS,
            owned=lambda: self.owned, agreed=lambda: self.agreed,
        )  # fmt: skip
        world.spawn(self.addresses.run(), "addresses")

    def choose(self, number: int, wanted: str = "") -> str:
        found = self.addresses.choose(
            "office", chain(number), ipaddress.ip_address(wanted) if wanted else None
        )
        return "" if found is None else str(found)


async def until_seen() -> None:
    await asyncio.sleep(0.5)


@pytest.mark.parametrize(
    ("text", "first", "size"),
    [
        ("10.0.0.0/30", "10.0.0.1", 2),
        ("10.0.0.0/31", "10.0.0.0", 2),
        ("10.0.0.7/32", "10.0.0.7", 1),
        ("fd00::/126", "fd00::1", 3),
        ("fd00::/64", "fd00::1", 1 << 20),
        ("10.0.0.10-10.0.0.12", "10.0.0.10", 3),
        ("fd00::5 - fd00::5", "fd00::5", 1),
    ],
)
def test_a_pool_is_a_network_or_a_range(text: str, first: str, size: int) -> None:
    pool = parse_pool("p", text)
    assert (str(pool.first), pool.size) == (first, size)
    assert pool.index(pool.address(size - 1)) == size - 1
    assert pool.index(pool.first + size) is None


@pytest.mark.parametrize("text", ["", "10.0.0.1/8", "10.0.0.9-10.0.0.1", "10.0.0.1-fd00::1", "x"])
def test_what_is_no_pool_says_what_is(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as 10\.0\.0\.0/16"):
        parse_pool("p", text)


def test_a_chain_is_made_with_its_address_or_not_at_all() -> None:
    async def story(world: World) -> None:
        member, rival = world.member(), world.member("gw2")
        assert await member.do(with_address(create(1))) is COMMITTED
        assert await rival.do(with_address(create(2))) is SUPERSEDED
        assert await world.generation(2) == 0
        found, session = await world.store.get(key(FIRST)), await world.alive(1)
        assert found is not None
        assert found.value == chain(1)
        assert session is not None

    play(story)


def test_it_stays_with_the_chain_and_goes_with_it() -> None:
    async def story(world: World) -> None:
        member = world.member()
        await member.do(with_address(create(1)))
        made = await world.store.get(key(FIRST))
        assert await member.do(with_address(redeem(1, 1, new=11, old=1))) is COMMITTED
        kept = await world.store.get(key(FIRST))
        assert made is not None
        assert kept is not None
        assert (kept.value, kept.version) == (chain(1), 2)  # its expiry moves with the chain's
        assert await member.do(with_address(other(OpKind.END, 1, 2, sa=11))) is COMMITTED
        assert await world.store.get(key(FIRST)) is not None  # a ticket may bring it back
        assert await member.do(with_address(redeem(1, 2, new=12, old=11))) is COMMITTED
        assert await member.do(with_address(other(OpKind.REVOKE, 1, 3, sa=12))) is COMMITTED
        assert await world.store.get(key(FIRST)) is None

    play(story)


def test_two_that_want_one_address_never_share_a_batch() -> None:
    """etcd refuses a transaction that writes a key twice, whatever its compares would say."""

    async def story(world: World) -> None:
        member = world.member()
        outcomes = member.post(with_address(create(1)), with_address(create(2)))
        await member.journal.drained()
        assert outcomes == [COMMITTED, SUPERSEDED]

    play(story)


def test_members_take_from_their_own_shards_first() -> None:
    async def story(world: World) -> None:
        ours, theirs = Book(world, 0, 1), Book(world, 2, 3)
        mine = [ours.choose(number) for number in range(8)]
        others = [theirs.choose(100 + number) for number in range(6)]
        assert len({*mine, *others}) == 14
        assert "" not in (*mine, *others)

    play(story)


def test_what_others_have_is_known_and_a_full_pool_says_so() -> None:
    async def story(world: World) -> None:
        member, book, rival = world.member(), Book(world, 0, 1), Book(world, 2, 3)
        for number in range(14):
            address = ipaddress.ip_address(book.choose(number))
            assert await member.do(with_address(create(number + 1), address)) is COMMITTED
        await until_seen()
        assert rival.choose(99) == book.choose(99) == ""
        assert [u.used for u in rival.addresses.usage()] == [14]
        gone = with_address(other(OpKind.REVOKE, 3, 1), POOL.address(8))
        assert await member.do(gone) is COMMITTED
        await until_seen()
        assert rival.choose(99) == str(POOL.address(8))

    play(story)


@pytest.mark.parametrize("rest", [b"\xff/0a090001", b"office/\xff", b"office/xy", b"office/0a"])
def test_a_key_of_no_address_is_left_alone(rest: bytes) -> None:
    async def story(world: World) -> None:
        book = Book(world, 0, 1, 2, 3)
        await world.store.commit(Txn((), (Put(KEYS.addresses + rest, chain(9)),)))
        await until_seen()
        await world.store.commit(Txn((), (Put(key(FIRST), chain(9)),)))
        await until_seen()
        assert book.choose(1, str(FIRST)) != str(FIRST)  # it hears of what comes after

    play(story)


def test_without_the_store_only_the_own_shards_addresses_are_given_out() -> None:
    async def story(world: World) -> None:
        book = Book(world, 0)
        book.agreed = False
        assert [book.choose(n) for n in range(5)] == [
            "10.9.0.1", "10.9.0.5", "10.9.0.9", "10.9.0.13", "",
        ]  # fmt: skip
        book.agreed = True
        assert book.choose(9) != ""

    play(story)


def test_what_a_client_asks_for_it_gets_if_nobody_has_it() -> None:
    async def story(world: World) -> None:
        book = Book(world, 0)
        assert book.choose(1, "10.9.0.7") == "10.9.0.7"
        assert book.choose(2, "10.9.0.7") == "10.9.0.1"
        assert book.choose(3, "192.0.2.1") == "10.9.0.5"
        assert book.choose(4, "fd00::1") == "10.9.0.9"
        book.agreed = False
        assert book.choose(5, "10.9.0.2") == "10.9.0.13"  # another member's to give now

    play(story)


def test_what_was_chosen_and_not_written_comes_back() -> None:
    async def story(world: World) -> None:
        book = Book(world, 0, 1, 2, 3, pool=parse_pool("office", "10.9.0.7/32"))
        seven = ipaddress.ip_address("10.9.0.7")
        assert book.choose(1) == "10.9.0.7"
        assert book.choose(2) == ""
        book.addresses.settle(chain(2), [Row("office", seven.packed)], durable=False)  # not its own
        assert book.choose(2) == ""
        book.addresses.settle(chain(1), [Row("office", seven.packed)], durable=False)
        assert book.choose(2) == "10.9.0.7"
        await asyncio.sleep(HELD_S + 1)
        assert book.choose(3) == "10.9.0.7"
        book.addresses.settle(chain(3), [Row("office", seven.packed)], durable=True)
        assert book.choose(4) == ""

    play(story)


def test_an_address_that_was_given_back_rests_longest() -> None:
    async def story(world: World) -> None:
        book = Book(world, 0)
        book.agreed = False
        first = book.choose(1)
        book.addresses.settle(
            chain(1), [Row("office", ipaddress.ip_address(first).packed)], durable=False
        )
        assert book.choose(2) != first

    play(story)
