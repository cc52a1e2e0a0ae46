"""Shards: claimed by the store's word alone, under growing fences, handed over when settled."""

import asyncio

import pytest

from cluster.claims import Preference, next_fence
from cluster.errors import Incompatible
from cluster.layout import FENCE_MAX, ShardRecord
from cluster.standing import State
from cluster.store import Delete, Txn
from tests.sim.loop import SimLoop, run
from tests.unit.cluster.members import KEYS, Cluster, simulated
from tests.unit.cluster.owners import SHARDS, Owner, assign, shard_records, write_shard

ALL = list(range(SHARDS))


@simulated
async def test_a_lone_member_claims_everything(cluster: Cluster) -> None:
    one = await Owner(cluster, "gw1").begin()
    await asyncio.sleep(0.5)
    assert one.owned == ALL
    assert one.gained == [(shard, 1) for shard in ALL]
    assert one.lost == []
    records = await shard_records(cluster)
    at = one.member.me.rpc_address
    assert records[5] == ShardRecord("gw1", one.member.incarnation, 1, at=at)
    entry = await cluster.store.get(KEYS.shard(5))
    assert entry is not None
    assert one.ownership.revision_of(5) == entry.mod_revision
    assert one.ownership.fence_of(5) == 1
    assert one.ownership.owner_of(5) == "gw1"
    assert one.ownership.owner_of(SHARDS) is None
    assert one.ownership.counts() == {"gw1": SHARDS}


@simulated
async def test_members_share_the_shards_by_rank(cluster: Cluster) -> None:
    names = ("gw1", "gw2", "gw3")
    owners = [await Owner(cluster, name).begin() for name in names]
    await asyncio.sleep(3)
    wanted = assign(SHARDS, names)
    for owner in owners:
        assert owner.owned == [shard for shard in ALL if wanted[shard] == owner.name]
        assert owner.owned
    assert sorted(shard for owner in owners for shard in owner.owned) == ALL


@simulated
async def test_a_newcomer_gets_shards_in_which_nothing_is_unfinished(cluster: Cluster) -> None:
    one = await Owner(cluster, "gw1").begin()
    await asyncio.sleep(0.5)
    moving = [shard for shard, name in assign(SHARDS, ("gw1", "gw2")).items() if name == "gw2"]
    busy, idle = moving[0], moving[1]
    one.sessions[busy] = 1
    two = await Owner(cluster, "gw2").begin()
    await asyncio.sleep(3)
    assert busy in one.owned
    assert one.ownership.should_leave(busy)
    assert one.ownership.fence_of(busy) == 1
    assert two.owned == [shard for shard in moving if shard != busy]
    assert two.ownership.fence_of(idle) == 2
    drawn = {one.ownership.choose_shard(one.rng) for _ in range(500)}
    assert drawn == {shard for shard in ALL if shard not in moving}
    one.sessions[busy] = 0
    await asyncio.sleep(1)
    assert two.owned == moving
    assert two.ownership.fence_of(busy) == 2
    assert one.lost[-1] == busy


@simulated
async def test_a_shard_is_closed_for_a_while_before_it_is_handed_over(cluster: Cluster) -> None:
    one = await Owner(cluster, "gw1").begin()
    await asyncio.sleep(0.5)
    await Owner(cluster, "gw2").begin()
    await asyncio.sleep(0.4)
    moving = [shard for shard in one.owned if one.ownership.should_leave(shard)]
    assert moving
    assert one.owned == ALL
    one.sessions[moving[0]] = 1  # begun before the shard was closed, counted only now
    await asyncio.sleep(0.5)
    assert moving[0] in one.owned
    assert moving[1] not in one.owned


