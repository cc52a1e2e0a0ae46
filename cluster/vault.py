"""Envelope encryption of what lies in the store: a member needs the cluster's key-encryption key
to read it.

```
sealed = version(1) ‖ KEK id(8) ‖ salt(32) ‖ AES-256-GCM(key, plaintext)
key    = HKDF-SHA256(KEK, salt, info = use ‖ name), used once, hence an IV of zeros
AAD    = version ‖ KEK id ‖ salt ‖ name
```

Rules: `name` is the store key under which the value lies: it holds the cluster's name and what
the value is, so that nothing sealed can be moved to another place or another cluster. The KEK
itself is never stored. A member may hold several KEKs while the cluster changes from one to the
next: the id says which one opens a value. HKDF: RFC 5869.
"""

from collections.abc import Iterable, Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cluster.errors import Incompatible, WrongKek
from cluster.seams import Rng
from proto.secret import Secret

VERSION = 1
KEK_LEN = 32
"""Octets of a key-encryption key."""

_KEK_ID_LEN = 8
_SALT_LEN = 32
_TAG_LEN = 16
_HEADER_LEN = 1 + _KEK_ID_LEN + _SALT_LEN
_IV = bytes(12)


class Kek:
    """The cluster's key-encryption key, and a short id that tells it from others without
    revealing it.
    """

    def __init__(self, secret: Secret, source: str = "") -> None:
        """`secret`: 32 octets; ValueError for another length. `source`: for people."""
        if len(secret) != KEK_LEN:
            raise ValueError(
                f"a key-encryption key has {KEK_LEN} octets, this one has {len(secret)}"
            )
        self.secret = secret
        self.source = source
        self.kek_id = _derive(secret, b"", b"standfast kek id", _KEK_ID_LEN)

    def __repr__(self) -> str:
        return f"<Kek {self}>"

    def __str__(self) -> str:
        return f"{self.kek_id.hex()} (from {self.source})" if self.source else self.kek_id.hex()


class Keks:
    """The key-encryption keys that a member holds; the first is the one for what is new."""

    def __init__(self, keks: Iterable[Kek]) -> None:
        """At least one; ValueError for none."""
        self._by_id: dict[bytes, Kek] = {}
        for kek in keks:
            self._by_id.setdefault(kek.kek_id, kek)
        if not self._by_id:
            raise ValueError("a member needs a key-encryption key")

    def __iter__(self) -> Iterator[Kek]:
        return iter(self._by_id.values())

    @property
    def first(self) -> Kek:
        """What the member's source of the key in use gave."""
        return next(iter(self._by_id.values()))

    @property
    def ids(self) -> tuple[bytes, ...]:
        """The ids of all of them, the first one's first."""
        return tuple(self._by_id)

    def find(self, kek_id: bytes) -> Kek | None:
        """The one with that id, if it is here."""
        return self._by_id.get(kek_id)

    def open(self, sealed: bytes, name: bytes) -> bytes:
        """What was sealed as `name` under any of them. Raises WrongKek, Incompatible."""
        kek = self._by_id.get(sealing_kek_id(sealed, name))
        if kek is None:
            raise _wrong_kek(sealed, name, self)
        return open_sealed(kek, sealed, name)


def seal(kek: Kek, plaintext: bytes, name: bytes, rng: Rng) -> bytes:
    """`plaintext` so that only `open_sealed` with the same `kek` and `name` gives it back."""
    salt = rng.bytes(_SALT_LEN)
    header = bytes((VERSION,)) + kek.kek_id + salt
    key = _derive(kek.secret, salt, b"standfast vault\0" + name, KEK_LEN)
    return header + AESGCM(key).encrypt(_IV, plaintext, header + name)


def open_sealed(kek: Kek, sealed: bytes, name: bytes) -> bytes:
    """What was sealed as `name`.

    Raises WrongKek (another KEK, or the value was damaged or moved), Incompatible (a format this
    release can't read).
    """
    where = name.decode(errors="replace")
    kek_id = sealing_kek_id(sealed, name)
    header = sealed[:_HEADER_LEN]
    salt = header[1 + _KEK_ID_LEN :]
    if kek_id != kek.kek_id:
        raise _wrong_kek(sealed, name, (kek,))
    key = _derive(kek.secret, salt, b"standfast vault\0" + name, KEK_LEN)
    try:
        return AESGCM(key).decrypt(_IV, sealed[_HEADER_LEN:], header + name)
    except InvalidTag:
        raise WrongKek(
            f"{where} does not open under its own key-encryption key {kek_id.hex()}: it was "
            "damaged or moved; restore it from a backup of the store"
        ) from None


def sealing_kek_id(sealed: bytes, name: bytes) -> bytes:
    """The id, 8 octets, of the KEK that `sealed` was sealed under. Raises Incompatible for another
    format.
    """
    if len(sealed) < _HEADER_LEN + _TAG_LEN or sealed[0] != VERSION:
        raise Incompatible(
            f"{name.decode(errors='replace')} is not sealed in format {VERSION}: it was made by "
            "another release, or damaged"
        )
    return sealed[1 : 1 + _KEK_ID_LEN]


def _wrong_kek(sealed: bytes, name: bytes, held: Iterable[Kek]) -> WrongKek:
    return WrongKek(
        f"{name.decode(errors='replace')} is sealed under the key-encryption key "
        f"{sealing_kek_id(sealed, name).hex()}, and not under what this member holds: "
        f"{', '.join(map(str, held))} → give it the cluster's own"
    )


def _derive(secret: Secret, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(secret.octets)
