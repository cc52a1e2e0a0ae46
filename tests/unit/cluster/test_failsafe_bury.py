"""What a life that went on without the store has left there: the next one adopts none of it."""

import asyncio

import msgspec

from cluster.batch import OpKind
from cluster.claims import decode_shard
from cluster.failsafe.bury import RECORDS_PER_TXN, bury
from cluster.failsafe.frames import PledgeQuery
from cluster.layout import NORMAL, ShardRecord
from cluster.store import Put, Txn
from tests.unit.cluster.goers import Goer, in_failsafe
from tests.unit.cluster.members import KEYS, Cluster, simulated
from tests.unit.cluster.test_failsafe_gate import HOME, Net
from tests.unit.cluster.test_failsafe_ledger import CHAIN, spi

SHARD = 3


async def owned(cluster: Cluster, shard: int, member: str, incarnation: str, records: int) -> None:
    """`member` owns the shard, by the store, and has that many records in it."""
    held = msgspec.json.encode(ShardRecord(member, incarnation, 7))
    await cluster.store.commit(Txn((), (Put(KEYS.shard(shard), held),)))
    for number in range(records):
        put = Put(KEYS.record(shard, spi(number)), b"as it was before")
        await cluster.store.commit(Txn((), (put,)))


async def left(cluster: Cluster, shard: int) -> tuple[int, ShardRecord | None]:
    """How many records a shard has, and whose it is."""
    records = (await cluster.store.scan(KEYS.shard_records(shard))).entries
    entry = await cluster.store.get(KEYS.shard(shard))
    assert entry is not None
    return len(records), decode_shard(entry.value)


@simulated
async def test_all_end_and_the_next_life_declares_dead_what_is_older_than_that(
    cluster: Cluster,
) -> None:
    a, *_ = goers = await in_failsafe(cluster)
    await owned(cluster, SHARD, "a", a.member.incarnation, 2)
    await cluster.store.commit(Txn((), (Put(KEYS.session(CHAIN), spi(1) + bytes(16)),)))
    a.outage.set_alone(True)
    for goer in goers:
        goer.kill()
    again = await Goer(cluster, "a", 2, a.book).begin()
    assert list(again.outage.lives) == [a.member.incarnation]
    assert not again.outage.may_claim_from("a")
    await asyncio.sleep(1)
    assert again.told == ["buried 2"]
    assert await left(cluster, SHARD) == (0, ShardRecord("", "", 7))
    assert await cluster.store.get(KEYS.session(CHAIN)) is not None  # for its ticket
    assert again.outage.may_claim_from("a")
    third = Goer(cluster, "a", 3, again.book)
    assert third.outage.lives == {}


@simulated
async def test_others_hold_to_their_pledge_until_that_is_done(cluster: Cluster) -> None:
    a, *_ = goers = await in_failsafe(cluster)
    a.outage.set_alone(True)
    for goer in goers:
        goer.kill()
    again = Goer(cluster, "a", 2, a.book)
    heard = []
    cluster.net.observers.append(lambda _sender, frame: heard.append(frame))
    cluster.net.join("b")
    again.link.set_peers({"b": ""})
    again.outage._queried("b", PledgeQuery(a.member.incarnation))
    again.outage.buried()
    again.outage._queried("b", PledgeQuery(a.member.incarnation))
    assert [word.needed for word in heard] == [True, False]


@simulated
async def test_what_a_former_life_kept_is_forgotten_until_those_it_pledged_to_are_back(
    cluster: Cluster,
) -> None:
    a, b, *others = goers = await in_failsafe(cluster)
    assert not a.outage.bereft
    a.outage.set_alone(True)
    for goer in goers:
        goer.kill()
    again = Goer(cluster, "a", 2, a.book)
    again.outage.buried()
    third = (await Goer(cluster, "a", 3, a.book).begin()).outage
    for former in (b, *others):
        assert third.bereft
        third.write_off(former.member.me.name, former.member.incarnation)
        third.look()
    assert not third.bereft


@simulated
async def test_what_is_pledged_once_all_are_back_makes_nothing_forgotten(cluster: Cluster) -> None:
    """Etcd is silent for so short a time that nobody goes on without it, and one ends then."""
    a, b, c = await in_failsafe(cluster)
    a.kill()
    again = await Goer(cluster, "a", 2, a.book).begin()
    assert again.outage.bereft
    b.way.away = c.way.away = False
    await asyncio.sleep(20)
    assert again.state.state.mode == NORMAL
    assert not again.outage.bereft
    for goer in (again, b, c):
        goer.way.away = True
    await asyncio.sleep(2.7)
    assert "b" in again.outage.given
    assert not again.outage.failsafe
    b.kill()
    again.way.away = c.way.away = False
    await asyncio.sleep(60)
    assert not again.outage.failsafe
    assert "b" in again.outage.given
    assert not again.outage.bereft


@simulated
async def test_what_the_store_has_in_the_end_is_not_buried(cluster: Cluster) -> None:
    a, *_ = goers = await in_failsafe(cluster)
    a.outage.set_alone(True)
    a.answer(3, 2)
    for goer in goers:
        goer.way.away = False
    await asyncio.sleep(5)
    assert not a.outage.alone
    assert Goer(cluster, "a", 2, a.book).outage.lives == {}


@simulated
async def test_only_what_that_life_owned_last_is_touched_however_much_it_is(
    cluster: Cluster,
) -> None:
    many = 2 * RECORDS_PER_TXN + 1
    await owned(cluster, 1, "a", "a1", many)
    await owned(cluster, 2, "a", "a2", 3)
    assert await bury(cluster.store, KEYS, {"a1": None}) == many
    assert await left(cluster, 1) == (0, ShardRecord("", "", 7))
    assert await left(cluster, 2) == (3, ShardRecord("a", "a2", 7))
    await owned(cluster, 1, "a", "a1", 0)
    assert await bury(cluster.store, KEYS, {"a1": None}) == 0
    assert await left(cluster, 1) == (0, ShardRecord("", "", 7))


def test_who_keeps_anything_has_noted_that_before():
    net = Net()
    noted: list[tuple[str, int]] = []

    def note(name: str) -> bool:
        noted.append((name, len(net.members[name].gate.ledger.rows)))
        return True

    for name, member in net.members.items():
        member.gate.on_first = lambda name=name: note(name)
    net.members[HOME].take(OpKind.CREATE, 0, 1)
    net.run()
    assert noted[0] == (HOME, 0)
    assert sorted(noted) == [(name, 0) for name in net.members]
