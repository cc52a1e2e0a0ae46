"""Key derivation: prf, prf+, SKEYSEED, the keys of an IKE SA and of a Child SA.

Rules: pure functions; every key comes and goes as a Secret. RFC 7296 2.13, 2.14, 2.17, 2.18; RFC
5723 5.1; RFC 4868; RFC 8784 3; RFC 9370 2.2.
"""

import struct
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Protocol

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from proto.ike import mac
from proto.ike.enums import Prf
from proto.ike.suite import ChildSuite, Suite
from proto.secret import Secret

_HASHES: dict[int, hashes.HashAlgorithm] = {
    Prf.PRF_HMAC_SHA1: hashes.SHA1(),  # noqa: S303 - as HMAC, and only where configured
    Prf.PRF_HMAC_SHA2_256: hashes.SHA256(),
    Prf.PRF_HMAC_SHA2_384: hashes.SHA384(),
    Prf.PRF_HMAC_SHA2_512: hashes.SHA512(),
}
_AES_PRFS: dict[int, Callable[[bytes, bytes], bytes]] = {
    Prf.PRF_AES128_XCBC: mac.prf_aes_xcbc,
    Prf.PRF_AES128_CMAC: mac.prf_aes_cmac,
}
_PRF_LEN: dict[int, int] = {
    **{number: hash_.digest_size for number, hash_ in _HASHES.items()},
    **dict.fromkeys(_AES_PRFS, mac.KEY_OCTETS),
}
_NONCE_HALF = 8
"""Octets of each nonce that are the key of a prf whose key is 16 octets long (RFC 7296 2.14)."""


class SaKeys(msgspec.Struct, frozen=True, gc=False):
    """The seven keys of an IKE SA (RFC 7296 2.14)."""

    d: Secret
    ai: Secret
    """Empty with an AEAD."""
    ar: Secret
    ei: Secret
    """With an AEAD its last four octets are the salt."""
    er: Secret
    pi: Secret
    pr: Secret


class ChildKeys(msgspec.Struct, frozen=True, gc=False):
    """The keys of a pair of ESP SAs, by the direction of traffic; `i` = from the exchange's
    initiator.
    """

    encr_i: Secret
    """With an AEAD its last four octets are the salt."""
    integ_i: Secret
    """Empty with an AEAD."""
    encr_r: Secret
    integ_r: Secret


def prf(prf_id: int, key: Secret, data: bytes) -> bytes:
    """prf(key, data) (RFC 7296 2.13)."""
    hash_ = _HASHES.get(prf_id)
    if hash_ is None:
        return _AES_PRFS[prf_id](key.octets, data)
    keyed = HMAC(key.octets, hash_)
    keyed.update(data)
    return keyed.finalize()


class RunningPrf(Protocol):
    """prf under one key, of data that comes in pieces; `copy` tells data apart that begin alike."""

    def copy(self) -> "RunningPrf":
        """Another one, of what came so far: half of what keying costs."""
        ...

    def update(self, data: bytes) -> None:
        """More data."""
        ...

    def finalize(self) -> bytes:
        """prf(key, data); nothing comes after."""
        ...


class _Collected:
    """A `RunningPrf` of a prf that takes its data whole."""

    __slots__ = ("_data", "_of")

    def __init__(self, of: Callable[[bytes], bytes], data: bytes = b"") -> None:
        self._of = of
        self._data = data

    def copy(self) -> "_Collected":
        return _Collected(self._of, self._data)

    def update(self, data: bytes) -> None:
        self._data += data

    def finalize(self) -> bytes:
        return self._of(self._data)


def running_prf(prf_id: int, key: Secret) -> RunningPrf:
    """prf under `key`, no data yet."""
    hash_ = _HASHES.get(prf_id)
    if hash_ is None:
        return _Collected(partial(_AES_PRFS[prf_id], key.octets))
    return HMAC(key.octets, hash_)


def prf_plus(prf_id: int, key: Secret, seed: bytes, length: int) -> bytes:
    """`length` octets of prf+(key, seed): T1 | T2 | …, Tn = prf(key, Tn-1 | seed | n) (RFC 7296
    2.13).

    With a hash that is HKDF's expand step with `seed` as its info (RFC 5869 2.3), and several times
    faster by that name.
    """
    hash_ = _HASHES.get(prf_id)
    if hash_ is not None:
        return HKDFExpand(hash_, length, seed).derive(key.octets)
    under_key, out, block = _AES_PRFS[prf_id], b"", b""
    while len(out) < length:
        number = len(out) // mac.KEY_OCTETS + 1
        block = under_key(key.octets, block + seed + bytes((number,)))
        out += block
    return out[:length]