@simulated
async def test_with_no_shard_to_stay_a_member_goes_on_with_those_that_should_move(
    cluster: Cluster,
) -> None:
    one = await Owner(cluster, "gw1").begin()
    await asyncio.sleep(0.5)
    moving = {shard for shard, name in assign(SHARDS, ("gw1", "gw2")).items() if name == "gw2"}
    one.sessions.update(dict.fromkeys(moving, 1))
    two = await Owner(cluster, "gw2").begin()
    await asyncio.sleep(1)
    for shard in one.owned:
        if shard not in moving:  # the other has come to it, and is kept busy there
            two.sessions[shard] = 1
            record = ShardRecord("gw2", two.member.incarnation, 9)
            await write_shard(cluster, shard, record)
    await asyncio.sleep(1)
    assert set(one.owned) == moving
    assert {one.ownership.choose_shard(one.rng) for _ in range(500)} == moving
    chosen = one.ownership.choose_shard(one.rng)
    assert chosen is not None
    one.sessions.clear()
    one.sessions[chosen] = 1  # begun just now: the shard isn't handed over under it
    await asyncio.sleep(1.5)
    assert one.owned == [chosen]
    assert set(two.owned) >= moving - {chosen}


@simulated
async def test_a_member_without_shards_is_not_ready(cluster: Cluster) -> None:
    one = Owner(cluster, "gw1")
    await one.member.join()
    assert one.ownership.choose_shard(one.rng) is None


@simulated
async def test_a_dead_members_shards_are_claimed_when_the_store_says_so(cluster: Cluster) -> None:
    one, two = await Owner(cluster, "gw1").begin(), await Owner(cluster, "gw2").begin()
    await asyncio.sleep(3)
    orphans = two.owned
    before = await shard_records(cluster)
    two.kill()
    await asyncio.sleep(3)
    assert list(one.heartbeats.suspected) == ["gw2"]
    assert await shard_records(cluster) == before  # suspicion alone lets nothing through
    await asyncio.sleep(3)
    assert one.owned == ALL
    after = await shard_records(cluster)
    for shard in orphans:
        assert after[shard].fence == before[shard].fence + 1
        assert after[shard].owner == "gw1"


@simulated
async def test_a_suspected_member_keeps_what_it_owns(cluster: Cluster) -> None:
    one, two = await Owner(cluster, "gw1").begin(), await Owner(cluster, "gw2").begin()
    await asyncio.sleep(3)
    kept = two.owned
    cluster.net.cut("gw1", "gw2")
    await asyncio.sleep(60)
    assert list(one.heartbeats.suspected) == ["gw2"]
    assert two.owned == kept
    assert two.lost == []


@simulated
async def test_no_shard_goes_to_and_fro_while_members_come_in_and_out_of_hearing(
    cluster: Cluster,
) -> None:
    names = ("gw1", "gw2", "gw3")
    for name in names:
        await Owner(cluster, name).begin()
    await asyncio.sleep(5)
    before = await shard_records(cluster)
    for turn in range(20):
        quiet = names[turn % 3]
        for other in names:
            if other != quiet:
                cluster.net.cut(quiet, other)
        await asyncio.sleep(2)
        cluster.net.heal()
        await asyncio.sleep(1)
    assert await shard_records(cluster) == before  # owners and fences


@simulated
async def test_a_claim_is_void_if_the_owner_turns_out_to_be_there(cluster: Cluster) -> None:
    """The plan is made from an old view: only the compares stand between it and a theft."""
    one, two = await Owner(cluster, "gw1").begin(), await Owner(cluster, "gw2").begin()
    await asyncio.sleep(3)
    before = await shard_records(cluster)
    cluster.net.cut("gw1", "gw2")
    await asyncio.sleep(2)
    roster = one.member.roster
    roster._changed(KEYS.member("gw2"), None, 0)  # a view that is wrong
    assert "gw2" not in one.member.members
    await asyncio.sleep(10)
    assert await shard_records(cluster) == before
    assert two.lost == []


