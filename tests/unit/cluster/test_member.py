"""A name under a lease: joining, refusing, taking back, losing, leaving."""

import asyncio

import msgspec
import pytest

from cluster.errors import Incompatible, NameTaken
from cluster.layout import ClusterState, MemberRecord
from cluster.member import MemberSettings, Membership
from cluster.roster import decode_member
from cluster.standing import State
from cluster.state import StateKeeper
from cluster.store import Delete, Put, Txn
from tests.sim.loop import SimLoop, run
from tests.unit.cluster.members import KEYS, Cluster, OwnLease, simulated

NORMAL, ISOLATED = State.NORMAL.value, State.ISOLATED.value


async def stored(cluster: Cluster, name: str) -> MemberRecord | None:
    entry = await cluster.store.get(KEYS.member(name))
    return decode_member(entry.value) if entry is not None else None


@simulated
async def test_a_member_joins_and_everybody_sees_it(cluster: Cluster) -> None:
    one, _ = cluster.member("gw1")
    two, _ = cluster.member("gw2")
    joined: list[str] = []
    one.roster.on_joined.append(joined.append)
    await one.join()
    await two.join()
    await asyncio.sleep(0.01)
    assert list(one.members) == list(two.members) == ["gw1", "gw2"]
    assert joined == ["gw1", "gw2"]
    assert one.members["gw2"].incarnation == two.incarnation
    assert one.state == two.state == NORMAL
    assert one.may_claim


@simulated
async def test_a_live_name_is_refused_to_another_data_directory(cluster: Cluster) -> None:
    one, _ = cluster.member("gw1")
    await one.join()
    other, _ = cluster.member("gw1", life=2, data_dir_id="ff", host="elsewhere")
    with pytest.raises(NameTaken) as refused:
        await other.join()
    line = str(refused.value)
    assert "\n" not in line
    assert "gw1" in line
    assert "host-of-gw1" in line
    assert "gw1:7401" in line
    assert "another name" in line
    await asyncio.sleep(30)
    record = await stored(cluster, "gw1")
    assert record is not None
    assert record.incarnation == one.incarnation


@simulated
async def test_a_restarted_member_takes_its_name_back_at_once(cluster: Cluster) -> None:
    one, way = cluster.member("gw1")
    await one.join()
    before = await cluster.store.get(KEYS.member("gw1"))
    way.away = True  # it was killed: nothing more comes from it
    started_s = cluster.loop.time()
    again, _ = cluster.member("gw1", life=2)
    await again.join()
    after = await cluster.store.get(KEYS.member("gw1"))
    assert cluster.loop.time() == started_s
    assert before is not None
    assert after is not None
    record = decode_member(after.value)
    assert record is not None
    assert record.incarnation == again.incarnation != one.incarnation
    old_lease = await cluster.store.lease(99, before.lease_id)
    assert old_lease.ttl_s == 99  # the old one was revoked, so this id is a new lease
    await asyncio.sleep(30)
    assert again.state == NORMAL
    assert await stored(cluster, "gw1") == record


@simulated
async def test_a_dead_members_name_is_free_after_its_lease(cluster: Cluster) -> None:
    one, way = cluster.member("gw1")
    other, _ = cluster.member("gw2")
    gone: list[str] = []
    other.roster.on_gone.append(gone.append)
    await one.join()
    await other.join()
    way.away = True
    await asyncio.sleep(3)
    assert gone == []
    await asyncio.sleep(5)
    assert gone == ["gw1"]
    heir, _ = cluster.member("gw1", life=2, data_dir_id="ff")
    await heir.join()
    assert heir.state == NORMAL


@simulated
async def test_the_deadline_counts_from_when_the_keep_alive_was_sent(cluster: Cluster) -> None:
    one, _ = cluster.member("gw1", drift=0.1, margin_s=0.25)
    await one.join()
    lease = one._lease
    assert isinstance(lease, OwnLease)
    lease.answer_delay_s = 1.5
    sent_s = cluster.clock.boot_s() + 1.0  # one keep-alive period after joining
    await asyncio.sleep(1.4)
    assert one.deadline_boot_s == pytest.approx(sent_s - 1.0 + 5 * 0.9 - 0.25)
    await asyncio.sleep(1.2)  # the answer has come, 1.5 s after it was asked for
    assert one.deadline_boot_s == pytest.approx(sent_s + 5 * 0.9 - 0.25)


