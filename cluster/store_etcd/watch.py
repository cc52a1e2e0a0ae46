"""A watch that outlives connections and members.

Rules: it goes on at the last event's revision plus one (never at a header's, which runs ahead of
the events, but for a progress notification's); a revision is handed over whole, whatever etcd
split; it fails only with Compacted. It asks one revision early and drops what it had: etcd forgets
deletions made at the very revision it compacts, so the strict bound is ours.
"""

import asyncio
from collections.abc import AsyncGenerator

import grpc.aio

from cluster.errors import Compacted
from cluster.store import Change, Changes
from cluster.store_etcd.channels import REQUIRE_LEADER, Endpoint
from cluster.store_etcd.client import Client, pause_s
from cluster.store_etcd.codec import decode_change, range_end
from proto.rpc.etcd import rpc_pb2

Stream = grpc.aio.StreamStreamCall[rpc_pb2.WatchRequest, rpc_pb2.WatchResponse]


class _Ended(Exception):
    """This stream is over; another may go on."""


async def watch(
    client: Client, prefix: bytes, from_revision: int, start: int
) -> AsyncGenerator[Changes, None]:
    """Changes under `prefix`; the first member asked is number `start`. Raises Compacted."""
    next_revision = from_revision
    failures = 0
    i = start % len(client.endpoints)
    while not client.closed:
        stream = _stream(client, client.endpoints[i], prefix, next_revision)
        try:
            async for changes in stream:
                failures = 0
                next_revision = changes.revision + 1
                if changes.changes:
                    yield changes
        except (_Ended, TimeoutError, grpc.aio.AioRpcError):
            failures += 1
        except asyncio.CancelledError:
            # our own close() looks like this too: gRPC cancels what it had under way
            task = asyncio.current_task()
            if not client.closed or (task is not None and task.cancelling()):
                raise
            return
        finally:
            await stream.aclose()
        if failures > 1:
            await asyncio.sleep(pause_s(failures - 1))
        i = (i + 1) % len(client.endpoints)


async def _stream(
    client: Client, endpoint: Endpoint, prefix: bytes, next_revision: int
) -> AsyncGenerator[Changes, None]:
    """One stream's changes; empty ones tell progress. Raises Compacted, _Ended, AioRpcError,
    TimeoutError."""
    call = endpoint.watch(None, metadata=REQUIRE_LEADER)
    try:
        async with asyncio.timeout(client.options.attempt_timeout_s):
            await call.write(_create(prefix, max(1, next_revision - 1)))
            answer = await _read(call)
        pending: list[Change] = []
        while True:
            if answer.compact_revision:
                raise Compacted(answer.compact_revision)
            if answer.canceled:
                raise _Ended
            pending += [
                decode_change(event)
                for event in answer.events
                if event.kv.mod_revision >= next_revision
            ]
            if not answer.fragment:
                if pending:
                    next_revision = pending[-1].entry.mod_revision + 1
                elif not answer.events and not answer.created:
                    next_revision = max(next_revision, answer.header.revision + 1)
                yield Changes(tuple(pending), next_revision - 1)
                pending = []
            answer = await _read(call)
    finally:
        call.cancel()


async def _read(call: Stream) -> rpc_pb2.WatchResponse:
    answer = await call.read()
    if not isinstance(answer, rpc_pb2.WatchResponse):
        raise _Ended
    return answer


def _create(prefix: bytes, start_revision: int) -> rpc_pb2.WatchRequest:
    return rpc_pb2.WatchRequest(
        create_request=rpc_pb2.WatchCreateRequest(
            key=prefix or b"\0",
            range_end=range_end(prefix),
            start_revision=start_revision,
            progress_notify=True,
            fragment=True,
        )
    )