@simulated
async def test_of_two_claimants_one_wins(cluster: Cluster) -> None:
    """Each believes the other is no member to hand to, so both try for all shards."""
    one, two = Owner(cluster, "gw1"), Owner(cluster, "gw2")
    cluster.net.cut("gw1", "gw2")
    await one.member.join()
    await two.member.join()
    for owner in (one, two):
        cluster.spawn(owner.heartbeats.run(), "heartbeats")
    await asyncio.sleep(2)
    assert list(one.heartbeats.suspected) == ["gw2"]
    assert list(two.heartbeats.suspected) == ["gw1"]
    plans = one.ownership._plan_claims(), two.ownership._plan_claims()
    assert [step.shard for step in plans[0]] == [step.shard for step in plans[1]] == ALL
    await one.ownership._carry_out(plans[0][:40])
    await two.ownership._carry_out(plans[1])
    assert sorted(one.owned + two.owned) == ALL
    assert one.owned == ALL[:40]
    await asyncio.gather(one.ownership.start(), two.ownership.start())
    await asyncio.sleep(1)
    assert sorted(one.owned + two.owned) == ALL
    records = await shard_records(cluster)
    assert {record.fence for record in records.values()} == {1}
    for owner in (one, two):
        assert owner.owned == [s for s in ALL if records[s].owner == owner.name]


@simulated
async def test_a_restarted_owner_claims_its_shards_back_with_higher_fences(
    cluster: Cluster,
) -> None:
    one = await Owner(cluster, "gw1").begin()
    await asyncio.sleep(0.5)
    one.kill()
    again = await Owner(cluster, "gw1", life=2).begin()
    await asyncio.sleep(0.5)
    assert again.owned == ALL
    assert again.gained == [(shard, 2) for shard in ALL]
    records = await shard_records(cluster)
    assert {r.incarnation for r in records.values()} == {again.member.incarnation}


@simulated
async def test_a_deposed_process_loses_its_shards_and_claims_none(cluster: Cluster) -> None:
    one = await Owner(cluster, "gw1").begin()
    await asyncio.sleep(0.5)
    copy = await Owner(cluster, "gw1", life=2).begin()
    await asyncio.sleep(5)
    assert one.owned == []
    assert one.lost == ALL
    assert copy.owned == ALL
    assert one.ownership.revision_of(3) is None


@simulated
async def test_a_paused_process_that_was_replaced_claims_nothing(cluster: Cluster) -> None:
    """Its own key compare alone saves the day: the name is there, but it is another's."""
    one = await Owner(cluster, "gw1").begin()
    await asyncio.sleep(0.5)
    copy, _ = cluster.member("gw1", life=2)
    one.way.away = True
    await copy.join()
    one.way.away = False
    roster = one.member.roster
    held = one.ownership._held[7]
    await write_shard(cluster, 7, ShardRecord("", "", held.record.fence))
    assert "gw1" in roster.members
    assert one.member.may_claim  # it hasn't heard yet
    one.ownership._changed(KEYS.shard(7), await cluster.store.get(KEYS.shard(7)), 10**6)
    steps = one.ownership._plan_claims()
    assert [step.shard for step in steps] == [7]
    assert not await one.ownership._commit(tuple(steps))
    assert (await shard_records(cluster))[7].owner == ""


@simulated
async def test_a_store_outage_costs_no_shard_and_no_fence(cluster: Cluster) -> None:
    one, two = await Owner(cluster, "gw1").begin(), await Owner(cluster, "gw2").begin()
    await asyncio.sleep(3)
    before = await shard_records(cluster)
    one.lost.clear()
    one.way.away = two.way.away = True
    await asyncio.sleep(30)
    assert not one.member.may_claim
    assert not two.member.may_claim
    assert one.owned  # its sessions go on being answered
    one.way.away = False
    await asyncio.sleep(3)  # gw2's key is gone, but gw2 is heard
    assert await shard_records(cluster) == before
    two.way.away = False
    await asyncio.sleep(10)
    assert await shard_records(cluster) == before
    assert one.lost == two.lost == []


@simulated
async def test_an_owner_that_stays_away_from_the_store_loses_after_the_grace(
    cluster: Cluster,
) -> None:
    one, two = await Owner(cluster, "gw1").begin(), await Owner(cluster, "gw2").begin()
    await asyncio.sleep(3)
    two.way.away = True
    await asyncio.sleep(8)
    assert "gw2" not in one.member.members
    assert two.owned != []
    assert one.owned != ALL
    await asyncio.sleep(5)
    assert one.owned == ALL
    two.way.away = False
    await asyncio.sleep(10)
    assert sorted(one.owned + two.owned) == ALL
    assert two.owned


