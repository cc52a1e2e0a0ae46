"""Protection of the Encrypted payload, and the space of IVs that one owner of a key may use.

Rules: nothing of a plaintext is looked at before its integrity check has passed; an IV is never
used twice under one key. RFC 7296 3.14 (CBC with a MAC), RFC 5930 (CTR), RFC 5282 (GCM, CCM), RFC
7634 (ChaCha20-Poly1305), RFC 4868 (HMAC-SHA2).
"""

import hmac
from collections.abc import Callable
from functools import partial
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305

from proto.ike import mac
from proto.ike.algorithms import SALT_OCTETS
from proto.ike.enums import Encr, Integ
from proto.ike.errors import Misuse, WireError
from proto.ike.suite import Suite
from proto.secret import Secret

_CBC = int(Encr.ENCR_AES_CBC)
_CTR = int(Encr.ENCR_AES_CTR)
_CTR_NONCE_OCTETS = SALT_OCTETS[_CTR]
_ICV_OCTETS = 16
_COUNTER_IV_OCTETS = 8
_BLOCK = 16
_COUNTER_BITS = 40
_COUNTER_MAX = (1 << _COUNTER_BITS) - 1
_COUNTERS, _FENCES, _EPOCHS = range(_COUNTER_MAX + 1), range(1 << 16), range(1 << 8)


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
    stop = len(padded) - 1 - padded[-1] if padded else -1
    if stop < 0:
        raise WireError("padding longer than the content")
    return padded[:stop]


