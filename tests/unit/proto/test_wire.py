"""The cursor checks before it steps."""

import pytest

from proto.ike.errors import WireError
from proto.ike.wire import Reader


def test_octets_are_taken_in_order():
    reader = Reader(bytes(range(6)), 1)
    assert reader.take(1) == b"\x01"
    assert len(reader) == 4
    assert reader.take(4) == b"\x02\x03\x04\x05"
    assert len(reader) == 0


@pytest.mark.parametrize("n", [-1, 4])
def test_a_step_out_of_bounds_is_a_wire_error_and_leaves_the_cursor(n):
    reader = Reader(b"abc")
    with pytest.raises(WireError, match="truncated"):
        reader.take(n)
    assert reader.take(3) == b"abc"
