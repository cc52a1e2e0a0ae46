"""A data directory is one member's, for ever, and one process's at a time."""

import stat
from pathlib import Path

import pytest

from cluster.errors import NameTaken
from node.data_dir import ID_OCTETS, DataDir
from tests.unit.cluster.fakes import SeededRng


def open_once(path: Path, seed: int) -> str:
    """The id that a process finds or makes there."""
    data_dir = DataDir(str(path), SeededRng(seed))
    data_dir.close()
    return data_dir.id


def test_the_id_is_made_once_and_the_folder_is_private(tmp_path: Path) -> None:
    path = tmp_path / "data" / "gw1"
    made = open_once(path, 1)
    assert len(bytes.fromhex(made)) == ID_OCTETS
    assert open_once(path, 2) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert sorted(file.name for file in path.iterdir()) == ["id", "lock"]


@pytest.mark.parametrize("text", ["", "0123", "g" * 32, "0" * 34])
def test_an_id_that_makes_no_sense_is_replaced_whole(tmp_path: Path, text: str) -> None:
    (tmp_path / "id").write_text(text)
    made = open_once(tmp_path, 1)
    assert (tmp_path / "id").read_text() == made + "\n"


def test_an_id_that_a_crash_left_beside_is_none(tmp_path: Path) -> None:
    (tmp_path / "id.new").write_text("00")
    made = open_once(tmp_path, 1)
    assert open_once(tmp_path, 2) == made


def test_two_processes_do_not_share_a_directory(tmp_path: Path) -> None:
    first = DataDir(str(tmp_path), SeededRng(1))
    with pytest.raises(NameTaken, match="in use by another process"):
        DataDir(str(tmp_path), SeededRng(2))
    first.close()
    assert open_once(tmp_path, 3) == first.id
