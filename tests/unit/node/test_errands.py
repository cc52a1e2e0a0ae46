"""The core's errands: one result of each, in bounded time, a bounded number at a time."""

import asyncio

from node.errands import COMPUTATIONS_MAX, Errands, NoErrands
from node.supervisor import Supervisor
from proto.ike.agreement import Agree, Agreed, KeyMade, MakeKey
from proto.ike.enums import KeMethod
from proto.ike.errands import Errand, Result, Undone
from proto.secret import Secret
from tests.sim.seams import AtOnce

MAKE = MakeKey(KeMethod.CURVE25519, Secret(bytes(range(32))))


class Ask(Errand, frozen=True):
    """An errand of the kind that waits for somebody."""

    what: str


class Told(Result, frozen=True):
    """What somebody said."""

    what: str


async def come_to(errands: Errands | NoErrands, errand: Errand) -> Result:
    """What is said of it, once."""
    told: list[Result] = []
    done = asyncio.Event()

    def hear(result: Result) -> None:
        told.append(result)
        done.set()

    errands.begin(errand, hear)
    await done.wait()
    (result,) = told
    return result


async def test_a_computation_comes_to_what_it_computes() -> None:
    errands = Errands(Supervisor().contain, AtOnce())
    made = await come_to(errands, MAKE)
    assert isinstance(made, KeyMade)
    agreed = await come_to(errands, Agree(made.exchange, made.exchange.public))
    assert isinstance(agreed, Agreed)
    assert agreed.shared == made.exchange.shared(made.exchange.public)


async def test_what_is_no_value_of_the_group_comes_back_as_such() -> None:
    errands = Errands(Supervisor().contain, AtOnce())
    made = await come_to(errands, MAKE)
    assert isinstance(made, KeyMade)
    refused = await come_to(errands, Agree(made.exchange, b"short"))
    assert refused == Agreed(None, "KE data of 5 octets for Curve25519")


async def test_each_kind_goes_to_whoever_does_it() -> None:
    errands = Errands(Supervisor().contain, AtOnce())

    async def answer(errand: Ask) -> Result:
        return Told(errand.what.upper())

    errands.on(Ask, answer, limit_s=1, at_most=1)
    assert await come_to(errands, Ask("well")) == Told("WELL")
    assert await come_to(NoErrands(), Ask("well")) == Undone("nobody here does a Ask")


async def test_nobody_waits_longer_than_the_limit() -> None:
    errands = Errands(Supervisor().contain, AtOnce())

    async def never(errand: Ask) -> Result:
        await asyncio.Event().wait()
        return Told(errand.what)

    errands.on(Ask, never, limit_s=0.01, at_most=1)
    assert await come_to(errands, Ask("well")) == Undone("a Ask took more than 0.01 s")
    assert await come_to(errands, Ask("well")) == Undone("a Ask took more than 0.01 s")


async def test_what_is_beyond_the_bound_is_refused_at_once() -> None:
    supervisor = Supervisor()
    errands = Errands(supervisor.contain, AtOnce())
    release = asyncio.Event()

    async def wait(errand: Ask) -> Result:
        await release.wait()
        return Told(errand.what)

    errands.on(Ask, wait, limit_s=60, at_most=2)
    told: list[Result] = []
    for _ in range(3):
        errands.begin(Ask("well"), told.append)
    assert told == [Undone("2 Ask under way already")]
    release.set()
    await asyncio.sleep(0)
    assert await come_to(errands, Ask("again")) == Told("again")
    assert told == [Undone("2 Ask under way already"), Told("well"), Told("well")]


async def test_computations_are_bounded_too() -> None:
    errands = Errands(Supervisor().contain, AtOnce())
    told: list[Result] = []
    for _ in range(COMPUTATIONS_MAX + 1):
        errands.begin(MAKE, told.append)
    assert told == [Undone(f"{COMPUTATIONS_MAX} MakeKey under way already")]


async def test_a_failure_that_nobody_expected_costs_that_errand_alone() -> None:
    supervisor = Supervisor()
    errands = Errands(supervisor.contain, AtOnce())

    async def break_down(errand: Ask) -> Result:
        raise RuntimeError(errand.what)

    errands.on(Ask, break_down, limit_s=1, at_most=1)
    assert await come_to(errands, Ask("well")) == Undone("failed: RuntimeError")
    assert supervisor.crash is None
    assert supervisor.crashes == 1
