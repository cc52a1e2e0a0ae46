"""The arithmetic of MS-CHAP-V2 (RFC 2759 8) and of the keys it leaves (RFC 3079 3).

Rules: pure functions, spelled as the RFCs spell them. MD4, DES and SHA-1 as used here are weak:
what keeps them safe is the IKE SA around them. MD4 and DES come from pycryptodome: Python's own
OpenSSL may lack both.
"""

import hashlib

from Crypto.Cipher import DES
from Crypto.Hash import MD4

from node.eap.method import MSK_OCTETS
from proto.secret import Secret

CHALLENGE_OCTETS = 16
NT_RESPONSE_OCTETS = 24
NT_HASH_OCTETS = 16
KEY_OCTETS = 16
PASSWORD_CHARACTERS_MAX = 256

_MAGIC_SERVER_1 = b"Magic server to client signing constant"
_MAGIC_SERVER_2 = b"Pad to make it do more than one iteration"
_MAGIC_MASTER = b"This is the MPPE Master Key"
_MAGIC_TO_SERVER = (
    b"On the client side, this is the send key; on the server side, it is the receive key."
)
_MAGIC_TO_CLIENT = (
    b"On the client side, this is the receive key; on the server side, it is the send key."
)
_PAD_1 = bytes(40)
_PAD_2 = b"\xf2" * 40


def _sha1(*parts: bytes) -> bytes:
    return hashlib.sha1(b"".join(parts), usedforsecurity=False).digest()


def nt_password_hash(password: str) -> Secret:
    """NtPasswordHash (RFC 2759 8.3): MD4 of the password in UTF-16."""
    return Secret(MD4.new(password.encode("utf-16-le")).digest())  # noqa: S303  RFC 2759's


def hash_nt_password_hash(nt_hash: Secret) -> Secret:
    """HashNtPasswordHash (RFC 2759 8.4)."""
    return Secret(MD4.new(nt_hash.octets).digest())  # noqa: S303  RFC 2759's


def challenge_hash(peer_challenge: bytes, authenticator_challenge: bytes, name: bytes) -> bytes:
    """ChallengeHash (RFC 2759 8.2), 8 octets; `name` without a domain."""
    return _sha1(peer_challenge, authenticator_challenge, name)[:8]


def des_key(octets: bytes) -> bytes:
    """56 bits as 8 octets of odd parity (RFC 2759 8.6, 9.3)."""
    bits = int.from_bytes(octets, "big")
    sevens = ((bits >> shift) & 0x7F for shift in range(49, -1, -7))
    return bytes(seven << 1 | (seven.bit_count() + 1) % 2 for seven in sevens)


def nt_response(challenge: bytes, nt_hash: Secret) -> bytes:
    """ChallengeResponse (RFC 2759 8.5), 24 octets, to the 8 of `challenge_hash`."""
    keys = nt_hash.octets + bytes(5)
    parts = (des_key(keys[at : at + 7]) for at in (0, 7, 14))
    ciphers = (DES.new(part, DES.MODE_ECB) for part in parts)  # noqa: S304  RFC 2759's
    return b"".join(cipher.encrypt(challenge) for cipher in ciphers)


def authenticator_response(nt_hash: Secret, response: bytes, challenge: bytes) -> str:
    """GenerateAuthenticatorResponse (RFC 2759 8.7) behind its "S=": 40 hex digits.

    `challenge`: the 8 octets of `challenge_hash`.
    """
    twice = hash_nt_password_hash(nt_hash).octets
    digest = _sha1(twice, response, _MAGIC_SERVER_1)
    return _sha1(digest, challenge, _MAGIC_SERVER_2).hex().upper()


def master_key(nt_hash: Secret, response: bytes) -> Secret:
    """GetMasterKey (RFC 3079 3.4), 16 octets."""
    twice = hash_nt_password_hash(nt_hash).octets
    return Secret(_sha1(twice, response, _MAGIC_MASTER)[:KEY_OCTETS])


def start_key(master: Secret, *, to_server: bool) -> Secret:
    """GetAsymmetricStartKey (RFC 3079 3.4), 16 octets: for what goes to the server, or from it."""
    magic = _MAGIC_TO_SERVER if to_server else _MAGIC_TO_CLIENT
    return Secret(_sha1(master.octets, _PAD_1, magic, _PAD_2)[:KEY_OCTETS])


def msk(nt_hash: Secret, response: bytes) -> Secret:
    """The MSK: the server's receive key, its send key, and zeros up to 64 octets."""
    master = master_key(nt_hash, response)
    both = start_key(master, to_server=True).octets + start_key(master, to_server=False).octets
    return Secret(both.ljust(MSK_OCTETS, b"\0"))
