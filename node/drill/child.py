"""One process of a drill: started, signalled and ended by its pid, its output kept in a file.

Rules: it runs in a session of its own, so that Ctrl-C reaches the drill alone, which then ends its
children in order; where `setpriv` is at hand it dies with the drill, however that ends.
"""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

POLL_S = 0.02
LAST_LINES = 12
LINE_CHARACTERS_MAX = 400


class CouldNotRun(Exception):
    """The drill could not be carried out; the message says what failed, with a log's last lines."""


class Child:
    """A process and its log."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = tuple(command)
        self._process: subprocess.Popen[bytes] | None = None
        self.wanted = False
        """It should be running: nobody ended it on purpose."""

    def start(self) -> None:
        """Start it. Raises CouldNotRun if there is nothing to start."""
        setpriv = shutil.which("setpriv")
        dies_with_us = [] if setpriv is None else [setpriv, "--pdeathsig", "KILL", "--"]
        with self.log.open("ab") as log:
            try:
                self._process = subprocess.Popen(  # noqa: S603  our own commands, no shell
                    [*dies_with_us, *self._command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    env=os.environ | {"PYTHONUNBUFFERED": "1"},
                )
            except OSError as error:
                raise CouldNotRun(f"{self.name} could not be started: {error}") from None
        self.wanted = True

    @property
    def running(self) -> bool:
        """It was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id; 0 if it was never started."""
        return self._process.pid if self._process is not None else 0

    def check(self) -> None:
        """Raises CouldNotRun if it should be running and isn't."""
        if self.wanted and not self.running:
            status = self._process.returncode if self._process else None
            raise CouldNotRun(f"{self.name} ended by itself ({_status(status)}):\n{self.tail()}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; SIGKILL and SIGTERM mean that its end is wanted."""
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.wanted = False
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    async def ended(self, timeout_s: float) -> int | None:
        """Wait for its end: the exit status, or None if it goes on after `timeout_s`."""
        if self._process is None:
            return 0
        try:
            async with asyncio.timeout(timeout_s):
                while self._process.poll() is None:  # noqa: ASYNC110  no event tells of the end
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            return None
        return self._process.returncode

    async def stop(self, timeout_s: float) -> int | None:
        """End it in order, by force when it doesn't within `timeout_s` (then None)."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        status = await self.ended(timeout_s)
        if status is None:
            self.kill()
        return status

    def kill(self) -> None:
        """End it by force and wait until it has ended."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def tail(self) -> str:
        """The last lines of its log, indented."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except OSError:
            lines = []
        shown = [f"    {line[:LINE_CHARACTERS_MAX]}" for line in lines[-LAST_LINES:]]
        return "\n".join(shown) or "    (nothing was logged)"


def _status(status: int | None) -> str:
    if status is not None and status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"