@simulated
async def test_a_claim_whose_answer_was_lost_is_found(cluster: Cluster) -> None:
    one = Owner(cluster, "gw1")
    await one.member.join()
    one.way.lose_answers = 1
    await one.ownership.start()
    await asyncio.sleep(2)
    assert one.owned == ALL
    assert {fence for _, fence in one.gained} == {1}


@simulated
async def test_shutting_down_hands_every_shard_over_in_one_step(cluster: Cluster) -> None:
    owners = [await Owner(cluster, name).begin() for name in ("gw1", "gw2", "gw3")]
    one, two, three = owners
    await asyncio.sleep(3)
    before = await shard_records(cluster)
    released = two.owned
    two.sessions.update(dict.fromkeys(released, 1))  # what is begun isn't waited for any more
    assert await two.ownership.release_all() == len(released)
    records = await shard_records(cluster)
    wanted = assign(SHARDS, ("gw1", "gw3"))
    for shard in released:
        assert records[shard].owner == wanted[shard]
        assert records[shard].fence == before[shard].fence + 1
    assert two.lost == released
    assert two.ownership.choose_shard(two.rng) is None
    await two.member.leave()
    await asyncio.sleep(1)
    assert sorted(one.owned + three.owned) == ALL
    assert {shard: three.ownership.fence_of(shard) for shard in three.owned} == {
        shard: records[shard].fence for shard in three.owned
    }


@simulated
async def test_the_last_to_shut_down_releases_every_shard_and_keeps_the_fences(
    cluster: Cluster,
) -> None:
    one = await Owner(cluster, "gw1").begin()
    await asyncio.sleep(0.5)
    assert await one.ownership.release_all() == SHARDS
    assert set((await shard_records(cluster)).values()) == {ShardRecord("", "", 1)}
    assert one.lost == ALL
    await one.member.leave()
    again = await Owner(cluster, "gw1", life=2).begin()
    await asyncio.sleep(0.5)
    assert again.gained == [(shard, 2) for shard in ALL]


@simulated
async def test_a_used_up_fence_is_refused_loudly_and_once(cluster: Cluster) -> None:
    await write_shard(cluster, 9, ShardRecord("", "", FENCE_MAX))
    await write_shard(cluster, 10, ShardRecord("", "", FENCE_MAX - 1))
    one = await Owner(cluster, "gw1").begin()
    await asyncio.sleep(5)
    assert one.owned == [shard for shard in ALL if shard != 9]
    assert one.ownership.fence_of(10) == FENCE_MAX
    assert len(one.refused) == 1
    assert "epoch" in str(one.refused[0])
    assert "0009" in str(one.refused[0])
    assert one.ownership.counts() == {"": 1, "gw1": SHARDS - 1}


@simulated
async def test_a_deleted_shard_key_does_not_bring_a_fence_back(cluster: Cluster) -> None:
    one = await Owner(cluster, "gw1").begin()
    await asyncio.sleep(0.5)
    await cluster.store.commit(Txn(success=(Delete(KEYS.shard(4)),)))
    await asyncio.sleep(1)
    assert one.ownership.fence_of(4) == 2


@simulated
async def test_nothing_is_claimed_past_the_lease_deadline(cluster: Cluster) -> None:
    one = Owner(cluster, "gw1")
    await one.member.join()
    one.member.deadline_boot_s = 0.0
    for task in one.member._tasks[1:]:
        task.cancel()  # so that no keep-alive moves the deadline
    await one.ownership.start()
    await asyncio.sleep(2)
    assert await cluster.store.get(KEYS.member("gw1")) is not None
    assert one.owned == []


@simulated
async def test_a_suspect_neither_gets_shards_nor_is_waited_for(cluster: Cluster) -> None:
    one = await Owner(cluster, "gw1").begin()
    await asyncio.sleep(0.5)
    mute, _ = cluster.member("gw2")
    await mute.join()  # it holds its lease and claims nothing
    await asyncio.sleep(5)
    assert list(one.heartbeats.suspected) == ["gw2"]
    given_up = [shard for shard, r in (await shard_records(cluster)).items() if not r.owner]
    assert given_up == []
    assert one.owned == ALL


