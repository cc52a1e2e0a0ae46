"""One call to the one member of etcd that the package knows, on a thread, with two deadlines.

Rules: each attempt ends by itself at the package's timeout, so that no thread is held longer; what
may be repeated goes on until the total deadline; a commit is sent only after the member has
answered something since the last failure, and again only when nothing can have happened. A thread
can't be interrupted: a call whose task is cancelled goes on unheard, for one attempt at most.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

import grpc

from cluster.errors import Trouble, Unavailable, Unknown
from cluster.seams import Clock
from cluster.store_etcd.channels import CallFailed, EtcdOptions, Failure, describe, failure_of
from cluster.store_etcd.client import NO_TROUBLE, meaning_of, more_telling, pause_s
from cluster.store_etcd3.library import Etcd3Client, Library

PROBE_KEY = b"\0"
"""Read before a commit after a failure; that nobody writes it doesn't matter."""

T = TypeVar("T")
Attempt = Callable[[Etcd3Client, float], T]
"""Makes the call, within so many seconds (what the package times itself takes its own timeout)."""


class Threads(Protocol):
    """Somewhere to block: `count` threads. Real: `node.threads`. The simulator has none."""

    count: int

    async def call(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises, on a thread. Cancelled, it may go on unheard."""
        ...

    def close(self) -> None:
        """Give the threads back; what they do now is finished first."""
        ...


class NoAnswer(Exception):
    """An attempt that ended without an answer, and without an error of gRPC's either."""


class AttemptFailed(Exception):
    """gRPC's account of why an attempt failed."""

    def __init__(self, status: CallFailed) -> None:
        super().__init__(describe(status))
        self.status = status


class Calls:
    """The member, and threads to ask it on."""

    def __init__(
        self,
        library: Library,
        client: Etcd3Client,
        options: EtcdOptions,
        clock: Clock,
        threads: Threads,
    ) -> None:
        self.library = library
        self.client = client
        self.options = options
        self.closed = False
        self._clock = clock
        self._threads = threads
        self._free = asyncio.Semaphore(threads.count)
        self._answers = False
        """Whether the member has answered since the last failure."""
        self._trouble = NO_TROUBLE
        """The most telling failure since the last answer."""

    def explain(self) -> tuple[Trouble, str]:
        """Why the member didn't answer lately, as far as failures told; and in which words."""
        return self._trouble

    async def repeat(self, attempt: Attempt[T]) -> T:
        """The answer to a call that may be made more than once. Raises Unavailable, and what
        `meaning_of` says."""
        self._check_open()
        deadline_s = self._clock.boot_s() + self.options.total_timeout_s
        failures = 0
        while True:
            try:
                return await self._run(attempt, deadline_s)
            except (AttemptFailed, NoAnswer) as error:
                reason = self._reason(error)
            failures += 1
            await self._pause(failures, deadline_s, reason)

    async def once(self, attempt: Attempt[T]) -> T:
        """The answer to a call that may be made only once. Raises Unavailable (nothing happened),
        Unknown (it may have), and what `meaning_of` says."""
        self._check_open()
        deadline_s = self._clock.boot_s() + self.options.total_timeout_s
        failures = 0
        while True:
            sent = False
            try:
                if not self._answers:
                    await self._run(_probe, deadline_s)
                sent = True
                return await self._run(attempt, deadline_s)
            except AttemptFailed as error:
                reason = self._reason(error)
                in_doubt = failure_of(error.status) is Failure.IN_DOUBT
            if sent and in_doubt:
                raise Unknown(f"etcd at {self.options.endpoints[0]}: {reason}")
            failures += 1
            await self._pause(failures, deadline_s, reason)

    async def attempt(self, attempt: Attempt[T]) -> T:
        """One attempt. Raises AttemptFailed, Unavailable (no thread is free)."""
        return await self._run(attempt, self._clock.boot_s() + self.options.total_timeout_s)

    def close(self) -> None:
        """Ends every call; the threads end with theirs."""
        self.closed = True
        self.client.close()
        self._threads.close()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the store is closed")

    async def _run(self, attempt: Attempt[T], deadline_s: float) -> T:
        async with self._thread(deadline_s):
            if self.closed:
                raise Unavailable("the store was closed")
            left_s = deadline_s - self._clock.boot_s()
            timeout_s = max(0.001, min(self.options.attempt_timeout_s, left_s))
            try:
                answer = await self._threads.call(lambda: attempt(self.client, timeout_s))
            except (grpc.RpcError, self.library.failure) as error:
                status = status_of(error)
                self._answers = meaning_of(status) is not None
                if not self._answers:
                    self._trouble = more_telling(self._trouble, status)
                raise AttemptFailed(status) from error
            except ValueError as error:
                if not self.closed:
                    raise
                # gRPC's word for a channel that was closed before the call was begun
                raise Unavailable("the store was closed") from error
        self._answers, self._trouble = True, NO_TROUBLE
        return answer

    @asynccontextmanager
    async def _thread(self, deadline_s: float) -> AsyncIterator[None]:
        """A thread is free inside. Raises Unavailable."""
        try:
            async with asyncio.timeout(max(0.0, deadline_s - self._clock.boot_s())):
                await self._free.acquire()
        except TimeoutError:
            waited_s = self.options.total_timeout_s
            raise Unavailable(
                f"none of {self._threads.count} threads to etcd was free in {waited_s:g} s"
            ) from None
        try:
            yield
        finally:
            self._free.release()

    def _reason(self, error: AttemptFailed | NoAnswer) -> str:
        """Why an attempt failed, if another may do better; else raises what it means."""
        if isinstance(error, AttemptFailed):
            meaning = meaning_of(error.status)
            if meaning is not None:
                raise meaning from error
        return str(error)

    async def _pause(self, failures: int, deadline_s: float, reason: str) -> None:
        """Before another attempt. Raises Unavailable if there is no time for one."""
        wait_s = pause_s(failures)
        if self.closed or self._clock.boot_s() + wait_s >= deadline_s:
            raise Unavailable(
                f"etcd did not answer in {self.options.total_timeout_s:g} s; "
                f"last, {self.options.endpoints[0]}: {reason}",
                self._trouble[0],
            )
        await asyncio.sleep(wait_s)


def status_of(error: Exception) -> CallFailed:
    """gRPC's account of a failed call.

    The package replaces some of gRPC's errors by empty ones of its own; what they replaced is still
    there as their context. Raises `error` if it is about no call.
    """
    status = error if isinstance(error, grpc.Call) else error.__context__
    if not isinstance(status, grpc.Call):
        raise error
    return status


def _probe(client: Etcd3Client, _timeout_s: float) -> None:
    client.get_response(PROBE_KEY)
