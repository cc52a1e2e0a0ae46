"""A watch that outlives the package's, which ends at the first failure.

Rules: as `cluster.store_etcd.watch`: it goes on at the last event's revision plus one, hands over
revisions whole, fails only with Compacted, and asks one revision early. Each try is a watcher of
the package, with a thread of its own that ends with the stream. What the loop doesn't fetch in time
is bounded: the stream is ended then, and asked for again from where the loop stands.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator

from cluster.errors import Compacted, Unavailable
from cluster.store import Change, ChangeKind, Changes, Entry
from cluster.store_etcd.channels import REQUIRE_LEADER
from cluster.store_etcd.client import pause_s
from cluster.store_etcd.codec import range_end
from cluster.store_etcd3.calls import AttemptFailed, Calls
from cluster.store_etcd3.library import (
    Etcd3Client,
    Library,
    Metadata,
    NoMoreStreams,
    WatchAnswer,
    WatchCall,
    WatchEvent,
    WatchStub,
    watch_stub,
)
from proto.rpc.etcd import rpc_pb2

INBOX_ANSWERS_MAX = 256
"""Answers that wait for the loop; etcd puts what has piled up into few big ones."""


class OneStream:
    """The stub that a watcher of the package gets: one stream, and then an end of its thread.

    By itself the watcher's thread asks for the next stream at once and for ever: with the member
    away that is a busy loop, which a closed store doesn't end either. And it keeps silent about a
    stream that ends without an error, and about a watch that etcd cancels.
    """

    def __init__(self, stub: WatchStub, ended: Callable[[], None]) -> None:
        self._stub = stub
        self._ended = ended
        self._cancelled = False
        self._call: WatchCall | None = None
        self._given = False

    def Watch(  # noqa: N802 - the service's name for it
        self, requests: Iterator[rpc_pb2.WatchRequest], *, credentials: None, metadata: Metadata
    ) -> Iterator[rpc_pb2.WatchResponse]:
        """Called by the watcher's thread, at its start and after each stream."""
        if self._given:
            self._ended()
            raise NoMoreStreams
        self._given = True
        return self._answers(requests, credentials, metadata)

    def cancel(self) -> None:
        """Ends the stream, now or as soon as it is there; from any thread."""
        self._cancelled = True
        if self._call is not None:
            self._call.cancel()

    def _answers(
        self, requests: Iterator[rpc_pb2.WatchRequest], credentials: None, metadata: Metadata
    ) -> Iterator[rpc_pb2.WatchResponse]:
        try:
            call = self._stub.Watch(requests, credentials=credentials, metadata=metadata)
        except ValueError:
            return  # gRPC's word for a channel that was closed meanwhile
        self._call = call
        if self._cancelled:  # looked at after `_call` was set: cancel() looks the other way round
            call.cancel()
        try:
            for answer in call:
                yield answer
                if answer.canceled:
                    return
        finally:
            call.cancel()


