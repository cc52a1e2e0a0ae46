"""A process of the benchmarks that is told and asked in lines of JSON, and always ended."""

import asyncio
import contextlib
import shutil
import sys
from collections.abc import AsyncIterator
from typing import TypeVar

import msgspec

ANSWER_TIMEOUT_S = 120.0

T = TypeVar("T")


class Broken(Exception):
    """A process of the benchmarks ended, or said something else than what was asked."""


class Piped:
    """`python -m <module>`; see `running`."""

    def __init__(self, module: str, process: asyncio.subprocess.Process) -> None:
        self._module = module
        self._process = process
        self.pid = process.pid

    async def ask(self, question: msgspec.Struct, answer: type[T]) -> T:
        """One line there, one line back. Raises Broken."""
        self.tell(question)
        return await self.hear(answer)

    def tell(self, line: msgspec.Struct) -> None:
        """One line there."""
        if self._process.stdin is not None:
            self._process.stdin.write(msgspec.json.encode(line) + b"\n")

    async def hear(self, answer: type[T]) -> T:
        """One line back. Raises Broken."""
        if self._process.stdout is None:
            raise Broken(f"{self._module} has no output")
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                line = await self._process.stdout.readline()
            return msgspec.json.decode(line, type=answer)
        except (TimeoutError, msgspec.DecodeError) as error:
            raise Broken(f"{self._module}: {error or 'no answer'}") from None


@contextlib.asynccontextmanager
async def running(module: str) -> AsyncIterator[Piped]:
    """The process for as long as the block lasts; it dies with us, however that is."""
    setpriv = shutil.which("setpriv")
    dies_with_us = [] if setpriv is None else [setpriv, "--pdeathsig", "KILL", "--"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *dies_with_us, sys.executable, "-m", module, stdin=pipe, stdout=pipe
    )
    try:
        yield Piped(module, process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
