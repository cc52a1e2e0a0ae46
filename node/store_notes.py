"""What a data directory remembers of the store, in its file `store`: implements `Notebook`.

Rules: one line of fixed length, written in place, so that writing it once a second costs nothing
and needs no room on a full disk; it is forced to the disk when cluster or epoch change. A power
failure may forget the last half minute of revisions, a crash of the process nothing. A line that
can't be read is no memory.
"""

import os
import zlib
from pathlib import Path

import msgspec
import structlog

from cluster.errors import UNREADABLE
from cluster.rewind import Memory

LINE_OCTETS = 1024

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Memory).decode


class StoreNotes:
    """See the module."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._path = path
        self._failed = False

    def read(self) -> Memory | None:
        """What was written last."""
        try:
            line = self._path.read_bytes()
        except FileNotFoundError:
            return None
        check, _, text = line.strip().partition(b" ")
        if check != b"%08x" % zlib.crc32(text):
            return None
        try:
            return _decode(text)
        except UNREADABLE:
            return None

    def write(self, memory: Memory, *, surely: bool) -> None:
        """Keep it. A disk that fails is told once, and does no harm but that it forgets."""
        text = _encode(memory)
        line = b"%08x %s" % (zlib.crc32(text), text)
        try:
            self._write(line.ljust(LINE_OCTETS - 1) + b"\n", surely=surely)
        except OSError as error:
            if not self._failed:
                structlog.get_logger("gateway").error(
                    "what was seen of the store can't be written down", why=str(error)
                )
            self._failed = True
        else:
            self._failed = False

    def _write(self, line: bytes, *, surely: bool) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(file, line, 0)
            if surely:
                os.fsync(file)
        finally:
            os.close(file)
