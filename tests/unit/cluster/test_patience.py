"""What nobody waits for any more isn't carried out: it would spend a ticket shown elsewhere."""

import asyncio

from cluster.batch import OpKind
from cluster.journal_hooks import JournalState
from cluster.patience import GIVE_UP_S, STALE_S
from tests.unit.cluster.fakes import Fault
from tests.unit.cluster.journal_world import (
    COMMITTED,
    FENCED,
    SHARD,
    World,
    create,
    other,
    play,
    redeem,
    rekey,
    spi,
)


def now_s() -> float:
    return asyncio.get_running_loop().time()


def test_what_nobody_asks_for_again_waits_and_what_is_asked_for_again_is_carried_out() -> None:
    async def story(world: World) -> None:
        member = world.member()
        member.asked = {spi(1): now_s(), spi(2): now_s()}
        world.store.down = True
        outcomes = member.post(create(1), create(2), create(3))
        await asyncio.sleep(2)
        assert (member.journal.pending, member.journal.waiting) == (3, 1)
        world.store.down = False
        await asyncio.sleep(2)
        assert outcomes == [COMMITTED]  # the third answers nobody
        assert await world.generation(1) == 0
        member.asked[spi(2)] = now_s()
        await asyncio.sleep(2)
        assert outcomes == [COMMITTED, COMMITTED]
        assert (await world.generation(1), await world.generation(2)) == (0, 1)
        assert (member.journal.pending, member.journal.waiting) == (1, 0)

    play(story)


def test_what_is_held_back_is_looked_at_under_load_too() -> None:
    async def story(world: World) -> None:
        member = world.member()
        member.asked = {spi(1): now_s()}
        world.store.down = True
        outcomes = member.post(create(1))
        await asyncio.sleep(2)
        world.store.down = False
        member.asked[spi(1)] = now_s()
        for number in range(2, 200):
            await member.do(create(number))
        assert outcomes == [COMMITTED]

    play(story)


def test_who_waits_impatiently_is_served_at_once() -> None:
    async def story(world: World) -> None:
        member = world.member()
        world.store.down = True
        outcomes = member.post(create(1))
        for _ in range(50):
            member.asked[spi(1)] = now_s()
            await asyncio.sleep(STALE_S / 2)
        world.store.down = False
        await asyncio.sleep(0.9)
        member.asked[spi(1)] = now_s()
        await asyncio.sleep(0.2)
        assert outcomes == [COMMITTED]

    play(story)


def test_what_has_nobody_to_answer_is_never_carried_out() -> None:
    async def story(world: World) -> None:
        member = world.member()
        await member.do(create(3))
        await member.do(create(4))
        asked_s = now_s()
        member.asked = {spi(1): asked_s, spi(2): asked_s, spi(13): asked_s, spi(23): asked_s}
        world.store.down = True
        outcomes = member.post(create(1), create(2), redeem(3, 1, 13, 3))
        await asyncio.sleep(1)
        member.asked[spi(1)] = None  # its SA is gone
        await asyncio.sleep(1)
        assert outcomes == [FENCED]
        member.asked[spi(23)] = now_s()
        member.post(redeem(3, 1, 23, 3))  # the same client has come again
        await asyncio.sleep(0.1)
        member.asked[spi(23)] = now_s() + GIVE_UP_S
        await asyncio.sleep(GIVE_UP_S - 3)
        assert outcomes == [FENCED, FENCED]
        await asyncio.sleep(5)
        assert outcomes == [FENCED] * 3  # nobody has asked for the second one in a minute
        world.store.down = False
        await asyncio.sleep(2)
        member.asked[spi(23)] = now_s()
        await asyncio.sleep(1)
        assert outcomes == [FENCED] * 3 + [COMMITTED]
        assert await world.alive(3) == spi(23)

    play(story)


def test_who_gave_a_rekey_up_looks_what_became_of_the_record() -> None:
    """Its client may have resumed elsewhere, and this member may not have been told."""

    async def story(world: World) -> None:
        member = world.member()
        await member.do(create(1))
        await member.do(create(2))
        member.asked = {spi(3): now_s(), spi(4): None}
        world.store.down = True
        outcomes = member.post(rekey(1, 1, 3, 1), redeem(2, 1, 4, 2))
        await asyncio.sleep(GIVE_UP_S - 1)
        assert (outcomes, member.doubted) == ([FENCED], [])  # who begins had no record before
        await asyncio.sleep(2)
        assert (outcomes, member.doubted) == ([FENCED] * 2, [SHARD])

    play(story)