@simulated
async def test_past_the_deadline_nothing_is_claimed_before_the_store_drops_us(
    cluster: Cluster,
) -> None:
    one, way = cluster.member("gw1")
    told: list[tuple[str, bool]] = []
    one.on_state.append(lambda state, ok: told.append((state, ok)))
    await one.join()
    await asyncio.sleep(0.5)
    way.away = True
    await asyncio.sleep(one.deadline_boot_s - cluster.clock.boot_s())
    assert not one.may_claim
    assert await stored(cluster, "gw1") is not None  # the store's own patience is longer
    await asyncio.sleep(1.5)
    assert told == [(NORMAL, True), (NORMAL, False), (ISOLATED, False)]
    assert one.state == ISOLATED


@simulated
async def test_a_store_outage_ends_in_a_rejoin_with_the_same_incarnation(cluster: Cluster) -> None:
    one, way = cluster.member("gw1")
    await one.join()
    one.report_ring(7)
    way.away = True
    await asyncio.sleep(20)
    assert await stored(cluster, "gw1") is None
    way.away = False
    await asyncio.sleep(1)
    record = await stored(cluster, "gw1")
    assert record is not None
    assert record.incarnation == one.incarnation
    assert record.ring_revision == 7
    assert one.state == NORMAL
    assert one.may_claim
    entry = await cluster.store.get(KEYS.member("gw1"))
    assert entry is not None
    assert entry.mod_revision == one.key_revision


@simulated
async def test_a_deleted_key_is_put_back(cluster: Cluster) -> None:
    one, _ = cluster.member("gw1")
    await one.join()
    await cluster.store.commit(Txn(success=(Delete(KEYS.member("gw1")),)))
    await asyncio.sleep(0.5)
    record = await stored(cluster, "gw1")
    assert record is not None
    assert record.incarnation == one.incarnation


@simulated
async def test_a_late_answer_revives_no_lease_that_is_gone(cluster: Cluster) -> None:
    one, way = cluster.member("gw1")
    await one.join()
    lease = one._lease
    assert isinstance(lease, OwnLease)
    lease.answer_delay_s = 1.5
    await asyncio.sleep(1.2)  # a keep-alive is under way
    await cluster.store.commit(Txn(success=(Delete(KEYS.member("gw1")),)))
    await asyncio.sleep(0.1)
    assert one.state == ISOLATED
    way.away = True
    await asyncio.sleep(1.5)
    assert one.state == ISOLATED


@simulated
async def test_old_news_of_my_key_changes_nothing(cluster: Cluster) -> None:
    one, _ = cluster.member("gw1")
    await one.join()
    one._own_key_changed(None, one.key_revision - 1)
    assert one.state == NORMAL
    one._own_key_changed(None, one.key_revision + 1)
    assert one.state == ISOLATED


@simulated
async def test_a_copied_data_directory_deposes_for_good(cluster: Cluster) -> None:
    one, _ = cluster.member("gw1")
    deposed: list[str] = []
    one.on_deposed.append(deposed.append)
    await one.join()
    copy, _ = cluster.member("gw1", life=2, host="host-of-copy")
    await copy.join()
    await asyncio.sleep(30)
    assert len(deposed) == 1
    assert "host-of-copy" in deposed[0]
    assert one.state == ISOLATED
    assert not one.may_claim
    assert copy.state == NORMAL
    record = await stored(cluster, "gw1")
    assert record is not None
    assert record.incarnation == copy.incarnation


@simulated
async def test_a_member_deposed_while_the_store_was_away_learns_it_when_it_is_back(
    cluster: Cluster,
) -> None:
    one, way = cluster.member("gw1")
    await one.join()
    way.away = True
    await asyncio.sleep(20)
    heir, _ = cluster.member("gw1", life=2, data_dir_id="ff")
    await heir.join()
    way.away = False
    await asyncio.sleep(5)
    assert one.deposed
    assert heir.state == NORMAL