def test_the_last_fence_is_the_last() -> None:
    assert next_fence(1, FENCE_MAX - 1) == FENCE_MAX
    with pytest.raises(Incompatible):
        next_fence(1, FENCE_MAX)


def test_preference_agrees_with_the_ranks() -> None:
    names = ("gw1", "gw2", "gw3", "gw4")
    preference = Preference(names)
    assert {shard: preference.first(shard) for shard in ALL} == assign(SHARDS, names)
    assert Preference(()).first(0) == ""


def test_the_same_seed_gives_the_same_run() -> None:
    async def main(loop: SimLoop) -> str:
        cluster = Cluster(loop)
        owners = [await Owner(cluster, name).begin() for name in ("gw1", "gw2", "gw3")]
        await asyncio.sleep(3)
        owners[1].kill()
        await asyncio.sleep(10)
        for owner in owners:
            cluster.net.trace.event(owner.name, *[str(shard) for shard in owner.owned])
        return cluster.net.trace.digest()

    assert run(main) == run(main)


@simulated
async def test_a_member_that_starts_listens_for_owners_that_are_gone_before_it_claims(
    cluster: Cluster,
) -> None:
    one = await Owner(cluster, "gw1").begin()
    await asyncio.sleep(1)
    one.kill()
    await asyncio.sleep(8)
    two = await Owner(cluster, "gw2").begin()
    assert two.ownership.listens()
    await asyncio.sleep(1.5)
    assert two.owned == []
    await asyncio.sleep(1.5)
    assert two.owned == ALL
    assert not two.ownership.listens()
    assert two.ownership.absent() == {}


@simulated
async def test_an_owner_that_lives_without_the_store_is_heard_by_one_that_starts(
    cluster: Cluster,
) -> None:
    one = await Owner(cluster, "gw1").begin()
    await asyncio.sleep(1)
    one.way.away = True
    await asyncio.sleep(8)  # the store has forgotten it
    two = Owner(cluster, "gw2")
    two.ownership.may_claim_from = lambda owner: owner not in two.heartbeats.in_failsafe()
    one.member.standing.enter(State.FAILSAFE, "by all")
    await two.begin()
    await asyncio.sleep(20)
    assert two.owned == []
    assert two.ownership.absent() == {"gw1": one.member.me.rpc_address}
    assert not two.ownership.listens()


@simulated
async def test_a_member_that_wakes_listens_for_owners_that_are_gone_before_it_claims(
    cluster: Cluster,
) -> None:
    one, two = await Owner(cluster, "gw1").begin(), await Owner(cluster, "gw2").begin()
    await asyncio.sleep(5.05)  # the next beat is due a while after the claims are
    before = two.owned
    assert 0 < len(before) < SHARDS
    one.way.away = True
    cluster.net.cut("gw1", "gw2")
    cluster.clock_of("gw2").boot_offset_s += 3  # a suspend shorter than its lease
    await cluster.store.commit(Txn(success=(Delete(one.member.key),)))
    await asyncio.sleep(1.5)
    assert two.owned == before
    assert two.ownership.absent() == {"gw1": one.member.me.rpc_address}
    assert two.ownership.listens()
    await asyncio.sleep(2)
    assert not two.ownership.listens()
    assert two.owned == ALL


@simulated
async def test_nothing_begins_while_the_end_of_the_lease_has_yet_to_be_found_out(
    cluster: Cluster,
) -> None:
    """As it is with a process that stood still: its timers are due before it hears of anything."""
    one = await Owner(cluster, "gw1").begin()
    await asyncio.sleep(3)
    deadline_s = one.member.deadline_boot_s
    assert one.ownership.begins_in(3)
    one.member.deadline_boot_s = cluster.clock.boot_s()
    assert not one.ownership.begins_in(3)
    one.member.deadline_boot_s = deadline_s
    assert one.ownership.begins_in(3)