def test_what_has_waited_behind_others_of_its_chain_is_looked_at_before_it_is_carried_out() -> None:
    """Seed 3008271 of `walking`: a client had given its gateway up, and was elsewhere with the very
    ticket that was spent here."""

    async def story(world: World) -> None:
        member = world.member()
        await member.do(create(3))
        member.asked = dict.fromkeys((spi(13), spi(23), spi(33)), now_s())
        world.store.faults.append(Fault.UNKNOWN_DONE)
        outcomes = member.post(redeem(3, 1, 13, 3), redeem(3, 1, 23, 3), redeem(3, 2, 33, 13))
        await asyncio.sleep(0.01)
        world.store.down = True
        await asyncio.sleep(2)
        world.store.down = False
        await asyncio.sleep(2)
        assert outcomes == [COMMITTED, FENCED]
        assert await world.alive(3) == spi(13)
        member.asked[spi(33)] = now_s()
        await asyncio.sleep(1)
        assert outcomes == [COMMITTED, FENCED, COMMITTED]

    play(story)


def test_what_the_gate_gives_back_is_looked_at_before_it_is_carried_out() -> None:
    async def story(world: World) -> None:
        member = world.member()
        await member.do(create(3))
        member.asked = {spi(13): now_s()}
        member.gate.open = True
        outcomes = member.post(redeem(3, 1, 13, 3))
        await asyncio.sleep(2)
        assert len(member.gate.taken) == 1
        member.post(create(1))  # stands first, and has only come
        member.gate.close()
        await asyncio.sleep(2)
        assert outcomes == [COMMITTED]
        assert await world.alive(3) == spi(3)
        member.asked[spi(13)] = now_s()
        await asyncio.sleep(1)
        assert outcomes == [COMMITTED, COMMITTED]

    play(story)


def test_the_gate_is_told_whether_what_it_has_not_begun_is_wanted_yet() -> None:
    async def story(world: World) -> None:
        member = world.member()
        await member.do(create(3))
        member.asked = {spi(13): now_s(), spi(23): float("inf")}
        member.gate.open = True
        outcomes = member.post(redeem(3, 1, 13, 3))
        await asyncio.sleep(0.1)
        ((pending, end),) = member.gate.taken
        assert member.gate.wanted(pending)
        await asyncio.sleep(1)
        assert not member.gate.wanted(pending)
        member.asked[spi(13)] = now_s()
        assert member.gate.wanted(pending)
        await asyncio.sleep(1)
        member.post(redeem(3, 1, 23, 3))  # the same client's next try waits behind it
        end(pending, None)
        await asyncio.sleep(0.1)
        assert outcomes == [FENCED]
        assert member.gate.taken[1][0].op.spi == spi(23)

    play(story)


def test_what_the_store_may_have_done_is_found_out() -> None:
    async def story(world: World) -> None:
        member = world.member()
        member.asked = {spi(1): now_s()}
        world.store.faults.append(Fault.UNKNOWN_DONE)
        outcomes = member.post(create(1))
        await asyncio.sleep(0.01)
        member.asked[spi(1)] = None
        world.store.down = True
        await asyncio.sleep(5)
        assert outcomes == []
        world.store.down = False
        await asyncio.sleep(5)
        assert outcomes == [COMMITTED]

    play(story)


def test_what_spends_nothing_does_not_wait_for_anybody() -> None:
    async def story(world: World) -> None:
        member = world.member()
        await member.do(create(1))
        member.asked = {spi(1): now_s() - 30}
        world.store.down = True
        outcomes = member.post(other(OpKind.WRITE, 1, 1, b"answered"))
        await asyncio.sleep(5)
        world.store.down = False
        await asyncio.sleep(2)
        assert outcomes == [COMMITTED]

    play(story)


def test_a_journal_in_which_nothing_waits_for_the_store_says_so() -> None:
    async def story(world: World) -> None:
        member = world.member()
        member.asked = {spi(1): now_s()}
        world.store.down = True
        member.post(create(1))
        await asyncio.sleep(5)
        assert member.states == [JournalState.UNAVAILABLE, JournalState.OK]
        assert member.journal.waiting == 0

    play(story)