class _Combined(Protocol):
    """A cipher of `cryptography` that checks integrity."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes:
        """Ciphertext and tag."""
        ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes:
        """The plaintext. Raises InvalidTag or ValueError."""
        ...


class _ShortGcm:
    """AES-GCM whose tag is cut (RFC 4106 6)."""

    __slots__ = ("_icv_octets", "_key")

    def __init__(self, key: bytes, icv_octets: int) -> None:
        self._key = key
        self._icv_octets = icv_octets

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes:
        """See `_Combined`."""
        sealed = AESGCM(self._key).encrypt(nonce, data, associated_data)
        return sealed[: self._icv_octets - _ICV_OCTETS]

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes:
        """See `_Combined`."""
        tag = data[-self._icv_octets :]
        mode = modes.GCM(nonce, tag, min_tag_length=self._icv_octets)
        decryptor = Cipher(algorithms.AES(self._key), mode).decryptor()
        decryptor.authenticate_additional_data(associated_data)
        return decryptor.update(data[: -self._icv_octets]) + decryptor.finalize()


_CIPHERS: dict[int, tuple[Callable[[bytes], _Combined], int]] = {
    int(Encr.ENCR_AES_GCM_16): (AESGCM, 16),
    int(Encr.ENCR_AES_GCM_12): (partial(_ShortGcm, icv_octets=12), 12),
    int(Encr.ENCR_AES_GCM_8): (partial(_ShortGcm, icv_octets=8), 8),
    int(Encr.ENCR_AES_CCM_16): (partial(AESCCM, tag_length=16), 16),
    int(Encr.ENCR_AES_CCM_12): (partial(AESCCM, tag_length=12), 12),
    int(Encr.ENCR_AES_CCM_8): (partial(AESCCM, tag_length=8), 8),
    int(Encr.ENCR_CHACHA20_POLY1305): (ChaCha20Poly1305, 16),
}
"""ENCR → cipher of a key, octets of the ICV."""
_COMBINED = {
    encr: (cipher, -SALT_OCTETS[encr], _COUNTER_IV_OCTETS + 1 + icv_octets)
    for encr, (cipher, icv_octets) in _CIPHERS.items()
}
"""ENCR → cipher of a key, where the salt is in SK_e, `Protection.overhead`."""


class AeadProtection:
    """A combined mode: nonce = salt | IV, no padding.

    The cipher is made for each message, not kept: its tables take 2.5 KB, which would be most of
    what an idle session holds, and in a storm would be cold by the time they are needed again.
    """

    __slots__ = ("_cipher", "_salt_at", "_sk_e", "overhead")

    iv_len = _COUNTER_IV_OCTETS
    counter_iv = True

    def __init__(self, encr: int, sk_e: Secret) -> None:
        self._sk_e = sk_e
        self._cipher, self._salt_at, self.overhead = _COMBINED[encr]

    def sealed_len(self, plaintext_len: int) -> int:
        """See `Protection`."""
        return plaintext_len + self.overhead

    def seal(self, aad: bytes, iv: bytes, plaintext: bytes) -> bytes:
        """See `Protection`."""
        if len(iv) != _COUNTER_IV_OCTETS:
            raise Misuse(f"IV of {len(iv)} octets")
        octets, salt_at = self._sk_e.octets, self._salt_at
        cipher = self._cipher(octets[:salt_at])
        return iv + cipher.encrypt(octets[salt_at:] + iv, plaintext + b"\0", aad)

    def open(self, aad: bytes, body: bytes) -> bytes:
        """See `Protection`."""
        octets, salt_at = self._sk_e.octets, self._salt_at
        cipher = self._cipher(octets[:salt_at])
        try:
            padded = cipher.decrypt(octets[salt_at:] + body[:8], body[8:], aad)
        except (InvalidTag, ValueError):
            # ValueError: too short for an IV and an ICV
            raise WireError("integrity check failed") from None
        return _unpad(padded)


_MACS: dict[int, tuple[Callable[[bytes, bytes], bytes], int]] = {
    int(Integ.AUTH_HMAC_SHA1_96): (partial(hmac.digest, digest="sha1"), 12),
    int(Integ.AUTH_AES_XCBC_96): (mac.aes_xcbc, 12),
    int(Integ.AUTH_AES_CMAC_96): (mac.aes_cmac, 12),
    int(Integ.AUTH_HMAC_SHA2_256_128): (partial(hmac.digest, digest="sha256"), 16),
    int(Integ.AUTH_HMAC_SHA2_384_192): (partial(hmac.digest, digest="sha384"), 24),
    int(Integ.AUTH_HMAC_SHA2_512_256): (partial(hmac.digest, digest="sha512"), 32),
}
"""INTEG → MAC of key and data, octets of the ICV."""


class _Checked:
    """A cipher, then a MAC over everything before the ICV, the IKE header included."""

    __slots__ = ("_icv_octets", "_mac", "_sk_a", "_sk_e")

    def __init__(self, integ: int, sk_e: Secret, sk_a: Secret) -> None:
        self._mac, self._icv_octets = _MACS[integ]
        self._sk_e, self._sk_a = sk_e, sk_a

    def _icv(self, covered: bytes) -> bytes:
        return self._mac(self._sk_a.octets, covered)[: self._icv_octets]

    def _checked(self, aad: bytes, body: bytes) -> bytes:
        """`body` without its ICV. Raises WireError where that isn't right."""
        stop = len(body) - self._icv_octets
        if stop < 0 or not hmac.compare_digest(self._icv(aad + body[:stop]), body[stop:]):
            raise WireError("integrity check failed")
        return body[:stop]