def skeyseed_init(prf_id: int, ni: bytes, nr: bytes, shared: Secret) -> Secret:
    """SKEYSEED = prf(Ni | Nr, g^ir), with the first 8 octets of each nonce where the prf's key has
    a fixed size (RFC 7296 2.14).
    """
    key = ni[:_NONCE_HALF] + nr[:_NONCE_HALF] if prf_id in _AES_PRFS else ni + nr
    return Secret(prf(prf_id, Secret(key), shared.octets))


def skeyseed_resume(prf_id: int, sk_d_old: Secret, ni: bytes, nr: bytes) -> Secret:
    """SKEYSEED = prf(SK_d of the old SA, "Resumption" | Ni | Nr) (RFC 5723 5.1)."""
    return Secret(prf(prf_id, sk_d_old, b"Resumption" + ni + nr))


def skeyseed_rekey(
    prf_id: int, sk_d_old: Secret, shared: Secret, ni: bytes, nr: bytes, *more: Secret
) -> Secret:
    """SKEYSEED = prf(SK_d of the old SA, g^ir | Ni | Nr | SK(1) | …), by the old SA's prf (RFC 7296
    2.18). `more`: of the additional key exchanges of a rekey (RFC 9370 2.2.4); none where one of
    them is mixed in by itself, before IKE_AUTH (2.2.2).
    """
    return Secret(prf(prf_id, sk_d_old, _joined(shared, ni, nr, more)))


def derive_keys(
    suite: Suite, skeyseed: Secret, ni: bytes, nr: bytes, spi_i: bytes, spi_r: bytes
) -> SaKeys:
    """SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr (RFC 7296 2.14).

    They are the octets of prf+(SKEYSEED, Ni | Nr | SPIi | SPIr), in this order.
    """
    layout = _layout(_PRF_LEN[suite.prf], suite.integ_key_octets, suite.encr_key_octets)
    octets = prf_plus(suite.prf, skeyseed, ni + nr + spi_i + spi_r, layout.size)
    return SaKeys(*map(Secret, layout.unpack(octets)))


@lru_cache(maxsize=64)
def _layout(p: int, a: int, e: int) -> struct.Struct:
    """Where the seven keys are, by the octets of a prf's, an integrity and an encryption key."""
    return struct.Struct(f"{p}s{a}s{a}s{e}s{e}s{p}s{p}s")


def mix_ppk(prf_id: int, ppk: Secret, keys: SaKeys) -> SaKeys:
    """The same keys with a PPK in those that count from IKE_AUTH on: SK_d = prf+(PPK, SK_d'), and
    SK_pi and SK_pr likewise (RFC 8784 3). Once per session: what is derived of SK_d has it.
    """
    octets = _PRF_LEN[prf_id]

    def mixed(key: Secret) -> Secret:
        return Secret(prf_plus(prf_id, ppk, key.octets, octets))

    return msgspec.structs.replace(keys, d=mixed(keys.d), pi=mixed(keys.pi), pr=mixed(keys.pr))


def child_keymat(
    suite: ChildSuite,
    prf_id: int,
    sk_d: Secret,
    ni: bytes,
    nr: bytes,
    shared: Secret | None = None,
    more: tuple[Secret, ...] = (),
) -> Secret:
    """KEYMAT = prf+(SK_d, [g^ir |] Ni | Nr [| SK(1) | …]) (RFC 7296 2.17, RFC 9370 2.2.4), as long
    as `split_keymat` needs it.
    """
    half = suite.encr_key_octets + suite.integ_key_octets
    seed = ni + nr if shared is None else _joined(shared, ni, nr, more)
    return Secret(prf_plus(prf_id, sk_d, seed, 2 * half))


def _joined(shared: Secret, ni: bytes, nr: bytes, more: tuple[Secret, ...]) -> bytes:
    return b"".join([shared.octets, ni, nr, *[secret.octets for secret in more]])


def split_keymat(suite: ChildSuite, keymat: Secret) -> ChildKeys:
    """The four keys in KEYMAT: initiator's direction first, encryption before integrity."""
    octets = keymat.octets
    e = suite.encr_key_octets
    half = e + suite.integ_key_octets
    return ChildKeys(
        Secret(octets[:e]),
        Secret(octets[e:half]),
        Secret(octets[half : half + e]),
        Secret(octets[half + e :]),
    )
