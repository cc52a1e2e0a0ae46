"""Every algorithm by its IANA numbers: its name in configuration, its key's length, what it goes
with.

Rules: what RFC 8247 and RFC 8221 forbid has no name here, nor what they advise against (groups 2,
5, 22 to 24; 3DES); a name is used only where the configuration has it. Combined modes have an
integrity check of their own (RFC 5282 8). Sources: RFC 3602 (CBC), RFC 3686 and RFC 5930 (CTR), RFC
4106, RFC 4309, RFC 5282 (GCM, CCM), RFC 4543 (GMAC), RFC 7634 (ChaCha20-Poly1305), RFC 2410 (NULL),
RFC 4868, RFC 2404, RFC 3566, RFC 4494 (integrity), RFC 3526, RFC 5903, RFC 8031 (groups), RFC 9370
(additional key exchanges).
"""

from proto.ike.enums import Encr, Integ, KeMethod, Prf, TransformType

Cipher = tuple[int, int]
"""ENCR number, key length in bits."""


def _ciphers(name: str, encr: int) -> dict[str, Cipher]:
    """A mode of AES with its three key lengths; `name` has a place for that."""
    return {name.format(bits): (int(encr), bits) for bits in (256, 128, 192)}


IKE_CIPHERS: dict[str, Cipher] = {
    **_ciphers("aes{}gcm16", Encr.ENCR_AES_GCM_16),
    "chacha20poly1305": (int(Encr.ENCR_CHACHA20_POLY1305), 256),
    **_ciphers("aes{}", Encr.ENCR_AES_CBC),
    **_ciphers("aes{}ctr", Encr.ENCR_AES_CTR),
    **_ciphers("aes{}ccm16", Encr.ENCR_AES_CCM_16),
    **_ciphers("aes{}ccm12", Encr.ENCR_AES_CCM_12),
    **_ciphers("aes{}ccm8", Encr.ENCR_AES_CCM_8),
    **_ciphers("aes{}gcm12", Encr.ENCR_AES_GCM_12),
    **_ciphers("aes{}gcm8", Encr.ENCR_AES_GCM_8),
}
ESP_CIPHERS: dict[str, Cipher] = {
    **IKE_CIPHERS,
    **_ciphers("aes{}gmac", Encr.ENCR_NULL_AUTH_AES_GMAC),
    "null": (int(Encr.ENCR_NULL), 0),
}
INTEGS: dict[str, int] = {
    "sha256": int(Integ.AUTH_HMAC_SHA2_256_128),
    "sha384": int(Integ.AUTH_HMAC_SHA2_384_192),
    "sha512": int(Integ.AUTH_HMAC_SHA2_512_256),
    "sha1": int(Integ.AUTH_HMAC_SHA1_96),
    "aesxcbc": int(Integ.AUTH_AES_XCBC_96),
    "aescmac": int(Integ.AUTH_AES_CMAC_96),
}
PRFS: dict[str, int] = {
    "prfsha256": int(Prf.PRF_HMAC_SHA2_256),
    "prfsha384": int(Prf.PRF_HMAC_SHA2_384),
    "prfsha512": int(Prf.PRF_HMAC_SHA2_512),
    "prfsha1": int(Prf.PRF_HMAC_SHA1),
    "prfaesxcbc": int(Prf.PRF_AES128_XCBC),
    "prfaescmac": int(Prf.PRF_AES128_CMAC),
}
KES: dict[str, int] = {
    "x25519": int(KeMethod.CURVE25519),
    "ecp256": int(KeMethod.ECP_256),
    "ecp384": int(KeMethod.ECP_384),
    "ecp521": int(KeMethod.ECP_521),
    "x448": int(KeMethod.CURVE448),
    "mlkem768": int(KeMethod.ML_KEM_768),
    "mlkem1024": int(KeMethod.ML_KEM_1024),
    "modp2048": int(KeMethod.MODP_2048),
    "modp3072": int(KeMethod.MODP_3072),
    "modp4096": int(KeMethod.MODP_4096),
    "modp6144": int(KeMethod.MODP_6144),
    "modp8192": int(KeMethod.MODP_8192),
}
ESNS: dict[str, int] = {"noesn": 0, "esn": 1}

NO_KE = "none"
"""Name of an additional key exchange that may be left out: `ke1_none`."""
ADDKES_MAX = 7
"""Additional key exchanges of one SA (RFC 9370 2.2.1)."""
ADDKE_TYPES = tuple(range(int(TransformType.ADDKE1), int(TransformType.ADDKE7) + 1))

_CIPHER_NAMES = {value: name for name, value in ESP_CIPHERS.items()}
_INTEG_NAMES = {value: name for name, value in INTEGS.items()}
_PRF_NAMES = {value: name for name, value in PRFS.items()}
_KE_NAMES = {value: name for name, value in KES.items()}

SALT_OCTETS: dict[int, int] = {
    int(Encr.ENCR_NULL): 0,
    int(Encr.ENCR_AES_CBC): 0,
    int(Encr.ENCR_AES_CTR): 4,
    int(Encr.ENCR_AES_CCM_8): 3,
    int(Encr.ENCR_AES_CCM_12): 3,
    int(Encr.ENCR_AES_CCM_16): 3,
    int(Encr.ENCR_AES_GCM_8): 4,
    int(Encr.ENCR_AES_GCM_12): 4,
    int(Encr.ENCR_AES_GCM_16): 4,
    int(Encr.ENCR_NULL_AUTH_AES_GMAC): 4,
    int(Encr.ENCR_CHACHA20_POLY1305): 4,
}
"""Octets of a nonce's fixed part, which stand at the end of an encryption key (RFC 3686 5.1, RFC
4106 8.1, RFC 4309 7.1, RFC 7634 2).
"""
COMBINED: frozenset[int] = frozenset(
    encr
    for encr in SALT_OCTETS
    if encr not in (Encr.ENCR_NULL, Encr.ENCR_AES_CBC, Encr.ENCR_AES_CTR)
)
"""Ciphers with an integrity check of their own."""
FIXED_KEY_BITS: dict[int, int] = {int(Encr.ENCR_NULL): 0, int(Encr.ENCR_CHACHA20_POLY1305): 256}
"""Key length of a cipher whose transform has no Key Length attribute (RFC 7634 5)."""
INTEG_KEY_OCTETS: dict[int, int] = {
    int(Integ.NONE): 0,
    int(Integ.AUTH_HMAC_SHA1_96): 20,
    int(Integ.AUTH_AES_XCBC_96): 16,
    int(Integ.AUTH_AES_CMAC_96): 16,
    int(Integ.AUTH_HMAC_SHA2_256_128): 32,
    int(Integ.AUTH_HMAC_SHA2_384_192): 48,
    int(Integ.AUTH_HMAC_SHA2_512_256): 64,
}


def cipher_name(cipher: Cipher) -> str:
    """As in configuration."""
    return _CIPHER_NAMES.get(cipher, f"encr{cipher[0]}-{cipher[1]}")


def integ_name(integ: int) -> str:
    """As in configuration."""
    return _INTEG_NAMES.get(integ, f"integ{integ}")


def prf_name(prf: int) -> str:
    """As in configuration."""
    return _PRF_NAMES.get(prf, f"prf{prf}")


def ke_name(ke: int) -> str:
    """As in configuration; `none` for 0."""
    return _KE_NAMES.get(ke, f"ke{ke}") if ke else NO_KE


def addke_name(at: int, ke: int) -> str:
    """Of an additional key exchange, `at` from 0: `ke1_mlkem768`."""
    return f"ke{at + 1}_{ke_name(ke)}"