class CbcProtection(_Checked):
    """AES-CBC with a MAC."""

    __slots__ = ("overhead",)

    iv_len = _BLOCK
    counter_iv = False

    def __init__(self, integ: int, sk_e: Secret, sk_a: Secret) -> None:
        super().__init__(integ, sk_e, sk_a)
        self.overhead = _BLOCK + _BLOCK + self._icv_octets

    def sealed_len(self, plaintext_len: int) -> int:
        """See `Protection`."""
        blocks = plaintext_len // _BLOCK + 1
        return _BLOCK + blocks * _BLOCK + self._icv_octets

    def seal(self, aad: bytes, iv: bytes, plaintext: bytes) -> bytes:
        """See `Protection`."""
        if len(iv) != _BLOCK:
            raise Misuse(f"IV of {len(iv)} octets")
        pad = _BLOCK - 1 - len(plaintext) % _BLOCK
        encryptor = Cipher(algorithms.AES(self._sk_e.octets), modes.CBC(iv)).encryptor()
        ciphertext = encryptor.update(plaintext + bytes(pad) + bytes((pad,)))
        body = iv + ciphertext + encryptor.finalize()
        return body + self._icv(aad + body)

    def open(self, aad: bytes, body: bytes) -> bytes:
        """See `Protection`."""
        stop = len(body) - self._icv_octets
        if stop < 2 * _BLOCK or stop % _BLOCK:
            raise WireError("not a whole number of blocks")
        checked = self._checked(aad, body)
        mode = modes.CBC(checked[:_BLOCK])
        decryptor = Cipher(algorithms.AES(self._sk_e.octets), mode).decryptor()
        return _unpad(decryptor.update(checked[_BLOCK:]) + decryptor.finalize())


class CtrProtection(_Checked):
    """AES-CTR with a MAC: counter block = nonce of the key | IV | 1, counting on; no padding (RFC
    5930 2).
    """

    __slots__ = ("overhead",)

    iv_len = _COUNTER_IV_OCTETS
    counter_iv = True

    def __init__(self, integ: int, sk_e: Secret, sk_a: Secret) -> None:
        super().__init__(integ, sk_e, sk_a)
        self.overhead = _COUNTER_IV_OCTETS + 1 + self._icv_octets

    def sealed_len(self, plaintext_len: int) -> int:
        """See `Protection`."""
        return plaintext_len + self.overhead

    def _crypt(self, iv: bytes, octets: bytes) -> bytes:
        """Encrypts and decrypts."""
        key = self._sk_e.octets
        block = key[-_CTR_NONCE_OCTETS:] + iv + b"\0\0\0\1"
        cipher = Cipher(algorithms.AES(key[:-_CTR_NONCE_OCTETS]), modes.CTR(block)).encryptor()
        return cipher.update(octets) + cipher.finalize()

    def seal(self, aad: bytes, iv: bytes, plaintext: bytes) -> bytes:
        """See `Protection`."""
        if len(iv) != _COUNTER_IV_OCTETS:
            raise Misuse(f"IV of {len(iv)} octets")
        body = iv + self._crypt(iv, plaintext + b"\0")
        return body + self._icv(aad + body)

    def open(self, aad: bytes, body: bytes) -> bytes:
        """See `Protection`."""
        checked = self._checked(aad, body)
        if len(checked) < _COUNTER_IV_OCTETS:
            raise WireError("too short for an IV")
        return _unpad(self._crypt(checked[:_COUNTER_IV_OCTETS], checked[_COUNTER_IV_OCTETS:]))


def protection(suite: Suite, sk_e: Secret, sk_a: Secret) -> Protection:
    """The protection that `suite` names, under SK_e (salt included) and SK_a (empty for a combined
    mode).

    Raises Misuse for a suite that can't have been chosen.
    """
    if not suite.integ and suite.encr in _CIPHERS:
        return AeadProtection(suite.encr, sk_e)
    if suite.integ in _MACS and suite.encr == _CBC:
        return CbcProtection(suite.integ, sk_e, sk_a)
    if suite.integ in _MACS and suite.encr == _CTR:
        return CtrProtection(suite.integ, sk_e, sk_a)
    raise Misuse(f"encryption algorithm {suite.encr} with integrity algorithm {suite.integ}")


class IvSpace:
    """Counter IVs of one owner: `epoch 8 bits | fence 16 bits | counter 40 bits`.

    Owners under different fences never share an IV, even while one doesn't know yet that it has
    lost.
    """

    __slots__ = ("_counter", "_prefix")

    def __init__(self, epoch: int, fence: int, counter: int = 0) -> None:
        if epoch not in _EPOCHS or fence not in _FENCES:
            raise Misuse(f"epoch {epoch} or fence {fence} out of range")
        if counter not in _COUNTERS:
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
