"""Protection of the Encrypted payload, and the space of IVs that one owner of a key may use.

Rules: nothing of a plaintext is looked at before its integrity check has passed; an IV is never
used twice under one key. RFC 7296 3.14 (CBC and HMAC), RFC 5282 (AES-GCM), RFC 7634
(ChaCha20-Poly1305), RFC 4868 (HMAC-SHA2).
"""

import hashlib
import hmac
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from proto.ike.enums import Encr, Integ
from proto.ike.errors import Misuse, WireError
from proto.ike.suite import AEAD_SALT_LEN, Suite
from proto.secret import Secret

_ICV_LEN = 16
_AEAD_IV_LEN = 8
_BLOCK = 16
_COUNTER_BITS = 40
_COUNTER_MAX = (1 << _COUNTER_BITS) - 1
_FENCE_MAX = 0xFFFF
_EPOCH_MAX = 0xFF


class Protection(Protocol):
    """One direction of an IKE SA: seals what goes out or opens what comes in."""

    iv_len: int
    counter_iv: bool
    """True: IVs are counters (`IvSpace`). False: IVs are unpredictable octets."""
    overhead: int
    """Most octets that sealing adds to a plaintext: IV, padding, pad length, ICV."""

    def sealed_len(self, plaintext_len: int) -> int:
        """Length of what `seal` will return."""
        ...

    def seal(self, aad: bytes, iv: bytes, plaintext: bytes) -> bytes:
        """`IV | ciphertext of (plaintext | padding | pad length) | ICV`; `aad` is the message up to
        there.
        """
        ...

    def open(self, aad: bytes, body: bytes) -> bytes:
        """The plaintext without its padding. Raises WireError on any failure."""
        ...


def _unpad(padded: bytes) -> bytes:
    """Without `padding | pad length`; called on authenticated octets only."""
    size = len(padded)
    if not size or padded[-1] >= size:
        raise WireError("padding longer than the content")
    return padded[: size - 1 - padded[-1]]


_CIPHERS: dict[int, type[AESGCM] | type[ChaCha20Poly1305]] = {
    int(Encr.ENCR_AES_GCM_16): AESGCM,
    int(Encr.ENCR_CHACHA20_POLY1305): ChaCha20Poly1305,
}


class AeadProtection:
    """AES-GCM with a 16-octet ICV or ChaCha20-Poly1305: nonce = salt | IV, no padding.

    The cipher is made for each message, not kept: its tables take 2.5 KB, which would be most of
    what an idle session holds, and in a storm would be cold by the time they are needed again.
    """

    __slots__ = ("_cipher", "_sk_e")

    iv_len = _AEAD_IV_LEN
    counter_iv = True
    overhead = _AEAD_IV_LEN + 1 + _ICV_LEN

    def __init__(self, encr: int, sk_e: Secret) -> None:
        self._sk_e = sk_e
        self._cipher = _CIPHERS[encr]

    def sealed_len(self, plaintext_len: int) -> int:
        """See `Protection`."""
        return plaintext_len + self.overhead

    def seal(self, aad: bytes, iv: bytes, plaintext: bytes) -> bytes:
        """See `Protection`."""
        if len(iv) != _AEAD_IV_LEN:
            raise Misuse(f"IV of {len(iv)} octets")
        octets = self._sk_e.octets
        cipher = self._cipher(octets[:-AEAD_SALT_LEN])
        return iv + cipher.encrypt(octets[-AEAD_SALT_LEN:] + iv, plaintext + b"\0", aad)

    def open(self, aad: bytes, body: bytes) -> bytes:
        """See `Protection`."""
        octets = self._sk_e.octets
        cipher = self._cipher(octets[:-AEAD_SALT_LEN])
        try:
            padded = cipher.decrypt(octets[-AEAD_SALT_LEN:] + body[:8], body[8:], aad)
        except (InvalidTag, ValueError):
            # ValueError: too short for an IV and an ICV
            raise WireError("integrity check failed") from None
        return _unpad(padded)


