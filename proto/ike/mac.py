"""Message authentication codes made of AES: XCBC and CMAC, as integrity check and as prf.

Rules: a key of another length than AES wants is turned into one as the prf's RFC says. RFC 3566
(AES-XCBC-MAC), RFC 4434 (its prf), RFC 4493 (AES-CMAC), RFC 4615 (its prf).
"""

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

KEY_OCTETS = 16
_BLOCK = 16
_ZEROS = bytes(_BLOCK)


def aes_cmac(key: bytes, data: bytes) -> bytes:
    """AES-CMAC under a key of 16 octets; 16 octets (RFC 4493)."""
    mac = CMAC(algorithms.AES(key))
    mac.update(data)
    return mac.finalize()


def aes_xcbc(key: bytes, data: bytes) -> bytes:
    """AES-XCBC-MAC under a key of 16 octets, untruncated; 16 octets (RFC 3566 4)."""
    derive = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - one block each
    keys = derive.update(b"\x01" * _BLOCK + b"\x02" * _BLOCK + b"\x03" * _BLOCK)
    k1, k2, k3 = keys[:_BLOCK], keys[_BLOCK : 2 * _BLOCK], keys[2 * _BLOCK :]
    last = data[(len(data) - 1) // _BLOCK * _BLOCK :] if data else b""
    whole = len(last) == _BLOCK
    padded = last if whole else last + b"\x80" + bytes(_BLOCK - 1 - len(last))
    masked = _xor(padded, k2 if whole else k3)
    chain = Cipher(algorithms.AES(k1), modes.CBC(_ZEROS)).encryptor()
    return chain.update(data[: len(data) - len(last)] + masked)[-_BLOCK:]


def prf_aes_cmac(key: bytes, data: bytes) -> bytes:
    """AES-CMAC-PRF-128 under a key of any length (RFC 4615 3)."""
    return aes_cmac(key if len(key) == KEY_OCTETS else aes_cmac(_ZEROS, key), data)


def prf_aes_xcbc(key: bytes, data: bytes) -> bytes:
    """AES-XCBC-PRF-128 under a key of any length (RFC 4434 2)."""
    if len(key) > KEY_OCTETS:
        key = aes_xcbc(_ZEROS, key)
    return aes_xcbc(key + bytes(KEY_OCTETS - len(key)), data)


def _xor(one: bytes, other: bytes) -> bytes:
    size = len(one)
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).to_bytes(size, "big")
