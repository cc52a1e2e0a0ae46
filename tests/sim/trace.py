"""What happened in a run, as one digest: two runs are the same run if their digests are equal.

Rules: only values go in (numbers, text, octets, tuples of them), never objects whose text holds an
address in memory; lines are kept only on demand.
"""

import hashlib

import msgspec

from proto.ike.enums import FLAG_RESPONSE, ExchangeType
from tests.sim.loop import SimLoop

START_S = 1000.0
"""Virtual time when a run begins; lines count from there."""

Value = int | float | str | bytes | None


HEADER_OCTETS = 28


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
        self._sha256.update(self._encode((self._loop.now_s, kind, values)))
        if self.lines is not None:
            shown = " ".join(_shown(kind, value) for value in values)
            self.lines.append(f"{self._loop.time() - START_S:11.6f} {kind:12} {shown}")

    def digest(self) -> str:
        """Hex, over everything so far."""
        return self._sha256.hexdigest()


def _shown(kind: str, value: Value) -> str:
    """A value as a person reads it: what a datagram or frame is, not its octets."""
    if not isinstance(value, bytes):
        return str(value)
    if kind == "frame":
        frame = msgspec.msgpack.decode(value)
        name = str(frame.pop("kind"))
        short = {k: v for k, v in frame.items() if isinstance(v, int | str)}
        return name + "".join(f" {k}={v}" for k, v in sorted(short.items()))
    if len(value) < HEADER_OCTETS:
        return value.hex()
    try:
        exchange = ExchangeType(value[18]).name
    except ValueError:
        exchange = f"exchange {value[18]}"
    way = "response" if value[19] & FLAG_RESPONSE else "request"
    number = int.from_bytes(value[20:24], "big")
    return (
        f"{exchange} {way} {number}, SPIs {value[:8].hex()} {value[8:16].hex()}, "
        f"{len(value)} octets"
    )