class Stream:
    """One watch of the package as the loop sees it."""

    def __init__(self, library: Library, client: Etcd3Client, timeout_s: float) -> None:
        self._library = library
        self._loop = asyncio.get_running_loop()
        self._inbox: deque[WatchAnswer | Compacted] = deque()
        self._wake = asyncio.Event()
        self._given_up = False
        """The loop has gone: nobody is to be woken."""
        self._full = False
        self._over = False
        self._stub = OneStream(watch_stub(client), self._ended)
        self._watcher = library.watcher(self._stub, timeout=timeout_s, metadata=REQUIRE_LEADER)
        self._watch_id: int | None = None

    def begin(self, prefix: bytes, start_revision: int) -> None:
        """Blocks until etcd says that it watches. Raises the package's errors and gRPC's."""
        self._watch_id = self._watcher.add_callback(
            prefix or b"\0",
            self._told,
            range_end=range_end(prefix),
            start_revision=start_revision,
            progress_notify=True,
        )

    async def next(self) -> WatchAnswer | None:
        """The next answer; None when the stream is over. Raises Compacted."""
        while not self._inbox:
            if self._over:
                return None
            self._wake.clear()
            if self._inbox or self._over:
                continue
            await self._wake.wait()
        found = self._inbox.popleft()
        if isinstance(found, Compacted):
            raise found
        return found

    def end(self) -> None:
        """Ends stream and thread; returns at once."""
        self._given_up = True
        self.stop()

    def stop(self) -> None:
        """Ends stream and thread; `next` still gives what has come."""
        if self._watch_id is not None:
            # also lets go of the thread of gRPC's that waits for the watcher's next request
            self._watcher.cancel(self._watch_id)
        self._stub.cancel()

    # -- on the watcher's thread

    def _told(self, said: WatchAnswer | Exception) -> None:
        if self._full:
            return
        if isinstance(said, self._library.compacted):
            self._put(Compacted(getattr(said, "compacted_revision", 0)))
        elif isinstance(said, Exception):
            return  # the stream is over, and its stub says so
        elif len(self._inbox) >= INBOX_ANSWERS_MAX:
            self._full = True
            self._stub.cancel()
        else:
            self._put(said)

    def _put(self, item: WatchAnswer | Compacted) -> None:
        self._inbox.append(item)
        self._rouse()

    def _ended(self) -> None:
        self._over = True
        self._rouse()

    def _rouse(self) -> None:
        if not self._given_up:
            self._loop.call_soon_threadsafe(self._wake.set)


async def watch(
    calls: Calls, streams: dict[int, Stream], prefix: bytes, from_revision: int
) -> AsyncGenerator[Changes, None]:
    """Changes under `prefix`; while a stream lasts it is in `streams`. Raises Compacted."""
    next_revision = from_revision
    failures = 0
    while not calls.closed:
        stream = Stream(calls.library, calls.client, calls.options.attempt_timeout_s)
        streams[id(stream)] = stream
        try:
            await _begin(calls, stream, prefix, max(1, next_revision - 1))
            while (answer := await stream.next()) is not None:
                failures = 0
                changes = _changes(calls.library, answer, next_revision)
                next_revision = max(next_revision, changes.revision + 1)
                if changes.changes:
                    yield changes
        except (AttemptFailed, Unavailable):
            pass
        finally:
            del streams[id(stream)]
            stream.end()
        failures += 1
        if failures > 1 and not calls.closed:
            await asyncio.sleep(pause_s(failures - 1))


async def _begin(calls: Calls, stream: Stream, prefix: bytes, start_revision: int) -> None:
    """Raises Compacted, AttemptFailed, Unavailable."""
    try:
        await calls.attempt(lambda _client, _timeout_s: stream.begin(prefix, start_revision))
    except calls.library.compacted as error:
        raise Compacted(getattr(error, "compacted_revision", 0)) from error
    except calls.library.failure as error:
        raise Unavailable(f"etcd does not watch: {error}") from error


def _changes(library: Library, answer: WatchAnswer, next_revision: int) -> Changes:
    """What an answer tells from `next_revision` on; without events it tells progress."""
    changes = tuple(
        _decode_change(library, event)
        for event in answer.events
        if event.mod_revision >= next_revision
    )
    if changes:
        return Changes(changes, changes[-1].entry.mod_revision)
    if answer.events:
        return Changes((), next_revision - 1)
    return Changes((), max(next_revision - 1, answer.header.revision))


def _decode_change(library: Library, event: WatchEvent) -> Change:
    if isinstance(event, library.delete_event):
        return Change(ChangeKind.DELETE, Entry(event.key, b"", 0, event.mod_revision, 0))
    entry = Entry(
        event.key,
        event.value,
        event.create_revision,
        event.mod_revision,
        event.version,
        event.lease,
    )
    return Change(ChangeKind.PUT, entry)
