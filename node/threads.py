"""A bounded number of threads for a store's client that blocks.

Rules: the only threads that the product starts by itself, and only where the configuration asks for
such a client; everything else runs in the loop.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

THREADS = 8
"""As many calls as the journal and the member's own tasks have under way at a time."""

T = TypeVar("T")


class OsThreads:
    """`count` threads of the operating system, started as they are needed."""

    def __init__(self, count: int = THREADS) -> None:
        self.count = count
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="store")

    async def call(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises. Cancelled, it goes on unheard."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def close(self) -> None:
        """Give the threads back; what they do now is finished first, without waiting here."""
        self._executor.shutdown(wait=False, cancel_futures=True)
