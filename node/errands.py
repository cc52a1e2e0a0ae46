"""Carries the core's errands out: computations in other processes, everything else as tasks.

Rules: exactly one result comes of each, in bounded time; how many of a kind may be under way is
bounded too, and what is beyond it is refused at once. A failure that nobody expected is logged and
costs that one errand alone. (What an errand is: `proto.ike.errands`.)
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Protocol, TypeVar, cast

import msgspec

from proto.ike.errands import Computation, Errand, Result, Undone

COMPUTATION_LIMIT_S = 5.0
COMPUTATIONS_MAX = 64
"""Under way or waiting for a process; one takes 1 to 75 ms."""

E = TypeVar("E", bound=Errand)
Do = Callable[[E], Awaitable[Result]]
Contain = Callable[
    [Coroutine[object, object, object], str, Callable[[Exception], None]], "asyncio.Task[None]"
]
"""`node.supervisor.Supervisor.contain`."""


class Computing(Protocol):
    """Where computations are done. Implementers: `node.computing.Workers`,
    `tests.sim.seams.AtOnce`."""

    async def compute(self, computation: Computation) -> Result:
        """What comes of it."""
        ...


class _Kind(msgspec.Struct):
    do: Do[Errand]
    limit_s: float
    at_most: int
    under_way: int = 0


class Errands:
    """See the module."""

    def __init__(self, contain: Contain, computing: Computing) -> None:
        self._contain = contain
        self._computing = _Kind(
            lambda errand: computing.compute(cast(Computation, errand)),
            COMPUTATION_LIMIT_S,
            COMPUTATIONS_MAX,
        )
        self._kinds: dict[type[Errand], _Kind] = {}

    def on(self, kind: type[E], do: Do[E], *, limit_s: float, at_most: int) -> None:
        """`do` carries out what is of `kind`: within `limit_s` each, `at_most` at a time."""
        self._kinds[kind] = _Kind(cast(Do[Errand], do), limit_s, at_most)

    def begin(self, errand: Errand, done: Callable[[Result], None]) -> None:
        """`done` is called exactly once; where nothing can come of it at once."""
        kind = self._kinds.get(type(errand))
        if kind is None and isinstance(errand, Computation):
            kind = self._computing
        if kind is None:
            done(Undone(f"nobody here does a {type(errand).__name__}"))
        elif kind.under_way >= kind.at_most:
            done(Undone(f"{kind.under_way} {type(errand).__name__} under way already"))
        else:
            kind.under_way += 1
            self._contain(
                self._carry_out(kind, errand, done),
                f"errand {type(errand).__name__}",
                partial(self._broken, done),
            )

    async def _carry_out(self, kind: _Kind, errand: Errand, done: Callable[[Result], None]) -> None:
        try:
            async with asyncio.timeout(kind.limit_s):
                result = await kind.do(errand)
        except TimeoutError:
            result = Undone(f"a {type(errand).__name__} took more than {kind.limit_s:g} s")
        finally:
            kind.under_way -= 1
        done(result)

    def _broken(self, done: Callable[[Result], None], error: Exception) -> None:
        done(Undone(f"failed: {type(error).__name__}"))


class NoErrands:
    """For a core that is to need none."""

    def begin(self, errand: Errand, done: Callable[[Result], None]) -> None:
        """Nobody carries it out."""
        done(Undone(f"nobody here does a {type(errand).__name__}"))