@simulated
async def test_joining_waits_for_the_store_and_says_so(cluster: Cluster) -> None:
    one, way = cluster.member("gw1")
    told: list[tuple[str, bool]] = []
    one.on_state.append(lambda state, ok: told.append((state, ok)))
    way.away = True
    joining = cluster.spawn(one.join(), "join")
    await asyncio.sleep(60)
    assert not joining.done()
    assert told == [(ISOLATED, False)]
    way.away = False
    await asyncio.sleep(1)
    assert joining.done()
    assert told[-1] == (NORMAL, True)


@simulated
async def test_a_join_whose_answer_was_lost_succeeds(cluster: Cluster) -> None:
    one, way = cluster.member("gw1")
    way.lose_answers = 1
    await one.join()
    entry = await cluster.store.get(KEYS.member("gw1"))
    assert entry is not None
    assert entry.mod_revision == one.key_revision
    await asyncio.sleep(30)
    assert one.state == NORMAL
    assert await stored(cluster, "gw1") is not None


@simulated
async def test_the_installed_ring_is_reported_even_if_an_answer_is_lost(cluster: Cluster) -> None:
    one, way = cluster.member("gw1")
    two, _ = cluster.member("gw2")
    await one.join()
    await two.join()
    version = two.roster.version
    one.report_ring(41)
    await asyncio.sleep(0.1)
    assert two.roster.ring_revisions() == {"gw1": 41, "gw2": 0}
    way.lose_answers = 1
    one.report_ring(42)
    await asyncio.sleep(3)
    assert two.roster.ring_revisions() == {"gw1": 42, "gw2": 0}
    assert one.state == NORMAL
    assert two.roster.version == version  # nobody came, went or moved


async def report_without_an_answer(cluster: Cluster, news_delay_s: float) -> None:
    """A member whose report is carried out and not acknowledged stays what it is."""
    one, way = cluster.member("gw1")
    two, _ = cluster.member("gw2")
    await one.join()
    await two.join()
    await asyncio.sleep(3)
    told: list[str] = []
    one.standing.on_changed.append(lambda state, _why: told.append(state.value))
    way.lose_answers, way.news_delay_s = 1, news_delay_s
    one.report_ring(7)
    await asyncio.sleep(5)
    assert told == []
    assert two.roster.ring_revisions() == {"gw1": 7, "gw2": 0}
    entry = await cluster.store.get(KEYS.member("gw1"))
    assert entry is not None
    assert entry.mod_revision == one.key_revision


@simulated
async def test_a_report_without_an_answer_is_heard_of_by_the_watch(cluster: Cluster) -> None:
    await report_without_an_answer(cluster, 0.0)


@simulated
async def test_a_report_without_an_answer_is_read_back(cluster: Cluster) -> None:
    await report_without_an_answer(cluster, 60.0)


@simulated
async def test_claims_compare_what_a_report_without_an_answer_wrote(cluster: Cluster) -> None:
    one, way = cluster.member("gw1")
    await one.join()
    way.lose_answers = 1
    one.report_ring(7)
    await asyncio.sleep(0.1)  # before the next round
    entry = await cluster.store.get(KEYS.member("gw1"))
    assert entry is not None
    assert entry.mod_revision == one.key_revision


@simulated
async def test_what_stands_under_another_lease_is_not_taken_for_the_report(
    cluster: Cluster,
) -> None:
    one, way = cluster.member("gw1")
    await one.join()
    way.news_delay_s = 60.0
    key, before = KEYS.member("gw1"), one.key_revision
    entry = await cluster.store.get(key)
    assert entry is not None
    await cluster.store.commit(Txn(success=(Put(key, entry.value),)))
    one.report_ring(7)
    await asyncio.sleep(0.1)
    after = await cluster.store.get(key)
    assert after is not None
    assert after.lease_id not in (0, entry.lease_id)  # joined anew
    assert after.mod_revision == one.key_revision > before + 1


