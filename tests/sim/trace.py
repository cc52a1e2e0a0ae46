"""What happened in a run, as one digest: two runs are the same run if their digests are equal.

Rules: only values go in (numbers, text, octets, tuples of them), never objects whose text holds an
address in memory; lines are kept only on demand.
"""

import hashlib

import msgspec

from tests.sim.loop import SimLoop

Value = int | float | str | bytes | None


class Trace:
    """SHA-256 over every event with its virtual time."""

    def __init__(self, loop: SimLoop, *, keep: bool = False) -> None:
        self._loop = loop
        self._sha256 = hashlib.sha256()
        self._encode = msgspec.msgpack.Encoder().encode
        self.lines: list[str] | None = [] if keep else None
        self.count = 0

    def event(self, kind: str, *values: Value) -> None:
        """Note one event."""
        self.count += 1
        self._sha256.update(self._encode((self._loop.time(), kind, values)))
        if self.lines is not None:
            shown = " ".join(v.hex() if isinstance(v, bytes) else str(v) for v in values)
            self.lines.append(f"{self._loop.time():.6f} {kind} {shown}")

    def digest(self) -> str:
        """Hex, over everything so far."""
        return self._sha256.hexdigest()
