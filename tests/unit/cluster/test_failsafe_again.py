"""The store goes away again while members come back to it: who goes on, whose word counts."""

import asyncio

from cluster.failsafe.frames import Hold
from cluster.layout import FLUSHING, NORMAL
from tests.unit.cluster.goers import Goer, in_failsafe, until, version
from tests.unit.cluster.members import Cluster, simulated


async def two_are_through(cluster: Cluster) -> list[Goer]:
    """The store is back: a and b have written all and said so, c takes its time."""
    goers = a, _, c = await in_failsafe(cluster)
    c.flush_task.cancel()
    for goer in goers:
        goer.way.away = False
    await until(lambda: {"a", "b"} <= a.state.state.through.keys())
    return goers


@simulated
async def test_who_is_through_goes_on_when_the_store_goes_away_again(cluster: Cluster) -> None:
    goers = a, b, c = await two_are_through(cluster)
    assert (a.gate.open, b.gate.open) == (False, False)
    for goer in goers:
        goer.way.away = True
    await until(lambda: a.gate.open and b.gate.open)
    mine = a.answer(3, 2)
    assert b.gate.ledger.keep(mine)
    b.way.away = c.way.away = False
    c.go_on()
    await asyncio.sleep(5)
    assert b.state.state.mode == FLUSHING  # a's word is of before
    a.way.away = False
    await asyncio.sleep(5)
    assert [goer.state.state.mode for goer in goers] == [NORMAL] * 3
    assert [dict(goer.outage.given) for goer in goers] == [{}] * 3
    assert await version(cluster) == 3


@simulated
async def test_the_store_of_one_alone_goes_away_again_and_it_stays_stopped(
    cluster: Cluster,
) -> None:
    goers = a, _, c = await in_failsafe(cluster)
    c.flush_task.cancel()
    for goer in goers:
        goer.way.away = False
    await until(lambda: "a" in a.state.state.through)
    a.way.away = True
    await asyncio.sleep(8)
    assert (a.outage.failsafe, a.gate.open, sorted(a.outage.pledges.refused)) == (
        True, False, ["b", "c"],
    )  # fmt: skip
    a.way.away = False
    c.go_on()
    await asyncio.sleep(5)
    assert [goer.state.state.mode for goer in goers] == [NORMAL] * 3


@simulated
async def test_the_note_stays_of_one_that_keeps_something_as_it_says_that_it_is_through(
    cluster: Cluster,
) -> None:
    goers = a, b, c = await in_failsafe(cluster)
    c.flush_task.cancel()
    kept = b.answer(3, 2)

    def told() -> None:
        if not a.gate.open:
            a.gate._hold("b", Hold(kept))

    a.way.on_commit = told
    for goer in goers:
        goer.way.away = False
    await until(lambda: "a" in a.state.state.through)
    await asyncio.sleep(0.5)
    assert a.gate.begun_ledger is not None
    assert a.gate.begun_ledger.rows
    assert a.outage.alone
    c.go_on()
    await asyncio.sleep(5)
    assert [goer.state.state.mode for goer in goers] == [NORMAL] * 3
    assert not a.outage.alone


@simulated
async def test_whose_lease_ended_was_not_asked_and_does_not_take_the_others_word(
    cluster: Cluster,
) -> None:
    goers = a, b, c = await two_are_through(cluster)
    for goer in (a, b):
        goer.flush_task.cancel()  # and they find none to take their word back
    c.way.away = True
    await until(lambda: "c" not in {*a.member.members, *b.member.members})
    a.way.away = b.way.away = True
    a.go_on()
    b.go_on()
    await until(lambda: a.gate.open and b.gate.open)
    mine = a.answer(3, 2)
    assert b.gate.ledger.keep(mine)
    modes: list[str] = []
    c.state.on_changed.append(lambda state: modes.append(state.mode))
    c.way.away = False
    c.go_on()
    await asyncio.sleep(8)
    assert NORMAL not in modes
    a.way.away = b.way.away = False
    await asyncio.sleep(5)
    assert [goer.state.state.mode for goer in goers] == [NORMAL] * 3
    assert await version(cluster) == 3


@simulated
async def test_whose_lease_holds_knows_by_its_pledge_whose_word_is_of_before(
    cluster: Cluster,
) -> None:
    goers = a, b, c = await two_are_through(cluster)
    revisions = [goer.member.key_revision for goer in goers]
    c.flush._joined_revision = revisions[2]  # it has seen these words given
    for goer in goers:
        goer.way.away = True
    await until(lambda: a.gate.open)
    b.way.away = c.way.away = False  # in time
    c.go_on()
    mine = a.answer(3, 2)
    assert b.gate.ledger.keep(mine)
    modes: list[str] = []
    b.state.on_changed.append(lambda state: modes.append(state.mode))
    await asyncio.sleep(5)
    assert [goer.member.key_revision for goer in goers] == revisions
    assert NORMAL not in modes
    a.way.away = False
    await asyncio.sleep(5)
    assert [goer.state.state.mode for goer in goers] == [NORMAL] * 3
    assert await version(cluster) == 3
