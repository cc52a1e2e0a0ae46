"""The member's data directory: whose name it is, and that only one process uses it.

Rules: the directory is 0700; `id` holds 16 random octets in hex, made once, and on the disk before
any member record bears it: an id lost in a crash would leave the name to a stranger until its lease
ends. `lock` is held as long as the process lives, so that two processes can't speak from one
directory on one machine.
"""

import fcntl
import os
from pathlib import Path

from cluster.errors import NameTaken
from cluster.seams import Rng
from node.outage import FileBook
from node.store_notes import StoreNotes

ID_OCTETS = 16


class DataDir:
    """An opened data directory. `id` is hex."""

    def __init__(self, path: str, rng: Rng) -> None:
        """Make it if need be, lock it, read or make its id. Raises NameTaken, OSError."""
        folder = Path(path)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise NameTaken(
                f"member.data_dir: {path} is in use by another process here: stop that one, or "
                "give this gateway a directory (and a name) of its own"
            ) from None
        self.id = self._read_or_make(folder / "id", rng)
        self.pledges = FileBook(folder)
        self.notes = StoreNotes(folder / "store")
        """What this directory remembers of the store."""

    def close(self) -> None:
        """Let the next process have it."""
        os.close(self._lock)

    @staticmethod
    def _read_or_make(path: Path, rng: Rng) -> str:
        if path.exists():
            text = path.read_text().strip()
            if len(text) == 2 * ID_OCTETS and set(text) <= set("0123456789abcdef"):
                return text
        text = rng.bytes(ID_OCTETS).hex()
        beside = path.with_name("id.new")
        with beside.open("w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return text