@simulated
async def test_leaving_frees_the_name_at_once(cluster: Cluster) -> None:
    one, _ = cluster.member("gw1")
    two, _ = cluster.member("gw2")
    gone: list[str] = []
    two.roster.on_gone.append(gone.append)
    await one.join()
    await two.join()
    await one.leave()
    await asyncio.sleep(0.01)
    assert gone == ["gw1"]
    assert not one.may_claim
    await asyncio.sleep(10)
    assert await stored(cluster, "gw1") is None


@simulated
async def test_a_restart_is_a_departure_and_an_arrival(cluster: Cluster) -> None:
    watcher, _ = cluster.member("gw2")
    heard: list[str] = []
    watcher.roster.on_joined.append(lambda name: heard.append(f"+{name}"))
    watcher.roster.on_gone.append(lambda name: heard.append(f"-{name}"))
    await watcher.join()
    for life in (1, 2):
        member, _ = cluster.member("gw1", life=life)
        await member.join()
        await asyncio.sleep(0.01)
    assert heard == ["+gw2", "+gw1", "-gw1", "+gw1"]


def test_a_lease_that_cannot_be_kept_in_time_is_refused() -> None:
    def settings(**changed: float) -> MemberSettings:
        return MemberSettings(
            name="gw1",
            data_dir_id="00",
            host="h",
            rpc_address="a:1",
            ike_addresses=(),
            release="test",
            **changed,
        )

    assert settings().usable_s() == pytest.approx(4.45)
    settings(keep_alive_s=1.0, call_timeout_s=3.4)
    with pytest.raises(ValueError, match="must stay below"):
        settings(keep_alive_s=1.0, call_timeout_s=3.45)
    with pytest.raises(ValueError, match="must stay below"):
        settings(keep_alive_s=0.0)


@simulated
async def test_the_first_two_members_agree_on_one_state(cluster: Cluster) -> None:
    one = StateKeeper(cluster.store, KEYS, cluster.clock)
    two = StateKeeper(cluster.store, KEYS, cluster.clock)
    first = await one.load_or_create(64)
    second = await two.load_or_create(128)
    assert first == second
    assert first.shards == 64
    assert one.revision == two.revision > 0


@simulated
async def test_state_changes_are_installed_but_never_a_newer_format(cluster: Cluster) -> None:
    keeper = StateKeeper(cluster.store, KEYS, cluster.clock)
    state = await keeper.load_or_create(64)
    changed: list[ClusterState] = []
    refused: list[Incompatible] = []
    keeper.on_changed.append(changed.append)
    keeper.on_incompatible.append(refused.append)
    cluster.spawn(keeper.run(), "state")

    async def put(new: ClusterState) -> None:
        value = msgspec.json.encode(new)
        await cluster.store.commit(Txn(success=(Put(KEYS.state, value),)))
        await asyncio.sleep(0.01)

    raised = msgspec.structs.replace(state, epoch=1)
    await put(raised)
    assert changed == [raised]
    revision = keeper.revision
    await put(msgspec.structs.replace(raised, format=2))
    assert keeper.state == raised
    assert keeper.revision == revision
    assert len(refused) == 1
    late = StateKeeper(cluster.store, KEYS, cluster.clock)
    with pytest.raises(Incompatible, match="format 2"):
        await late.load_or_create(64)


@pytest.mark.parametrize("shards", [0, 3, 8192])
def test_an_impossible_number_of_shards_is_refused(shards: int) -> None:
    async def main(loop: SimLoop) -> None:
        cluster = Cluster(loop)
        keeper = StateKeeper(cluster.store, KEYS, cluster.clock)
        with pytest.raises(ValueError, match="power of two"):
            await keeper.load_or_create(shards)

    run(main)


def test_the_same_seed_gives_the_same_incarnation() -> None:
    async def main(loop: SimLoop) -> tuple[Membership, Membership]:
        cluster = Cluster(loop)
        return cluster.member("gw1")[0], cluster.member("gw1", life=2)[0]

    first, second = run(main), run(main)
    assert first[0].incarnation == second[0].incarnation
    assert first[0].incarnation != first[1].incarnation
