"""Waits that somebody else may end: calls under way when there is no more use in them.

Rules: a wait that is called off ends with `TimeoutError`, like one whose time is up; its scope's
`expired()` tells. Costs a timer object per wait, and no task.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class CallOff:
    """The waits under way in one place."""

    def __init__(self) -> None:
        self._scopes: dict[int, asyncio.Timeout] = {}
        self._next = 0

    @contextmanager
    def _held(self, scope: asyncio.Timeout) -> Iterator[None]:
        self._next = number = self._next + 1
        self._scopes[number] = scope
        try:
            yield
        finally:
            del self._scopes[number]

    def scope(self) -> "Scope":
        """`async with off.scope() as scope:` around one wait."""
        return Scope(self)

    def all(self) -> None:
        """End every wait that is under way."""
        now_s = asyncio.get_running_loop().time()
        for scope in self._scopes.values():
            if not scope.expired():
                scope.reschedule(now_s)


class Scope:
    """One wait."""

    def __init__(self, off: CallOff) -> None:
        self._timeout = asyncio.timeout(None)
        self._held = off._held(self._timeout)

    async def __aenter__(self) -> asyncio.Timeout:
        await self._timeout.__aenter__()
        self._held.__enter__()
        return self._timeout

    async def __aexit__(self, *what: object) -> None:
        self._held.__exit__(None, None, None)
        await self._timeout.__aexit__(*what)  # type: ignore[arg-type]
