"""What IKE_AUTH covers of the IKE_INTERMEDIATE exchanges before it (RFC 9242 3.3.2).

Rules: a message counts as it was before encryption and fragmentation: its header and that of its
Encrypted payload with their lengths so adjusted, then the inner payloads.
"""

import struct

from proto.ike.enums import VERSION, PayloadType
from proto.ike.kdf import prf
from proto.secret import Secret

_HEADER_LEN = 28
_GENERIC_LEN = 4
_HEADER = struct.Struct(">8s8sBBBBII")
_GENERIC = struct.Struct(">BBH")
_SK = int(PayloadType.SK)


def covered(
    spi_i: bytes,
    spi_r: bytes,
    exchange: int,
    flags: int,
    message_id: int,
    first: int,
    plaintext: bytes,
    reserved: int = 0,
    clear: tuple[int, bytes] = (_SK, b""),
) -> bytes:
    """IntAuth_A | IntAuth_P of one message. `first`, `plaintext`: the inner payloads; `reserved`:
    the second octet of the Encrypted payload; `clear`: type and octets of payloads before it.

    ```
    | header 28, adjusted length | clear … | first | reserved | adjusted length 2 | plaintext … |
    ```
    """
    following, before = clear
    sk_len = _GENERIC_LEN + len(plaintext)
    length = _HEADER_LEN + len(before) + sk_len
    head = _HEADER.pack(spi_i, spi_r, following, VERSION, exchange, flags, message_id, length)
    return head + before + _GENERIC.pack(first, reserved, sk_len) + plaintext


def int_auth(prf_id: int, sk_p: Secret, before: bytes, octets: bytes) -> bytes:
    """IntAuth_n = prf(SK_p of exchange n, IntAuth_(n-1) | IntAuth_nA | IntAuth_nP). `before` is
    empty for the first exchange.
    """
    return prf(prf_id, sk_p, before + octets)


def signed(int_auth_i: bytes, int_auth_r: bytes, exchanges: int) -> bytes:
    """IntAuth = IntAuth_iN | IntAuth_rN | message ID of the first IKE_AUTH, to the end of what AUTH
    covers; empty where there were no such exchanges.
    """
    if not exchanges:
        return b""
    return int_auth_i + int_auth_r + (exchanges + 1).to_bytes(4, "big")
