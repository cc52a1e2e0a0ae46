"""The cursor checks before it steps."""

import pytest

from proto.ike.errors import WireError
from proto.ike.wire import Reader


def test_fields_are_read_in_order_and_big_endian():
    reader = Reader(bytes(range(12)), 1)
    assert reader.u8() == 1
    assert reader.u16() == 0x0203
    assert reader.u32() == 0x04050607
    inner = reader.sub(2)
    assert inner.rest() == b"\x08\x09"
    assert len(reader) == 2
    assert reader.rest() == b"\x0a\x0b"
    reader.end()


@pytest.mark.parametrize("read", [Reader.u8, Reader.u16, Reader.u32])
def test_reading_past_the_end_is_a_wire_error(read):
    with pytest.raises(WireError, match="truncated"):
        read(Reader(b""))


def test_a_length_below_zero_is_a_wire_error():
    with pytest.raises(WireError):
        Reader(b"abc").take(-1)


def test_what_is_left_over_is_a_wire_error():
    with pytest.raises(WireError, match="2 trailing"):
        Reader(b"ab").end()
