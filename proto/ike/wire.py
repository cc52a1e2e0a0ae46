"""A cursor over octets that somebody sent: each step checks first and raises WireError alone."""

import msgspec

from proto.ike.errors import WireError

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for octets that it can't decode: text that is no UTF-8 and lists that are
nested too deep have exceptions of their own."""


class Reader:
    """Takes octets from `data`, front to back."""

    __slots__ = ("_data", "_end", "_offset")

    def __init__(self, data: bytes, offset: int = 0) -> None:
        self._data = data
        self._offset = offset
        self._end = len(data)

    def __len__(self) -> int:
        """Octets that are left."""
        return self._end - self._offset

    def take(self, n: int) -> bytes:
        """The next `n` octets. Raises WireError when fewer are left."""
        start = self._offset
        stop = start + n
        if n < 0 or stop > self._end:
            raise WireError(f"truncated: {n} octets wanted, {self._end - start} left")
        self._offset = stop
        return self._data[start:stop]
