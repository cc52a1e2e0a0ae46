"""Who says that it needs no pledge says so of now, and not of an outage to come."""

import asyncio

from cluster.failsafe.frames import PledgeWord
from tests.unit.cluster.goers import Goer, until
from tests.unit.cluster.members import Cluster, simulated


async def beside_two_in_failsafe(cluster: Cluster) -> tuple[Goer, Goer]:
    """The store is silent for c, and for a moment for a as well, which has its pledge meanwhile.
    Once c's lease is over a and b go into failsafe without it, which doesn't hear b: a and c."""
    a, b, c = [await Goer(cluster, name).begin() for name in ("a", "b", "c")]
    await asyncio.sleep(1)
    c.way.away = a.way.away = True
    await until(lambda: "a" in c.outage.given)
    a.way.away = False
    await until(lambda: "a" not in c.outage.given)
    await until(lambda: "c" not in {*a.member.members, *b.member.members})
    a.way.away = b.way.away = True
    await until(lambda: a.outage.failsafe and b.outage.failsafe)
    assert "c" not in a.outage.pledges.roster
    heard = c.beats.in_failsafe
    c.outage.in_failsafe = lambda: {n: life for n, life in heard().items() if n != "b"}
    await until(lambda: "a" in c.outage.in_failsafe())
    return a, c


async def back(c: Goer) -> None:
    """The store answers it."""
    c.way.away = False
    await until(c.outage.store_answers)
    await asyncio.sleep(1)


@simulated
async def test_who_needed_no_pledge_may_be_in_failsafe_later(cluster: Cluster) -> None:
    _, c = await beside_two_in_failsafe(cluster)
    held_back: list[bool] = []
    c.outage.on_look.append(lambda: held_back.append(c.outage.restrained()))
    await back(c)
    assert all(held_back)
    assert not c.outage.may_claim_from("a")
    assert not c.outage.may_claim_from("b")


@simulated
async def test_a_word_that_comes_late_is_not_believed_for_long(cluster: Cluster) -> None:
    a, c = await beside_two_in_failsafe(cluster)
    await back(c)
    c.outage._word("a", PledgeWord(a.member.incarnation, 1, needed=False))
    await asyncio.sleep(0.5)
    assert c.outage.restrained()
    assert not c.outage.may_claim_from("b")
