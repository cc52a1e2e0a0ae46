"""Other processes that compute what takes too long for the event loop (`proto.ike.errands`).

Rules: a process is started when there is work for it, and again when one has died; it ends when its
standard input does, however we end. It has one piece of work at a time, the others wait in its
pipe. What it is told holds keys in clear: nobody else has the other end of the pipe.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Sequence
from typing import cast

from proto.ike.errands import Computation, Result, Undone
from proto.ike.errors import WireError

PROCESSES = 2
LENGTH_OCTETS = 4
"""Before each message, both ways, big-endian."""
ANSWER_OCTETS_MAX = 64 * 1024
COMMAND = (sys.executable, "-P", "-m", "node.computing")
"""-P: never what lies in the current folder."""


def framed(message: bytes) -> bytes:
    """A message as it goes through a pipe."""
    return len(message).to_bytes(LENGTH_OCTETS, "big") + message


class _Child(asyncio.SubprocessProtocol):
    """One process, and who waits for its answers, in order."""

    def __init__(self) -> None:
        self.waiting: deque[asyncio.Future[bytes]] = deque()
        self.gone = False
        self.over = asyncio.Event()
        self._heard = bytearray()
        self._transport: asyncio.SubprocessTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It runs."""
        self._transport = cast(asyncio.SubprocessTransport, transport)

    def ask(self, request: bytes) -> "asyncio.Future[bytes]":
        """The answer to come. It fails with ConnectionError if there won't be one."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        pipe = None if self._transport is None else self._transport.get_pipe_transport(0)
        if self.gone or pipe is None:
            answer.set_exception(ConnectionError("it is gone"))
            return answer
        self.waiting.append(answer)
        cast(asyncio.WriteTransport, pipe).write(framed(request))
        return answer

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Octets of answers."""
        self._heard += data
        while len(self._heard) >= LENGTH_OCTETS and not self.gone:
            size = int.from_bytes(self._heard[:LENGTH_OCTETS], "big")
            if size > ANSWER_OCTETS_MAX or not self.waiting:
                self.end()
                return
            end = LENGTH_OCTETS + size
            if len(self._heard) < end:
                return
            answer, octets = self.waiting.popleft(), bytes(self._heard[LENGTH_OCTETS:end])
            del self._heard[:end]
            if not answer.done():
                answer.set_result(octets)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Its standard input or output is closed."""
        self.end()

    def process_exited(self) -> None:
        """It has died, or was told to end."""
        self.over.set()
        self.end()

    def end(self) -> None:
        """Nothing more will come of it."""
        self.gone = True
        while self.waiting:
            answer = self.waiting.popleft()
            if not answer.done():
                answer.set_exception(ConnectionError("the computing process has ended"))
        if self._transport is not None:
            self._transport.close()


class Workers:
    """At most `count` such processes. Implements `node.errands.Computing`."""

    def __init__(self, count: int = PROCESSES, command: Sequence[str] = COMMAND) -> None:
        self.count = count
        self._command = command
        self._children: list[_Child] = []
        self._starting = asyncio.Lock()
        self._closed = False

    async def compute(self, computation: Computation) -> Result:
        """What comes of it; Undone if its process dies."""
        try:
            child = await self._idlest()
            return computation.result(await child.ask(computation.request()))
        except (OSError, WireError) as error:
            return Undone(f"not computed: {error}")

    async def _idlest(self) -> _Child:
        """The process with the least to do; another one while there may be more. Raises OSError."""
        async with self._starting:
            self._children = [child for child in self._children if not child.gone]
            busy = all(child.waiting for child in self._children)
            if busy and len(self._children) < self.count and not self._closed:
                _, made = await asyncio.get_running_loop().subprocess_exec(
                    _Child, *self._command, stderr=None, start_new_session=True
                )
                self._children.append(made)
            if not self._children:
                raise ConnectionError("closed")
            return min(self._children, key=lambda child: len(child.waiting))

    async def close(self) -> None:
        """End them all; what they had under way is undone."""
        self._closed = True
        for child in self._children:
            child.end()
        for child in self._children:
            await child.over.wait()
