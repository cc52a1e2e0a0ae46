"""What a gateway remembers of its pledges."""

from pathlib import Path

import pytest

from cluster.errors import Incompatible
from cluster.failsafe.outage import read_pledges
from cluster.failsafe.pledge import Given
from node.outage import FileBook


def test_a_book_that_was_never_written_is_empty(tmp_path: Path):
    assert read_pledges(FileBook(tmp_path)) == {}


def test_what_was_written_is_read_by_the_next_process(tmp_path: Path):
    FileBook(tmp_path).write(b'{"b":{"incarnation":"b1","round":3,"later":true}}')
    assert read_pledges(FileBook(tmp_path)) == {"b": Given("b1", 3)}
    FileBook(tmp_path).write(b"{}")
    assert read_pledges(FileBook(tmp_path)) == {}


def test_a_book_that_cannot_be_read_is_not_taken_for_an_empty_one(tmp_path: Path):
    FileBook(tmp_path).write(b'{"b":')
    with pytest.raises(Incompatible, match="pledges"):
        read_pledges(FileBook(tmp_path))