_HMACS = {
    int(Integ.AUTH_HMAC_SHA2_256_128): (hashlib.sha256, 16),
    int(Integ.AUTH_HMAC_SHA2_384_192): (hashlib.sha384, 24),
    int(Integ.AUTH_HMAC_SHA2_512_256): (hashlib.sha512, 32),
}
"""INTEG → hash, octets of the ICV."""


class CbcHmacProtection:
    """AES-CBC, then HMAC over everything before the ICV, the IKE header included."""

    __slots__ = ("_aes", "_hash", "_icv_len", "_key", "overhead")

    iv_len = _BLOCK
    counter_iv = False

    def __init__(self, integ: int, sk_e: Secret, sk_a: Secret) -> None:
        self._aes = algorithms.AES(sk_e.octets)
        self._hash, self._icv_len = _HMACS[integ]
        self._key = sk_a.octets
        self.overhead = _BLOCK + _BLOCK + self._icv_len

    def sealed_len(self, plaintext_len: int) -> int:
        """See `Protection`."""
        blocks = plaintext_len // _BLOCK + 1
        return _BLOCK + blocks * _BLOCK + self._icv_len

    def _icv(self, covered: bytes) -> bytes:
        return hmac.new(self._key, covered, self._hash).digest()[: self._icv_len]

    def seal(self, aad: bytes, iv: bytes, plaintext: bytes) -> bytes:
        """See `Protection`."""
        if len(iv) != _BLOCK:
            raise Misuse(f"IV of {len(iv)} octets")
        pad = _BLOCK - 1 - len(plaintext) % _BLOCK
        encryptor = Cipher(self._aes, modes.CBC(iv)).encryptor()
        ciphertext = encryptor.update(plaintext + bytes(pad) + bytes((pad,)))
        body = iv + ciphertext + encryptor.finalize()
        return body + self._icv(aad + body)

    def open(self, aad: bytes, body: bytes) -> bytes:
        """See `Protection`."""
        stop = len(body) - self._icv_len
        if stop < 2 * _BLOCK or stop % _BLOCK:
            raise WireError("not a whole number of blocks")
        if not hmac.compare_digest(self._icv(aad + body[:stop]), body[stop:]):
            raise WireError("integrity check failed")
        decryptor = Cipher(self._aes, modes.CBC(body[:_BLOCK])).decryptor()
        return _unpad(decryptor.update(body[_BLOCK:stop]) + decryptor.finalize())


def protection(suite: Suite, sk_e: Secret, sk_a: Secret) -> Protection:
    """The protection that `suite` names, under SK_e (salt included) and SK_a (empty for an AEAD).

    Raises Misuse for a suite that `proto.ike.suite` couldn't have chosen.
    """
    if suite.integ:
        if suite.encr != Encr.ENCR_AES_CBC or suite.integ not in _HMACS:
            raise Misuse(f"suite {suite} is not supported")
        return CbcHmacProtection(suite.integ, sk_e, sk_a)
    if suite.encr not in _CIPHERS:
        raise Misuse(f"encryption algorithm {suite.encr} is no AEAD known here")
    return AeadProtection(suite.encr, sk_e)


class IvSpace:
    """Counter IVs of one owner: `epoch 8 bits | fence 16 bits | counter 40 bits`.

    Owners under different fences never share an IV, even while one doesn't know yet that it has
    lost.
    """

    __slots__ = ("_counter", "_prefix")

    def __init__(self, epoch: int, fence: int, counter: int = 0) -> None:
        if not (0 <= epoch <= _EPOCH_MAX and 0 <= fence <= _FENCE_MAX):
            raise Misuse(f"epoch {epoch} or fence {fence} out of range")
        if not 0 <= counter <= _COUNTER_MAX:
            raise Misuse(f"counter {counter} out of range")
        self._prefix = (epoch << 16 | fence) << _COUNTER_BITS
        self._counter = counter

    @property
    def counter(self) -> int:
        """How many IVs were handed out."""
        return self._counter

    def next(self) -> bytes:
        """A fresh IV, 8 octets. Raises Misuse when the counter would wrap."""
        if self._counter >= _COUNTER_MAX:
            raise Misuse("no IV left under this key and fence")
        self._counter += 1
        return (self._prefix | self._counter).to_bytes(8, "big")
