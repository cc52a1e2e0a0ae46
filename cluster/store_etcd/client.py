"""One call to etcd, with every member tried in turn until the total deadline.

Rules: what may be repeated (`repeat`) goes on until it is done or the time is up; what may not
(`once`) is sent only over a connection that stands, and is sent again only when nothing can have
happened. The member to ask first is the leader where it is known: a follower would only pass the
call on.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc.aio

from cluster.errors import Compacted, LeaseLost, Trouble, Unavailable, Unknown
from cluster.seams import Clock
from cluster.store_etcd.channels import (
    REQUIRE_LEADER,
    CallFailed,
    Endpoint,
    EtcdOptions,
    EtcdTls,
    Failure,
    describe,
    failure_of,
    trouble_of,
)
from proto.rpc.etcd import rpc_pb2

PAUSE_FIRST_S = 0.02
PAUSE_MAX_S = 0.25

NO_TROUBLE = (Trouble.NO_ANSWER, "")
_TELLING = (
    Trouble.NO_ANSWER,
    Trouble.NO_LEADER,
    Trouble.NO_SPACE,
    Trouble.DENIED,
    Trouble.CERTIFICATE,
    Trouble.REWOUND,
)
"""Troubles, the more telling later: three members may fail in three ways."""

T = TypeVar("T")
Attempt = Callable[[Endpoint, float], Awaitable[T]]
"""Makes the call at one member, within so many seconds."""


class CallTimeout(Exception):
    """An attempt that is more than one gRPC call did not end in time; nothing is known."""


class FutureRevision(ValueError):
    """Refused: etcd is not at that revision yet."""


def pause_s(failures: int) -> float:
    """How long to wait after so many failures in a row, at least one."""
    return min(PAUSE_FIRST_S * 2.0 ** (min(failures, 16) - 1), PAUSE_MAX_S)


class Client:
    """The members, and which of them to ask. Make it where a loop runs."""

    def __init__(self, options: EtcdOptions, clock: Clock, tls: EtcdTls | None) -> None:
        if not options.endpoints:
            raise ValueError("no etcd endpoint")
        self.options = options
        self.endpoints = [Endpoint(address, options, tls) for address in options.endpoints]
        self.closed = False
        self._clock = clock
        self._first = 0
        self._term = 0
        self._leader_stale = len(self.endpoints) > 1
        self._trouble = NO_TROUBLE
        """The most telling failure since the last answer."""

    def explain(self) -> tuple[Trouble, str]:
        """Why etcd didn't answer lately, as far as failures told; and the words of the failure."""
        return self._trouble

    async def repeat(self, attempt: Attempt[T]) -> T:
        """The answer to a call that may be made more than once. Raises Unavailable, and what
        `refuse` raises."""
        self._check_open()
        deadline_s = self._clock.boot_s() + self.options.total_timeout_s
        failures = 0
        while True:
            i = self._first
            try:
                answer = await attempt(self.endpoints[i], self._attempt_timeout_s(deadline_s))
                self._trouble = NO_TROUBLE
                return answer
            except (grpc.aio.AioRpcError, CallTimeout, asyncio.CancelledError) as error:
                reason = self._reason(error)
            failures += 1
            await self._next(i, failures, deadline_s, reason)

    async def once(self, attempt: Attempt[T]) -> T:
        """The answer to a call that may be made only once. Raises Unavailable (nothing happened),
        Unknown (it may have), and what `refuse` raises."""
        self._check_open()
        deadline_s = self._clock.boot_s() + self.options.total_timeout_s
        failures = 0
        while True:
            if self._leader_stale:
                await self._find_leader()
            i = self._first
            endpoint = self.endpoints[i]
            sent = False
            try:
                if not endpoint.ready():
                    await self.status(endpoint, self._attempt_timeout_s(deadline_s))
                sent = True
                answer = await attempt(endpoint, self._attempt_timeout_s(deadline_s))
                self._trouble = NO_TROUBLE
                return answer
            except (grpc.aio.AioRpcError, asyncio.CancelledError) as error:
                reason = self._reason(error)
                in_doubt = (
                    not isinstance(error, grpc.aio.AioRpcError)
                    or failure_of(error) is Failure.IN_DOUBT
                )
            if sent and in_doubt:
                self._move_on(i)
                raise Unknown(f"etcd at {endpoint.address}: {reason}")
            failures += 1
            await self._next(i, failures, deadline_s, reason)

    async def status(self, endpoint: Endpoint, timeout_s: float) -> rpc_pb2.StatusResponse:
        """What one member says of itself; remembers its id. Raises AioRpcError."""
        answer: rpc_pb2.StatusResponse = await endpoint.status(
            rpc_pb2.StatusRequest(), timeout=timeout_s, metadata=REQUIRE_LEADER
        )
        endpoint.member_id = answer.header.member_id
        return answer

    def saw(self, header: rpc_pb2.ResponseHeader) -> None:
        """Looks at an answer's header: a new term may mean a new leader."""
        if header.raft_term != self._term:
            self._term = header.raft_term
            self._leader_stale = len(self.endpoints) > 1

    async def close(self) -> None:
        """Ends every call and connection."""
        self.closed = True
        for endpoint in self.endpoints:
            await endpoint.close()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the store is closed")

    def _attempt_timeout_s(self, deadline_s: float) -> float:
        left_s = deadline_s - self._clock.boot_s()
        return max(0.001, min(self.options.attempt_timeout_s, left_s))

    def _reason(self, error: BaseException) -> str:
        """Why an attempt failed, if another may do better; else raises what it means."""
        if isinstance(error, asyncio.CancelledError):
            # our own close() looks like this too: gRPC cancels what it had under way
            task = asyncio.current_task()
            if not self.closed or (task is not None and task.cancelling()):
                raise error
            return "the store was closed"
        if isinstance(error, grpc.aio.AioRpcError):
            refuse(error)
            self._trouble = more_telling(self._trouble, error)
            return describe(error)
        return str(error)

    def _move_on(self, i: int) -> None:
        if self._first == i:
            self._first = (i + 1) % len(self.endpoints)

    async def _next(self, i: int, failures: int, deadline_s: float, reason: str) -> None:
        """Goes to the next member, after a pause once all were tried. Raises Unavailable."""
        self._move_on(i)
        wait_s = pause_s(failures) if failures % len(self.endpoints) == 0 else 0.0
        if self.closed or self._clock.boot_s() + wait_s >= deadline_s:
            address = self.endpoints[i].address
            raise Unavailable(
                f"etcd did not answer in {self.options.total_timeout_s:g} s; "
                f"last, {address}: {reason}",
                self._trouble[0],
            )
        await asyncio.sleep(wait_s)

    async def _find_leader(self) -> None:
        """Asks for the leader, and puts it first; members that don't answer are passed over."""
        self._leader_stale = False
        order = [(self._first + k) % len(self.endpoints) for k in range(len(self.endpoints))]
        leader = 0
        for i in order:
            known = self._with_id(leader)
            if known is not None:
                break
            try:
                answer = await self.status(self.endpoints[i], self.options.attempt_timeout_s)
            except grpc.aio.AioRpcError:
                continue
            leader, self._term = answer.leader, answer.raftTerm
        known = self._with_id(leader)
        if known is not None:
            self._first = known

    def _with_id(self, member_id: int) -> int | None:
        for i, endpoint in enumerate(self.endpoints):
            if member_id and endpoint.member_id == member_id:
                return i
        return None


def more_telling(before: tuple[Trouble, str], error: CallFailed) -> tuple[Trouble, str]:
    """What to tell of failures, `before` and now `error`: a mere silence hides no reason."""
    trouble = trouble_of(error)
    if _TELLING.index(trouble) < _TELLING.index(before[0]):
        return before
    return trouble, describe(error)


def refuse(error: grpc.aio.AioRpcError) -> None:
    """Raises what a refusal means: ValueError, LeaseLost, Compacted, Unavailable.

    Returns if another attempt may do better.
    """
    meaning = meaning_of(error)
    if meaning is not None:
        raise meaning from error


def meaning_of(error: CallFailed) -> Exception | None:
    """What a refusal means; None if another attempt may do better."""
    kind = failure_of(error)
    if kind is Failure.FUTURE:
        return FutureRevision(error.details() or "a future revision")
    if kind is Failure.MISUSE:
        return ValueError(error.details() or "etcd refused the request")
    if kind is Failure.NO_LEASE:
        return LeaseLost(error.details() or "the lease is gone")
    if kind is Failure.COMPACTED:
        return Compacted(0)
    if kind in (Failure.NO_SPACE, Failure.DENIED):
        return Unavailable(f"etcd refuses: {describe(error)}", trouble_of(error))
    return None
