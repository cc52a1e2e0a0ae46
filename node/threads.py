"""A bounded number of threads for what blocks: a store's client, a computation of milliseconds.

Rules: the only threads that the product starts by itself, and only when there is work for them;
everything else runs in the loop.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

THREADS = 8
"""As many calls as the journal and the member's own tasks have under way at a time."""

COMPUTING_THREADS = 2
"""For computations, which hold the interpreter's lock for a part of their time."""

T = TypeVar("T")


class OsThreads:
    """`count` threads of the operating system, started as they are needed."""

    def __init__(self, count: int = THREADS, name: str = "store") -> None:
        self.count = count
        self._executor = ThreadPoolExecutor(count, thread_name_prefix=name)

    async def call(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises. Cancelled, it goes on unheard."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def close(self) -> None:
        """Give the threads back; what they do now is finished first, without waiting here."""
        self._executor.shutdown(wait=False, cancel_futures=True)
