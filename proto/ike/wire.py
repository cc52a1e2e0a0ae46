"""A cursor over octets that somebody sent: each step checks first and raises WireError alone."""

from proto.ike.errors import WireError


class Reader:
    """Reads big-endian fields from `data`, front to back."""

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

    def u8(self) -> int:
        """One octet as a number."""
        return self.take(1)[0]

    def u16(self) -> int:
        """Two octets as a number."""
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        """Four octets as a number."""
        return int.from_bytes(self.take(4), "big")

    def sub(self, n: int) -> "Reader":
        """A Reader of its own over the next `n` octets."""
        return Reader(self.take(n))

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(self._end - self._offset)

    def end(self) -> None:
        """Raises WireError when something is left over."""
        if self._offset != self._end:
            raise WireError(f"{self._end - self._offset} trailing octets")
