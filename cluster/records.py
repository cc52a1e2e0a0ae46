"""IKE SA records sealed under a key of the ring, for the store and the mirrors.

```
sealed = version(1) ‖ key id(8) ‖ stream salt(16) ‖ counter(8) ‖ AES-256-GCM(record)
key    = HKDF-SHA256(ring's record key, stream salt)      one per process and ring key
IV     = 0(4) ‖ counter(8)
AAD    = header ‖ store key of the record, so that no record can be put in another's place
```

Rules: all members share the ring's key, so none seals under it directly: a random stream salt per
process gives each its own key, under which a counter never repeats. Readers derive a writer's key
once and keep a bounded number of them. HKDF: RFC 5869.
"""

from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cluster.errors import Incompatible
from cluster.keyring import KEY_ID_LEN, KeyRing, RingKey
from cluster.seams import Clock, Rng

VERSION = 1
STREAMS_MAX = 1024
"""Derived keys a reader keeps; one per process that wrote records under one ring key."""
STREAM_RECORDS_MAX = 1 << 32
"""Records sealed under one derived key before a new stream begins."""

_SALT_LEN = 16
_COUNTER_LEN = 8
_STREAM_END = 1 + KEY_ID_LEN + _SALT_LEN
_HEADER_LEN = _STREAM_END + _COUNTER_LEN
_IV_HEAD = bytes(4)


class RecordVault:
    """Seals this process's records and opens everybody's."""

    def __init__(self, ring: Callable[[], KeyRing], clock: Clock, rng: Rng) -> None:
        """`ring`: the installed key ring, asked at each call."""
        self._ring = ring
        self._clock = clock
        self._rng = rng
        self._key: RingKey | None = None
        self._stream = b""
        self._aead = AESGCM(bytes(32))
        self._counter = STREAM_RECORDS_MAX
        self._streams: dict[bytes, AESGCM] = {}

    def seal_record(self, record: bytes, key: bytes) -> bytes:
        """`record` for the store key `key`. Raises Incompatible if the ring has no record key."""
        sealing = self._ring().records.current
        if sealing is not self._key or self._counter >= STREAM_RECORDS_MAX:
            self._new_stream(sealing)
        counter = self._counter.to_bytes(_COUNTER_LEN, "big")
        self._counter += 1
        header = self._stream + counter
        return header + self._aead.encrypt(_IV_HEAD + counter, record, header + key)

    def open_record(self, sealed: bytes, key: bytes) -> bytes:
        """The record sealed for the store key `key`.

        Raises Incompatible: another format, a key that the ring doesn't hold, damaged or moved.
        """
        if len(sealed) < _HEADER_LEN or sealed[0] != VERSION:
            raise Incompatible(f"{key.decode(errors='replace')}: not a record of format {VERSION}")
        header = sealed[:_HEADER_LEN]
        aead = self._reader(header[:_STREAM_END], key)
        try:
            return aead.decrypt(_IV_HEAD + header[_STREAM_END:], sealed[_HEADER_LEN:], header + key)
        except InvalidTag:
            raise Incompatible(
                f"{key.decode(errors='replace')}: the record was damaged or moved"
            ) from None

    def _new_stream(self, sealing: RingKey | None) -> None:
        if sealing is None:
            raise Incompatible("the key ring holds no record key: another release made it")
        salt = self._rng.bytes(_SALT_LEN)
        self._stream = bytes((VERSION,)) + sealing.key_id + salt
        self._aead = _derive(sealing, salt)
        self._counter = 0
        self._key = sealing

    def _reader(self, stream: bytes, key: bytes) -> AESGCM:
        # asked each time: a key that is gone from the ring opens nothing, derived before or not
        ring_key = self._ring().records.opening(stream[1 : 1 + KEY_ID_LEN], self._clock.wall_s())
        if ring_key is None:
            raise Incompatible(
                f"{key.decode(errors='replace')}: sealed under a record key that the ring "
                "does not hold (any more, or yet)"
            )
        aead = self._streams.get(stream)
        if aead is None:
            if len(self._streams) >= STREAMS_MAX:
                del self._streams[next(iter(self._streams))]
            aead = self._streams[stream] = _derive(ring_key, stream[1 + KEY_ID_LEN :])
        return aead


def _derive(ring_key: RingKey, salt: bytes) -> AESGCM:
    hkdf = HKDF(SHA256(), 32, salt, b"standfast record stream")
    return AESGCM(hkdf.derive(ring_key.secret.octets))
