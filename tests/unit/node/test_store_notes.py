"""What a data directory remembers of the store: kept over lives, never misread."""

from pathlib import Path

from cluster.rewind import Memory
from node.store_notes import LINE_OCTETS, StoreNotes

MEMORY = Memory((1 << 64) - 1, (1 << 63) - 1, 255)


def test_what_was_written_is_read_by_the_next_life(tmp_path: Path) -> None:
    path = tmp_path / "store"
    assert StoreNotes(path).read() is None
    StoreNotes(path).write(MEMORY, surely=True)
    assert StoreNotes(path).read() == MEMORY
    StoreNotes(path).write(Memory(1, 2, 0), surely=False)
    assert StoreNotes(path).read() == Memory(1, 2, 0)
    assert path.stat().st_size == LINE_OCTETS
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_that_is_damaged_anywhere_is_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "store"
    notes = StoreNotes(path)
    notes.write(MEMORY, surely=False)
    line = path.read_bytes()
    for at in range(len(line.strip())):
        path.write_bytes(line[:at] + bytes((line[at] ^ 1,)) + line[at + 1 :])
        assert notes.read() is None
    for length in range(len(line.strip())):
        path.write_bytes(line[:length])
        assert notes.read() is None


def test_a_disk_that_fails_is_survived(tmp_path: Path) -> None:
    notes = StoreNotes(tmp_path / "nowhere" / "store")
    notes.write(MEMORY, surely=True)
    assert notes.read() is None
    (tmp_path / "nowhere").mkdir()
    notes.write(MEMORY, surely=True)
    assert notes.read() == MEMORY
